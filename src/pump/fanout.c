/* SPDX-License-Identifier: MIT */
/*
 * fanout - how one buf becomes a reference in the pipe of each sink, and a pump with several sinks
 * as a machine of steps.
 *
 *   source -> [pump's pipe] --tee--> [sink's pipe] -> file
 *                           --tee--> [sink's pipe] -> file
 *                           --move-> [sink's pipe] -> file
 *
 * The slowest sink holds the others back by at most its pipe: the source waits until every live
 * sink has a free slot. A sink that ends closes its pipe for writing, so the source never waits for
 * it again.
 *
 * Threads do this at the same time (thread.c). Here it is done in turns, each without waiting:
 * every sink drains its pipe, and while all pipes have room the source fills them. A step is over
 * when nothing moves any more. It then waits for each sink that is full, and for the source if
 * there is room.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "pump/inside.h"
#include "splice/pipe.h"

#define FANOUT_KERNEL_SLOTS 4 /* of the pipe of each sink */
#define FANOUT_USER_SLOTS 8

/* --- One buf for all ------------------------------------------------------------------------------------- */

/* Wait for a free slot in a sink: true. False if the sink has ended or must end because it is too slow. */
static bool fanout_await_room(struct usp_sink *sink)
{
	uint64_t patience_ns = usp_sink_slow_ns(sink);
	int ret;

	do
		ret = usp_pipe_await_room(sink->pipe, patience_ns);
	while (ret == -ETIMEDOUT && !(usp_sink_may_detach(sink) && usp_sink_is_slow(sink)));
	if (ret == -ETIMEDOUT)
		atomic_store(&sink->must_leave, true);
	return ret == 0;
}

/* Return the length of the first buf, or 0. */
static size_t fanout_first_len(struct usp_pipe *pipe)
{
	struct usp_buf buf;

	if (usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK) <= 0)
		return 0;
	usp_pipe_peek(pipe, &buf, 1);
	usp_pipe_end_read(pipe);
	return buf.len;
}

/*
 * Map the first buf, a kernel pipe that tee(2) could not duplicate: its bytes go on in a folio,
 * which can be shared.
 */
static int fanout_map_first(struct usp_pipe *pipe)
{
	struct usp_buf buf;
	int ret = usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK);

	if (ret <= 0)
		return ret;
	usp_pipe_peek(pipe, &buf, 1);
	ret = usp_buf_is_mapped(&buf) ? -EFAULT : usp_buf_map(pipe, &buf);
	if (ret == 0)
		usp_pipe_set(pipe, 0, &buf);
	usp_pipe_end_read(pipe);
	return ret;
}

/*
 * Give up a sink that cannot get a reference, as if it had failed. What it already has is still
 * delivered.
 */
static void fanout_give_up(struct usp_sink *sink, int error)
{
	atomic_store(&sink->not_given, usp_pipe_len(sink->pump->pipe));
	atomic_store(&sink->give_error, error);
	usp_pipe_close_write(sink->pipe);
}

/*
 * Give one sink its reference; the last sink takes the buf itself. 0, -EPIPE if the sink has ended,
 * or -errno.
 */
static int fanout_give(struct usp_pump *pump, struct usp_sink *sink, size_t len, bool is_last)
{
	ssize_t ret;
	int mapped = 0;

	do {
		ret = usp_pipe_transfer(pump->pipe, sink->pipe, len, USP_SPLICE_NONBLOCK, is_last);
		if (ret == -EFAULT)
			mapped = fanout_map_first(pump->pipe);
	} while (ret == -EFAULT && mapped == 0);
	return ret == -EFAULT ? mapped : ret < 0 ? (int)ret : 0;
}

static unsigned fanout_await_all(struct usp_pump *pump)
{
	unsigned nr_live = 0;

	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		sink->is_live = sink->is_live && fanout_await_room(sink);
		nr_live += sink->is_live;
	}
	return nr_live;
}

int usp_fanout_give(struct usp_pump *pump)
{
	size_t len = fanout_first_len(pump->pipe);
	unsigned nr_left = fanout_await_all(pump), nr_given = 0;
	bool was_moved = false;

	for (unsigned i = 0; i < pump->nr_sinks && nr_left; i++) {
		struct usp_sink *sink = &pump->sinks[i];
		int ret;

		if (!sink->is_live)
			continue;
		ret = fanout_give(pump, sink, len, nr_left == 1);
		if (ret < 0 && ret != -EPIPE)
			fanout_give_up(sink, ret);
		sink->is_live = ret == 0;
		was_moved = ret == 0 && nr_left == 1;
		nr_given += ret == 0;
		nr_left--;
	}
	if (!was_moved)
		usp_sink_discard(pump->pipe, len);
	return nr_given ? 0 : -EPIPE;
}

