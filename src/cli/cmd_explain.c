/* SPDX-License-Identifier: MIT */
/* cmd_explain - `usplice explain`: plan a route, move a sample where that changes nothing, and show what happened. */
#include "cli.h"
#include "explain.h"
#include "option.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/transform.h>

#define EXPLAIN_SAMPLE ((int64_t)1 << 20)

/* --- The command line --------------------------------------------------------------------------------------------- */

#define FIELD(member) offsetof(struct explain_request, member)

static const struct option_row explain_own_options[] = {
	{"sample", 0, "N", "move at most N bytes as a sample (default: 1M; 0: none)", option_size, FIELD(sample)},
	{"trace", 0, NULL, "show the system calls that were made, with counts\nand times", option_flag, FIELD(trace)},
	{"json", 0, NULL, "write the explanation as JSON", option_flag, FIELD(copy.json)},
	{"dot", 0, NULL, "write a graph for dot(1)", option_flag, FIELD(dot)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(copy.help)},
};
#define EXPLAIN_NR_OWN (sizeof(explain_own_options) / sizeof(explain_own_options[0]))

/* The options of a copy that change its route. */
static const char *const explain_shared[] = {
	"lane",	   "no-splice",		 "snapshot",   "sparse",   "decrypt", "decrypt-passphrase",
	"encrypt", "encrypt-passphrase", "decompress", "compress", "digest",  "verify-blocks",
	"buffer",  "buffer-file",	 "framed",     "frame",	   "unframe", "frame-digest",
};
#define EXPLAIN_NR_SHARED (sizeof(explain_shared) / sizeof(explain_shared[0]))

static struct option_row explain_options[EXPLAIN_NR_SHARED + EXPLAIN_NR_OWN + 1];

/* The shared rows begin at a struct copy_request, which is the first member of the request. */
static void explain_make_options(void)
{
	size_t nr = 0, i;

	for (i = 0; i < EXPLAIN_NR_SHARED; i++)
		explain_options[nr++] = *option_named(copy_option_rows(), explain_shared[i]);
	for (i = 0; i < EXPLAIN_NR_OWN; i++)
		explain_options[nr++] = explain_own_options[i];
}

static int explain_help(void)
{
	fputs("usage: usplice explain [OPTIONS] SOURCE SINK...\n\n"
	      "Show how a copy would go: each hop with its lane, what holds the bytes, whether\n"
	      "they go by reference, and why. A sample is moved only where nobody sees it: a\n"
	      "file without a name stands in for a file, and nothing is read from a stream or\n"
	      "sent to a peer.\n\n",
	      stdout);
	option_print(explain_options);
	fputs("\nSizes take k M G T (powers of 1024) and kB MB GB TB (powers of 1000): 1.5M, 20mb.\n"
	      "Exit code: 0 done, 2 usage, 3 source cannot be opened, 4 sink cannot be opened,\n"
	      "1 anything else.\n",
	      stdout);
	return message_close_stdout();
}

/* --- The route ---------------------------------------------------------------------------------------------------- */

static void explain_say_ended(const struct explanation *explanation, int error)
{
	const char *why;
	uint64_t offset;

	if (usp_transform_failure(explanation->source, &why, &offset))
		message_say("the sample ended: %s: at byte %llu of its input: %s",
			    usp_file_spec(usp_transform_failed(explanation->source)), (unsigned long long)offset, why);
	else
		message_say("the sample ended: %s", strerror(-error));
}

