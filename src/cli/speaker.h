/* SPDX-License-Identifier: MIT */
/* speaker - a thread that writes lines to standard error, so that whoever says something does not wait for its reader. */
#ifndef USP_CLI_SPEAKER_H
#define USP_CLI_SPEAKER_H

#include <stdbool.h>
#include <stddef.h>

/* 0 or -errno. From then on message_say does not block, whatever standard error is. */
int speaker_start(void);

/* Write out what was said, and end. After a second in which standard error took nothing the rest is given up. */
void speaker_end(void);

/*
 * Have a line written behind those before it; what does not fit into the queue is lost, and how many lines were is written later.
 * Does not block. False if there is no speaker.
 */
bool speaker_say(const char *line, size_t len);

#endif
