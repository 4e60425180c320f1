/* SPDX-License-Identifier: MIT */
/*
 * uring - a ring of io_uring in the loop of its thread.
 *
 * The ring waits inside the loop's own wait: the kernel writes to an eventfd when there is work.
 * Requests of one round are handed over together, and a completion goes to the owner of its request.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "event/uring_open.h"
#include "event/uring_ring.h"

#define URING_RUN_NS 100000 /* in one round of the loop, so that the loop's own descriptors get their turn */

/* --- Requests and completions ------------------------------------------------------------------------- */

struct io_uring_sqe *usp_uring_request(struct usp_uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	if (!sqe) {
		io_uring_submit(&uring->ring);
		sqe = io_uring_get_sqe(&uring->ring);
	}
	if (!uring->is_running)
		usp_loop_defer(uring->loop, &uring->task);
	return sqe;
}

static void uring_complete(const struct io_uring_cqe *cqe)
{
	unsigned request = cqe->user_data & USP_URING_REQUEST_MASK;
	struct usp_uring_owner *owner = (struct usp_uring_owner *)(uintptr_t)(cqe->user_data - request);

	if (owner)
		owner->completed(owner, request, cqe);
}

bool usp_uring_close(struct usp_uring *uring, int fd)
{
	struct io_uring_sqe *sqe = usp_uring_request(uring);

	if (!sqe)
		return false;
	io_uring_prep_close(sqe, fd);
	io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
	io_uring_sqe_set_data64(sqe, usp_uring_tag(NULL, 0));
	return true;
}

/*
 * Tell whether there are requests to hand over, or descriptors to look at. Newer kernels look at
 * twenty in one call. If these have nothing, no event tells of the others.
 */
static bool uring_has_more(const struct usp_uring *uring)
{
	return io_uring_sq_ready(&uring->ring) || IO_URING_READ_ONCE(*uring->ring.sq.kflags) & IORING_SQ_TASKRUN;
}

static bool uring_take(struct usp_uring *uring, struct io_uring_cqe *ret_cqe)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&uring->ring, head, cqe)
	{
		*ret_cqe = *cqe;
		io_uring_cq_advance(&uring->ring, 1);
		return true;
	}
	return false;
}

/* For URING_RUN_NS, hand over requests and take in completions, which make new requests. */
static void uring_run(struct usp_task *task)
{
	struct usp_uring *uring = usp_container_of(task, struct usp_uring, task);
	uint64_t end_ns = usp_sys_now_ns() + URING_RUN_NS;
	struct io_uring_cqe done;

	uring->is_running = true;
	do {
		io_uring_submit_and_get_events(&uring->ring);
		while (uring_take(uring, &done))
			uring_complete(&done);
	} while (uring_has_more(uring) && usp_sys_now_ns() < end_ns);
	uring->is_running = false;
	if (uring_has_more(uring))
		usp_loop_defer(uring->loop, &uring->task);
}

static void uring_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_uring *uring = usp_container_of(watch, struct usp_uring, watch);

	(void)events;
	usp_loop_defer(uring->loop, &uring->task);
}

static void uring_free(struct usp_uring *uring)
{
	if (uring->event_fd >= 0)
		usp_sys_close(uring->event_fd);
	usp_free(uring);
}

static void uring_unmake(struct usp_uring *uring)
{
	struct usp_uring_owner *owner;

	io_uring_queue_exit(&uring->ring);
	while ((owner = LIST_FIRST(&uring->owners))) {
		LIST_REMOVE(owner, link);
		usp_free(owner);
	}
	usp_uring_free_buffers(uring);
	uring_free(uring);
}

int usp_uring_new(struct usp_loop *loop, struct usp_uring **ret_uring)
{
	struct usp_uring *uring = usp_alloc(sizeof(*uring));
	int ret;

	if (!uring)
		return -ENOMEM;
	uring->event_fd = usp_sys_eventfd();
	ret = uring->event_fd < 0 ? uring->event_fd : usp_uring_open(&uring->ring, uring->event_fd);
	if (ret < 0) {
		uring_free(uring);
		return ret;
	}
	uring->loop = loop;
	uring->watch.ready = uring_ready;
	uring->task.run = uring_run;
	ret = usp_uring_make_buffers(uring);
	if (ret == 0)
		ret = usp_loop_watch(loop, uring->event_fd, EPOLLIN | EPOLLET, &uring->watch);
	if (ret < 0) {
		uring_unmake(uring);
		return ret;
	}
	*ret_uring = uring;
	return 0;
}

void usp_uring_free(struct usp_uring *uring)
{
	if (!uring)
		return;
	io_uring_submit(&uring->ring); /* what is to be closed */
	usp_loop_unwatch(uring->loop, uring->event_fd);
	uring_unmake(uring);
}
