/* SPDX-License-Identifier: MIT */
/* cmd_probe - `usplice probe`: how this machine carries bytes, or how it would carry those of two ends. */
#include "cli.h"
#include "json.h"
#include "option.h"
#include "probe.h"
#include "probe_compare.h"
#include "probe_page.h"
#include "ways.h"

#include <stdio.h>
#include <string.h>

static const char *const probe_colours[USP_NR_WAYS] = {
	[USP_BY_REFERENCE] = "\033[32m",
	[USP_COPIED] = "\033[31m",
	[USP_UNKNOWN] = "\033[33m",
	[USP_REWRITTEN] = "\033[36m",
};

/* --- Options ------------------------------------------------------------------------------------------------ */

static const char *probe_parse_dir(const char *value, void *field)
{
	struct probe_request *request = field;

	if (request->nr_dirs == PROBE_DIRS_MAX)
		return "is one directory too many";
	request->dirs[request->nr_dirs++] = value;
	request->has_dirs = true;
	return NULL;
}

#define FIELD(member) offsetof(struct probe_request, member)

static const struct option_row probe_options[] = {
	{"dir", 0, "DIR", "ask about a file in DIR, too; may be given again\n(default: TMPDIR or /tmp, and /dev/shm)",
	 probe_parse_dir, 0},
	{"verbose", 'v', NULL, "show every cell, and say why", option_flag, FIELD(verbose)},
	{"json", 0, NULL, "write the answers as JSON", option_flag, FIELD(json)},
	{"html", 0, "FILE", "write the answers to FILE as one page for a browser;\n- is standard output", option_text,
	 FIELD(html)},
	{"no-cost", 0, NULL, "measure no processor time and no throughput, which is faster", option_flag,
	 FIELD(no_cost)},
	{"compare", 0, NULL, "say what differs between two files that --json wrote", option_flag, FIELD(compare)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(help)},
	{.name = NULL},
};

static int probe_help(void)
{
	fputs("usage: usplice probe [OPTIONS] [SOURCE [SINK]]\n"
	      "       usplice probe --compare [-v] [--json] BEFORE.json AFTER.json\n\n"
	      "Find out by experiment how the kernel carries bytes: by reference, or as a copy.\n"
	      "Without operands, for one object of each kind of this machine, with each flag,\n"
	      "right, state and length, and what it costs. With operands, for this very file or\n"
	      "connection: no byte is read from SOURCE or written to SINK.\n\n",
	      stdout);
	option_print(probe_options);
	fputs("\nExit code: 0 done, 2 usage, 3 source cannot be opened, 4 sink cannot be opened,\n"
	      "1 anything else. With --compare: 0 the same answers, 1 different, 2 trouble.\n",
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

static void probe_print_way(const struct usp_probe_result *result)
{
	bool has_colour = probe_has_colour();

	printf("%s%s%s", has_colour ? probe_colours[result->way] : "", ways_names[result->way],
	       has_colour ? "\033[0m" : "");
}

static void probe_json_answer(const struct usp_probe_result *result)
{
	fputs("\"answer\":{\"way\":", stdout);
	json_put(stdout, ways_names[result->way]);
	fputs(",\"reason\":", stdout);
	json_put(stdout, result->reason);
	putchar('}');
}

/* --- This machine --------------------------------------------------------------------------------------------- */

static void probe_write_page_json(FILE *out, void *machine)
{
	probe_write_json(out, machine);
}

static int probe_tell_machine(const struct probe_request *request, struct probe_machine *machine)
{
	if (request->html)
		return probe_page_save(request->html, probe_write_page_json, machine);
	if (request->json)
		probe_write_json(stdout, machine);
	else
		probe_print_machine(machine, request->verbose);
	return message_close_stdout();
}

static int probe_show_machine(struct probe_request *request)
{
	struct probe_machine machine;
	int error = probe_machine_ask(request, &machine), result = CLI_FAILED;

	if (error < 0)
		message_say("%s", strerror(-error));
	else
		result = probe_tell_machine(request, &machine);
	if (request->lacks_dir || (error == 0 && !(machine.result.copies && machine.result.aliases)))
		result = CLI_FAILED; /* what was asked for is not all there */
	probe_machine_free(&machine);
	return result;
}

/* --- Two ends --------------------------------------------------------------------------------------------------- */

static void probe_print_hop(const struct probe_request *request, const char *from, const char *to,
			    const struct usp_probe_result *result, bool is_first)
{
	if (request->json) {
		fputs(is_first ? "{\"from\":" : ",{\"from\":", stdout);
		json_put(stdout, from);
		fputs(",\"to\":", stdout);
		json_put(stdout, to);
		printf(",");
		probe_json_answer(result);
		putchar('}');
		return;
	}
	message_put(stdout, from);
	fputs(" -> ", stdout);
	message_put(stdout, to);
	fputs(": ", stdout);
	probe_print_way(result);
	printf(": %s\n", result->reason);
}

static int probe_ends(const struct probe_request *request)
{
	struct usp_file *source = NULL, *sink = NULL;
	struct usp_probe_result into, out;
	int code = probe_open(request->source, USP_READ, false, &source);

	if (code == CLI_DONE && request->sink)
		code = probe_open(request->sink, USP_WRITE, false, &sink);
	if (code != CLI_DONE) {
		usp_file_put(source);
		return code;
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

/* --- Two runs --------------------------------------------------------------------------------------------------- */

static int probe_two_runs(const struct probe_request *request)
{
	const struct probe_comparison comparison = {request->source, request->sink, request->json, request->verbose};

	if (!request->sink)
		message_say("probe: --compare takes two files");
	else if (request->nr_dirs || request->html || request->no_cost)
		message_say("probe: --compare makes no experiment, so it takes no --dir, --html or --no-cost");
	else if (strcmp(request->source, "-") == 0 && strcmp(request->sink, "-") == 0)
		message_say("probe: only one of two files can be standard input");
	else
		return probe_compare(&comparison);
	return CLI_USAGE;
}

/* --- The command ------------------------------------------------------------------------------------------------ */

/* Say what does not go together. False if something does not. */
static bool probe_check(const struct probe_request *request)
{
	if (request->source && (request->nr_dirs || request->no_cost))
		message_say("probe: --dir and --no-cost are for the machine, so they take no source");
	else if (request->source && request->html)
		message_say("probe: --html is for the machine, so it takes no source");
	else if (request->json && request->html)
		message_say("probe: --json and --html are two ways to write the answers; choose one");
	else
		return true;
	return false;
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
	if (request.compare)
		return probe_two_runs(&request);
	if (!probe_check(&request))
		return CLI_USAGE;
	return request.source ? probe_ends(&request) : probe_show_machine(&request);
}
