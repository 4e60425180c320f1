/* SPDX-License-Identifier: MIT */
/* test_direct - sendfile between any two files (H19-H24): order of checks, positions, and what a short sink leaves behind. */
#include "base/atomic.h"
#include "splice/pipe.h"
#include "support.h"

#define LONG_LEN 1000000 /* several chunks */

static struct mock *open_source(int64_t size)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);

	source->size = size;
	return source;
}

/* In scripts of sinks an error stands twice: once for the helper that has moved something, once for the call after it. */

static struct mock *open_sink(void)
{
	return mock_open(&mock_copy_ops, USP_WRITE, USP_FILE_SEEKABLE);
}

/* --- Moving ------------------------------------------------------------------------------------------------- */

static void a_whole_file_goes_over_in_one_call(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 2 * LONG_LEN, 0, NULL), LONG_LEN);
	assert_int_equal(sink->len, LONG_LEN);
	assert_pattern(sink->bytes, 0, LONG_LEN);
	assert_int_equal(source->file->pos, LONG_LEN);
	assert_int_equal(sink->file->pos, LONG_LEN);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 1, 0, NULL), 0);
	mock_close(source);
	mock_close(sink);
}

static void with_offsets_the_files_positions_stay(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	int64_t off_in = 100, off_out = 7;

	(void)state;
	assert_int_equal(usp_splice_direct(source->file, &off_in, sink->file, &off_out, 500, 0, NULL), 500);
	assert_int_equal(off_in, 600);
	assert_int_equal(off_out, 507);
	assert_int_equal(source->file->pos, 0);
	assert_int_equal(sink->file->pos, 0);
	assert_pattern(sink->bytes + 7, 100, 500);
	mock_close(source);
	mock_close(sink);
}

static void no_more_than_the_length_is_read_or_written(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 10, 0, NULL), 10);
	assert_int_equal(source->nr_calls, 1);
	assert_int_equal(source->asked[0], 10);
	assert_int_equal(sink->len, 10);
	mock_close(source);
	mock_close(sink);
}

static void a_sink_that_takes_little_at_a_time_gets_everything(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	SCRIPT(sink, 1, 4095, 10000, 3, 65536);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), LONG_LEN);
	assert_pattern(sink->bytes, 0, LONG_LEN);
	mock_close(source);
	mock_close(sink);
}

static void a_source_that_gives_little_at_a_time_is_asked_again(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	SCRIPT(source, 1, 4095, 10000, 3);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), LONG_LEN);
	assert_pattern(sink->bytes, 0, LONG_LEN);
	mock_close(source);
	mock_close(sink);
}

static void a_sink_that_was_short_is_offered_the_rest_once_more(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	SCRIPT(sink, 100, -EAGAIN);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), LONG_LEN);
	assert_pattern(sink->bytes, 0, LONG_LEN);
	mock_close(source);
	mock_close(sink);
}

static void the_flags_of_the_call_reach_the_sink_as_they_are(void **state)
{
	static const unsigned flags[] = {0, USP_SPLICE_MORE};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct mock *source = open_source(LONG_LEN), *sink = open_sink();

		assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 10, flags[i], NULL), 10);
		assert_int_equal(sink->flags & USP_SPLICE_MORE, flags[i]);
		mock_close(source);
		mock_close(sink);
	}
}

/* --- Failures ------------------------------------------------------------------------------------------------- */

static void a_short_sink_sets_the_source_back_to_what_was_delivered(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	SCRIPT(sink, 100, -EAGAIN, -EAGAIN);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), 100);
	assert_int_equal(source->file->pos, 100);
	assert_int_equal(sink->file->pos, 100);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), LONG_LEN - 100);
	assert_int_equal(sink->len, LONG_LEN);
	assert_pattern(sink->bytes, 0, LONG_LEN); /* nothing lost, nothing twice */
	mock_close(source);
	mock_close(sink);
}

static void a_sink_that_fails_in_a_later_chunk_sets_the_source_back_too(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	ssize_t ret;

	(void)state;
	SCRIPT(sink, MOCK_ALL, MOCK_ALL, 4321, -ENOSPC, -ENOSPC);
	ret = usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL);
	assert_true(ret > 4321 && ret < LONG_LEN);
	assert_int_equal(source->file->pos, ret);
	assert_int_equal(sink->file->pos, ret);
	assert_int_equal(sink->len, ret);
	assert_pattern(sink->bytes, 0, (size_t)ret);
	mock_close(source);
	mock_close(sink);
}

static void a_sink_that_takes_nothing_leaves_both_positions(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	int64_t off_in = 50, off_out = 60;

	(void)state;
	SCRIPT(sink, -ENOSPC, -ENOSPC);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), -ENOSPC);
	assert_int_equal(source->file->pos, 0);
	assert_int_equal(sink->file->pos, 0);
	assert_int_equal(usp_splice_direct(source->file, &off_in, sink->file, &off_out, 10, 0, NULL), -ENOSPC);
	assert_int_equal(off_in, 50);
	assert_int_equal(off_out, 60);
	mock_close(source);
	mock_close(sink);
}

