/* SPDX-License-Identifier: MIT */
/* test_tee - references from pipe to pipe without consuming (T1-T4, T9-T13). The flags of the copies: test_buf.c (T11). */
#include "support.h"

static void unknown_flags_come_first_even_if_there_is_nothing_to_do(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	assert_int_equal(usp_tee(a[0], b[1], 0, 0x10), -EINVAL);
	assert_int_equal(usp_tee(a[1], b[0], 0, 0), 0);
	close_pipe(a);
	close_pipe(b);
}

static void the_wrong_direction_comes_before_no_pipe_and_the_same_pipe(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_tee(end[1], end[0], 1, 0), -EBADF);
	assert_int_equal(usp_tee(sink->file, end[1], 1, 0), -EBADF);
	assert_int_equal(usp_tee(end[0], source->file, 1, 0), -EBADF);
	assert_int_equal(usp_tee(source->file, end[1], 1, 0), -EINVAL);
	assert_int_equal(usp_tee(end[0], sink->file, 1, 0), -EINVAL);
	assert_int_equal(usp_tee(source->file, sink->file, 1, 0), -EINVAL);
	assert_int_equal(usp_tee(end[0], end[1], 1, 0), -EINVAL);
	close_pipe(end);
	mock_close(source);
	mock_close(sink);
}

static void a_tee_consumes_nothing(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, PAGE + 10);
	assert_int_equal(usp_tee(a[0], b[1], SIZE_MAX, 0), PAGE + 10);
	assert_int_equal(usp_pipe_bytes(a[0]), PAGE + 10);
	take_bytes(b[0], 0, PAGE + 10);
	take_bytes(a[0], 0, PAGE + 10);
	close_pipe(a);
	close_pipe(b);
}

static void a_tee_begins_again_at_the_first_unread_byte(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 8);
	take_bytes(a[0], 0, 3);
	assert_int_equal(usp_tee(a[0], b[1], 3, 0), 3);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), 5);
	assert_int_equal(nr_bufs_in(b[0]), 2);
	take_bytes(b[0], 3, 3);
	take_bytes(b[0], 3, 5);
	close_pipe(a);
	close_pipe(b);
}

static void a_tee_stops_where_the_output_is_full(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	put_bytes(a[1], 0, 3 * PAGE);
	assert_int_equal(usp_tee(a[0], b[1], 3 * PAGE, 0), 2 * PAGE);
	assert_int_equal(usp_tee(a[0], b[1], 3 * PAGE, 0), -EAGAIN);
	take_bytes(b[0], 0, 2 * PAGE);
	close_pipe(a);
	close_pipe(b);
}

static void a_tee_goes_no_further_than_a_part_of_a_large_buf(void **state)
{
	const struct usp_pipe_params large = {
		.size = sizeof(large), .nr_slots = 2, .slot_bytes = 2 * PAGE, .flags = USP_NONBLOCK};
	struct usp_file *a[2], *b[2];

	(void)state;
	assert_int_equal(usp_pipe_open(&large, a), 0);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 4 * PAGE);
	assert_int_equal(nr_bufs_in(a[0]), 2);
	assert_int_equal(usp_tee(a[0], b[1], 4 * PAGE, 0), PAGE);
	take_bytes(b[0], 0, PAGE);
	take_bytes(a[0], 0, 4 * PAGE);
	close_pipe(a);
	close_pipe(b);
}

static void a_tee_cuts_its_last_buf_to_the_length(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 2 * PAGE);
	assert_int_equal(usp_tee(a[0], b[1], PAGE + 1, 0), PAGE + 1);
	assert_int_equal(usp_pipe_bytes(b[0]), PAGE + 1);
	take_bytes(b[0], 0, PAGE + 1);
	close_pipe(a);
	close_pipe(b);
}

static void a_write_that_merges_into_the_source_does_not_grow_the_copy(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 10);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), 10);
	put_bytes(a[1], 10, 10);
	assert_int_equal(nr_bufs_in(a[0]), 1);
	assert_int_equal(usp_pipe_bytes(b[0]), 10);
	take_bytes(b[0], 0, 10);
	take_bytes(a[0], 0, 20);
	close_pipe(a);
	close_pipe(b);
}

static void a_write_to_the_copy_does_not_touch_the_source(void **state)
{
	struct usp_file *a[2], *b[2];
	unsigned char zeros[10] = {0}, bytes[20];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 10);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), 10);
	assert_int_equal(usp_write(b[1], zeros, sizeof(zeros)), 10);
	assert_int_equal(nr_bufs_in(b[0]), 2);
	put_bytes(a[1], 10, 10);
	assert_int_equal(usp_read(b[0], bytes, sizeof(bytes)), 20);
	assert_pattern(bytes, 0, 10);
	assert_memory_equal(bytes + 10, zeros, 10);
	take_bytes(a[0], 0, 20);
	close_pipe(a);
	close_pipe(b);
}

