/* SPDX-License-Identifier: MIT */
/*
 * fault - make the Nth call of one function fail, and rerun a scenario until no fault fires any more.
 *
 * The library is linked as it is; the linker's --wrap (wrap.args) puts a function of ours in front of every call that can
 * fail: the wrappers of system calls, the heap, the folio pool, pthread_create. Each run is a process of its own, so that a
 * crash or a hang is one failed fault point and every run starts from the same state.
 */
#ifndef USP_TESTS_FAULT_H
#define USP_TESTS_FAULT_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * name, does it move bytes (then it is also made to move fewer), and the errors that it can give. ENOMEM of a function
 * that returns a pointer or a bool is NULL or false. ETIMEDOUT of the clock puts it forward by an hour, for good: that is
 * what a process sees that was stopped.
 */
#define FAULT_CALLS(X)                                                                                                \
	X(usp_alloc, false, ENOMEM)                                                                                   \
	X(usp_alloc_array, false, ENOMEM)                                                                             \
	X(usp_alloc_string, false, ENOMEM)                                                                            \
	X(usp_folio_new, false, ENOMEM)                                                                               \
	X(usp_folio_get, false, ENOMEM)                                                                               \
	X(usp_uring_request, false, ENOMEM)                                                                           \
	X(usp_uring_close, false, ENOMEM)                                                                             \
	X(getaddrinfo, false, EAI_AGAIN, EAI_MEMORY, EAI_NONAME, EAI_SERVICE, EAI_SYSTEM)                             \
	X(pthread_create, false, EAGAIN)                                                                              \
	X(usp_sys_open, false, EACCES, EMFILE, ENOMEM)                                                                \
	X(usp_sys_open_waiting, false, EACCES, EINTR, EMFILE, ENXIO)                                                  \
	X(usp_sys_dup, false, EMFILE)                                                                                 \
	X(usp_sys_reopen, false, EACCES, EMFILE, ENXIO)                                                               \
	X(usp_sys_replace, false, EMFILE)                                                                             \
	X(usp_sys_close, false, EDQUOT, EIO, ENOSPC)                                                                  \
	X(usp_sys_stat, false, EACCES, EIO, ENOENT)                                                                   \
	X(usp_sys_lstat, false, EACCES, EIO)                                                                          \
	X(usp_sys_fstat, false, EIO, ENOMEM)                                                                          \
	X(usp_sys_detach, false, EINVAL, EPERM)                                                                       \
	X(usp_sys_fusermount_detach, false, EIO)                                                                      \
	X(usp_sys_fuse_backing_open, false, ELOOP, EPERM)                                                             \
	X(usp_sys_fuse_backing_close, false, ENOENT)                                                                  \
	X(usp_sys_fs_type, false, EIO, ENOSYS)                                                                        \
	X(usp_sys_fstatvfs, false, EIO, ENOSYS)                                                                       \
	X(usp_sys_get_flags, false, EBADF)                                                                            \
	X(usp_sys_set_flags, false, EPERM)                                                                            \
	X(usp_sys_lseek, false, ESPIPE)                                                                               \
	X(usp_sys_ftruncate, false, EIO, EPERM)                                                                       \
	X(usp_sys_fallocate, false, EIO, EPERM)                                                                       \
	X(usp_sys_append, true, EDQUOT, EFBIG, EINTR, EIO, ENOSPC)                                                    \
	X(usp_sys_set_times, false, EIO, EPERM)                                                                       \
	X(usp_sys_get_attribute, false, EIO, EOPNOTSUPP)                                                              \
	X(usp_sys_access, false, EACCES, ENOSYS)                                                                      \
	X(usp_sys_fsync, false, EDQUOT, EIO, ENOSPC, EROFS)                                                           \
	X(usp_sys_memfd, false, EMFILE, ENOMEM)                                                                       \
	X(usp_sys_memfd_huge, false, EMFILE, ENOMEM)                                                                  \
	X(usp_sys_pty, false, EIO, EMFILE, ENOSPC)                                                                    \
	X(usp_sys_spawn, false, EAGAIN, EMFILE, ENOENT, ENOMEM)                                                       \
	X(usp_sys_signal_child, false, EPERM)                                                                         \
	X(usp_sys_wait_child, false, EAGAIN, ECHILD)                                                                  \
	X(usp_sys_set_file_user, false, EPERM)                                                                        \
	X(usp_sys_readlink, false, EACCES, ENAMETOOLONG)                                                              \
	X(usp_sys_block_size, false, EIO, ENOTTY)                                                                     \
	X(usp_sys_ring, false, EIO, ENOTTY)                                                                           \
	X(usp_sys_readv, true, EAGAIN, EINTR, EINVAL, EIO, ENOMEM)                                                    \
	X(usp_sys_writev, true, EAGAIN, EDQUOT, EFBIG, EINTR, EINVAL, EIO, ENOSPC, EPIPE)                             \
	X(usp_sys_read, true, EAGAIN, EINTR, EIO)                                                                     \
	X(usp_sys_write, true, EAGAIN, EINTR, EIO, ENOSPC)                                                            \
	X(usp_sys_sendmsg, true, EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, EPIPE, ETIMEDOUT)                        \
	X(usp_sys_recvmsg, true, EAGAIN, ECONNRESET, EINTR, ENOMEM, ETIMEDOUT)                                        \
	X(usp_sys_recvmsg_notice, false, EAGAIN, EINTR, ENOMEM)                                                       \
	X(usp_sys_splice, true, EAGAIN, ECONNRESET, EINTR, EINVAL, EIO, ENOMEM, ENOSPC, ENOSYS, EPERM, EPIPE)         \
	X(usp_sys_tee, true, EAGAIN, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM)                                            \
	X(usp_sys_vmsplice, true, EAGAIN, EFAULT, ENOMEM, EPERM)                                                      \
	X(usp_sys_copy_file_range, true, EFBIG, EINTR, EINVAL, EIO, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EXDEV) \
	X(usp_sys_clone_range, false, EINVAL, EIO, EOPNOTSUPP, EPERM, EXDEV)                                          \
	X(usp_sys_pipe, false, EMFILE, ENFILE)                                                                        \
	X(usp_sys_set_pipe_size, false, EBUSY, EINVAL, ENOMEM, EPERM)                                                 \
	X(usp_sys_get_pipe_size, false, EBADF)                                                                        \
	X(usp_sys_bytes_readable, false, EINVAL)                                                                      \
	X(usp_sys_socket, false, EACCES, EAFNOSUPPORT, EMFILE, ENOBUFS)                                               \
	X(usp_sys_connect, false, EADDRNOTAVAIL, EAGAIN, ECONNREFUSED, ENETUNREACH, ETIMEDOUT)                        \
	X(usp_sys_bind, false, EACCES, EADDRINUSE, EADDRNOTAVAIL)                                                     \
	X(usp_sys_listen, false, EADDRINUSE)                                                                          \
	X(usp_sys_accept, false, EAGAIN, ECONNABORTED, EINTR, EMFILE, ENOBUFS)                                        \
	X(usp_sys_getsockname, false, ENOBUFS)                                                                        \
	X(usp_sys_getpeername, false, ENOTCONN)                                                                       \
	X(usp_sys_getsockopt, false, ENOPROTOOPT)                                                                     \
	X(usp_sys_device_is_loopback, false, ENODEV)                                                                  \
	X(usp_sys_device_has, false, EOPNOTSUPP)                                                                      \
	X(usp_sys_device_is_physical, false, ENODEV)                                                                  \
	X(usp_sys_is_dax, false, ENODATA)                                                                             \
	X(usp_sys_drop_cache, false, ESPIPE)                                                                          \
	X(usp_sys_set_read_ahead, false, EACCES)                                                                      \
	X(usp_sys_read_cached, false, EAGAIN, EOPNOTSUPP, EIO)                                                        \
	X(usp_sys_is_cached, false, EPERM)                                                                            \
	X(usp_sys_sync_range, false, EIO, ENOSPC, ENOSYS)                                                             \
	X(usp_sys_cached_bytes, false, EPERM)                                                                         \
	X(usp_sys_is_resident, false, EPERM)                                                                          \
	X(usp_sys_extents, false, EOPNOTSUPP)                                                                         \
	X(usp_sys_getsockopt_int, false, ENOPROTOOPT)                                                                 \
	X(usp_sys_socket_timeout, false, ENOPROTOOPT)                                                                 \
	X(usp_sys_net_cookie, false, ENOPROTOOPT)                                                                     \
	X(usp_sys_setsockopt_int, false, ENOMEM, ENOPROTOOPT)                                                         \
	X(usp_sys_setsockopt, false, ENOMEM, ENOPROTOOPT)                                                             \
	X(usp_sys_shutdown, false, ENOBUFS, ENOTCONN)                                                                 \
	X(usp_sys_socketpair, false, EMFILE, ENFILE)                                                                  \
	X(usp_sys_bytes_unsent, false, EINVAL)                                                                        \
	X(usp_sys_dropped, false, ENOPROTOOPT)                                                                        \
	X(usp_sys_at_mark, false, EINVAL)                                                                             \
	X(usp_sys_unlink, false, EACCES, ENOENT)                                                                      \
	X(usp_sys_fchmod, false, ENOENT, EPERM)                                                                       \
	X(usp_sys_fchown, false, EPERM)                                                                               \
	X(usp_sys_flock, false, EAGAIN, ENOLCK)                                                                       \
	X(usp_sys_poll, false, EINTR, ENOMEM)                                                                         \
	X(usp_sys_epoll, false, EMFILE, ENOMEM)                                                                       \
	X(usp_sys_epoll_ctl, false, ENOMEM, ENOSPC)                                                                   \
	X(usp_sys_epoll_wait, false, EINTR)                                                                           \
	X(usp_sys_eventfd, false, EMFILE, ENOMEM)                                                                     \
	X(usp_sys_now_ns, false, ETIMEDOUT)                                                                           \
	X(usp_sys_map_anon, false, ENOMEM)                                                                            \
	X(usp_sys_map_own, false, ENOMEM)                                                                             \
	X(usp_sys_map_file, false, EACCES, ENOMEM)                                                                    \
	X(usp_sys_get_policy, false, EPERM)                                                                           \
	X(usp_sys_set_policy, false, EPERM)