/* Plan, or plan and move a sample. */
static int explain_go(struct explanation *explanation)
{
	const struct explain_request *request = explanation->request;
	struct usp_pump_params params = {.size = sizeof(params),
					 .lane = request->copy.lane,
					 .flags = request->copy.snapshot ? USP_PUMP_SNAPSHOT : 0,
					 .sparse = request->copy.sparse};
	int code = explain_put_stages(explanation), error;
	unsigned i;

	if (code != CLI_DONE)
		return code;
	if (!explanation->stage_counts) {
		params.flags |= USP_PUMP_COUNT;
		params.count = request->sample;
	}
	error = usp_pump_new(explanation->source, &params, &explanation->pump);
	for (i = 0; i < request->copy.nr_sinks && error == 0; i++)
		error = usp_pump_add_sink(explanation->pump, explanation->sinks[i]);
	if (error == 0)
		error = usp_pump_check(explanation->pump); /* with the experiments, which are no part of the trace */
	if (request->trace)
		usp_trace_start();
	if (error == 0 && !explanation->why_no_sample)
		error = usp_pump_run(explanation->pump);
	if (request->trace) {
		usp_trace_stop();
		explanation->calls[0].size = sizeof(explanation->calls[0]);
		explanation->nr_calls = usp_trace_calls(explanation->calls, EXPLAIN_CALLS_MAX);
	}
	if (error == -EOPNOTSUPP) {
		message_say("--lane kernel: splice(2) cannot carry the bytes of this route");
		return CLI_USAGE;
	}
	if (error < 0)
		explain_say_ended(explanation, error);
	return error < 0 ? CLI_FAILED : CLI_DONE;
}

static void explain_close(struct explanation *explanation)
{
	unsigned i;

	usp_pump_free(explanation->pump);
	usp_file_put(explanation->source);
	usp_file_put(explanation->bottom);
	for (i = 0; i < explanation->request->copy.nr_sinks; i++)
		usp_file_put(explanation->sinks[i]);
	free(explanation->sinks);
	free(explanation->is_framed);
}

static int explain_main(const struct explain_request *request)
{
	unsigned nr_sinks = request->copy.nr_sinks;
	struct explanation explanation = {.request = request,
					  .sinks = calloc(nr_sinks, sizeof(explanation.sinks[0])),
					  .is_framed = calloc(nr_sinks, sizeof(explanation.is_framed[0]))};
	bool is_planned = false;
	int code = CLI_FAILED;

	if (explanation.sinks && explanation.is_framed)
		code = explain_check_ends(&explanation);
	else
		message_say("%s", strerror(ENOMEM));
	if (code == CLI_DONE)
		code = explain_open(&explanation);
	if (code == CLI_DONE) {
		code = explain_go(&explanation);
		is_planned = explanation.pump && code != CLI_USAGE;
	}
	if (is_planned) {
		if (request->copy.json)
			explain_json(&explanation);
		else if (request->dot)
			explain_dot(&explanation);
		else
			explain_draw(&explanation);
	}
	explain_close(&explanation);
	return message_close_stdout() == CLI_DONE ? code : CLI_FAILED;
}

/* Check what was asked for, and do it. An exit code. */
static int explain_run(struct explain_request *request)
{
	const char *why = copy_contradiction(&request->copy);
	int code;

	if (!why && request->copy.json && request->dot)
		why = "--json and --dot exclude each other";
	if (why) {
		message_say("explain: %s", why);
		return CLI_USAGE;
	}
	if (request->copy.no_splice)
		request->copy.lane = USP_LANE_USER;
	code = stages_read_secrets(&request->copy.stages);
	if (code == CLI_DONE)
		code = explain_main(request);
	stages_wipe(&request->copy.stages);
	return code;
}

int cmd_explain(int argc, char **argv)
{
	struct explain_request request = {
		.copy = {.skip = -1, .count = -1, .seek = -1, .size = -1, .sparse = USP_SPARSE_AUTO, .nr_sources = 1},
		.sample = EXPLAIN_SAMPLE};
	int first;

	explain_make_options();
	first = option_parse_beside(explain_options, "copy", copy_option_rows(), argc, argv, &request);
	if (first < 0)
		return CLI_USAGE;
	if (request.copy.help)
		return explain_help();
	if (argc - first < 2) {
		message_say("explain: needs a source and at least one sink (usplice explain --help tells more)");
		return CLI_USAGE;
	}
	request.copy.source = argv[first];
	request.copy.sources = argv + first;
	request.copy.sinks = argv + first + 1;
	request.copy.nr_sinks = (unsigned)(argc - first - 1);
	return explain_run(&request);
}
