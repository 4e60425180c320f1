/* SPDX-License-Identifier: MIT */
/* source - the source's side of a pump: take one piece at a time into the pipe. */
#include <errno.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "pump/inside.h"
#include "splice/pipe.h"
#include "splice/sock.h"

static ssize_t source_move(struct usp_pump *pump, struct usp_pipe *from, size_t len)
{
	ssize_t ret = usp_pipe_transfer(from, pump->pipe, len, USP_SPLICE_NONBLOCK, true);

	if (ret > 0)
		usp_file_account(pump->source, USP_READ, USP_BY_REFERENCE, (size_t)ret,
				 "references moved out of the pipe");
	return ret;
}

static int source_blocked(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	atomic_store_explicit(usp_u32(&pump->source->is_drained), false, memory_order_relaxed);
	return usp_pump_blocked(pump->source, USP_READ, ret_wait);
}

ssize_t usp_pump_may_take(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait)
{
	ssize_t allowed = usp_pump_allowance(pump, len, ret_wait);

	if (allowed == 0)
		atomic_store(&pump->has_all, true);
	if (allowed > 0 && !pump->recheck &&
	    atomic_load_explicit(usp_u32(&pump->source->is_drained), memory_order_relaxed))
		return source_blocked(pump, ret_wait);
	return allowed;
}

ssize_t usp_pump_took(struct usp_pump *pump, ssize_t taken, struct usp_pump_wait *ret_wait)
{
	usp_pump_count(pump, taken);
	if (taken == 0)
		taken = usp_sock_end_error(pump->source);
	if (taken == -EAGAIN) {
		pump->recheck = false;
		return source_blocked(pump, ret_wait);
	}
	if (taken == 0)
		atomic_store(&pump->has_all, true);
	if (taken < 0 && taken != -EINTR)
		atomic_store(&pump->source_error, (int)taken);
	return taken;
}

ssize_t usp_pump_take(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	ssize_t allowed = usp_pump_may_take(pump, pump->adapt.step_bytes, ret_wait), taken;
	struct usp_file *source = pump->source;
	struct usp_pipe *from = usp_file_pipe(source);

	if (allowed <= 0)
		return allowed;
	do {
		if (from) {
			taken = source_move(pump, from, (size_t)allowed);
			continue;
		}
		taken = usp_pipe_begin_write(pump->pipe, USP_SPLICE_NONBLOCK);
		if (taken < 0)
			continue;
		taken = usp_file_splice_read(source, &source->pos, pump->pipe, (size_t)allowed, USP_SPLICE_NONBLOCK);
		usp_pipe_end_write(pump->pipe);
	} while (taken == -EINTR && !atomic_load(&pump->is_stopped));
	return usp_pump_took(pump, taken, ret_wait);
}

void usp_pump_follow_source(struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sinks && !usp_pump_source_lane(pump); i++)
		usp_file_side(pump->sinks[i].file, USP_WRITE)->lane = NULL;
}
