/* SPDX-License-Identifier: MIT */
/* copy_digest - the digests of a copy: the stage over its source, and what it found. */
#ifndef USP_CLI_COPY_DIGEST_H
#define USP_CLI_COPY_DIGEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct copy;
struct copy_sink;

/*
 * Put the stages over the source that are asked for: decompress, compress, and digests of what is written. What --skip
 * skips behind the first one, or what a resumed sink has already, goes through them first. An exit code; the error has
 * been said.
 */
int copy_digest_open(struct copy *copy);

/* Say what a stage that rewrites found wrong with its input. False if there is nothing. error is that of the run. */
bool copy_digest_say_damaged(struct copy *copy, int error);

/* Return where in the source reading failed, after bytes that were copied: stages that rewrite took others. */
uint64_t copy_digest_input(const struct copy *copy, uint64_t bytes);

/* Tell whether all digests that were asked for are known. */
bool copy_digest_are_known(const struct copy *copy);

/* Say which digests are not the expected ones. False if there is none. */
bool copy_digest_say_wrong(struct copy *copy, uint64_t bytes);

/* Print the digests that were asked for, as sha256sum --tag does, on standard error. */
void copy_digest_say(const struct copy *copy);

/* Write the digests as a JSON object: the algorithm, and the digest or null if it is not known. */
void copy_digest_json(FILE *out, const struct copy *copy);

/*
 * Read back what a sink that has everything got, past the page cache, and compare its digest: 0, or -errno
 * and why it failed, in text of COPY_ERROR_MAX bytes.
 */
int copy_digest_read_back(struct copy *copy, const struct copy_sink *sink, uint64_t bytes, char *text);

#endif
