/* SPDX-License-Identifier: MIT */
/* test_splice - dispatch: the order of the checks (S1-S12), positions (S13-S16), amounts and errors (S17-S20, T1-T8, C17). */
#include "base/atomic.h"
#include "support.h"

#include <sys/eventfd.h>

/* --- The order of the checks: each test breaks two rules, and the one that comes first wins --------------------- */

static void nothing_to_move_is_zero_before_anything_is_looked_at(void **state)
{
	(void)state;
	assert_int_equal(usp_splice(NULL, NULL, NULL, NULL, 0, 0xff), 0);
}

static void unknown_flags_come_before_the_offset_of_a_pipe(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];
	int64_t off = 0;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_splice(source->file, NULL, end[1], &off, 1, 0x10), -EINVAL);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1, 0x10), -EINVAL);
	assert_int_equal(source->nr_calls, 0);
	close_pipe(end);
	mock_close(source);
}

static void the_offset_of_a_pipe_comes_before_the_wrong_direction(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];
	int64_t off = 0;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_splice(end[1], &off, file->file, NULL, 1, 0), -ESPIPE); /* a write end as input */
	assert_int_equal(usp_splice(file->file, NULL, end[0], &off, 1, 0), -ESPIPE); /* a read end as output */
	assert_int_equal(usp_splice(end[0], &off, end[1], NULL, 1, 0), -ESPIPE);     /* and the same pipe twice */
	close_pipe(end);
	mock_close(file);
}

static void the_wrong_direction_comes_before_the_same_pipe_and_no_pipe(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_splice(end[1], NULL, end[0], NULL, 1, 0), -EBADF);
	assert_int_equal(usp_splice(end[0], NULL, end[0], NULL, 1, 0), -EBADF);
	assert_int_equal(usp_splice(sink->file, NULL, source->file, NULL, 1, 0), -EBADF);
	assert_int_equal(usp_splice(sink->file, NULL, end[1], NULL, 1, 0), -EBADF);
	assert_int_equal(usp_splice(end[0], NULL, source->file, NULL, 1, 0), -EBADF);
	close_pipe(end);
	mock_close(source);
	mock_close(sink);
}

static void a_pipe_is_not_spliced_into_itself(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, end[1], NULL, 10, 0), -EINVAL);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
}

static void one_of_the_two_must_be_a_pipe(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);

	(void)state;
	assert_int_equal(usp_splice(source->file, NULL, sink->file, NULL, 1, 0), -EINVAL);
	mock_close(source);
	mock_close(sink);
}

static void an_offset_needs_a_file_with_positions(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];
	int64_t off = 0;

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, &off, 10, 0), -EINVAL); /* and not ESPIPE */
	assert_int_equal(usp_splice(source->file, &off, end[1], NULL, 10, 0), -EINVAL);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	close_pipe(end);
	mock_close(source);
	mock_close(sink);
}

static void an_append_file_is_no_sink_and_may_be_a_source(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];
	int64_t bad = -1;

	(void)state;
	atomic_store(usp_u32(&file->file->flags), USP_APPEND);
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, file->file, NULL, 10, 0), -EINVAL);
	assert_int_equal(usp_splice(end[0], NULL, file->file, &bad, 10, 0), -EINVAL);
	assert_int_equal(file->nr_calls, 0);
	assert_int_equal(usp_splice(file->file, NULL, end[1], NULL, 10, 0), 10);
	close_pipe(end);
	mock_close(file);
}

static void an_area_outside_the_positions_is_einval(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	static const struct {
		int64_t off;
		size_t len;
	} cases[] = {{-1, 1},	   {INT64_MIN, 1}, {INT64_MAX, 1}, {INT64_MAX - 9, 10 + 1}, {0, (size_t)INT64_MAX + 1},
		     {0, SIZE_MAX}};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t off = cases[i].off;

		assert_int_equal(usp_splice(end[0], NULL, file->file, &off, cases[i].len, 0), -EINVAL);
		assert_int_equal(usp_splice(file->file, &off, end[1], NULL, cases[i].len, 0), -EINVAL);
		assert_int_equal(off, cases[i].off);
	}
	assert_int_equal(file->nr_calls, 0);
	close_pipe(end);
	mock_close(file);
}

