/* SPDX-License-Identifier: MIT */
/* wait - wait for descriptors until a moment. */
#ifndef USP_BASE_WAIT_H
#define USP_BASE_WAIT_H

#include <poll.h>
#include <stdint.h>

#define USP_NEVER UINT64_MAX /* no deadline */

/* The earlier of deadline_ns and from_ns + len_ns. len_ns 0 means never. */
static inline uint64_t usp_earlier(uint64_t deadline_ns, uint64_t from_ns, uint64_t len_ns)
{
	return len_ns && from_ns + len_ns < deadline_ns ? from_ns + len_ns : deadline_ns;
}

/* Wait for events of a descriptor until moment_ns of usp_sys_now_ns: 0, -ETIMEDOUT, or -EINTR after a signal. */
int usp_wait_until(int fd, short events, uint64_t moment_ns);

/* The same for several descriptors; revents receives their events. */
int usp_wait_until_any(struct pollfd *fds, unsigned nr_fds, uint64_t moment_ns);

#endif
