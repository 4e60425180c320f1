/* SPDX-License-Identifier: MIT */
/* copy_both - `usplice copy --both`: two endpoints, and the bytes that go from each to the other. */
#ifndef USP_CLI_COPY_BOTH_H
#define USP_CLI_COPY_BOTH_H

#include "copy.h"

/* What the end of one way means for the other one, which reads from an endpoint. */
enum both_end_kind {
	BOTH_STANDARD, /* standard input and output: two files, and the input is told nothing */
	BOTH_TERMINAL, /* one file, which is told nothing */
	BOTH_STREAM,   /* one file, whose peer sees the end of what it gets */
};

/* One of the two endpoints. */
struct both_end {
	const char *text;
	struct usp_spec *name; /* NULL if it does not parse */
	enum both_end_kind kind;
	struct usp_file *in, *out;	   /* to read and to write; one file, or two; NULL until it is open */
	struct stat in_object, out_object; /* all zero for other things than descriptors and paths */
	struct copy_command command;	   /* of exec: */
	char address[COPY_ADDRESS_MAX];	   /* where it listened, or "" */
};

/* One way, from an endpoint to the other. It is a copy, for the report, whose watch is not used. */
struct both_way {
	struct copy_request request;
	struct copy copy;
	struct copy_sink sink;
	struct usp_pump_wait wait;
	int result; /* of the pump, once it is over */
	bool is_over;
	bool is_stopped;  /* its next step ends it */
	bool is_given_up; /* its input could not know that the other way has ended, and gave nothing more */
	uint64_t seen;	  /* bytes when somebody looked last */
	double moved_at;  /* when they last changed */
	int close_error;  /* of the sink, after the run */
};

struct both {
	const struct copy_request *request;
	struct both_end ends[2];
	struct both_way ways[2]; /* ways[i] leads from ends[i] to the other one */
	struct copy whole;	 /* the report's file, the watch and the clock of all */
	int first_failed;	 /* the way that failed first, or -1 */
	int time_out;		 /* -ETIMEDOUT if an option's time is over, or 0 */
	bool is_silent;
};

/* Return a sentence about options that --both excludes, or that need it, or NULL. */
const char *copy_both_check(const struct copy_request *request);

/* Run the whole of it: an exit code. */
int copy_both_main(const struct copy_request *request);

/* Open both ends: an exit code; the error has been said. Nothing waits for a peer before all has been checked. */
int both_open(struct both *both);

/*
 * Copy until both ways have ended, and close both ends. 0, or an error before a byte has moved. What failed stands in the
 * ways.
 */
int both_run(struct both *both);

/* Say what failed, and note it for the report: an exit code. */
int both_judge(struct both *both);

#endif
