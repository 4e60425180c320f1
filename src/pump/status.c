/* SPDX-License-Identifier: MIT */
/* status - what a pump did, and what it left behind. */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sized.h"
#include "lanes/plan.h"
#include "pump/inside.h"
#include "splice/file.h"
#include "splice/pipe.h"

/* --- What is left ---------------------------------------------------------------------------------------- */

ssize_t usp_pump_salvage(struct usp_pump *pump, unsigned index, struct usp_file *to)
{
	struct usp_pipe *pipe, *to_pipe = usp_file_pipe(to);
	ssize_t ret = 0;
	size_t len;

	if (index >= pump->nr_sinks || !atomic_load(&pump->is_done))
		return -EINVAL;
	if (!(to->mode & USP_WRITE))
		return -EBADF;
	pipe = pump->sinks[index].pipe;
	len = pipe ? usp_pipe_len(pipe) : 0;
	if (len && to_pipe)
		ret = usp_pipe_transfer(pipe, to_pipe, len, 0, true);
	else if (len)
		ret = usp_file_splice_write(pipe, to, &to->pos, len, 0);
	if (ret > 0)
		atomic_fetch_sub(&pump->sinks[index].stranded, (uint64_t)ret);
	return ret;
}

/* --- What it did ----------------------------------------------------------------------------------------- */

void usp_pump_status(const struct usp_pump *pump, struct usp_pump_status *ret_status)
{
	struct usp_pump_status status = {
		.bytes = atomic_load(&pump->bytes),
		.source_error = atomic_load(&pump->source_error),
		.nr_sinks = pump->nr_sinks,
		.is_done = atomic_load(&pump->is_done),
		.cached = usp_drop_cached(pump, 0),
	};

	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t stranded = atomic_load(&pump->sinks[i].stranded);

		status.stranded = usp_max(stranded, status.stranded);
	}
	usp_sized_give(ret_status, &status, sizeof(status));
}

int usp_pump_sink_status(const struct usp_pump *pump, unsigned index, struct usp_sink_status *ret_status)
{
	const struct usp_sink *sink;
	struct usp_sink_status status;

	if (index >= pump->nr_sinks)
		return -EINVAL;
	sink = &pump->sinks[index];
	status = (struct usp_sink_status){
		.spec = usp_file_spec(sink->file),
		.bytes = atomic_load(&sink->bytes),
		.stranded = atomic_load(&sink->stranded),
		.error = atomic_load(&sink->error),
		.cached = usp_drop_cached(pump, index + 1),
	};
	usp_sized_give(ret_status, &status, sizeof(status));
	return 0;
}

void usp_pump_error(const struct usp_pump *pump, struct usp_pump_error *ret_error)
{
	struct usp_pump_error error = {.error = atomic_load(&pump->source_error)};

	if (error.error) {
		error.side = USP_READ;
		error.spec = usp_file_spec(pump->source);
		error.operation = "read";
		error.off = atomic_load(&pump->bytes);
	}
	for (unsigned i = 0; i < pump->nr_sinks && !error.error; i++) {
		const struct usp_sink *sink = &pump->sinks[i];

		error = (struct usp_pump_error){
			.error = atomic_load(&sink->error),
			.side = USP_WRITE,
			.sink = i,
			.spec = usp_file_spec(sink->file),
			.operation = atomic_load(&sink->is_whole) ? "end" : "write",
			.off = atomic_load(&sink->bytes),
			.stranded = atomic_load(&sink->stranded),
		};
	}
	if (!error.error)
		error = (struct usp_pump_error){.error = 0};
	usp_sized_give(ret_error, &error, sizeof(error));
}

static const char range_reason[] = "whether the kernel shares blocks or copies them shows when the bytes have gone";

/* Tell whether all bytes went, or will go, from file to file: then there is no pipe between two hops. */
static bool status_is_range(const struct usp_pump *pump)
{
	uint64_t sum = 0;

	if (pump->stage == USP_PUMP_NEW)
		return pump->plan.hops && usp_range_is_possible(pump) &&
		       !(pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY);
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		sum += atomic_load(&pump->range[way]);
	sum += atomic_load(&pump->range_holes);
	return sum && sum == atomic_load(&pump->sinks[0].bytes) + atomic_load(&pump->sinks[0].stranded);
}

/* Return the way of most bytes. */
static enum usp_way status_largest(const struct usp_hop *hop)
{
	enum usp_way largest = USP_BY_REFERENCE;

	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		largest = hop->bytes[way] > hop->bytes[largest] ? (enum usp_way)way : largest;
	return largest;
}

unsigned usp_pump_nr_hops(const struct usp_pump *pump)
{
	return status_is_range(pump) ? 1 : pump->nr_sources + pump->nr_sinks;
}

