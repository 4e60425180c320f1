/* SPDX-License-Identifier: MIT */
/* report - a snapshot of a relay, and its last minutes, as text for programs. */
#ifndef USP_RELAY_REPORT_H
#define USP_RELAY_REPORT_H

#include "relay/history.h"
#include "relay/text.h"

/* All that is reported. */
struct usp_report {
	struct usp_relay_status status;
	struct usp_relay_target_status *targets;
	unsigned nr_targets;
	uint64_t uptime_ns;
	const struct usp_history *history;
};

/*
 * The names of directions, of the two hops of each, of ways, and of the faults of PROXY headers, in
 * both reports.
 */
extern const char *const usp_report_directions[2];
extern const char *const usp_report_hops[2];
extern const char *const usp_report_ways[USP_NR_WAYS];
extern const char *const usp_report_header_faults[USP_NR_HEADER_FAULTS];

/* Write the Prometheus text exposition format 0.0.4, without the history, which Prometheus keeps itself. */
void usp_report_prometheus(const struct usp_report *report, struct usp_text *text);

/* Write one JSON object for the page. */
void usp_report_json(const struct usp_report *report, struct usp_text *text);

#endif
