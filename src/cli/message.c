/* SPDX-License-Identifier: MIT */
/* message - lines for the user on standard error. */
#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/spec.h>

/*
 * Replace by question marks what could be a command to a terminal. Names come from users and
 * scripts, and must not move the cursor or fake a second line. Bytes that are not UTF-8 are
 * replaced, too: some terminals obey them.
 */
static void message_disarm(char *text)
{
	char *to = text;

	while (*text != '\0') {
		uint32_t point;
		size_t len = usp_utf8_len(text, &point);

		if (len == 0 || usp_utf8_is_control(point))
			*to++ = '?';
		else
			to = (char *)memmove(to, text, len) + len;
		text += len > 0 ? len : 1;
	}
	*to = '\0';
}

#define MESSAGE_HELD_MAX 65536

static pthread_mutex_t message_lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *message_held; /* where lines go instead of standard error, or NULL */
static char *message_text;
static size_t message_len;

void message_hold(void)
{
	pthread_mutex_lock(&message_lock);
	if (!message_held)
		message_held = open_memstream(&message_text, &message_len);
	pthread_mutex_unlock(&message_lock);
}

void message_release(void)
{
	pthread_mutex_lock(&message_lock);
	if (message_held && fclose(message_held) == 0)
		fwrite(message_text, 1, message_len, stderr);
	if (message_held)
		free(message_text);
	message_held = NULL;
	pthread_mutex_unlock(&message_lock);
}

static void (*message_taker)(enum message_level level, const char *line);
static enum message_level message_last = MESSAGE_INFO;

void message_divert(void (*take)(enum message_level level, const char *line))
{
	pthread_mutex_lock(&message_lock);
	message_taker = take;
	pthread_mutex_unlock(&message_lock);
}

void message_show_to(enum message_level last)
{
	message_last = last;
}

static void message_print(enum message_level level, const char *text)
{
	pthread_mutex_lock(&message_lock);
	if (message_taker)
		message_taker(level, text);
	else if (!message_held || ftell(message_held) < MESSAGE_HELD_MAX)
		fprintf(message_held ? message_held : stderr, "usplice: %s\n", text);
	pthread_mutex_unlock(&message_lock);
}

static void message_format(enum message_level level, const char *format, va_list args)
{
	char *text;

	if (level > message_last)
		return;
	if (vasprintf(&text, format, args) < 0) {
		message_print(level, "out of memory");
		return;
	}
	message_disarm(text);
	message_print(level, text);
	free(text);
}

void message_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message_format(MESSAGE_ERROR, format, args);
	va_end(args);
}

void message_note(enum message_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message_format(level, format, args);
	va_end(args);
}

void message_put(FILE *out, const char *text)
{
	char *clean = strdup(text);

	if (!clean)
		return;
	message_disarm(clean);
	fputs(clean, out);
	free(clean);
}

int message_close_stdout(void)
{
	bool is_good = !ferror(stdout);

	if (fclose(stdout) == 0 && is_good)
		return CLI_DONE;
	message_say("standard output: %s", strerror(errno));
	return CLI_FAILED;
}