static void a_sink_without_a_hook_is_einval_even_on_an_empty_pipe(void **state)
{
	struct mock *sink = mock_open(&mock_bare_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 1, 0), -EINVAL);
	put_bytes(end[1], 0, 1);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 1, 0), -EINVAL);
	take_bytes(end[0], 0, 1);
	close_pipe(end);
	mock_close(sink);
}

static void a_broken_pipe_comes_before_a_source_without_a_hook(void **state)
{
	struct mock *bare = mock_open(&mock_bare_ops, USP_READ, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_splice(bare->file, NULL, end[1], NULL, 1, 0), -EINVAL);
	drop(&end[0]);
	assert_int_equal(usp_splice(bare->file, NULL, end[1], NULL, 1, 0), -EPIPE);
	close_pipe(end);
	mock_close(bare);
}

static void a_full_or_broken_pipe_comes_before_the_end_of_the_source(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];

	(void)state;
	source->size = 0;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1, 0), 0);
	put_bytes(end[1], 0, 1);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1, 0), -EAGAIN);
	drop(&end[0]);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1, 0), -EPIPE);
	assert_int_equal(source->nr_calls, 1);
	close_pipe(end);
	mock_close(source);
}

/* --- Nonblocking (3.2) -------------------------------------------------------------------------------------- */

static void a_pipe_does_not_block_if_the_call_or_its_end_says_so(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0);
	assert_int_equal(usp_splice(end[0], NULL, file->file, NULL, 1, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_file_set_flags(end[0], USP_NONBLOCK), 0);
	assert_int_equal(usp_splice(end[0], NULL, file->file, NULL, 1, 0), -EAGAIN);
	put_bytes(end[1], 0, PAGE);
	assert_int_equal(usp_splice(file->file, NULL, end[1], NULL, 1, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_file_set_flags(end[1], USP_NONBLOCK), 0);
	assert_int_equal(usp_splice(file->file, NULL, end[1], NULL, 1, 0), -EAGAIN);
	close_pipe(end);
	mock_close(file);
}

static void between_two_pipes_either_end_makes_it_nonblocking(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		open_pipe(a, 1, i ? USP_NONBLOCK : 0);
		open_pipe(b, 1, i ? 0 : USP_NONBLOCK);
		assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 1, 0), -EAGAIN);
		assert_int_equal(usp_tee(a[0], b[1], 1, 0), -EAGAIN);
		close_pipe(a);
		close_pipe(b);
	}
}

/* A source that says EAGAIN once, over a descriptor that is ready: whoever waits for it goes on at once. */
static struct mock *open_hesitant(unsigned traits)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, traits);

	source->file->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(source->file->fd >= 0);
	SCRIPT(source, -EAGAIN);
	return source;
}

static void close_hesitant(struct mock *source)
{
	close(source->file->fd);
	mock_close(source);
}

static void a_nonblocking_call_waits_for_no_source_but_a_socket(void **state)
{
	static const struct {
		unsigned traits, flags;
		ssize_t ret;
	} cases[] = {{0, 0, 10},
		     {0, USP_SPLICE_NONBLOCK, -EAGAIN},
		     {USP_FILE_SOCKET, 0, 10},
		     {USP_FILE_SOCKET, USP_SPLICE_NONBLOCK, 10}};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct mock *source = open_hesitant(cases[i].traits);

		assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 10, cases[i].flags), cases[i].ret);
		assert_int_equal(source->nr_calls, cases[i].ret > 0 ? 2 : 1);
		close_hesitant(source);
	}
	close_pipe(end);
}

static void a_nonblocking_source_is_not_waited_for(void **state)
{
	static const unsigned traits[] = {0, USP_FILE_SOCKET};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, 0);
	for (size_t i = 0; i < ARRAY_LEN(traits); i++) {
		struct mock *source = open_hesitant(traits[i]);

		assert_int_equal(usp_file_set_flags(source->file, USP_NONBLOCK), 0);
		assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 10, 0), -EAGAIN);
		close_hesitant(source);
	}
	close_pipe(end);
}

static void the_side_that_blocks_can_be_asked_for(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	assert_int_equal(usp_blocked_side(a[0], b[1]), USP_READ);
	put_bytes(b[1], 0, 1);
	assert_int_equal(usp_blocked_side(a[0], b[1]), USP_READ | USP_WRITE);
	put_bytes(a[1], 0, 1);
	assert_int_equal(usp_blocked_side(a[0], b[1]), USP_WRITE);
	take_bytes(b[0], 0, 1);
	assert_int_equal(usp_blocked_side(a[0], b[1]), 0);
	take_bytes(a[0], 0, 1);
	drop(&a[1]); /* the end of input and a broken pipe do not block anybody */
	drop(&b[0]);
	assert_int_equal(usp_blocked_side(a[0], b[1]), 0);
	close_pipe(a);
	close_pipe(b);
}

