/* SPDX-License-Identifier: MIT */
/* test_memory - the endpoints without a descriptor: null, zero and memory. */
#include "support.h"

static struct usp_file *open_spec(const char *spec, unsigned mode)
{
	struct usp_file *file = NULL;

	assert_int_equal(usp_open(spec, &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = mode},
				  &file, NULL),
			 0);
	return file;
}

static uint64_t bytes_by_reference(const struct usp_file *file, unsigned side)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, side, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], 0);
	assert_int_equal(hop.bytes[USP_UNKNOWN], 0);
	return hop.bytes[USP_BY_REFERENCE];
}

/* --- null and zero ---------------------------------------------------------------------------------- */

static void null_is_empty(void **state)
{
	struct usp_file *null = open_spec("null:", USP_READ), *end[2];
	unsigned char byte;

	(void)state;
	open_pipe(end, 4, 0);
	assert_int_equal(usp_read(null, &byte, 1), 0);
	assert_int_equal(usp_splice(null, NULL, end[1], NULL, 1, 0), 0);
	assert_int_equal(usp_file_seek(null, 0, SEEK_SET), -ESPIPE);
	close_pipe(end);
	usp_file_put(null);
}

static void check_that_a_sink_drops(const char *spec)
{
	struct usp_file *sink = open_spec(spec, USP_WRITE), *end[2];

	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 3 * PAGE);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 10 * PAGE, 0), 3 * PAGE);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(bytes_by_reference(sink, USP_WRITE), 3 * PAGE);
	assert_int_equal(usp_write(sink, "x", 1), 1);
	close_pipe(end);
	usp_file_put(sink);
}

static void null_and_zero_drop_what_is_written(void **state)
{
	(void)state;
	check_that_a_sink_drops("null:");
	check_that_a_sink_drops("zero:");
}

static void zero_fills_the_pipe_from_one_shared_page(void **state)
{
	struct usp_file *zero = open_spec("zero:", USP_READ), *end[2];
	unsigned char bytes[PAGE], zeros[PAGE] = {0};
	struct usp_buf bufs[8];

	(void)state;
	open_pipe(end, 8, 0);
	assert_int_equal(usp_splice(zero, NULL, end[1], NULL, 100 * PAGE, 0), 8 * PAGE);
	assert_int_equal(peek_bufs(end[0], bufs, ARRAY_LEN(bufs)), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_ptr_equal(usp_buf_bytes(&bufs[i]), usp_buf_bytes(&bufs[0]));
	assert_int_equal(bytes_by_reference(zero, USP_READ), 8 * PAGE);
	usp_file_put(zero); /* the references outlive the file */
	memset(bytes, 1, sizeof(bytes));
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), PAGE);
	assert_memory_equal(bytes, zeros, PAGE);
	close_pipe(end);
}

static void zero_reads_as_zeros_at_every_position(void **state)
{
	struct usp_file *zero = open_spec("zero:", USP_READ);
	unsigned char bytes[100], zeros[100] = {0};

	(void)state;
	memset(bytes, 1, sizeof(bytes));
	assert_int_equal(usp_read(zero, bytes, sizeof(bytes)), sizeof(bytes));
	assert_memory_equal(bytes, zeros, sizeof(bytes));
	assert_int_equal(usp_file_seek(zero, 0, SEEK_CUR), sizeof(bytes));
	assert_int_equal(usp_file_seek(zero, INT64_MAX - 1, SEEK_SET), INT64_MAX - 1);
	assert_int_equal(usp_read(zero, bytes, sizeof(bytes)), 1);
	assert_int_equal(usp_read(zero, bytes, sizeof(bytes)), 0);
	usp_file_put(zero);
}

static void nothing_follows_null_and_zero(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *file;
	const char *why;

	(void)state;
	assert_int_equal(usp_open("null:x", &params, &file, &why), -EINVAL);
	assert_string_equal(why, "nothing follows null:");
	assert_int_equal(usp_open("zero:x", &params, &file, &why), -EINVAL);
	assert_string_equal(why, "nothing follows zero:");
}

/* --- The caller's memory ------------------------------------------------------------------------------ */

static void count_done(void *arg)
{
	++*(unsigned *)arg;
}

