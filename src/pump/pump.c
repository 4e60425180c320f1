/* SPDX-License-Identifier: MIT */
/*
 * pump - one source to one or many sinks, until the end.
 *
 * Three ways, chosen by the planner and by what the two ends are:
 *
 *   file -> file        the kernel shares the extents or copies the range itself (single, copy_range)
 *   source -> sink      fill the pipe, drain the pipe, in the caller's thread (single)
 *   source -> sinks     the caller's thread fills; a thread for each sink drains its pipe (sink); in steps, and
 *                       where time-outs are set, one thread does it all in turns (fanout)
 *
 * The files are nonblocking while the pump has them. Every wait of a run that blocks includes the stop descriptor, so a stop takes
 * effect at once, from any thread or a signal handler.
 */
#include "pump/pump.h"

#include <errno.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "event/sched.h"
#include "lanes/copy_range.h"
#include "lanes/plan.h"
#include "splice/fd.h"
#include "splice/file.h"
#include "splice/pipe.h"

/* --- Life ------------------------------------------------------------------------------------------- */

#define PUMP_FLAGS                                                                                            \
	(USP_PUMP_SNAPSHOT | USP_PUMP_REQUIRE_ZERO_COPY | USP_PUMP_CONTINUE_ON_ERROR | USP_PUMP_DETACH_SLOW | \
	 USP_PUMP_WIDEN_FIFOS | USP_PUMP_KEEP_STRANDED | USP_PUMP_ADAPT_LANE | USP_PUMP_BATCH)

/* A time is added to that of the clock. */
static bool pump_can(const struct usp_pump_params *params)
{
	return !(params->flags & ~PUMP_FLAGS) && (unsigned)params->lane <= USP_LANE_USER &&
	       params->slow_ns <= INT64_MAX && params->idle_ns <= INT64_MAX && params->total_ns <= INT64_MAX &&
	       params->linger_ns <= INT64_MAX;
}

int usp_pump_new(struct usp_file *source, const struct usp_pump_params *params, struct usp_pump **ret_pump)
{
	struct usp_pump_params own = {.count = -1};
	int ret = params ? usp_sized_take(&own, sizeof(own), params) : 0;
	struct usp_pump *pump;

	if (ret == 0 && (!pump_can(&own) || !(source->mode & USP_READ)))
		ret = -EINVAL;
	if (ret < 0)
		return ret;
	pump = usp_alloc(sizeof(*pump));
	if (!pump)
		return -ENOMEM;
	atomic_init(&pump->stop_fd, -1);
	pump->params = own;
	pump->source = usp_file_get(source);
	*ret_pump = pump;
	return 0;
}

/* The first sink has its place in the pump; more need an array. */
static int pump_make_room(struct usp_pump *pump)
{
	struct usp_sink *sinks = &pump->only;

	if (pump->nr_sinks) {
		sinks = usp_alloc_array(pump->nr_sinks + 1, sizeof(sinks[0]));
		if (!sinks)
			return -ENOMEM;
		for (unsigned i = 0; i < pump->nr_sinks; i++)
			sinks[i].file = pump->sinks[i].file;
		if (pump->sinks != &pump->only)
			usp_free(pump->sinks);
	}
	pump->sinks = sinks;
	return 0;
}

int usp_pump_add_sink(struct usp_pump *pump, struct usp_file *sink)
{
	bool may = sink->mode & USP_WRITE && pump->stage == USP_PUMP_NEW;
	int ret = may ? pump_make_room(pump) : -EINVAL;

	if (ret < 0)
		return ret;
	pump->sinks[pump->nr_sinks++].file = usp_file_get(sink);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		pump->sinks[i].pump = pump;
	return 0;
}

void usp_pump_free(struct usp_pump *pump)
{
	if (!pump)
		return;
	usp_rcvlowat_drop(pump);
	usp_plan_fini(&pump->plan);
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		if (sink->pipe != pump->pipe)
			usp_pipe_free(sink->pipe);
		usp_file_put(sink->file);
	}
	usp_pipe_free(pump->pipe);
	if (pump->undelivered.ops)
		usp_buf_release(NULL, &pump->undelivered);
	usp_file_put(pump->source);
	usp_sys_close(atomic_load(&pump->stop_fd));
	usp_free(pump->fds);
	if (pump->waits != &pump->only.wait)
		usp_free(pump->waits);
	if (pump->sinks != &pump->only)
		usp_free(pump->sinks);
	usp_free(pump);
}

