/* SPDX-License-Identifier: MIT */
/* test_pipe - the ring: capacity (R1-R8), writing (R9-R18), reading (R19-R26), readiness (R30-R32), ends (R33-R37). */
#include "support.h"

#include <unistd.h>

/* --- Capacity --------------------------------------------------------------------------------------- */

static void a_pipe_has_sixteen_slots_of_64_kib_by_default(void **state)
{
	struct usp_file *end[2];

	(void)state;
	assert_int_equal(usp_pipe_open(NULL, end), 0);
	assert_int_equal(usp_pipe_capacity(end[0]), 16 * 65536);
	assert_int_equal(usp_pipe_capacity(end[1]), 16 * 65536);
	close_pipe(end);
}

static void the_number_of_slots_is_rounded_up_to_a_power_of_two(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 5, 0);
	assert_int_equal(usp_pipe_capacity(end[0]), 8 * PAGE);
	close_pipe(end);
}

static void a_size_that_no_pipe_can_have_makes_no_pipe(void **state)
{
	static const struct usp_pipe_params cases[] = {
		{.nr_slots = (1u << 20) + 1},
		{.nr_slots = SIZE_MAX},
		{.slot_bytes = PAGE - 1},
	};
	struct usp_file *end[2] = {NULL, NULL};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(usp_pipe_open(&cases[i], end), -EINVAL);
	assert_null(end[0]);
	assert_null(end[1]);
}

static void an_unknown_flag_makes_no_pipe(void **state)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .flags = 0x80};
	struct usp_file *end[2] = {NULL, NULL};

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), -EINVAL);
	assert_null(end[0]);
	assert_null(end[1]);
}

static void the_flags_of_a_new_pipe_land_where_the_kernel_puts_them(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK | USP_PACKET);
	assert_int_equal(usp_file_flags(end[0]), USP_NONBLOCK);
	assert_int_equal(usp_file_flags(end[1]), USP_NONBLOCK | USP_PACKET);
	close_pipe(end);
}

static void a_resize_rounds_up_and_returns_the_capacity(void **state)
{
	static const struct {
		size_t len;
		ssize_t capacity;
	} cases[] = {{0, 4096},
		     {1, 4096},
		     {4096, 4096},
		     {4097, 8192},
		     {65536, 65536},
		     {65537, 131072},
		     {3 * 65536, 262144},
		     {SIZE_MAX, -EINVAL},
		     {3u << 30, -EINVAL},
		     {1u << 31, 1u << 31},
		     {(1u << 31) + 1, -EINVAL}};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ssize_t before = usp_pipe_capacity(end[0]);
		ssize_t after = cases[i].capacity < 0 ? before : cases[i].capacity;

		assert_int_equal(usp_pipe_resize(end[i % 2], cases[i].len), cases[i].capacity);
		assert_int_equal(usp_pipe_capacity(end[1]), after);
	}
	close_pipe(end);
}

static void only_a_pipe_has_a_capacity(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);

	(void)state;
	assert_int_equal(usp_pipe_resize(mock->file, PAGE), -EBADF);
	assert_int_equal(usp_pipe_capacity(mock->file), -EBADF);
	assert_int_equal(usp_pipe_bytes(mock->file), -EBADF);
	mock_close(mock);
}

static void a_resize_counts_slots_and_not_bytes(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, USP_NONBLOCK | USP_PACKET);
	for (unsigned i = 0; i < 16; i++)
		put_bytes(end[1], i, 1);
	assert_int_equal(usp_pipe_resize(end[1], 8 * PAGE), -EBUSY);
	assert_int_equal(usp_pipe_capacity(end[1]), 16 * PAGE);
	for (unsigned i = 0; i < 8; i++)
		take_bytes(end[0], i, 1);
	assert_int_equal(usp_pipe_resize(end[1], 8 * PAGE), 8 * PAGE);
	assert_int_equal(usp_pipe_resize(end[1], 4 * PAGE), -EBUSY);
	close_pipe(end);
}

