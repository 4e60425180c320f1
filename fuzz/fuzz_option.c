/* SPDX-License-Identifier: MIT */
/* fuzz_option - any arguments are either parsed, with all operands kept in order, or refused with exactly one message. */
#include <errno.h>
#include <string.h>
#include <usplice/spec.h>

#include "cli/cli.h"
#include "cli/option.h"
#include "cli/size.h"
#include "fuzz.h"

#define ARGS_MAX 64
#define TEXT_MAX 4096

struct request {
	bool flag, other;
	int64_t size;
	uint64_t rate, ns;
	const char *text;
};

static const struct option_row rows[] = {
	{"flag", 'f', NULL, "a flag", option_flag, offsetof(struct request, flag)},
	{"other-flag", 0, NULL, "a flag\nwithout a letter", option_flag, offsetof(struct request, other)},
	{"size", 's', "SIZE", "a size", option_size, offsetof(struct request, size)},
	{"limit-rate", 'L', "RATE", "a rate", option_rate, offsetof(struct request, rate)},
	{"time", 'T', "TIME", "a time", option_time, offsetof(struct request, ns)},
	{"text", 't', "TEXT", "a text", option_text, offsetof(struct request, text)},
	{.name = NULL},
};

/* In place of the command's own: what is wrong is counted, not printed. */
static unsigned nr_messages;

void message_say(const char *format, ...)
{
	FUZZ_CHECK(format);
	nr_messages++;
}

/* The arguments stand behind each other, separated by newlines. */
static int args_split(char *text, char **ret_args)
{
	int nr_args = 1;

	ret_args[0] = "fuzz";
	for (char *at = text; at && nr_args < ARGS_MAX;) {
		char *end = strchr(at, '\n');

		ret_args[nr_args++] = at;
		if (end)
			*end++ = '\0';
		at = end;
	}
	ret_args[nr_args] = NULL;
	return nr_args;
}

/* Parsing moves the operands behind the options. None is lost, none made up, and they keep their order. */
static void args_check_moved(char **args, char *const *before, int nr_args, int first)
{
	const char *last = NULL;

	for (int i = 0; i < nr_args; i++) {
		int at = 0;

		while (at < nr_args && args[at] != before[i])
			at++;
		FUZZ_CHECK(at < nr_args);
	}
	for (int i = first; i < nr_args; i++) {
		FUZZ_CHECK(!last || args[i] > last);
		last = args[i];
	}
}

/* A size can be printed. What is none leaves the result as it was, and has a reason. */
static void args_check_size(const char *text)
{
	char formatted[SIZE_TEXT_MAX];
	const char *why = NULL;
	int64_t bytes = -1;
	int ret = usp_size_parse(text, &bytes, &why);

	FUZZ_CHECK(ret == 0 ? bytes >= 0 : bytes == -1 && (ret == -EINVAL || ret == -ERANGE) && why);
	if (ret == 0)
		FUZZ_CHECK(strlen(size_format(formatted, (double)bytes)) < SIZE_TEXT_MAX);
}

static void args_check_time(const char *text)
{
	const char *why = NULL;
	uint64_t ns = UINT64_MAX;
	int ret = usp_time_parse(text, &ns, &why);

	FUZZ_CHECK(ret == 0 ? ns < INT64_MAX : ns == UINT64_MAX && (ret == -EINVAL || ret == -ERANGE) && why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct request request = {.size = -1};
	char text[TEXT_MAX], *args[ARGS_MAX + 1], *before[ARGS_MAX + 1];
	int nr_args, first;

	len = len < TEXT_MAX ? len : TEXT_MAX - 1;
	memcpy(text, data, len);
	text[len] = '\0';
	nr_args = args_split(text, args);
	memcpy(before, args, sizeof(before));
	nr_messages = 0;
	for (int i = 1; i < nr_args; i++) {
		args_check_size(args[i]);
		args_check_time(args[i]);
	}
	first = option_parse(rows, nr_args, args, &request);
	FUZZ_CHECK(first == -1 ? nr_messages == 1 : nr_messages == 0 && first >= 1 && first <= nr_args);
	if (first > 0)
		args_check_moved(args, before, nr_args, first);
	return 0;
}
