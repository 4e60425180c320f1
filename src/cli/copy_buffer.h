/* SPDX-License-Identifier: MIT */
/* copy_buffer - a large buffer between the source of a copy and its sinks: --buffer and --buffer-file. */
#ifndef USP_CLI_COPY_BUFFER_H
#define USP_CLI_COPY_BUFFER_H

#include <stdint.h>
#include <stdio.h>

struct copy;
struct copy_request;
struct usp_file;

/* Parse the values of the options, which are kept as they are: NULL, or what is wrong. field is a const char *. */
const char *option_buffer(const char *value, void *field);
const char *option_buffer_file(const char *value, void *field);

/* Return a sentence about options that contradict each other, or NULL. */
const char *copy_buffer_check(const struct copy_request *request);

/*
 * Put the buffer that is asked for over *file. It ends after count bytes, unless count is negative. An exit code; the
 * error has been said.
 */
int copy_buffer_put(const struct copy_request *request, int64_t count, struct usp_file **file);

/* Put the buffer over the source and the stages that are there. An exit code; the error has been said. */
int copy_buffer_open(struct copy *copy);

/* Return what was read into the buffer and did not get out of it. */
unsigned long long copy_buffer_left(const struct copy *copy);

/* Make the text that the progress shows: memory for free(3), or NULL. ret_is_paused: the sinks wait until it is filled. */
char *copy_buffer_fill(const struct copy *copy, int *ret_is_paused);

/* Say, after a run, why the file took less than was asked for, if it did. */
void copy_buffer_say_trouble(const struct copy *copy);

/* Say how it was used, and which end was the slow one. */
void copy_buffer_say(const struct copy *copy);

/* Write the same as JSON: an object, or null. */
void copy_buffer_json(FILE *out, const struct copy *copy);

#endif