static void a_resize_keeps_the_bufs_in_order(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 3 * PAGE);
	take_bytes(end[0], 0, 2 * PAGE);
	put_bytes(end[1], 3 * PAGE, 2 * PAGE + 10); /* now the ring wraps around */
	assert_int_equal(usp_pipe_resize(end[0], 16 * PAGE), 16 * PAGE);
	assert_int_equal(usp_pipe_bytes(end[0]), 3 * PAGE + 10);
	put_bytes(end[1], 5 * PAGE + 10, 20); /* and the newest buf can still be appended to */
	assert_int_equal(nr_bufs_in(end[0]), 4);
	assert_int_equal(usp_pipe_resize(end[0], 4 * PAGE), 4 * PAGE);
	take_bytes(end[0], 2 * PAGE, 3 * PAGE + 30);
	close_pipe(end);
}

static void a_resize_keeps_packets_apart(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[16];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK | USP_PACKET);
	put_bytes(end[1], 0, 3);
	put_bytes(end[1], 3, 4);
	assert_int_equal(usp_pipe_resize(end[1], 2 * PAGE), 2 * PAGE);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 3);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 4);
	close_pipe(end);
}

static void growing_a_full_pipe_wakes_a_blocked_write(void **state)
{
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, 0);
	put_bytes(end[1], 0, PAGE);
	call = (struct call){.out = end[1], .base = (char[10]){0}, .len = 10};
	worker_start(&worker, call_write, &call);
	worker_await_sleep(&worker);
	assert_int_equal(usp_pipe_resize(end[0], 2 * PAGE), 2 * PAGE);
	assert_int_equal(worker_join(&worker), 10);
	close_pipe(end);
}

static void growing_a_full_pipe_wakes_a_blocked_splice(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, 0);
	put_bytes(end[1], 0, PAGE);
	call = (struct call){.in = source->file, .out = end[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_int_equal(usp_pipe_resize(end[1], 2 * PAGE), 2 * PAGE);
	assert_int_equal(worker_join(&worker), 10);
	close_pipe(end);
	mock_close(source);
}

static void a_limit_in_bytes_holds_whatever_the_slots_allow(void **state)
{
	const struct usp_pipe_params params = {.size = sizeof(params),
					       .nr_slots = 16,
					       .slot_bytes = PAGE,
					       .max_bytes = 2 * PAGE,
					       .flags = USP_NONBLOCK};
	unsigned char bytes[4 * PAGE];
	struct usp_file *end[2];

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), 0);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(usp_write(end[1], bytes, sizeof(bytes)), 2 * PAGE);
	assert_int_equal(usp_write(end[1], bytes, 1), -EAGAIN);
	assert_int_equal(usp_file_poll(end[1]), 0);
	take_bytes(end[0], 0, 2 * PAGE);
	assert_int_equal(usp_file_poll(end[1]), POLLOUT);
	close_pipe(end);
}

static void a_merge_respects_the_limit_in_bytes(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = PAGE, .max_bytes = 100, .flags = USP_NONBLOCK};
	unsigned char bytes[60];
	struct usp_file *end[2];

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), 0);
	put_bytes(end[1], 0, 60);
	pattern_fill(bytes, 60, sizeof(bytes));
	assert_int_equal(usp_write(end[1], bytes, sizeof(bytes)), 40); /* a part, as there are slots */
	assert_int_equal(usp_pipe_bytes(end[0]), 100);
	take_bytes(end[0], 0, 100);
	close_pipe(end);
}

static void bytes_that_leave_wake_a_write_that_waits_for_bytes(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = PAGE, .max_bytes = 100};
	unsigned char bytes[10];
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), 0);
	put_bytes(end[1], 0, 100);
	pattern_fill(bytes, 100, sizeof(bytes));
	call = (struct call){.out = end[1], .base = bytes, .len = sizeof(bytes)};
	worker_start(&worker, call_write, &call);
	worker_await_sleep(&worker);
	take_bytes(end[0], 0, 50); /* the slot stays in use */
	assert_int_equal(worker_join(&worker), 10);
	take_bytes(end[0], 50, 60);
	close_pipe(end);
}

static void bytes_that_splice_away_wake_a_write_that_waits_for_bytes(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = PAGE, .max_bytes = 100};
	unsigned char bytes[10];
	struct usp_file *end[2], *other[2];
	struct call call;
	struct worker worker;

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), 0);
	open_pipe(other, 1, 0);
	put_bytes(end[1], 0, 100);
	call = (struct call){.out = end[1], .base = bytes, .len = sizeof(bytes)};
	worker_start(&worker, call_write, &call);
	worker_await_sleep(&worker);
	assert_int_equal(usp_splice(end[0], NULL, other[1], NULL, 50, 0), 50);
	assert_int_equal(worker_join(&worker), 10);
	close_pipe(end);
	close_pipe(other);
}

