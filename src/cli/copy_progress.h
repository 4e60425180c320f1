/* SPDX-License-Identifier: MIT */
/* copy_progress - what the line of progress says of a copy. */
#ifndef USP_CLI_COPY_PROGRESS_H
#define USP_CLI_COPY_PROGRESS_H

#include <usplice.h>

struct copy;

/* Tell whether to draw progress. By default a line is drawn on a terminal where nothing else is shown. */
bool copy_wants_progress(const struct copy *copy);

/* The hooks of the watch: arg is the copy. */
void copy_on_tick(void *arg, const struct usp_pump *pump);
void copy_on_status(void *arg, const struct usp_pump *pump);

/* Draw the line for the last time. is_whole: everything that was to come has come. */
void copy_progress_end(struct copy *copy, bool is_whole);

#endif
