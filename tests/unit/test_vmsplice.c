/* SPDX-License-Identifier: MIT */
/* test_vmsplice - the caller's memory into a pipe and out of it (V1-V7). Bad pointers fault, so there is no EFAULT here. */
#include "support.h"

static void unknown_flags_come_first(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_vmsplice(end[1], NULL, 0, 0x10), -EINVAL);
	assert_int_equal(usp_vmsplice(end[1], NULL, 2000, 0x10), -EINVAL);
	close_pipe(end);
}

static void too_many_segments_or_too_long_ones_come_before_no_pipe(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	const struct iovec huge = {.iov_base = NULL, .iov_len = SIZE_MAX},
			   byte = {.iov_base = (char[1]){0}, .iov_len = 1};
	struct iovec *many = calloc(1025, sizeof(*many));

	(void)state;
	assert_non_null(many);
	assert_int_equal(usp_vmsplice(file->file, many, 1025, 0), -EINVAL);
	assert_int_equal(usp_vmsplice(file->file, &huge, 1, 0), -EINVAL);
	assert_int_equal(usp_vmsplice(file->file, &byte, 1, 0), -EBADF);
	free(many);
	mock_close(file);
}

static void nothing_to_move_is_zero_even_on_a_file_that_is_no_pipe(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0);
	assert_int_equal(usp_vmsplice(file->file, NULL, 0, 0), 0);
	assert_int_equal(usp_vmsplice(file->file, &(struct iovec){NULL, 0}, 1, 0), 0);
	assert_int_equal(usp_vmsplice(end[0], &(struct iovec){NULL, 0}, 1, 0), 0);
	drop(&end[0]);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){NULL, 0}, 1, 0), 0);
	close_pipe(end);
	mock_close(file);
}

static void memory_without_gift_is_copied_and_may_change_at_once(void **state)
{
	struct usp_file *end[2];
	struct usp_hop hop = {.size = sizeof(hop)};
	unsigned char bytes[PAGE];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){bytes, sizeof(bytes)}, 1, 0), PAGE);
	memset(bytes, 0, sizeof(bytes));
	take_bytes(end[0], 0, PAGE);
	usp_file_hop(end[1], USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], PAGE);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 0);
	close_pipe(end);
}

static void gifted_memory_is_in_the_pipe_itself(void **state)
{
	struct usp_file *end[2];
	struct usp_buf buf;
	struct usp_hop hop = {.size = sizeof(hop)};
	_Alignas(512) unsigned char bytes[100]; /* in one page, which is one entry */

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){bytes + 1, 50}, 1, USP_SPLICE_GIFT),
			 50); /* unaligned: V4 */
	assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
	assert_ptr_equal(usp_buf_bytes(&buf), bytes + 1);
	assert_int_equal(buf.flags, USP_BUF_GIFT);
	take_bytes(end[0], 1, 50);
	usp_file_hop(end[1], USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 50);
	assert_int_equal(hop.bytes[USP_COPIED], 0);
	close_pipe(end);
}

static void neighbouring_segments_are_not_merged(void **state)
{
	_Alignas(512) unsigned char bytes[30]; /* in one page, which is one entry */
	const struct iovec iov[] = {{bytes, 10}, {bytes + 10, 0}, {bytes + 10, 10}, {bytes + 20, 10}};
	struct usp_file *end[2];

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	for (unsigned flags = 0; flags <= USP_SPLICE_GIFT; flags += USP_SPLICE_GIFT) {
		open_pipe(end, 4, USP_NONBLOCK);
		assert_int_equal(usp_vmsplice(end[1], iov, 4, flags), 30);
		assert_int_equal(nr_bufs_in(end[0]), 3);
		take_bytes(end[0], 0, 30);
		close_pipe(end);
	}
}

static void a_slot_takes_one_page_of_the_callers_memory(void **state)
{
	unsigned char *base = aligned_alloc(PAGE, 32 * PAGE);
	struct usp_file *end[2];

	(void)state;
	assert_non_null(base);
	pattern_fill(base, 0, 32 * PAGE);
	open_pipe(end, 16, USP_NONBLOCK);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){base, 32 * PAGE}, 1, USP_SPLICE_GIFT), 65536);
	take_bytes(end[0], 0, 65536);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){base + 1, 31 * PAGE}, 1, USP_SPLICE_GIFT), 65535);
	take_bytes(end[0], 1, 65535);
	close_pipe(end);
	free(base);
}

static void a_full_pipe_is_waited_for_once_and_then_the_count_is_short(void **state)
{
	unsigned char *base = aligned_alloc(PAGE, 4 * PAGE);
	struct usp_file *end[2];

	(void)state;
	assert_non_null(base);
	pattern_fill(base, 0, 4 * PAGE);
	open_pipe(end, 2, 0); /* blocking: it must not wait once something is in */
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){base, 4 * PAGE}, 1, 0), 2 * PAGE);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){base, PAGE}, 1, USP_SPLICE_NONBLOCK), -EAGAIN);
	close_pipe(end);
	free(base);
}

