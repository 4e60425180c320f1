/* SPDX-License-Identifier: MIT */
/* stages - the stages that rewrite which a command line asks for: they lie over the source, in this order. */
#ifndef USP_CLI_STAGES_H
#define USP_CLI_STAGES_H

#include <stdbool.h>
#include <stdint.h>

struct usp_file;

struct stages {
	bool decompress;
	const char *compress; /* a spec of usp_transform_open, or NULL */
};

static inline bool stages_are_asked_for(const struct stages *stages)
{
	return stages->decompress || stages->compress;
}

/* Parse ALG[:LEVEL], for tables of options; field is a const char *. */
const char *option_compress(const char *value, void *field);

/*
 * Put a stage over *file, which it replaces, and which it owns then; on failure *file stays. count: the bytes of its
 * input, or -1 for all. 0, or -errno and why as usp_open.
 */
int stages_put(struct usp_file **file, const char *spec, int64_t count, const char **ret_why);

#endif
