/* SPDX-License-Identifier: MIT */
/* resume - is what a destination already has the beginning of the source? */
#ifndef USP_CLI_RESUME_H
#define USP_CLI_RESUME_H

#include <usplice.h>

struct watch;

enum resume_result {
	RESUME_SAME,
	RESUME_DIFFERS,	      /* at *ret_at */
	RESUME_SOURCE_FAILED, /* *ret_at is -errno */
	RESUME_SINK_FAILED,
	RESUME_STOPPED, /* by a signal */
};

/*
 * Compare len bytes of the source from off with the first len bytes of the sink, which is open for reading here. Both are left
 * at some other position.
 */
enum resume_result resume_compare(struct usp_file *source, int64_t off, struct usp_file *sink, int64_t len,
				  const struct watch *watch, int64_t *ret_at);

#endif
