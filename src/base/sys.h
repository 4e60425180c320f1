/* SPDX-License-Identifier: MIT */
/* sys - the one door to the kernel: every wrapper returns a result or -errno. No other file reads errno. */
#ifndef USP_BASE_SYS_H
#define USP_BASE_SYS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Descriptors. O_CLOEXEC is always added. */
int usp_sys_open(const char *path, int flags, unsigned mode);
int usp_sys_open_waiting(const char *path, int flags); /* for a FIFO: a signal ends the wait with -EINTR */
int usp_sys_dup(int fd);			       /* a number above the standard ones, close-on-exec */
int usp_sys_reopen(int fd, int flags);		       /* a new description of the same object, through /proc/self/fd */
int usp_sys_replace(int fd, int target);	       /* dup3(2) fd to target, and close fd on success */

/*
 * close(2): 0, or -errno, the error of a delayed write (-EINTR: its outcome is unknown). fd is closed
 * in any case. A standard descriptor gets /dev/null in its place. -1 is allowed.
 */
int usp_sys_close(int fd);
int usp_sys_stat(const char *path, struct stat *ret_stat);
int usp_sys_lstat(const char *path, struct stat *ret_stat);
int usp_sys_fstat(int fd, struct stat *ret_stat);
long usp_sys_fs_type(int fd); /* f_type of statfs(2) */
int usp_sys_fstatvfs(int fd, struct statvfs *ret_stat);
int usp_sys_get_flags(int fd); /* F_GETFL */
int usp_sys_set_flags(int fd, int flags);
int64_t usp_sys_lseek(int fd, int64_t off, int whence);
int usp_sys_ftruncate(int fd, int64_t len);
int usp_sys_fallocate(int fd, int mode, int64_t off, int64_t len);
int usp_sys_fsync(int fd);
ssize_t usp_sys_append(int fd, const struct iovec *iov,
		       unsigned nr_segs);		       /* at the end, without moving the offset: RWF_APPEND */
int usp_sys_set_times(int fd, const struct timespec times[2]); /* futimens(3) */
ssize_t usp_sys_get_attribute(int fd, const char *name, void *ret_value, size_t len); /* fgetxattr(2) */
int usp_sys_access(int fd, int mode);	  /* whether this process could open it now: R_OK, W_OK; -EACCES */
int usp_sys_memfd(const char *name);	  /* name shows only in /proc; the file has no path */
int usp_sys_memfd_huge(const char *name); /* of huge pages; none is taken before the file is mapped and touched */
/* A terminal in raw mode: what is written to ret_fds[1], the master, is read from ret_fds[0]. Nonblocking. */
int usp_sys_pty(int ret_fds[2]);
ssize_t usp_sys_readlink(const char *path, char *ret_text, size_t len); /* no 0 at the end; -ENAMETOOLONG if cut */
int usp_sys_is_dax(int fd); /* statx(2): 1 if the file goes around the page cache, always; 0; -ENODATA: unknown */
/*
 * Set how far the kernel reads ahead on what is mounted at path: read_ahead_kb in /sys/class/bdi. The file system there is
 * asked nothing. -EACCES without the rights, -ENOENT without /sys.
 */
int usp_sys_set_read_ahead(const char *path, size_t len);
int64_t usp_sys_block_size(int fd);			    /* BLKGETSIZE64 */
int usp_sys_ring(int fd, unsigned long request, void *arg); /* ioctl(2) on /dev/usplice; a request of usplice_ring.h */

/* Take a mount out of the tree: umount2(2) with MNT_DETACH, and it follows no link. */
int usp_sys_detach(const char *path);
/* The same by fusermount3, for a mount of FUSE of an ordinary user. Blocks. -EIO: it could not, or is not there. */
int usp_sys_fusermount_detach(const char *path);
/* Tell whether the file system at a path is one of FUSE whose server has ended. Asks the file system. */
bool usp_sys_has_no_server(const char *path);
/* Tell whether a file system of this type is mounted at a path, on top: the whole path, without links. */
bool usp_sys_is_mounted(const char *path, const char *type);
/* Number a file for passthrough of FUSE, and forget the number. The number, above 0, or -errno. */
int usp_sys_fuse_backing_open(int fuse_fd, int fd);
int usp_sys_fuse_backing_close(int fuse_fd, int number);

