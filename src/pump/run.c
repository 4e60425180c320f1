/* SPDX-License-Identifier: MIT */
/*
 * run - from the plan of a pump to its result, in steps or in one call.
 *
 * Three ways, chosen by the plan and by what the two ends are:
 *
 *   file -> file        the kernel shares the extents or copies the range itself (single, copy_range)
 *   source -> sink      fill the pipe, drain the pipe, in the caller's thread (single)
 *   source -> sinks     the caller's thread fills; a thread for each sink drains its pipe (thread); in steps, and where
 *                       time-outs are set, one thread does it all in turns (fanout)
 *
 * The files are nonblocking while the pump has them. Every wait of a run that blocks includes the
 * stop descriptor. So a stop takes effect at once, from any thread or a signal handler.
 */
#include <errno.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "event/sched.h"
#include "lanes/copy_range.h"
#include "lanes/plan.h"
#include "pump/inside.h"
#include "splice/fd.h"
#include "splice/file.h"
#include "splice/hole.h"
#include "transforms/buffer.h"

/* --- The beginning --------------------------------------------------------------------------------------- */

/* Ask the lowest source for its holes, and the sinks to make some. The plan looks at that. */
static void run_set_sparse(struct usp_pump *pump, enum usp_sparse sparse)
{
	usp_hole_set_mode(pump->sources[0], sparse);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		usp_hole_set_mode(pump->sinks[i].file, sparse);
}

static int run_plan(struct usp_pump *pump)
{
	struct usp_plan_ends ends = {
		.sources = pump->sources,
		.nr_sources = pump->nr_sources,
		.sinks = &pump->only.file,
		.nr_sinks = pump->nr_sinks,
	};
	struct usp_file **sinks;
	int ret;

	usp_plan_fini(&pump->plan);
	run_set_sparse(pump, pump->params.sparse);
	if (pump->nr_sinks == 1)
		return usp_plan_make(&ends, &pump->params, &pump->plan);
	sinks = usp_alloc_array(pump->nr_sinks, sizeof(sinks[0]));
	if (!sinks)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		sinks[i] = pump->sinks[i].file;
	ends.sinks = sinks;
	ret = usp_plan_make(&ends, &pump->params, &pump->plan);
	usp_free(sinks);
	return ret;
}

/*
 * Go on after shared extents. The run is done, unless the source is longer than its size says. The
 * rest is then copied, or is an error if every byte must go by reference.
 */
static void run_go_behind_clone(struct usp_pump *pump)
{
	bool is_all =
		(pump->params.flags & USP_PUMP_COUNT && atomic_load(&pump->bytes) == (uint64_t)pump->params.count) ||
		usp_fd_peek(pump->source, &pump->source->pos) == 0;
	bool must_refer = pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY;

	bool may_follow = USP_FILE_HOOK(pump->source, next) != NULL;

	if (!is_all && must_refer)
		atomic_store(&pump->source_error, -USP_EWOULDCOPY);
	pump->stage = (is_all && !may_follow) || must_refer ? USP_PUMP_DONE : USP_PUMP_RANGE;
}

static int run_find_stage(struct usp_pump *pump)
{
	int ret = 0;

	/* What comes behind the first file of a sequence is not known before bytes have moved. */
	if (pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY && USP_FILE_HOOK(pump->source, next))
		return -USP_EWOULDCOPY;
	if (usp_range_is_possible(pump) && usp_range_clone(pump)) {
		run_go_behind_clone(pump);
		return 0;
	}
	if (pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY)
		ret = usp_plan_require(&pump->plan);
	if (ret == 0)
		pump->stage = usp_range_is_possible(pump) ? USP_PUMP_RANGE : USP_PUMP_FLOW;
	return ret;
}

int usp_pump_check(struct usp_pump *pump)
{
	bool can_run = pump->nr_sinks && pump->stage == USP_PUMP_NEW && !atomic_load(&pump->is_done);
	int ret = can_run ? run_plan(pump) : -EINVAL;

	if (ret == 0 && pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY && !usp_range_is_possible(pump))
		ret = usp_plan_require(&pump->plan);
	return ret;
}

/* End what reads ahead, because the run changes the files that it reads from. It begins again with the next read. */
static void run_halt_buffers(struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sources; i++)
		usp_buffer_halt(pump->sources[i]);
}

