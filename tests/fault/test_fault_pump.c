/* SPDX-License-Identifier: MIT */
/* test_fault_pump - copy and fan-out with every call failing in turn: no byte lost or doubled, and a true report. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <usplice/transform.h>

#include "base/compiler.h"
#include "base/crc32c.h"
#include "end.h"
#include "fault.h"
#include "support.h"

#define ROUTE_SINKS_MAX 3
#define BLOCK_LEN 16384
#define AN_HOUR_NS 3600000000000

/* By a run that blocks, by one with time-outs, or by an event loop around its steps. */
enum drive { DRIVE_RUN, DRIVE_TIMED, DRIVE_STEPS };

struct route {
	enum end_kind source, sinks[ROUTE_SINKS_MAX];
	unsigned nr_sinks;
	enum usp_lane_choice lane;
	unsigned flags; /* USP_PUMP_* */
	enum drive drive;
	bool has_stage;	      /* over the source: a digest */
	bool has_blocks;      /* the stage verifies blocks, instead */
	const char *format;   /* the source is compressed, and decompressed again; or NULL */
	unsigned stage_flags; /* USP_TRANSFORM_* */
};

/* A route on its way, and what the pump says of it in the end. */
struct journey {
	const struct route *route;
	struct end source, sinks[ROUTE_SINKS_MAX];
	struct usp_file *stage; /* or NULL */
	struct usp_pump *pump;
	bool has_run;
	int result;
	int64_t pos; /* of a source that has one */
	int digest_error;
	char digest[16];
	struct usp_pump_status status;
	struct usp_sink_status sink_status[ROUTE_SINKS_MAX];
	struct usp_hop source_hop, sink_hops[ROUTE_SINKS_MAX];
};

/* --- The run --------------------------------------------------------------------------------------------- */

/* The stage that verifies blocks of what files give. */
static char blocks_spec[64];

static int blocks_make_list(void)
{
	const unsigned char *bytes = end_expected(END_FILE);
	int fd = memfd_create("blocks", MFD_CLOEXEC);
	bool is_good = fd >= 0 && dprintf(fd, "# usplice blocks crc32c %d %zu\n", BLOCK_LEN, end_len) > 0;

	for (size_t off = 0; is_good && off < end_len; off += BLOCK_LEN) {
		size_t len = usp_min(BLOCK_LEN, end_len - off);

		is_good = dprintf(fd, "%08x\n", usp_crc32c(0, bytes + off, len)) > 0;
	}
	snprintf(blocks_spec, sizeof(blocks_spec), "blocks:/proc/self/fd/%d", fd);
	return is_good ? 0 : -1;
}

/* The stage takes over a reference, and closes what is already closed. */
static int journey_open_stage(struct journey *journey)
{
	const struct usp_transform_params params = {.size = sizeof(params), .flags = journey->route->stage_flags};
	const char *spec = journey->route->has_blocks ? blocks_spec : "digest:crc32c";
	int ret = usp_transform_open(spec, usp_file_get(journey->source.file), &params, &journey->stage, NULL);

	if (ret < 0)
		usp_file_put(journey->source.file);
	return ret;
}

/* Two stages: what comes out is what was there. Without the library there is none. */
static int journey_open_format(struct journey *journey)
{
	const struct usp_transform_params params = {.size = sizeof(params), .flags = journey->route->stage_flags};
	struct usp_file *packing;
	int ret =
		usp_transform_open(journey->route->format, usp_file_get(journey->source.file), &params, &packing, NULL);

	if (ret < 0) {
		usp_file_put(journey->source.file);
		return ret == -EOPNOTSUPP ? 0 : ret;
	}
	ret = usp_transform_open("decompress", packing, &params, &journey->stage, NULL);
	if (ret < 0)
		usp_file_put(packing);
	return ret;
}

static void journey_look_at_stage(struct journey *journey)
{
	struct usp_digest_result result = {.size = sizeof(result)};

	journey->digest_error = usp_digest_result(journey->stage, 0, &result);
	if (journey->digest_error == 0)
		snprintf(journey->digest, sizeof(journey->digest), "%s", result.hex);
}