/* --- Writing ---------------------------------------------------------------------------------------- */

static void a_write_of_nothing_is_zero_even_without_readers(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0);
	drop(&end[0]);
	assert_int_equal(usp_write(end[1], "", 0), 0);
	close_pipe(end);
}

static void a_write_without_readers_is_epipe_and_no_signal(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0); /* SIGPIPE has its default action here: one would end the program */
	drop(&end[0]);
	assert_int_equal(usp_write(end[1], "x", 1), -EPIPE);
	close_pipe(end);
}

static void the_odd_bytes_of_a_write_merge_into_the_newest_buf(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 100);
	put_bytes(end[1], 100, 3996 + PAGE); /* 8092: 3996 complete the page, the rest is a page */
	assert_int_equal(nr_bufs_in(end[0]), 2);
	take_bytes(end[0], 0, 2 * PAGE);
	close_pipe(end);
}

static void odd_bytes_that_do_not_fit_merge_nothing(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[3997 + PAGE] = {0};

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 100);
	assert_int_equal(usp_write(end[1], bytes, sizeof(bytes)), PAGE);
	assert_int_equal(usp_pipe_bytes(end[0]), 100 + PAGE);
	close_pipe(end);
}

static void a_write_of_whole_pages_never_merges(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[PAGE] = {0};

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 1);
	assert_int_equal(usp_write(end[1], bytes, PAGE), PAGE);
	assert_int_equal(nr_bufs_in(end[0]), 2);
	assert_int_equal(usp_write(end[1], bytes, PAGE), -EAGAIN);
	close_pipe(end);
}

static void a_write_that_fills_no_page_merges_into_the_newest_buf(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	for (unsigned i = 0; i < PAGE; i += 64)
		put_bytes(end[1], i, 64);
	assert_int_equal(nr_bufs_in(end[0]), 1);
	assert_int_equal(usp_write(end[1], "x", 1), -EAGAIN);
	take_bytes(end[0], 0, PAGE);
	close_pipe(end);
}

static void room_that_reads_made_at_the_front_of_a_buf_is_not_reclaimed(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[97] = {0};

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, 4000);
	take_bytes(end[0], 0, 3999);
	assert_int_equal(usp_write(end[1], bytes, 97), -EAGAIN);
	assert_int_equal(usp_write(end[1], bytes, 96), 96);
	close_pipe(end);
}

static void each_packet_takes_a_slot_of_its_own(void **state)
{
	struct usp_buf bufs[4];
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK | USP_PACKET);
	put_bytes(end[1], 0, 2);
	put_bytes(end[1], 2, 2);
	assert_int_equal(peek_bufs(end[0], bufs, 4), 2);
	assert_int_equal(bufs[0].flags & (USP_BUF_PACKET | USP_BUF_CAN_MERGE), USP_BUF_PACKET);
	close_pipe(end);
}

/* The memory of a small write is that of a whole slot, in which the next ones have room. */
static void small_writes_fill_large_slots_to_their_ends(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 2, .slot_bytes = 16 * PAGE, .flags = USP_NONBLOCK};
	struct usp_file *end[2];
	uint64_t off = 0;

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), 0);
	for (; off < 2 * 16 * PAGE; off += 128)
		put_bytes(end[1], off, 128);
	assert_int_equal(usp_write(end[1], "x", 1), -EAGAIN);
	take_bytes(end[0], 0, off);
	close_pipe(end);
}

static void a_stream_buf_can_be_merged_into_and_is_no_packet(void **state)
{
	struct usp_buf buf;
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, 2);
	assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
	assert_ptr_equal(buf.ops, &usp_anon_buf_ops);
	assert_int_equal(buf.flags, USP_BUF_CAN_MERGE);
	close_pipe(end);
}

