/* SPDX-License-Identifier: MIT */
/* copy_blocks - checksums for the blocks of a copy: the stages over its source, and the list that it writes. */
#ifndef USP_CLI_COPY_BLOCKS_H
#define USP_CLI_COPY_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct copy;
struct copy_request;
struct usp_file;

/* Return a sentence about the value of --write-blocks, or NULL. */
const char *copy_blocks_check(const struct copy_request *request);

/*
 * Put the stages of --verify-blocks and --write-blocks over the source, which is open, and make the file of the list
 * beside its destination. An exit code; the error has been said.
 */
int copy_blocks_open(struct copy *copy);

/* Return what the copy reads: the source, or the highest of these stages. */
struct usp_file *copy_blocks_top(const struct copy *copy);

/* After -EBADMSG: say at which byte the source is not what the list says. False if there is no list. */
bool copy_blocks_say_wrong(struct copy *copy, uint64_t bytes);

/* Write the list, and put it in place, after a copy that is whole: an exit code. */
int copy_blocks_commit(struct copy *copy);

void copy_blocks_close(struct copy *copy);

#endif