void usp_pump_stop(struct usp_pump *pump)
{
	int stop_fd;

	atomic_store(&pump->is_stopped, true);
	stop_fd = atomic_load(&pump->stop_fd);
	if (stop_fd >= 0 &&
	    pump->process == usp_own_nr()) /* a child has its parent's descriptor, and a pump of its own */
		usp_sys_eventfd_set(stop_fd, true);
}

#define PUMP_KERNEL_SLOTS 4 /* of the pipe of each of many sinks */
#define PUMP_USER_SLOTS 8

/* --- Many sinks -------------------------------------------------------------------------------------- */

static int pump_start_sinks(struct usp_pump *pump, const struct usp_pipe_params *params)
{
	int ret = 0;

	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++)
		ret = usp_sink_start(&pump->sinks[i], params);
	return ret;
}

/* As usp_pump_take, and waits. */
static ssize_t pump_take_waiting(struct usp_pump *pump)
{
	struct usp_pump_wait wait;
	ssize_t ret;

	while ((ret = atomic_load(&pump->is_stopped) ? -ECANCELED : usp_pump_take(pump, &wait)) == -EAGAIN) {
		ret = usp_pump_await(pump, &wait);
		if (ret < 0)
			break;
		if (atomic_load(&pump->has_failed))
			return 0;
	}
	if (ret < 0 && ret != -ECANCELED)
		atomic_store(&pump->source_error, (int)ret);
	return ret;
}

static struct usp_pipe_params pump_fanout_params(const struct usp_pump *pump)
{
	return (struct usp_pipe_params){
		.size = sizeof(struct usp_pipe_params),
		.nr_slots = usp_pump_source_lane(pump) ? PUMP_KERNEL_SLOTS : PUMP_USER_SLOTS,
		.slot_bytes = pump->step_bytes,
	};
}

/* Pipes for several sinks that are served in turns. */
static int pump_begin_fanout(struct usp_pump *pump)
{
	const struct usp_pipe_params params = pump_fanout_params(pump);
	int ret = pump->pipe ? 0 : usp_pipe_new(&params, &pump->pipe);

	return ret < 0 ? ret : usp_fanout_begin(pump, &params);
}

/*
 * Step and wait in turns, with several sinks. Time-outs are kept here only: the threads of sinks do not know of each other's
 * progress.
 */
static int pump_run_stepped(struct usp_pump *pump)
{
	int ret = pump_begin_fanout(pump), waited;

	while (ret == 0 && usp_fanout_advance(pump) == -EAGAIN) {
		waited = usp_pump_await_any(pump);
		if (waited < 0)
			usp_fanout_fail(pump, waited);
	}
	return ret;
}

/* No thread can be had: take back those that there are, which have been given nothing. */
static void pump_dismiss_sinks(struct usp_pump *pump)
{
	atomic_store(&pump->is_stepped, true);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		usp_sink_dismiss(&pump->sinks[i]);
}

static int pump_run_threads(struct usp_pump *pump)
{
	const struct usp_pipe_params params = pump_fanout_params(pump);
	int ret = usp_pipe_new(&params, &pump->pipe);

	if (ret < 0)
		return ret;
	ret = pump_start_sinks(pump, &params);
	if (ret == -EAGAIN) {
		pump_dismiss_sinks(pump);
		return pump_run_stepped(pump);
	}
	if (ret < 0)
		usp_pump_stop(pump);
	while (ret == 0 && !atomic_load(&pump->has_failed) && pump_take_waiting(pump) > 0) {
		while (ret == 0 && usp_pipe_len(pump->pipe))
			ret = usp_pump_distribute(pump);
	}
	atomic_store(&pump->is_given, true);
	usp_pump_hush(pump);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		usp_sink_join(&pump->sinks[i]);
	usp_pump_follow_source(pump);	/* not before: the lanes are the sinks' own */
	return ret == -EPIPE ? 0 : ret; /* all sinks have ended: each has its own error */
}

/* --- The run ------------------------------------------------------------------------------------------ */

static bool pump_may_range(const struct usp_pump *pump)
{
	return pump->nr_sinks == 1 && usp_plan_lane(&pump->plan, 0) && usp_plan_lane(&pump->plan, 1) &&
	       usp_copy_range_is_possible(pump->source, pump->sinks[0].file);
}

/* The kernel shares the extents: true if that was all that the size of the source promised. */
static bool pump_clone(struct usp_pump *pump)
{
	uint64_t len = pump->params.count < 0 ? UINT64_MAX : (uint64_t)pump->params.count;
	ssize_t ret = usp_clone_range(pump->source, pump->sinks[0].file, len);

	if (ret <= 0)
		return false;
	usp_pump_count(pump, ret);
	atomic_fetch_add(&pump->sinks[0].bytes, (uint64_t)ret);
	return true;
}