static void packet_mode_begins_with_the_next_slot_that_is_opened(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 2);
	assert_int_equal(usp_file_set_flags(end[1], USP_NONBLOCK | USP_PACKET), 0);
	put_bytes(end[1], 2, 2);
	put_bytes(end[1], 4, 2);
	assert_int_equal(nr_bufs_in(end[0]), 1);
	take_bytes(end[0], 0, 6);
	put_bytes(end[1], 6, 2);
	put_bytes(end[1], 8, 2);
	assert_int_equal(nr_bufs_in(end[0]), 2);
	close_pipe(end);
}

static void nothing_merges_into_a_buf_that_write_did_not_make(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 10, 0), 10);
	put_bytes(end[1], 10, 10);
	assert_int_equal(nr_bufs_in(end[0]), 2);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){(char[1]){pattern_at(20)}, 1}, 1, 0), 1);
	put_bytes(end[1], 21, 10);
	assert_int_equal(nr_bufs_in(end[0]), 4);
	take_bytes(end[0], 0, 31);
	close_pipe(end);
	mock_close(source);
}

static void up_to_a_page_is_written_whole_or_not_at_all(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[PAGE] = {0};

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, PAGE + 1);
	assert_int_equal(usp_write(end[1], bytes, PAGE - 1), PAGE - 1);
	assert_int_equal(usp_write(end[1], bytes, 1), -EAGAIN);
	close_pipe(end);

	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, PAGE + 2);
	assert_int_equal(usp_write(end[1], bytes, PAGE - 1), -EAGAIN);
	assert_int_equal(usp_pipe_bytes(end[1]), PAGE + 2);
	close_pipe(end);
}

static void a_nonblocking_write_puts_in_what_fits(void **state)
{
	struct usp_file *end[2];
	unsigned char *bytes = calloc(1, 1 << 20);

	(void)state;
	open_pipe(end, 16, USP_NONBLOCK);
	assert_int_equal(usp_write(end[1], bytes, 1 << 20), 65536);
	assert_int_equal(usp_write(end[1], bytes, 1 << 20), -EAGAIN);
	close_pipe(end);
	free(bytes);
}

static void a_gathering_write_is_one_write(void **state)
{
	unsigned char bytes[7000];
	const struct iovec iov[] = {{bytes, 1}, {bytes + 1, 0}, {bytes + 1, 5000}, {bytes + 5001, 1999}};
	struct usp_file *end[2];

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(end, 4, USP_NONBLOCK | USP_PACKET);
	assert_int_equal(usp_writev(end[1], iov, 4), 7000);
	assert_int_equal(nr_bufs_in(end[0]), 2); /* a packet of a page and one of the rest */
	take_bytes(end[0], 0, PAGE);
	take_bytes(end[0], PAGE, 7000 - PAGE);
	close_pipe(end);
}

static void a_blocked_write_goes_on_as_room_appears(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[3 * PAGE];
	struct call call;
	struct worker worker;

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(end, 1, 0);
	call = (struct call){.out = end[1], .base = bytes, .len = sizeof(bytes)};
	worker_start(&worker, call_write, &call);
	for (unsigned i = 0; i < 3; i++)
		take_bytes(end[0], i * PAGE, PAGE);
	assert_int_equal(worker_join(&worker), 3 * PAGE);
	close_pipe(end);
}

static void a_reader_that_leaves_ends_a_blocked_write_with_what_went_in(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[2 * PAGE] = {0};
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, 0);
	call = (struct call){.out = end[1], .base = bytes, .len = sizeof(bytes)};
	worker_start(&worker, call_write, &call);
	worker_await_sleep(&worker);
	drop(&end[0]);
	assert_int_equal(worker_join(&worker), PAGE);
	assert_int_equal(usp_write(end[1], bytes, 1), -EPIPE);
	close_pipe(end);
}

static void a_reader_that_leaves_ends_a_write_that_moved_nothing_with_epipe(void **state)
{
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, 0);
	put_bytes(end[1], 0, PAGE);
	call = (struct call){.out = end[1], .base = (char[1]){0}, .len = 1};
	worker_start(&worker, call_write, &call);
	worker_await_sleep(&worker);
	drop(&end[0]);
	assert_int_equal(worker_join(&worker), -EPIPE);
	close_pipe(end);
}

/* --- Reading ---------------------------------------------------------------------------------------- */

static void a_read_of_nothing_is_zero_even_from_an_empty_blocking_pipe(void **state)
{
	struct usp_file *end[2];
	unsigned char byte;

	(void)state;
	open_pipe(end, 1, 0);
	assert_int_equal(usp_read(end[0], &byte, 0), 0);
	close_pipe(end);
}

