/* SPDX-License-Identifier: MIT */
/* test_faulty_files - the library and files with wrong sizes and late errors: a read knows the end, and a close what failed. */
#include "faulty.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "lanes/kpipe.h"

#define LEN 100000

static const char *const too_small[] = {"direct size=0",  "direct size=1000", "direct size=-1000",
					"direct growing", "growing",	      "direct short=1000"};

/* A file that is shown, for reading on the kernel lane. */
static struct usp_file *open_shown(struct faulty *faulty, const char *faults)
{
	const struct usp_open_params params = {.size = sizeof(struct usp_open_params), .mode = USP_READ};
	struct usp_file *file;

	faulty_make(faulty, "a", LEN);
	faulty_serve(faulty, faults);
	assert_int_equal(usp_open(faulty_shown(faulty, "a"), &params, &file, NULL), 0);
	usp_file_side(file, USP_READ)->lane = &usp_kernel_lane;
	return file;
}

/* An empty file that is not shown, for reading and writing. */
static struct usp_file *open_sink(struct faulty *faulty)
{
	const struct usp_open_params params = {.size = sizeof(struct usp_open_params), .mode = USP_READ | USP_WRITE};
	struct usp_file *file;

	assert_int_equal(usp_open(faulty_real(faulty, "sink"), &params, &file, NULL), 0);
	return file;
}

static void assert_has_all(struct usp_file *file)
{
	unsigned char *bytes = malloc(LEN + 1);

	assert_non_null(bytes);
	assert_int_equal(pread(usp_file_fd(file), bytes, LEN + 1, 0), LEN);
	assert_pattern(bytes, 0, LEN);
	free(bytes);
}

/* Splice from here to there through a pipe, in pieces, until one of both says something else than bytes. */
static ssize_t splice_all(struct usp_file *in, struct usp_file *out)
{
	struct usp_file *end[2];
	ssize_t ret;

	assert_int_equal(usp_pipe_open(&(struct usp_pipe_params){.size = sizeof(struct usp_pipe_params),
								 .nr_slots = 4,
								 .slot_bytes = 65536},
				       end),
			 0);
	while ((ret = usp_splice(in, NULL, end[1], NULL, 30000, 0)) > 0)
		assert_int_equal(usp_splice(end[0], NULL, out, NULL, (size_t)ret, 0), ret);
	close_pipe(end);
	return ret;
}

static void splice_goes_on_behind_a_size_that_is_too_small(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(too_small); i++) {
		struct usp_file *in = open_shown(*state, too_small[i]), *out = open_sink(*state);

		assert_int_equal(splice_all(in, out), 0);
		assert_has_all(out);
		drop(&in);
		drop(&out);
	}
}

static void sendfile_goes_on_behind_a_size_that_is_too_small(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(too_small); i++) {
		struct usp_file *in = open_shown(*state, too_small[i]), *out = open_sink(*state);
		ssize_t done = 0, ret;

		while ((ret = usp_splice_direct(in, NULL, out, NULL, 30000, 0, NULL)) > 0)
			done += ret;
		assert_int_equal(ret, 0);
		assert_int_equal(done, LEN);
		assert_has_all(out);
		drop(&in);
		drop(&out);
	}
}

