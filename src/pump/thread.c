/* SPDX-License-Identifier: MIT */
/*
 * thread - a pump with several sinks, each in its own thread. The caller's thread fills their
 * pipes.
 *
 * Sinks on disk do not poll, and the copies of several sinks run on several processors. A sink's
 * thread does not see the progress of the others, so a run with time-outs is done in turns
 * (fanout.c).
 */
#include <errno.h>
#include <poll.h>

#include "base/sys.h"
#include "base/thread.h"
#include "event/sched.h"
#include "pump/inside.h"
#include "splice/pipe.h"

/* --- A sink ---------------------------------------------------------------------------------------------- */

/* Wait for the pipe of the sink: 1 if it has bytes, 0 at its end. */
static int thread_await_pipe(struct usp_sink *sink)
{
	int ret = usp_pipe_begin_read(sink->pipe, 0);

	if (ret > 0)
		usp_pipe_end_read(sink->pipe);
	return ret;
}

/*
 * Wait for what keeps the sink from going on: 0 to write again, or -errno. Time that the source takes
 * for its bytes does not make the sink slow.
 */
static int thread_await_sink(struct usp_sink *sink)
{
	int64_t patience_ns = usp_sink_may_detach(sink) ? (int64_t)usp_sink_slow_ns(sink) : -1;
	struct usp_pump_wait wait;
	bool is_heard;
	int ret;

	if (usp_sink_may_detach(sink))
		usp_sink_look(sink);
	usp_sink_blocked(sink, &wait);
	ret = usp_pump_await_sink(sink->pump, &wait, patience_ns);
	if (ret < 0 && ret != -ETIMEDOUT)
		return ret;
	is_heard = sink->file->traits & USP_FILE_SOCKET && wait.events & POLLIN; /* it may be what woke us */
	return (ret < 0 || is_heard) && usp_sink_may_detach(sink) && usp_sink_is_slow(sink) ? -ETIMEDOUT : 0;
}

/* Write as usp_sink_write, and wait for the pipe and for the sink. */
static ssize_t thread_step(struct usp_sink *sink)
{
	ssize_t ret = thread_await_pipe(sink);

	while (ret > 0) {
		if (atomic_load(&sink->pump->is_stopped))
			return -ECANCELED;
		if (atomic_load(&sink->must_leave))
			return -ETIMEDOUT;
		ret = usp_sink_write(sink, USP_MAX_RW_COUNT);
		if (ret != -EAGAIN && ret != -EINTR)
			return ret;
		ret = thread_await_sink(sink);
		if (ret < 0)
			return ret;
		ret = 1;
	}
	return ret;
}

static void thread_await_end(struct usp_sink *sink)
{
	struct usp_pump_wait wait;

	while (usp_sink_end(sink, &wait) == -EAGAIN) {
		int ret = usp_pump_await(sink->pump, &wait);

		if (ret < 0 && ret != -ECANCELED) {
			usp_sink_note(sink, sink->close_error ? sink->close_error : ret);
			return;
		}
	}
}

/* A file does not mind when its bytes come; but a message should not wait for a program that only computes. */
static bool thread_yields(const struct usp_sink *sink)
{
	return sink->pump->params.flags & USP_PUMP_BATCH && !(sink->file->traits & USP_FILE_POLLABLE);
}

static void *thread_run(void *arg)
{
	struct usp_sink *sink = arg;
	ssize_t ret;

	if (thread_yields(sink))
		usp_sched_yield_to_others();
	do
		ret = thread_step(sink);
	while (ret > 0);
	if (atomic_load(&sink->pump->is_stepped))
		return NULL;
	if (ret == 0 && usp_pipe_len(sink->pipe))
		ret = -EIO; /* confirm found that the bytes are gone */
	if (usp_pump_was_cut(sink->pump))
		usp_pump_alarm(sink->pump);
	usp_sink_close(sink, (int)ret);
	thread_await_end(sink);
	if (atomic_load(&sink->pump->has_failed))
		usp_pump_alarm(sink->pump);
	return NULL;
}

/* Start the thread of a sink. */
static int thread_start(struct usp_sink *sink, const struct usp_pipe_params *params)
{
	int ret = usp_pipe_new(params, &sink->pipe);

	if (ret < 0)
		return ret;
	ret = usp_thread_start(&sink->thread, thread_run, sink);
	sink->is_running = sink->is_live = ret == 0;
	return ret;
}

static void thread_dismiss(struct usp_sink *sink)
{
	if (sink->is_running) {
		usp_pipe_close_write(sink->pipe);
		pthread_join(sink->thread, NULL);
	}
	sink->is_running = sink->is_live = false;
	usp_pipe_free(sink->pipe);
	sink->pipe = NULL;
}

static void thread_join(struct usp_sink *sink)
{
	if (!sink->is_running)
		return;
	usp_pipe_close_write(sink->pipe);
	pthread_join(sink->thread, NULL);
	sink->is_running = false;
	if (atomic_load(&sink->error) == -ECANCELED)
		usp_sink_strand_all(sink);
}

/* --- The source ------------------------------------------------------------------------------------------ */

static int thread_start_all(struct usp_pump *pump, const struct usp_pipe_params *params)
{
	int ret = 0;

	for (unsigned i = 0; i < pump->nr_sinks && ret == 0; i++)
		ret = thread_start(&pump->sinks[i], params);
	return ret;
}

/* Take as usp_pump_take, and wait. */
static ssize_t thread_take(struct usp_pump *pump)
{
	struct usp_pump_wait wait;
	ssize_t ret;

	do {
		if (atomic_load(&pump->has_failed) || usp_pump_was_cut(pump))
			return 0;
		ret = atomic_load(&pump->is_stopped) ? -ECANCELED : usp_pump_take(pump, &wait);
		if (ret != -EAGAIN)
			break;
		ret = usp_pump_await(pump, &wait);
	} while (ret == 0);
	if (ret < 0 && ret != -ECANCELED)
		atomic_store(&pump->source_error, (int)ret);
	return ret;
}

/* End all sink threads that exist, because not all could be made. They have been given nothing. */
static void thread_dismiss_all(struct usp_pump *pump)
{
	atomic_store(&pump->is_stepped, true);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		thread_dismiss(&pump->sinks[i]);
}

int usp_threads_run(struct usp_pump *pump)
{
	const struct usp_pipe_params params = usp_fanout_params(pump);
	int ret = usp_pipe_new(&params, &pump->pipe);

	if (ret < 0)
		return ret;
	ret = thread_start_all(pump, &params);
	if (ret == -EAGAIN) {
		thread_dismiss_all(pump);
		return usp_fanout_run(pump);
	}
	if (ret < 0)
		usp_pump_stop(pump);
	while (ret == 0 && !atomic_load(&pump->has_failed) && thread_take(pump) > 0) {
		while (ret == 0 && usp_pipe_len(pump->pipe))
			ret = usp_fanout_give(pump);
	}
	atomic_store(&pump->waits.is_given, true);
	usp_pump_hush(pump);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		thread_join(&pump->sinks[i]);
	usp_pump_follow_source(pump);	/* only now: until here the lanes belong to the threads of the sinks */
	return ret == -EPIPE ? 0 : ret; /* all sinks have ended, each with its own error */
}
