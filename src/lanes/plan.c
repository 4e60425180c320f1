/* SPDX-License-Identifier: MIT */
/*
 * plan - which lane each hop of a route takes.
 *
 * The kernel carries a hop if the endpoint's descriptor can be spliced. The source goes on the kernel
 * lane if at least one sink can use kernel pipes directly; other sinks map their own share. With
 * --snapshot the source is always read into memory, because only a copy cannot change any more.
 */
#include "lanes/plan.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/kpipe.h"
#include "lanes/probe.h"
#include "mm/mapping.h"
#include "splice/file.h"
#include "splice/hole.h"

#define PLAN_FIFO_BYTES ((size_t)1 << 20) /* pipe-max-size of an unprivileged user, and the fastest */

static bool plan_can_splice(const struct usp_file *file, unsigned side)
{
	if (!(file->traits & USP_FILE_SPLICEABLE) || file->fd < 0)
		return false;
	return side == USP_READ || !(usp_hole_seeks_zeros(file) || atomic_load(usp_u32(&file->flags)) & USP_APPEND ||
				     file->traits & USP_FILE_LOCKED_WRITES);
}

/* A sink that drops fits the kernel lane, too: its bytes never enter this process. */
static bool plan_drops(const struct usp_file *sink)
{
	return sink->ops->splice_write == usp_drop_splice_write;
}

/* Tell whether the kernel can carry the hop, by splice(2) or, for a sink, by dropping. */
static bool plan_fits(const struct usp_plan_hop *hop)
{
	return plan_can_splice(hop->file, hop->side) || (hop->side == USP_WRITE && plan_drops(hop->file));
}

bool usp_plan_adapts(const struct usp_file *source, const struct usp_pump_params *params)
{
	return params->flags & USP_PUMP_ADAPT_LANE && !(params->flags & USP_PUMP_SNAPSHOT) &&
	       params->lane == USP_LANE_AUTO && source->traits & USP_FILE_SOCKET;
}

/* --- Making ------------------------------------------------------------------------------------------ */

/* Ask the probe, once for each hop: a flow that adapts takes the kernel lane again and again. */
static void plan_probe(struct usp_plan_hop *hop)
{
	struct usp_probe_result found = {.size = sizeof(found), .way = USP_BY_REFERENCE, .reason = "dropped, not read"};

	if (hop->is_probed)
		return;
	if (hop->side == USP_READ || !plan_drops(hop->file))
		usp_probe(usp_file_carrier(hop->file), hop->side, &found);
	hop->probed_way = (uint8_t)found.way;
	hop->probed_reason = found.reason;
	hop->is_probed = true;
}

static void plan_expect_kernel(struct usp_plan_hop *hop, bool may_probe)
{
	if (may_probe)
		plan_probe(hop);
	hop->way = may_probe ? hop->probed_way : USP_UNKNOWN;
	hop->reason = may_probe ? hop->probed_reason : NULL;
}

/* Expect the way of a file's own hooks: known if they are helpers of the core. */
static void plan_expect_user(struct usp_plan_hop *hop)
{
	const struct usp_file_ops *ops = usp_file_carrier(hop->file)->ops;
	bool is_source = hop->side == USP_READ;
	enum usp_way way;

	if (atomic_load(usp_u32(&hop->file->flags)) & USP_DIRECT) {
		hop->way = USP_UNKNOWN;
		hop->reason = "O_DIRECT: as a rule the device moves the bytes, but the kernel does not tell";
	} else if (is_source && hop->file->traits & USP_FILE_REWRITES) {
		hop->way = USP_REWRITTEN;
		hop->reason = "a stage makes other bytes of those that it gets";
	} else if (is_source && hop->file->mapping) { /* as if nothing were in the cache yet */
		usp_mapping_ways(hop->file->mapping, &way, &hop->reason);
		hop->way = (uint8_t)way;
	} else if (is_source ? ops->splice_read == usp_copy_splice_read : ops->splice_write == usp_iter_splice_write) {
		hop->way = USP_COPIED;
		hop->reason = is_source ? "it is read into memory of this process"
					: "it is written from memory of this process";
	} else {
		hop->way = is_source || plan_drops(hop->file) ? USP_BY_REFERENCE : USP_UNKNOWN;
		hop->reason = is_source		      ? "the file lends what it has"
			      : plan_drops(hop->file) ? "dropped, not read"
						      : "nothing is known before the bytes have gone";
	}
}

