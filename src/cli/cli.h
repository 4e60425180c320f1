/* SPDX-License-Identifier: MIT */
/* cli - what the files of the command share: exit codes, messages, the commands. */
#ifndef USP_CLI_CLI_H
#define USP_CLI_CLI_H

/* What a script can tell from the exit code. A signal n exits with CLI_SIGNAL + n. */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_SOURCE = 3,
	CLI_SINK = 4,
	CLI_WOULD_COPY = 5,
	CLI_SIGNAL = 128,
};

/* One line on standard error that begins with "usplice: ". Control characters and what is no UTF-8 are shown as '?'. */
void message_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How much a message matters. */
enum message_level {
	MESSAGE_ANSWER, /* it was asked for: shown always */
	MESSAGE_ERROR,
	MESSAGE_WARNING,
	MESSAGE_NOTICE,
	MESSAGE_INFO,
};

/* The same with a level, for lines that a user may not want; message_say is of MESSAGE_ERROR. At first all are shown. */
void message_note(enum message_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void message_show_to(enum message_level last); /* of the levels, as they stand in the enum */

/* From now on give all lines, as they would be shown but without what begins them, to somebody else; NULL ends that. */
void message_divert(void (*take)(enum message_level level, const char *line));

/*
 * Keep what message_say says from standard error until message_release, where it would land inside the data. Only what
 * came first is kept, if it gets long. Safe between threads.
 */
void message_hold(void);
void message_release(void);

/* Close standard output, behind all that is printed there: CLI_DONE, or CLI_FAILED after saying why. */
int message_close_stdout(void);

/* The commands: argv[0] is the command's own name; the result is an exit code. */
int cmd_copy(int argc, char **argv);
int cmd_relay(int argc, char **argv);

#endif
