/* SPDX-License-Identifier: MIT */
/* test_pairs - the stream through every ordered pair of endpoints, on every lane, with its SHA-256 and its ledger. */
#include <stdio.h>

#include "peer.h"

/* An odd number, and more than any pipe or socket buffer on the way. Over files it is more than one step of every lane. */
#define PAIR_LEN 3333333

static const char *const lane_names[] = {
	[USP_LANE_AUTO] = "auto",
	[USP_LANE_KERNEL] = "kernel",
	[USP_LANE_USER] = "user",
};

struct pair {
	const struct peer_kind *from, *to;
	enum usp_lane_choice lane;
	char name[80];
	struct peer source, sink; /* here and not on the stack, because their threads outlive a test that fails */
};

static bool pair_has_kernel_lane(const struct pair *pair)
{
	return pair->from->has_kernel_lane && pair->to->has_kernel_lane;
}

/* --- What the pump says about it ---------------------------------------------------------------------------- */

static void check_status(const struct usp_pump *pump)
{
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_sink_status sink = {.size = sizeof(sink)};

	usp_pump_status(pump, &status);
	assert_int_equal(usp_pump_sink_status(pump, 0, &sink), 0);
	assert_true(status.is_done);
	assert_int_equal(status.bytes, stream.len);
	assert_int_equal(status.stranded, 0);
	assert_int_equal(status.source_error, 0);
	assert_int_equal(sink.bytes, stream.len);
	assert_int_equal(sink.stranded, 0);
	assert_int_equal(sink.error, 0);
}

static void check_hop(const struct usp_hop *hop, enum usp_lane_choice lane)
{
	uint64_t sum = 0;

	for (unsigned way = 0; way < USP_NR_WAYS; way++) {
		sum += hop->bytes[way];
		if (hop->bytes[way])
			assert_non_null(hop->reason[way]);
	}
	assert_int_equal(sum, stream.len);
	assert_true(hop->nr_calls > 0);
	if (lane != USP_LANE_AUTO)
		assert_string_equal(hop->lane, lane_names[lane]);
}

/* Each byte of a route is in one class, and a class is no larger than what its hops have in it. */
static void check_ledger(const struct usp_pump *pump, enum usp_lane_choice lane)
{
	struct usp_route_total total = {.size = sizeof(total)};
	struct usp_hop from = {.size = sizeof(from)}, to = {.size = sizeof(to)};

	usp_pump_hop(pump, 0, &from);
	check_hop(&from, lane);
	if (usp_pump_hop(pump, 1, &to) == 0)
		check_hop(&to, lane);
	else
		assert_string_not_equal(from.to, "pipe"); /* from file to file, and no pipe between them */
	usp_pump_total(pump, &total);
	assert_int_equal(total.by_reference + total.copied + total.unknown, stream.len);
	assert_true(total.copied <= from.bytes[USP_COPIED] + to.bytes[USP_COPIED]);
	assert_true(total.copied >= from.bytes[USP_COPIED] && total.copied >= to.bytes[USP_COPIED]);
	assert_true(total.unknown <= from.bytes[USP_UNKNOWN] + to.bytes[USP_UNKNOWN]);
	if (lane != USP_LANE_AUTO)
		assert_string_equal(usp_pump_lane(pump), lane_names[lane]);
}

/* --- The test ------------------------------------------------------------------------------------------------- */

static struct usp_pump *pair_pump(struct pair *pair)
{
	const struct usp_pump_params params = {.size = sizeof(params), .lane = pair->lane};
	struct usp_pump *pump;

	peer_open_source(&pair->source, pair->from, stream.len);
	peer_open_sink(&pair->sink, pair->to, stream.len);
	assert_int_equal(usp_pump_new(pair->source.file, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, pair->sink.file), 0);
	return pump;
}

static void every_byte_arrives(void **state)
{
	struct pair *pair = *state;
	struct usp_pump *pump = pair_pump(pair);

	assert_int_equal(usp_pump_run(pump), 0);
	check_status(pump);
	check_ledger(pump, pair->lane);
	usp_pump_free(pump);
	peer_close_source(&pair->source);
	assert_true(peer_close_sink(&pair->sink, stream.len));
}

static void the_kernel_lane_is_refused(void **state)
{
	struct pair *pair = *state;
	struct usp_pump *pump = pair_pump(pair);
	struct usp_pump_status status = {.size = sizeof(status)};

	assert_int_equal(usp_pump_run(pump), -EOPNOTSUPP);
	usp_pump_status(pump, &status);
	assert_int_equal(status.bytes, 0);
	usp_pump_free(pump);
	peer_close_source(&pair->source);
	assert_true(peer_close_sink(&pair->sink, 0));
}

static struct CMUnitTest pair_test(struct pair *pair)
{
	bool is_refused = pair->lane == USP_LANE_KERNEL && !pair_has_kernel_lane(pair);

	snprintf(pair->name, sizeof(pair->name), "%s to %s, lane %s%s", pair->from->name, pair->to->name,
		 lane_names[pair->lane], is_refused ? ", is refused" : "");
	return (struct CMUnitTest){
		.name = pair->name,
		.test_func = is_refused ? the_kernel_lane_is_refused : every_byte_arrives,
		.setup_func = support_before,
		.teardown_func = support_after,
		.initial_state = pair,
	};
}

int main(void)
{
	const unsigned nr_tests = NR_PEER_KINDS * NR_PEER_KINDS * ARRAY_LEN(lane_names);
	struct CMUnitTest *tests = calloc(nr_tests, sizeof(*tests));
	struct pair *pairs = calloc(nr_tests, sizeof(*pairs));
	int ret;

	if (!tests || !pairs || stream_open(PAIR_LEN) < 0)
		return 1;
	for (unsigned i = 0; i < nr_tests; i++) {
		pairs[i].lane = i % ARRAY_LEN(lane_names);
		pairs[i].to = &peer_kinds[i / ARRAY_LEN(lane_names) % NR_PEER_KINDS];
		pairs[i].from = &peer_kinds[i / ARRAY_LEN(lane_names) / NR_PEER_KINDS];
		tests[i] = pair_test(&pairs[i]);
	}
	if (getenv("USP_TEST_FILTER"))
		cmocka_set_test_filter(getenv("USP_TEST_FILTER")); /* some of the many: "*TCP*" */
	ret = _cmocka_run_group_tests("pairs", tests, nr_tests, NULL, NULL);
	stream_close();
	free(tests);
	free(pairs);
	return ret;
}
