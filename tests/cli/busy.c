/* SPDX-License-Identifier: MIT */
/*
 * busy - the command's threads have used all the time that has passed while there was a file ./busy, and no other.
 *
 * How busy a thread is depends on what else the machine has to do. A test that wants a busy one, or an idle one, says so here.
 */
#include <unistd.h>

#include "base/sys.h"

uint64_t __wrap_usp_sys_thread_cpu_ns(void);
uint64_t __wrap_usp_sys_thread_cpu_ns(void)
{
	static _Thread_local uint64_t last_ns, used_ns;
	uint64_t now_ns = usp_sys_now_ns();

	if (access("busy", F_OK) == 0)
		used_ns += now_ns - last_ns;
	last_ns = now_ns;
	return used_ns;
}
