/* SPDX-License-Identifier: MIT */
/* resume - is what a destination already has the beginning of the source? */
#ifndef USP_CLI_RESUME_H
#define USP_CLI_RESUME_H

#include <usplice.h>

struct watch;

enum resume_result {
	RESUME_SAME,	      /* *ret_at is how many bytes the sink has */
	RESUME_DIFFERS,	      /* at *ret_at */
	RESUME_LONGER,	      /* than the *ret_at bytes that would be there */
	RESUME_SOURCE_FAILED, /* *ret_at is -errno */
	RESUME_SINK_FAILED,
	RESUME_STOPPED, /* by a signal */
};

/*
 * Compare all bytes of the sink, which is open for reading here, with those of the source from off on, of which count are
 * wanted (-1: all). Sizes are not believed: both are read. Positions stay where they are.
 */
enum resume_result resume_compare(struct usp_file *source, int64_t off, struct usp_file *sink, int64_t count,
				  const struct watch *watch, int64_t *ret_at);

#endif
