/* SPDX-License-Identifier: MIT */
/* test_stage - stages of an author: shared pages, small pipes, bytes that come later, errors. The first is examples/upper.c. */
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "support.h"

#define main upper_main
int upper_main(int argc, char **argv);
#include "../../examples/upper.c"
#undef main

#define BIG_LEN (3 * PAGE + 100)
#define NOTHING (-100000) /* for fail: 0 */

static struct mock *mock; /* the file below */
static struct usp_file *file, *end[2];

/* Another author's stage: it refuses the byte at fail_at, gives fail instead, and counts. */
static struct other {
	uint64_t seen, fail_at;
	ssize_t fail;
	int end;
	unsigned nr_ends, nr_released;
} other;

static ssize_t other_use(struct other *arg, const unsigned char *bytes, size_t len)
{
	if (len > 7)
		len = 7; /* in pieces */
	if (arg->fail && arg->seen == arg->fail_at)
		return arg->fail == NOTHING ? 0 : arg->fail;
	if (arg->fail && arg->fail_at - arg->seen < len)
		len = arg->fail_at - arg->seen;
	assert_pattern(bytes, arg->seen, len);
	arg->seen += len;
	return (ssize_t)len;
}

static ssize_t other_look(void *arg, const unsigned char *bytes, size_t len)
{
	return other_use(arg, bytes, len);
}

static ssize_t other_change(void *arg, unsigned char *bytes, size_t len)
{
	ssize_t ret = other_use(arg, bytes, len);

	return ret > 0 && ret <= (ssize_t)len ? upper_change(NULL, bytes, (size_t)ret) : ret;
}

static int other_end(void *arg)
{
	struct other *counts = arg;

	counts->nr_ends++;
	return counts->end;
}

static void other_release(void *arg)
{
	struct other *counts = arg;

	counts->nr_released++;
}

static const struct usp_stage_ops look_ops = {
	.size = sizeof(look_ops), .name = "look", .look = other_look, .end = other_end, .release = other_release};
static const struct usp_stage_ops change_ops = {.size = sizeof(change_ops),
						.name = "change",
						.change = other_change,
						.end = other_end,
						.release = other_release};

static void open_stage(const struct usp_stage_ops *stage_ops, const struct usp_file_ops *ops, unsigned nr_slots)
{
	other = (struct other){.seen = 0};
	mock = mock_open(ops, USP_READ, 0);
	assert_int_equal(usp_stage_open(stage_ops, &other, mock->file, &file), 0);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	open_pipe(end, nr_slots, USP_NONBLOCK);
}

static void open_upper(const struct usp_file_ops *ops, unsigned nr_slots)
{
	open_stage(&upper_ops, ops, nr_slots);
}

static void close_stage(void)
{
	close_pipe(end);
	usp_file_put(file);
	assert_int_equal(mock->nr_released, 1);
	free(mock->bytes);
	free(mock);
}

static void give(struct usp_buf buf)
{
	mock->gives[mock->nr_gives++] = buf;
}

static void check_upper(const unsigned char *bytes, uint64_t off, size_t len)
{
	unsigned char expected[BIG_LEN];

	assert_true(len <= BIG_LEN);
	pattern_fill(expected, off, len);
	upper_change(NULL, expected, len);
	assert_memory_equal(bytes, expected, len);
}

/* What the sink gets is the pattern from off on, in capital letters. */
static void take_upper(uint64_t off, size_t len)
{
	unsigned char bytes[BIG_LEN];

	for (size_t done = 0; done < len;) {
		ssize_t ret = usp_read(end[0], bytes, len - done);

		assert_true(ret > 0);
		check_upper(bytes, off + done, (size_t)ret);
		done += (size_t)ret;
	}
}

static void check_account(uint64_t in_place, uint64_t copied, uint64_t by_reference)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_REWRITTEN], in_place);
	assert_int_equal(hop.bytes[USP_COPIED], copied);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], by_reference);
}

static ssize_t pull(void)
{
	return usp_splice(file, NULL, end[1], NULL, 100000, 0);
}

/* --- In place, or in a copy ------------------------------------------------------------------------------------ */

static void memory_without_another_owner_is_changed_in_place(void **state)
{
	struct usp_buf buf, out[4];

	(void)state;
	open_upper(&mock_push_ops, 4);
	buf = folio_buf(0, PAGE, 0);
	give(buf);
	assert_int_equal(pull(), PAGE);
	assert_int_equal(peek_bufs(end[0], out, ARRAY_LEN(out)), 1);
	assert_ptr_equal(out[0].store, buf.store);
	take_upper(0, PAGE);
	check_account(PAGE, 0, 0);
	close_stage();
}