static int pump_plan(struct usp_pump *pump)
{
	struct usp_file **sinks;
	int ret;

	usp_plan_fini(&pump->plan);
	if (pump->nr_sinks == 1)
		return usp_plan_make(pump->source, &pump->only.file, 1, &pump->params, &pump->plan);
	sinks = usp_alloc_array(pump->nr_sinks, sizeof(sinks[0]));
	if (!sinks)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		sinks[i] = pump->sinks[i].file;
	ret = usp_plan_make(pump->source, sinks, pump->nr_sinks, &pump->params, &pump->plan);
	usp_free(sinks);
	return ret;
}

/* Shared extents are all, and nothing was copied, unless the size is too small. What is behind it may be copied, or is an error. */
static void pump_go_behind_clone(struct usp_pump *pump)
{
	bool is_all = atomic_load(&pump->bytes) == (uint64_t)pump->params.count ||
		      usp_fd_peek(pump->source, &pump->source->pos) == 0;
	bool must_refer = pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY;

	if (!is_all && must_refer)
		atomic_store(&pump->source_error, -EOPNOTSUPP);
	pump->stage = is_all || must_refer ? USP_PUMP_DONE : USP_PUMP_RANGE;
}

static int pump_find_stage(struct usp_pump *pump)
{
	int ret = 0;

	if (pump_may_range(pump) && pump_clone(pump)) {
		pump_go_behind_clone(pump);
		return 0;
	}
	if (pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY)
		ret = usp_plan_require(&pump->plan);
	if (ret == 0)
		pump->stage = pump_may_range(pump) ? USP_PUMP_RANGE : USP_PUMP_FLOW;
	return ret;
}

int usp_pump_check(struct usp_pump *pump)
{
	bool can_run = pump->nr_sinks && pump->stage == USP_PUMP_NEW && !atomic_load(&pump->is_done);
	int ret = can_run ? pump_plan(pump) : -EINVAL;

	if (ret == 0 && pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY && !pump_may_range(pump))
		ret = usp_plan_require(&pump->plan);
	return ret;
}

/* 0, or -errno before a byte has moved. */
static int pump_begin(struct usp_pump *pump)
{
	uint64_t now_ns = usp_sys_now_ns();
	int ret;

	usp_rate_init(&pump->rate, pump->params.rate, now_ns);
	pump->begun_ns = pump->progress_ns = now_ns;
	atomic_store(&pump->source->is_drained, false);
	if (usp_file_shares_pos(pump->source, &pump->source->pos))
		usp_file_seek(pump->source, 0, SEEK_CUR); /* others may have moved it since we looked last */
	ret = pump_plan(pump);
	if (ret == 0)
		ret = pump_find_stage(pump);
	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++) {
		atomic_store(&pump->sinks[i].progress_ns, now_ns);
		ret = usp_file_abort(pump->sinks[i].file); /* until it has everything, whatever ends us */
	}
	if (ret < 0)
		return ret;
	if (pump->params.flags & USP_PUMP_WIDEN_FIFOS)
		usp_plan_widen_fifos(&pump->plan);
	pump->step_bytes = usp_plan_step_bytes(&pump->plan, &pump->params);
	usp_plan_apply(&pump->plan);
	return 0;
}

static int pump_result(const struct usp_pump *pump)
{
	int ret = atomic_load(&pump->source_error);

	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++)
		ret = atomic_load(&pump->sinks[i].error);
	return atomic_load(&pump->is_stopped) ? -ECANCELED : ret;
}

/*
 * What no sink got has not been read, for those who share the offset of the source and come next. If somebody else has moved that
 * meanwhile it is not ours to move back.
 */
static void pump_unread(struct usp_pump *pump)
{
	struct usp_file *source = pump->source;
	uint64_t delivered = 0, left;

	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t bytes = atomic_load(&pump->sinks[i].bytes);

		delivered = usp_max(delivered, bytes);
	}
	left = atomic_load(&pump->bytes) - delivered;
	if (left && !(pump->params.flags & USP_PUMP_KEEP_STRANDED) && usp_file_shares_pos(source, &source->pos) &&
	    usp_sys_lseek(source->fd, 0, SEEK_CUR) == source->pos)
		usp_file_seek(source, -(int64_t)left, SEEK_CUR);
}

