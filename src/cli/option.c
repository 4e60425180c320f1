/* SPDX-License-Identifier: MIT */
/* option - a table of options that is both the parser and the help text. */
#include "option.h"
#include "cli.h"
#include "nearest.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/spec.h>

#define OPTION_MAX 64
#define OPTION_LONG 256 /* getopt_long's values of long options begin here, above all letters */
#define OPTION_HELP_COLUMN 28
#define OPTION_TIME_MIN_NS 1000000

/* getopt_long's two descriptions of one table. */
struct option_names {
	struct option longs[OPTION_MAX + 1];
	char letters[2 * OPTION_MAX + 3];
};

static void option_describe(const struct option_row *rows, struct option_names *ret_names)
{
	char *letter = ret_names->letters;
	int i;

	memset(ret_names, 0, sizeof(*ret_names));
	*letter++ = ':';
	for (i = 0; rows[i].name && i < OPTION_MAX; i++) {
		ret_names->longs[i] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].argument ? required_argument : no_argument,
			.val = OPTION_LONG + i,
		};
		if (rows[i].letter == 0)
			continue;
		*letter++ = rows[i].letter;
		if (rows[i].argument)
			*letter++ = ':';
	}
}

/* Return the row that getopt_long's result means. */
static const struct option_row *option_find(const struct option_row *rows, int found)
{
	if (found >= OPTION_LONG)
		return &rows[found - OPTION_LONG];
	while (rows->letter != found)
		rows++;
	return rows;
}

const struct option_row *option_named(const struct option_row *rows, const char *name)
{
	while (rows->name && strcmp(rows->name, name) != 0)
		rows++;
	return rows->name ? rows : NULL;
}

/* Another command, whose options are told from those that nobody has. */
struct option_other {
	const char *name; /* NULL without one */
	const struct option_row *rows;
};

/* Tell whether an option that is not understood is one of the other command's. */
static bool option_is_other(const struct option_other *other, const char *option)
{
	size_t len = strcspn(option, "=");
	const struct option_row *row = other->name ? other->rows : NULL;

	for (; row && row->name; row++) {
		if (strncmp(option, "--", 2) == 0
			    ? strlen(row->name) == len - 2 && strncmp(option + 2, row->name, len - 2) == 0
			    : row->letter && row->letter == option[1])
			return true;
	}
	return false;
}

/* Name the option that an unknown one is nearest to. */
static int option_unknown(const struct option_row *rows, const struct option_other *other, const char *command,
			  const char *option)
{
	const char *word = option + strspn(option, "-");
	struct nearest nearest = {.word = word, .len = strcspn(word, "=")};

	if (option_is_other(other, option)) {
		message_say("%s: %.*s is an option of usplice %s, and not of %s (usplice %s --help lists those)",
			    command, (int)strcspn(option, "="), option, other->name, command, command);
		return -1;
	}
	for (; rows->name && strncmp(option, "--", 2) == 0; rows++)
		nearest_try(&nearest, rows->name);
	if (nearest.name)
		message_say("%s: unknown option %s: did you mean --%s? (usplice %s --help lists them)", command, option,
			    nearest.name, command);
	else
		message_say("%s: unknown option %s (usplice %s --help lists them)", command, option, command);
	return -1;
}

static int option_complain(const struct option_row *rows, const struct option_other *other, int found,
			   const char *command, char *const *argv)
{
	char letter[] = {'-', (char)optopt, '\0'};
	const char *option = optopt > 0 && optopt < OPTION_LONG ? letter : argv[optind - 1];

	if (found == ':')
		message_say("%s: %s needs an argument", command, option);
	else if (optopt >= OPTION_LONG)
		message_say("%s: %s takes no argument", command, option);
	else
		return option_unknown(rows, other, command, option);
	return -1;
}

int option_parse_beside(const struct option_row *rows, const char *other, const struct option_row *others, int argc,
			char **argv, void *request)
{
	const struct option_other beside = {.name = other, .rows = others};
	struct option_names names;
	int found;

	option_describe(rows, &names);
	opterr = 0;
	optind = 0;
	while ((found = getopt_long(argc, argv, names.letters, names.longs, NULL)) != -1) {
		const struct option_row *row;
		const char *why;

		if (found == '?' || found == ':')
			return option_complain(rows, &beside, found, argv[0], argv);
		row = option_find(rows, found);
		why = row->parse(optarg, (char *)request + row->field);
		if (why) {
			message_say("%s: --%s: '%s' %s", argv[0], row->name, optarg, why);
			return -1;
		}
	}
	return optind;
}

int option_parse(const struct option_row *rows, int argc, char **argv, void *request)
{
	return option_parse_beside(rows, NULL, NULL, argc, argv, request);
}

void option_print(const struct option_row *rows)
{
	for (; rows->name; rows++) {
		const char *line = rows->help;
		int column = rows->letter ? printf("  -%c, --%s", rows->letter, rows->name)
					  : printf("      --%s", rows->name);

		if (rows->argument)
			column += printf(" %s", rows->argument);
		if (column >= OPTION_HELP_COLUMN) {
			putchar('\n');
			column = 0;
		}
		while (line) {
			const char *end = strchr(line, '\n');

			printf("%*s%.*s\n", OPTION_HELP_COLUMN - column, "",
			       (int)(end ? end - line : (long)strlen(line)), line);
			column = 0;
			line = end ? end + 1 : NULL;
		}
	}
}

const char *option_flag(const char *value, void *field)
{
	(void)value;
	*(bool *)field = true;
	return NULL;
}

const char *option_size(const char *value, void *field)
{
	const char *why;

	return usp_size_parse(value, field, &why) < 0 ? why : NULL;
}

const char *option_rate(const char *value, void *field)
{
	const char *why;

	return usp_rate_parse(value, field, &why) < 0 ? why : NULL;
}

const char *option_text(const char *value, void *field)
{
	*(const char **)field = value;
	return NULL;
}

const char *option_lane(const char *value, void *field)
{
	enum usp_lane_choice *lane = field;

	if (strcmp(value, "auto") == 0)
		*lane = USP_LANE_AUTO;
	else if (strcmp(value, "kernel") == 0)
		*lane = USP_LANE_KERNEL;
	else if (strcmp(value, "user") == 0)
		*lane = USP_LANE_USER;
	else
		return "is none of auto, kernel and user";
	return NULL;
}

const char *option_time(const char *value, void *field)
{
	const char *why;
	uint64_t ns;

	if (usp_time_parse(value, &ns, &why) < 0)
		return why;
	if (ns < OPTION_TIME_MIN_NS)
		return "is less than a millisecond";
	*(uint64_t *)field = ns;
	return NULL;
}
