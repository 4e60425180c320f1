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

#define STEP_RANGE ((size_t)16 << 20) /* see bench/README.md */
#define STEP_LARGE ((size_t)32 << 10)
#define STEP_SMALL ((size_t)8 << 10)
#define STEP_MESSAGE ((size_t)16 << 10)
#define STEP_NR_LARGE 2
#define STEP_NR_SMALL 32
#define STEP_SHORT_NS 10000000 /* of memory */

/* --- File to file ------------------------------------------------------------------------------------ */

/* copy_file_range does not say which side failed; a source that cannot be read at this place can be asked. */
static void step_range_failed(struct usp_pump *pump, int error)
{
	struct usp_file *source = pump->source;

	if (error != -ECANCELED && usp_fd_peek(source, &source->pos) < 0)
		atomic_store(&pump->source_error, error);
	else
		atomic_store(&pump->branches[0].error, error);
}

/* The flow does all of it where the kernel will not begin, and what lies behind an st_size that is too small. */
static bool step_range_gives_up(const struct usp_pump *pump, ssize_t ret)
{
	return ret <= 0 &&
	       (!atomic_load(&pump->bytes) || (ret == 0 && usp_fd_peek(pump->source, &pump->source->pos) != 0));
}

/* One piece. */
static int step_range(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	ssize_t ret = atomic_load(&pump->is_stopped) ? -ECANCELED : usp_pump_allowance(pump, STEP_RANGE, wait);

	if (ret == -EAGAIN)
		return -EAGAIN;
	if (ret > 0) {
		ret = usp_copy_range(pump->source, pump->branches[0].sink, (size_t)ret);
		if (step_range_gives_up(pump, ret)) {
			pump->stage = USP_PUMP_FLOW;
			return usp_pump_pause(wait, 0);
		}
		usp_pump_count(pump, ret);
	}
	if (ret > 0)
		atomic_fetch_add(&pump->branches[0].bytes, (uint64_t)ret);
	if (ret > 0 || ret == -EINTR)
		return usp_pump_pause(wait, 0);
	if (ret < 0)
		step_range_failed(pump, (int)ret);
	pump->stage = USP_PUMP_DONE;
	return 0;
}

/* --- The lane ---------------------------------------------------------------------------------------- */

static void step_set_lane(struct usp_pump *pump, bool is_kernel)
{
	usp_pump_drop_lowat(pump);
	usp_plan_switch(&pump->plan, is_kernel);
	pump->step_bytes = usp_plan_step_bytes(&pump->plan, &pump->params);
	pump->nr_large = pump->nr_small = pump->nr_messages = 0;
}

/* The pipe is empty. What was taken last tells how large the next piece will be. */
void usp_pump_adapt(struct usp_pump *pump, size_t taken)
{
	if (!usp_plan_adapts(pump->source, &pump->params))
		return;
	pump->nr_large = taken >= STEP_LARGE ? pump->nr_large + 1 : 0;
	pump->nr_small = taken < STEP_SMALL ? pump->nr_small + 1 : 0;
	pump->nr_messages = taken <= STEP_MESSAGE ? pump->nr_messages + 1 : 0;
	if (!usp_pump_source_lane(pump) && pump->nr_large >= STEP_NR_LARGE)
		step_set_lane(pump, true);
	else if (usp_pump_source_lane(pump) && pump->nr_small >= STEP_NR_SMALL)
		step_set_lane(pump, false);
}

/* --- The flow ---------------------------------------------------------------------------------------- */

/* Empty the pipe into the sink: 0, -EAGAIN with *wait, or its -errno. */
static int step_drain(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_branch *branch = &pump->branches[0];
	size_t len;

	while ((len = usp_pipe_len(pump->pipe))) {
		ssize_t ret = usp_branch_write(branch, len, USP_SPLICE_NONBLOCK);

		if (ret == -EAGAIN)
			return usp_branch_blocked(branch, wait);
		if (ret <= 0 && (ret != -EINTR || atomic_load(&pump->is_stopped)))
			return ret < 0 ? (int)ret : -EIO; /* 0: confirm found that the bytes are gone */
	}
	return 0;
}

/* A pipe that is empty at the end of a step is given back: most flows of a busy program wait for their source. */
static int step_get_pipe(struct usp_pump *pump)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = USP_PLAN_SLOTS, .slot_bytes = USP_PLAN_SLOT_BYTES};
	int ret = pump->pipe ? 0 : usp_pipe_new(&params, &pump->pipe);

	pump->branches[0].pipe = pump->pipe;
	if (ret < 0 || !pump->left.ops)
		return ret;
	usp_pipe_begin_write(pump->pipe, USP_SPLICE_NONBLOCK); /* it is new */
	usp_pipe_push(pump->pipe, &pump->left, 1);
	usp_pipe_end_write(pump->pipe);
	pump->left = (struct usp_buf){.ops = NULL};
	return 0;
}

static void step_put_pipe(struct usp_pump *pump)
{
	if (!pump->pipe || usp_pipe_len(pump->pipe))
		return;
	usp_pipe_free(pump->pipe);
	pump->pipe = pump->branches[0].pipe = NULL;
}

/* Fill the empty pipe: 1 to go on, 0 when that was all, or -EAGAIN with *wait. */
static int step_fill(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	const struct usp_lane *lane;
	ssize_t taken;

	usp_pump_adapt(pump, pump->last_take);
	pump->last_take = 0;
	lane = usp_pump_source_lane(pump);
	taken = usp_pump_take(pump, wait);
	if (lane && !usp_pump_source_lane(pump))
		step_set_lane(pump, false); /* the kernel refused, or was short of descriptors */
	if (taken == -EAGAIN)
		return -EAGAIN;
	if (taken <= 0)
		return 0;
	pump->last_take = (size_t)taken;
	return 1;
}

