/* SPDX-License-Identifier: MIT */
/* sched - a thread that is busy with bulk data uses SCHED_BATCH, so that its wake-ups interrupt no other thread. */
#ifndef USP_EVENT_SCHED_H
#define USP_EVENT_SCHED_H

#include <stdbool.h>
#include <stdint.h>

struct usp_sched {
	uint64_t since_ns;     /* the last look at the thread */
	uint64_t since_cpu_ns; /* the processor time that it had used then */
	bool may;	       /* change the policy: it was SCHED_OTHER at begin */
	bool is_on;
};

/*
 * Switch the policy of the calling thread; one thread makes all calls. Begin, then look in every round
 * of work. Without bulk a look restores SCHED_OTHER at once. End restores it, too. Nothing here fails
 * or blocks.
 */
void usp_sched_begin(struct usp_sched *sched, uint64_t now_ns);
void usp_sched_look(struct usp_sched *sched, uint64_t now_ns, bool has_bulk);
void usp_sched_end(struct usp_sched *sched);

/*
 * Make the calling thread a batch thread for good, unless somebody chose a policy for it. For a thread of our own that
 * only takes what another one has made: to interrupt that one would bring it nothing. Does not fail, and does not block.
 */
void usp_sched_yield_to_others(void);

#endif