/* --- Positions --------------------------------------------------------------------------------------------- */

static void with_an_offset_the_files_position_is_neither_used_nor_moved(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];
	int64_t off = 500;

	(void)state;
	file->file->pos = 7;
	open_pipe(end, 2, USP_NONBLOCK);
	assert_int_equal(usp_splice(file->file, &off, end[1], NULL, 100, 0), 100);
	assert_int_equal(off, 600);
	assert_int_equal(usp_splice(end[0], NULL, file->file, &off, 60, 0), 60);
	assert_int_equal(off, 660);
	assert_int_equal(file->file->pos, 7);
	assert_pattern(file->bytes + 600, 500, 60);
	take_bytes(end[0], 560, 40);
	close_pipe(end);
	mock_close(file);
}

static void without_an_offset_the_files_position_moves_by_what_moved(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	file->file->pos = 500;
	open_pipe(end, 2, USP_NONBLOCK);
	assert_int_equal(usp_splice(file->file, NULL, end[1], NULL, 100, 0), 100);
	assert_int_equal(file->file->pos, 600);
	assert_int_equal(usp_splice(end[0], NULL, file->file, NULL, 60, 0), 60);
	assert_int_equal(file->file->pos, 660);
	close_pipe(end);
	mock_close(file);
}

static void an_error_leaves_positions_and_the_pipe_alone(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];
	int64_t off = 500;

	(void)state;
	file->file->pos = 7;
	open_pipe(end, 2, USP_NONBLOCK);
	SCRIPT(file, -EIO, -EIO, -ENOSPC, -ENOSPC);
	assert_int_equal(usp_splice(file->file, &off, end[1], NULL, 100, 0), -EIO);
	assert_int_equal(usp_splice(file->file, NULL, end[1], NULL, 100, 0), -EIO);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, file->file, &off, 10, 0), -ENOSPC);
	assert_int_equal(usp_splice(end[0], NULL, file->file, NULL, 10, 0), -ENOSPC);
	assert_int_equal(off, 500);
	assert_int_equal(file->file->pos, 7);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	mock_close(file);
}

static void a_stream_keeps_position_zero(void **state)
{
	struct mock *stream = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	assert_int_equal(usp_splice(stream->file, NULL, end[1], NULL, 100, 0), 100);
	assert_int_equal(usp_splice(end[0], NULL, stream->file, NULL, 100, 0), 100);
	assert_int_equal(stream->file->pos, 0);
	assert_pattern(stream->bytes, 0, 100);
	close_pipe(end);
	mock_close(stream);
}

/* --- Amounts ------------------------------------------------------------------------------------------------ */

static void a_splice_into_a_pipe_moves_at_most_what_has_room(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 1);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1 << 20, 0), 3 * PAGE);
	assert_int_equal(source->nr_calls, 1);
	assert_int_equal(source->asked[0], 3 * PAGE);
	assert_int_equal(source->taken, 3 * PAGE);
	take_bytes(end[0], 0, 1);
	take_bytes(end[0], 0, 3 * PAGE);
	close_pipe(end);
	mock_close(source);
}

static void a_splice_into_a_pipe_returns_after_one_pass_of_the_source(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, 0);
	SCRIPT(source, 10, 20);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1000, 0), 10);
	assert_int_equal(source->nr_calls, 1);
	close_pipe(end);
	mock_close(source);
}

static void a_splice_out_of_a_pipe_returns_when_it_runs_empty(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, 0); /* blocking, and there is a writer: it must not wait for more */
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 1000, 0), 10);
	assert_pattern(sink->bytes, 0, 10);
	close_pipe(end);
	mock_close(sink);
}

static void a_splice_out_of_a_pipe_takes_no_more_than_it_is_told(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 2 * PAGE + 10);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, PAGE + 1, 0), PAGE + 1);
	assert_int_equal(sink->len, PAGE + 1);
	take_bytes(end[0], PAGE + 1, PAGE + 9);
	close_pipe(end);
	mock_close(sink);
}

