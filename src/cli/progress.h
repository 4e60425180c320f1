/* SPDX-License-Identifier: MIT */
/* progress - the line that shows how far a copy is. */
#ifndef USP_CLI_PROGRESS_H
#define USP_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool is_on;
	bool has_colour;
	int nr_drawn;	    /* columns that the line takes on the screen now */
	double started;	    /* when the copy began, by progress_now */
	double last_moment; /* of the last draw */
	uint64_t last_bytes;
	double rate; /* bytes per second, smoothed over a few seconds */
};

/* Return seconds of the monotonic clock. */
double progress_now(void);

/* Begin to measure: the copy begins now. */
void progress_start(struct progress *progress, bool is_on);

/* Draw the line anew. total is -1 if the end is not known. */
void progress_draw(struct progress *progress, uint64_t bytes, int64_t total);

/* Take the line off the screen, so that other text can be written. */
void progress_erase(struct progress *progress);

/* Print the progress as one line of its own. */
void progress_say(struct progress *progress, uint64_t bytes, int64_t total);

#endif
