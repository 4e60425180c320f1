/* SPDX-License-Identifier: MIT */
/* test_upper - the transform of examples/upper.c: shared pages, small slots, and bytes that come later. */
#include "support.h"

#define main upper_main
int upper_main(int argc, char **argv);
#include "../../examples/upper.c"
#undef main

#define BIG_LEN (3 * PAGE + 100)

static struct mock *mock; /* the file below */
static struct usp_file *file, *end[2];

static void open_upper(const struct usp_file_ops *ops, unsigned nr_slots)
{
	mock = mock_open(ops, USP_READ, 0);
	assert_true(usp_file_flags(mock->file) == 0);
	assert_int_equal(upper_open(mock->file, &file), 0);
	open_pipe(end, nr_slots, USP_NONBLOCK);
}

static void close_upper(void)
{
	close_pipe(end);
	usp_file_put(file);
	assert_int_equal(mock->nr_released, 1);
	free(mock->bytes);
	free(mock);
}

/* What the sink gets is the pattern from off on, in capital letters. */
static void take_upper(uint64_t off, size_t len)
{
	unsigned char bytes[BIG_LEN], expected[BIG_LEN];

	assert_true(len <= BIG_LEN);
	pattern_fill(expected, off, len);
	for (size_t i = 0; i < len; i++)
		expected[i] = (unsigned char)toupper(expected[i]);
	for (size_t done = 0; done < len;) {
		ssize_t ret = usp_read(end[0], bytes, len - done);

		assert_true(ret > 0);
		assert_memory_equal(bytes, expected + done, (size_t)ret);
		done += (size_t)ret;
	}
}

static void check_account(uint64_t in_place, uint64_t copied)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_REWRITTEN], in_place);
	assert_int_equal(hop.bytes[USP_COPIED], copied);
}

static ssize_t pull(void)
{
	return usp_splice(file, NULL, end[1], NULL, 100000, 0);
}

static void memory_without_another_owner_is_changed_in_place(void **state)
{
	struct usp_buf buf, out[4];

	(void)state;
	open_upper(&mock_push_ops, 4);
	buf = folio_buf(0, PAGE, 0);
	mock->gives[mock->nr_gives++] = buf;
	assert_int_equal(pull(), PAGE);
	assert_int_equal(peek_bufs(end[0], out, ARRAY_LEN(out)), 1);
	assert_ptr_equal(out[0].store, buf.store);
	take_upper(0, PAGE);
	check_account(PAGE, 0);
	close_upper();
}

static void a_page_that_others_see_is_not_changed(void **state)
{
	struct usp_buf buf, other;

	(void)state;
	open_upper(&mock_push_ops, 4);
	buf = other = folio_buf(0, PAGE, 0);
	assert_true(usp_buf_get(NULL, &buf, &other));
	mock->gives[mock->nr_gives++] = buf;
	assert_int_equal(pull(), PAGE);
	take_upper(0, PAGE);
	assert_pattern(usp_buf_bytes(&other), 0, PAGE);
	check_account(0, PAGE);
	usp_buf_release(NULL, &other);
	close_upper();
}

/* The first slot gets the memory itself. The other parts of the folio are then shared with it. */
static void what_does_not_fit_stays_for_the_next_call(void **state)
{
	(void)state;
	open_upper(&mock_push_ops, 2);
	mock->gives[mock->nr_gives++] = folio_buf(0, BIG_LEN, 0);
	assert_int_equal(pull(), 2 * PAGE);
	assert_int_equal(pull(), -EAGAIN);
	take_upper(0, 2 * PAGE);
	assert_int_equal(pull(), PAGE + 100);
	take_upper(2 * PAGE, PAGE + 100);
	assert_int_equal(mock->nr_calls, 1);
	check_account(2 * PAGE, PAGE + 100); /* each call began with memory that had one owner */
	close_upper();
}

static int late_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	(void)pipe, (void)buf;
	*ret_events = POLLIN;
	return 12345;
}

static void bytes_that_come_later_are_waited_for(void **state)
{
	struct usp_buf_ops late_ops = mock_buf_ops;
	struct mock_store store;
	short events;

	(void)state;
	late_ops.poll_fd = late_fd;
	mock_store_init(&store);
	store.confirm_error = -EAGAIN;
	open_upper(&mock_push_ops, 4);
	mock->gives[mock->nr_gives++] = folio_buf(0, 100, 0);
	mock->gives[mock->nr_gives++] = mock_buf(&store, &late_ops, 100, 100, 0);
	assert_int_equal(pull(), 100);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), 12345);
	assert_int_equal(pull(), -EAGAIN);
	store.confirm_error = 0;
	assert_int_equal(pull(), 100);
	take_upper(0, 200);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), -EPERM);
	close_upper();
	mock_store_fini(&store);
}

static void an_error_comes_behind_the_bytes_before_it_and_stays(void **state)
{
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	open_upper(&mock_push_ops, 4);
	mock->gives[mock->nr_gives++] = folio_buf(0, 100, 0);
	mock->gives[mock->nr_gives++] = mock_buf(&store, &mock_buf_ops, 100, 100, 0);
	store.confirm_error = -EBADMSG;
	assert_int_equal(pull(), 100);
	assert_int_equal(pull(), -EBADMSG);
	store.confirm_error = -ENODATA;
	assert_int_equal(pull(), -EIO);
	close_upper();
	mock_store_fini(&store);
}

static void the_file_below_never_waits_and_its_end_is_the_end(void **state)
{
	(void)state;
	open_upper(&mock_copy_ops, 4);
	mock->size = 1000;
	SCRIPT(mock, -EAGAIN, 600, -EAGAIN, MOCK_ALL);
	assert_int_equal(pull(), -EAGAIN);
	assert_int_equal(pull(), 600);
	assert_int_equal(pull(), -EAGAIN);
	assert_int_equal(pull(), 400);
	assert_int_equal(pull(), 0);
	take_upper(0, 1000);
	check_account(1000, 0);
	close_upper();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(memory_without_another_owner_is_changed_in_place),
		CASE(a_page_that_others_see_is_not_changed),
		CASE(what_does_not_fit_stays_for_the_next_call),
		CASE(bytes_that_come_later_are_waited_for),
		CASE(an_error_comes_behind_the_bytes_before_it_and_stays),
		CASE(the_file_below_never_waits_and_its_end_is_the_end),
	};

	return cmocka_run_group_tests_name("the example of a transform", tests, NULL, NULL);
}
