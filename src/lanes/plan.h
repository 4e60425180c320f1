/* SPDX-License-Identifier: MIT */
/*
 * plan - which lane each hop of a route takes, as a value.
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
	const struct usp_lane *lane; /* NULL: the hooks of the file's ops; after a run, the lane that it ended on */
	const char *reason;	     /* why its bytes will go as they do; static */
	unsigned file_flags;	     /* as they were before the plan was applied */
	uint8_t side;		     /* USP_READ or USP_WRITE */
	uint8_t way;		     /* an enum usp_way: how they will go, as far as that is known before */
	bool is_forced;		     /* a lane that refuses is an error */
};

struct usp_plan {
	struct usp_plan_hop *hops; /* [0] out of the source, [1 + i] into sink i; NULL: there is no plan */
	unsigned nr_hops;
	bool is_applied;
	struct usp_plan_hop few[2]; /* the place of the hops where there is one sink */
};

/*
 * Plan a route: the lanes that params ask for, and what the probe knows of them. Changes no file. 0, -EOPNOTSUPP if the
 * kernel lane is forced and a file cannot take it, or -ENOMEM. The plan stays where it is until usp_plan_fini.
 */
int usp_plan_make(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks,
		  const struct usp_pump_params *params, struct usp_plan *ret_plan);

/* References are required: 0 if every hop of the plan is known to move them, and then none may fall back; else -ENOTSUP. */
int usp_plan_require(struct usp_plan *plan);

/* Put the sides on their lanes, and make the files USP_NONBLOCK. */
void usp_plan_apply(struct usp_plan *plan);

/* Note the lanes that the sides are on now, and leave the files as they were before. Does nothing if it was not applied. */
void usp_plan_undo(struct usp_plan *plan);

/* Undo it, and free the memory. A plan that is all zero is allowed. */
void usp_plan_fini(struct usp_plan *plan);

/* The lane of a hop now: NULL on the user lane, or without a plan. */
const struct usp_lane *usp_plan_lane(const struct usp_plan *plan, unsigned index);

/* Give FIFOs of the route a large size. Refused past the budget: work with what there is. */
void usp_plan_widen_fifos(const struct usp_plan *plan);

/* The pipe of a pump: its slots fit what one step takes on either lane. */
#define USP_PLAN_SLOTS 8
#define USP_PLAN_SLOT_BYTES ((size_t)1 << 20)

#define USP_PLAN_ADAPT_BYTES \
	((size_t)60 << 10) /* of a flow that adapts: below what a socket tries to send by reference */

/* The most that one step should take from the source on its lane; by measurement, see bench/README.md. */
size_t usp_plan_step_bytes(const struct usp_plan *plan, const struct usp_pump_params *params);

/* The kernel moves the bytes from one pipe of the system to another: both ends are other programs'. */
bool usp_plan_is_middle(const struct usp_plan *plan);

/* USP_PUMP_ADAPT_LANE has a meaning here: nobody said which lane it has to be. */
bool usp_plan_adapts(const struct usp_file *source, const struct usp_pump_params *params);

/* Between two pieces, with nothing under way: put an applied plan on the kernel lane, or back. */
void usp_plan_switch(struct usp_plan *plan, bool is_kernel);

#endif