/* --- One sink --------------------------------------------------------------------------------------- */

static void fanout_close(struct usp_sink *sink, int error)
{
	sink->is_live = false;
	usp_sink_close(sink, error);
	sink->stage = USP_SINK_SETTLE;
}

/* Write to the sink once: bytes, 0 at the end of its pipe, or -errno. */
static ssize_t fanout_write(struct usp_sink *sink)
{
	ssize_t ret;

	do
		ret = usp_sink_write(sink, USP_MAX_RW_COUNT);
	while (ret == -EINTR && !atomic_load(&sink->pump->is_stopped));
	return ret == 0 && usp_pipe_len(sink->pipe) ? -EIO : ret; /* confirm found that the bytes are gone */
}

static void fanout_drain(struct usp_sink *sink)
{
	ssize_t ret = fanout_write(sink);

	while (ret > 0) {
		sink->pump->limits.progress_ns = usp_sys_now_ns();
		atomic_store(&sink->progress_ns, sink->pump->limits.progress_ns);
		ret = fanout_write(sink);
	}
	if (ret != -EAGAIN) {
		fanout_close(sink, (int)ret);
	} else if (usp_pipe_len(sink->pipe)) {
		usp_sink_blocked(sink, &sink->wait);
		sink->is_waiting = true;
	}
}

/* Run one sink until it would block. */
static void fanout_advance_sink(struct usp_sink *sink)
{
	sink->is_waiting = false;
	if (sink->stage == USP_SINK_OPEN)
		fanout_drain(sink);
	if (sink->stage == USP_SINK_SETTLE) {
		sink->is_waiting = usp_sink_end(sink, &sink->wait) == -EAGAIN;
		if (!sink->is_waiting)
			sink->stage = USP_SINK_DONE;
	}
}

/* --- The source ---------------------------------------------------------------------------------------- */

static void fanout_end_source(struct usp_pump *pump)
{
	pump->is_source_over = true;
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		usp_pipe_close_write(pump->sinks[i].pipe);
}

/* Tell whether every sink that still takes bytes has a free slot. */
static bool fanout_has_room(const struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		if (pump->sinks[i].is_live && usp_pipe_await_room(pump->sinks[i].pipe, 0) < 0)
			return false;
	}
	return true;
}

/* Take one piece and give it to all sinks: 1 if that changed something, 0 if not, -EAGAIN with *wait. */
static int fanout_fill(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	ssize_t taken;

	if (pump->is_source_over || !fanout_has_room(pump))
		return 0;
	if (!usp_pipe_len(pump->pipe)) {
		taken = atomic_load(&pump->has_failed) || usp_pump_was_cut(pump) ? 0 : usp_pump_take(pump, wait);
		if (taken == -EAGAIN)
			return -EAGAIN;
		if (taken <= 0) {
			fanout_end_source(pump);
			return 1;
		}
		pump->limits.progress_ns = usp_sys_now_ns();
		usp_pump_follow_source(pump);
	}
	if (usp_fanout_give(pump) < 0)
		fanout_end_source(pump); /* no sink is left */
	return 1;
}

/* --- The machine ----------------------------------------------------------------------------------------- */

static bool fanout_is_done(const struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		if (pump->sinks[i].stage != USP_SINK_DONE)
			return false;
	}
	return true;
}

/* Abort: close every open sink with this error. */
static void fanout_cut(struct usp_pump *pump, int error)
{
	pump->is_source_over = true;
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		if (sink->stage != USP_SINK_OPEN)
			continue;
		fanout_close(sink, error);
		usp_sink_strand_all(sink);
	}
}

static void fanout_add_wait(struct usp_pump *pump, const struct usp_pump_wait *wait)
{
	pump->waits.told[pump->waits.nr++] = *wait;
}

/* End the run as if the source had failed. The next steps only wait for what was sent. */
static void fanout_fail(struct usp_pump *pump, int error)
{
	atomic_store(&pump->source_error, error);
	fanout_cut(pump, 0);
}

/*
 * Note what an open sink waits for, or close it because its time is over. If it waits for bytes that the
 * source's buf does not have yet, it is the source that is late.
 */