static int journey_open(struct journey *journey)
{
	const struct route *route = journey->route;
	const struct usp_pump_params params = {
		.size = sizeof(params),
		.lane = route->lane,
		.flags = route->flags | (route->source == END_ZERO ? USP_PUMP_COUNT : 0) |
			 (route->drive == DRIVE_TIMED ? USP_PUMP_TURNS : 0),
		.count = route->source == END_ZERO ? (int64_t)end_len : 0,
		.idle_ns = route->drive == DRIVE_TIMED ? AN_HOUR_NS : 0,
	};
	int ret;

	end_open(&journey->source);
	ret = journey->source.error;
	if (ret == 0 && route->has_stage)
		ret = journey_open_stage(journey);
	if (ret == 0 && route->format)
		ret = journey_open_format(journey);
	if (ret == 0)
		ret = usp_pump_new(journey->stage ? journey->stage : journey->source.file, &params, &journey->pump);
	for (unsigned i = 0; i < route->nr_sinks && ret == 0; i++) {
		end_open(&journey->sinks[i]);
		ret = journey->sinks[i].error;
		if (ret == 0)
			ret = usp_pump_add_sink(journey->pump, journey->sinks[i].file);
	}
	return ret;
}

static void journey_look(struct journey *journey)
{
	journey->status.size = sizeof(journey->status);
	journey->source_hop.size = sizeof(journey->source_hop);
	usp_pump_status(journey->pump, &journey->status);
	usp_pump_hop(journey->pump, 0, &journey->source_hop);
	journey->pos = -1;
	if (!journey->route->format || !(journey->route->stage_flags & USP_TRANSFORM_THREAD)) /* its thread moves it */
		journey->pos = usp_file_seek(journey->source.file, 0, SEEK_CUR);
	if (journey->route->has_stage && !journey->route->has_blocks)
		journey_look_at_stage(journey);
	for (unsigned i = 0; i < journey->route->nr_sinks; i++) {
		journey->sink_status[i].size = sizeof(journey->sink_status[i]);
		journey->sink_hops[i].size = sizeof(journey->sink_hops[i]);
		fault_check(usp_pump_sink_status(journey->pump, i, &journey->sink_status[i]) == 0);
		if (usp_pump_hop(journey->pump, usp_pump_nr_hops(journey->pump) - journey->route->nr_sinks + i,
				 &journey->sink_hops[i]) < 0) {
			fault_check(strcmp(journey->source_hop.to, "pipe") !=
				    0); /* from file to file: one hop is all */
			journey->sink_hops[i] = journey->source_hop;
		}
	}
}

/* Nothing here fails, and so there is nothing to look for besides what the steps say. */
static int journey_step(struct journey *journey)
{
	struct usp_pump_wait waits[ROUTE_SINKS_MAX + 1] = {{.size = sizeof(waits[0])}};
	struct pollfd fds[ROUTE_SINKS_MAX + 1];
	int ret;

	while ((ret = usp_pump_step(journey->pump, waits)) == -EAGAIN) {
		unsigned nr = usp_pump_waits(journey->pump, waits, ROUTE_SINKS_MAX + 1);
		int timeout_ms = -1;

		fault_check(nr >= 1 && nr <= ROUTE_SINKS_MAX + 1);
		for (unsigned i = 0; i < nr; i++) {
			fds[i] = (struct pollfd){.fd = waits[i].fd, .events = waits[i].events};
			if (waits[i].timeout_ns >= 0)
				timeout_ms = waits[i].timeout_ns > 0;
		}
		poll(fds, nr, timeout_ms);
	}
	return ret;
}

/* Opening, running and closing are all under the plan. */
static void journey_go(struct journey *journey)
{
	fault_arm();
	journey->result = journey_open(journey);
	if (journey->result == 0) {
		journey->result =
			journey->route->drive == DRIVE_STEPS ? journey_step(journey) : usp_pump_run(journey->pump);
		journey->has_run = true;
		journey_look(journey);
	}
	usp_pump_free(journey->pump);
	end_close_below(&journey->source, journey->stage); /* a thread of the stage may still read from it */
	usp_file_put(journey->stage);
	for (unsigned i = 0; i < journey->route->nr_sinks; i++)
		end_close(&journey->sinks[i]);
	fault_disarm();
}

/* --- What must be true of it ----------------------------------------------------------------------------- */

static uint64_t hop_bytes(const struct usp_hop *hop)
{
	return hop->bytes[USP_BY_REFERENCE] + hop->bytes[USP_COPIED] + hop->bytes[USP_UNKNOWN];
}