static void run_look_at_sources(struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sources; i++) {
		struct usp_file *source = pump->sources[i];

		atomic_store(usp_u32(&source->is_drained), false);
		if (usp_file_shares_pos(source, &source->pos))
			usp_file_seek(source, 0, SEEK_CUR); /* others may have moved it since the last look */
	}
}

/* Begin a run: 0, or -errno before a byte has moved. */
static int run_begin(struct usp_pump *pump)
{
	uint64_t now_ns = usp_sys_now_ns();
	int ret;

	usp_rate_init(&pump->limits.rate, pump->params.rate, now_ns);
	pump->limits.begun_ns = pump->limits.progress_ns = now_ns;
	run_halt_buffers(pump);
	run_look_at_sources(pump);
	ret = usp_range_skip_empty(pump);
	if (ret == 0)
		ret = usp_drop_begin(pump);
	if (ret == 0)
		ret = run_plan(pump);
	if (ret == 0)
		ret = run_find_stage(pump);
	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++) {
		atomic_store(&pump->sinks[i].progress_ns, now_ns);
		ret = usp_file_abort(pump->sinks[i].file); /* until it has everything, also if the process dies */
	}
	if (ret < 0)
		return ret;
	if (pump->params.flags & USP_PUMP_WIDEN_FIFOS)
		usp_plan_widen_fifos(&pump->plan);
	pump->adapt.step_bytes = usp_plan_step_bytes(&pump->plan, &pump->params);
	usp_plan_apply(&pump->plan);
	return 0;
}

/* --- The end --------------------------------------------------------------------------------------------- */

static int run_result(const struct usp_pump *pump)
{
	int ret = atomic_load(&pump->source_error);

	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++)
		ret = atomic_load(&pump->sinks[i].error);
	return atomic_load(&pump->is_stopped) ? -ECANCELED : ret;
}

/* Give bytes back that no sink got. */
static void run_unread(struct usp_pump *pump)
{
	uint64_t delivered = 0;

	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t bytes = atomic_load(&pump->sinks[i].bytes);

		delivered = usp_max(delivered, bytes);
	}
	if (!(pump->params.flags & USP_PUMP_KEEP_STRANDED))
		usp_file_unread(pump->source, atomic_load(&pump->bytes) - delivered);
}

/* Count only what the source really had, if that turned out late. */
static void run_cut(struct usp_pump *pump)
{
	struct usp_file *source = pump->source;
	uint64_t end = atomic_load(&pump->end), taken;

	if (!usp_pump_was_cut(pump))
		return;
	taken = atomic_exchange(&pump->bytes, end);
	usp_file_unaccount(source, USP_READ, taken - end);
	if (source->traits & USP_FILE_SEEKABLE && !usp_file_shares_pos(source, &source->pos))
		source->pos -= (int64_t)(taken - end);
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		atomic_store(&sink->stranded, usp_min(atomic_load(&sink->stranded), end - atomic_load(&sink->bytes)));
	}
}

/* End the search for holes. A sink whose end cannot be moved behind the last hole lacks these zeros. */
static void run_end_sparse(struct usp_pump *pump)
{
	usp_hole_set_mode(pump->sources[0], USP_SPARSE_ANY);
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		struct usp_sink *sink = &pump->sinks[i];
		int ret = usp_hole_finish(sink->file);

		if (ret < 0 && !atomic_load(&sink->error))
			atomic_store(&sink->error, ret);
	}
}

static int run_finish(struct usp_pump *pump)
{
	run_halt_buffers(pump);
	usp_plan_undo(&pump->plan);
	run_end_sparse(pump);
	run_unread(pump); /* by what was taken, before it is cut */
	run_cut(pump);
	usp_drop_end(pump);
	pump->stage = USP_PUMP_DONE;
	atomic_store(&pump->is_done, true);
	return run_result(pump);
}

/* --- In steps -------------------------------------------------------------------------------------------- */