/* Look at the account of a hop, and name its ends. The last source gives into the pipe. */
static void status_look_at_hop(const struct usp_pump *pump, unsigned index, bool is_range, struct usp_hop *ret_hop)
{
	if (index >= pump->nr_sources) {
		const struct usp_file *sink = pump->sinks[index - pump->nr_sources].file;

		usp_file_hop(sink, USP_WRITE, ret_hop);
		ret_hop->from = "pipe";
		ret_hop->to = usp_file_spec(sink);
		return;
	}
	usp_file_hop(pump->sources[index], USP_READ, ret_hop);
	ret_hop->from = usp_file_spec(usp_file_carrier(pump->sources[index]));
	ret_hop->to = is_range			     ? usp_file_spec(pump->sinks[0].file)
		      : index + 1 < pump->nr_sources ? usp_file_spec(pump->sources[index + 1])
						     : "pipe";
}

/* A run that was refused moved no bytes, but its plan says why. */
int usp_pump_hop(const struct usp_pump *pump, unsigned index, struct usp_hop *ret_hop)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	const struct usp_lane *lane;
	bool is_range = status_is_range(pump);

	if (index >= usp_pump_nr_hops(pump))
		return -EINVAL;
	lane = usp_plan_lane(&pump->plan, index);
	status_look_at_hop(pump, index, is_range, &hop);
	hop.lane = lane ? lane->name : "user";
	hop.expected = pump->plan.hops ? (enum usp_way)pump->plan.hops[index].way : USP_UNKNOWN;
	if (is_range) /* the plan expected a pipe */
		hop.expected = pump->stage == USP_PUMP_NEW ? USP_UNKNOWN : status_largest(&hop);
	if (pump->stage == USP_PUMP_NEW && pump->plan.hops)
		hop.reason[hop.expected] = is_range ? range_reason : pump->plan.hops[index].reason;
	usp_sized_give(ret_hop, &hop, sizeof(hop));
	return 0;
}

/* Add a hop to the sums, and return its bytes of holes. */
static uint64_t status_add_hop(const struct usp_file *file, unsigned side, uint64_t sums[USP_NR_WAYS])
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, side, &hop);
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		sums[way] += hop.bytes[way];
	return hop.holes;
}

/*
 * Add up the hops of the source's side, without what went from file to file, which stands in the account of
 * the sink, too. What lies below a stage that computed new bytes moved other bytes than those delivered.
 */
static void status_sum_sources(const struct usp_pump *pump, uint64_t ret_sums[USP_NR_WAYS])
{
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		ret_sums[way] = -atomic_load(&pump->range[way]);
	for (unsigned i = pump->nr_sources; i-- > 0 && !ret_sums[USP_REWRITTEN];)
		status_add_hop(pump->sources[i], USP_READ, ret_sums);
}

void usp_pump_total(const struct usp_pump *pump, struct usp_route_total *ret_total)
{
	struct usp_route_total total = {.copied = 0};
	uint64_t of_sources[USP_NR_WAYS];

	status_sum_sources(pump, of_sources);
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t sums[USP_NR_WAYS], ways[USP_NR_WAYS], holes, bytes = atomic_load(&pump->sinks[i].bytes);

		memcpy(sums, of_sources, sizeof(sums));
		holes = status_add_hop(pump->sinks[i].file, USP_WRITE, sums);
		usp_ways_judge(bytes - usp_min(holes, bytes), sums, ways);
		total.holes += usp_min(holes, bytes);
		total.copied += ways[USP_COPIED];
		total.unknown += ways[USP_UNKNOWN];
		total.by_reference += ways[USP_BY_REFERENCE];
		total.rewritten += ways[USP_REWRITTEN];
	}
	usp_sized_give(ret_total, &total, sizeof(total));
}

const char *usp_pump_lane(const struct usp_pump *pump)
{
	bool is_kernel = usp_pump_source_lane(pump), is_mixed = false;

	for (unsigned i = pump->plan.giver + 1; pump->plan.hops && i < pump->plan.nr_sources; i++)
		is_mixed |= !usp_plan_lane(&pump->plan, i) == is_kernel; /* out of a file that holds */
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		is_mixed |= !usp_plan_sink_lane(&pump->plan, i) == is_kernel;
	return is_mixed ? "mixed" : is_kernel ? "kernel" : "user";
}

bool usp_pump_is_kernel(const struct usp_pump *pump)
{
	return usp_pump_source_lane(pump);
}

uint64_t usp_pump_delivered(const struct usp_pump *pump)
{
	return atomic_load(&pump->sinks[0].bytes);
}

int usp_pump_source_error(const struct usp_pump *pump)
{
	return atomic_load(&pump->source_error);
}
