/* SPDX-License-Identifier: MIT */
/*
 * pipe_wait - waiting for a side of a pipe, and waking it.
 *
 * A waiter spins a little before it sleeps, because a wake-up across cores costs tens of microseconds
 * and the other side often needs less than one. The spin shrinks where it does not pay, as when both
 * sides share a CPU, and now and then a long one is tried again. It looks seldom: what arrives between
 * two looks is taken in one turn.
 */
#include <errno.h>
#include <time.h>

#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "splice/pipe.h"

#define SPIN_PAUSES 16 /* between two looks: a look takes the cache line from the other side */
#define SPIN_MIN 4u
#define SPIN_MAX 256u
#define SPIN_RETRY 16 /* waits after which a long spin is tried again */

void usp_pipe_side_init(struct usp_pipe_side *side)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&side->wait, &attr);
	pthread_condattr_destroy(&attr);
	side->nr_open = 1;
	side->spin = SPIN_MIN;
	side->event_fd = -1;
}

void usp_pipe_side_fini(struct usp_pipe_side *side)
{
	pthread_cond_destroy(&side->wait);
	if (side->event_fd >= 0)
		usp_sys_close(side->event_fd);
}

static void side_set_event(struct usp_pipe_side *side, bool is_ready)
{
	if (side->event_fd < 0 || side->event_set == is_ready || side->event_process != usp_own_nr())
		return;
	usp_sys_eventfd_set(side->event_fd, is_ready);
	side->event_set = is_ready;
}

void usp_pipe_unlock(struct usp_pipe *pipe)
{
	side_set_event(&pipe->rd, !usp_pipe_is_empty(pipe) || !pipe->wr.nr_open);
	side_set_event(&pipe->wr, !usp_pipe_is_full(pipe) || !pipe->rd.nr_open);
	usp_pipe_check(pipe);
	pthread_mutex_unlock(&pipe->lock);
}

void usp_pipe_wake(struct usp_pipe_side *side)
{
	atomic_fetch_add_explicit(&side->nr_wakes, 1, memory_order_release);
	if (side->nr_waiters)
		pthread_cond_broadcast(&side->wait);
}

/* Spin for that many looks. True if something changed. */
static bool side_spin(struct usp_pipe_side *side, unsigned seen, unsigned spin)
{
	for (unsigned i = 0; i < spin; i++) {
		if (atomic_load_explicit(&side->nr_wakes, memory_order_acquire) != seen)
			return true;
		for (unsigned pause = 0; pause < SPIN_PAUSES; pause++)
			usp_cpu_relax();
	}
	return false;
}

void usp_pipe_wait(struct usp_pipe *pipe, struct usp_pipe_side *side)
{
	unsigned seen = atomic_load_explicit(&side->nr_wakes, memory_order_relaxed);
	unsigned spin = ++side->nr_waits % SPIN_RETRY ? side->spin : SPIN_MAX;
	bool paid;

	usp_pipe_unlock(pipe);
	paid = side_spin(side, seen, spin);
	pthread_mutex_lock(&pipe->lock);
	side->spin = (unsigned)(paid ? usp_min(spin * 2, SPIN_MAX) : usp_max(side->spin / 2, SPIN_MIN));
	if (atomic_load_explicit(&side->nr_wakes, memory_order_relaxed) != seen)
		return;
	side->nr_waiters++;
	pthread_cond_wait(&side->wait, &pipe->lock);
	side->nr_waiters--;
}

int usp_pipe_await_room(struct usp_pipe *pipe, uint64_t timeout_ns)
{
	uint64_t end_ns = timeout_ns ? usp_sys_now_ns() + timeout_ns : 0; /* a time in the past: only look */
	struct timespec end = {.tv_sec = (time_t)(end_ns / 1000000000), .tv_nsec = (long)(end_ns % 1000000000)};
	int ret = 0;

	pthread_mutex_lock(&pipe->lock);
	while (pipe->rd.nr_open && usp_pipe_is_full(pipe) && ret != ETIMEDOUT) {
		pipe->wr.nr_waiters++;
		ret = pthread_cond_timedwait(&pipe->wr.wait, &pipe->lock, &end);
		pipe->wr.nr_waiters--;
	}
	ret = !pipe->rd.nr_open ? -EPIPE : usp_pipe_is_full(pipe) ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&pipe->lock);
	return ret;
}
