/* SPDX-License-Identifier: MIT */
/* test_kpipe - kernel pipes as storage: nothing of one transfer turns up in another, offsets hold, accounts tell the truth. */
#include "support.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "lanes/kpipe.h"
#include "lanes/kpool.h"

#define SLOT 65536

/* A file in memory that holds the pattern bytes [0, len), on the kernel lane. */
static struct usp_file *open_kernel_file(unsigned mode, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	unsigned char *bytes = malloc(len + 1);
	struct usp_file *file;

	assert_true(fd >= 0 && bytes);
	pattern_fill(bytes, 0, len);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	free(bytes);
	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, "memfd", &file), 0);
	usp_file_side(file, USP_READ)->lane = usp_file_side(file, USP_WRITE)->lane = &usp_kernel_lane;
	return file;
}

static void open_wide_pipe(struct usp_file *end[2])
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = SLOT, .flags = USP_NONBLOCK};

	assert_int_equal(usp_pipe_open(&params, end), 0);
}

static void assert_file_has(struct usp_file *file, int64_t at, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	assert_int_equal(pread(usp_file_fd(file), bytes, len, at), len);
	assert_pattern(bytes, off, len);
	free(bytes);
}

static uint64_t nr_destroyed(void)
{
	uint64_t nr;
	size_t nr_used, nr_idle;

	usp_kpool_usage(&nr_used, &nr_idle, &nr);
	return nr;
}

static void a_kernel_pipe_with_bytes_in_it_is_destroyed_and_its_bytes_never_come_again(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *end[2];
	uint64_t before = nr_destroyed();

	(void)state;
	open_wide_pipe(end);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, 2 * PAGE, 0), 2 * PAGE);
	close_pipe(end);
	assert_int_equal(nr_destroyed(), before + 1);
	open_wide_pipe(end);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, 2 * PAGE, 0), 2 * PAGE);
	take_bytes(end[0], 2 * PAGE, 2 * PAGE);
	close_pipe(end);
	drop(&in);
}

static void a_drained_kernel_pipe_is_used_again_from_its_start(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *out = open_kernel_file(USP_WRITE, 0), *end[2];
	uint64_t before = nr_destroyed();

	(void)state;
	open_wide_pipe(end);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(usp_splice(in, NULL, end[1], NULL, PAGE, 0), PAGE);
		assert_int_equal(usp_splice(end[0], NULL, out, NULL, PAGE, 0), PAGE);
	}
	assert_int_equal(nr_destroyed(), before);
	assert_file_has(out, 0, 0, 4 * PAGE);
	close_pipe(end);
	drop(&in);
	drop(&out);
}

static void the_position_is_the_one_of_the_file_and_not_of_its_descriptor(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *end[2];
	int64_t pos = 2 * PAGE;

	(void)state;
	open_wide_pipe(end);
	assert_int_equal(usp_splice(in, &pos, end[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(pos, 3 * PAGE);
	take_bytes(end[0], 2 * PAGE, PAGE);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, PAGE, 0), PAGE);
	take_bytes(end[0], 0, PAGE);
	assert_int_equal(lseek(usp_file_fd(in), 0, SEEK_CUR), 0);
	close_pipe(end);
	drop(&in);
}

static void move_and_skip(void)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *out = open_kernel_file(USP_WRITE, 0);
	struct usp_file *a[2], *b[2];

	open_wide_pipe(a);
	open_wide_pipe(b);
	assert_int_equal(usp_splice(in, NULL, a[1], NULL, 4 * PAGE, 0), 4 * PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, PAGE + 10, 0), PAGE + 10);
	assert_int_equal(usp_splice(a[0], NULL, out, NULL, PAGE, 0), PAGE);
	assert_file_has(out, 0, PAGE + 10, PAGE);
	assert_int_equal(usp_splice(b[0], NULL, out, NULL, SLOT, 0), PAGE + 10);
	assert_file_has(out, PAGE, 0, PAGE + 10);
	take_bytes(a[0], 2 * PAGE + 10, 2 * PAGE - 10);
	close_pipe(a);
	close_pipe(b);
	drop(&in);
	drop(&out);
}

static void what_moved_to_another_pipe_is_skipped_in_the_kernel_pipe(void **state)
{
	(void)state;
	move_and_skip();
	move_and_skip(); /* through kernel pipes that have been used */
}

static void a_second_owner_of_what_is_left_begins_there(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *a[2], *b[2];

	(void)state;
	open_wide_pipe(a);
	open_wide_pipe(b);
	assert_int_equal(usp_splice(in, NULL, a[1], NULL, 4 * PAGE, 0), 4 * PAGE);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(usp_tee(a[0], b[1], 2 * PAGE, 0), 2 * PAGE);
	take_bytes(b[0], 0, 3 * PAGE);
	take_bytes(a[0], PAGE, 3 * PAGE);
	close_pipe(a);
	close_pipe(b);
	drop(&in);
}

