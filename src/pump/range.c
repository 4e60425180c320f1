/* SPDX-License-Identifier: MIT */
/* range - a pump whose bytes go from file to file inside the kernel, without a pipe. */
#include <errno.h>

#include "lanes/copy_range.h"
#include "lanes/extents.h"
#include "lanes/plan.h"
#include "pump/inside.h"
#include "splice/fd.h"

#define RANGE_BYTES ((size_t)16 << 20) /* see bench/README.md */

bool usp_range_is_possible(const struct usp_pump *pump)
{
	return pump->nr_sinks == 1 && usp_pump_source_lane(pump) && usp_plan_sink_lane(&pump->plan, 0) &&
	       usp_copy_range_is_possible(pump->source, pump->sinks[0].file);
}

/* Count bytes that went, if they did, and by which way since before. */
static void range_count(struct usp_pump *pump, ssize_t len, const struct usp_hop *before)
{
	struct usp_hop after = {.size = sizeof(after)};

	usp_pump_count(pump, len);
	if (len <= 0)
		return;
	atomic_fetch_add(&pump->sinks[0].bytes, (uint64_t)len);
	usp_file_hop(pump->source, USP_READ, &after);
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		atomic_fetch_add(&pump->range[way], after.bytes[way] - before->bytes[way]);
}

bool usp_range_clone(struct usp_pump *pump)
{
	uint64_t len = pump->params.flags & USP_PUMP_COUNT ? (uint64_t)pump->params.count : UINT64_MAX;
	struct usp_hop before = {.size = sizeof(before)};
	ssize_t ret;

	if (pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY && usp_extents_has_inline(pump->source->fd))
		return false;
	usp_file_hop(pump->source, USP_READ, &before);
	ret = usp_clone_range(pump->source, pump->sinks[0].file, len, pump->plan.may_probe);
	range_count(pump, ret, &before);
	return ret > 0;
}

/*
 * Note the error of copy_file_range, which does not say which side failed. Try to read the source
 * there: if that fails, too, it was the source.
 */
static void range_failed(struct usp_pump *pump, int error)
{
	struct usp_file *source = pump->source;

	if (error != -ECANCELED && usp_fd_peek(source, &source->pos) < 0)
		atomic_store(&pump->source_error, error);
	else
		atomic_store(&pump->sinks[0].error, error);
}

/*
 * Tell whether the flow must take over: the kernel does not begin, or the file goes on after an
 * st_size that is too small.
 */
static bool range_gives_up(const struct usp_pump *pump, ssize_t ret)
{
	return ret <= 0 &&
	       (!atomic_load(&pump->bytes) || (ret == 0 && usp_fd_peek(pump->source, &pump->source->pos) != 0));
}

int usp_range_advance(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_hop before = {.size = sizeof(before)};
	ssize_t ret = atomic_load(&pump->is_stopped) ? -ECANCELED : usp_pump_allowance(pump, RANGE_BYTES, wait);

	if (ret == -EAGAIN)
		return -EAGAIN;
	if (ret > 0) {
		usp_file_hop(pump->source, USP_READ, &before);
		ret = usp_copy_range(pump->source, pump->sinks[0].file, (size_t)ret, pump->plan.may_probe);
		if (range_gives_up(pump, ret)) {
			pump->stage = USP_PUMP_FLOW;
			return usp_pump_pause(wait, 0);
		}
		range_count(pump, ret, &before);
	}
	if (ret > 0 || ret == -EINTR)
		return usp_pump_pause(wait, 0);
	if (ret < 0)
		range_failed(pump, (int)ret);
	pump->stage = USP_PUMP_DONE;
	return 0;
}
