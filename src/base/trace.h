/* SPDX-License-Identifier: MIT */
/* trace - the counts behind usplice/trace.h, which sys.c feeds. */
#ifndef USP_BASE_TRACE_H
#define USP_BASE_TRACE_H

#include <stdatomic.h>
#include <usplice/trace.h>

extern atomic_bool usp_trace_is_on;

/* Count a call of a wrapper, by its name with "sys_" in it, which is static, and its result. Async-signal-safe. */
void usp_trace_note(const char *wrapper, uint64_t ns, int64_t result);

#endif