static void the_end_of_input_is_zero_in_every_direction(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *a[2], *b[2];

	(void)state;
	file->size = 0;
	open_pipe(a, 1, 0);
	open_pipe(b, 1, 0);
	assert_int_equal(usp_splice(file->file, NULL, a[1], NULL, 1, 0), 0);
	drop(&a[1]);
	assert_int_equal(usp_splice(a[0], NULL, file->file, NULL, 1, 0), 0);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 1, 0), 0);
	close_pipe(a);
	close_pipe(b);
	mock_close(file);
}

static void a_sink_that_fails_leaves_everything_in_the_pipe(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 2 * PAGE);
	SCRIPT(sink, -EPERM);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 2 * PAGE, 0), -EPERM);
	assert_int_equal(usp_pipe_bytes(end[0]), 2 * PAGE);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 2 * PAGE, 0), 2 * PAGE);
	assert_pattern(sink->bytes, 0, 2 * PAGE);
	close_pipe(end);
	mock_close(sink);
}

static void progress_beats_the_error_that_comes_after_it(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 2 * PAGE);
	SCRIPT(sink, 100, 5000, -ENOSPC, -ENOSPC);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 2 * PAGE, 0), 5100);
	assert_int_equal(sink->file->pos, 5100);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 2 * PAGE, 0), -ENOSPC);
	assert_int_equal(sink->file->pos, 5100);
	assert_pattern(sink->bytes, 0, 5100);
	take_bytes(end[0], 5100, 2 * PAGE - 5100);
	close_pipe(end);
	mock_close(sink);
}

static void a_source_that_blocks_is_eagain_and_nothing_moved(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	atomic_store(usp_u32(&source->file->flags), USP_NONBLOCK);
	open_pipe(end, 1, USP_NONBLOCK);
	SCRIPT(source, -EAGAIN);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 10, 0), -EAGAIN);
	assert_int_equal(source->file->pos, 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 10, 0), 10);
	close_pipe(end);
	mock_close(source);
}

/* --- Hooks that break their contract (C17) --------------------------------------------------------------------- */

static void a_read_iter_that_claims_too_much_is_caught(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);
	struct usp_file *end[2];
	unsigned char bytes[8];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	SCRIPT(source, MOCK_TOO_MUCH, MOCK_TOO_MUCH);
	assert_int_equal(usp_read(source->file, bytes, sizeof(bytes)), -EIO);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 10, 0), -EIO);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(source->file->pos, 0);
	close_pipe(end);
	mock_close(source);
}

static void a_write_iter_that_claims_too_much_is_caught(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	SCRIPT(sink, MOCK_TOO_MUCH, MOCK_TOO_MUCH);
	assert_int_equal(usp_write(sink->file, "12345678", 8), -EIO);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 10, 0), -EIO);
	assert_int_equal(sink->file->pos, 0);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	mock_close(sink);
}

static void splice_hooks_that_claim_too_much_are_caught(void **state)
{
	struct mock *raw = mock_open(&mock_raw_ops, USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	SCRIPT(raw, MOCK_TOO_MUCH, MOCK_TOO_MUCH);
	assert_int_equal(usp_splice(raw->file, NULL, end[1], NULL, 10, 0), -EIO);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, raw->file, NULL, 10, 0), -EIO);
	assert_int_equal(raw->file->pos, 0);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	mock_close(raw);
}

static void a_splice_read_that_claims_bytes_it_did_not_push_is_caught(void **state)
{
	struct mock *raw = mock_open(&mock_raw_ops, USP_READ, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	SCRIPT(raw, 5);
	assert_int_equal(usp_splice(raw->file, NULL, end[1], NULL, 10, 0), -EIO);
	assert_int_equal(raw->file->pos, 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	close_pipe(end);
	mock_close(raw);
}

/* --- Between two pipes ------------------------------------------------------------------------------------------ */

static void bufs_move_in_order_until_the_other_pipe_is_full(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	put_bytes(a[1], 0, 2 * PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, SIZE_MAX, 0), PAGE);
	take_bytes(b[0], 0, PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, SIZE_MAX, 0), PAGE);
	take_bytes(b[0], PAGE, PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, SIZE_MAX, 0), -EAGAIN);
	close_pipe(a);
	close_pipe(b);
}

