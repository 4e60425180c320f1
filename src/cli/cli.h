/* SPDX-License-Identifier: MIT */
/* cli - what the files of the command share: exit codes, messages, the commands. */
#ifndef USP_CLI_CLI_H
#define USP_CLI_CLI_H

#include <stdio.h>

/* Exit codes for scripts. A signal n exits with CLI_SIGNAL + n. */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_SOURCE = 3,
	CLI_SINK = 4,
	CLI_WOULD_COPY = 5,
	CLI_SIGNAL = 128,
};

/*
 * Print one line on standard error, behind "usplice: ". Control characters and bytes that are not
 * UTF-8 are shown as '?'.
 */
void message_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How much a message matters. */
enum message_level {
	MESSAGE_ANSWER, /* a result that the user asked for: always shown */
	MESSAGE_ERROR,
	MESSAGE_WARNING,
	MESSAGE_NOTICE,
	MESSAGE_INFO,
};

/*
 * Print a line with a level, which a user may hide; message_say is of MESSAGE_ERROR. At first all
 * levels are shown.
 */
void message_note(enum message_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void message_show_to(enum message_level last); /* levels in the order of the enum */

/*
 * Give all lines from now on to take instead, as they would be shown but without the prefix; NULL
 * ends that.
 */
void message_divert(void (*take)(enum message_level level, const char *line));

/*
 * Keep messages from standard error until message_release, where they would land inside the data.
 * Only the first ones are kept, if they get long. Safe between threads.
 */
void message_hold(void);
void message_release(void);

/* Write a text that a user gave, with control characters and what is not UTF-8 shown as '?'. */
void message_put(FILE *out, const char *text);

/* Close standard output, after all that was printed there: CLI_DONE, or CLI_FAILED after saying why. */
int message_close_stdout(void);

/* Run a command. argv[0] is its own name; the result is an exit code. */
int cmd_copy(int argc, char **argv);
int cmd_cat(int argc, char **argv);
int cmd_relay(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_mount(int argc, char **argv);

/* Mount as mount(8) asks for it: SOURCE MOUNTPOINT [-o OPTIONS]. */
int cmd_mount_helper(int argc, char **argv);

#endif
