/* SPDX-License-Identifier: MIT */
/* copy_sources - several sources of one copy, one behind the other. */
#ifndef USP_CLI_COPY_SOURCES_H
#define USP_CLI_COPY_SOURCES_H

#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

struct copy;
struct copy_request;

/* Return a sentence about options that several sources exclude, or NULL. */
const char *copy_sources_check(const struct copy_request *request);

/* Make copy->sources where the request has several: 0 or -ENOMEM. */
int copy_sources_init(struct copy *copy);
void copy_sources_fini(struct copy *copy);

/* Find out that all sources are there, without waiting for another process. An exit code; the error has been said. */
int copy_sources_look(struct copy *copy);

/* Open copy->source, which gives all of them. An exit code; the error has been said. */
int copy_sources_open(struct copy *copy);

/* Return the spec of the source that is this object, or NULL. Also of the only source. */
const char *copy_sources_find(const struct copy *copy, const struct stat *object);

/* Return the bytes that will come, or -1 if a source does not know. */
int64_t copy_sources_total(const struct copy *copy);

/* Return the source that has this byte of all of them, and in *ret_at where in it. Also of the only source. */
const char *copy_sources_place(const struct copy *copy, int64_t offset, long long *ret_at);

/* Write the member "sources" of a report, where there are several. */
void copy_sources_json(FILE *out, const struct copy *copy);

#endif