static void a_page_that_others_see_is_not_changed(void **state)
{
	struct usp_buf buf, twin;

	(void)state;
	open_upper(&mock_push_ops, 4);
	buf = twin = folio_buf(0, PAGE, 0);
	assert_true(usp_buf_get(NULL, &buf, &twin));
	give(buf);
	assert_int_equal(pull(), PAGE);
	take_upper(0, PAGE);
	assert_pattern(usp_buf_bytes(&twin), 0, PAGE);
	check_account(0, PAGE, 0);
	usp_buf_release(NULL, &twin);
	close_stage();
}

static void memory_of_the_caller_is_not_changed(void **state)
{
	unsigned char bytes[PAGE];
	struct usp_file *below = NULL;

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(usp_open_memory(bytes, sizeof(bytes), USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_stage_open(&upper_ops, NULL, below, &file), 0);
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_file_size(file), PAGE);
	assert_int_equal(pull(), PAGE);
	take_upper(0, PAGE);
	assert_pattern(bytes, 0, PAGE);
	check_account(0, PAGE, 0);
	close_pipe(end);
	usp_file_put(file);
}

/* What has gone on refers to other parts of the folio: it is stolen once, and all of it is changed where it lies. */
static void what_does_not_fit_stays_for_the_next_call_and_stays_ours(void **state)
{
	(void)state;
	open_upper(&mock_push_ops, 2);
	give(folio_buf(0, BIG_LEN, 0));
	assert_int_equal(pull(), 2 * PAGE);
	assert_int_equal(pull(), -EAGAIN);
	take_upper(0, 2 * PAGE);
	assert_int_equal(pull(), PAGE + 100);
	take_upper(2 * PAGE, PAGE + 100);
	assert_int_equal(mock->nr_calls, 1);
	check_account(BIG_LEN, 0, 0);
	close_stage();
}

/* The second folio is not ours because the first one was. */
static void each_buf_is_asked_for_anew(void **state)
{
	struct usp_buf twin;

	(void)state;
	open_upper(&mock_push_ops, 8);
	give(folio_buf(0, 2 * PAGE, 0));
	give(folio_buf(2 * PAGE, PAGE, 0));
	twin = mock->gives[1];
	assert_true(usp_buf_get(NULL, &mock->gives[1], &twin));
	assert_int_equal(pull(), 3 * PAGE);
	take_upper(0, 3 * PAGE);
	assert_pattern(usp_buf_bytes(&twin), 2 * PAGE, PAGE);
	check_account(2 * PAGE, PAGE, 0);
	usp_buf_release(NULL, &twin);
	close_stage();
}

static void a_pipe_with_hardly_any_room_gets_what_fits(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = PAGE, .max_bytes = 10, .flags = USP_NONBLOCK};
	struct usp_file *tiny[2];

	(void)state;
	open_upper(&mock_push_ops, 4);
	assert_int_equal(usp_pipe_open(&params, tiny), 0);
	give(folio_buf(0, 25, 0));
	for (uint64_t off = 0; off < 25; off += 10) {
		ssize_t want = off < 20 ? 10 : 5;
		unsigned char bytes[10];

		assert_int_equal(usp_splice(file, NULL, tiny[1], NULL, 100, 0), want);
		assert_int_equal(usp_read(tiny[0], bytes, sizeof(bytes)), want);
		check_upper(bytes, off, (size_t)want);
	}
	check_account(25, 0, 0);
	close_pipe(tiny);
	close_stage();
}

static void a_look_passes_bufs_on_as_they_are(void **state)
{
	struct usp_buf buf, twin, out[4];

	(void)state;
	open_stage(&look_ops, &mock_push_ops, 4);
	buf = twin = folio_buf(0, PAGE, 0);
	assert_true(usp_buf_get(NULL, &buf, &twin));
	give(buf);
	assert_int_equal(pull(), PAGE);
	assert_int_equal(peek_bufs(end[0], out, ARRAY_LEN(out)), 1);
	assert_ptr_equal(out[0].store, buf.store);
	assert_int_equal(other.seen, PAGE);
	assert_true(file->traits & USP_FILE_OBSERVES);
	check_account(0, 0, PAGE);
	usp_buf_release(NULL, &twin);
	close_stage();
	assert_int_equal(other.nr_released, 1);
}

static void bytes_that_the_kernel_held_count_as_copied(void **state)
{
	static const struct usp_stage_ops *const rows[] = {&look_ops, &change_ops};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct usp_buf out[4];
		struct mock_store store;

		mock_store_init(&store);
		open_stage(rows[i], &mock_push_ops, 4);
		give(mock_buf(&store, &mock_unmapped_buf_ops, 0, 100, 0));
		assert_int_equal(pull(), 100);
		assert_int_equal(peek_bufs(end[0], out, ARRAY_LEN(out)), 1);
		assert_true(out[0].flags & USP_BUF_MAPPED);
		check_account(0, 100, 0);
		close_stage();
		mock_store_fini(&store);
	}
}