int usp_pump_step(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	int ret;

	if (!pump->nr_sinks || atomic_load(&pump->is_done))
		return -EINVAL;
	if (pump->stage != USP_PUMP_NEW && pump->process != usp_own_nr())
		return -ESTALE; /* the parent delivers what is in its pipe */
	if (pump->stage == USP_PUMP_NEW) {
		pump->process = usp_own_nr();
		ret = run_begin(pump);
		if (ret < 0)
			return ret;
		if (pump->nr_sinks > 1)
			ret = usp_fanout_begin(pump);
		if (ret < 0)
			return run_finish(pump), ret;
	}
	if (pump->nr_sinks == 1) {
		pump->waits.told = &pump->only.wait;
		pump->waits.nr = 1;
	}
	ret = pump->stage == USP_PUMP_DONE ? 0
	      : pump->nr_sinks == 1	   ? usp_single_advance(pump, pump->waits.told)
					   : usp_fanout_advance(pump);
	if (ret != -EAGAIN)
		return run_finish(pump);
	usp_sized_give(ret_wait, &pump->waits.told[0], sizeof(pump->waits.told[0]));
	return -EAGAIN;
}

unsigned usp_pump_waits(const struct usp_pump *pump, struct usp_pump_wait *ret_waits, unsigned nr)
{
	bool is_waiting = pump->waits.told && !atomic_load(&pump->is_done);

	for (unsigned i = 0; is_waiting && i < usp_min(nr, pump->waits.nr); i++) {
		size_t size = ret_waits->size;
		struct usp_pump_wait *ret_wait = (void *)((char *)ret_waits + i * size);

		ret_wait->size = size;
		usp_sized_give(ret_wait, &pump->waits.told[i], sizeof(pump->waits.told[i]));
	}
	return is_waiting ? pump->waits.nr : 0;
}

void usp_pump_recheck(struct usp_pump *pump)
{
	pump->recheck = true;
}

/* --- In one call ----------------------------------------------------------------------------------------- */

static bool run_may_batch(const struct usp_pump *pump)
{
	return pump->params.flags & USP_PUMP_BATCH && usp_plan_is_middle(&pump->plan);
}

/* Step and wait in turns. A wait that fails ends the run as if the source had failed. */
static void run_single(struct usp_pump *pump)
{
	struct usp_sched sched = {.may = false};
	struct usp_pump_wait wait;

	if (run_may_batch(pump))
		usp_sched_begin(&sched, pump->limits.begun_ns);
	while (pump->stage != USP_PUMP_DONE && usp_single_advance(pump, &wait) == -EAGAIN) {
		int ret = usp_pump_await(pump, &wait);

		if (ret < 0 && ret != -ECANCELED)
			atomic_store(&pump->source_error, ret);
		if (sched.may)
			usp_sched_look(&sched, usp_sys_now_ns(), true);
	}
	usp_sched_end(&sched);
}

/* Prepare what only a run that blocks needs: something to wake it up, and memory for its waits. */
static int run_prepare_waits(struct usp_pump *pump)
{
	int stop_fd;

	if (pump->process == usp_own_nr())
		return 0; /* an earlier call could not begin */
	if (!pump->waits.fds)
		pump->waits.fds = usp_alloc_array(2 * pump->nr_sinks + 2, sizeof(pump->waits.fds[0]));
	if (!pump->waits.fds)
		return -ENOMEM;
	stop_fd = usp_sys_eventfd();
	if (stop_fd < 0)
		stop_fd = -1;	      /* descriptors are short: a stop is looked for now and then */
	pump->process = usp_own_nr(); /* set before the stop descriptor exists */
	usp_sys_close(atomic_exchange(&pump->waits.stop_fd, stop_fd));
	return 0;
}

/* Threads know nothing of each other's progress, so they cannot keep time. */
static bool run_lacks_turns(const struct usp_pump *pump)
{
	return pump->nr_sinks > 1 && (pump->params.idle_ns || pump->params.total_ns) &&
	       !(pump->params.flags & USP_PUMP_TURNS);
}

int usp_pump_run(struct usp_pump *pump)
{
	int ret;

	if (!pump->nr_sinks || atomic_load(&pump->is_done) || pump->stage != USP_PUMP_NEW || run_lacks_turns(pump))
		return -EINVAL;
	ret = run_prepare_waits(pump);
	if (ret == 0)
		ret = run_begin(pump);
	if (ret < 0)
		return ret;
	if (pump->nr_sinks == 1)
		run_single(pump);
	else if (pump->params.flags & USP_PUMP_TURNS)
		ret = usp_fanout_run(pump);
	else
		ret = usp_threads_run(pump);
	return ret < 0 ? (run_finish(pump), ret) : run_finish(pump);
}
