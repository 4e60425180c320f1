/* SPDX-License-Identifier: MIT */
/* sys_wait - the system calls that wait for descriptors, and those that end a wait. */
#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/sys_door.h"

#define SYS_NS_PER_MS 1000000

/* poll(2): where a system has no memory, EAGAIN may come as EINTR does, and a caller looks again. Linux fails with ENOMEM. */
int usp_sys_poll(struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns)
{
	const struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / SYS_NS_PER_S),
		.tv_nsec = (long)(timeout_ns % SYS_NS_PER_S),
	};
	int ret = (int)sys_result(ppoll(fds, nr_fds, timeout_ns < 0 ? NULL : &timeout, NULL));

	return ret == -EAGAIN ? -EINTR : ret;
}

int usp_sys_eventfd(void)
{
	return (int)sys_result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* Both calls fail with EAGAIN if there is nothing to change. errno is restored for signal handlers. */
void usp_sys_eventfd_set(int fd, bool is_set)
{
	uint64_t count = 1;
	int saved_errno = errno;
	ssize_t result;

	do {
		result = is_set ? write(fd, &count, sizeof(count)) : read(fd, &count, sizeof(count));
	} while (result < 0 && errno == EINTR);
	errno = saved_errno;
}

int usp_sys_epoll(void)
{
	return (int)sys_result(epoll_create1(EPOLL_CLOEXEC));
}

int usp_sys_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
	return (int)sys_result(epoll_ctl(epoll_fd, op, fd, event));
}

/* In milliseconds, rounded up: epoll_pwait2(2) is newer than the oldest supported kernel. */
int usp_sys_epoll_wait(int epoll_fd, struct epoll_event *ret_events, unsigned nr_events, int64_t timeout_ns)
{
	int64_t timeout_ms = timeout_ns < 0 ? -1 : timeout_ns / SYS_NS_PER_MS + (timeout_ns % SYS_NS_PER_MS != 0);

	return (int)sys_result(
		epoll_wait(epoll_fd, ret_events, (int)nr_events, timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms));
}