static void a_read_crosses_bufs_and_takes_what_there_is(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[4 * PAGE];

	(void)state;
	open_pipe(end, 4, 0); /* blocking: it must not wait once it has something */
	put_bytes(end[1], 0, 2 * PAGE + 10);
	take_bytes(end[0], 0, 10);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 2 * PAGE);
	assert_pattern(bytes, 10, 2 * PAGE);
	close_pipe(end);
}

static void a_scattering_read_fills_the_segments_in_order(void **state)
{
	unsigned char bytes[5000];
	const struct iovec iov[] = {{bytes, 3}, {bytes + 3, 0}, {bytes + 3, 4500}, {bytes + 4503, 497}};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 4800);
	assert_int_equal(usp_readv(end[0], iov, 4), 4800);
	assert_pattern(bytes, 0, 4800);
	close_pipe(end);
}

static void an_empty_pipe_is_eagain_with_writers_and_the_end_without(void **state)
{
	struct usp_file *end[2];
	unsigned char byte;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_read(end[0], &byte, 1), -EAGAIN);
	put_bytes(end[1], 0, 1);
	drop(&end[1]);
	take_bytes(end[0], 0, 1);
	assert_int_equal(usp_read(end[0], &byte, 1), 0);
	assert_int_equal(usp_read(end[0], &byte, 1), 0);
	close_pipe(end);
}

static void a_write_wakes_a_blocked_read(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[16];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, 0);
	call = (struct call){.in = end[0], .base = bytes, .len = sizeof(bytes)};
	worker_start(&worker, call_read, &call);
	worker_await_sleep(&worker);
	put_bytes(end[1], 0, 5);
	assert_int_equal(worker_join(&worker), 5);
	assert_pattern(bytes, 0, 5);
	close_pipe(end);
}

static void the_last_writer_leaving_wakes_a_blocked_read_with_the_end(void **state)
{
	struct usp_file *end[2];
	unsigned char byte;
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, 0);
	call = (struct call){.in = end[0], .base = &byte, .len = 1};
	worker_start(&worker, call_read, &call);
	worker_await_sleep(&worker);
	drop(&end[1]);
	assert_int_equal(worker_join(&worker), 0);
	close_pipe(end);
}

static void a_packet_ends_the_read_and_loses_what_was_not_taken(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[PAGE];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK | USP_PACKET);
	put_bytes(end[1], 0, 904);
	put_bytes(end[1], 904, 6);
	assert_int_equal(usp_read(end[0], bytes, 10), 10);
	assert_int_equal(usp_pipe_bytes(end[0]), 6);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 6);
	assert_pattern(bytes, 904, 6);
	assert_int_equal(usp_read(end[0], bytes, 1), -EAGAIN);
	close_pipe(end);
}

static void a_packet_larger_than_a_page_becomes_several(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[2 * PAGE];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK | USP_PACKET);
	put_bytes(end[1], 0, 5000);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), PAGE);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 904);
	close_pipe(end);
}

static void a_read_goes_from_a_stream_buf_into_a_packet_and_stops_behind_it(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[100];

	(void)state;
	open_pipe(end, 8, USP_NONBLOCK);
	inject(end[1], folio_buf(0, 3, 0));
	inject(end[1], folio_buf(3, 3, USP_BUF_PACKET));
	inject(end[1], folio_buf(6, 3, USP_BUF_PACKET));
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 6);
	assert_pattern(bytes, 0, 6);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 3);

	inject(end[1], folio_buf(0, 3, 0));
	inject(end[1], folio_buf(3, 6, USP_BUF_PACKET));
	assert_int_equal(usp_read(end[0], bytes, 5), 5);
	assert_int_equal(usp_read(end[0], bytes, 5), -EAGAIN);

	inject(end[1], folio_buf(0, 3, USP_BUF_PACKET));
	inject(end[1], folio_buf(3, 6, 0));
	assert_int_equal(usp_read(end[0], bytes, 100), 3);
	assert_int_equal(usp_read(end[0], bytes, 100), 6);
	close_pipe(end);
}

