/* SPDX-License-Identifier: MIT */
/* follow - show how far another process is in its files. */
#ifndef USP_CLI_FOLLOW_H
#define USP_CLI_FOLLOW_H

struct progress_style;

/*
 * Show the positions of the files of a process, PID, or of one, PID:FD, until it has closed them. An exit code; what is
 * wrong has been said. Blocks.
 */
int follow_main(const char *what, const struct progress_style *style);

#endif
