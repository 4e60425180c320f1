/* SPDX-License-Identifier: MIT */
/* account - add up what a worker's flows did. */
#include "relay/account.h"

#include "pump/driver.h"
#include "splice/file.h"

/* Take the bytes of one side of a file into the counters, and return how many. */
static uint64_t account_take(struct usp_relay_counters *counters, unsigned direction, unsigned hop,
			     struct usp_file *file, unsigned side, struct usp_conn_story *story)
{
	uint64_t sum = 0;
	struct usp_hop taken;

	usp_file_take_account(file, side, &taken);
	for (unsigned way = 0; way < USP_NR_WAYS; way++) {
		if (!taken.bytes[way])
			continue;
		usp_counter_add(&counters->bytes[direction][hop][way], taken.bytes[way]);
		atomic_store_explicit(&counters->reason[direction][hop][way], taken.reason[way], memory_order_relaxed);
		sum += taken.bytes[way];
	}
	usp_counter_add(&counters->nr_calls[direction][hop], taken.nr_calls);
	story->copied[direction] += taken.bytes[USP_COPIED];
	story->unknown[direction] += taken.bytes[USP_UNKNOWN];
	return sum;
}

/* Count the lane of a flow. True if it has changed. */
static bool account_lane(struct usp_relay_counters *counters, struct usp_flow *flow, bool is_kernel)
{
	if (is_kernel == flow->is_kernel)
		return false;
	flow->is_kernel = is_kernel;
	atomic_store_explicit(&counters->kernel_flows,
			      atomic_load_explicit(&counters->kernel_flows, memory_order_relaxed) +
				      (is_kernel ? 1 : -1u),
			      memory_order_relaxed);
	return true;
}

bool usp_account_step(struct usp_relay_counters *counters, unsigned direction, struct usp_flow *flow)
{
	struct usp_file *const *files = flow->conn->work->files;
	struct usp_conn_story *story = &flow->conn->story;
	uint64_t taken = account_take(counters, direction, 0, files[direction], USP_READ, story);
	uint64_t given = account_take(counters, direction, 1, files[!direction], USP_WRITE, story);

	usp_counter_add(&counters->delivered[direction], given);
	story->delivered[direction] += given;
	if (account_lane(counters, flow, usp_pump_is_kernel(flow->pump)))
		usp_counter_add(&counters->lane_switches, 1);
	return taken || given;
}

void usp_account_end(struct usp_relay_counters *counters, unsigned direction, struct usp_flow *flow)
{
	struct usp_pump_status status = {.size = sizeof(status)};

	usp_account_step(counters, direction, flow);
	account_lane(counters, flow, false);
	usp_pump_status(flow->pump, &status);
	usp_counter_add(&counters->stranded, status.bytes - usp_pump_delivered(flow->pump));
}

void usp_account_drop(struct usp_relay_counters *counters, unsigned direction, uint64_t len)
{
	usp_counter_add(&counters->bytes[direction][0][USP_COPIED], len);
	usp_counter_add(&counters->nr_calls[direction][0], 1);
	usp_counter_add(&counters->stranded, len);
	if (!counters->reason[direction][0][USP_COPIED])
		counters->reason[direction][0][USP_COPIED] = "received for a side that broke";
}

void usp_account_sum(struct usp_relay_counters *counters, struct usp_relay_status *status)
{
	status->nr_connections += atomic_load_explicit(&counters->connections, memory_order_relaxed);
	status->nr_kernel_flows += atomic_load_explicit(&counters->kernel_flows, memory_order_relaxed);
	status->nr_batch_workers += atomic_load_explicit(&counters->is_batch, memory_order_relaxed);
	status->nr_accepted += counters->accepted;
	status->nr_unserved += counters->unserved;
	status->nr_idle_closed += counters->idle_closed;
	status->nr_reset += counters->reset;
	status->nr_accept_pauses += counters->accept_pauses;
	status->nr_lane_switches += counters->lane_switches;
	status->stranded += counters->stranded;
	for (unsigned fault = 0; fault < USP_NR_HEADER_FAULTS; fault++)
		status->nr_header_faults[fault] += counters->header_faults[fault];
	status->nr_untold += counters->untold;
	status->nr_denied += counters->denied;
	status->nr_too_many += counters->too_many;
	status->nr_too_fast += counters->too_fast;
	for (unsigned direction = 0; direction < 2; direction++) {
		status->nr_source_waits[direction] += counters->source_waits[direction];
		status->nr_sink_waits[direction] += counters->sink_waits[direction];
		status->delivered[direction] += counters->delivered[direction];
		for (unsigned hop = 0; hop < 2; hop++) {
			struct usp_relay_hop *sum = &status->hops[direction][hop];

			sum->nr_calls += counters->nr_calls[direction][hop];
			for (unsigned way = 0; way < USP_NR_WAYS; way++) {
				const char *reason = counters->reason[direction][hop][way];

				sum->bytes[way] += counters->bytes[direction][hop][way];
				sum->reason[way] = reason ? reason : sum->reason[way];
			}
		}
	}
}
