/* SPDX-License-Identifier: MIT */
/* timestamp - a moment as text. */
#include "timestamp.h"

#include <string.h>

#define TIMESTAMP_MS_AT 20 /* behind "2026-11-29T12:15:06." */
#define TIMESTAMP_ZONE_AT 23

static void timestamp_begin_second(struct timestamp *timestamp, time_t second)
{
	char zone[8] = "+0000"; /* as strftime writes it, without a colon */
	struct tm tm;

	memset(timestamp->text, 0, sizeof(timestamp->text));
	localtime_r(&second, &tm);
	strftime(timestamp->text, sizeof(timestamp->text), "%Y-%m-%dT%H:%M:%S.000", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	memcpy(timestamp->text + TIMESTAMP_ZONE_AT, zone, 3);
	timestamp->text[TIMESTAMP_ZONE_AT + 3] = ':';
	memcpy(timestamp->text + TIMESTAMP_ZONE_AT + 4, zone + 3, 2);
	timestamp->second = second;
}

const char *timestamp_of(struct timestamp *timestamp, const struct timespec *when)
{
	char *digit = timestamp->text + TIMESTAMP_MS_AT;
	unsigned ms = (unsigned)(when->tv_nsec / 1000000);

	if (timestamp->text[0] == '\0' || timestamp->second != when->tv_sec)
		timestamp_begin_second(timestamp, when->tv_sec);
	digit[0] = (char)('0' + ms / 100);
	digit[1] = (char)('0' + ms / 10 % 10);
	digit[2] = (char)('0' + ms % 10);
	return timestamp->text;
}