#define FAULT_ENUM(name, ...) FAULT_##name,
enum fault_call { FAULT_CALLS(FAULT_ENUM) FAULT_NR_CALLS };

/* A call that moves bytes moves fewer than it was asked for. */
enum fault_cut { FAULT_NO_CUT, FAULT_TO_ONE, FAULT_TO_HALF, FAULT_BY_ONE, FAULT_NR_CUTS };

/* One fault: the Nth call of a function, or that one and all behind it, gives an error or is cut; or the process forks there. */
struct fault_plan {
	enum fault_call call;
	unsigned nth;
	bool is_sticky;
	int error; /* positive; of getaddrinfo EAI_AGAIN and so on, which are negative; 0 for a cut */
	bool forks;
	enum fault_cut cut;
};

/* What the fault met. Descriptors are -1 where the call has none. */
struct fault_hit {
	bool has_fired;
	struct fault_plan plan;
	int from_fd, to_fd; /* of calls that move bytes */
};

/* From here to fault_disarm the plan of this run is in force. Only between them are calls counted. */
void fault_arm(void);
void fault_disarm(void);
struct fault_hit fault_hit(void);

/* It says "try again", is only a short count, a fork, or nothing but time: whoever met it must go on. */
bool fault_is_transient(const struct fault_plan *plan);

