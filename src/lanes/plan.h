/* SPDX-License-Identifier: MIT */
/*
 * plan - a plan is a value: the lane of each hop of a route.
 *
 * A plan is made without touching a file, applied for a run, and undone after it:
 *
 *   make ──► (judge, read) ──► apply ──► the run ──► undo ──► (read) ──► fini
 */
#ifndef USP_LANES_PLAN_H
#define USP_LANES_PLAN_H

#include <usplice/endpoint.h>

/* One hop: a side of a file, and how it is carried. */
struct usp_plan_hop {
	struct usp_file *file;	     /* lent */
	const struct usp_lane *lane; /* NULL: the hooks of the file's ops; after a run, the last lane */
	const char *reason;	     /* why its bytes will go this way; static */
	unsigned file_flags;	     /* as they were before the plan was applied */
	uint8_t side;		     /* USP_READ or USP_WRITE */
	uint8_t way;		     /* an enum usp_way: the expected way, USP_UNKNOWN if not known */
	bool is_probed;		     /* the way on the kernel lane is known as far as it can be */
	uint8_t probed_way;	     /* an enum usp_way */
	const char *probed_reason;
	bool is_forced; /* no falling back: if the lane refuses, that is an error */
};

struct usp_plan {
	struct usp_plan_hop *hops; /* out of each source, the lowest first, then into each sink; NULL: no plan */
	unsigned nr_hops;
	unsigned nr_sources; /* the last of them gives into the pipe; 1 unless it is a file over a file */
	unsigned giver; /* the source that may be on the kernel lane: the last one, or that below one that only holds */
	bool is_applied;
	bool may_probe;		    /* the ways on the kernel lane may be found out */
	struct usp_plan_hop few[2]; /* storage of the hops if there is one source and one sink */
};

/* The ends of a route. A file over a file is a source for each file of its chain, the lowest first. */
struct usp_plan_ends {
	struct usp_file *const *sources, *const *sinks;
	unsigned nr_sources, nr_sinks;
};

/*
 * Plan a route: the lanes that params ask for, with the ways that the probe finds. Changes no file. 0,
 * -EOPNOTSUPP if the kernel lane is forced and a file cannot take it, or -ENOMEM. Do not copy or move
 * the plan before usp_plan_fini.
 */
int usp_plan_make(const struct usp_plan_ends *ends, const struct usp_pump_params *params, struct usp_plan *ret_plan);

/* Require zero copy: 0 if every hop is known to move references; then no hop may fall back. Else -USP_EWOULDCOPY. */
int usp_plan_require(struct usp_plan *plan);

/* Put the sides on their lanes, and make the files USP_NONBLOCK. */
void usp_plan_apply(struct usp_plan *plan);

/* Note the lanes that the sides are on now, and restore the files. Does nothing if the plan is not applied. */
void usp_plan_undo(struct usp_plan *plan);

/* Undo the plan, and free its memory. A plan that is all zeros is allowed. */
void usp_plan_fini(struct usp_plan *plan);

/* Return the lane of a hop now: NULL for the user lane, or without a plan. */
const struct usp_lane *usp_plan_lane(const struct usp_plan *plan, unsigned index);

/* The same for the source that the kernel lane is chosen for, and for the hop out of the pipe into a sink. */
static inline const struct usp_lane *usp_plan_source_lane(const struct usp_plan *plan)
{
	if (!plan->hops)
		return NULL;
	/* Below a file that holds, a thread may change the side. What it gives then, the sinks take on both lanes. */
	return plan->giver + 1 == plan->nr_sources ? usp_plan_lane(plan, plan->giver) : plan->hops[plan->giver].lane;
}

static inline const struct usp_lane *usp_plan_sink_lane(const struct usp_plan *plan, unsigned sink)
{
	return plan->hops ? usp_plan_lane(plan, plan->nr_sources + sink) : NULL;
}

/* Widen the FIFOs of the route. If the kernel refuses, as past the user's budget, they stay as they are. */
void usp_plan_widen_fifos(const struct usp_plan *plan);

/* The pipe of a pump: its slots fit what one step takes on either lane. */
#define USP_PLAN_SLOTS 8
#define USP_PLAN_SLOT_BYTES ((size_t)1 << 20)

#define USP_PLAN_ADAPT_BYTES \
	((size_t)60 << 10) /* for a flow that adapts: less than SOCK_ZEROCOPY_BYTES, so its sends are copies */

/* Return the most that one step should take from the source, on its lane. Measured: see bench/README.md. */
size_t usp_plan_step_bytes(const struct usp_plan *plan, const struct usp_pump_params *params);

/* Tell whether source and first sink are FIFOs on the kernel lane: this process is in the middle of a pipeline. */
bool usp_plan_is_middle(const struct usp_plan *plan);

/* Tell whether USP_PUMP_ADAPT_LANE has an effect: the source is a socket, and params force no lane and no snapshot. */
bool usp_plan_adapts(const struct usp_file *source, const struct usp_pump_params *params);

/* Put an applied plan on the kernel lane, or back. Call it while the pipe is empty. */
void usp_plan_switch(struct usp_plan *plan, bool is_kernel);

#endif