static void plan_set_hop(struct usp_plan_hop *hop, bool is_kernel, bool may_probe)
{
	hop->lane = is_kernel ? &usp_kernel_lane : NULL;
	if (is_kernel)
		plan_expect_kernel(hop, may_probe);
	else
		plan_expect_user(hop);
}

static bool plan_any_sink_fits(const struct usp_plan *plan)
{
	for (unsigned i = plan->nr_sources; i < plan->nr_hops; i++) {
		if (plan_fits(&plan->hops[i]))
			return true;
	}
	return false;
}

/*
 * Tell whether the kernel can carry every hop. A sink that it refuses is found before a byte is taken
 * from the source. A source that it refuses gives no bytes.
 */
static bool plan_all_fit(const struct usp_plan *plan)
{
	for (unsigned i = 0; i < plan->nr_hops; i++) {
		const struct usp_plan_hop *hop = &plan->hops[i];

		if (!plan_fits(hop) || (hop->side == USP_WRITE && usp_kpipe_is_refused(usp_file_carrier(hop->file))))
			return false;
	}
	return true;
}

/* A stage sees the bytes, so the files below it give them on the user lane. */
static void plan_set_lanes(struct usp_plan *plan, bool may_kernel)
{
	unsigned source = plan->giver;
	bool is_kernel = may_kernel && plan_fits(&plan->hops[source]) && plan_any_sink_fits(plan);

	for (unsigned i = 0; i < plan->nr_hops; i++)
		plan_set_hop(&plan->hops[i], is_kernel && i >= source && plan_fits(&plan->hops[i]), plan->may_probe);
}

static void plan_force(struct usp_plan *plan)
{
	for (unsigned i = 0; i < plan->nr_hops; i++)
		plan->hops[i].is_forced = true;
}

/*
 * A file that only holds what a stream gives can hold it in kernel pipes. Pages of a file on disk may change while they
 * are held: these are copied.
 */
static unsigned plan_giver(const struct usp_plan *plan)
{
	unsigned last = plan->nr_sources - 1;
	bool holds = last && plan->hops[last].file->traits & USP_FILE_HOLDS;

	return holds && !usp_file_has_pos(plan->hops[last - 1].file) ? last - 1 : last;
}

static int plan_init(struct usp_plan *plan, const struct usp_plan_ends *ends, bool may_probe)
{
	*plan = (struct usp_plan){
		.hops = plan->few,
		.nr_hops = ends->nr_sources + ends->nr_sinks,
		.nr_sources = ends->nr_sources,
		.may_probe = may_probe,
	};
	if (plan->nr_hops > usp_array_len(plan->few))
		plan->hops = usp_alloc_array(plan->nr_hops, sizeof(plan->hops[0]));
	if (!plan->hops)
		return -ENOMEM;
	for (unsigned i = 0; i < ends->nr_sources; i++)
		plan->hops[i] = (struct usp_plan_hop){.file = ends->sources[i], .side = USP_READ};
	for (unsigned i = 0; i < ends->nr_sinks; i++)
		plan->hops[ends->nr_sources + i] = (struct usp_plan_hop){.file = ends->sinks[i], .side = USP_WRITE};
	plan->giver = plan_giver(plan);
	return 0;
}

int usp_plan_make(const struct usp_plan_ends *ends, const struct usp_pump_params *params, struct usp_plan *ret_plan)
{
	const struct usp_file *source = ends->sources[ends->nr_sources - 1];
	bool is_snapshot = params->flags & USP_PUMP_SNAPSHOT, is_forced = params->lane == USP_LANE_KERNEL;
	bool may_probe = !(params->flags & USP_PUMP_NO_PROBE) || params->flags & USP_PUMP_REQUIRE_ZERO_COPY;
	int ret = plan_init(ret_plan, ends, may_probe);

	if (ret < 0)
		return ret;
	if (is_forced && (is_snapshot || !plan_all_fit(ret_plan))) {
		usp_plan_fini(ret_plan);
		return -EOPNOTSUPP;
	}
	plan_set_lanes(ret_plan, params->lane != USP_LANE_USER && !is_snapshot && !usp_plan_adapts(source, params));
	if (is_forced)
		plan_force(ret_plan);
	return 0;
}

