/* SPDX-License-Identifier: MIT */
/* sys - the one door to the kernel: every wrapper returns a result or -errno, and nobody else looks at errno. */
#ifndef USP_BASE_SYS_H
#define USP_BASE_SYS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Descriptors. O_CLOEXEC is always added. */
int usp_sys_open(const char *path, int flags, unsigned mode);
int usp_sys_open_waiting(const char *path, int flags); /* for a FIFO: a signal ends the wait with -EINTR */
int usp_sys_reopen(int fd, int flags);		       /* a new description of the same object, through /proc/self/fd */
int usp_sys_replace(int fd, int target); /* make target mean what fd means, and close fd unless it fails */

/*
 * close(2): 0, or -errno, which is what a delayed write came to (-EINTR: nobody knows). fd is gone in any case. A standard
 * descriptor gets /dev/null in its place. -1 is allowed.
 */
int usp_sys_close(int fd);
int usp_sys_stat(const char *path, struct stat *ret_stat);
int usp_sys_lstat(const char *path, struct stat *ret_stat);
int usp_sys_fstat(int fd, struct stat *ret_stat);
long usp_sys_fs_type(int fd);  /* f_type of statfs(2) */
int usp_sys_get_flags(int fd); /* F_GETFL */
int usp_sys_set_flags(int fd, int flags);
int64_t usp_sys_lseek(int fd, int64_t off, int whence);
int usp_sys_ftruncate(int fd, int64_t len);
int usp_sys_fsync(int fd);
int usp_sys_memfd(const char *name); /* for the reports of the kernel only; the file has no name */
ssize_t usp_sys_readlink(const char *path, char *ret_text,
			 size_t len); /* not ended by a 0; -ENAMETOOLONG if it was cut */
int64_t usp_sys_block_size(int fd);   /* BLKGETSIZE64 */

/* Bytes. pos NULL means stream order; a positional call leaves *pos to the caller. */
ssize_t usp_sys_readv(int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos);
ssize_t usp_sys_writev(int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos);
ssize_t usp_sys_read(int fd, void *base, size_t len);
ssize_t usp_sys_write(int fd, const void *base, size_t len);
ssize_t usp_sys_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t usp_sys_recvmsg(int fd, struct msghdr *msg, int flags);

/* splice(2) and its family; off NULL or the offset that the kernel advances. */
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
int usp_sys_accept(int fd, struct sockaddr_storage *ret_peer); /* NULL: who it is does not matter */
int usp_sys_getsockname(int fd, struct sockaddr *ret_addr, socklen_t *len);
int usp_sys_getsockopt_int(int fd, int level, int name);
int64_t usp_sys_socket_timeout(int fd, int name); /* SO_RCVTIMEO or SO_SNDTIMEO in ns; 0: none */
int64_t usp_sys_net_cookie(int fd);		  /* SO_NETNS_COOKIE: the number of its network namespace */
int usp_sys_setsockopt_int(int fd, int level, int name, int value);
int usp_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int usp_sys_shutdown(int fd, int how);
int usp_sys_socketpair(int domain, int type, int ret_fds[2]);
int usp_sys_bytes_unsent(int fd); /* SIOCOUTQ: of TCP, what the peer has not acknowledged */
int usp_sys_at_mark(int fd);	  /* 1 if the next byte of a stream is urgent, or 0 */
int usp_sys_unlink(const char *path);
int usp_sys_fchmod(int fd, unsigned mode);	     /* also of what was opened with O_PATH: then needs /proc */
int usp_sys_fchown(int fd, uid_t user, gid_t group); /* the same, without /proc; -1 leaves it */
int usp_sys_flock(int fd);			     /* for itself: -EAGAIN if it is held */

/* Waiting. timeout_ns < 0 waits for ever; the number of ready descriptors, 0, or -errno (-EINTR too). */
int usp_sys_poll(struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns);
int usp_sys_eventfd(void);		       /* nonblocking */
void usp_sys_eventfd_set(int fd, bool is_set); /* readable or not; async-signal-safe */
int usp_sys_epoll(void);
int usp_sys_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int usp_sys_epoll_wait(int epoll_fd, struct epoll_event *ret_events, unsigned nr_events, int64_t timeout_ns);

/* Memory and time. */
void *usp_sys_map_anon(size_t len); /* NULL if memory is short; asks for huge pages where len allows */
void *usp_sys_map_own(size_t len); /* zeros, and zeros again in a child (MADV_WIPEONFORK); NULL if that cannot be had */
int usp_sys_map_file(int fd, size_t len, void **ret_base); /* shared, readable and writable */
void usp_sys_unmap(void *base, size_t len);
uint64_t usp_sys_now_ns(void);	      /* CLOCK_MONOTONIC */
uint64_t usp_sys_thread_cpu_ns(void); /* what the calling thread has used */

int usp_sys_pid(void);
unsigned usp_sys_fd_limit(void);	     /* the lowest number that no descriptor of this process may have now */
void usp_sys_random(void *base, size_t len); /* nobody can guess it: getrandom(2), or what a program had at its start */

/* How the calling thread is scheduled: SCHED_OTHER or another, as sched_getscheduler(2) says. */
int usp_sys_get_policy(void);
int usp_sys_set_policy(int policy); /* with priority 0 */

/* Block all signals in this thread, so that a thread it makes takes none; and put the old mask back. */
void usp_sys_block_signals(sigset_t *ret_old_mask);
void usp_sys_restore_signals(const sigset_t *old_mask);

/*
 * Keep a SIGPIPE, or a SIGXFSZ, that the calls in between raise from the caller: begin blocks both in this thread, end discards
 * what was raised meanwhile and restores the mask. Pairs nest, and only the outer one costs system calls.
 */
struct usp_sigpipe_guard {
	sigset_t old_mask;
	sigset_t discards; /* of both, those that were not pending before */
};
void usp_sigpipe_begin(struct usp_sigpipe_guard *guard);
void usp_sigpipe_end(const struct usp_sigpipe_guard *guard);

#endif
