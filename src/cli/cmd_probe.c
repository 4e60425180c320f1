/* SPDX-License-Identifier: MIT */
/* cmd_probe - `usplice probe`: how this machine carries bytes, or how it would carry those of two ends. */
#include "cli.h"
#include "json.h"
#include "option.h"
#include "probe.h"
#include "ways.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usplice/probe.h>

static const char *const probe_colours[USP_NR_WAYS] = {
	[USP_BY_REFERENCE] = "\033[32m", [USP_COPIED] = "\033[31m", [USP_UNKNOWN] = "\033[33m"};

/* --- Options ------------------------------------------------------------------------------------------------ */

static const char *probe_parse_dir(const char *value, void *field)
{
	struct probe_request *request = field;

	if (request->nr_dirs == PROBE_DIRS_MAX)
		return "is one directory too many";
	request->dirs[request->nr_dirs++] = value;
	return NULL;
}

#define FIELD(member) offsetof(struct probe_request, member)

static const struct option_row probe_options[] = {
	{"dir", 0, "DIR", "ask about a file in DIR, too; may be given again\n(default: TMPDIR or /tmp, and /dev/shm)",
	 probe_parse_dir, 0},
	{"verbose", 'v', NULL, "say why, for each answer", option_flag, FIELD(verbose)},
	{"json", 0, NULL, "write the answers as JSON", option_flag, FIELD(json)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(help)},
	{.name = NULL},
};

static int probe_help(void)
{
	fputs("usage: usplice probe [OPTIONS] [SOURCE [SINK]]\n\n"
	      "Find out by experiment how the kernel carries bytes: by reference, or as a copy.\n"
	      "Without operands, for one object of each kind of this machine. With them, for\n"
	      "this very file or connection: no byte is read from SOURCE or written to SINK.\n\n",
	      stdout);
	option_print(probe_options);
	fputs("\nExit code: 0 done, 2 usage, 3 source cannot be opened, 4 sink cannot be opened,\n"
	      "1 anything else.\n",
	      stdout);
	return message_close_stdout();
}

/* --- Answers -------------------------------------------------------------------------------------------------- */

static struct usp_probe_result probe_ask(const struct usp_file *file, unsigned side)
{
	struct usp_probe_result result = {.size = sizeof(result), .way = USP_UNKNOWN};

	usp_probe(file, side, &result);
	return result;
}

static bool probe_has_colour(void)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_colour && no_colour[0]) && !(term && strcmp(term, "dumb") == 0);
}

/* Print an answer in a column; "-" where the object has no such side. */
static void probe_print_way(const struct usp_probe_result *result, int width, bool has_colour)
{
	if (!result)
		printf("%-*s", width, "-");
	else if (has_colour)
		printf("%s%-*s\033[0m", probe_colours[result->way], width, ways_names[result->way]);
	else
		printf("%-*s", width, ways_names[result->way]);
}

static void probe_json_answer(const char *name, const struct usp_probe_result *result)
{
	printf("\"%s\":", name);
	if (!result) {
		fputs("null", stdout);
		return;
	}
	fputs("{\"way\":", stdout);
	json_string(stdout, ways_names[result->way]);
	fputs(",\"reason\":", stdout);
	json_string(stdout, result->reason);
	putchar('}');
}

/* --- This machine ------------------------------------------------------------------------------------------- */

static void probe_print_object(const struct probe_request *request, const struct probe_object *object, bool has_colour,
			       bool is_first)
{
	struct usp_probe_result results[2];
	const struct usp_probe_result *answers[2];
	int side;

	for (side = 0; side < 2; side++) {
		answers[side] = object->files[side] ? &results[side] : NULL;
		if (object->files[side])
			results[side] = probe_ask(object->files[side], side ? USP_WRITE : USP_READ);
	}
	if (request->json) {
		fputs(is_first ? "{\"object\":" : ",\n{\"object\":", stdout);
		json_string(stdout, object->name);
		putchar(',');
		probe_json_answer("into_pipe", answers[0]);
		putchar(',');
		probe_json_answer("out_of_pipe", answers[1]);
		putchar('}');
		return;
	}
	message_put(stdout, object->name);
	printf("%*s", strlen(object->name) < 26 ? 26 - (int)strlen(object->name) : 1, "");
	probe_print_way(answers[0], 16, has_colour);
	probe_print_way(answers[1], 0, has_colour);
	putchar('\n');
	for (side = 0; side < 2 && request->verbose; side++) {
		if (answers[side])
			printf("    %s: %s\n", side ? "out of a pipe" : "into a pipe", answers[side]->reason);
	}
}

