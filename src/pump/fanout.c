/* SPDX-License-Identifier: MIT */
/*
 * many - a pump with several sinks, as a machine of steps.
 *
 *   source -> [pump's pipe] --tee--> [sink's pipe] -> file
 *                           --move-> [sink's pipe] -> file
 *
 * What the threads of sink.c do at the same time is done in turns here, each as far as it goes without waiting: every sink drains
 * its pipe, and while all of them have room the source fills them. A step is over when nothing moves any more. It waits for each
 * sink that is full, and for the source if there is room for what that gives.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/sys.h"
#include "pump/pump.h"
#include "splice/pipe.h"

/* --- One sink --------------------------------------------------------------------------------------- */

static void fanout_close(struct usp_sink *sink, int error)
{
	sink->is_live = false;
	usp_sink_close(sink, error);
	sink->stage = USP_SINK_SETTLE;
}

/* Bytes, 0 at the end of the sink's pipe, or -errno. */
static ssize_t fanout_write(struct usp_sink *sink)
{
	ssize_t ret;

	do
		ret = usp_sink_write(sink, USP_MAX_RW_COUNT, USP_SPLICE_NONBLOCK);
	while (ret == -EINTR && !atomic_load(&sink->pump->is_stopped));
	return ret == 0 && usp_pipe_len(sink->pipe) ? -EIO : ret; /* confirm found that the bytes are gone */
}

static void fanout_drain(struct usp_sink *sink)
{
	ssize_t ret = fanout_write(sink);

	while (ret > 0) {
		sink->pump->progress_ns = usp_sys_now_ns();
		atomic_store(&sink->progress_ns, sink->pump->progress_ns);
		ret = fanout_write(sink);
	}
	if (ret != -EAGAIN) {
		fanout_close(sink, (int)ret);
	} else if (usp_pipe_len(sink->pipe)) {
		usp_sink_blocked(sink, &sink->wait);
		sink->is_waiting = true;
	}
}

/* As far as it goes. */
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

/* Whoever still gets something can take it now. */
static bool fanout_has_room(const struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		if (pump->sinks[i].is_live && usp_pipe_await_room(pump->sinks[i].pipe, 0) < 0)
			return false;
	}
	return true;
}

/* Take one piece and give it to all: 1 if that changed something, 0 if not, -EAGAIN with *wait. */
static int fanout_fill(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	ssize_t taken;

	if (pump->is_source_over || !fanout_has_room(pump))
		return 0;
	if (!usp_pipe_len(pump->pipe)) {
		taken = atomic_load(&pump->has_failed) ? 0 : usp_pump_take(pump, wait);
		if (taken == -EAGAIN)
			return -EAGAIN;
		if (taken <= 0) {
			fanout_end_source(pump);
			return 1;
		}
		pump->progress_ns = usp_sys_now_ns();
		usp_pump_follow_source(pump);
	}
	if (usp_pump_distribute(pump) < 0)
		fanout_end_source(pump); /* nobody is left */
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

/* In the middle of everything. */
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
	pump->waits[pump->nr_waits++] = *wait;
}

/* What an open sink waits for, or its end because the time for that is over. */
static int fanout_check_sink(struct usp_sink *sink)
{
	int ret = sink->stage == USP_SINK_OPEN ? usp_pump_check_time(sink->pump, sink, &sink->wait) : -EAGAIN;

	if (ret == -EAGAIN)
		fanout_add_wait(sink->pump, &sink->wait);
	else
		fanout_close(sink, ret);
	return ret;
}

/* Note all that is waited for: false if the time for some of it is over, which changes things. */
static bool fanout_note_waits(struct usp_pump *pump, struct usp_pump_wait *source_wait)
{
	bool is_in_time = true;

	pump->nr_waits = 0;
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

/* Everything once: true if nothing is left to do. */
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

	atomic_store_explicit(&pump->source->is_drained, false, memory_order_relaxed); /* as in a step with one sink */
	do {
		if (fanout_advance_sinks(pump)) {
			pump->stage = USP_PUMP_DONE;
			return 0;
		}
		if (atomic_load(&pump->bytes) >= until) {
			pump->nr_waits = 1;
			return usp_pump_pause(pump->waits, 0);
		}
		filled = fanout_fill(pump, &source_wait);
	} while (filled > 0 || !fanout_note_waits(pump, filled == -EAGAIN ? &source_wait : NULL));
	return -EAGAIN;
}

void usp_fanout_fail(struct usp_pump *pump, int error)
{
	atomic_store(&pump->source_error, error);
	fanout_cut(pump, 0);
}

int usp_fanout_begin(struct usp_pump *pump, const struct usp_pipe_params *params)
{
	int ret = 0;

	pump->waits = usp_alloc_array(pump->nr_sinks + 1, sizeof(pump->waits[0]));
	if (!pump->waits)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		ret = usp_pipe_new(params, &sink->pipe);
		sink->is_live = ret == 0;
		sink->progress_ns = pump->begun_ns;
	}
	return ret;
}