static void a_failed_confirm_is_the_result_only_if_nothing_was_read(void **state)
{
	struct mock_store store;
	struct usp_file *end[2];
	unsigned char bytes[100];

	(void)state;
	mock_store_init(&store);
	store.confirm_error = -ENODATA;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 20, 0));
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 10);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), -ENODATA); /* raw, unlike splice */
	store.confirm_error = -EIO;
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), -EIO);
	assert_int_equal(usp_pipe_bytes(end[0]), 20);
	store.confirm_error = 0;
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 20);
	assert_pattern(bytes, 0, 20);
	close_pipe(end);
	mock_store_fini(&store);
}

static void a_page_that_tee_shares_is_not_reused_by_the_next_write(void **state)
{
	struct usp_file *a[2], *b[2];
	unsigned char zeros[100] = {0};

	(void)state;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	put_bytes(a[1], 0, 100);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), 100);
	take_bytes(a[0], 0, 100);
	assert_int_equal(usp_write(a[1], zeros, sizeof(zeros)), 100);
	take_bytes(b[0], 0, 100);
	close_pipe(a);
	close_pipe(b);
}

/* --- Readiness -------------------------------------------------------------------------------------- */

static void poll_tells_the_state_of_both_ends(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_file_poll(end[0]), 0);
	assert_int_equal(usp_file_poll(end[1]), POLLOUT);
	put_bytes(end[1], 0, PAGE);
	assert_int_equal(usp_file_poll(end[0]), POLLIN);
	assert_int_equal(usp_file_poll(end[1]), 0);
	drop(&end[1]);
	assert_int_equal(usp_file_poll(end[0]), POLLIN | POLLHUP);
	take_bytes(end[0], 0, PAGE);
	assert_int_equal(usp_file_poll(end[0]), POLLHUP);
	close_pipe(end);
}

static void a_write_end_without_readers_is_in_error_and_ready_if_there_is_room(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	drop(&end[0]);
	assert_int_equal(usp_file_poll(end[1]), POLLOUT | POLLERR);
	close_pipe(end);

	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, PAGE);
	drop(&end[0]);
	assert_int_equal(usp_file_poll(end[1]), POLLERR);
	close_pipe(end);
}

static void readiness_counts_slots_while_a_write_may_still_merge(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_file_poll(end[1]), 0);
	put_bytes(end[1], 10, 10);
	take_bytes(end[0], 0, 19);
	assert_int_equal(usp_file_poll(end[1]), 0);
	take_bytes(end[0], 19, 1);
	assert_int_equal(usp_file_poll(end[1]), POLLOUT);
	close_pipe(end);
}

static bool is_readable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	assert_true(poll(&poll_fd, 1, 0) >= 0);
	return poll_fd.revents & POLLIN;
}

static void the_descriptor_to_poll_is_readable_exactly_while_the_end_is_ready(void **state)
{
	struct usp_file *end[2];
	short events;
	int fd[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	fd[0] = usp_file_poll_fd(end[0], USP_READ, &events);
	assert_true(fd[0] >= 0);
	assert_int_equal(events, POLLIN);
	fd[1] = usp_file_poll_fd(end[1], USP_WRITE, &events);
	assert_true(fd[1] >= 0);
	assert_int_equal(events, POLLIN);
	assert_false(is_readable(fd[0]));
	assert_true(is_readable(fd[1]));
	put_bytes(end[1], 0, 10);
	assert_true(is_readable(fd[0]));
	assert_false(is_readable(fd[1]));
	put_bytes(end[1], 10, 10);
	take_bytes(end[0], 0, 19);
	assert_true(is_readable(fd[0]));
	assert_false(is_readable(fd[1]));
	take_bytes(end[0], 19, 1);
	assert_false(is_readable(fd[0]));
	assert_true(is_readable(fd[1]));
	close_pipe(end);
}

static void the_descriptor_to_poll_tells_of_a_broken_and_of_an_ended_pipe(void **state)
{
	struct usp_file *end[2];
	short events;
	int fd;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	fd = usp_file_poll_fd(end[0], USP_READ, &events);
	assert_false(is_readable(fd));
	drop(&end[1]);
	assert_true(is_readable(fd));
	close_pipe(end);

	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, PAGE);
	fd = usp_file_poll_fd(end[1], USP_WRITE, &events);
	assert_false(is_readable(fd));
	drop(&end[0]);
	assert_true(is_readable(fd));
	close_pipe(end);
}