/* Bytes. pos NULL: at the descriptor's own offset. A positional call does not change *pos. */
ssize_t usp_sys_readv(int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos);
ssize_t usp_sys_writev(int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos);
ssize_t usp_sys_read(int fd, void *base, size_t len);
ssize_t usp_sys_write(int fd, const void *base, size_t len);
ssize_t usp_sys_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t usp_sys_recvmsg(int fd, struct msghdr *msg, int flags);

/*
 * The page cache. drop asks it to forget what it can of a range. is_cached tells whether the page at off
 * is there, or -EPERM if the kernel does not tell this process the truth.
 * sync_range writes dirty pages of a range to the storage, or only begins that: sync_file_range(2), so without
 * the metadata. cached_bytes counts the pages of a range that are there, in bytes.
 */
int usp_sys_drop_cache(int fd, int64_t off, size_t len); /* len 0: up to the end */
int usp_sys_is_cached(int fd, int64_t off);
int usp_sys_sync_range(int fd, int64_t off, uint64_t len, bool waits);
int64_t usp_sys_cached_bytes(int fd, int64_t off, uint64_t len);

/*
 * Read bytes at off that are in the page cache, without a wait: RWF_NOWAIT. Bytes, 0 at the end of the file, -EAGAIN if
 * the byte at off is not there, which the kernel may then begin to read, or -EOPNOTSUPP.
 */
ssize_t usp_sys_read_cached(int fd, void *base, size_t len, int64_t off);

/* The same by mincore(2) alone, which never makes the kernel read ahead. Maps the page for a moment. */
int usp_sys_is_resident(int fd, int64_t off);

/*
 * Read the extents of a range by FIEMAP into *map, which has room for nr. With is_synced the file is written
 * out first. Returns their number, or -errno.
 */
struct fiemap;
int usp_sys_extents(int fd, int64_t off, uint64_t len, bool is_synced, unsigned nr, struct fiemap *map);

/* splice(2) and its family. off: NULL, or the offset, which the kernel advances. */
ssize_t usp_sys_splice(int in, int64_t *off_in, int out, int64_t *off_out, size_t len, unsigned flags);
ssize_t usp_sys_tee(int in, int out, size_t len, unsigned flags);
ssize_t usp_sys_vmsplice(int fd, const struct iovec *iov, unsigned nr_segs, unsigned flags);
ssize_t usp_sys_copy_file_range(int in, int64_t *off_in, int out, int64_t *off_out, size_t len);
int usp_sys_clone_range(int in, int64_t off_in, int out, int64_t off_out, size_t len); /* FICLONERANGE */
int usp_sys_pipe(int ret_fds[2], int flags);
int usp_sys_set_pipe_size(int fd, size_t len); /* the resulting size or -errno */
int usp_sys_get_pipe_size(int fd);
int usp_sys_bytes_readable(int fd); /* FIONREAD */

/* Sockets. All are made O_NONBLOCK; sends never raise SIGPIPE. */
int usp_sys_socket(int domain, int type, int protocol);
int usp_sys_connect(int fd, const struct sockaddr *addr, socklen_t len);
int usp_sys_bind(int fd, const struct sockaddr *addr, socklen_t len);
int usp_sys_listen(int fd, int backlog);
int usp_sys_accept(int fd, struct sockaddr_storage *ret_peer); /* ret_peer may be NULL */
int usp_sys_getsockname(int fd, struct sockaddr *ret_addr, socklen_t *len);
int usp_sys_getpeername(int fd, struct sockaddr *ret_addr, socklen_t *len);
int usp_sys_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *len);
int usp_sys_getsockopt_int(int fd, int level, int name);
int64_t usp_sys_socket_timeout(int fd, int name); /* SO_RCVTIMEO or SO_SNDTIMEO in ns; 0: none */
int64_t usp_sys_net_cookie(int fd);		  /* SO_NETNS_COOKIE: the number of its network namespace */
int usp_sys_setsockopt_int(int fd, int level, int name, int value);
int usp_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int usp_sys_shutdown(int fd, int how);
int usp_sys_socketpair(int domain, int type, int ret_fds[2]);
int usp_sys_bytes_unsent(int fd); /* SIOCOUTQ: for TCP, bytes not acknowledged by the peer */
int64_t usp_sys_dropped(int fd);  /* SO_MEMINFO: datagrams that came and found no room in the queue of a socket */
/* A network device by its number: a flag or a feature of it (1, 0, or -errno). fd is any socket of its namespace. */
int usp_sys_device_is_loopback(int fd, unsigned index);
int usp_sys_device_has(int fd, unsigned index, unsigned ethtool_get); /* ETHTOOL_GSG, ETHTOOL_GTXCSUM */
int usp_sys_device_is_physical(int fd, unsigned index);
int usp_sys_at_mark(int fd); /* 1 if the next byte of a stream is urgent, or 0 */
int usp_sys_unlink(const char *path);
int usp_sys_fchmod(int fd, unsigned mode);	     /* also with O_PATH, which needs /proc */
int usp_sys_fchown(int fd, uid_t user, gid_t group); /* also with O_PATH; -1: unchanged */
int usp_sys_flock(int fd);			     /* LOCK_EX: -EAGAIN if it is held */