static int fanout_check_sink(struct usp_sink *sink)
{
	bool is_source = atomic_load(&sink->is_late);
	int ret = -EAGAIN;

	if (sink->stage == USP_SINK_OPEN)
		ret = usp_pump_check_time(sink->pump, is_source ? NULL : sink, &sink->wait);
	if (ret == -EAGAIN)
		fanout_add_wait(sink->pump, &sink->wait);
	else if (is_source)
		fanout_fail(sink->pump, ret);
	else
		fanout_close(sink, ret);
	return ret;
}

/* Note all waits. False if a deadline has passed, which changes the state. */
static bool fanout_note_waits(struct usp_pump *pump, struct usp_pump_wait *source_wait)
{
	bool is_in_time = true;

	pump->waits.nr = 0;
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		if (pump->sinks[i].is_waiting && fanout_check_sink(&pump->sinks[i]) != -EAGAIN)
			is_in_time = false;
	}
	if (!source_wait)
		return is_in_time;
	if (usp_pump_check_time(pump, NULL, source_wait) == -ETIMEDOUT) {
		atomic_store(&pump->source_error, -ETIMEDOUT);
		fanout_end_source(pump);
		return false;
	}
	fanout_add_wait(pump, source_wait);
	return is_in_time;
}

/* Give others a turn: -EAGAIN. Where no sink ever waits, this is where the time of the run is looked at. */
static int fanout_pause(struct usp_pump *pump)
{
	struct usp_pump_wait *wait = &pump->waits.told[0];

	usp_pump_pause(wait, 0);
	pump->waits.nr = 1;
	if (pump->params.total_ns && usp_pump_check_time(pump, NULL, wait) == -ETIMEDOUT)
		fanout_fail(pump, -ETIMEDOUT);
	return -EAGAIN;
}

/* Run each sink once: true if all are done. */
static bool fanout_advance_sinks(struct usp_pump *pump)
{
	if (atomic_load(&pump->is_stopped))
		fanout_cut(pump, -ECANCELED);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		fanout_advance_sink(&pump->sinks[i]);
	return fanout_is_done(pump);
}

int usp_fanout_advance(struct usp_pump *pump)
{
	uint64_t until = atomic_load(&pump->bytes) + USP_PUMP_BUDGET;
	struct usp_pump_wait source_wait;
	int filled;

	atomic_store_explicit(usp_u32(&pump->source->is_drained), false, memory_order_relaxed); /* as for one sink */
	do {
		if (fanout_advance_sinks(pump)) {
			pump->stage = USP_PUMP_DONE;
			return 0;
		}
		if (atomic_load(&pump->bytes) >= until)
			return fanout_pause(pump);
		filled = fanout_fill(pump, &source_wait);
	} while (filled > 0 || !fanout_note_waits(pump, filled == -EAGAIN ? &source_wait : NULL));
	return -EAGAIN;
}

/* --- The run --------------------------------------------------------------------------------------------- */

struct usp_pipe_params usp_fanout_params(const struct usp_pump *pump)
{
	return (struct usp_pipe_params){
		.size = sizeof(struct usp_pipe_params),
		.nr_slots = usp_pump_source_lane(pump) ? FANOUT_KERNEL_SLOTS : FANOUT_USER_SLOTS,
		.slot_bytes = pump->adapt.step_bytes,
	};
}

int usp_fanout_begin(struct usp_pump *pump)
{
	const struct usp_pipe_params params = usp_fanout_params(pump);
	int ret = pump->pipe ? 0 : usp_pipe_new(&params, &pump->pipe);

	if (ret < 0)
		return ret;
	pump->waits.told = usp_alloc_array(pump->nr_sinks + 1, sizeof(pump->waits.told[0]));
	if (!pump->waits.told)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		ret = usp_pipe_new(&params, &sink->pipe);
		sink->is_live = ret == 0;
		sink->progress_ns = pump->limits.begun_ns;
	}
	return ret;
}

/*
 * Step and wait in turns, with several sinks. Time-outs are kept only here: a sink's thread does
 * not see the progress of the others.
 */
int usp_fanout_run(struct usp_pump *pump)
{
	int ret = usp_fanout_begin(pump), waited;

	while (ret == 0 && usp_fanout_advance(pump) == -EAGAIN) {
		waited = usp_pump_await_any(pump);
		if (waited < 0)
			fanout_fail(pump, waited);
	}
	return ret;
}