/* --- Bytes that come later -------------------------------------------------------------------------------------- */

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
	give(folio_buf(0, 100, 0));
	give(mock_buf(&store, &late_ops, 100, 100, 0));
	assert_int_equal(pull(), 100);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), 12345);
	assert_int_equal(pull(), -EAGAIN);
	store.confirm_error = 0;
	assert_int_equal(pull(), 100);
	take_upper(0, 200);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), -EPERM);
	close_stage();
	mock_store_fini(&store);
}

static atomic_bool is_there;
static int event_fd;

static int event_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe, (void)buf;
	return atomic_load(&is_there) ? 0 : -EAGAIN;
}

static int event_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	(void)pipe, (void)buf;
	*ret_events = POLLIN;
	return event_fd;
}

static void a_call_that_blocks_waits_for_late_bytes(void **state)
{
	struct usp_buf_ops late_ops = mock_buf_ops;
	struct worker worker;
	struct mock_store store;
	struct call call;

	(void)state;
	late_ops.confirm = event_confirm;
	late_ops.poll_fd = event_poll_fd;
	event_fd = eventfd(0, EFD_CLOEXEC);
	mock_store_init(&store);
	open_upper(&mock_push_ops, 4);
	assert_int_equal(usp_file_set_flags(file, 0) | usp_file_set_flags(end[1], 0), 0);
	give(mock_buf(&store, &late_ops, 0, 100, 0));
	call = (struct call){.in = file, .out = end[1], .len = 100};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_false(worker.is_done);
	atomic_store(&is_there, true);
	assert_int_equal(eventfd_write(event_fd, 1), 0);
	assert_int_equal(worker_join(&worker), 100);
	take_upper(0, 100);
	close_stage();
	mock_store_fini(&store);
	close(event_fd);
}

/* --- Errors and the end ------------------------------------------------------------------------------------------ */

static void an_error_comes_behind_the_bytes_before_it_and_stays(void **state)
{
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	open_upper(&mock_push_ops, 4);
	give(folio_buf(0, 100, 0));
	give(mock_buf(&store, &mock_buf_ops, 100, 100, 0));
	store.confirm_error = -EBADMSG;
	assert_int_equal(pull(), 100);
	assert_int_equal(pull(), -EBADMSG);
	store.confirm_error = -ENODATA;
	assert_int_equal(pull(), -EIO);
	close_stage();
	mock_store_fini(&store);
}

static void a_refusal_comes_behind_exactly_the_bytes_before_it(void **state)
{
	static const struct usp_stage_ops *const rows[] = {&look_ops, &change_ops};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		short events;

		open_stage(rows[i], &mock_push_ops, 4);
		other.fail_at = 151;
		other.fail = -EBADMSG;
		give(folio_buf(0, 100, 0));
		give(folio_buf(100, 100, 0));
		assert_int_equal(pull(), 151);
		assert_int_equal(usp_pipe_bytes(end[0]), 151);
		assert_int_equal(pull(), -EBADMSG);
		other.fail = 0; /* an error stays */
		assert_int_equal(pull(), -EBADMSG);
		assert_int_equal(usp_read(file, &events, 1), -EBADMSG);
		assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), -EPERM);
		assert_int_equal(other.nr_ends, 0);
		close_stage();
	}
}

static void a_function_that_breaks_its_contract_is_caught(void **state)
{
	static const ssize_t rows[] = {NOTHING, 101, -EAGAIN};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		open_stage(&look_ops, &mock_push_ops, 4);
		other.fail = rows[i];
		give(folio_buf(0, 100, 0));
		assert_int_equal(pull(), -EIO);
		assert_int_equal(usp_pipe_bytes(end[0]), 0);
		close_stage();
	}
}

static void the_end_is_told_once_and_may_be_an_error(void **state)
{
	static const int rows[] = {0, -EBADMSG};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned char byte;

		open_stage(&change_ops, &mock_copy_ops, 4);
		other.end = rows[i];
		mock->size = 100;
		SCRIPT(mock, MOCK_ALL);
		assert_int_equal(pull(), 100);
		assert_int_equal(other.nr_ends, 0);
		assert_int_equal(pull(), rows[i]);
		assert_int_equal(pull(), rows[i]);
		assert_int_equal(usp_read(file, &byte, 1), rows[i]);
		assert_int_equal(other.nr_ends, 1);
		take_upper(0, 100);
		close_stage();
		assert_int_equal(other.nr_released, 1);
	}
}

