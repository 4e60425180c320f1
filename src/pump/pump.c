/* SPDX-License-Identifier: MIT */
/* pump - one source to one or many sinks, until the end: how it is made, stopped and freed. */
#include <errno.h>

#include "base/alloc.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "lanes/plan.h"
#include "pump/inside.h"
#include "splice/file.h"
#include "splice/hole.h"
#include "splice/pipe.h"

#define PUMP_FLAGS                                                                                               \
	(USP_PUMP_SNAPSHOT | USP_PUMP_REQUIRE_ZERO_COPY | USP_PUMP_CONTINUE_ON_ERROR | USP_PUMP_DETACH_SLOW |    \
	 USP_PUMP_WIDEN_FIFOS | USP_PUMP_KEEP_STRANDED | USP_PUMP_ADAPT_LANE | USP_PUMP_BATCH | USP_PUMP_COUNT | \
	 USP_PUMP_TURNS | USP_PUMP_NO_PROBE | USP_PUMP_DROP_CACHE)

/* Check the parameters. Times are limited because they are added to the clock. */
static bool pump_can(const struct usp_pump_params *params)
{
	return !(params->flags & ~PUMP_FLAGS) && (unsigned)params->lane <= USP_LANE_USER &&
	       (unsigned)params->sparse <= USP_SPARSE_NEVER && params->slow_ns <= INT64_MAX &&
	       params->idle_ns <= INT64_MAX && params->total_ns <= INT64_MAX && params->linger_ns <= INT64_MAX &&
	       (params->flags & USP_PUMP_COUNT ? params->count >= 0 : !params->count);
}

/* Take references to the source and to the files below it, whose accounts are hops of the route. */
static int pump_note_sources(struct usp_pump *pump)
{
	unsigned nr = 0;

	for (struct usp_file *file = pump->source; file; file = usp_file_carrier(file)->below)
		nr++;
	pump->sources = nr == 1 ? &pump->source : usp_alloc_array(nr, sizeof(pump->sources[0]));
	if (!pump->sources)
		return -ENOMEM;
	pump->nr_sources = nr;
	for (struct usp_file *file = pump->source; file; file = usp_file_carrier(file)->below)
		pump->sources[--nr] = usp_file_get(file);
	return 0;
}

static void pump_put_sources(struct usp_pump *pump)
{
	for (unsigned i = pump->nr_sources; i-- > 0;)
		usp_file_put(pump->sources[i]);
	if (pump->sources != &pump->source)
		usp_free(pump->sources);
}

int usp_pump_new(struct usp_file *source, const struct usp_pump_params *params, struct usp_pump **ret_pump)
{
	struct usp_pump_params own = {.count = 0};
	int ret = params ? usp_sized_take(&own, sizeof(own), params) : 0;
	struct usp_pump *pump;

	if (ret == 0 && (!pump_can(&own) || !(source->mode & USP_READ)))
		ret = -EINVAL;
	if (ret < 0)
		return ret;
	pump = usp_alloc(sizeof(*pump));
	if (!pump)
		return -ENOMEM;
	atomic_init(&pump->waits.stop_fd, -1);
	atomic_init(&pump->end, UINT64_MAX);
	pump->params = own;
	pump->source = source;
	if (pump_note_sources(pump) < 0) {
		usp_free(pump);
		return -ENOMEM;
	}
	*ret_pump = pump;
	return 0;
}

/* Make room for one more sink: the first has its place in the pump, more need an array. */
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
	if (!atomic_load(&pump->is_done))
		usp_hole_set_mode(pump->sources[0], USP_SPARSE_ANY);
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		struct usp_sink *sink = &pump->sinks[i];

		if (!atomic_load(&pump->is_done))
			usp_hole_finish(sink->file); /* given up between two steps, or before the first */
		if (sink->pipe != pump->pipe)
			usp_pipe_free(sink->pipe);
		usp_file_put(sink->file);
	}
	usp_pipe_free(pump->pipe);
	if (pump->undelivered.ops)
		usp_buf_release(NULL, &pump->undelivered);
	pump_put_sources(pump);
	usp_sys_close(atomic_load(&pump->waits.stop_fd));
	usp_free(pump->waits.fds);
	usp_free(pump->drops);
	if (pump->waits.told != &pump->only.wait)
		usp_free(pump->waits.told);
	if (pump->sinks != &pump->only)
		usp_free(pump->sinks);
	usp_free(pump);
}

void usp_pump_stop(struct usp_pump *pump)
{
	int stop_fd;

	atomic_store(&pump->is_stopped, true);
	stop_fd = atomic_load(&pump->waits.stop_fd);
	if (stop_fd >= 0 &&
	    pump->process == usp_own_nr()) /* a child has its parent's descriptor, and a pump of its own */
		usp_sys_eventfd_set(stop_fd, true);
}

/* --- For drivers of many pumps ------------------------------------------------------------------------ */

void usp_pump_share(struct usp_pump *pump, struct usp_folio **scratch, struct usp_shared_rate *shared_rate)
{
	pump->scratch = scratch;
	pump->limits.shared_rate = shared_rate;
}

void usp_pump_set_closes_sink(struct usp_pump *pump, bool closes_sink)
{
	pump->closes_sink = closes_sink;
}
