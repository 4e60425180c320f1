/* SPDX-License-Identifier: MIT */
/* explain_draw - an explanation as a drawing, as JSON, and as a graph. */
#include "cli.h"
#include "explain.h"
#include "json.h"
#include "ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One hop, with what follows from it. */
struct draw_hop {
	struct usp_hop hop;
	const char *from, *to;	     /* as the user wrote them, or "pipe" */
	bool is_range;		     /* from file to file, without a pipe */
	bool is_sink;		     /* it leads to a sink */
	const struct usp_file *file; /* the end that is no pipe; NULL for a stage over the source */
	uint64_t bytes;
};

/* Find a hop; false if there is none. */
static bool draw_hop(const struct explanation *explanation, unsigned index, struct draw_hop *ret_hop)
{
	const struct copy_request *request = &explanation->request->copy;
	struct draw_hop hop = {.hop = {.size = sizeof(hop.hop)}};
	unsigned way, nr_left;

	if (usp_pump_hop(explanation->pump, index, &hop.hop) < 0)
		return false;
	nr_left = usp_pump_nr_hops(explanation->pump) - index;
	hop.is_sink = nr_left <= request->nr_sinks;
	hop.is_range = index == 0 && hop.is_sink;
	hop.from = index == 0 ? request->source : hop.hop.from;
	hop.to = hop.is_sink ? request->sinks[request->nr_sinks - nr_left] : hop.hop.to;
	if (index == 0)
		hop.file = explanation->bottom ? explanation->bottom : explanation->source;
	else if (hop.is_sink)
		hop.file = explanation->sinks[request->nr_sinks - nr_left];
	for (way = 0; way < USP_NR_WAYS; way++)
		hop.bytes += hop.hop.bytes[way];
	*ret_hop = hop;
	return true;
}

/* Return the ways that bytes went, or the one that is expected, as text. */
static const char *draw_way(const struct draw_hop *hop, char text[WAYS_TEXT_MAX])
{
	return hop->bytes > 0 || hop->hop.holes > 0 ? ways_format_holes(text, hop->hop.bytes, hop->hop.holes)
						    : ways_names[hop->hop.expected];
}

static const char *draw_reason(const struct draw_hop *hop, char text[WAYS_REASON_MAX])
{
	const char *reason = ways_reason(&hop->hop, text);

	return reason		    ? reason
	       : hop->hop.holes > 0 ? "a hole has no bytes to move"
				    : "nothing is known before the bytes have gone";
}

/* Return what holds the bytes between two hops. */
static const char *draw_holder(const struct draw_hop *source_hop)
{
	if (strcmp(source_hop->hop.lane, "kernel") != 0)
		return "a pipe of usplice: references to memory of this process";
	if (source_hop->hop.expected == USP_BY_REFERENCE)
		return "a pipe of the kernel: references to the pages of the source";
	return "a pipe of the kernel: pages that hold a copy, or references; see above";
}

/* Return what would make a hop cheaper, or NULL. */
static const char *draw_advice(const struct explanation *explanation, const struct draw_hop *hop)
{
	bool is_copied = hop->hop.bytes[USP_COPIED] > 0 || (hop->bytes == 0 && hop->hop.expected == USP_COPIED);

	if (!is_copied || !hop->file)
		return NULL;
	if (hop->is_range)
		return hop->hop.bytes[USP_BY_REFERENCE] > 0
			       ? NULL
			       : "whole blocks need no copy on a file system that shares extents (xfs, btrfs)";
	if (explanation->request->copy.lane == USP_LANE_USER)
		return "without --lane user the kernel may carry it";
	if (!hop->is_sink && explanation->bottom)
		return stages_are_asked_for(&explanation->request->copy.stages) ? NULL
		       : explanation->request->copy.verify_blocks ? "without --verify-blocks the kernel may carry it"
								  : "without --digest the kernel may carry it";
	if (hop->is_sink && strcmp(usp_file_type(hop->file), "regular") == 0)
		return "a file is always copied into the page cache; with the option direct the device may read the pages";
	if (!hop->is_sink && strcmp(hop->hop.lane, "kernel") != 0)
		return "the bytes pass through this process: an end cannot be spliced, or the sinks need memory";
	return NULL;
}

/* --- A drawing --------------------------------------------------------------------------------------------------- */

static bool draw_has_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0])
			return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
	}
	return false;
}

static void draw_name(const char *name)
{
	message_put(stdout, name);
	putchar('\n');
}

static void draw_line(const char *bar, const char *text)
{
	printf("  %s   %s\n", bar, text);
}

static void draw_one(const struct explanation *explanation, const struct draw_hop *hop, const char *bar,
		     const char *arrow)
{
	const char *advice = draw_advice(explanation, hop);
	char line[2 * WAYS_REASON_MAX], way[WAYS_TEXT_MAX], reason[WAYS_REASON_MAX];
	const char *call = hop->is_range			  ? "copy_file_range or shared extents"
			   : strcmp(hop->hop.lane, "kernel") == 0 ? "splice(2)"
			   : hop->is_sink			  ? "written from memory, or taken"
			   : hop->file				  ? "read into memory, or lent"
			   : hop->hop.expected == USP_REWRITTEN	  ? "made by the stage"
								  : "passed on";

	snprintf(line, sizeof(line), "%s lane, %s: %s", hop->hop.lane, call, draw_way(hop, way));
	draw_line(bar, line);
	snprintf(line, sizeof(line), "because: %s", draw_reason(hop, reason));
	draw_line(bar, line);
	if (hop->hop.nr_calls > 0) {
		snprintf(line, sizeof(line), "in %llu call%s", (unsigned long long)hop->hop.nr_calls,
			 hop->hop.nr_calls == 1 ? "" : "s");
		draw_line(bar, line);
	}
	if (advice) {
		snprintf(line, sizeof(line), "cheaper: %s", advice);
		draw_line(bar, line);
	}
	printf("  %s\n", arrow);
}

