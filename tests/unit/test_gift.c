/* SPDX-License-Identifier: MIT */
/* test_gift - the notification that a gift's memory is free again: exactly once, never early, never missing. */
#include "splice/pipe.h"
#include "support.h"

static void count_done(void *arg)
{
	unsigned *nr_done = arg;

	(*nr_done)++;
}

static struct usp_gift *gift_of(void *base, size_t len, unsigned *nr_done)
{
	struct usp_gift *gift;

	pattern_fill(base, 0, len);
	assert_int_equal(usp_gift_new(base, len, count_done, nr_done, &gift), 0);
	return gift;
}

static void a_gift_needs_memory(void **state)
{
	struct usp_gift *gift = NULL;

	(void)state;
	assert_int_equal(usp_gift_new(NULL, 10, NULL, NULL, &gift), -EINVAL);
	assert_int_equal(usp_gift_new("x", 0, NULL, NULL, &gift), -EINVAL);
	assert_null(gift);
}

static void a_gift_that_was_never_given_is_done_when_it_is_put(void **state)
{
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */
	unsigned nr_done = 0;

	(void)state;
	usp_gift_put(gift_of(bytes, sizeof(bytes), &nr_done));
	assert_int_equal(nr_done, 1);
	usp_gift_put(NULL);
}

static void done_may_be_null(void **state)
{
	struct usp_gift *gift;
	struct usp_file *end[2];
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_gift_new(bytes, sizeof(bytes), NULL, NULL, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, 10, end[1], 0), 10);
	usp_gift_put(gift);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
}

static void done_waits_for_the_last_byte_of_the_last_buf(void **state)
{
	unsigned char bytes[3 * PAGE];
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, sizeof(bytes), end[1], 0), sizeof(bytes));
	usp_gift_put(gift);
	take_bytes(end[0], 0, sizeof(bytes) - 1);
	assert_int_equal(nr_done, 0);
	take_bytes(end[0], sizeof(bytes) - 1, 1);
	assert_int_equal(nr_done, 1);
	close_pipe(end);
	assert_int_equal(nr_done, 1);
}

static void done_waits_for_the_callers_own_reference(void **state)
{
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	for (unsigned i = 0; i < 3; i++) { /* and a gift may be given again and again */
		assert_int_equal(usp_gift_splice(gift, i, 10 - i, end[1], 0), 10 - i);
		take_bytes(end[0], i, 10 - i);
		assert_int_equal(nr_done, 0);
	}
	close_pipe(end);
	assert_int_equal(nr_done, 0);
	usp_gift_put(gift);
	assert_int_equal(nr_done, 1);
}

static void a_pipe_that_is_closed_with_the_gift_in_it_ends_it(void **state)
{
	unsigned char bytes[2 * PAGE];
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, sizeof(bytes), end[1], 0), sizeof(bytes));
	usp_gift_put(gift);
	take_bytes(end[0], 0, 100);
	drop(&end[0]);
	assert_int_equal(nr_done, 0); /* the data stays until both ends are gone */
	drop(&end[1]);
	assert_int_equal(nr_done, 1);
}

static void every_copy_that_tee_made_must_be_gone(void **state)
{
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */
	struct usp_file *a[2], *b[2], *c[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 1, USP_NONBLOCK);
	open_pipe(c, 1, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, 10, a[1], 0), 10);
	usp_gift_put(gift);
	assert_int_equal(usp_tee(a[0], b[1], 10, 0), 10);
	assert_int_equal(usp_tee(b[0], c[1], 10, 0), 10);
	take_bytes(a[0], 0, 10);
	take_bytes(c[0], 0, 10);
	assert_int_equal(nr_done, 0);
	take_bytes(b[0], 0, 10);
	assert_int_equal(nr_done, 1);
	close_pipe(a);
	close_pipe(b);
	close_pipe(c);
}