static ssize_t vmsplice_byte(void *arg)
{
	struct call *call = arg;

	return usp_vmsplice(call->out, &(struct iovec){call->base, call->len}, 1, 0);
}

static void the_nonblocking_flag_of_the_end_is_ignored(void **state)
{
	struct usp_file *end[2];
	unsigned char in = 0, out = 0;
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	put_bytes(end[1], 0, PAGE);
	call = (struct call){.out = end[1], .base = &in, .len = 1};
	worker_start(&worker, vmsplice_byte, &call);
	worker_await_sleep(&worker);
	take_bytes(end[0], 0, PAGE);
	assert_int_equal(worker_join(&worker), 1);

	assert_int_equal(usp_read(end[0], &out, 1), 1);
	call = (struct call){.out = end[0], .base = &out, .len = 1};
	worker_start(&worker, vmsplice_byte, &call);
	worker_await_sleep(&worker);
	put_bytes(end[1], 5, 1);
	assert_int_equal(worker_join(&worker), 1);
	assert_int_equal(out, pattern_at(5));
	close_pipe(end);
}

static void without_readers_it_is_epipe(void **state)
{
	struct usp_file *end[2];
	unsigned char byte = 0;

	(void)state;
	open_pipe(end, 1, 0);
	drop(&end[0]);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){&byte, 1}, 1, 0), -EPIPE);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){&byte, 1}, 1, USP_SPLICE_GIFT), -EPIPE);
	close_pipe(end);
}

static void a_read_end_gives_bytes_until_the_memory_is_full(void **state)
{
	unsigned char bytes[2 * PAGE];
	const struct iovec iov[] = {{bytes, 1}, {bytes + 1, 0}, {bytes + 1, PAGE}};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 2 * PAGE);
	assert_int_equal(usp_vmsplice(end[0], iov, 3, 0), PAGE + 1);
	assert_pattern(bytes, 0, PAGE + 1);
	take_bytes(end[0], PAGE + 1, PAGE - 1);
	close_pipe(end);
}

static void a_read_end_gives_what_there_is_and_zero_at_the_end(void **state)
{
	unsigned char bytes[2 * PAGE];
	const struct iovec iov = {bytes, sizeof(bytes)};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, 0); /* blocking: it must not wait once it has something */
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_vmsplice(end[0], &iov, 1, 0), 10);
	assert_int_equal(usp_vmsplice(end[0], &iov, 1, USP_SPLICE_NONBLOCK), -EAGAIN);
	drop(&end[1]);
	assert_int_equal(usp_vmsplice(end[0], &iov, 1, 0), 0);
	close_pipe(end);
}

static void nothing_is_merged_into_a_spliced_page(void **state)
{
	struct usp_file *end[2];
	_Alignas(512) unsigned char bytes[100]; /* in one page, which is one entry */

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){bytes, 10}, 1, USP_SPLICE_GIFT), 10);
	assert_int_equal(usp_write(end[1], "ZZZZZ", 5), 5);
	assert_int_equal(nr_bufs_in(end[0]), 2);
	assert_pattern(bytes, 0, sizeof(bytes));
	close_pipe(end);
}

static void stale_flags_of_a_used_slot_never_reach_the_callers_memory(void **state)
{
	_Alignas(512) unsigned char bytes[100]; /* in one page, which is one entry */
	struct usp_gift *gift;
	struct usp_file *end[2];

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(end, 4, USP_NONBLOCK);
	for (unsigned i = 0; i < 4; i++) { /* every slot has carried CAN_MERGE (C1) */
		put_bytes(end[1], 0, 10);
		take_bytes(end[0], 0, 10);
	}
	assert_int_equal(usp_gift_new(bytes, sizeof(bytes), NULL, NULL, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, 1, end[1], 0), 1);
	assert_int_equal(usp_write(end[1], "ZZZZZZZZZZ", 10), 10);
	assert_int_equal(nr_bufs_in(end[0]), 2);
	assert_pattern(bytes, 0, sizeof(bytes));
	close_pipe(end);
	usp_gift_put(gift);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(unknown_flags_come_first),
		CASE(too_many_segments_or_too_long_ones_come_before_no_pipe),
		CASE(nothing_to_move_is_zero_even_on_a_file_that_is_no_pipe),
		CASE(memory_without_gift_is_copied_and_may_change_at_once),
		CASE(gifted_memory_is_in_the_pipe_itself),
		CASE(neighbouring_segments_are_not_merged),
		CASE(a_slot_takes_one_page_of_the_callers_memory),
		CASE(a_full_pipe_is_waited_for_once_and_then_the_count_is_short),
		CASE(the_nonblocking_flag_of_the_end_is_ignored),
		CASE(without_readers_it_is_epipe),
		CASE(a_read_end_gives_bytes_until_the_memory_is_full),
		CASE(a_read_end_gives_what_there_is_and_zero_at_the_end),
		CASE(nothing_is_merged_into_a_spliced_page),
		CASE(stale_flags_of_a_used_slot_never_reach_the_callers_memory),
	};

	return cmocka_run_group_tests_name("vmsplice", tests, NULL, NULL);
}