static void the_file_below_is_asked_again_and_its_end_is_the_end(void **state)
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
	check_account(1000, 0, 0);
	close_stage();
}

/* --- Reads ------------------------------------------------------------------------------------------------------- */

static void a_read_changes_the_memory_of_the_caller_only(void **state)
{
	unsigned char bytes[300];
	struct iovec iov[] = {{bytes, 1}, {bytes + 1, 0}, {bytes + 1, 199}, {bytes + 200, 100}};

	(void)state;
	open_stage(&change_ops, &mock_copy_ops, 4);
	mock->size = 1000;
	SCRIPT(mock, 250, MOCK_ALL);
	assert_int_equal(usp_readv(file, iov, ARRAY_LEN(iov)), 250);
	check_upper(bytes, 0, 250);
	assert_int_equal(usp_readv(file, iov, ARRAY_LEN(iov)), 300);
	check_upper(bytes, 250, 300);
	other.fail_at = 700;
	other.fail = -EBADMSG;
	SCRIPT(mock, MOCK_ALL);
	assert_int_equal(usp_readv(file, iov, ARRAY_LEN(iov)), 150);
	check_upper(bytes, 550, 150);
	assert_int_equal(usp_readv(file, iov, ARRAY_LEN(iov)), -EBADMSG);
	close_stage();
}

/* What was pulled for a pipe comes first, and what is pulled behind a part of a buf is still ours. */
static void a_read_begins_with_what_was_pulled(void **state)
{
	unsigned char bytes[PAGE];

	(void)state;
	open_stage(&change_ops, &mock_push_ops, 2);
	give(folio_buf(0, BIG_LEN, 0));
	assert_int_equal(pull(), 2 * PAGE);
	take_upper(0, 2 * PAGE);
	assert_int_equal(usp_read(file, bytes, 100), 100);
	check_upper(bytes, 2 * PAGE, 100);
	assert_int_equal(pull(), PAGE);
	take_upper(2 * PAGE + 100, PAGE);
	assert_int_equal(usp_read(file, bytes, 0), 0);
	assert_int_equal(other.nr_ends, 0);
	check_account(BIG_LEN - 100, 0, 0);
	close_stage();
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static void a_table_that_is_wrong_is_refused_and_all_stays_with_the_caller(void **state)
{
	struct {
		struct usp_stage_ops ops;
		void *newer;
	} newer = {.ops = look_ops, .newer = &newer};
	const struct usp_stage_ops rows[] = {
		{.size = sizeof(rows[0]), .name = "none"},
		{.size = sizeof(rows[0]), .name = "both", .look = other_look, .change = other_change},
		{.size = sizeof(rows[0]), .look = other_look},
		{.name = "size", .look = other_look},
	};

	(void)state;
	other = (struct other){.seen = 0};
	mock = mock_open(&mock_copy_ops, USP_READ, 0);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(usp_stage_open(&rows[i], &other, mock->file, &file), -EINVAL);
	newer.ops.size = sizeof(newer);
	assert_int_equal(usp_stage_open(&newer.ops, &other, mock->file, &file), -E2BIG);
	mock_close(mock);
	mock = mock_open(&mock_copy_ops, USP_WRITE, 0);
	assert_int_equal(usp_stage_open(&look_ops, &other, mock->file, &file), -EINVAL);
	mock_close(mock);
	assert_int_equal(other.nr_released, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(memory_without_another_owner_is_changed_in_place),
		CASE(a_page_that_others_see_is_not_changed),
		CASE(memory_of_the_caller_is_not_changed),
		CASE(what_does_not_fit_stays_for_the_next_call_and_stays_ours),
		CASE(each_buf_is_asked_for_anew),
		CASE(a_pipe_with_hardly_any_room_gets_what_fits),
		CASE(a_look_passes_bufs_on_as_they_are),
		CASE(bytes_that_the_kernel_held_count_as_copied),
		CASE(bytes_that_come_later_are_waited_for),
		CASE(a_call_that_blocks_waits_for_late_bytes),
		CASE(an_error_comes_behind_the_bytes_before_it_and_stays),
		CASE(a_refusal_comes_behind_exactly_the_bytes_before_it),
		CASE(a_function_that_breaks_its_contract_is_caught),
		CASE(the_end_is_told_once_and_may_be_an_error),
		CASE(the_file_below_is_asked_again_and_its_end_is_the_end),
		CASE(a_read_changes_the_memory_of_the_caller_only),
		CASE(a_read_begins_with_what_was_pulled),
		CASE(a_table_that_is_wrong_is_refused_and_all_stays_with_the_caller),
	};

	return cmocka_run_group_tests_name("stages of an author", tests, NULL, NULL);
}
