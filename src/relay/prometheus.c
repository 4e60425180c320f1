/* SPDX-License-Identifier: MIT */
/* prometheus - a relay in the text exposition format, version 0.0.4. */
#include <inttypes.h>

#include "base/compiler.h"
#include "relay/report.h"

struct prometheus_family {
	const char *name, *type, *help;
};

static void prometheus_begin(struct usp_text *text, const struct prometheus_family *family)
{
	usp_text_add(text, "# HELP usplice_relay_%s %s\n", family->name, family->help);
	usp_text_add(text, "# TYPE usplice_relay_%s %s\n", family->name, family->type);
}

static void prometheus_version(struct usp_text *text)
{
	static const struct prometheus_family family = {"build_info", "gauge", "The version that runs, as a label."};

	prometheus_begin(text, &family);
	usp_text_add(text, "usplice_relay_build_info{version=");
	usp_text_add_quoted(text, usp_version());
	usp_text_add(text, "} 1\n");
}

/* Write the numbers without labels. */
static void prometheus_numbers(struct usp_text *text, const struct usp_relay_status *status)
{
	const struct {
		struct prometheus_family family;
		uint64_t value;
	} numbers[] = {
		{{"connections", "gauge", "Connections that are open now."}, status->nr_connections},
		{{"accepted_total", "counter", "Connections of clients that were accepted."}, status->nr_accepted},
		{{"unserved_total", "counter", "Connections for which no target could be had."}, status->nr_unserved},
		{{"idle_closed_total", "counter", "Connections that were closed because nothing moved for too long."},
		 status->nr_idle_closed},
		{{"reset_total", "counter", "Connections of which a side broke, so that the other was reset."},
		 status->nr_reset},
		{{"accept_pauses_total", "counter",
		  "Times that accepting paused because descriptors, memory or ports were short."},
		 status->nr_accept_pauses},
		{{"access_log_dropped_total", "counter", "Lines that the access log had no room for."},
		 status->nr_untold},
		{{"stranded_bytes_total", "counter", "Bytes that were taken but not delivered, because a sink broke."},
		 status->stranded},
		{{"lane_switches_total", "counter", "Times that a direction of a connection changed its lane."},
		 status->nr_lane_switches},
		{{"kernel_lane_flows", "gauge", "Directions of connections that are on the kernel lane now."},
		 status->nr_kernel_flows},
		{{"batch_workers", "gauge", "Workers that are busy with bulk and run as SCHED_BATCH now."},
		 status->nr_batch_workers},
		{{"zero_copy_sends_pending", "gauge", "Zero-copy sends that the kernel has not finished."},
		 status->nr_sends_pending},
		{{"kernel_pipes_destroyed_total", "counter", "Kernel pipes that still held data at their end."},
		 status->nr_kpipes_destroyed},
		{{"draining", "gauge", "1 if the relay accepts no more and waits for its connections to end."},
		 status->is_draining},
	};

	for (size_t i = 0; i < usp_array_len(numbers); i++) {
		prometheus_begin(text, &numbers[i].family);
		usp_text_add(text, "usplice_relay_%s %" PRIu64 "\n", numbers[i].family.name, numbers[i].value);
	}
}

static void prometheus_header_faults(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {
		"header_faults_total", "counter",
		"Clients that were reset because of their PROXY header, or for lack of one."};

	prometheus_begin(text, &family);
	for (unsigned fault = 0; fault < USP_NR_HEADER_FAULTS; fault++)
		usp_text_add(text, "usplice_relay_header_faults_total{fault=\"%s\"} %" PRIu64 "\n",
			     usp_report_header_faults[fault], status->nr_header_faults[fault]);
}

static void prometheus_refused(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {"refused_total", "counter",
							"Clients that were refused by their address, and why."};

	prometheus_begin(text, &family);
	usp_text_add(text, "usplice_relay_refused_total{reason=\"denied\"} %" PRIu64 "\n", status->nr_denied);
	usp_text_add(text, "usplice_relay_refused_total{reason=\"too_many\"} %" PRIu64 "\n", status->nr_too_many);
	usp_text_add(text, "usplice_relay_refused_total{reason=\"too_fast\"} %" PRIu64 "\n", status->nr_too_fast);
}

static void prometheus_kpipes(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {"kernel_pipes", "gauge",
							"Kernel pipes in use, and idle ones that are kept for reuse."};

	prometheus_begin(text, &family);
	usp_text_add(text, "usplice_relay_kernel_pipes{state=\"in_use\"} %zu\n", status->nr_kpipes);
	usp_text_add(text, "usplice_relay_kernel_pipes{state=\"idle\"} %zu\n", status->nr_kpipes_idle);
}

static void prometheus_delivered(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {"delivered_bytes_total", "counter",
							"Bytes that their receiver's socket took."};

	prometheus_begin(text, &family);
	for (unsigned to = 0; to < 2; to++)
		usp_text_add(text, "usplice_relay_delivered_bytes_total{direction=\"%s\"} %" PRIu64 "\n",
			     usp_report_directions[to], status->delivered[to]);
}