static int probe_machine(struct probe_request *request)
{
	const char *tmpdir = getenv("TMPDIR");
	struct probe_object *objects = NULL;
	bool has_colour = probe_has_colour();
	int nr_objects, i;

	if (request->nr_dirs == 0) {
		request->dirs[request->nr_dirs++] = tmpdir && tmpdir[0] ? tmpdir : "/tmp";
		request->dirs[request->nr_dirs++] = "/dev/shm";
	}
	nr_objects = probe_objects_make(request, &objects);
	if (nr_objects < 0) {
		message_say("%s", strerror(-nr_objects));
		return CLI_FAILED;
	}
	if (request->json)
		fputs("{\"objects\":[", stdout);
	else
		printf("%-26s%-16s%s\n", "", "into a pipe", "out of a pipe");
	for (i = 0; i < nr_objects; i++)
		probe_print_object(request, &objects[i], has_colour, i == 0);
	if (request->json)
		fputs("]}\n", stdout);
	probe_objects_free(objects, nr_objects);
	return message_close_stdout();
}

/* --- Two ends --------------------------------------------------------------------------------------------------- */

static void probe_print_hop(const struct probe_request *request, const char *from, const char *to,
			    const struct usp_probe_result *result, bool is_first)
{
	if (request->json) {
		fputs(is_first ? "{\"from\":" : ",{\"from\":", stdout);
		json_string(stdout, from);
		fputs(",\"to\":", stdout);
		json_string(stdout, to);
		printf(",");
		probe_json_answer("answer", result);
		putchar('}');
		return;
	}
	message_put(stdout, from);
	fputs(" -> ", stdout);
	message_put(stdout, to);
	fputs(": ", stdout);
	probe_print_way(result, 0, probe_has_colour());
	printf(": %s\n", result->reason);
}

static int probe_ends(const struct probe_request *request)
{
	struct usp_file *source = probe_open(request->source, USP_READ, false), *sink = NULL;
	struct usp_probe_result into, out;

	if (!source)
		return CLI_SOURCE;
	if (request->sink) {
		sink = probe_open(request->sink, USP_WRITE, false);
		if (!sink) {
			usp_file_put(source);
			return CLI_SINK;
		}
	}
	into = probe_ask(source, USP_READ);
	if (request->json)
		fputs("{\"hops\":[", stdout);
	probe_print_hop(request, request->source, "pipe", &into, true);
	if (sink) {
		out = probe_ask(sink, USP_WRITE);
		probe_print_hop(request, "pipe", request->sink, &out, false);
	}
	if (request->json)
		fputs("]}\n", stdout);
	usp_file_put(source);
	usp_file_put(sink);
	return message_close_stdout();
}

int cmd_probe(int argc, char **argv)
{
	struct probe_request request = {.nr_dirs = 0};
	int first = option_parse(probe_options, argc, argv, &request);

	if (first < 0)
		return CLI_USAGE;
	if (request.help)
		return probe_help();
	if (argc - first > 2) {
		message_say("probe: takes a source and a sink at most (usplice probe --help tells more)");
		return CLI_USAGE;
	}
	request.source = first < argc ? argv[first] : NULL;
	request.sink = first + 1 < argc ? argv[first + 1] : NULL;
	if (request.source && request.nr_dirs) {
		message_say("probe: --dir is for the machine, so it takes no source");
		return CLI_USAGE;
	}
	return request.source ? probe_ends(&request) : probe_machine(&request);
}
