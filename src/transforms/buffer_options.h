/* SPDX-License-Identifier: MIT */
/* buffer_options - what is written behind "buffer:". */
#ifndef USP_TRANSFORMS_BUFFER_OPTIONS_H
#define USP_TRANSFORMS_BUFFER_OPTIONS_H

#include <stdint.h>

#include "splice/level.h"

struct usp_buffer_options {
	int64_t memory;
	struct usp_level_marks marks;
	int64_t file_size; /* 0: no file */
	const char *file;  /* within the text */
};

/* Parse the options: 0, or -EINVAL with what is wrong. file lies within text. */
int usp_buffer_parse(const char *text, struct usp_buffer_options *ret_options, const char **ret_why);

#endif
