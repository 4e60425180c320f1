/* SPDX-License-Identifier: MIT */
/* buffer - a stage that reads ahead: what a pump asks of one. All do nothing for other files. */
#ifndef USP_TRANSFORMS_BUFFER_H
#define USP_TRANSFORMS_BUFFER_H

#include <usplice/endpoint.h>

/*
 * End the thread of a buffer, so that nothing is read from the file below until the next call that reads from the buffer.
 * What it holds stays. Waits for a read of the thread to return.
 */
void usp_buffer_halt(struct usp_file *file);

/* Return when the buffer last got something, by CLOCK_MONOTONIC; 0: never. Safe while the buffer works. */
uint64_t usp_buffer_progress_ns(const struct usp_file *file);

#endif