static void draw_calls(const struct explanation *explanation)
{
	unsigned i;

	printf("\n%-24s %8s %8s %10s\n", "system call", "calls", "errors", "us");
	for (i = 0; i < explanation->nr_calls; i++) {
		const struct usp_trace_call *call = &explanation->calls[i];

		printf("%-24s %8llu %8llu %10.1f\n", call->name, (unsigned long long)call->nr_calls,
		       (unsigned long long)call->nr_errors, (double)call->ns / 1000);
	}
}

void explain_draw(const struct explanation *explanation)
{
	bool has_utf8 = draw_has_utf8();
	const char *bar = has_utf8 ? "\u2502" : "|", *arrow = has_utf8 ? "\u25bc" : "v";
	const struct explain_request *request = explanation->request;
	struct draw_hop hop;
	unsigned i;

	if (explanation->why_no_sample)
		printf("Nothing was moved: %s. This is the plan.\n\n", explanation->why_no_sample);
	draw_name(request->copy.source);
	for (i = 0; draw_hop(explanation, i, &hop); i++) {
		draw_one(explanation, &hop, bar, arrow);
		if (strcmp(hop.to, "pipe") == 0 && !hop.is_sink)
			printf("[ %s ]\n", draw_holder(&hop));
		else
			draw_name(hop.to);
	}
	if (request->trace)
		draw_calls(explanation);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void json_hop(const struct explanation *explanation, unsigned index, const struct draw_hop *hop)
{
	char reason[WAYS_REASON_MAX];

	fputs(index > 0 ? ",{\"from\":" : "{\"from\":", stdout);
	json_put(stdout, hop->from);
	fputs(",\"to\":", stdout);
	json_put(stdout, hop->to);
	fputs(",\"lane\":", stdout);
	json_put(stdout, hop->hop.lane);
	fputs(",\"expected\":", stdout);
	json_put(stdout, ways_names[hop->hop.expected]);
	putchar(',');
	ways_json(stdout, hop->hop.bytes);
	printf(",\"holes\":%llu,\"calls\":%llu,\"reason\":", (unsigned long long)hop->hop.holes,
	       (unsigned long long)hop->hop.nr_calls);
	json_put(stdout, draw_reason(hop, reason));
	fputs(",\"advice\":", stdout);
	json_put(stdout, draw_advice(explanation, hop));
	putchar('}');
}

void explain_json(const struct explanation *explanation)
{
	struct draw_hop hop;
	unsigned i;

	fputs("{\"hops\":[", stdout);
	for (i = 0; draw_hop(explanation, i, &hop); i++)
		json_hop(explanation, i, &hop);
	fputs("],\"why_no_sample\":", stdout);
	json_put(stdout, explanation->why_no_sample);
	fputs(",\"system_calls\":", stdout);
	if (!explanation->request->trace)
		fputs("null", stdout);
	for (i = 0; i < explanation->nr_calls; i++) {
		const struct usp_trace_call *call = &explanation->calls[i];

		printf("%s{\"name\":\"%s\",\"calls\":%llu,\"errors\":%llu,\"seconds\":%.9f}", i > 0 ? "," : "[",
		       call->name, (unsigned long long)call->nr_calls, (unsigned long long)call->nr_errors,
		       (double)call->ns / 1e9);
	}
	if (explanation->request->trace)
		fputs(explanation->nr_calls > 0 ? "]" : "[]", stdout);
	fputs("}\n", stdout);
}

/* --- A graph -------------------------------------------------------------------------------------------------------- */

/* A name as a string of dot(1): quotes and backslashes are escaped, as in JSON. */
static void dot_edge(const struct draw_hop *hop)
{
	static const char *const colours[USP_NR_WAYS] = {
		[USP_BY_REFERENCE] = "darkgreen",
		[USP_COPIED] = "red",
		[USP_UNKNOWN] = "goldenrod",
		[USP_REWRITTEN] = "blue",
	};
	enum usp_way worst = hop->hop.expected;
	char way[WAYS_TEXT_MAX];

	if (hop->bytes > 0)
		worst = hop->hop.bytes[USP_COPIED] > 0	    ? USP_COPIED
			: hop->hop.bytes[USP_UNKNOWN] > 0   ? USP_UNKNOWN
			: hop->hop.bytes[USP_REWRITTEN] > 0 ? USP_REWRITTEN
							    : USP_BY_REFERENCE;
	putchar('\t');
	json_put(stdout, hop->from);
	fputs(" -> ", stdout);
	json_put(stdout, hop->to);
	printf(" [color=%s,label=\"%s lane\\n%s\"];\n", colours[worst], hop->hop.lane, draw_way(hop, way));
}

void explain_dot(const struct explanation *explanation)
{
	struct draw_hop hop;
	unsigned i;

	fputs("digraph route {\n\trankdir=LR;\n\tnode [shape=box];\n", stdout);
	for (i = 0; draw_hop(explanation, i, &hop); i++)
		dot_edge(&hop);
	fputs("}\n", stdout);
}