static void every_part_of_a_gift_that_was_split_must_be_gone(void **state)
{
	_Alignas(512) unsigned char bytes[30]; /* in one page, which is one entry */
	struct usp_file *a[2], *b[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(a, 1, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, 30, a[1], 0), 30);
	usp_gift_put(gift);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), 10);
	close_pipe(a);
	take_bytes(b[0], 0, 20);
	assert_int_equal(nr_done, 0);
	take_bytes(b[0], 20, 10);
	assert_int_equal(nr_done, 1);
	close_pipe(b);
}

static void a_sink_that_fails_does_not_end_the_gift_and_closing_does(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	_Alignas(512) unsigned char bytes[100]; /* in one page, which is one entry */
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	SCRIPT(sink, 40, -EPIPE, -EPIPE);
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, 100, end[1], 0), 100);
	usp_gift_put(gift);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 100, 0), 40);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 100, 0), -EPIPE);
	assert_int_equal(nr_done, 0);
	close_pipe(end);
	assert_int_equal(nr_done, 1);
	mock_close(sink);
}

static void a_gift_that_does_not_fit_goes_in_as_far_as_there_is_room(void **state)
{
	unsigned char *base = aligned_alloc(PAGE, 4 * PAGE);
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(base, 4 * PAGE, &nr_done);

	(void)state;
	open_pipe(end, 2, 0);
	assert_int_equal(usp_gift_splice(gift, 0, 4 * PAGE, end[1], 0), 2 * PAGE);
	assert_int_equal(usp_gift_splice(gift, 2 * PAGE, PAGE, end[1], USP_SPLICE_NONBLOCK), -EAGAIN);
	take_bytes(end[0], 0, 2 * PAGE);
	assert_int_equal(usp_gift_splice(gift, 2 * PAGE, 2 * PAGE, end[1], 0), 2 * PAGE);
	take_bytes(end[0], 2 * PAGE, 2 * PAGE);
	close_pipe(end);
	assert_int_equal(nr_done, 0);
	usp_gift_put(gift);
	assert_int_equal(nr_done, 1);
	free(base);
}

static void a_gift_is_not_given_where_it_cannot_be(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_WRITE, 0);
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, 11, end[1], 0), -EINVAL);
	assert_int_equal(usp_gift_splice(gift, 11, 0, end[1], 0), -EINVAL);
	assert_int_equal(usp_gift_splice(gift, 5, SIZE_MAX, end[1], 0), -EINVAL);
	assert_int_equal(usp_gift_splice(gift, 0, 1, end[1], 0x10), -EINVAL);
	assert_int_equal(usp_gift_splice(gift, 0, 1, file->file, 0), -EBADF);
	assert_int_equal(usp_gift_splice(gift, 0, 1, end[0], 0), -EBADF);
	assert_int_equal(usp_gift_splice(gift, 10, 0, end[1], 0), 0);
	drop(&end[0]);
	assert_int_equal(usp_gift_splice(gift, 0, 1, end[1], 0), -EPIPE);
	close_pipe(end);
	usp_gift_put(gift);
	assert_int_equal(nr_done, 1);
	mock_close(file);
}

/* What one producer pushes in a turn stays together. */
static void a_gift_waits_for_the_turn_of_another_producer(void **state)
{
	unsigned char bytes[10] = {0};
	struct usp_file *end[2];
	unsigned nr_done = 0;
	struct usp_gift *gift = gift_of(bytes, sizeof(bytes), &nr_done);

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_pipe_begin_write(usp_file_pipe(end[1]), 0), 0);
	assert_int_equal(usp_gift_splice(gift, 0, 10, end[1], USP_SPLICE_NONBLOCK), -EAGAIN);
	usp_pipe_end_write(usp_file_pipe(end[1]));
	assert_int_equal(usp_gift_splice(gift, 0, 10, end[1], USP_SPLICE_NONBLOCK), 10);
	close_pipe(end);
	usp_gift_put(gift);
	assert_int_equal(nr_done, 1);
}

