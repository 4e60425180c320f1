/* SPDX-License-Identifier: MIT */
/*
 * single - a pump with one sink, as a machine that goes on until it would have to wait.
 *
 *   NEW ──plan──► RANGE ──────────────────────────► DONE      file to file inside the kernel
 *            └──► FLOW ──end or error──► SETTLE ──► DONE      drain the pipe, fill the pipe
 *
 * A run that blocks is the same machine with a wait after each step.
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/copy_range.h"
#include "lanes/plan.h"
#include "pump/inside.h"
#include "splice/fd.h"
#include "splice/pipe.h"

#define SINGLE_SHORT_NS 10000000 /* while memory is short */

/* --- The flow -------------------------------------------------------------------------------------------- */

/* Empty the pipe into the sink: 0, -EAGAIN with *wait, or its -errno. */
static int single_drain(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_sink *sink = &pump->sinks[0];
	size_t len;

	while ((len = usp_pipe_len(pump->pipe))) {
		ssize_t ret = usp_sink_write(sink, len);

		if (ret == -EAGAIN)
			return usp_sink_blocked(sink, wait);
		if (ret == 0 && usp_pump_was_cut(pump))
			return 0;
		if (ret <= 0 && (ret != -EINTR || atomic_load(&pump->is_stopped)))
			return ret < 0 ? (int)ret : -EIO; /* 0: confirm found that the bytes are gone */
	}
	return 0;
}

/*
 * Return the pipe, or make one. An empty pipe is freed at the end of each step, because most flows
 * of a busy program wait for their source.
 */
static int single_get_pipe(struct usp_pump *pump)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = USP_PLAN_SLOTS, .slot_bytes = USP_PLAN_SLOT_BYTES};
	int ret = pump->pipe ? 0 : usp_pipe_new(&params, &pump->pipe);

	pump->sinks[0].pipe = pump->pipe;
	if (ret < 0 || !pump->undelivered.ops)
		return ret;
	usp_pipe_begin_write(pump->pipe, USP_SPLICE_NONBLOCK); /* a new pipe has room */
	usp_pipe_push(pump->pipe, &pump->undelivered, 1);
	usp_pipe_end_write(pump->pipe);
	pump->undelivered = (struct usp_buf){.ops = NULL};
	return 0;
}

static void single_put_pipe(struct usp_pump *pump)
{
	if (!pump->pipe || usp_pipe_len(pump->pipe))
		return;
	usp_pipe_free(pump->pipe);
	pump->pipe = pump->sinks[0].pipe = NULL;
}

/* Drain and fill in turns: 0 when all is delivered, -EAGAIN with *wait, or the -errno of the sink or a stop. */
static int single_flow(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	uint64_t until = atomic_load(&pump->bytes) + USP_PUMP_BUDGET;
	const struct usp_lane *lane;
	ssize_t taken;
	int ret = 1;

	if (atomic_load(&pump->source_error) || atomic_load(&pump->has_all))
		return 0;
	if (usp_shortcut_fits(pump) && !pump->undelivered.ops)
		ret = usp_shortcut_go(pump, wait);
	if (ret != 1)
		return ret;
	ret = single_get_pipe(pump);
	if (ret < 0)
		return pump->undelivered.ops ? usp_pump_pause(wait, SINGLE_SHORT_NS) : ret;
	for (;;) {
		ret = atomic_load(&pump->is_stopped) ? -ECANCELED : single_drain(pump, wait);
		if (ret < 0 || usp_pump_was_cut(pump))
			return ret;
		if (atomic_load(&pump->bytes) >= until)
			return usp_pump_pause(wait, 0);
		usp_adapt_lane(pump, pump->adapt.last_take);
		lane = usp_pump_source_lane(pump);
		taken = usp_pump_take(pump, wait);
		pump->adapt.last_take = taken > 0 ? (size_t)taken : 0;
		if (lane && !usp_pump_source_lane(pump))
			usp_adapt_set_lane(pump, false); /* the kernel refused, or was short of descriptors */
		if (taken <= 0)
			return taken == -EAGAIN ? -EAGAIN : 0;
	}
}

static bool single_is_timed(const struct usp_pump *pump)
{
	return pump->params.idle_ns || pump->params.total_ns || usp_sink_may_detach(&pump->sinks[0]);
}

static int single_timed_flow(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_sink *sink = &pump->sinks[0];
	uint64_t before = atomic_load(&pump->bytes) + atomic_load(&sink->bytes);
	int ret;

	/* A short read of the last step may be out of date, and its event will not come again. */
	atomic_store_explicit(usp_u32(&pump->source->is_drained), false, memory_order_relaxed);
	ret = single_flow(pump, wait);
	if (ret != -EAGAIN || !single_is_timed(pump))
		return ret;
	if (atomic_load(&pump->bytes) + atomic_load(&sink->bytes) != before) {
		pump->limits.progress_ns = usp_sys_now_ns();
		atomic_store(&sink->progress_ns, pump->limits.progress_ns);
	}
	ret = usp_pump_check_time(pump, wait->file && wait->side == USP_WRITE ? sink : NULL, wait);
	if (ret == -EAGAIN || wait->side == USP_WRITE)
		return ret;
	atomic_store(&pump->source_error, ret); /* a wait for the source; a sink may give -ETIMEDOUT by itself, too */
	return 0;
}

/* End the flow, with or without an error: nothing more goes to the sink. */
static void single_end_flow(struct usp_pump *pump, int error)
{
	usp_rcvlowat_drop(pump);
	if (pump->undelivered.ops && single_get_pipe(pump) < 0)
		atomic_store(&pump->sinks[0].stranded, pump->undelivered.len);
	usp_sink_close(&pump->sinks[0], error);
	pump->stage = USP_PUMP_SETTLE;
}

/* --- The machine ----------------------------------------------------------------------------------------- */

int usp_single_advance(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	int ret;

	if (pump->stage == USP_PUMP_RANGE)
		return usp_range_advance(pump, ret_wait);
	if (pump->stage == USP_PUMP_FLOW) {
		ret = single_timed_flow(pump, ret_wait);
		if (ret == -EAGAIN) {
			single_put_pipe(pump);
			if (ret_wait->file == pump->source && ret_wait->side == USP_READ)
				usp_rcvlowat_adapt(pump, ret_wait);
			return -EAGAIN;
		}
		single_end_flow(pump, ret);
	}
	ret = usp_sink_end(&pump->sinks[0], ret_wait);
	if (ret == 0)
		pump->stage = USP_PUMP_DONE;
	return ret;
}
