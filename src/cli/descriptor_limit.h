/* SPDX-License-Identifier: MIT */
/* descriptor_limit - how many descriptors the process may have. */
#ifndef USP_CLI_DESCRIPTOR_LIMIT_H
#define USP_CLI_DESCRIPTOR_LIMIT_H

/* Raise the limit of descriptors as far as allowed, for commands that hold many. See getrlimit(2). */
void descriptor_limit_raise(void);

#endif
