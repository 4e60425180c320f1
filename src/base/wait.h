/* SPDX-License-Identifier: MIT */
/* wait - for a descriptor, until a moment. */
#ifndef USP_BASE_WAIT_H
#define USP_BASE_WAIT_H

#include <poll.h>
#include <stdint.h>

#define USP_NEVER UINT64_MAX /* a moment that does not come */

/* The earlier one of a deadline and len_ns from a moment on, where 0 means never. */
static inline uint64_t usp_earlier(uint64_t deadline_ns, uint64_t from_ns, uint64_t len_ns)
{
	return len_ns && from_ns + len_ns < deadline_ns ? from_ns + len_ns : deadline_ns;
}

/* Wait for events of a descriptor until a moment of usp_sys_now_ns: 0, -ETIMEDOUT, or -EINTR after a signal. */
int usp_wait_until(int fd, short events, uint64_t moment_ns);

/* The same for several descriptors, whose events are told in revents. */
int usp_wait_until_any(struct pollfd *fds, unsigned nr_fds, uint64_t moment_ns);

#endif