static void a_source_that_fails_is_reported_after_the_bytes_before_it(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();

	(void)state;
	SCRIPT(source, 1000, -EIO, -EIO);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), 1000);
	assert_int_equal(source->file->pos, 1000);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, LONG_LEN, 0, NULL), -EIO);
	assert_int_equal(source->file->pos, 1000);
	assert_int_equal(sink->file->pos, 1000);
	mock_close(source);
	mock_close(sink);
}

/* --- Over a pipe of the caller's ----------------------------------------------------------------------------------- */

static void a_pipe_of_the_callers_is_used_and_left_empty(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, 0);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 5 * PAGE, 0, end), 5 * PAGE);
	assert_int_equal(source->nr_calls, 3); /* two slots at a time */
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	SCRIPT(sink, 10, -EIO, -EIO);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 5 * PAGE, 0, end), 10);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(nr_bufs_in(end[0]), 0);
	assert_int_equal(source->file->pos, 5 * PAGE + 10);
	put_bytes(end[1], 0, 10); /* and it still works */
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	mock_close(source);
	mock_close(sink);
}

static void a_pipe_of_the_callers_must_be_empty(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 10, 0, end), -EBUSY);
	assert_int_equal(source->nr_calls, 0);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	mock_close(source);
	mock_close(sink);
}

static void a_pipe_of_the_callers_without_readers_is_epipe(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	usp_pipe_close_read(usp_file_pipe(end[0]));
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 10, 0, end), -EPIPE);
	assert_int_equal(source->nr_calls, 0);
	close_pipe(end);
	mock_close(source);
	mock_close(sink);
}

/* A sink that takes the bytes and then says that it failed. */
static ssize_t swallow_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
				    unsigned flags)
{
	ssize_t ret = usp_drop_splice_write(pipe, out, pos, len, flags);

	return ret > 0 ? -EIO : ret;
}

static void a_sink_that_swallows_what_it_denies_does_not_move_the_source(void **state)
{
	static const struct usp_file_ops swallow_ops = {
		.size = sizeof(struct usp_file_ops), .name = "swallow", .splice_write = swallow_splice_write};
	struct mock *source = open_source(LONG_LEN);
	struct usp_file *sink, *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	assert_int_equal(usp_file_new(&swallow_ops, USP_WRITE, "swallow", NULL, &sink), 0);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink, NULL, 10, 0, end), -EIO);
	assert_int_equal(usp_file_seek(source->file, 0, SEEK_CUR), 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	put_bytes(end[1], 0, 1); /* and nobody has kept a turn */
	take_bytes(end[0], 0, 1);
	close_pipe(end);
	usp_file_put(sink);
	mock_close(source);
}

static void the_ends_must_be_those_of_one_pipe(void **state)
{
	struct mock *source = open_source(LONG_LEN), *sink = open_sink();
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	assert_int_equal(
		usp_splice_direct(source->file, NULL, sink->file, NULL, 10, 0, (struct usp_file *[2]){a[0], b[1]}),
		-EINVAL);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 10, 0,
					   (struct usp_file *[2]){source->file, a[1]}),
			 -EINVAL);
	assert_int_equal(source->nr_calls, 0);
	close_pipe(a);
	close_pipe(b);
	mock_close(source);
	mock_close(sink);
}

/* --- Checks --------------------------------------------------------------------------------------------------------- */

static void the_wrong_direction_is_ebadf_even_for_nothing(void **state)
{
	struct mock *source = open_source(10), *sink = open_sink();

	(void)state;
	assert_int_equal(usp_splice_direct(sink->file, NULL, sink->file, NULL, 0, 0, NULL), -EBADF);
	assert_int_equal(usp_splice_direct(source->file, NULL, source->file, NULL, 0, 0, NULL), -EBADF);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 0, 0, NULL), 0);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 1, 0x10, NULL), -EINVAL);
	mock_close(source);
	mock_close(sink);
}

static void a_source_without_positions_is_einval_and_espipe_with_an_offset(void **state)
{
	struct mock *stream = mock_open(&mock_copy_ops, USP_READ, 0), *sink = open_sink();
	struct usp_file *end[2];
	int64_t off = 0;

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice_direct(stream->file, NULL, sink->file, NULL, 1, 0, NULL), -EINVAL);
	assert_int_equal(usp_splice_direct(stream->file, &off, sink->file, NULL, 1, 0, NULL), -ESPIPE);
	assert_int_equal(usp_splice_direct(end[0], NULL, sink->file, NULL, 1, 0, NULL), -EINVAL);
	assert_int_equal(usp_splice_direct(end[0], &off, sink->file, NULL, 1, 0, NULL), -ESPIPE);
	assert_int_equal(stream->nr_calls, 0);
	close_pipe(end);
	mock_close(stream);
	mock_close(sink);
}

