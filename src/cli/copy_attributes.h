/* SPDX-License-Identifier: MIT */
/* copy_attributes - what a sink gets of its source besides the bytes. */
#ifndef USP_CLI_COPY_ATTRIBUTES_H
#define USP_CLI_COPY_ATTRIBUTES_H

#include <stdbool.h>

struct copy;
struct copy_request;
struct copy_sink;

/* What --preserve names. */
#define ATTRIBUTE_MODE 0x1u
#define ATTRIBUTE_OWNER 0x2u
#define ATTRIBUTE_TIMES 0x4u
#define ATTRIBUTE_XATTR 0x8u
#define ATTRIBUTE_ACL 0x10u
#define ATTRIBUTE_ALL 0x1fu

/* Parse "mode,owner,...", and set what `-a` means, for the table of options: NULL, or what is wrong with value. */
const char *attributes_parse(const char *value, void *field);
const char *attributes_parse_all(const char *value, void *field);

/* Return a sentence about options that contradict each other, or NULL. */
const char *copy_attributes_check(const struct copy_request *request);

/*
 * Give a sink that has all bytes the attributes of the source, as they were when the copy began. Sinks
 * that are no regular files, or that another process opened, have none. False if one cannot be given,
 * after saying so. An owner that only the superuser may give is no failure of the sink: that is said once
 * and noted in the copy.
 */
bool copy_attributes_give(struct copy *copy, struct copy_sink *sink);

#endif
