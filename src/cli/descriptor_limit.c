/* SPDX-License-Identifier: MIT */
/* descriptor_limit - how many descriptors the process may have. */
#include "descriptor_limit.h"

#include <sys/resource.h>

void descriptor_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}