/*
 * A connection that lacks something. What its peer had not acknowledged when it was reset does not count as delivered, and may have
 * arrived all the same: on the wire, or in the peer's system with the acknowledgement on its way back. So between what counts and what
 * was sent everything is true, and nothing else is.
 */
static bool is_reset(const struct journey *journey, unsigned index)
{
	return journey->result < 0 && journey->sinks[index].kind == END_TCP && journey->sink_status[index].stranded;
}

static void check_arrived(const struct journey *journey, unsigned index)
{
	const struct usp_sink_status *status = &journey->sink_status[index];
	const struct end *sink = &journey->sinks[index];
	size_t len = status->bytes, sent = hop_bytes(&journey->sink_hops[index]);
	size_t most = is_reset(journey, index) ? sent : len, arrived = sink->nr_arrived;

	if (sink->kind == END_NULL)
		return;
	if (sink->kind == END_MEMORY)
		arrived = len;
	if (arrived < len || arrived > most)
		fault_complain("sink %u: %zu bytes arrived, and it says %zu of %zu (error %d)", index, arrived, len,
			       sent, status->error);
	if (memcmp(sink->bytes, end_expected(journey->route->source), usp_min(arrived, end_len)))
		fault_complain("sink %u: the first %zu bytes are not the source's", index, arrived);
}

static void check_sink(const struct journey *journey, unsigned index)
{
	const struct usp_sink_status *status = &journey->sink_status[index];
	uint64_t taken = journey->status.bytes, sum = status->bytes + status->stranded;

	check_arrived(journey, index);
	if (hop_bytes(&journey->sink_hops[index]) != status->bytes &&
	    !(is_reset(journey, index) && hop_bytes(&journey->sink_hops[index]) <= sum))
		fault_complain("sink %u: %zu bytes, and %zu in the account", index, (size_t)status->bytes,
			       (size_t)hop_bytes(&journey->sink_hops[index]));
	/* One that left is given nothing more. */
	if (sum > taken || (sum < taken && (status->error == 0 || journey->route->nr_sinks == 1)))
		fault_complain("sink %u: %zu taken, %zu delivered, %zu stranded (error %d)", index, (size_t)taken,
			       (size_t)status->bytes, (size_t)status->stranded, status->error);
	if (journey->result == 0)
		fault_check(status->bytes == end_len && status->error == 0);
}

static void check_source(const struct journey *journey)
{
	uint64_t taken = journey->status.bytes;

	if (journey->route->has_blocks || journey->route->format) { /* it takes more than it has given */
		fault_check(hop_bytes(&journey->source_hop) >= taken);
		fault_check(journey->pos < 0 || (uint64_t)journey->pos >= taken);
	} else {
		fault_check(hop_bytes(&journey->source_hop) == taken);
		fault_check(journey->pos < 0 || (uint64_t)journey->pos == taken);
	}
	if (journey->result == 0)
		fault_check(taken == end_len && journey->status.source_error == 0);
}

/* A digest is told of all bytes, and then it is right. */
static void check_digest(const struct journey *journey)
{
	char right[16];

	snprintf(right, sizeof(right), "%08x", usp_crc32c(0, end_expected(journey->route->source), end_len));
	fault_check(journey->digest_error == 0 || journey->digest_error == -EAGAIN);
	fault_check(journey->digest_error == 0 || journey->result < 0);
	fault_check(journey->digest_error < 0 || strcmp(journey->digest, right) == 0);
}

static int journey_sink_error(const struct journey *journey)
{
	for (unsigned i = 0; i < journey->route->nr_sinks; i++) {
		if (journey->sink_status[i].error)
			return journey->sink_status[i].error;
	}
	return 0;
}

/* The call that failed was on one side: that side, and no other, is named, and with its own error. */
static void check_side(const struct journey *journey, const struct fault_hit *hit)
{
	bool is_source = hit->from_fd >= 0 && hit->from_fd == journey->source.fd &&
			 hit->plan.call != FAULT_usp_sys_copy_file_range;
	int sink_error = journey_sink_error(journey), source_error = journey->status.source_error;

	if (is_source && (source_error != -hit->plan.error || sink_error))
		fault_complain("the source failed, but: source %d, sink %d", source_error, sink_error);
	for (unsigned i = 0; i < journey->route->nr_sinks; i++) {
		int error = journey->sink_status[i].error;

		if (hit->to_fd >= 0 && hit->to_fd == journey->sinks[i].fd &&
		    (error != -hit->plan.error || source_error))
			fault_complain("sink %u failed, but: source %d, sink %d", i, source_error, error);
	}
}