static int pump_finish(struct usp_pump *pump)
{
	usp_plan_undo(&pump->plan);
	pump_unread(pump);
	pump->stage = USP_PUMP_DONE;
	atomic_store(&pump->is_done, true);
	return pump_result(pump);
}

/* -EAGAIN with pump->waits, or 0 when it is over. */
static int pump_advance(struct usp_pump *pump)
{
	if (pump->nr_sinks > 1)
		return usp_fanout_advance(pump);
	pump->waits = &pump->only.wait;
	pump->nr_waits = 1;
	return usp_single_advance(pump, pump->waits);
}

int usp_pump_step(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	int ret;

	if (!pump->nr_sinks || atomic_load(&pump->is_done))
		return -EINVAL;
	if (pump->stage != USP_PUMP_NEW && pump->process != usp_own_nr())
		return -ESTALE; /* what is in its pipe is the parent's to deliver */
	if (pump->stage == USP_PUMP_NEW) {
		pump->process = usp_own_nr();
		ret = pump_begin(pump);
		if (ret < 0)
			return ret;
		if (pump->nr_sinks > 1)
			ret = pump_begin_fanout(pump);
		if (ret < 0)
			return pump_finish(pump), ret;
	}
	if (pump->stage == USP_PUMP_DONE || pump_advance(pump) != -EAGAIN)
		return pump_finish(pump);
	usp_sized_give(ret_wait, &pump->waits[0], sizeof(pump->waits[0]));
	return -EAGAIN;
}

unsigned usp_pump_waits(const struct usp_pump *pump, struct usp_pump_wait *ret_waits, unsigned nr)
{
	bool is_waiting = pump->waits && !atomic_load(&pump->is_done);

	for (unsigned i = 0; is_waiting && i < usp_min(nr, pump->nr_waits); i++) {
		size_t size = ret_waits->size;
		struct usp_pump_wait *ret_wait = (void *)((char *)ret_waits + i * size);

		ret_wait->size = size;
		usp_sized_give(ret_wait, &pump->waits[i], sizeof(pump->waits[i]));
	}
	return is_waiting ? pump->nr_waits : 0;
}

void usp_pump_look(struct usp_pump *pump)
{
	pump->recheck = true;
}

static bool pump_may_batch(const struct usp_pump *pump)
{
	return pump->params.flags & USP_PUMP_BATCH && usp_plan_is_middle(&pump->plan);
}

/* Step and wait in turns. A wait that fails ends the run as if the source had failed. */
static void pump_run_one(struct usp_pump *pump)
{
	struct usp_sched sched = {.may = false};
	struct usp_pump_wait wait;

	if (pump_may_batch(pump))
		usp_sched_begin(&sched, pump->begun_ns);
	while (pump->stage != USP_PUMP_DONE && usp_single_advance(pump, &wait) == -EAGAIN) {
		int ret = usp_pump_await(pump, &wait);

		if (ret < 0 && ret != -ECANCELED)
			atomic_store(&pump->source_error, ret);
		if (sched.may)
			usp_sched_look(&sched, usp_sys_now_ns(), true);
	}
	usp_sched_end(&sched);
}

/* What only a run that blocks needs: something to wake it up, and a place for what it waits for. */
static int pump_prepare_waits(struct usp_pump *pump)
{
	int stop_fd;

	if (pump->process == usp_own_nr())
		return 0; /* it was to run already, and could not begin */
	if (!pump->fds)
		pump->fds = usp_alloc_array(2 * pump->nr_sinks + 2, sizeof(pump->fds[0]));
	if (!pump->fds)
		return -ENOMEM;
	stop_fd = usp_sys_eventfd();
	if (stop_fd < 0)
		stop_fd = -1;	      /* descriptors are short: a stop is looked for now and then */
	pump->process = usp_own_nr(); /* before the descriptor is there for a stop */
	usp_sys_close(atomic_exchange(&pump->stop_fd, stop_fd));
	return 0;
}

int usp_pump_run(struct usp_pump *pump)
{
	int ret;

	if (!pump->nr_sinks || atomic_load(&pump->is_done) || pump->stage != USP_PUMP_NEW)
		return -EINVAL;
	ret = pump_prepare_waits(pump);
	if (ret == 0)
		ret = pump_begin(pump);
	if (ret < 0)
		return ret;
	if (pump->nr_sinks == 1)
		pump_run_one(pump);
	else if (pump->params.idle_ns || pump->params.total_ns)
		ret = pump_run_stepped(pump);
	else
		ret = pump_run_threads(pump);
	return ret < 0 ? (pump_finish(pump), ret) : pump_finish(pump);
}

/* --- What is left -------------------------------------------------------------------------------------- */

