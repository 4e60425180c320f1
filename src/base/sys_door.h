/* SPDX-License-Identifier: MIT */
/* sys_door - how a system call becomes a result or -errno, and is counted; for the files sys*.c alone. */
#ifndef USP_BASE_SYS_DOOR_H
#define USP_BASE_SYS_DOOR_H

#include <errno.h>

#include "base/sys.h"
#include "base/trace.h"

#define SYS_NS_PER_S 1000000000

static inline uint64_t sys_begin(void)
{
	return atomic_load_explicit(&usp_trace_is_on, memory_order_relaxed) ? usp_sys_now_ns() : 0;
}

/* Return the result or -errno, and count the call if a trace was on when it began. */
static inline int64_t sys_end(const char *wrapper, uint64_t begin_ns, int64_t result)
{
	int64_t ret = result < 0 ? -errno : result;

	if (begin_ns)
		usp_trace_note(wrapper, usp_sys_now_ns() - begin_ns, ret);
	return ret;
}

#define sys_result(call)                              \
	__extension__({                               \
		uint64_t begin_ns_ = sys_begin();     \
		sys_end(__func__, begin_ns_, (call)); \
	})

#endif
