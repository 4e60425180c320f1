/* SPDX-License-Identifier: MIT */
/*
 * step - a pump with one sink, as a machine that goes on until it would have to wait.
 *
 *   NEW ──plan──► RANGE ──────────────────────────► DONE      file to file inside the kernel
 *            └──► FLOW ──end or error──► SETTLE ──► DONE      drain the pipe, fill the pipe
 *
 * A run that blocks is the same machine with a wait after each step.
 *
 * A flow from a socket may change its lane while its pipe is empty. Small messages cost the same on both lanes, some 10 us, which
 * are the network stack's (bench/README.md); what differs is that the kernel lane asks twice before it knows that nothing is
 * left, and needs a kernel pipe. From 32 KiB a piece on copying costs more than that: 33 us and 30 us at 64 KiB, 120 us and 70 us
 * at 256 KiB. So a flow goes to the kernel lane when pieces were large several times in a row, and comes back when they were small for
 * longer, because pieces of a large transfer are small whenever the relay is faster than its sender.
 */
#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/copy_range.h"
#include "lanes/plan.h"
#include "pump/pump.h"
#include "splice/fd.h"
#include "splice/pipe.h"

#define SINGLE_RANGE ((size_t)16 << 20) /* see bench/README.md */
#define SINGLE_LARGE ((size_t)32 << 10)
#define SINGLE_SMALL ((size_t)8 << 10)
#define SINGLE_MESSAGE ((size_t)16 << 10)
#define SINGLE_NR_LARGE 2
#define SINGLE_NR_SMALL 32
#define SINGLE_SHORT_NS 10000000 /* of memory */

/* --- File to file ------------------------------------------------------------------------------------ */

/* copy_file_range does not say which side failed; a source that cannot be read at this place can be asked. */
static void single_range_failed(struct usp_pump *pump, int error)
{
	struct usp_file *source = pump->source;

	if (error != -ECANCELED && usp_fd_peek(source, &source->pos) < 0)
		atomic_store(&pump->source_error, error);
	else
		atomic_store(&pump->sinks[0].error, error);
}

/* The flow does all of it where the kernel will not begin, and what lies behind an st_size that is too small. */
static bool single_range_gives_up(const struct usp_pump *pump, ssize_t ret)
{
	return ret <= 0 &&
	       (!atomic_load(&pump->bytes) || (ret == 0 && usp_fd_peek(pump->source, &pump->source->pos) != 0));
}

/* One piece. */
static int single_range(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	ssize_t ret = atomic_load(&pump->is_stopped) ? -ECANCELED : usp_pump_allowance(pump, SINGLE_RANGE, wait);

	if (ret == -EAGAIN)
		return -EAGAIN;
	if (ret > 0) {
		ret = usp_copy_range(pump->source, pump->sinks[0].file, (size_t)ret);
		if (single_range_gives_up(pump, ret)) {
			pump->stage = USP_PUMP_FLOW;
			return usp_pump_pause(wait, 0);
		}
		usp_pump_count(pump, ret);
	}
	if (ret > 0)
		atomic_fetch_add(&pump->sinks[0].bytes, (uint64_t)ret);
	if (ret > 0 || ret == -EINTR)
		return usp_pump_pause(wait, 0);
	if (ret < 0)
		single_range_failed(pump, (int)ret);
	pump->stage = USP_PUMP_DONE;
	return 0;
}

/* --- The lane ---------------------------------------------------------------------------------------- */

static void single_set_lane(struct usp_pump *pump, bool is_kernel)
{
	usp_rcvlowat_drop(pump);
	usp_plan_switch(&pump->plan, is_kernel);
	pump->step_bytes = usp_plan_step_bytes(&pump->plan, &pump->params);
	pump->nr_large = pump->nr_small = pump->nr_messages = 0;
}

/* The pipe is empty. What was taken last tells how large the next piece will be. */
void usp_pump_adapt(struct usp_pump *pump, size_t taken)
{
	if (!usp_plan_adapts(pump->source, &pump->params))
		return;
	pump->nr_large = taken >= SINGLE_LARGE ? pump->nr_large + 1 : 0;
	pump->nr_small = taken < SINGLE_SMALL ? pump->nr_small + 1 : 0;
	pump->nr_messages = taken <= SINGLE_MESSAGE ? pump->nr_messages + 1 : 0;
	if (!usp_pump_source_lane(pump) && pump->nr_large >= SINGLE_NR_LARGE)
		single_set_lane(pump, true);
	else if (usp_pump_source_lane(pump) && pump->nr_small >= SINGLE_NR_SMALL)
		single_set_lane(pump, false);
}

/* --- The flow ---------------------------------------------------------------------------------------- */

/* Empty the pipe into the sink: 0, -EAGAIN with *wait, or its -errno. */
static int single_drain(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_sink *sink = &pump->sinks[0];
	size_t len;

	while ((len = usp_pipe_len(pump->pipe))) {
		ssize_t ret = usp_sink_write(sink, len, USP_SPLICE_NONBLOCK);

		if (ret == -EAGAIN)
			return usp_sink_blocked(sink, wait);
		if (ret <= 0 && (ret != -EINTR || atomic_load(&pump->is_stopped)))
			return ret < 0 ? (int)ret : -EIO; /* 0: confirm found that the bytes are gone */
	}
	return 0;
}

/* A pipe that is empty at the end of a step is given back: most flows of a busy program wait for their source. */
static int single_get_pipe(struct usp_pump *pump)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = USP_PLAN_SLOTS, .slot_bytes = USP_PLAN_SLOT_BYTES};
	int ret = pump->pipe ? 0 : usp_pipe_new(&params, &pump->pipe);

	pump->sinks[0].pipe = pump->pipe;
	if (ret < 0 || !pump->undelivered.ops)
		return ret;
	usp_pipe_begin_write(pump->pipe, USP_SPLICE_NONBLOCK); /* it is new */
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