static void prometheus_waits(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {
		"waits_total", "counter",
		"Times that a side had nothing to give (source) or took nothing (sink): EAGAIN."};

	prometheus_begin(text, &family);
	for (unsigned to = 0; to < 2; to++) {
		usp_text_add(text, "usplice_relay_waits_total{direction=\"%s\",side=\"source\"} %" PRIu64 "\n",
			     usp_report_directions[to], status->nr_source_waits[to]);
		usp_text_add(text, "usplice_relay_waits_total{direction=\"%s\",side=\"sink\"} %" PRIu64 "\n",
			     usp_report_directions[to], status->nr_sink_waits[to]);
	}
}

/* --- The ledger ------------------------------------------------------------------------------------ */

/* Write the name and labels of one way over one hop; the caller closes the brace. */
static void prometheus_way(struct usp_text *text, const char *name, unsigned to, unsigned hop, unsigned way)
{
	usp_text_add(text, "usplice_relay_%s{direction=\"%s\",hop=\"%s\",way=\"%s\"", name, usp_report_directions[to],
		     usp_report_hops[hop], usp_report_ways[way]);
}

static void prometheus_way_bytes(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {
		"hop_bytes_total", "counter",
		"Bytes out of the source (in) and into the sink (out), by the way that they went."};

	prometheus_begin(text, &family);
	for (unsigned i = 0; i < 2 * 2 * USP_NR_WAYS; i++) {
		unsigned to = i / (2 * USP_NR_WAYS), hop = i / USP_NR_WAYS % 2, way = i % USP_NR_WAYS;

		prometheus_way(text, family.name, to, hop, way);
		usp_text_add(text, "} %" PRIu64 "\n", status->hops[to][hop].bytes[way]);
	}
}

/*
 * Write the reasons as metrics of their own. As a label of the bytes, a new reason would begin a
 * new series, and a rate over it would miss what lies between. The other labels join the two.
 */
static void prometheus_way_reasons(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {"hop_reason_info", "gauge",
							"Why bytes last went this way over this hop, as a label."};

	prometheus_begin(text, &family);
	for (unsigned i = 0; i < 2 * 2 * USP_NR_WAYS; i++) {
		unsigned to = i / (2 * USP_NR_WAYS), hop = i / USP_NR_WAYS % 2, way = i % USP_NR_WAYS;
		const char *reason = status->hops[to][hop].reason[way];

		if (!reason)
			continue;
		prometheus_way(text, family.name, to, hop, way);
		usp_text_add(text, ",reason=");
		usp_text_add_quoted(text, reason);
		usp_text_add(text, "} 1\n");
	}
}

static void prometheus_calls(struct usp_text *text, const struct usp_relay_status *status)
{
	static const struct prometheus_family family = {"hop_calls_total", "counter",
							"Calls that moved bytes over this hop."};

	prometheus_begin(text, &family);
	for (unsigned i = 0; i < 2 * 2; i++)
		usp_text_add(text, "usplice_relay_hop_calls_total{direction=\"%s\",hop=\"%s\"} %" PRIu64 "\n",
			     usp_report_directions[i / 2], usp_report_hops[i % 2], status->hops[i / 2][i % 2].nr_calls);
}

/* --- Targets --------------------------------------------------------------------------------------- */

static uint64_t prometheus_target_up(const struct usp_relay_target_status *target)
{
	return target->nr_addresses_up > 0;
}

static uint64_t prometheus_target_connections(const struct usp_relay_target_status *target)
{
	return target->nr_connections;
}

static uint64_t prometheus_target_connected(const struct usp_relay_target_status *target)
{
	return target->nr_connected;
}

static uint64_t prometheus_target_failed(const struct usp_relay_target_status *target)
{
	return target->nr_failed;
}

/* Write the targets. The same address may be named twice, for a larger share: index keeps the two apart. */
static void prometheus_targets(struct usp_text *text, const struct usp_report *report)
{
	static const struct {
		struct prometheus_family family;
		uint64_t (*value)(const struct usp_relay_target_status *target);
	} families[] = {
		{{"target_up", "gauge", "1 if the target is used, 0 while it is left out after a failure."},
		 prometheus_target_up},
		{{"target_connections", "gauge", "Connections that are open to the target now."},
		 prometheus_target_connections},
		{{"target_connected_total", "counter", "Connections that the target took."},
		 prometheus_target_connected},
		{{"target_failed_total", "counter", "Connections that it refused, or that could not reach it in time."},
		 prometheus_target_failed},
	};

	for (size_t i = 0; i < usp_array_len(families); i++) {
		prometheus_begin(text, &families[i].family);
		for (unsigned index = 0; index < report->nr_targets; index++) {
			usp_text_add(text, "usplice_relay_%s{index=\"%u\",target=", families[i].family.name, index);
			usp_text_add_quoted(text, report->targets[index].name);
			usp_text_add(text, "} %" PRIu64 "\n", families[i].value(&report->targets[index]));
		}
	}
}

void usp_report_prometheus(const struct usp_report *report, struct usp_text *text)
{
	prometheus_version(text);
	prometheus_numbers(text, &report->status);
	prometheus_header_faults(text, &report->status);
	prometheus_refused(text, &report->status);
	prometheus_kpipes(text, &report->status);
	prometheus_delivered(text, &report->status);
	prometheus_waits(text, &report->status);
	prometheus_way_bytes(text, &report->status);
	prometheus_way_reasons(text, &report->status);
	prometheus_calls(text, &report->status);
	prometheus_targets(text, report);
}