/* Short of descriptors and threads it goes on: in memory, by looking for a stop now and then, and in turns. */
static bool can_do_without(const struct journey *journey, const struct fault_plan *plan)
{
	if (plan->call == FAULT_usp_sys_pipe)
		return journey->route->lane != USP_LANE_KERNEL;
	return plan->call == FAULT_usp_sys_eventfd || plan->call == FAULT_pthread_create;
}

/*
 * An hour has passed between two looks at the clock. A run that has a time-out may end with it, on any side. Else only the end of a TCP
 * sink has one (linger_ns): it has been sent everything, its peer has not acknowledged all of that and the end, and the other sinks lack
 * nothing.
 */
static bool is_late_end(const struct journey *journey)
{
	if (journey->route->drive == DRIVE_TIMED)
		return true;
	for (unsigned i = 0; i < journey->route->nr_sinks; i++) {
		const struct usp_sink_status *status = &journey->sink_status[i];
		bool is_late = journey->sinks[i].kind == END_TCP && status->error == -ETIMEDOUT &&
			       hop_bytes(&journey->sink_hops[i]) == end_len;

		if (!is_late && (status->error || status->bytes != end_len))
			return false;
	}
	return journey->status.source_error == 0 && journey->status.bytes == end_len;
}

static void check_result(const struct journey *journey)
{
	struct fault_hit hit = fault_hit();
	int sink_error = journey_sink_error(journey), source_error = journey->status.source_error;
	bool is_late = hit.has_fired && hit.plan.call == FAULT_usp_sys_now_ns && journey->result == -ETIMEDOUT;

	if (!hit.has_fired || fault_is_transient(&hit.plan) || can_do_without(journey, &hit.plan))
		fault_check(journey->result == 0 || (is_late && is_late_end(journey)));
	if (hit.has_fired && hit.plan.call == FAULT_usp_sys_sync_range && hit.plan.error != ENOSYS)
		fault_check(journey->result == -hit.plan.error || hit.to_fd == journey->source.fd);
	/* A forced lane that is refused: nothing began. */
	if ((journey->result == -EOPNOTSUPP || journey->result == -USP_EWOULDCOPY) && !journey->status.is_done)
		fault_check(journey->route->lane == USP_LANE_KERNEL && journey->status.bytes == 0);
	else if (journey->result < 0 && hit.has_fired && !hit.plan.is_sticky)
		check_side(journey, &hit);
	fault_check(journey->result <= 0);
	if (journey->result < 0 && !journey->status.bytes && !source_error && (!sink_error || sink_error == -ECANCELED))
		return; /* it could not begin */
	if (journey->result != (source_error ? source_error : sink_error))
		fault_complain("the result is %d; source %d, sink %d", journey->result, source_error, sink_error);
}

static void route_run(const void *arg)
{
	struct journey journey = {.route = arg};
	unsigned nr_sinks = journey.route->nr_sinks;

	end_prepare(&journey.source, journey.route->source, USP_READ);
	for (unsigned i = 0; i < nr_sinks; i++)
		end_prepare(&journey.sinks[i], journey.route->sinks[i], USP_WRITE);
	journey_go(&journey);
	for (unsigned i = 0; i < nr_sinks; i++)
		end_collect(&journey.sinks[i]);
	end_check_rest(&journey.source,
		       journey.route->format && journey.result < 0 ? END_UNKNOWN : journey.status.bytes);
	if (journey.has_run) {
		for (unsigned i = 0; i < nr_sinks; i++)
			check_sink(&journey, i);
		check_source(&journey);
		if (journey.route->has_stage && !journey.route->has_blocks)
			check_digest(&journey);
		check_result(&journey);
	}
	for (unsigned i = 0; i < nr_sinks; i++)
		free(journey.sinks[i].bytes);
}

/* --- The routes ------------------------------------------------------------------------------------------ */

