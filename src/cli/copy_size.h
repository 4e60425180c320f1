/* SPDX-License-Identifier: MIT */
/* copy_size - how many bytes a copy will have, as far as that is known before the first one moves. */
#ifndef USP_CLI_COPY_SIZE_H
#define USP_CLI_COPY_SIZE_H

#include <stdint.h>

struct copy;
struct copy_request;

/* Return a sentence about options that contradict --stop-at-size, or NULL. */
const char *copy_size_check(const struct copy_request *request);

/* Refuse --stop-at-size for a source that has no size. Nothing is connected yet. An exit code; the error has been said. */
int copy_size_check_source(const struct copy *copy);

/* Limit copy->count to what the source has now, with --stop-at-size. The source stands where the copy begins. */
void copy_size_stop(struct copy *copy);

/*
 * Refuse a block device that is smaller than what would come, where both are known. With --on-error continue it is
 * only said. An exit code; the error has been said.
 */
int copy_size_check_room(struct copy *copy);

/* Return the number of bytes that will come, for the percentage; -1 if that is not known. */
int64_t copy_size_total(const struct copy *copy);

#endif
