/* SPDX-License-Identifier: MIT */
/* trace.h - count the system calls that the library makes. See usp_trace(3). */
#ifndef USPLICE_TRACE_H
#define USPLICE_TRACE_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One kind of system call, as counted between start and stop. */
struct usp_trace_call {
	size_t size;	    /* sizeof(struct usp_trace_call) */
	const char *name;   /* such as "splice"; static */
	uint64_t nr_calls;  /* all of them */
	uint64_t nr_errors; /* those that failed, EAGAIN included */
	uint64_t ns;	    /* time in these calls, waiting included, summed over all threads */
};

/*
 * Begin to count the system calls of the whole process from zero, and end it. What the program calls itself is
 * not counted. Counting costs two looks at the clock for each call, and nothing when it is off. Safe from
 * several threads. Does not block.
 */
USP_EXPORT void usp_trace_start(void);
USP_EXPORT void usp_trace_stop(void);

/*
 * Write at most nr entries, in the order of the first calls, and return how many there are. The size in
 * ret_calls[0] is that of each entry; ret_calls may be NULL if nr is 0.
 */
USP_EXPORT unsigned usp_trace_calls(struct usp_trace_call *ret_calls, unsigned nr);

#ifdef __cplusplus
}
#endif
#endif
