/* SPDX-License-Identifier: MIT */
/* copy_guard - old files that a copy would overwrite: refuse, ask, or say so. */
#ifndef USP_CLI_COPY_GUARD_H
#define USP_CLI_COPY_GUARD_H

struct copy;
struct copy_request;

/* Return a sentence about options that contradict each other, or NULL. */
const char *copy_guard_check(const struct copy_request *request);

/*
 * Decide about the old files that were found, while nothing is changed yet. With --no-clobber one is
 * enough to refuse. More than one is a question on a terminal, and a message elsewhere. An exit code;
 * the error has been said.
 */
int copy_guard(struct copy *copy);

#endif
