/* SPDX-License-Identifier: MIT */
/* status_json - the state of a relay as JSON, which its page reads each second. */
#include <inttypes.h>
#include <string.h>

#include "relay/report.h"

#define JSON_NS_PER_MS 1000000

static void json_string(struct usp_text *text, const char *value)
{
	if (value)
		usp_text_add_quoted(text, value);
	else
		usp_text_add(text, "null");
}

static void json_header_faults(struct usp_text *text, const struct usp_relay_status *status)
{
	usp_text_add(text, "\"header_faults\":{");
	for (unsigned fault = 0; fault < USP_NR_HEADER_FAULTS; fault++)
		usp_text_add(text, "%s\"%s\":%" PRIu64, fault ? "," : "", usp_report_header_faults[fault],
			     status->nr_header_faults[fault]);
	usp_text_add(text, "},");
}

static void json_totals(struct usp_text *text, const struct usp_report *report)
{
	const struct usp_relay_status *status = &report->status;

	usp_text_add(text, "\"version\":");
	json_string(text, usp_version());
	usp_text_add(text, ",\"uptime_ms\":%" PRIu64 ",\"draining\":%s,", report->uptime_ns / JSON_NS_PER_MS,
		     status->is_draining ? "true" : "false");
	usp_text_add(text,
		     "\"connections\":{\"now\":%u,\"accepted\":%" PRIu64 ",\"unserved\":%" PRIu64
		     ",\"idle_closed\":%" PRIu64 ",\"reset\":%" PRIu64 ",\"accept_pauses\":%" PRIu64 "},",
		     status->nr_connections, status->nr_accepted, status->nr_unserved, status->nr_idle_closed,
		     status->nr_reset, status->nr_accept_pauses);
	usp_text_add(text, "\"refused\":{\"denied\":%" PRIu64 ",\"too_many\":%" PRIu64 ",\"too_fast\":%" PRIu64 "},",
		     status->nr_denied, status->nr_too_many, status->nr_too_fast);
	usp_text_add(text, "\"access_log_dropped\":%" PRIu64 ",", status->nr_untold);
	usp_text_add(text, "\"kernel_pipes\":{\"in_use\":%zu,\"idle\":%zu,\"destroyed\":%" PRIu64 "},",
		     status->nr_kpipes, status->nr_kpipes_idle, status->nr_kpipes_destroyed);
	json_header_faults(text, status);
	usp_text_add(text,
		     "\"stranded_bytes\":%" PRIu64 ",\"zero_copy_sends_pending\":%zu,\"lane_switches\":%" PRIu64
		     ",\"kernel_lane_flows\":%u,\"batch_workers\":%u,",
		     status->stranded, status->nr_sends_pending, status->nr_lane_switches, status->nr_kernel_flows,
		     status->nr_batch_workers);
}

static void json_hop(struct usp_text *text, const char *name, const struct usp_relay_hop *hop)
{
	usp_text_add(text, "\"%s\":{\"calls\":%" PRIu64, name, hop->nr_calls);
	for (unsigned way = 0; way < USP_NR_WAYS; way++) {
		usp_text_add(text, ",\"%s\":{\"bytes\":%" PRIu64 ",\"reason\":", usp_report_ways[way], hop->bytes[way]);
		json_string(text, hop->reason[way]);
		usp_text_add(text, "}");
	}
	usp_text_add(text, "}");
}

static void json_directions(struct usp_text *text, const struct usp_relay_status *status)
{
	usp_text_add(text, "\"directions\":{");
	for (unsigned to = 0; to < 2; to++) {
		usp_text_add(text,
			     "%s\"%s\":{\"delivered_bytes\":%" PRIu64 ",\"source_waits\":%" PRIu64
			     ",\"sink_waits\":%" PRIu64 ",",
			     to ? "," : "", usp_report_directions[to], status->delivered[to],
			     status->nr_source_waits[to], status->nr_sink_waits[to]);
		json_hop(text, usp_report_hops[0], &status->hops[to][0]);
		usp_text_add(text, ",");
		json_hop(text, usp_report_hops[1], &status->hops[to][1]);
		usp_text_add(text, "}");
	}
	usp_text_add(text, "},");
}

static void json_target(struct usp_text *text, const struct usp_relay_target_status *target)
{
	usp_text_add(text, "{\"name\":");
	json_string(text, target->name);
	usp_text_add(
		text, ",\"connections\":%u,\"connected\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"left_out_ms\":%" PRIu64,
		target->nr_connections, target->nr_connected, target->nr_failed, target->left_out_ns / JSON_NS_PER_MS);
	usp_text_add(text, ",\"addresses\":%u,\"addresses_up\":%u", target->nr_addresses, target->nr_addresses_up);
	usp_text_add(text, ",\"last_error\":");
	/* Safe in threads: the texts of known errors are constants in glibc and musl. */
	json_string(text, target->last_error ? strerror(-target->last_error) : NULL);
	usp_text_add(text, "}");
}

static void json_targets(struct usp_text *text, const struct usp_report *report)
{
	usp_text_add(text, "\"targets\":[");
	for (unsigned index = 0; index < report->nr_targets; index++) {
		usp_text_add(text, "%s", index ? "," : "");
		json_target(text, &report->targets[index]);
	}
	usp_text_add(text, "],");
}

static void json_rates(struct usp_text *text, const struct usp_history *history, unsigned to)
{
	usp_text_add(text, "\"%s\":[", usp_report_directions[to]);
	for (unsigned i = 0; i < history->nr_moments; i++)
		usp_text_add(text, "%s%" PRIu64, i ? "," : "", usp_history_at(history, i)->value[to]);
	usp_text_add(text, "],");
}

static void json_history(struct usp_text *text, const struct usp_history *history)
{
	usp_text_add(text, "\"history\":{\"step_ms\":%" PRIu64 ",\"length\":%u,", USP_HISTORY_STEP_NS / JSON_NS_PER_MS,
		     USP_HISTORY_LEN);
	json_rates(text, history, USP_TO_TARGET);
	json_rates(text, history, USP_TO_CLIENT);
	usp_text_add(text, "\"connections\":[");
	for (unsigned i = 0; i < history->nr_moments; i++)
		usp_text_add(text, "%s%" PRIu64, i ? "," : "",
			     usp_history_at(history, i)->value[USP_REPORT_NR_COUNTERS]);
	usp_text_add(text, "]}");
}

/* Write the report. Whole numbers only: the decimal point would follow the locale of the process. */
void usp_report_json(const struct usp_report *report, struct usp_text *text)
{
	usp_text_add(text, "{");
	json_totals(text, report);
	json_directions(text, &report->status);
	json_targets(text, report);
	json_history(text, report->history);
	usp_text_add(text, "}\n");
}