ssize_t usp_pump_salvage(struct usp_pump *pump, unsigned index, struct usp_file *to)
{
	struct usp_pipe *pipe, *to_pipe = usp_file_pipe(to);
	ssize_t ret = 0;
	size_t len;

	if (index >= pump->nr_sinks || !atomic_load(&pump->is_done))
		return -EINVAL;
	if (!(to->mode & USP_WRITE))
		return -EBADF;
	pipe = pump->sinks[index].pipe;
	len = pipe ? usp_pipe_len(pipe) : 0;
	if (len && to_pipe)
		ret = usp_pipe_transfer(pipe, to_pipe, len, 0, true);
	else if (len)
		ret = usp_file_splice_write(pipe, to, &to->pos, len, 0);
	if (ret > 0)
		atomic_fetch_sub(&pump->sinks[index].stranded, (uint64_t)ret);
	return ret;
}

/* --- What it did --------------------------------------------------------------------------------------- */

void usp_pump_status(const struct usp_pump *pump, struct usp_pump_status *ret_status)
{
	struct usp_pump_status status = {
		.bytes = atomic_load(&pump->bytes),
		.source_error = atomic_load(&pump->source_error),
		.nr_sinks = pump->nr_sinks,
		.is_done = atomic_load(&pump->is_done),
	};
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t stranded = atomic_load(&pump->sinks[i].stranded);

		status.stranded = usp_max(stranded, status.stranded);
	}
	usp_sized_give(ret_status, &status, sizeof(status));
}

int usp_pump_sink_status(const struct usp_pump *pump, unsigned index, struct usp_sink_status *ret_status)
{
	const struct usp_sink *sink;
	struct usp_sink_status status;

	if (index >= pump->nr_sinks)
		return -EINVAL;
	sink = &pump->sinks[index];
	status = (struct usp_sink_status){
		.spec = usp_file_spec(sink->file),
		.bytes = atomic_load(&sink->bytes),
		.stranded = atomic_load(&sink->stranded),
		.error = atomic_load(&sink->error),
	};
	usp_sized_give(ret_status, &status, sizeof(status));
	return 0;
}

/* A run that was refused has no bytes to tell of, but a plan that says why. */
static void pump_hop(const struct usp_pump *pump, const struct usp_file *file, unsigned side, unsigned index,
		     struct usp_hop *ret_hop)
{
	const struct usp_lane *lane = usp_plan_lane(&pump->plan, index);
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, side, &hop);
	hop.lane = lane ? lane->name : "user";
	if (pump->stage == USP_PUMP_NEW && pump->plan.hops)
		hop.reason[pump->plan.hops[index].way] = pump->plan.hops[index].reason;
	usp_sized_give(ret_hop, &hop, sizeof(hop));
}

void usp_pump_source_hop(const struct usp_pump *pump, struct usp_hop *ret_hop)
{
	pump_hop(pump, pump->source, USP_READ, 0, ret_hop);
}

int usp_pump_sink_hop(const struct usp_pump *pump, unsigned index, struct usp_hop *ret_hop)
{
	if (index >= pump->nr_sinks)
		return -EINVAL;
	pump_hop(pump, pump->sinks[index].file, USP_WRITE, 1 + index, ret_hop);
	return 0;
}

void usp_pump_total(const struct usp_pump *pump, struct usp_route_total *ret_total)
{
	struct usp_hop from = {.size = sizeof(from)}, to = {.size = sizeof(to)};
	struct usp_route_total total = {.copied = 0};

	usp_pump_source_hop(pump, &from);
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t ways[USP_NR_WAYS];

		usp_pump_sink_hop(pump, i, &to);
		usp_ways_judge(atomic_load(&pump->sinks[i].bytes), from.bytes[USP_COPIED] + to.bytes[USP_COPIED],
			       from.bytes[USP_UNKNOWN] + to.bytes[USP_UNKNOWN], ways);
		total.copied += ways[USP_COPIED];
		total.unknown += ways[USP_UNKNOWN];
		total.by_reference += ways[USP_BY_REFERENCE];
	}
	usp_sized_give(ret_total, &total, sizeof(total));
}

const char *usp_pump_lane(const struct usp_pump *pump)
{
	bool is_kernel = usp_pump_source_lane(pump), is_mixed = false;

	for (unsigned i = 0; i < pump->nr_sinks; i++)
		is_mixed |= !usp_plan_lane(&pump->plan, 1 + i) == is_kernel;
	return is_mixed ? "mixed" : is_kernel ? "kernel" : "user";
}
