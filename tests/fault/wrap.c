/* SPDX-License-Identifier: MIT */
/*
 * wrap - a function in front of everything in the library that can fail. The linker sends the library's calls here
 * (wrap.args) and calls the function itself __real_NAME.
 */
#include "wrap.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/sys.h"
#include "event/uring.h"
#include "mm/folio.h"

/* --- Memory ------------------------------------------------------------------------------------------- */

static atomic_size_t wrap_nr_live;

size_t fault_nr_live(void)
{
	return atomic_load(&wrap_nr_live);
}

#define WRAP_ALLOC(type, name, params, args)                                               \
	type __real_##name params;                                                         \
	type __wrap_##name params;                                                         \
	type __wrap_##name params                                                          \
	{                                                                                  \
		type base = fault_fires(FAULT_##name, -1, -1) ? NULL : __real_##name args; \
                                                                                           \
		if (base)                                                                  \
			atomic_fetch_add(&wrap_nr_live, 1);                                \
		return base;                                                               \
	}

WRAP_ALLOC(void *, usp_alloc, (size_t len), (len))
WRAP_ALLOC(void *, usp_alloc_array, (size_t nr_items, size_t item_len), (nr_items, item_len))
WRAP_ALLOC(char *, usp_alloc_string, (const char *text), (text))

void __real_usp_free(void *base);
void __wrap_usp_free(void *base);
void __wrap_usp_free(void *base)
{
	if (base)
		atomic_fetch_sub(&wrap_nr_live, 1);
	__real_usp_free(base);
}

/* NULL or false. */
#define WRAP_NULL(type, name, params, args)                                              \
	type __real_##name params;                                                       \
	type __wrap_##name params;                                                       \
	type __wrap_##name params                                                        \
	{                                                                                \
		return fault_fires(FAULT_##name, -1, -1) ? (type)0 : __real_##name args; \
	}

WRAP_NULL(struct usp_folio *, usp_folio_new, (size_t len), (len))
WRAP_NULL(bool, usp_folio_get, (struct usp_folio * folio), (folio))
WRAP_NULL(void *, usp_sys_map_anon, (size_t len), (len))
WRAP_NULL(void *, usp_sys_map_own, (size_t len), (len))
WRAP_NULL(bool, usp_uring_close, (struct usp_uring * uring, int fd), (uring, fd))
#ifdef USP_HAVE_URING
struct io_uring_sqe;
WRAP_NULL(struct io_uring_sqe *, usp_uring_request, (struct usp_uring * uring), (uring))
#endif

/* --- Calls with a result or -errno ------------------------------------------------------------------------ */

#define WRAP(type, name, params, args)                                                                \
	type __real_##name params;                                                                    \
	type __wrap_##name params;                                                                    \
	type __wrap_##name params                                                                     \
	{                                                                                             \
		return fault_fires(FAULT_##name, -1, -1) ? (type)-fault_error() : __real_##name args; \
	}

WRAP(int, usp_sys_open, (const char *path, int flags, unsigned mode), (path, flags, mode))
WRAP(int, usp_sys_open_waiting, (const char *path, int flags), (path, flags))
WRAP(int, usp_sys_dup, (int fd), (fd))
WRAP(int, usp_sys_reopen, (int fd, int flags), (fd, flags))
WRAP(int, usp_sys_replace, (int fd, int target), (fd, target))
WRAP(int, usp_sys_stat, (const char *path, struct stat *ret_stat), (path, ret_stat))
WRAP(int, usp_sys_detach, (const char *path), (path))
WRAP(int, usp_sys_fusermount_detach, (const char *path), (path))
WRAP(int, usp_sys_fuse_backing_open, (int fuse_fd, int fd), (fuse_fd, fd))
WRAP(int, usp_sys_fuse_backing_close, (int fuse_fd, int number), (fuse_fd, number))
WRAP(int, usp_sys_lstat, (const char *path, struct stat *ret_stat), (path, ret_stat))
WRAP(int, usp_sys_fstat, (int fd, struct stat *ret_stat), (fd, ret_stat))
WRAP(long, usp_sys_fs_type, (int fd), (fd))
WRAP(int, usp_sys_fstatvfs, (int fd, struct statvfs *ret_stat), (fd, ret_stat))
WRAP(int, usp_sys_get_flags, (int fd), (fd))
WRAP(int, usp_sys_set_flags, (int fd, int flags), (fd, flags))
WRAP(int64_t, usp_sys_lseek, (int fd, int64_t off, int whence), (fd, off, whence))
WRAP(int, usp_sys_ftruncate, (int fd, int64_t len), (fd, len))
WRAP(int, usp_sys_fallocate, (int fd, int mode, int64_t off, int64_t len), (fd, mode, off, len))
WRAP(ssize_t, usp_sys_get_attribute, (int fd, const char *name, void *ret_value, size_t len),
     (fd, name, ret_value, len))
WRAP(int, usp_sys_access, (int fd, int mode), (fd, mode))
WRAP(int, usp_sys_set_times, (int fd, const struct timespec times[2]), (fd, times))
WRAP(int, usp_sys_fsync, (int fd), (fd))
WRAP(int, usp_sys_memfd, (const char *name), (name))
WRAP(int, usp_sys_memfd_huge, (const char *name), (name))
WRAP(int, usp_sys_pty, (int ret_fds[2]), (ret_fds))
WRAP(int, usp_sys_spawn, (const char *command, int in, int out), (command, in, out))
WRAP(int, usp_sys_signal_child, (int pidfd, int signo), (pidfd, signo))
WRAP(int, usp_sys_wait_child, (int pidfd, bool blocks, int *ret_status), (pidfd, blocks, ret_status))
WRAP(int, usp_sys_set_file_user, (uid_t user), (user))
WRAP(ssize_t, usp_sys_readlink, (const char *path, char *ret_text, size_t len), (path, ret_text, len))
WRAP(int, usp_sys_is_dax, (int fd), (fd))
WRAP(int64_t, usp_sys_block_size, (int fd), (fd))
WRAP(int, usp_sys_ring, (int fd, unsigned long request, void *arg), (fd, request, arg))
WRAP(int, usp_sys_drop_cache, (int fd, int64_t off, size_t len), (fd, off, len))
WRAP(int, usp_sys_is_cached, (int fd, int64_t off), (fd, off))
WRAP(ssize_t, usp_sys_read_cached, (int fd, void *base, size_t len, int64_t off), (fd, base, len, off))
WRAP(int, usp_sys_set_read_ahead, (const char *path, size_t len), (path, len))
WRAP(int64_t, usp_sys_cached_bytes, (int fd, int64_t off, uint64_t len), (fd, off, len))

/* What is lost on the way to the storage is lost for this descriptor. */
int __real_usp_sys_sync_range(int fd, int64_t off, uint64_t len, bool waits);
int __wrap_usp_sys_sync_range(int fd, int64_t off, uint64_t len, bool waits);
int __wrap_usp_sys_sync_range(int fd, int64_t off, uint64_t len, bool waits)
{
	return fault_fires(FAULT_usp_sys_sync_range, -1, fd) ? -fault_error()
							     : __real_usp_sys_sync_range(fd, off, len, waits);
}

WRAP(int, usp_sys_is_resident, (int fd, int64_t off), (fd, off))
struct fiemap;
WRAP(int, usp_sys_extents, (int fd, int64_t off, uint64_t len, bool is_synced, unsigned nr, struct fiemap *map),
     (fd, off, len, is_synced, nr, map))
WRAP(int, usp_sys_clone_range, (int in, int64_t off_in, int out, int64_t off_out, size_t len),
     (in, off_in, out, off_out, len))
WRAP(int, usp_sys_pipe, (int ret_fds[2], int flags), (ret_fds, flags))
WRAP(int, usp_sys_set_pipe_size, (int fd, size_t len), (fd, len))
WRAP(int, usp_sys_get_pipe_size, (int fd), (fd))
WRAP(int, usp_sys_bytes_readable, (int fd), (fd))
WRAP(int, usp_sys_socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, usp_sys_connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP(int, usp_sys_bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP(int, usp_sys_listen, (int fd, int backlog), (fd, backlog))
WRAP(int, usp_sys_accept, (int fd, struct sockaddr_storage *ret_peer), (fd, ret_peer))
WRAP(int, usp_sys_getsockname, (int fd, struct sockaddr *ret_addr, socklen_t *len), (fd, ret_addr, len))
WRAP(int, usp_sys_getpeername, (int fd, struct sockaddr *ret_addr, socklen_t *len), (fd, ret_addr, len))
WRAP(int, usp_sys_getsockopt, (int fd, int level, int name, void *ret_value, socklen_t *len),
     (fd, level, name, ret_value, len))
WRAP(int, usp_sys_device_is_loopback, (int fd, unsigned index), (fd, index))
WRAP(int, usp_sys_device_has, (int fd, unsigned index, unsigned ethtool_get), (fd, index, ethtool_get))
WRAP(int, usp_sys_device_is_physical, (int fd, unsigned index), (fd, index))
WRAP(int, usp_sys_getsockopt_int, (int fd, int level, int name), (fd, level, name))
WRAP(int64_t, usp_sys_socket_timeout, (int fd, int name), (fd, name))
WRAP(int64_t, usp_sys_net_cookie, (int fd), (fd))
WRAP(int, usp_sys_setsockopt_int, (int fd, int level, int name, int value), (fd, level, name, value))
WRAP(int, usp_sys_setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len))
WRAP(int, usp_sys_shutdown, (int fd, int how), (fd, how))
WRAP(int, usp_sys_socketpair, (int domain, int type, int ret_fds[2]), (domain, type, ret_fds))
WRAP(int, usp_sys_bytes_unsent, (int fd), (fd))
WRAP(int64_t, usp_sys_dropped, (int fd), (fd))
WRAP(int, usp_sys_at_mark, (int fd), (fd))
WRAP(int, usp_sys_unlink, (const char *path), (path))
WRAP(int, usp_sys_fchmod, (int fd, unsigned mode), (fd, mode))
WRAP(int, usp_sys_fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
WRAP(int, usp_sys_flock, (int fd), (fd))
WRAP(int, usp_sys_eventfd, (void), ())
WRAP(int, usp_sys_epoll, (void), ())
WRAP(int, usp_sys_epoll_ctl, (int epoll_fd, int op, int fd, struct epoll_event *event), (epoll_fd, op, fd, event))
WRAP(int, usp_sys_map_file, (int fd, size_t len, void **ret_base), (fd, len, ret_base))
WRAP(int, usp_sys_get_policy, (void), ())
WRAP(int, usp_sys_set_policy, (int policy), (policy))

/* It gives an error of its own, and a list that must be freed like memory. */
int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list)
{
	int error = fault_fires(FAULT_getaddrinfo, -1, -1) ? fault_error()
							   : __real_getaddrinfo(host, port, hints, ret_list);

	if (error == 0)
		atomic_fetch_add(&wrap_nr_live, 1);
	return error;
}

void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
	atomic_fetch_sub(&wrap_nr_live, 1);
	__real_freeaddrinfo(list);
}

/* The descriptor is gone in any case. */
int __real_usp_sys_close(int fd);
int __wrap_usp_sys_close(int fd);
int __wrap_usp_sys_close(int fd)
{
	int ret = __real_usp_sys_close(fd);

	return fault_fires(FAULT_usp_sys_close, -1, fd) ? -fault_error() : ret;
}

/* It gives a positive error. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return fault_fires(FAULT_pthread_create, -1, -1) ? fault_error()
							 : __real_pthread_create(thread, attr, run, arg);
}

/* --- Time: a wait is cut short, and the clock moves on by what it left out ---------------------------------- */

/* Ahead of all that this run may wait for, and not so far that a sum overflows. */
#define WRAP_JUMP_NS (UINT64_C(3600) * 1000000000)

unsigned fault_haste = 1;
static atomic_uint_fast64_t wrap_left_out_ns;

static int64_t wrap_shorten(int64_t timeout_ns)
{
	return timeout_ns > fault_haste ? timeout_ns / fault_haste : timeout_ns;
}

/* Only a wait to its end leaves something out. */
static int wrap_end_wait(int ret, int64_t timeout_ns)
{
	if (ret == 0)
		atomic_fetch_add(&wrap_left_out_ns, (uint64_t)(timeout_ns - wrap_shorten(timeout_ns)));
	return ret;
}

#define WRAP_WAIT(name, params, args)                                                                   \
	int __real_##name params;                                                                       \
	int __wrap_##name params;                                                                       \
	int __wrap_##name params                                                                        \
	{                                                                                               \
		int64_t whole_ns = timeout_ns;                                                          \
                                                                                                        \
		timeout_ns = wrap_shorten(whole_ns);                                                    \
		return fault_fires(FAULT_##name, -1, -1) ? -fault_error()                               \
							 : wrap_end_wait(__real_##name args, whole_ns); \
	}

WRAP_WAIT(usp_sys_poll, (struct pollfd * fds, unsigned nr_fds, int64_t timeout_ns), (fds, nr_fds, timeout_ns))
WRAP_WAIT(usp_sys_epoll_wait, (int epoll_fd, struct epoll_event *ret_events, unsigned nr_events, int64_t timeout_ns),
	  (epoll_fd, ret_events, nr_events, timeout_ns))

uint64_t __real_usp_sys_now_ns(void);
uint64_t __wrap_usp_sys_now_ns(void);
uint64_t __wrap_usp_sys_now_ns(void)
{
	static atomic_bool is_ahead;

	if (fault_fires(FAULT_usp_sys_now_ns, -1, -1))
		atomic_store(&is_ahead, true);
	return __real_usp_sys_now_ns() + atomic_load(&wrap_left_out_ns) + (atomic_load(&is_ahead) ? WRAP_JUMP_NS : 0);
}

/* --- Calls that move bytes: an error, or the call with less to move -------------------------------------- */

#define WRAP_MOVE(name, params, args, from_fd, to_fd)            \
	ssize_t __real_##name params;                            \
	ssize_t __wrap_##name params;                            \
	ssize_t __wrap_##name params                             \
	{                                                        \
		if (fault_fires(FAULT_##name, from_fd, to_fd)) { \
			if (fault_error())                       \
				return -fault_error();           \
			len = fault_cut_len(len);                \
		}                                                \
		return __real_##name args;                       \
	}

WRAP_MOVE(usp_sys_read, (int fd, void *base, size_t len), (fd, base, len), fd, -1)
WRAP_MOVE(usp_sys_write, (int fd, const void *base, size_t len), (fd, base, len), -1, fd)
WRAP_MOVE(usp_sys_splice, (int in, int64_t *off_in, int out, int64_t *off_out, size_t len, unsigned flags),
	  (in, off_in, out, off_out, len, flags), in, out)
WRAP_MOVE(usp_sys_tee, (int in, int out, size_t len, unsigned flags), (in, out, len, flags), in, out)
WRAP_MOVE(usp_sys_copy_file_range, (int in, int64_t *off_in, int out, int64_t *off_out, size_t len),
	  (in, off_in, out, off_out, len), in, out)

/* The leading part of some segments. */
struct wrap_part {
	struct iovec iov[IOV_MAX];
	unsigned nr_segs;
};

static void wrap_cut(const struct iovec *iov, size_t nr_segs, struct wrap_part *ret_part)
{
	size_t len = 0;

	for (size_t i = 0; i < nr_segs; i++)
		len += iov[i].iov_len;
	len = fault_cut_len(len);
	ret_part->nr_segs = 0;
	for (size_t i = 0; i < nr_segs && len; i++) {
		size_t chunk = iov[i].iov_len < len ? iov[i].iov_len : len;

		ret_part->iov[ret_part->nr_segs++] = (struct iovec){.iov_base = iov[i].iov_base, .iov_len = chunk};
		len -= chunk;
	}
}

#define WRAP_MOVE_SEGS(name, params, args, from_fd, to_fd)       \
	ssize_t __real_##name params;                            \
	ssize_t __wrap_##name params;                            \
	ssize_t __wrap_##name params                             \
	{                                                        \
		struct wrap_part part;                           \
                                                                 \
		if (fault_fires(FAULT_##name, from_fd, to_fd)) { \
			if (fault_error())                       \
				return -fault_error();           \
			wrap_cut(iov, nr_segs, &part);           \
			iov = part.iov;                          \
			nr_segs = part.nr_segs;                  \
		}                                                \
		return __real_##name args;                       \
	}

WRAP_MOVE_SEGS(usp_sys_readv, (int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos),
	       (fd, iov, nr_segs, pos), fd, -1)
WRAP_MOVE_SEGS(usp_sys_writev, (int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos),
	       (fd, iov, nr_segs, pos), -1, fd)
WRAP_MOVE_SEGS(usp_sys_append, (int fd, const struct iovec *iov, unsigned nr_segs), (fd, iov, nr_segs), -1, fd)
WRAP_MOVE_SEGS(usp_sys_vmsplice, (int fd, const struct iovec *iov, unsigned nr_segs, unsigned flags),
	       (fd, iov, nr_segs, flags), -1, fd)

ssize_t __real_usp_sys_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_usp_sys_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_usp_sys_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr less = *msg;
	struct wrap_part part;

	if (!fault_fires(FAULT_usp_sys_sendmsg, -1, fd))
		return __real_usp_sys_sendmsg(fd, msg, flags);
	if (fault_error())
		return -fault_error();
	wrap_cut(msg->msg_iov, msg->msg_iovlen, &part);
	less.msg_iov = part.iov;
	less.msg_iovlen = part.nr_segs;
	return __real_usp_sys_sendmsg(fd, &less, flags);
}

ssize_t __real_usp_sys_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_usp_sys_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_usp_sys_recvmsg(int fd, struct msghdr *msg, int flags)
{
	bool is_notice = flags & MSG_ERRQUEUE;
	struct msghdr less = *msg;
	struct wrap_part part;

	if (!fault_fires(is_notice ? FAULT_usp_sys_recvmsg_notice : FAULT_usp_sys_recvmsg, fd, -1))
		return __real_usp_sys_recvmsg(fd, msg, flags);
	if (fault_error())
		return -fault_error();
	wrap_cut(msg->msg_iov, msg->msg_iovlen, &part);
	less.msg_iov = part.iov;
	less.msg_iovlen = part.nr_segs;
	return __real_usp_sys_recvmsg(fd, &less, flags);
}