static void the_input_at_its_end_does_not_hide_a_full_or_broken_output(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	put_bytes(b[1], 0, PAGE);
	drop(&a[1]);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 1, 0), -EAGAIN);
	assert_int_equal(usp_tee(a[0], b[1], 1, 0), -EAGAIN);
	take_bytes(b[0], 0, PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 1, 0), 0);
	drop(&b[0]);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 1, 0), -EPIPE);
	assert_int_equal(usp_tee(a[0], b[1], 1, 0), -EPIPE);
	close_pipe(a);
	close_pipe(b);
}

static void an_empty_input_is_looked_at_before_a_broken_output(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	drop(&b[0]);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 1, 0), -EAGAIN);
	assert_int_equal(usp_tee(a[0], b[1], 1, 0), -EAGAIN);
	close_pipe(a);
	close_pipe(b);
}

static void a_broken_output_loses_nothing_of_the_input(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	put_bytes(a[1], 0, 10);
	drop(&b[0]);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), -EPIPE);
	take_bytes(a[0], 0, 10);
	close_pipe(a);
	close_pipe(b);
}

static void a_write_merges_into_a_page_that_moved_whole_and_not_into_a_part(void **state)
{
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 10);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), 10);
	put_bytes(b[1], 10, 10);
	assert_int_equal(nr_bufs_in(b[0]), 1);
	take_bytes(b[0], 0, 20);

	put_bytes(a[1], 0, 10);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 6, 0), 6);
	put_bytes(b[1], 6, 10);
	assert_int_equal(nr_bufs_in(b[0]), 2);
	put_bytes(a[1], 10, 10); /* the rest in the source may still grow, behind both ranges */
	assert_int_equal(nr_bufs_in(a[0]), 1);
	take_bytes(a[0], 6, 14);
	take_bytes(b[0], 0, 16);
	close_pipe(a);
	close_pipe(b);
}

static void a_packet_stays_a_packet_in_another_pipe(void **state)
{
	struct usp_file *a[2], *b[2];
	unsigned char bytes[100];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK | USP_PACKET);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 3);
	put_bytes(a[1], 3, 4);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 100, 0), 7);
	assert_int_equal(usp_read(b[0], bytes, sizeof(bytes)), 3);
	assert_int_equal(usp_read(b[0], bytes, sizeof(bytes)), 4);
	close_pipe(a);
	close_pipe(b);
}

static void a_large_buf_is_cut_to_the_slots_of_the_other_pipe(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 2, .slot_bytes = 65536, .flags = USP_NONBLOCK};
	struct usp_file *a[2], *b[2];

	(void)state;
	assert_int_equal(usp_pipe_open(&params, a), 0);
	open_pipe(b, 2, USP_NONBLOCK);
	put_bytes(a[1], 0, 10000);
	assert_int_equal(nr_bufs_in(a[0]), 1);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10000, 0), 2 * PAGE);
	assert_int_equal(nr_bufs_in(b[0]), 2);
	take_bytes(b[0], 0, 2 * PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10000, 0), 10000 - 2 * PAGE);
	take_bytes(b[0], 2 * PAGE, 10000 - 2 * PAGE);
	close_pipe(a);
	close_pipe(b);
}

static void what_moves_respects_the_limit_in_bytes_of_the_other_pipe(void **state)
{
	const struct usp_pipe_params limited = {
		.size = sizeof(limited), .slot_bytes = PAGE, .max_bytes = PAGE + 100, .flags = USP_NONBLOCK};
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 4, USP_NONBLOCK);
	assert_int_equal(usp_pipe_open(&limited, b), 0);
	put_bytes(a[1], 0, 3 * PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 3 * PAGE, 0), PAGE + 100);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 3 * PAGE, 0), -EAGAIN);
	assert_int_equal(usp_pipe_bytes(a[0]), 2 * PAGE - 100);
	take_bytes(b[0], 0, PAGE + 100);
	close_pipe(a);
	close_pipe(b);
}