static void reading_the_callers_memory_gives_references_to_it(void **state)
{
	struct usp_file *memory, *end[2];
	unsigned char bytes[2 * PAGE + 10];
	struct usp_buf bufs[4];

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(end, 4, 0);
	assert_int_equal(usp_open_memory(bytes, sizeof(bytes), USP_READ, NULL, NULL, &memory), 0);
	assert_int_equal(usp_splice(memory, NULL, end[1], NULL, 10 * PAGE, 0), sizeof(bytes));
	assert_int_equal(usp_splice(memory, NULL, end[1], NULL, 10 * PAGE, 0), 0);
	assert_int_equal(peek_bufs(end[0], bufs, ARRAY_LEN(bufs)), 3);
	assert_ptr_equal(usp_buf_bytes(&bufs[0]), bytes);
	assert_ptr_equal(usp_buf_bytes(&bufs[2]), bytes + 2 * PAGE);
	assert_int_equal(bufs[2].len, 10);
	assert_int_equal(bytes_by_reference(memory, USP_READ), sizeof(bytes));
	take_bytes(end[0], 0, sizeof(bytes));
	usp_file_put(memory);
	close_pipe(end);
}

static void done_is_called_once_after_the_last_reference(void **state)
{
	struct usp_file *memory, *end[2];
	unsigned char bytes[PAGE];
	unsigned nr_done = 0;

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(end, 4, 0);
	assert_int_equal(usp_open_memory(bytes, sizeof(bytes), USP_READ, count_done, &nr_done, &memory), 0);
	assert_int_equal(usp_splice(memory, NULL, end[1], NULL, PAGE, 0), PAGE);
	usp_file_put(memory);
	assert_int_equal(nr_done, 0);
	take_bytes(end[0], 0, 10);
	assert_int_equal(nr_done, 0);
	take_bytes(end[0], 10, PAGE - 10);
	assert_int_equal(nr_done, 1);
	close_pipe(end);
	assert_int_equal(nr_done, 1);
}

static void done_is_not_called_when_opening_fails(void **state)
{
	struct usp_file *memory = NULL;
	unsigned char bytes[10];
	unsigned nr_done = 0;

	(void)state;
	assert_int_equal(usp_open_memory(NULL, 10, USP_READ, count_done, &nr_done, &memory), -EINVAL);
	assert_int_equal(usp_open_memory(bytes, 0, USP_READ, count_done, &nr_done, &memory), -EINVAL);
	assert_int_equal(usp_open_memory(bytes, 10, 0, count_done, &nr_done, &memory), -EINVAL);
	assert_int_equal(nr_done, 0);
	assert_null(memory);
}

static void a_write_beyond_the_callers_memory_is_enospc(void **state)
{
	struct usp_file *memory, *end[2];
	unsigned char bytes[100];

	(void)state;
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 150);
	assert_int_equal(usp_open_memory(bytes, sizeof(bytes), USP_WRITE, NULL, NULL, &memory), 0);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, 150, 0), 100);
	assert_pattern(bytes, 0, 100);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, 50, 0), -ENOSPC);
	take_bytes(end[0], 100, 50); /* what did not fit is still in the pipe */
	assert_int_equal(usp_write(memory, "x", 1), -ENOSPC);
	assert_int_equal(usp_write(memory, "", 0), 0);
	usp_file_put(memory);
	close_pipe(end);
}

/* --- mem: ----------------------------------------------------------------------------------------------- */

static void a_text_is_read_as_it_stands(void **state)
{
	struct usp_file *memory = open_spec("mem:a\\,b c", USP_READ);
	char text[16];

	(void)state;
	assert_int_equal(usp_read(memory, text, sizeof(text)), 5);
	assert_memory_equal(text, "a,b c", 5);
	assert_int_equal(usp_read(memory, text, sizeof(text)), 0);
	assert_int_equal(usp_file_seek(memory, 2, SEEK_SET), 2);
	assert_int_equal(usp_read(memory, text, 1), 1);
	assert_int_equal(text[0], 'b');
	usp_file_put(memory);
}

static void an_empty_text_is_the_end_of_input(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ), *end[2];

	(void)state;
	open_pipe(end, 4, 0);
	assert_int_equal(usp_splice(memory, NULL, end[1], NULL, PAGE, 0), 0);
	close_pipe(end);
	usp_file_put(memory);
}

static void memory_grows_as_it_is_written_and_reads_back(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE);
	size_t len = (size_t)3 << 20, step = 100003;
	unsigned char *bytes = malloc(len);

	(void)state;
	assert_non_null(bytes);
	pattern_fill(bytes, 0, len);
	for (size_t off = 0; off < len; off += step) {
		size_t part = len - off < step ? len - off : step;

		assert_int_equal(usp_write(memory, bytes + off, part), part);
	}
	assert_int_equal(usp_file_seek(memory, 0, SEEK_SET), 0);
	memset(bytes, 0, len);
	assert_int_equal(usp_read(memory, bytes, len), len);
	assert_pattern(bytes, 0, len);
	assert_int_equal(usp_read(memory, bytes, len), 0);
	free(bytes);
	usp_file_put(memory);
}

