/* SPDX-License-Identifier: MIT */
/* explain - what `usplice explain` found out about a route, and how it is shown. */
#ifndef USP_CLI_EXPLAIN_H
#define USP_CLI_EXPLAIN_H

#include "copy.h"

#include <stdbool.h>
#include <usplice.h>
#include <usplice/trace.h>

#define EXPLAIN_CALLS_MAX 64

/* The command line. What is about the copy is as `usplice copy` has it. */
struct explain_request {
	struct copy_request copy; /* first: its options are parsed by the rows of copy */
	int64_t sample;		  /* most bytes to move */
	bool dot, trace;
};

struct explanation {
	const struct explain_request *request;
	struct usp_file *source, **sinks;
	struct usp_file *bottom; /* below the stages that are the source; NULL without these */
	bool *is_framed;	 /* which sinks get frames */
	bool stage_counts;	 /* a stage ends after the sample, so the pump need not */
	struct usp_pump *pump;
	const char *why_no_sample; /* NULL: a sample was moved */
	struct usp_trace_call calls[EXPLAIN_CALLS_MAX];
	unsigned nr_calls;
};

/*
 * Check the ends as a copy does before it opens them, and find those that are framed. An exit code; the error has been
 * said.
 */
int explain_check_ends(struct explanation *explanation);

/* Open the ends, and decide whether a sample may be moved. An exit code; the error has been said. */
int explain_open(struct explanation *explanation);

/* Put the stages over the source, in the order of a copy. An exit code; the error has been said. */
int explain_put_stages(struct explanation *explanation);

/* Write the explanation to standard output: a drawing, JSON, or a graph for dot(1). */
void explain_draw(const struct explanation *explanation);
void explain_json(const struct explanation *explanation);
void explain_dot(const struct explanation *explanation);

#endif
