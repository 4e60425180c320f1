/* SPDX-License-Identifier: MIT */
/* resume - is what a destination already has the beginning of the source? */
#ifndef USP_CLI_RESUME_H
#define USP_CLI_RESUME_H

#include <stdint.h>

struct watch;

enum resume_result {
	RESUME_SAME,
	RESUME_DIFFERS,	      /* at *ret_at */
	RESUME_SOURCE_FAILED, /* *ret_at is -errno */
	RESUME_SINK_FAILED,
	RESUME_STOPPED, /* by a signal */
};

/*
 * Compare len bytes of the source from off with the first len bytes of the sink, which may be open for writing only. The
 * positions of the descriptors stay where they are.
 */
enum resume_result resume_compare(int source, int64_t off, int sink, int64_t len, const struct watch *watch,
				  int64_t *ret_at);

#endif
