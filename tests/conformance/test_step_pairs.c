/* SPDX-License-Identifier: MIT */
/* test_step_pairs - the stream through every ordered pair of endpoints, step by step, in event loops of two kinds. */
#include "peer.h"
#include "steps.h"

#define PAIR_LEN 1777777

static const struct {
	const char *name;
	enum usp_lane_choice lane;
	unsigned flags;
} lanes[] = {
	{"auto", USP_LANE_AUTO, 0},
	{"adapting", USP_LANE_AUTO, USP_PUMP_ADAPT_LANE},
	{"kernel", USP_LANE_KERNEL, 0},
	{"user", USP_LANE_USER, 0},
};

static const struct {
	const char *name;
	int (*run)(struct steps *steps);
} loops[] = {
	{"poll", steps_poll},
	{"edges", steps_epoll},
};

struct pair {
	const struct peer_kind *from, *to;
	unsigned lane, loop;
	char name[96];
	struct peer source, sink; /* here and not on the stack, because their threads outlive a test that fails */
};

static void every_byte_arrives(void **state)
{
	struct pair *pair = *state;
	const struct usp_pump_params params = {
		.size = sizeof(params),
		.lane = lanes[pair->lane].lane,
		.flags = lanes[pair->lane].flags,
	};
	struct steps steps = {.pump = NULL};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_sink_status sink = {.size = sizeof(sink)};

	peer_open_source(&pair->source, pair->from, stream.len);
	peer_open_sink(&pair->sink, pair->to, stream.len);
	steps.source = pair->source.file;
	steps.sink = pair->sink.file;
	assert_int_equal(usp_pump_new(steps.source, &params, &steps.pump), 0);
	assert_int_equal(usp_pump_add_sink(steps.pump, steps.sink), 0);
	assert_int_equal(loops[pair->loop].run(&steps), 0);
	usp_pump_status(steps.pump, &status);
	assert_int_equal(usp_pump_sink_status(steps.pump, 0, &sink), 0);
	assert_true(status.is_done);
	assert_int_equal(status.bytes, stream.len);
	assert_int_equal(sink.bytes, stream.len);
	assert_int_equal(sink.stranded, 0);
	usp_pump_free(steps.pump);
	peer_close_source(&pair->source);
	assert_true(peer_close_sink(&pair->sink, stream.len));
}

static struct CMUnitTest pair_test(struct pair *pair)
{
	snprintf(pair->name, sizeof(pair->name), "%s to %s, lane %s, by %s", pair->from->name, pair->to->name,
		 lanes[pair->lane].name, loops[pair->loop].name);
	return (struct CMUnitTest){
		.name = pair->name,
		.test_func = every_byte_arrives,
		.setup_func = support_before,
		.teardown_func = support_after,
		.initial_state = pair,
	};
}

static bool pair_is_possible(const struct pair *pair)
{
	return lanes[pair->lane].lane != USP_LANE_KERNEL || (pair->from->has_kernel_lane && pair->to->has_kernel_lane);
}

int main(void)
{
	const unsigned nr_pairs = NR_PEER_KINDS * NR_PEER_KINDS * ARRAY_LEN(lanes) * ARRAY_LEN(loops);
	struct CMUnitTest *tests = calloc(nr_pairs, sizeof(*tests));
	struct pair *pairs = calloc(nr_pairs, sizeof(*pairs));
	unsigned nr_tests = 0;
	int ret;

	if (!tests || !pairs || stream_open(PAIR_LEN) < 0)
		return 1;
	for (unsigned i = 0; i < nr_pairs; i++) {
		pairs[i].loop = i % ARRAY_LEN(loops);
		pairs[i].lane = i / ARRAY_LEN(loops) % ARRAY_LEN(lanes);
		pairs[i].to = &peer_kinds[i / ARRAY_LEN(loops) / ARRAY_LEN(lanes) % NR_PEER_KINDS];
		pairs[i].from = &peer_kinds[i / ARRAY_LEN(loops) / ARRAY_LEN(lanes) / NR_PEER_KINDS];
		if (pair_is_possible(&pairs[i]))
			tests[nr_tests++] = pair_test(&pairs[i]);
	}
	if (getenv("USP_TEST_FILTER"))
		cmocka_set_test_filter(getenv("USP_TEST_FILTER")); /* some of the many: "TCP*" */
	ret = _cmocka_run_group_tests("step pairs", tests, nr_tests, NULL, NULL);
	stream_close();
	free(tests);
	free(pairs);
	return ret;
}
