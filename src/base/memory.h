/* SPDX-License-Identifier: MIT */
/* memory - how much memory this process can have, as far as that can be known. */
#ifndef USP_BASE_MEMORY_H
#define USP_BASE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Tell whether so much more memory can be had: not if the machine does not have it (MemAvailable), the process may not
 * have it (RLIMIT_AS, overcommit), or its control group does not allow it (memory.max). Takes none.
 */
bool usp_memory_may_have(uint64_t len);

/* Return what the machine and the control groups have at most, or UINT64_MAX if that cannot be known. */
uint64_t usp_memory_available(void);

#endif
