/* SPDX-License-Identifier: MIT */
/* option - a table of options that is both the parser and the help text. */
#ifndef USP_CLI_OPTION_H
#define USP_CLI_OPTION_H

#include <stddef.h>

/* One option; a table of them ends with a row whose name is NULL. */
struct option_row {
	const char *name;     /* the long name, without dashes */
	char letter;	      /* the short name, or 0 */
	const char *argument; /* the name of its argument in the help; NULL without one */
	const char *help;     /* lines of the help text, separated by '\n' */
	const char *(*parse)(const char *value, void *field); /* NULL, or a sentence: what is wrong with value */
	size_t field;					      /* offset of the result in the command's request */
};

/*
 * Parse argv into the request. Returns the index of the first operand (operands are moved behind
 * the options), or -1 after saying what is wrong.
 */
int option_parse(const struct option_row *rows, int argc, char **argv, void *request);

/* The same for a command that has some options of another one: a row that is only in others is said to be that one's. */
int option_parse_beside(const struct option_row *rows, const char *other, const struct option_row *others, int argc,
			char **argv, void *request);

/* Return the row of a long name, or NULL. */
const struct option_row *option_named(const struct option_row *rows, const char *name);

/* Print one paragraph per option on standard output. */
void option_print(const struct option_row *rows);

/* Parse the usual fields: bool, int64_t (a size), uint64_t (a rate), const char *. */
const char *option_flag(const char *value, void *field);
const char *option_size(const char *value, void *field);
const char *option_rate(const char *value, void *field);
const char *option_text(const char *value, void *field);
const char *option_time(const char *value, void *field); /* uint64_t: 2.5, 500ms, 10s, 5m, 1h in nanoseconds */
const char *option_lane(const char *value, void *field); /* enum usp_lane_choice: auto, kernel, user */

#endif