static void a_gift_counts_as_alive_until_it_is_done(void **state)
{
	struct usp_usage before = {.size = sizeof(before)}, during = {.size = sizeof(during)},
			 after = {.size = sizeof(after)};
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */
	unsigned nr_done = 0;
	struct usp_gift *gift;

	(void)state;
	usp_trim(&before);
	gift = gift_of(bytes, sizeof(bytes), &nr_done);
	usp_trim(&during);
	usp_gift_put(gift);
	usp_trim(&after);
	assert_int_equal(during.nr_folios, before.nr_folios + 1);
	assert_int_equal(during.folio_bytes, before.folio_bytes); /* the memory is the caller's */
	assert_int_equal(after.nr_folios, before.nr_folios);
}

/* --- Refilling in the callback: the shortest way to find a notification that comes too early ------------------------- */

struct feeder {
	struct usp_file *end;
	unsigned char bytes[2 * PAGE];
	uint64_t off; /* of the stream */
	unsigned nr_left, nr_done;
};

static void feeder_give(struct feeder *feeder);

static void feeder_done(void *arg)
{
	struct feeder *feeder = arg;

	feeder->nr_done++;
	memset(feeder->bytes, 0xee, sizeof(feeder->bytes)); /* whoever still reads this reads rubbish */
	if (feeder->nr_left)
		feeder_give(feeder);
}

static void feeder_give(struct feeder *feeder)
{
	struct usp_gift *gift;

	feeder->nr_left--;
	pattern_fill(feeder->bytes, feeder->off, sizeof(feeder->bytes));
	feeder->off += sizeof(feeder->bytes);
	assert_int_equal(usp_gift_new(feeder->bytes, sizeof(feeder->bytes), feeder_done, feeder, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, sizeof(feeder->bytes), feeder->end, 0), sizeof(feeder->bytes));
	usp_gift_put(gift);
}

static void the_callback_may_fill_the_memory_and_give_it_again(void **state)
{
	struct usp_file *end[2];
	struct feeder feeder = {.nr_left = 100};
	uint64_t off = 0;
	size_t len = 1;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	feeder.end = end[1];
	feeder_give(&feeder);
	while (off < 100 * 2 * PAGE) {
		size_t left = 100 * 2 * PAGE - off, in_pipe = (size_t)usp_pipe_bytes(end[0]);

		len = len * 3 % 5000 + 1;
		len = len < left ? len : left;
		len = len < in_pipe ? len : in_pipe;
		take_bytes(end[0], off, len);
		off += len;
	}
	assert_int_equal(feeder.nr_done, 100);
	close_pipe(end);
}

static void the_callback_may_give_again_from_inside_a_sink(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];
	struct feeder feeder = {.nr_left = 20};
	ssize_t ret;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	feeder.end = end[1];
	SCRIPT(sink, 1, 4095, 4097, 10, 3);
	feeder_give(&feeder);
	do {
		ret = usp_splice(end[0], NULL, sink->file, NULL, 1 << 20, 0);
	} while (ret > 0);
	assert_int_equal(ret, -EAGAIN);
	assert_int_equal(feeder.nr_done, 20);
	assert_int_equal(sink->len, 20 * 2 * PAGE);
	assert_pattern(sink->bytes, 0, sink->len);
	close_pipe(end);
	mock_close(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_gift_needs_memory),
		CASE(a_gift_that_was_never_given_is_done_when_it_is_put),
		CASE(done_may_be_null),
		CASE(done_waits_for_the_last_byte_of_the_last_buf),
		CASE(done_waits_for_the_callers_own_reference),
		CASE(a_pipe_that_is_closed_with_the_gift_in_it_ends_it),
		CASE(every_copy_that_tee_made_must_be_gone),
		CASE(every_part_of_a_gift_that_was_split_must_be_gone),
		CASE(a_sink_that_fails_does_not_end_the_gift_and_closing_does),
		CASE(a_gift_that_does_not_fit_goes_in_as_far_as_there_is_room),
		CASE(a_gift_is_not_given_where_it_cannot_be),
		CASE(a_gift_waits_for_the_turn_of_another_producer),
		CASE(a_gift_counts_as_alive_until_it_is_done),
		CASE(the_callback_may_fill_the_memory_and_give_it_again),
		CASE(the_callback_may_give_again_from_inside_a_sink),
	};

	return cmocka_run_group_tests_name("gift", tests, NULL, NULL);
}