static void the_descriptor_to_poll_follows_resize_splice_and_tee(void **state)
{
	struct usp_file *a[2], *b[2];
	short events;
	int fd;

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	put_bytes(a[1], 0, 10);
	fd = usp_file_poll_fd(a[1], USP_WRITE, &events);
	assert_false(is_readable(fd));
	assert_int_equal(usp_pipe_resize(a[1], 2 * PAGE), 2 * PAGE);
	assert_true(is_readable(fd));
	assert_int_equal(usp_pipe_resize(a[1], PAGE), PAGE);
	assert_false(is_readable(fd));
	fd = usp_file_poll_fd(b[0], USP_READ, &events);
	assert_false(is_readable(fd));
	assert_int_equal(usp_tee(a[0], b[1], 10, 0), 10);
	assert_true(is_readable(fd));
	take_bytes(b[0], 0, 10);
	assert_false(is_readable(fd));
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), 10);
	assert_true(is_readable(fd));
	assert_true(is_readable(usp_file_poll_fd(a[1], USP_WRITE, &events)));
	close_pipe(a);
	close_pipe(b);
}

static void the_bytes_of_a_pipe_are_the_same_from_both_ends(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	put_bytes(end[1], 0, PAGE + 5);
	assert_int_equal(usp_pipe_bytes(end[0]), PAGE + 5);
	assert_int_equal(usp_pipe_bytes(end[1]), PAGE + 5);
	take_bytes(end[0], 0, 6);
	assert_int_equal(usp_pipe_bytes(end[1]), PAGE - 1);
	close_pipe(end);
}

/* --- Ends ------------------------------------------------------------------------------------------- */

static void an_end_stays_open_until_its_last_reference_is_gone(void **state)
{
	struct usp_file *end[2];
	struct usp_file *other;
	unsigned char byte;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	other = usp_file_get(end[1]);
	drop(&end[1]);
	assert_int_equal(usp_read(end[0], &byte, 1), -EAGAIN);
	put_bytes(other, 0, 1);
	usp_file_put(other);
	take_bytes(end[0], 0, 1);
	assert_int_equal(usp_read(end[0], &byte, 1), 0);
	close_pipe(end);
}

static void data_stays_in_the_pipe_until_both_ends_are_gone(void **state)
{
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 2, USP_NONBLOCK);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 5, 0));
	drop(&end[0]);
	assert_int_equal(usp_pipe_bytes(end[1]), 5);
	assert_int_equal(store.nr_release, 0);
	drop(&end[1]);
	mock_store_fini(&store);
}

static void a_pipe_has_no_position(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0);
	assert_int_equal(usp_file_seek(end[0], 0, SEEK_CUR), -ESPIPE);
	assert_int_equal(usp_file_seek(end[1], 0, SEEK_SET), -ESPIPE);
	close_pipe(end);
}

static void the_wrong_direction_is_ebadf(void **state)
{
	struct usp_file *end[2];
	unsigned char byte = 0;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_read(end[1], &byte, 1), -EBADF);
	assert_int_equal(usp_write(end[0], &byte, 1), -EBADF);
	close_pipe(end);
}

static void only_the_flags_of_a_pipe_can_be_set_on_an_end(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0);
	assert_int_equal(usp_file_set_flags(end[0], USP_NONBLOCK), 0);
	assert_int_equal(usp_file_flags(end[0]), USP_NONBLOCK);
	assert_int_equal(usp_file_flags(end[1]), 0);
	assert_int_equal(usp_file_set_flags(end[0], 0x80), -EINVAL);
	assert_int_equal(usp_file_set_flags(end[1], USP_DIRECT), -EINVAL);
	assert_int_equal(usp_file_flags(end[0]), USP_NONBLOCK);
	close_pipe(end);
}

