/* SPDX-License-Identifier: MIT */
/* message - lines for the user on standard error. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names come from the user or from a script: they must not be able to move the cursor or fake a second line. */
static void message_disarm(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

void message_say(const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		fputs("usplice: out of memory\n", stderr);
		return;
	}
	message_disarm(text);
	fprintf(stderr, "usplice: %s\n", text);
	free(text);
}

int message_flush_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_DONE;
	message_say("standard output: %s", strerror(errno));
	return CLI_FAILED;
}
