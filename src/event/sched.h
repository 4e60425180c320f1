/* SPDX-License-Identifier: MIT */
/* sched - a thread that is busy with bulk interrupts nobody: SCHED_BATCH. */
#ifndef USP_EVENT_SCHED_H
#define USP_EVENT_SCHED_H

#include <stdbool.h>
#include <stdint.h>

struct usp_sched {
	uint64_t since_ns;     /* when the thread was looked at last */
	uint64_t since_cpu_ns; /* the processor time that it had used then */
	bool may;	       /* it was an ordinary thread before */
	bool is_on;
};

/*
 * Of the calling thread, and then only from this: begin, look as often as it does something, end as it was. Without bulk it is
 * ordinary at once. Nothing here fails or blocks.
 */
void usp_sched_begin(struct usp_sched *sched, uint64_t now_ns);
void usp_sched_look(struct usp_sched *sched, uint64_t now_ns, bool has_bulk);
void usp_sched_end(struct usp_sched *sched);

#endif