static void the_copies_outlive_the_pipe_that_they_came_from(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, PAGE + 10);
	assert_int_equal(usp_tee(a[0], b[1], 2 * PAGE, 0), PAGE + 10);
	close_pipe(a);
	take_bytes(b[0], 0, PAGE + 10);
	close_pipe(b);
}

static void the_end_of_the_input_is_zero(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 1, 0);
	open_pipe(b, 1, 0);
	drop(&a[1]);
	assert_int_equal(usp_tee(a[0], b[1], 1, 0), 0);
	close_pipe(a);
	close_pipe(b);
}

static void an_empty_input_is_eagain_and_never_zero(void **state)
{
	struct usp_file *a[2], *b[2];
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	assert_int_equal(usp_tee(a[0], b[1], 1, 0), -EAGAIN);
	inject(a[1], mock_buf(&store, &mock_buf_ops, 0, 0, 0)); /* no byte, so no end either */
	assert_int_equal(usp_tee(a[0], b[1], 1, 0), -EAGAIN);
	close_pipe(a);
	close_pipe(b);
	mock_store_fini(&store);
}

static void a_write_wakes_a_tee_and_a_tee_wakes_a_read(void **state)
{
	struct usp_file *a[2], *b[2];
	unsigned char bytes[10];
	struct call tee, read;
	struct worker tee_worker, read_worker;

	(void)state;
	open_pipe(a, 1, 0);
	open_pipe(b, 1, 0);
	tee = (struct call){.in = a[0], .out = b[1], .len = 10};
	read = (struct call){.in = b[0], .base = bytes, .len = 10};
	worker_start(&tee_worker, call_tee, &tee);
	worker_start(&read_worker, call_read, &read);
	worker_await_sleep(&tee_worker);
	worker_await_sleep(&read_worker);
	put_bytes(a[1], 0, 10);
	assert_int_equal(worker_join(&tee_worker), 10);
	assert_int_equal(worker_join(&read_worker), 10);
	assert_pattern(bytes, 0, 10);
	close_pipe(a);
	close_pipe(b);
}

static void a_read_wakes_a_tee_that_waits_for_room(void **state)
{
	struct usp_file *a[2], *b[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(a, 1, 0);
	open_pipe(b, 1, 0);
	put_bytes(a[1], 0, 10);
	put_bytes(b[1], 0, 10);
	call = (struct call){.in = a[0], .out = b[1], .len = 10};
	worker_start(&worker, call_tee, &call);
	worker_await_sleep(&worker);
	take_bytes(b[0], 0, 10);
	assert_int_equal(worker_join(&worker), 10);
	close_pipe(a);
	close_pipe(b);
}

static void one_stream_can_be_given_to_eight_pipes(void **state)
{
	struct usp_file *a[2], *b[8][2];

	(void)state;
	open_pipe(a, 16, USP_NONBLOCK);
	for (unsigned i = 0; i < 8; i++)
		open_pipe(b[i], 16, USP_NONBLOCK);
	for (unsigned round = 0; round < 4; round++) {
		size_t len = 3 * PAGE + 17;

		put_bytes(a[1], round * len, len);
		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(usp_tee(a[0], b[i][1], len, 0), len);
		assert_int_equal(usp_splice(a[0], NULL, b[7][1], NULL, len, 0), len);
		for (unsigned i = 0; i < 8; i++)
			take_bytes(b[i][0], round * len, len);
	}
	close_pipe(a);
	for (unsigned i = 0; i < 8; i++)
		close_pipe(b[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(unknown_flags_come_first_even_if_there_is_nothing_to_do),
		CASE(the_wrong_direction_comes_before_no_pipe_and_the_same_pipe),
		CASE(a_tee_consumes_nothing),
		CASE(a_tee_begins_again_at_the_first_unread_byte),
		CASE(a_tee_stops_where_the_output_is_full),
		CASE(a_tee_goes_no_further_than_a_part_of_a_large_buf),
		CASE(a_tee_cuts_its_last_buf_to_the_length),
		CASE(a_write_that_merges_into_the_source_does_not_grow_the_copy),
		CASE(a_write_to_the_copy_does_not_touch_the_source),
		CASE(the_copies_outlive_the_pipe_that_they_came_from),
		CASE(the_end_of_the_input_is_zero),
		CASE(an_empty_input_is_eagain_and_never_zero),
		CASE(a_write_wakes_a_tee_and_a_tee_wakes_a_read),
		CASE(a_read_wakes_a_tee_that_waits_for_room),
		CASE(one_stream_can_be_given_to_eight_pipes),
	};

	return cmocka_run_group_tests_name("tee", tests, NULL, NULL);
}