/* Allocations of the library and lists of addresses that have not been freed, and open descriptors of the process. */
size_t fault_nr_live(void);
unsigned fault_nr_fds(void);

/* In a child of a fork in the middle of a run: can it use all that the library shares between its objects? In fork.c. */
bool fault_child_can_copy(void);

/* In a scenario: note what is wrong. The run goes on, and fails. */
void fault_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define fault_check(condition) \
	((condition) ? (void)0 : fault_complain("%s:%d: not so: %s", __FILE__, __LINE__, #condition))

/* What a scenario leaves to its later runs: the first one, without a fault, may note what the others must match. */
extern int64_t *fault_notes;

/*
 * How many times as fast as else the time of the library passes while it waits: its clock moves on by what a wait leaves
 * out. Set it before fault_main. Time-outs that bound the test's own threads have to be as many times longer.
 */
extern unsigned fault_haste;
#define FAULT_NR_NOTES 64

struct fault_scenario {
	const char *name;
	void (*run)(const void *arg);
	const void *arg;
};

/* Rerun it with every fault in turn; the number of runs that were wrong. */
unsigned fault_explore(const struct fault_scenario *scenario);

/*
 * Explore all of them as cmocka tests, or those that the pattern in $USP_FAULT_SCENARIO names, and print how many faults
 * there were. The exit code.
 */
int fault_main(const struct fault_scenario *scenarios, unsigned nr_scenarios);

#endif