static void an_append_file_is_no_sink(void **state)
{
	struct mock *source = open_source(10), *sink = open_sink();
	int64_t bad = -1;

	(void)state;
	atomic_store(usp_u32(&sink->file->flags), USP_APPEND);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 1, 0, NULL), -EINVAL);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, &bad, 1, 0, NULL), -EINVAL);
	assert_int_equal(source->nr_calls, 0);
	mock_close(source);
	mock_close(sink);
}

static void bad_positions_and_lengths_are_einval(void **state)
{
	struct mock *source = open_source(10), *sink = open_sink();
	int64_t bad = -1;

	(void)state;
	assert_int_equal(usp_splice_direct(source->file, &bad, sink->file, NULL, 1, 0, NULL), -EINVAL);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, &bad, 1, 0, NULL), -EINVAL);
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, SIZE_MAX, 0, NULL), -EINVAL);
	mock_close(source);
	mock_close(sink);
}

static void a_sink_without_a_hook_is_einval_and_the_source_is_where_it_was(void **state)
{
	struct mock *source = open_source(10), *sink = mock_open(&mock_bare_ops, USP_WRITE, 0);

	(void)state;
	assert_int_equal(usp_splice_direct(source->file, NULL, sink->file, NULL, 10, 0, NULL), -EINVAL);
	assert_int_equal(source->file->pos, 0);
	mock_close(source);
	mock_close(sink);
}

static void into_a_pipe_it_is_one_pass_for_what_has_room(void **state)
{
	struct mock *source = open_source(LONG_LEN);
	struct usp_file *end[2];
	int64_t off = 100;

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	assert_int_equal(usp_splice_direct(source->file, &off, end[1], NULL, LONG_LEN, 0, NULL), 2 * PAGE);
	assert_int_equal(off, 100 + 2 * PAGE);
	assert_int_equal(usp_splice_direct(source->file, &off, end[1], NULL, LONG_LEN, 0, NULL), -EAGAIN);
	take_bytes(end[0], 100, 2 * PAGE);
	close_pipe(end);
	mock_close(source);
}

static void into_a_pipe_a_source_that_gives_little_is_not_asked_again(void **state)
{
	struct mock *source = open_source(LONG_LEN);
	struct usp_file *end[2];

	(void)state;
	SCRIPT(source, 10);
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_splice_direct(source->file, NULL, end[1], NULL, PAGE, 0, NULL), 10);
	assert_int_equal(source->nr_calls, 1);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	mock_close(source);
}

int main(void)
{
	const struct CMUnitTest moving[] = {
		CASE(a_whole_file_goes_over_in_one_call),
		CASE(with_offsets_the_files_positions_stay),
		CASE(no_more_than_the_length_is_read_or_written),
		CASE(a_sink_that_takes_little_at_a_time_gets_everything),
		CASE(a_source_that_gives_little_at_a_time_is_asked_again),
		CASE(a_sink_that_was_short_is_offered_the_rest_once_more),
		CASE(the_flags_of_the_call_reach_the_sink_as_they_are),
	};
	const struct CMUnitTest failures[] = {
		CASE(a_short_sink_sets_the_source_back_to_what_was_delivered),
		CASE(a_sink_that_fails_in_a_later_chunk_sets_the_source_back_too),
		CASE(a_sink_that_takes_nothing_leaves_both_positions),
		CASE(a_source_that_fails_is_reported_after_the_bytes_before_it),
	};
	const struct CMUnitTest pipes[] = {
		CASE(a_pipe_of_the_callers_is_used_and_left_empty),
		CASE(a_pipe_of_the_callers_must_be_empty),
		CASE(a_pipe_of_the_callers_without_readers_is_epipe),
		CASE(a_sink_that_swallows_what_it_denies_does_not_move_the_source),
		CASE(the_ends_must_be_those_of_one_pipe),
	};
	const struct CMUnitTest checks[] = {
		CASE(the_wrong_direction_is_ebadf_even_for_nothing),
		CASE(a_source_without_positions_is_einval_and_espipe_with_an_offset),
		CASE(an_append_file_is_no_sink),
		CASE(bad_positions_and_lengths_are_einval),
		CASE(a_sink_without_a_hook_is_einval_and_the_source_is_where_it_was),
		CASE(into_a_pipe_it_is_one_pass_for_what_has_room),
		CASE(into_a_pipe_a_source_that_gives_little_is_not_asked_again),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("direct: moving", moving, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("direct: failures", failures, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("direct: a pipe of the caller's", pipes, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("direct: checks", checks, NULL, NULL);
	return nr_failed != 0;
}