int main(void)
{
	const struct CMUnitTest capacity[] = {
		CASE(a_pipe_has_sixteen_slots_of_64_kib_by_default),
		CASE(the_number_of_slots_is_rounded_up_to_a_power_of_two),
		CASE(a_size_that_no_pipe_can_have_makes_no_pipe),
		CASE(an_unknown_flag_makes_no_pipe),
		CASE(the_flags_of_a_new_pipe_land_where_the_kernel_puts_them),
		CASE(a_resize_rounds_up_and_returns_the_capacity),
		CASE(only_a_pipe_has_a_capacity),
		CASE(a_resize_counts_slots_and_not_bytes),
		CASE(a_resize_keeps_the_bufs_in_order),
		CASE(a_resize_keeps_packets_apart),
		CASE(growing_a_full_pipe_wakes_a_blocked_write),
		CASE(growing_a_full_pipe_wakes_a_blocked_splice),
		CASE(a_limit_in_bytes_holds_whatever_the_slots_allow),
		CASE(a_merge_respects_the_limit_in_bytes),
		CASE(bytes_that_leave_wake_a_write_that_waits_for_bytes),
		CASE(bytes_that_splice_away_wake_a_write_that_waits_for_bytes),
	};
	const struct CMUnitTest writing[] = {
		CASE(a_write_of_nothing_is_zero_even_without_readers),
		CASE(a_write_without_readers_is_epipe_and_no_signal),
		CASE(the_odd_bytes_of_a_write_merge_into_the_newest_buf),
		CASE(odd_bytes_that_do_not_fit_merge_nothing),
		CASE(a_write_of_whole_pages_never_merges),
		CASE(a_write_that_fills_no_page_merges_into_the_newest_buf),
		CASE(room_that_reads_made_at_the_front_of_a_buf_is_not_reclaimed),
		CASE(each_packet_takes_a_slot_of_its_own),
		CASE(small_writes_fill_large_slots_to_their_ends),
		CASE(a_stream_buf_can_be_merged_into_and_is_no_packet),
		CASE(packet_mode_begins_with_the_next_slot_that_is_opened),
		CASE(nothing_merges_into_a_buf_that_write_did_not_make),
		CASE(up_to_a_page_is_written_whole_or_not_at_all),
		CASE(a_nonblocking_write_puts_in_what_fits),
		CASE(a_gathering_write_is_one_write),
		CASE(a_blocked_write_goes_on_as_room_appears),
		CASE(a_reader_that_leaves_ends_a_blocked_write_with_what_went_in),
		CASE(a_reader_that_leaves_ends_a_write_that_moved_nothing_with_epipe),
	};
	const struct CMUnitTest reading[] = {
		CASE(a_read_of_nothing_is_zero_even_from_an_empty_blocking_pipe),
		CASE(a_read_crosses_bufs_and_takes_what_there_is),
		CASE(a_scattering_read_fills_the_segments_in_order),
		CASE(an_empty_pipe_is_eagain_with_writers_and_the_end_without),
		CASE(a_write_wakes_a_blocked_read),
		CASE(the_last_writer_leaving_wakes_a_blocked_read_with_the_end),
		CASE(a_packet_ends_the_read_and_loses_what_was_not_taken),
		CASE(a_packet_larger_than_a_page_becomes_several),
		CASE(a_read_goes_from_a_stream_buf_into_a_packet_and_stops_behind_it),
		CASE(a_failed_confirm_is_the_result_only_if_nothing_was_read),
		CASE(a_page_that_tee_shares_is_not_reused_by_the_next_write),
	};
	const struct CMUnitTest readiness[] = {
		CASE(poll_tells_the_state_of_both_ends),
		CASE(a_write_end_without_readers_is_in_error_and_ready_if_there_is_room),
		CASE(readiness_counts_slots_while_a_write_may_still_merge),
		CASE(the_descriptor_to_poll_is_readable_exactly_while_the_end_is_ready),
		CASE(the_descriptor_to_poll_tells_of_a_broken_and_of_an_ended_pipe),
		CASE(the_descriptor_to_poll_follows_resize_splice_and_tee),
		CASE(the_bytes_of_a_pipe_are_the_same_from_both_ends),
	};
	const struct CMUnitTest ends[] = {
		CASE(an_end_stays_open_until_its_last_reference_is_gone),
		CASE(data_stays_in_the_pipe_until_both_ends_are_gone),
		CASE(a_pipe_has_no_position),
		CASE(the_wrong_direction_is_ebadf),
		CASE(only_the_flags_of_a_pipe_can_be_set_on_an_end),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("pipe: capacity", capacity, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("pipe: writing", writing, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("pipe: reading", reading, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("pipe: readiness", readiness, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("pipe: ends", ends, NULL, NULL);
	return nr_failed != 0;
}
