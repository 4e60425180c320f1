/* SPDX-License-Identifier: MIT */
/* resume - compare what a sink already has with the beginning of the source. */
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
 * Compare all bytes of the sink, which is open for reading here, with those of the source from off
 * on. count of them are wanted (-1: all). Sizes are not trusted: both are read. Positions do not
 * change.
 */
enum resume_result resume_compare(struct usp_file *source, int64_t off, struct usp_file *sink, int64_t count,
				  const struct watch *watch, int64_t *ret_at);

/*
 * Show len bytes of a file from off on, or all to its end (-1), to the digest of a framed stream (usp_framed_see). *ret_at
 * is how many there were, or -errno. Positions do not change.
 */
enum resume_result resume_see(struct usp_file *file, int64_t off, int64_t len, struct usp_file *framed,
			      const struct watch *watch, int64_t *ret_at);

#endif