/* Waiting. timeout_ns < 0 waits for ever. Return the number of ready descriptors, 0, or -errno (-EINTR too). */
int usp_sys_poll(struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns);
int usp_sys_eventfd(void);		       /* nonblocking */
void usp_sys_eventfd_set(int fd, bool is_set); /* readable or not; async-signal-safe */
int usp_sys_epoll(void);
int usp_sys_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int usp_sys_epoll_wait(int epoll_fd, struct epoll_event *ret_events, unsigned nr_events, int64_t timeout_ns);

/* Memory and time. */
void *usp_sys_map_anon(size_t len); /* NULL if memory is short; asks for huge pages where len allows */
void *usp_sys_map_own(size_t len);  /* zeroed, and zeroed again in a child (MADV_WIPEONFORK); NULL if impossible */
int usp_sys_map_file(int fd, size_t len, void **ret_base); /* shared, readable and writable */
void usp_sys_unmap(void *base, size_t len);
uint64_t usp_sys_now_ns(void);		     /* CLOCK_MONOTONIC */
void usp_sys_date(struct timespec *ret_now); /* CLOCK_REALTIME */
bool usp_sys_is_recent(
	const struct timespec *when); /* of a file: a change now may get the same time, or an older one */
uint64_t usp_sys_thread_cpu_ns(void); /* what the calling thread has used */

int usp_sys_pid(void);
bool usp_sys_is_own_thread(int thread); /* by the number that other processes see, such as the kernel tells */
uid_t usp_sys_user(void);		/* the effective ones */
gid_t usp_sys_group(void);

/*
 * Run /bin/sh -c command as a child, with in as its standard input and out as its standard output; -1: those of this
 * process. It gets no other descriptor but standard error, no blocked signal, and SIGPIPE as by default. Returns a
 * pidfd, or -errno. wait waits for the end of such a child, or gives -EAGAIN unless it blocks: 0 with its status as of
 * waitpid(2), or -ECHILD if somebody else took the status.
 */
int usp_sys_spawn(const char *command, int in, int out);
int usp_sys_signal_child(int pidfd, int signo);
int usp_sys_wait_child(int pidfd, bool blocks, int *ret_status);

unsigned usp_sys_fd_limit(void);	     /* RLIMIT_NOFILE: descriptors are below this number */
unsigned usp_sys_nr_processors(void);	     /* that this thread may run on; at least 1 */
void usp_sys_random(void *base, size_t len); /* unpredictable: getrandom(2), else AT_RANDOM */

/*
 * Let the calling thread, and no other one, reach files as another user does: 0, or -EPERM without an effect. A thread
 * of root then has no right to pass over modes and owners. restore undoes it.
 */
int usp_sys_set_file_user(uid_t user);
void usp_sys_restore_file_user(void);

/* The scheduling policy of the calling thread: SCHED_OTHER and so on, see sched_getscheduler(2). */
int usp_sys_get_policy(void);
int usp_sys_set_policy(int policy); /* with priority 0 */

/* Block all signals in this thread, so that a thread made meanwhile handles none; and restore the mask. */
void usp_sys_block_signals(sigset_t *ret_old_mask);
void usp_sys_restore_signals(const sigset_t *old_mask);

/*
 * Hide the SIGPIPE and SIGXFSZ that calls between begin and end raise. begin blocks both signals in
 * this thread; end discards those that were raised meanwhile, and restores the mask. Pairs nest; only
 * the outer one costs system calls.
 */
struct usp_sigpipe_guard {
	sigset_t old_mask;
	sigset_t discards; /* those of the two that were not pending at begin */
};
void usp_sigpipe_begin(struct usp_sigpipe_guard *guard);
void usp_sigpipe_end(const struct usp_sigpipe_guard *guard);

#endif
