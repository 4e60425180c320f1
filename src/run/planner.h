/* SPDX-License-Identifier: MIT */
/* planner - which lane each file of a route takes, and whether that is what the caller asked for. */
#ifndef USP_RUN_PLANNER_H
#define USP_RUN_PLANNER_H

#include <usplice/endpoint.h>

/*
 * Put a source and its sinks on their lanes and note what the probe knows of them. 0, or -EOPNOTSUPP if the kernel lane is
 * forced and a file cannot take it.
 */
int usp_plan_route(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks,
		   const struct usp_pump_params *params);

/*
 * References are required: 0 if every hop of the plan is known to move them, and from then on none may fall back; else
 * -ENOTSUP, and the hop's account has the reason, with no bytes.
 */
int usp_plan_require(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks);

/* The pipe of a pump: its slots fit what one step takes on either lane. */
#define USP_PLAN_SLOTS 8
#define USP_PLAN_SLOT_BYTES ((size_t)1 << 20)

#define USP_PLAN_ADAPT_BYTES \
	((size_t)60 << 10) /* of a flow that adapts: below what a socket tries to send by reference */

/* The most that one step should take from a source on its lane; by measurement, see bench/README.md. */
size_t usp_plan_step_bytes(const struct usp_file *source, const struct usp_pump_params *params);

/* The kernel moves the bytes from one pipe of the system to another: both ends are other programs'. */
bool usp_plan_is_middle(const struct usp_file *source, const struct usp_file *sink);

/* USP_PUMP_ADAPT_LANE has a meaning here: nobody said which lane it has to be. */
bool usp_plan_adapts(const struct usp_file *source, const struct usp_pump_params *params);

/* Between two pieces, with nothing under way: put a route of one sink on the kernel lane, or back. */
void usp_plan_switch(struct usp_file *source, struct usp_file *sink, bool is_kernel);

#endif