/* Fill the empty pipe: 1 to go on, 0 when that was all, or -EAGAIN with *wait. */
static int single_fill(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	const struct usp_lane *lane;
	ssize_t taken;

	usp_pump_adapt(pump, pump->last_take);
	pump->last_take = 0;
	lane = usp_pump_source_lane(pump);
	taken = usp_pump_take(pump, wait);
	if (lane && !usp_pump_source_lane(pump))
		single_set_lane(pump, false); /* the kernel refused, or was short of descriptors */
	if (taken == -EAGAIN)
		return -EAGAIN;
	if (taken <= 0)
		return 0;
	pump->last_take = (size_t)taken;
	return 1;
}

/* Drain and fill in turns: 0 when all is delivered, -EAGAIN with *wait, or the -errno of the sink or a stop. */
static int single_long_way(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	uint64_t until = atomic_load(&pump->bytes) + USP_PUMP_BUDGET;
	int ret;

	do {
		ret = atomic_load(&pump->is_stopped) ? -ECANCELED : single_drain(pump, wait);
		if (ret < 0)
			return ret;
		if (atomic_load(&pump->bytes) >= until)
			return usp_pump_pause(wait, 0);
		ret = single_fill(pump, wait);
	} while (ret > 0);
	return ret;
}

static int single_flow(struct usp_pump *pump, struct usp_pump_wait *wait)
{
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
	return single_long_way(pump, wait);
}

/* --- Time-outs --------------------------------------------------------------------------------------- */

static bool single_is_timed(const struct usp_pump *pump)
{
	return pump->params.idle_ns || pump->params.total_ns || usp_sink_may_detach(&pump->sinks[0]);
}

/* When something moved last, as far as is known. */
static uint64_t single_progress_ns(const struct usp_pump *pump)
{
	uint64_t progress_ns = pump->progress_ns;

	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t sink_ns = atomic_load(&pump->sinks[i].progress_ns);

		if ((int64_t)(sink_ns - progress_ns) > 0)
			progress_ns = sink_ns;
	}
	return progress_ns;
}

static uint64_t single_deadline_ns(const struct usp_pump *pump, const struct usp_sink *sink,
				   const struct usp_pump_wait *wait)
{
	uint64_t deadline_ns = usp_earlier(UINT64_MAX, pump->begun_ns, pump->params.total_ns);

	if (wait->file)
		deadline_ns = usp_earlier(deadline_ns, single_progress_ns(pump), pump->params.idle_ns);
	if (sink && usp_sink_may_detach(sink))
		deadline_ns = usp_earlier(deadline_ns, sink->progress_ns, usp_sink_slow_ns(sink));
	return deadline_ns;
}

int usp_pump_check_time(struct usp_pump *pump, const struct usp_sink *sink, struct usp_pump_wait *wait)
{
	uint64_t now_ns, deadline_ns, left_ns;

	for (unsigned i = 0; i < pump->nr_sinks && (pump->params.idle_ns || (sink && usp_sink_may_detach(sink))); i++)
		usp_sink_look(&pump->sinks[i]);
	now_ns = usp_sys_now_ns();
	deadline_ns = single_deadline_ns(pump, sink, wait);
	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	left_ns = deadline_ns - now_ns;
	if (deadline_ns != UINT64_MAX && (wait->timeout_ns < 0 || left_ns < (uint64_t)wait->timeout_ns))
		wait->timeout_ns = (int64_t)left_ns;
	return -EAGAIN;
}

/* --- The machine ------------------------------------------------------------------------------------- */

/* The flow is over, well or not: nothing more goes to the sink. */
static void single_end_flow(struct usp_pump *pump, int error)
{
	usp_rcvlowat_drop(pump);
	if (pump->undelivered.ops && single_get_pipe(pump) < 0)
		atomic_store(&pump->sinks[0].stranded, pump->undelivered.len);
	usp_sink_close(&pump->sinks[0], error);
	pump->stage = USP_PUMP_SETTLE;
}

static int single_settle(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	int ret = usp_sink_end(&pump->sinks[0], wait);

	if (ret == 0)
		pump->stage = USP_PUMP_DONE;
	return ret;
}

static int single_timed_flow(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_sink *sink = &pump->sinks[0];
	uint64_t before = atomic_load(&pump->bytes) + atomic_load(&sink->bytes);
	int ret;

	/* What a short read said may have changed since the last step, and the event for it has been and gone. */
	atomic_store_explicit(&pump->source->is_drained, false, memory_order_relaxed);
	ret = single_flow(pump, wait);
	if (ret != -EAGAIN || !single_is_timed(pump))
		return ret;
	if (atomic_load(&pump->bytes) + atomic_load(&sink->bytes) != before) {
		pump->progress_ns = usp_sys_now_ns();
		atomic_store(&sink->progress_ns, pump->progress_ns);
	}
	ret = usp_pump_check_time(pump, wait->file && wait->side == USP_WRITE ? sink : NULL, wait);
	if (ret == -EAGAIN || wait->side == USP_WRITE)
		return ret;
	atomic_store(&pump->source_error,
		     ret); /* the side that was waited for; a sink may say -ETIMEDOUT by itself, too */
	return 0;
}

int usp_single_advance(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	int ret = 0;

	if (pump->stage == USP_PUMP_RANGE)
		return single_range(pump, ret_wait);
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
	return single_settle(pump, ret_wait);
}