/* Drain and fill in turns: 0 when all is delivered, -EAGAIN with *wait, or the -errno of the sink or a stop. */
static int step_long_way(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	uint64_t until = atomic_load(&pump->bytes) + USP_PUMP_BUDGET;
	int ret;

	do {
		ret = atomic_load(&pump->is_stopped) ? -ECANCELED : step_drain(pump, wait);
		if (ret < 0)
			return ret;
		if (atomic_load(&pump->bytes) >= until)
			return usp_pump_pause(wait, 0);
		ret = step_fill(pump, wait);
	} while (ret > 0);
	return ret;
}

static int step_flow(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	int ret = 1;

	if (atomic_load(&pump->source_error) || atomic_load(&pump->has_all))
		return 0;
	if (usp_pump_is_message(pump) && !pump->left.ops)
		ret = usp_pump_message(pump, wait);
	if (ret != 1)
		return ret;
	ret = step_get_pipe(pump);
	if (ret < 0)
		return pump->left.ops ? usp_pump_pause(wait, STEP_SHORT_NS) : ret;
	return step_long_way(pump, wait);
}

/* --- Time-outs --------------------------------------------------------------------------------------- */

static bool step_is_timed(const struct usp_pump *pump)
{
	return pump->params.idle_ns || pump->params.total_ns || usp_branch_may_detach(&pump->branches[0]);
}

/* When something moved last, as far as is known. */
static uint64_t step_progress_ns(const struct usp_pump *pump)
{
	uint64_t progress_ns = pump->progress_ns;

	for (unsigned i = 0; i < pump->nr_branches; i++) {
		uint64_t branch_ns = atomic_load(&pump->branches[i].progress_ns);

		if ((int64_t)(branch_ns - progress_ns) > 0)
			progress_ns = branch_ns;
	}
	return progress_ns;
}

static uint64_t step_deadline_ns(const struct usp_pump *pump, const struct usp_branch *branch,
				 const struct usp_pump_wait *wait)
{
	uint64_t deadline_ns = usp_earlier(UINT64_MAX, pump->begun_ns, pump->params.total_ns);

	if (wait->file)
		deadline_ns = usp_earlier(deadline_ns, step_progress_ns(pump), pump->params.idle_ns);
	if (branch && usp_branch_may_detach(branch))
		deadline_ns = usp_earlier(deadline_ns, branch->progress_ns, usp_branch_slow_ns(branch));
	return deadline_ns;
}

int usp_pump_check_time(struct usp_pump *pump, const struct usp_branch *branch, struct usp_pump_wait *wait)
{
	uint64_t now_ns, deadline_ns, left_ns;

	for (unsigned i = 0;
	     i < pump->nr_branches && (pump->params.idle_ns || (branch && usp_branch_may_detach(branch))); i++)
		usp_branch_look(&pump->branches[i]);
	now_ns = usp_sys_now_ns();
	deadline_ns = step_deadline_ns(pump, branch, wait);
	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	left_ns = deadline_ns - now_ns;
	if (deadline_ns != UINT64_MAX && (wait->timeout_ns < 0 || left_ns < (uint64_t)wait->timeout_ns))
		wait->timeout_ns = (int64_t)left_ns;
	return -EAGAIN;
}

/* --- The machine ------------------------------------------------------------------------------------- */

/* The flow is over, well or not: nothing more goes to the sink. */
static void step_end_flow(struct usp_pump *pump, int error)
{
	usp_pump_drop_lowat(pump);
	if (pump->left.ops && step_get_pipe(pump) < 0)
		atomic_store(&pump->branches[0].stranded, pump->left.len);
	usp_branch_close(&pump->branches[0], error);
	pump->stage = USP_PUMP_SETTLE;
}

static int step_settle(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	int ret = usp_branch_end(&pump->branches[0], wait);

	if (ret == 0)
		pump->stage = USP_PUMP_DONE;
	return ret;
}

static int step_timed_flow(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_branch *branch = &pump->branches[0];
	uint64_t before = atomic_load(&pump->bytes) + atomic_load(&branch->bytes);
	int ret;

	/* What a short read said may have changed since the last step, and the event for it has been and gone. */
	atomic_store_explicit(&pump->source->is_drained, false, memory_order_relaxed);
	ret = step_flow(pump, wait);
	if (ret != -EAGAIN || !step_is_timed(pump))
		return ret;
	if (atomic_load(&pump->bytes) + atomic_load(&branch->bytes) != before) {
		pump->progress_ns = usp_sys_now_ns();
		atomic_store(&branch->progress_ns, pump->progress_ns);
	}
	ret = usp_pump_check_time(pump, wait->file && wait->side == USP_WRITE ? branch : NULL, wait);
	if (ret == -EAGAIN || wait->side == USP_WRITE)
		return ret;
	atomic_store(&pump->source_error,
		     ret); /* the side that was waited for; a sink may say -ETIMEDOUT by itself, too */
	return 0;
}

int usp_pump_advance(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	int ret = 0;

	if (pump->stage == USP_PUMP_RANGE)
		return step_range(pump, ret_wait);
	if (pump->stage == USP_PUMP_FLOW) {
		ret = step_timed_flow(pump, ret_wait);
		if (ret == -EAGAIN) {
			step_put_pipe(pump);
			if (ret_wait->file == pump->source && ret_wait->side == USP_READ)
				usp_pump_adapt_lowat(pump, ret_wait);
			return -EAGAIN;
		}
		step_end_flow(pump, ret);
	}
	return step_settle(pump, ret_wait);
}
