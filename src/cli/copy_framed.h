/* SPDX-License-Identifier: MIT */
/* copy_framed - frames between two copies: --framed, --frame and --unframe. */
#ifndef USP_CLI_COPY_FRAMED_H
#define USP_CLI_COPY_FRAMED_H

#include <stdbool.h>
#include <stdint.h>

struct copy;
struct copy_request;
struct copy_sink;

/* Parse a digest, or none; field is a const char *. */
const char *copy_framed_parse_digest(const char *value, void *field);

/* Return a sentence about options that contradict each other, or NULL. */
const char *copy_framed_check(const struct copy_request *request);

/* Choose the ends that are framed, before they are opened. An exit code; the error has been said. */
int copy_framed_choose(struct copy *copy);

/* Return what such an end must be opened for besides its own direction: USP_READ or USP_WRITE for an answer, or 0. */
unsigned copy_framed_mode(const struct copy *copy, const struct copy_sink *sink);

/*
 * Put the frames over the source, if it has some, and read its header: nothing is overwritten for what is not framed.
 * What looks at the bytes of the source stands above. An exit code; the error has been said.
 */
int copy_framed_open_source(struct copy *copy);

/* Put the frames over the sinks. expected: bytes that will be sent, or -1. An exit code; the error has been said. */
int copy_framed_open_sinks(struct copy *copy, int64_t expected);

/* Go on behind what the receiver has, if it equals the beginning of the source. An exit code; the error has been said. */
int copy_framed_resume(struct copy *copy);

/* Tell whether --resume is a matter of two copies, and not of one. */
bool copy_framed_resumes(const struct copy *copy);

/*
 * Tell the receivers that are still there that the copy gives up: for what the source did, or for a signal, or else for
 * another reason, a sentence.
 */
void copy_framed_give_up(const struct copy *copy, const char *other);

/* Tell the sender how it went: code is the exit code. */
void copy_framed_answer(const struct copy *copy, int code);

#endif
