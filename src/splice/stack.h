/* SPDX-License-Identifier: MIT */
/* stack - files over files, for the stages of this floor and those above. */
#ifndef USP_SPLICE_STACK_H
#define USP_SPLICE_STACK_H

#include <usplice/endpoint.h>

/*
 * Take at most len bytes of the file below into a pipe of the stage itself, whose write turn is free: bytes, 0 at the
 * end of the input, or -errno. Waits as usp_stack_splice_read does.
 */
ssize_t usp_stack_pull(struct usp_file *in, struct usp_pipe *pipe, size_t len, unsigned flags);

#endif