static void memory_grows_up_to_its_maximum(void **state)
{
	struct usp_file *memory = open_spec("mem:,max=10", USP_WRITE);

	(void)state;
	assert_int_equal(usp_write(memory, "12345678", 8), 8);
	assert_int_equal(usp_write(memory, "12345678", 8), 2);
	assert_int_equal(usp_write(memory, "1", 1), -ENOSPC);
	assert_int_equal(usp_file_seek(memory, INT64_MAX, SEEK_SET), INT64_MAX);
	assert_int_equal(usp_write(memory, "1", 1), -ENOSPC);
	usp_file_put(memory);
}

static void a_gap_in_memory_reads_as_zeros(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE);
	size_t gap = 700000;
	unsigned char *bytes = malloc(gap + 1);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 1, gap + 1);
	assert_int_equal(usp_write(memory, bytes, gap), gap);
	usp_file_put(memory); /* the pool now has memory that is not zero */
	memory = open_spec("mem:", USP_READ | USP_WRITE);
	assert_int_equal(usp_file_seek(memory, (int64_t)gap, SEEK_SET), gap);
	assert_int_equal(usp_write(memory, "x", 1), 1);
	assert_int_equal(usp_file_seek(memory, 0, SEEK_SET), 0);
	assert_int_equal(usp_read(memory, bytes, gap + 1), gap + 1);
	for (size_t i = 0; i < gap; i++)
		assert_int_equal(bytes[i], 0);
	assert_int_equal(bytes[gap], 'x');
	free(bytes);
	usp_file_put(memory);
}

static void writing_memory_does_not_change_what_a_pipe_holds(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
	int64_t start = 0;
	char text[8];

	(void)state;
	open_pipe(end, 4, 0);
	assert_int_equal(usp_write(memory, "old", 3), 3);
	assert_int_equal(usp_splice(memory, &start, end[1], NULL, PAGE, 0), 3);
	assert_int_equal(usp_file_seek(memory, 0, SEEK_SET), 0);
	assert_int_equal(usp_write(memory, "newer", 5), 5);
	assert_int_equal(usp_read(end[0], text, sizeof(text)), 3);
	assert_memory_equal(text, "old", 3);
	assert_int_equal(usp_file_seek(memory, 0, SEEK_SET), 0);
	assert_int_equal(usp_read(memory, text, sizeof(text)), 5);
	assert_memory_equal(text, "newer", 5);
	usp_file_put(memory);
	close_pipe(end);
}

static void a_spec_of_memory_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *text;
		unsigned mode;
	} specs[] = {
		{"mem:text", USP_WRITE},   {"mem:text", USP_READ | USP_WRITE}, {"mem:,max=5", USP_READ},
		{"mem:,max=0", USP_WRITE}, {"mem:,max=x", USP_WRITE},	       {"mem:,max", USP_WRITE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		struct usp_file *file;
		const char *why = NULL;

		assert_int_equal(usp_open(specs[i].text,
					  &(struct usp_open_params){.size = sizeof(struct usp_open_params),
								    .mode = specs[i].mode},
					  &file, &why),
				 -EINVAL);
		assert_non_null(why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(null_is_empty),
		CASE(null_and_zero_drop_what_is_written),
		CASE(zero_fills_the_pipe_from_one_shared_page),
		CASE(zero_reads_as_zeros_at_every_position),
		CASE(nothing_follows_null_and_zero),
		CASE(reading_the_callers_memory_gives_references_to_it),
		CASE(done_is_called_once_after_the_last_reference),
		CASE(done_is_not_called_when_opening_fails),
		CASE(a_write_beyond_the_callers_memory_is_enospc),
		CASE(a_text_is_read_as_it_stands),
		CASE(an_empty_text_is_the_end_of_input),
		CASE(memory_grows_as_it_is_written_and_reads_back),
		CASE(memory_grows_up_to_its_maximum),
		CASE(a_gap_in_memory_reads_as_zeros),
		CASE(writing_memory_does_not_change_what_a_pipe_holds),
		CASE(a_spec_of_memory_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests_name("null, zero and memory", tests, NULL, NULL);
}