/* Every pipe of this process that is empty has one page from now on; one that holds more refuses. */
static void shrink_idle_pipes(void)
{
	for (int fd = 3; fd < 64; fd++)
		fcntl(fd, F_SETPIPE_SZ, PAGE);
}

static void a_second_kernel_pipe_that_cannot_take_all_is_no_second_owner(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 8 * PAGE), *a[2], *b[2];

	(void)state;
	open_wide_pipe(a);
	open_wide_pipe(b);
	assert_int_equal(usp_splice(in, NULL, b[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(usp_splice(in, NULL, a[1], NULL, 4 * PAGE, 0), 4 * PAGE);
	take_bytes(b[0], 0, PAGE); /* its kernel pipe waits for reuse now */
	shrink_idle_pipes();
	assert_int_equal(usp_tee(a[0], b[1], 4 * PAGE, 0), -EFAULT);
	assert_int_equal(usp_pipe_bytes(b[0]), 0);
	take_bytes(a[0], PAGE, 4 * PAGE);
	close_pipe(a);
	close_pipe(b);
	drop(&in);
}

static void a_kernel_pipe_holds_no_more_than_a_slot_may_refer_to(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *end[2];
	struct usp_buf bufs[4];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, 4 * PAGE, 0), PAGE);
	assert_int_equal(peek_bufs(end[0], bufs, 4), 1);
	assert_int_equal(bufs[0].len, PAGE);
	close_pipe(end);
	drop(&in);
}

static void the_account_says_what_the_probe_found_and_nothing_else(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 4 * PAGE), *end[2];
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	open_wide_pipe(end);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, PAGE, 0), PAGE);
	usp_file_hop(in, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_UNKNOWN], PAGE); /* nobody has probed */
	assert_string_equal(hop.reason[USP_UNKNOWN], "the kernel was not probed for this file");
	usp_file_side(in, USP_READ)->lane_way = USP_COPIED;
	usp_file_side(in, USP_READ)->lane_reason = "found so";
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, PAGE, 0), PAGE);
	usp_file_hop(in, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], PAGE);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 0);
	assert_string_equal(hop.reason[USP_COPIED], "found so");
	assert_string_equal(hop.lane, "kernel");
	close_pipe(end);
	drop(&in);
}

/* A sink that the kernel refuses, because it appends: the library was not told. */
static struct usp_file *open_refused_sink(bool is_forced)
{
	struct usp_file *out = open_kernel_file(USP_WRITE, 0);

	assert_int_equal(fcntl(usp_file_fd(out), F_SETFL, O_APPEND), 0);
	usp_file_side(out, USP_WRITE)->lane_is_forced = is_forced;
	return out;
}

static void a_file_that_the_kernel_refuses_goes_on_with_its_own_hooks(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 2 * PAGE), *out = open_refused_sink(false), *end[2];

	(void)state;
	open_wide_pipe(end);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, 2 * PAGE, 0), 2 * PAGE);
	assert_int_equal(usp_splice(end[0], NULL, out, NULL, 2 * PAGE, 0), 2 * PAGE);
	assert_null(usp_file_side(out, USP_WRITE)->lane);
	assert_file_has(out, 0, 0, 2 * PAGE);
	close_pipe(end);
	drop(&in);
	drop(&out);
}

static void a_file_that_must_stay_on_the_kernel_lane_fails_instead_and_loses_nothing(void **state)
{
	struct usp_file *in = open_kernel_file(USP_READ, 2 * PAGE), *out = open_refused_sink(true);
	struct usp_file *end[2];

	(void)state;
	open_wide_pipe(end);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, 2 * PAGE, 0), 2 * PAGE);
	assert_int_equal(usp_splice(end[0], NULL, out, NULL, 2 * PAGE, 0), -EINVAL);
	assert_ptr_equal(usp_file_side(out, USP_WRITE)->lane, &usp_kernel_lane);
	take_bytes(end[0], 0, 2 * PAGE);
	close_pipe(end);
	drop(&in);
	drop(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_kernel_pipe_with_bytes_in_it_is_destroyed_and_its_bytes_never_come_again),
		CASE(a_drained_kernel_pipe_is_used_again_from_its_start),
		CASE(the_position_is_the_one_of_the_file_and_not_of_its_descriptor),
		CASE(what_moved_to_another_pipe_is_skipped_in_the_kernel_pipe),
		CASE(a_second_owner_of_what_is_left_begins_there),
		CASE(a_second_kernel_pipe_that_cannot_take_all_is_no_second_owner),
		CASE(a_kernel_pipe_holds_no_more_than_a_slot_may_refer_to),
		CASE(the_account_says_what_the_probe_found_and_nothing_else),
		CASE(a_file_that_the_kernel_refuses_goes_on_with_its_own_hooks),
		CASE(a_file_that_must_stay_on_the_kernel_lane_fails_instead_and_loses_nothing),
	};

	return cmocka_run_group_tests_name("kpipe", tests, NULL, NULL);
}