static void an_output_that_breaks_while_a_splice_waits_for_room_ends_it_with_epipe(void **state)
{
	struct usp_file *a[2], *b[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(a, 1, 0);
	open_pipe(b, 1, 0);
	put_bytes(a[1], 0, 10);
	put_bytes(b[1], 0, PAGE);
	call = (struct call){.in = a[0], .out = b[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	drop(&b[0]);
	assert_int_equal(worker_join(&worker), -EPIPE);
	take_bytes(a[0], 0, 10);
	close_pipe(a);
	close_pipe(b);
}

static void a_writer_that_leaves_ends_a_splice_that_waits_for_data_with_zero(void **state)
{
	struct usp_file *a[2], *b[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(a, 1, 0);
	open_pipe(b, 1, 0);
	call = (struct call){.in = a[0], .out = b[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	drop(&a[1]);
	assert_int_equal(worker_join(&worker), 0);
	close_pipe(a);
	close_pipe(b);
}

int main(void)
{
	const struct CMUnitTest checks[] = {
		CASE(nothing_to_move_is_zero_before_anything_is_looked_at),
		CASE(unknown_flags_come_before_the_offset_of_a_pipe),
		CASE(the_offset_of_a_pipe_comes_before_the_wrong_direction),
		CASE(the_wrong_direction_comes_before_the_same_pipe_and_no_pipe),
		CASE(a_pipe_is_not_spliced_into_itself),
		CASE(one_of_the_two_must_be_a_pipe),
		CASE(an_offset_needs_a_file_with_positions),
		CASE(an_append_file_is_no_sink_and_may_be_a_source),
		CASE(an_area_outside_the_positions_is_einval),
		CASE(a_sink_without_a_hook_is_einval_even_on_an_empty_pipe),
		CASE(a_broken_pipe_comes_before_a_source_without_a_hook),
		CASE(a_full_or_broken_pipe_comes_before_the_end_of_the_source),
	};
	const struct CMUnitTest nonblocking[] = {
		CASE(a_pipe_does_not_block_if_the_call_or_its_end_says_so),
		CASE(between_two_pipes_either_end_makes_it_nonblocking),
		CASE(a_nonblocking_call_waits_for_no_source_but_a_socket),
		CASE(a_nonblocking_source_is_not_waited_for),
		CASE(the_side_that_blocks_can_be_asked_for),
	};
	const struct CMUnitTest positions[] = {
		CASE(with_an_offset_the_files_position_is_neither_used_nor_moved),
		CASE(without_an_offset_the_files_position_moves_by_what_moved),
		CASE(an_error_leaves_positions_and_the_pipe_alone),
		CASE(a_stream_keeps_position_zero),
	};
	const struct CMUnitTest amounts[] = {
		CASE(a_splice_into_a_pipe_moves_at_most_what_has_room),
		CASE(a_splice_into_a_pipe_returns_after_one_pass_of_the_source),
		CASE(a_splice_out_of_a_pipe_returns_when_it_runs_empty),
		CASE(a_splice_out_of_a_pipe_takes_no_more_than_it_is_told),
		CASE(the_end_of_input_is_zero_in_every_direction),
		CASE(a_sink_that_fails_leaves_everything_in_the_pipe),
		CASE(progress_beats_the_error_that_comes_after_it),
		CASE(a_source_that_blocks_is_eagain_and_nothing_moved),
	};
	const struct CMUnitTest contract[] = {
		CASE(a_read_iter_that_claims_too_much_is_caught),
		CASE(a_write_iter_that_claims_too_much_is_caught),
		CASE(splice_hooks_that_claim_too_much_are_caught),
		CASE(a_splice_read_that_claims_bytes_it_did_not_push_is_caught),
	};
	const struct CMUnitTest pipes[] = {
		CASE(bufs_move_in_order_until_the_other_pipe_is_full),
		CASE(the_input_at_its_end_does_not_hide_a_full_or_broken_output),
		CASE(an_empty_input_is_looked_at_before_a_broken_output),
		CASE(a_broken_output_loses_nothing_of_the_input),
		CASE(a_write_merges_into_a_page_that_moved_whole_and_not_into_a_part),
		CASE(a_packet_stays_a_packet_in_another_pipe),
		CASE(a_large_buf_is_cut_to_the_slots_of_the_other_pipe),
		CASE(what_moves_respects_the_limit_in_bytes_of_the_other_pipe),
		CASE(an_output_that_breaks_while_a_splice_waits_for_room_ends_it_with_epipe),
		CASE(a_writer_that_leaves_ends_a_splice_that_waits_for_data_with_zero),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("splice: order of checks", checks, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("splice: nonblocking", nonblocking, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("splice: positions", positions, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("splice: amounts", amounts, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("splice: hooks that break their contract", contract, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("splice: pipe to pipe", pipes, NULL, NULL);
	return nr_failed != 0;
}
