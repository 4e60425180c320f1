/* SPDX-License-Identifier: MIT */
/* families - the numbers of a relay, as a table. */
#include <stdio.h>

#include "base/compiler.h"
#include "relay/report.h"

static void families_version(struct usp_numbers *numbers)
{
	static const struct usp_family family = {"build_info", "gauge", "The version that runs, as a label."};

	usp_numbers_begin(numbers, &family);
	usp_numbers_add(numbers, 1, &(struct usp_label){"version", usp_version()}, 1);
}

/* Write the numbers without labels. */
static void families_numbers(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	const struct {
		struct usp_family family;
		uint64_t value;
	} rows[] = {
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

	for (size_t i = 0; i < usp_array_len(rows); i++) {
		usp_numbers_begin(numbers, &rows[i].family);
		usp_numbers_add(numbers, rows[i].value, NULL, 0);
	}
}

static void families_header_faults(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {
		"header_faults_total", "counter",
		"Clients that were reset because of their PROXY header, or for lack of one."};

	usp_numbers_begin(numbers, &family);
	for (unsigned fault = 0; fault < USP_NR_HEADER_FAULTS; fault++)
		usp_numbers_add(numbers, status->nr_header_faults[fault],
				&(struct usp_label){"fault", usp_report_header_faults[fault]}, 1);
}

static void families_refused(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {"refused_total", "counter",
						 "Clients that were refused by their address, and why."};

	usp_numbers_begin(numbers, &family);
	usp_numbers_add(numbers, status->nr_denied, &(struct usp_label){"reason", "denied"}, 1);
	usp_numbers_add(numbers, status->nr_too_many, &(struct usp_label){"reason", "too_many"}, 1);
	usp_numbers_add(numbers, status->nr_too_fast, &(struct usp_label){"reason", "too_fast"}, 1);
}

static void families_kpipes(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {"kernel_pipes", "gauge",
						 "Kernel pipes in use, and idle ones that are kept for reuse."};

	usp_numbers_begin(numbers, &family);
	usp_numbers_add(numbers, status->nr_kpipes, &(struct usp_label){"state", "in_use"}, 1);
	usp_numbers_add(numbers, status->nr_kpipes_idle, &(struct usp_label){"state", "idle"}, 1);
}

static void families_delivered(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {"delivered_bytes_total", "counter",
						 "Bytes that their receiver's socket took."};

	usp_numbers_begin(numbers, &family);
	for (unsigned to = 0; to < 2; to++)
		usp_numbers_add(numbers, status->delivered[to],
				&(struct usp_label){"direction", usp_report_directions[to]}, 1);
}

static void families_waits(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {
		"waits_total", "counter",
		"Times that a side had nothing to give (source) or took nothing (sink): EAGAIN."};

	usp_numbers_begin(numbers, &family);
	for (unsigned to = 0; to < 2; to++) {
		struct usp_label labels[] = {{"direction", usp_report_directions[to]}, {"side", "source"}};

		usp_numbers_add(numbers, status->nr_source_waits[to], labels, 2);
		labels[1].value = "sink";
		usp_numbers_add(numbers, status->nr_sink_waits[to], labels, 2);
	}
}

/* --- The ledger ------------------------------------------------------------------------------------ */

/* Add a number of one way over one hop. reason is a further label; NULL: there is none. */
static void families_way(struct usp_numbers *numbers, uint64_t value, unsigned to, unsigned hop, unsigned way,
			 const char *reason)
{
	const struct usp_label labels[] = {{"direction", usp_report_directions[to]},
					   {"hop", usp_report_hops[hop]},
					   {"way", usp_report_ways[way]},
					   {"reason", reason}};

	usp_numbers_add(numbers, value, labels, reason ? 4 : 3);
}

static void families_way_bytes(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {
		"hop_bytes_total", "counter",
		"Bytes out of the source (in) and into the sink (out), by the way that they went."};

	usp_numbers_begin(numbers, &family);
	for (unsigned i = 0; i < 2 * 2 * USP_NR_WAYS; i++) {
		unsigned to = i / (2 * USP_NR_WAYS), hop = i / USP_NR_WAYS % 2, way = i % USP_NR_WAYS;

		families_way(numbers, status->hops[to][hop].bytes[way], to, hop, way, NULL);
	}
}

/*
 * Write the reasons as metrics of their own. As a label of the bytes, a new reason would begin a
 * new series, and a rate over it would miss what lies between. The other labels join the two.
 */
static void families_way_reasons(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {"hop_reason_info", "gauge",
						 "Why bytes last went this way over this hop, as a label."};

	usp_numbers_begin(numbers, &family);
	for (unsigned i = 0; i < 2 * 2 * USP_NR_WAYS; i++) {
		unsigned to = i / (2 * USP_NR_WAYS), hop = i / USP_NR_WAYS % 2, way = i % USP_NR_WAYS;
		const char *reason = status->hops[to][hop].reason[way];

		if (reason)
			families_way(numbers, 1, to, hop, way, reason);
	}
}

static void families_calls(struct usp_numbers *numbers, const struct usp_relay_status *status)
{
	static const struct usp_family family = {"hop_calls_total", "counter", "Calls that moved bytes over this hop."};

	usp_numbers_begin(numbers, &family);
	for (unsigned i = 0; i < 2 * 2; i++)
		usp_numbers_add(numbers, status->hops[i / 2][i % 2].nr_calls,
				(const struct usp_label[]){{"direction", usp_report_directions[i / 2]},
							   {"hop", usp_report_hops[i % 2]}},
				2);
}

/* --- Targets --------------------------------------------------------------------------------------- */

static uint64_t families_target_up(const struct usp_relay_target_status *target)
{
	return target->nr_addresses_up > 0;
}

static uint64_t families_target_connections(const struct usp_relay_target_status *target)
{
	return target->nr_connections;
}

static uint64_t families_target_connected(const struct usp_relay_target_status *target)
{
	return target->nr_connected;
}

static uint64_t families_target_failed(const struct usp_relay_target_status *target)
{
	return target->nr_failed;
}

/* Write the targets. The same address may be named twice, for a larger share: index keeps the two apart. */
static void families_targets(struct usp_numbers *numbers, const struct usp_report *report)
{
	static const struct {
		struct usp_family family;
		uint64_t (*value)(const struct usp_relay_target_status *target);
	} families[] = {
		{{"target_up", "gauge", "1 if the target is used, 0 while it is left out after a failure."},
		 families_target_up},
		{{"target_connections", "gauge", "Connections that are open to the target now."},
		 families_target_connections},
		{{"target_connected_total", "counter", "Connections that the target took."}, families_target_connected},
		{{"target_failed_total", "counter", "Connections that it refused, or that could not reach it in time."},
		 families_target_failed},
	};

	for (size_t i = 0; i < usp_array_len(families); i++) {
		usp_numbers_begin(numbers, &families[i].family);
		for (unsigned index = 0; index < report->nr_targets; index++) {
			char number[sizeof("4294967295")];
			const struct usp_label labels[] = {{"index", number}, {"target", report->targets[index].name}};

			snprintf(number, sizeof(number), "%u", index);
			usp_numbers_add(numbers, families[i].value(&report->targets[index]), labels, 2);
		}
	}
}

void usp_report_numbers(const struct usp_report *report, struct usp_numbers *numbers)
{
	families_version(numbers);
	families_numbers(numbers, &report->status);
	families_header_faults(numbers, &report->status);
	families_refused(numbers, &report->status);
	families_kpipes(numbers, &report->status);
	families_delivered(numbers, &report->status);
	families_waits(numbers, &report->status);
	families_way_bytes(numbers, &report->status);
	families_way_reasons(numbers, &report->status);
	families_calls(numbers, &report->status);
	families_targets(numbers, report);
}
