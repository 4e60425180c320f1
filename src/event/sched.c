/* SPDX-License-Identifier: MIT */
/*
 * sched - a thread that is busy with bulk data uses SCHED_BATCH, so that its wake-ups interrupt no
 * other thread.
 *
 *   ordinary ──bulk, and a quarter of a processor or more──► batch
 *      ▲                                                       │
 *      └──────── no bulk, or less than a sixteenth ────────────┘
 *
 * Each wake-up of an ordinary thread may interrupt the thread that runs on its processor. Often that
 * is its own peer: the sender or receiver of a relay, or the program before or behind a copy in a
 * pipeline. Then the woken thread finds one piece, and is woken again soon for the next. A batch
 * thread waits until the other has done what it can do, and finds more at a time. An idle processor
 * runs it at once all the same. A thread with little to do, or with messages, stays ordinary: its
 * messages should not wait for a program that only computes (docs/lanes.md has the figures).
 */
#include "event/sched.h"

#include <sched.h>

#include "base/sys.h"

#define SCHED_LOOK_NS 100000000
#define SCHED_PART_BUSY 4  /* 1/4 of a processor or more: busy */
#define SCHED_PART_IDLE 16 /* less than 1/16: idle */

void usp_sched_begin(struct usp_sched *sched, uint64_t now_ns)
{
	*sched = (struct usp_sched){
		.since_ns = now_ns,
		.since_cpu_ns = usp_sys_thread_cpu_ns(),
		.may = usp_sys_get_policy() == SCHED_OTHER,
	};
}

static void sched_set(struct usp_sched *sched, bool is_on)
{
	if (usp_sys_set_policy(is_on ? SCHED_BATCH : SCHED_OTHER) < 0)
		sched->may = false;
	else
		sched->is_on = is_on;
}

void usp_sched_look(struct usp_sched *sched, uint64_t now_ns, bool has_bulk)
{
	uint64_t len_ns = now_ns - sched->since_ns, cpu_ns, used_ns;

	if (sched->is_on && !has_bulk)
		sched_set(sched, false);
	if (!sched->may || !has_bulk || len_ns < SCHED_LOOK_NS)
		return;
	cpu_ns = usp_sys_thread_cpu_ns();
	used_ns = cpu_ns - sched->since_cpu_ns;
	sched->since_ns = now_ns;
	sched->since_cpu_ns = cpu_ns;
	if (!sched->is_on && used_ns >= len_ns / SCHED_PART_BUSY)
		sched_set(sched, true);
	else if (sched->is_on && used_ns < len_ns / SCHED_PART_IDLE)
		sched_set(sched, false);
}

void usp_sched_end(struct usp_sched *sched)
{
	if (sched->is_on)
		sched_set(sched, false);
}

void usp_sched_yield_to_others(void)
{
	if (usp_sys_get_policy() == SCHED_OTHER)
		usp_sys_set_policy(SCHED_BATCH);
}
