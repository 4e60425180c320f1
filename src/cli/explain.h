/* SPDX-License-Identifier: MIT */
/* explain - what `usplice explain` found out about a route, and how it is shown. */
#ifndef USP_CLI_EXPLAIN_H
#define USP_CLI_EXPLAIN_H

#include "digest_list.h"
#include "stages.h"

#include <stdbool.h>
#include <usplice.h>
#include <usplice/trace.h>

#define EXPLAIN_CALLS_MAX 64

struct explain_request {
	const char *source;
	char **sinks;
	unsigned nr_sinks;
	int64_t sample; /* most bytes to move */
	enum usp_lane_choice lane;
	struct stages stages;
	struct digest_list digests;
	const char *verify_blocks;
	bool json, dot, trace, help;
};

struct explanation {
	const struct explain_request *request;
	struct usp_file *source, **sinks;
	struct usp_file *bottom; /* below the stages that are the source; NULL without these */
	struct usp_pump *pump;
	const char *why_no_sample; /* NULL: a sample was moved */
	struct usp_trace_call calls[EXPLAIN_CALLS_MAX];
	unsigned nr_calls;
};

/* Write the explanation to standard output: a drawing, JSON, or a graph for dot(1). */
void explain_draw(const struct explanation *explanation);
void explain_json(const struct explanation *explanation);
void explain_dot(const struct explanation *explanation);

#endif
