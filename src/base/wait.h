/* SPDX-License-Identifier: MIT */
/* wait - for a descriptor, until a moment. */
#ifndef USP_BASE_WAIT_H
#define USP_BASE_WAIT_H

#include <poll.h>
#include <stdint.h>

#define USP_NEVER UINT64_MAX /* a moment that does not come */

/* Wait for events of a descriptor until a moment of usp_sys_now_ns: 0, -ETIMEDOUT, or -EINTR after a signal. */
int usp_wait_until(int fd, short events, uint64_t moment_ns);

/* The same for several descriptors, whose events are told in revents. */
int usp_wait_until_any(struct pollfd *fds, unsigned nr_fds, uint64_t moment_ns);

#endif
