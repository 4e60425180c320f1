/* SPDX-License-Identifier: MIT */
/* test_fanout_refused - a buf that refuses a second owner in a fan-out: its sink fails, and every byte is accounted for. */
#include "support.h"

#define NR_SINKS 3

/* The buf can have one owner, who is the last sink. */
static void a_sink_that_gets_no_reference_fails_and_the_others_have_all(void **state)
{
	const struct usp_pump_params params = {
		.size = sizeof(params), .lane = USP_LANE_USER, .flags = USP_PUMP_CONTINUE_ON_ERROR};
	struct mock *source = mock_open(&mock_push_ops, USP_READ, 0), *sinks[NR_SINKS];
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_sink_status sink = {.size = sizeof(sink)};
	struct mock_store store;
	struct usp_pump *pump;

	(void)state;
	mock_store_init(&store);
	store.refuses_get = true;
	source->gives[0] = mock_buf(&store, &mock_buf_ops, 0, PAGE, 0);
	source->nr_gives = 1;
	assert_int_equal(usp_pump_new(source->file, &params, &pump), 0);
	for (unsigned i = 0; i < NR_SINKS; i++) {
		sinks[i] = mock_open(&mock_copy_ops, USP_WRITE, 0);
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]->file), 0);
	}
	assert_int_equal(usp_pump_run(pump), -EFAULT);
	usp_pump_status(pump, &status);
	assert_int_equal(status.bytes, PAGE);
	assert_int_equal(status.source_error, 0);
	for (unsigned i = 0; i < NR_SINKS; i++) {
		bool is_last = i == NR_SINKS - 1;

		assert_int_equal(usp_pump_sink_status(pump, i, &sink), 0);
		assert_int_equal(sink.error, is_last ? 0 : -EFAULT);
		assert_int_equal(sink.bytes, is_last ? PAGE : 0);
		assert_int_equal(sink.bytes + sink.stranded, status.bytes);
	}
	usp_pump_free(pump);
	mock_close(source);
	for (unsigned i = 0; i < NR_SINKS; i++)
		mock_close(sinks[i]);
	mock_store_fini(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_sink_that_gets_no_reference_fails_and_the_others_have_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
