/* SPDX-License-Identifier: MIT */
/* timestamp - a moment as text: 2026-11-29T12:15:06.123+01:00, in the time zone of the process. */
#ifndef USP_CLI_TIMESTAMP_H
#define USP_CLI_TIMESTAMP_H

#include <stddef.h>
#include <time.h>

#define TIMESTAMP_LEN 29

/*
 * The last text, because most times are in the same second as the one before. All zero at first.
 * For one thread.
 */
struct timestamp {
	time_t second;
	char text[TIMESTAMP_LEN + 1];
};

/* Return the text of a time, which stays in the timestamp until the next call. */
const char *timestamp_of(struct timestamp *timestamp, const struct timespec *when);

#endif
