/* SPDX-License-Identifier: MIT */
/*
 * planner - which lane each file of a route takes.
 *
 * A hop is carried by the kernel where the endpoint's descriptor can be spliced. The source goes on the kernel lane if some
 * sink can use kernel pipes as they are; a sink that cannot maps its own share. With --snapshot the source is always read
 * into memory, because only a copy does not change any more.
 */
#include "run/planner.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "endpoints/kpipe.h"
#include "run/probe.h"

#define PLANNER_FIFO_BYTES ((size_t)1 << 20) /* pipe-max-size of an unprivileged user, and the fastest */

static bool planner_can_splice(const struct usp_file *file, unsigned side)
{
	if (!(file->traits & USP_FILE_SPLICEABLE) || file->fd < 0)
		return false;
	return side == USP_READ || !(atomic_load(&file->flags) & USP_APPEND);
}

/* Bytes that are dropped never enter this process either. */
static bool planner_drops(const struct usp_file *sink)
{
	return sink->ops->splice_write == usp_drop_splice_write;
}

bool usp_plan_adapts(const struct usp_file *source, const struct usp_pump_params *params)
{
	return params->flags & USP_PUMP_ADAPT_LANE && !(params->flags & USP_PUMP_SNAPSHOT) &&
	       params->lane == USP_LANE_AUTO && source->traits & USP_FILE_SOCKET;
}

static void planner_set_lane(struct usp_file *file, unsigned side, bool is_kernel)
{
	struct usp_side *of = usp_file_side(file, side);
	struct usp_probe_result found;

	of->lane = is_kernel ? &usp_kernel_lane : NULL;
	if (!is_kernel)
		return;
	if (side == USP_WRITE && planner_drops(file))
		found = (struct usp_probe_result){.way = USP_BY_REFERENCE, .reason = "dropped, not read"};
	else
		usp_probe(file, side, &found);
	of->lane_way = found.way;
	of->lane_reason = found.reason;
}

static bool planner_fits(const struct usp_file *sink)
{
	return planner_can_splice(sink, USP_WRITE) || planner_drops(sink);
}

static bool planner_any_sink_fits(struct usp_file *const *sinks, unsigned nr_sinks)
{
	for (unsigned i = 0; i < nr_sinks; i++) {
		if (planner_fits(sinks[i]))
			return true;
	}
	return false;
}

static bool planner_all_fit(const struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks)
{
	for (unsigned i = 0; i < nr_sinks; i++) {
		if (!planner_fits(sinks[i]))
			return false;
	}
	return planner_can_splice(source, USP_READ);
}

/* How a hop will go, as far as that is known before a byte moves. */
static enum usp_way planner_expect(const struct usp_file *file, unsigned side, const char **ret_reason)
{
	const struct usp_side *of = usp_file_side(file, side);
	bool is_source = side == USP_READ;

	*ret_reason = of->lane_reason;
	if (of->lane)
		return of->lane_way;
	if (is_source ? file->ops->splice_read == usp_copy_splice_read
		      : file->ops->splice_write == usp_iter_splice_write) {
		*ret_reason = is_source ? "it is read into memory of this process"
					: "it is written from memory of this process";
		return USP_COPIED;
	}
	*ret_reason = "nothing is known before the bytes have gone";
	return is_source || planner_drops(file) ? USP_BY_REFERENCE : USP_UNKNOWN;
}

static int planner_require(struct usp_file *file, unsigned side)
{
	const char *reason;
	enum usp_way way = planner_expect(file, side, &reason);

	file->traits |= USP_FILE_LANE_FORCED;
	if (way == USP_BY_REFERENCE)
		return 0;
	atomic_store(&usp_file_side(file, side)->account.reason[way], reason);
	return -ENOTSUP;
}

int usp_plan_require(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks)
{
	int ret = planner_require(source, USP_READ);

	for (unsigned i = 0; i < nr_sinks && ret == 0; i++)
		ret = planner_require(sinks[i], USP_WRITE);
	return ret;
}

static bool planner_is_fifo(const struct usp_file *file)
{
	return strcmp(file->ops->name, "fifo") == 0;
}

bool usp_plan_is_middle(const struct usp_file *source, const struct usp_file *sink)
{
	return usp_file_side(source, USP_READ)->lane && usp_file_side(sink, USP_WRITE)->lane &&
	       planner_is_fifo(source) && planner_is_fifo(sink);
}

static void planner_widen(struct usp_file *file)
{
	if (planner_is_fifo(file))
		usp_sys_set_pipe_size(file->fd,
				      PLANNER_FIFO_BYTES); /* refused past the budget: work with what there is */
}

static void planner_set_lanes(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks,
			      bool may_kernel)
{
	bool is_kernel = may_kernel && planner_can_splice(source, USP_READ);

	planner_set_lane(source, USP_READ, is_kernel && planner_any_sink_fits(sinks, nr_sinks));
	for (unsigned i = 0; i < nr_sinks; i++)
		planner_set_lane(sinks[i], USP_WRITE, usp_file_side(source, USP_READ)->lane && planner_fits(sinks[i]));
}

int usp_plan_route(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks,
		   const struct usp_pump_params *params)
{
	bool is_snapshot = params->flags & USP_PUMP_SNAPSHOT, is_forced = params->lane == USP_LANE_KERNEL;

	if (is_forced && (is_snapshot || !planner_all_fit(source, sinks, nr_sinks)))
		return -EOPNOTSUPP;
	planner_set_lanes(source, sinks, nr_sinks,
			  params->lane != USP_LANE_USER && !is_snapshot && !usp_plan_adapts(source, params));
	for (unsigned i = 0; i <= nr_sinks; i++) {
		struct usp_file *file = i ? sinks[i - 1] : source;

		if (is_forced)
			file->traits |= USP_FILE_LANE_FORCED;
		if (params->flags & USP_PUMP_WIDEN_FIFOS)
			planner_widen(file);
	}
	return 0;
}

/* --- While it runs -------------------------------------------------------------------------------------- */

/* Kernel pipes are best at their widest. Copies are best where they stay in the cache, and a flow that adapts needs no more than
 * tells a large piece from a small one. */
#define PLANNER_KERNEL_STEP USP_PLAN_SLOT_BYTES
#define PLANNER_USER_STEP ((size_t)512 << 10)

size_t usp_plan_step_bytes(const struct usp_file *source, const struct usp_pump_params *params)
{
	if (usp_file_side(source, USP_READ)->lane)
		return PLANNER_KERNEL_STEP;
	return usp_plan_adapts(source, params) ? USP_PLAN_ADAPT_BYTES : PLANNER_USER_STEP;
}

void usp_plan_switch(struct usp_file *source, struct usp_file *sink, bool is_kernel)
{
	planner_set_lanes(source, &sink, 1, is_kernel);
}
