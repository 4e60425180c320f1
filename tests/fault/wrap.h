/* SPDX-License-Identifier: MIT */
/* wrap - what the wrapped functions ask of the plan. */
#ifndef USP_TESTS_WRAP_H
#define USP_TESTS_WRAP_H

#include "fault.h"

/* Count a call. True if it is the one that the plan is about. */
bool fault_fires(enum fault_call call, int from_fd, int to_fd);

/* What it then comes to: the error of the plan, or 0 for fewer bytes than len. */
int fault_error(void);
size_t fault_cut_len(size_t len);

#endif
