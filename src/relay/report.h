/* SPDX-License-Identifier: MIT */
/* report - a relay as numbers and as JSON, for its metrics. */
#ifndef USP_RELAY_REPORT_H
#define USP_RELAY_REPORT_H

#include <usplice/relay.h>

#include "metrics/history.h"
#include "metrics/numbers.h"
#include "metrics/server.h"

/* The series of the history: bytes delivered in each direction, and connections. */
#define USP_REPORT_NR_COUNTERS 2
#define USP_REPORT_NR_SERIES 3

/* What a relay keeps for its reports. */
struct usp_reporter {
	struct usp_relay *relay;
	uint64_t started_ns;
	struct usp_history history;
};

/* All that is reported. */
struct usp_report {
	struct usp_relay_status status;
	struct usp_relay_target_status *targets;
	unsigned nr_targets;
	uint64_t uptime_ns;
	const struct usp_history *history;
};

/* The names of directions, of the two hops of each, of ways, and of the faults of PROXY headers, in both reports. */
extern const char *const usp_report_directions[2];
extern const char *const usp_report_hops[2];
extern const char *const usp_report_ways[USP_NR_WAYS];
extern const char *const usp_report_header_faults[USP_NR_HEADER_FAULTS];

/* Write the table of numbers, without the history, which Prometheus keeps itself. */
void usp_report_numbers(const struct usp_report *report, struct usp_numbers *numbers);

/* Write one JSON object for the page. */
void usp_report_json(const struct usp_report *report, struct usp_text *text);

/* Return the source of a metrics server. The reporter outlives the server. */
struct usp_metrics_source usp_reporter_source(struct usp_reporter *reporter);

/* Begin the history, when the run begins. */
void usp_reporter_begin(struct usp_reporter *reporter, uint64_t now_ns);

#endif