static void a_file_is_read_past_its_size_at_any_offset(void **state)
{
	struct usp_file *in = open_shown(*state, "direct size=1000"), *end[2];
	int64_t at = 50000;

	open_pipe(end, 4, 0);
	assert_int_equal(usp_splice(in, &at, end[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(at, 50000 + PAGE);
	take_bytes(end[0], 50000, PAGE);
	at = LEN;
	assert_int_equal(usp_splice(in, &at, end[1], NULL, PAGE, 0), 0);
	assert_int_equal(at, LEN);
	close_pipe(end);
	drop(&in);
}

static void bytes_that_cannot_be_read_are_an_error_and_not_the_end(void **state)
{
	struct usp_file *in = open_shown(*state, "direct read=50000:EIO"), *out = open_sink(*state);

	assert_int_equal(splice_all(in, out), -EIO);
	assert_int_equal(in->pos, 50000);
	assert_int_equal(out->pos, 50000);
	drop(&in);
	drop(&out);
}

/* Pump a file with a size that is too small; the sinks are real. */
static int pump_to(struct faulty *faulty, const struct usp_pump_params *params, unsigned nr_sinks,
		   struct usp_pump_status *ret_status)
{
	struct usp_file *in = open_shown(faulty, "direct size=1000"), *out[2];
	struct usp_pump *pump;
	int ret;

	usp_file_side(in, USP_READ)->lane = NULL;
	assert_int_equal(usp_pump_new(in, params, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++) {
		const struct usp_open_params open_params = {.size = sizeof(struct usp_open_params),
							    .mode = USP_READ | USP_WRITE};
		const char *name = i ? "other" : "sink";

		assert_int_equal(usp_open(faulty_real(faulty, name), &open_params, &out[i], NULL), 0);
		assert_int_equal(usp_pump_add_sink(pump, out[i]), 0);
	}
	ret = usp_pump_run(pump);
	usp_pump_status(pump, ret_status);
	for (unsigned i = 0; i < nr_sinks; i++) {
		if (ret == 0)
			assert_has_all(out[i]);
		drop(&out[i]);
	}
	usp_pump_free(pump);
	drop(&in);
	return ret;
}

static void a_pump_delivers_what_is_behind_the_size(void **state)
{
	struct usp_pump_params params = {.size = sizeof(struct usp_pump_params)};
	struct usp_pump_status status = {.size = sizeof(status)};

	for (unsigned nr_sinks = 1; nr_sinks <= 2; nr_sinks++) {
		assert_int_equal(pump_to(*state, &params, nr_sinks, &status), 0);
		assert_int_equal(status.bytes, LEN);
	}
}

static void a_forced_kernel_lane_ends_with_an_error_where_the_kernel_gives_no_more(void **state)
{
	struct usp_pump_params params = {.size = sizeof(struct usp_pump_params), .lane = USP_LANE_KERNEL};
	struct usp_pump_status status = {.size = sizeof(status)};

	for (unsigned nr_sinks = 1; nr_sinks <= 2; nr_sinks++) {
		assert_int_equal(pump_to(*state, &params, nr_sinks, &status), -EOPNOTSUPP);
		assert_int_equal(status.source_error, -EOPNOTSUPP);
		assert_int_equal(status.bytes, 1000);
		assert_int_equal(status.stranded, 0);
	}
}

static void a_file_that_says_it_is_empty_is_cut_when_it_is_opened_for_writing(void **state)
{
	const struct usp_open_params params = {.size = sizeof(struct usp_open_params), .mode = USP_WRITE};
	struct faulty *faulty = *state;
	struct usp_file *out;
	struct stat st;

	faulty_make(faulty, "a", LEN);
	faulty_serve(faulty, "direct size=0");
	assert_int_equal(usp_open(faulty_shown(faulty, "a"), &params, &out, NULL), 0);
	assert_int_equal(stat(faulty_real(faulty, "a"), &st), 0);
	assert_int_equal(st.st_size, 0);
	drop(&out);
}

/* Pump a real file to a shown one, and close that. */
static int close_after_a_pump(struct faulty *faulty, const char *faults, enum usp_lane_choice lane)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	const struct usp_pump_params params = {.size = sizeof(params), .lane = lane};
	struct usp_file *in, *out;
	struct usp_pump *pump;
	struct usp_hop hop = {.size = sizeof(hop)};
	int ret;

	faulty_make(faulty, "a", LEN);
	faulty_serve(faulty, faults);
	assert_int_equal(usp_open(faulty_real(faulty, "a"), &to_read, &in, NULL), 0);
	assert_int_equal(usp_open(faulty_shown(faulty, "b"), &to_write, &out, NULL), 0);
	assert_int_equal(usp_pump_new(in, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, out), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	ret = usp_file_close(out);
	if (usp_pump_hop(pump, 1, &hop) < 0)
		usp_pump_hop(pump, 0, &hop); /* from file to file, without a pipe */
	assert_int_equal(hop.bytes[USP_COPIED] + hop.bytes[USP_UNKNOWN] + hop.bytes[USP_BY_REFERENCE], LEN);
	assert_int_equal(usp_file_close(out), 0);
	usp_pump_free(pump);
	drop(&in);
	drop(&out);
	return ret;
}

static void closing_tells_that_written_bytes_did_not_fit(void **state)
{
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		assert_int_equal(close_after_a_pump(*state, "", lane), 0);
		assert_int_equal(close_after_a_pump(*state, "flush=EDQUOT", lane), -EDQUOT);
		assert_int_equal(close_after_a_pump(*state, "flush=ENOSPC", lane), -ENOSPC);
		assert_int_equal(close_after_a_pump(*state, "flush=EIO", lane), -EIO);
		assert_int_equal(close_after_a_pump(*state, "writeback write=50000:ENOSPC", lane), -ENOSPC);
	}
}

/* A second close would say -EBADF, or close what another thread has opened meanwhile. */
static void an_interrupted_close_is_not_made_again(void **state)
{
	assert_int_equal(close_after_a_pump(*state, "flush=EINTR", USP_LANE_AUTO), -EINTR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULTY_CASE(splice_goes_on_behind_a_size_that_is_too_small),
		FAULTY_CASE(sendfile_goes_on_behind_a_size_that_is_too_small),
		FAULTY_CASE(a_file_is_read_past_its_size_at_any_offset),
		FAULTY_CASE(bytes_that_cannot_be_read_are_an_error_and_not_the_end),
		FAULTY_CASE(a_pump_delivers_what_is_behind_the_size),
		FAULTY_CASE(a_forced_kernel_lane_ends_with_an_error_where_the_kernel_gives_no_more),
		FAULTY_CASE(a_file_that_says_it_is_empty_is_cut_when_it_is_opened_for_writing),
		FAULTY_CASE(closing_tells_that_written_bytes_did_not_fit),
		FAULTY_CASE(an_interrupted_close_is_not_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
