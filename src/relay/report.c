/* SPDX-License-Identifier: MIT */
/* report - a relay as numbers and as JSON: the words that both share, and the snapshot that they show. */
#include "relay/report.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "relay/page.h"

const char *const usp_report_directions[] = {[USP_TO_TARGET] = "to_target", [USP_TO_CLIENT] = "to_client"};
const char *const usp_report_hops[] = {"in", "out"};
const char *const usp_report_ways[] = {
	[USP_BY_REFERENCE] = "by_reference",
	[USP_COPIED] = "copied",
	[USP_UNKNOWN] = "unknown",
	[USP_REWRITTEN] = "rewritten",
};
const char *const usp_report_header_faults[] = {
	[USP_HEADER_MALFORMED] = "malformed",
	[USP_HEADER_TOO_LONG] = "too_long",
	[USP_HEADER_WRONG_SUM] = "wrong_checksum",
	[USP_HEADER_CUT] = "cut",
	[USP_HEADER_LATE] = "late",
};

/* --- The snapshot ------------------------------------------------------------------------------------ */

/*
 * Take a snapshot of everything. False without memory. Targets may be replaced meanwhile: those
 * that are left count.
 */
static bool report_take(const struct usp_reporter *reporter, struct usp_report *ret_report)
{
	struct usp_report report = {
		.status.size = sizeof(report.status),
		.uptime_ns = usp_sys_now_ns() - reporter->started_ns,
		.history = &reporter->history,
	};

	usp_relay_status(reporter->relay, &report.status);
	report.targets = usp_alloc_array(usp_max(report.status.nr_targets, 1), sizeof(report.targets[0]));
	if (!report.targets)
		return false;
	while (report.nr_targets < report.status.nr_targets) {
		struct usp_relay_target_status *target = &report.targets[report.nr_targets];

		target->size = sizeof(*target);
		if (usp_relay_target_status(reporter->relay, report.nr_targets, target) < 0)
			break;
		report.nr_targets++;
	}
	*ret_report = report;
	return true;
}

static void report_write_numbers(void *arg, struct usp_numbers *numbers)
{
	struct usp_report report;

	numbers->text->has_failed = !report_take(arg, &report);
	if (numbers->text->has_failed)
		return;
	usp_report_numbers(&report, numbers);
	usp_free(report.targets);
}

static void report_write_json(void *arg, struct usp_text *text)
{
	struct usp_report report;

	text->has_failed = !report_take(arg, &report);
	if (text->has_failed)
		return;
	usp_report_json(&report, text);
	usp_free(report.targets);
}

/* --- The history ------------------------------------------------------------------------------------- */

static void report_take_series(const struct usp_reporter *reporter, uint64_t ret_values[USP_REPORT_NR_SERIES])
{
	struct usp_relay_status status = {.size = sizeof(status)};

	usp_relay_status(reporter->relay, &status);
	ret_values[USP_TO_TARGET] = status.delivered[USP_TO_TARGET];
	ret_values[USP_TO_CLIENT] = status.delivered[USP_TO_CLIENT];
	ret_values[USP_REPORT_NR_COUNTERS] = status.nr_connections;
}

static void report_tick(void *arg, uint64_t now_ns)
{
	struct usp_reporter *reporter = arg;
	uint64_t values[USP_REPORT_NR_SERIES];

	report_take_series(reporter, values);
	usp_history_add(&reporter->history, values, now_ns);
}

void usp_reporter_begin(struct usp_reporter *reporter, uint64_t now_ns)
{
	uint64_t values[USP_REPORT_NR_SERIES];

	reporter->started_ns = now_ns;
	report_take_series(reporter, values);
	usp_history_begin(&reporter->history, values, USP_REPORT_NR_COUNTERS, USP_REPORT_NR_SERIES, now_ns);
}

struct usp_metrics_source usp_reporter_source(struct usp_reporter *reporter)
{
	return (struct usp_metrics_source){
		.arg = reporter,
		.prefix = "usplice_relay",
		.write_numbers = report_write_numbers,
		.write_json = report_write_json,
		.tick = report_tick,
		.page = &usp_relay_page,
	};
}
