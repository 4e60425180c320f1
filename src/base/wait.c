/* SPDX-License-Identifier: MIT */
/* wait - wait for descriptors until a moment. */
#include "base/wait.h"

#include <errno.h>

#include "base/sys.h"

int usp_wait_until_any(struct pollfd *fds, unsigned nr_fds, uint64_t moment_ns)
{
	uint64_t now_ns = usp_sys_now_ns();
	int64_t left_ns = moment_ns == USP_NEVER ? -1 : moment_ns > now_ns ? (int64_t)(moment_ns - now_ns) : 0;
	int ret = usp_sys_poll(fds, nr_fds, left_ns);

	return ret == 0 ? -ETIMEDOUT : ret < 0 ? ret : 0;
}

int usp_wait_until(int fd, short events, uint64_t moment_ns)
{
	struct pollfd pollfd = {.fd = fd, .events = events};

	return usp_wait_until_any(&pollfd, 1, moment_ns);
}