#define DRIVEN(how, ...)                               \
	.run = route_run, .arg = &(const struct route) \
	{                                              \
		__VA_ARGS__, .drive = (how)            \
	}
#define ROUTE(...) DRIVEN(DRIVE_RUN, __VA_ARGS__)

#define STAGED(how, flags, ...)                                                                          \
	.run = route_run, .arg = &(const struct route)                                                   \
	{                                                                                                \
		__VA_ARGS__, USP_LANE_AUTO, 0, .drive = (how), .has_stage = true, .stage_flags = (flags) \
	}

#define IN_BLOCKS(how, ...)                                                                          \
	.run = route_run, .arg = &(const struct route)                                               \
	{                                                                                            \
		__VA_ARGS__, USP_LANE_AUTO, 0, .drive = (how), .has_stage = true, .has_blocks = true \
	}

#define REWRITTEN(how, flags, name, ...)                                                                \
	.run = route_run, .arg = &(const struct route)                                                  \
	{                                                                                               \
		__VA_ARGS__, USP_LANE_AUTO, 0, .drive = (how), .format = (name), .stage_flags = (flags) \
	}

static const struct fault_scenario scenarios[] = {
	{.name = "a_file_is_copied_by_range", ROUTE(END_FILE, {END_FILE}, 1, USP_LANE_AUTO, 0)},
	{.name = "a_file_is_copied_in_memory", ROUTE(END_FILE, {END_FILE}, 1, USP_LANE_USER, 0)},
	{.name = "a_file_goes_to_tcp_inside_the_kernel", ROUTE(END_FILE, {END_TCP}, 1, USP_LANE_AUTO, 0)},
	{.name = "a_file_goes_to_tcp_in_memory", ROUTE(END_FILE, {END_TCP}, 1, USP_LANE_USER, 0)},
	{.name = "tcp_goes_to_a_file_inside_the_kernel", ROUTE(END_TCP, {END_FILE}, 1, USP_LANE_AUTO, 0)},
	{.name = "tcp_goes_to_a_file_in_memory", ROUTE(END_TCP, {END_FILE}, 1, USP_LANE_USER, 0)},
	{.name = "a_fifo_goes_to_a_fifo_inside_the_kernel",
	 ROUTE(END_FIFO, {END_FIFO}, 1, USP_LANE_AUTO, USP_PUMP_WIDEN_FIFOS)},
	{.name = "a_fifo_goes_to_a_fifo_in_memory", ROUTE(END_FIFO, {END_FIFO}, 1, USP_LANE_USER, 0)},
	{.name = "the_kernel_lane_is_forced", ROUTE(END_FIFO, {END_UNIX}, 1, USP_LANE_KERNEL, 0)},
	{.name = "a_unix_socket_goes_to_memory", ROUTE(END_UNIX, {END_MEMORY}, 1, USP_LANE_AUTO, 0)},
	{.name = "memory_goes_to_tcp", ROUTE(END_MEMORY, {END_TCP}, 1, USP_LANE_AUTO, 0)},
	{.name = "memory_goes_to_memory", ROUTE(END_MEMORY, {END_MEMORY}, 1, USP_LANE_AUTO, 0)},
	{.name = "zeros_go_nowhere", ROUTE(END_ZERO, {END_NULL}, 1, USP_LANE_AUTO, 0)},
	{.name = "a_snapshot_of_a_file", ROUTE(END_FILE, {END_FIFO}, 1, USP_LANE_AUTO, USP_PUMP_SNAPSHOT)},
	{.name = "a_file_fans_out_inside_the_kernel",
	 ROUTE(END_FILE, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_AUTO, 0)},
	{.name = "a_file_fans_out_in_memory", ROUTE(END_FILE, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_USER, 0)},
	{.name = "a_fan_out_mixes_lanes", ROUTE(END_FIFO, {END_FILE, END_MEMORY, END_UNIX}, 3, USP_LANE_AUTO, 0)},
	{.name = "a_socket_comes_first_in_a_fan_out", ROUTE(END_FILE, {END_TCP, END_FILE}, 2, USP_LANE_USER, 0)},
	{.name = "a_fan_out_goes_on_without_a_failed_sink",
	 ROUTE(END_MEMORY, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_AUTO, USP_PUMP_CONTINUE_ON_ERROR)},
	{.name = "a_file_fans_out_in_steps",
	 DRIVEN(DRIVE_STEPS, END_FILE, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_AUTO, 0)},
	{.name = "a_fan_out_in_steps_goes_on_without_a_failed_sink",
	 DRIVEN(DRIVE_STEPS, END_FIFO, {END_MEMORY, END_FIFO, END_TCP}, 3, USP_LANE_AUTO, USP_PUMP_CONTINUE_ON_ERROR)},
	{.name = "a_cache_goes_to_a_file", ROUTE(END_CACHED, {END_FILE}, 1, USP_LANE_AUTO, 0)},
	{.name = "a_cache_goes_to_tcp_in_steps", DRIVEN(DRIVE_STEPS, END_CACHED, {END_TCP}, 1, USP_LANE_AUTO, 0)},
	{.name = "a_cache_fans_out", ROUTE(END_CACHED, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_AUTO, 0)},
	{.name = "a_cache_fans_out_in_steps",
	 DRIVEN(DRIVE_STEPS, END_CACHED, {END_FILE, END_FIFO, END_MEMORY}, 3, USP_LANE_AUTO,
		USP_PUMP_CONTINUE_ON_ERROR)},
	{.name = "a_file_is_hashed_and_copied", STAGED(DRIVE_RUN, USP_TRANSFORM_INLINE, END_FILE, {END_FILE}, 1)},
	{.name = "a_file_is_hashed_in_a_thread_and_copied",
	 STAGED(DRIVE_RUN, USP_TRANSFORM_THREAD, END_FILE, {END_FILE}, 1)},
	{.name = "a_fifo_is_hashed_in_a_thread_and_fans_out",
	 STAGED(DRIVE_RUN, USP_TRANSFORM_THREAD, END_FIFO, {END_FILE, END_TCP}, 2)},
	{.name = "memory_is_hashed_in_a_thread_and_sent_in_steps",
	 STAGED(DRIVE_STEPS, USP_TRANSFORM_THREAD, END_MEMORY, {END_TCP, END_FIFO}, 2)},
	{.name = "blocks_of_a_file_are_verified_and_copied", IN_BLOCKS(DRIVE_RUN, END_FILE, {END_FILE}, 1)},
	{.name = "blocks_of_a_cache_are_verified_in_a_fan_out",
	 IN_BLOCKS(DRIVE_RUN, END_CACHED, {END_FILE, END_FIFO, END_TCP}, 3)},
	{.name = "blocks_of_a_cache_are_verified_in_steps",
	 IN_BLOCKS(DRIVE_STEPS, END_CACHED, {END_TCP, END_MEMORY}, 2)},
	{.name = "a_file_is_compressed_and_decompressed",
	 REWRITTEN(DRIVE_RUN, USP_TRANSFORM_INLINE, "gzip:1", END_FILE, {END_FILE}, 1)},
	{.name = "a_fifo_is_compressed_in_a_thread_and_fans_out",
	 REWRITTEN(DRIVE_RUN, USP_TRANSFORM_THREAD, "lz4", END_FIFO, {END_FILE, END_TCP}, 2)},
	{.name = "memory_is_compressed_in_a_thread_and_sent_in_steps",
	 REWRITTEN(DRIVE_STEPS, USP_TRANSFORM_THREAD, "gzip:1", END_MEMORY, {END_TCP, END_FIFO}, 2)},
	{.name = "a_file_that_was_copied_leaves_the_page_cache",
	 ROUTE(END_FILE, {END_FILE}, 1, USP_LANE_AUTO, USP_PUMP_DROP_CACHE)},
	{.name = "files_of_a_fan_out_leave_the_page_cache",
	 ROUTE(END_FILE, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_USER,
	       USP_PUMP_DROP_CACHE | USP_PUMP_CONTINUE_ON_ERROR)},
	{.name = "a_fan_out_with_a_time_out",
	 DRIVEN(DRIVE_TIMED, END_TCP, {END_FILE, END_FIFO, END_TCP}, 3, USP_LANE_USER, 0)},
};

int main(void)
{
	const char *len = getenv("USP_FAULT_BYTES");

	end_init(len ? strtoul(len, NULL, 0) : 200003);
	if (blocks_make_list() < 0)
		return 1;
	return fault_main(scenarios, ARRAY_LEN(scenarios));
}
