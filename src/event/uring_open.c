/* SPDX-License-Identifier: MIT */
/* uring_open - a ring of io_uring that a loop can wait for. */
#include "event/uring_open.h"

#include <stdbool.h>
#include <sys/socket.h>

#include "base/sys.h"

#define URING_ENTRIES 1024
#define URING_COMPLETIONS 8192

static int uring_open(struct io_uring *ring, int event_fd, unsigned when_work_is_done)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE |
			 when_work_is_done,
		.cq_entries = URING_COMPLETIONS,
	};
	int ret = io_uring_queue_init_params(URING_ENTRIES, ring, &params);

	if (ret < 0)
		return ret;
	ret = io_uring_register_eventfd(ring, event_fd);
	if (ret < 0)
		io_uring_queue_exit(ring);
	return ret;
}

/* Test that the eventfd becomes readable at once when a descriptor does that the ring waits for. */
static bool uring_tells_at_once(struct io_uring *ring, int event_fd)
{
	struct pollfd told = {.fd = event_fd, .events = POLLIN};
	bool is_told;
	int ends[2];

	if (usp_sys_socketpair(AF_UNIX, SOCK_STREAM, ends) < 0)
		return false;
	io_uring_prep_poll_add(io_uring_get_sqe(ring), ends[0], POLLIN);
	io_uring_submit_and_get_events(ring);
	usp_sys_eventfd_set(event_fd, false);
	usp_sys_write(ends[1], "", 1);
	is_told = usp_sys_poll(&told, 1, 0) > 0;
	io_uring_submit_and_get_events(ring);
	io_uring_cq_advance(ring, io_uring_cq_ready(ring));
	usp_sys_close(ends[0]);
	usp_sys_close(ends[1]);
	return is_told;
}

/*
 * It is cheapest when work waits until the thread asks for it (DEFER_TASKRUN). But some kernels tell
 * of such work by an RCU callback: the first time tens of milliseconds late, and then never again
 * (seen: 6.12.117). There COOP_TASKRUN is used: the work is done whenever the thread enters the
 * kernel.
 */
int usp_uring_open(struct io_uring *ret_ring, int event_fd)
{
	int ret = uring_open(ret_ring, event_fd, IORING_SETUP_DEFER_TASKRUN);

	if (ret < 0 || uring_tells_at_once(ret_ring, event_fd))
		return ret;
	io_uring_queue_exit(ret_ring);
	return uring_open(ret_ring, event_fd, IORING_SETUP_COOP_TASKRUN);
}