int usp_plan_require(struct usp_plan *plan)
{
	for (unsigned i = 0; i < plan->nr_hops; i++) {
		if (plan->hops[i].way != USP_BY_REFERENCE)
			return -USP_EWOULDCOPY;
	}
	plan_force(plan);
	return 0;
}

void usp_plan_fini(struct usp_plan *plan)
{
	usp_plan_undo(plan);
	if (plan->hops != plan->few)
		usp_free(plan->hops);
	plan->hops = NULL;
	plan->nr_hops = 0;
}

/* --- Applying ---------------------------------------------------------------------------------------- */

/*
 * Set a side only where it changes. A stage may have a thread that reads from the file below it, also before and after
 * a run; such a file is on the user lane.
 */
static void plan_apply_hop(const struct usp_plan_hop *hop)
{
	struct usp_side *side = usp_file_side(hop->file, hop->side);
	uint8_t way = hop->lane ? hop->way : USP_UNKNOWN;
	const char *reason = hop->lane ? hop->reason : NULL;

	if (side->lane == hop->lane && side->lane_way == way && side->lane_reason == reason &&
	    side->lane_is_forced == hop->is_forced)
		return;
	side->lane = hop->lane;
	side->lane_way = way;
	side->lane_reason = reason;
	side->lane_is_forced = hop->is_forced;
}

void usp_plan_apply(struct usp_plan *plan)
{
	for (unsigned i = 0; i < plan->nr_hops; i++) {
		struct usp_plan_hop *hop = &plan->hops[i];

		plan_apply_hop(hop);
		hop->file_flags = atomic_fetch_or(usp_u32(&hop->file->flags), USP_NONBLOCK);
	}
	plan->is_applied = true;
}

/* Undo backwards: if a file is both source and sink, its second hop saved the USP_NONBLOCK that the first had set. */
void usp_plan_undo(struct usp_plan *plan)
{
	for (unsigned i = plan->is_applied ? plan->nr_hops : 0; i-- > 0;) {
		struct usp_plan_hop *hop = &plan->hops[i];

		hop->lane = usp_file_side(hop->file, hop->side)->lane;
		plan_apply_hop(&(struct usp_plan_hop){.file = hop->file, .side = hop->side});
		if (!(hop->file_flags & USP_NONBLOCK))
			atomic_fetch_and(usp_u32(&hop->file->flags), ~USP_NONBLOCK);
	}
	plan->is_applied = false;
}

const struct usp_lane *usp_plan_lane(const struct usp_plan *plan, unsigned index)
{
	const struct usp_plan_hop *hop = plan->hops ? &plan->hops[index] : NULL;

	return plan->is_applied ? usp_file_side(hop->file, hop->side)->lane : hop ? hop->lane : NULL;
}

/* --- FIFOs ------------------------------------------------------------------------------------------- */

static bool plan_is_fifo(const struct usp_plan_hop *hop)
{
	return USP_FILE_HOOK(hop->file, probe) == usp_probe_fifo;
}

bool usp_plan_is_middle(const struct usp_plan *plan)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!usp_plan_lane(plan, i) || !plan_is_fifo(&plan->hops[i]))
			return false;
	}
	return true;
}

void usp_plan_widen_fifos(const struct usp_plan *plan)
{
	for (unsigned i = 0; i < plan->nr_hops; i++) {
		if (plan_is_fifo(&plan->hops[i]))
			usp_sys_set_pipe_size(plan->hops[i].file->fd, PLAN_FIFO_BYTES);
	}
}

/* --- While it runs -------------------------------------------------------------------------------------- */

/*
 * Kernel pipes are fastest at their widest. Copies are fastest while they stay in the cache. A flow
 * that adapts needs only enough to tell a large piece from a small one.
 */
#define PLAN_KERNEL_STEP USP_PLAN_SLOT_BYTES
#define PLAN_USER_STEP ((size_t)512 << 10)

size_t usp_plan_step_bytes(const struct usp_plan *plan, const struct usp_pump_params *params)
{
	if (usp_plan_source_lane(plan))
		return PLAN_KERNEL_STEP;
	return usp_plan_adapts(plan->hops[plan->nr_sources - 1].file, params) ? USP_PLAN_ADAPT_BYTES : PLAN_USER_STEP;
}

void usp_plan_switch(struct usp_plan *plan, bool is_kernel)
{
	plan_set_lanes(plan, is_kernel);
	for (unsigned i = 0; i < plan->nr_hops; i++)
		plan_apply_hop(&plan->hops[i]);
}
