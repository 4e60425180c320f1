/* SPDX-License-Identifier: MIT */
/* test_memory - the endpoints without a descriptor: null, zero and memory. */
#include "support.h"

#include <sched.h>

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

/* --- A sink that takes pages -------------------------------------------------------------------------- */

static const char taken_reason[] = "the memory was taken over";

static struct usp_hop hop_of(const struct usp_file *file, unsigned side)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, side, &hop);
	return hop;
}

/* The bytes of the oldest buf of a pipe, where they lie. */
static const unsigned char *first_bytes(struct usp_file *read_end)
{
	struct usp_buf buf;

	assert_int_equal(peek_bufs(read_end, &buf, 1), 1);
	return usp_buf_bytes(&buf);
}

/* Memory has len bytes of the pattern, from the start on. */
static void check_memory(struct usp_file *memory, size_t len)
{
	unsigned char *bytes = malloc(len + 1);

	assert_non_null(bytes);
	assert_int_equal(usp_pread(memory, bytes, len + 1, 0), len);
	assert_pattern(bytes, 0, len);
	free(bytes);
}

/* Does memory lend the bytes at a position from there? */
static bool lends(struct usp_file *memory, int64_t pos, const unsigned char *from)
{
	struct usp_file *end[2];
	bool is_there;

	open_pipe(end, 1, 0);
	assert_true(usp_splice(memory, &pos, end[1], NULL, 1, 0) == 1);
	is_there = first_bytes(end[0]) == from;
	close_pipe(end);
	return is_there;
}

static void a_whole_buf_is_taken_over_with_move(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
	const unsigned char *page;

	(void)state;
	open_pipe(end, 4, 0);
	inject(end[1], folio_buf(0, PAGE, 0));
	put_bytes(end[1], PAGE, 3 * PAGE);
	page = first_bytes(end[0]);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, 10 * PAGE, USP_SPLICE_MOVE), 4 * PAGE);
	assert_int_equal(bytes_by_reference(memory, USP_WRITE), 4 * PAGE);
	assert_string_equal(hop_of(memory, USP_WRITE).reason[USP_BY_REFERENCE], taken_reason);
	assert_int_equal(usp_file_seek(memory, 0, SEEK_CUR), 4 * PAGE);
	assert_true(lends(memory, 0, page));
	assert_true(lends(memory, 100, page + 100));
	check_memory(memory, 4 * PAGE);
	close_pipe(end);
	check_memory(memory, 4 * PAGE);
	usp_file_put(memory);
}

/* Half of a folio is enough, wherever it begins. */
static void what_is_left_of_a_buf_is_taken_over(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 1, .slot_bytes = 4 * PAGE};
	const unsigned char *bytes;

	(void)state;
	assert_int_equal(usp_pipe_open(&params, end), 0);
	inject(end[1], folio_buf(0, 4 * PAGE, 0));
	bytes = first_bytes(end[0]);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, PAGE + 10, USP_SPLICE_MOVE), PAGE + 10);
	assert_int_equal(hop_of(memory, USP_WRITE).bytes[USP_COPIED], PAGE + 10);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, 4 * PAGE, USP_SPLICE_MOVE), 3 * PAGE - 10);
	assert_int_equal(hop_of(memory, USP_WRITE).bytes[USP_BY_REFERENCE], 3 * PAGE - 10);
	assert_true(lends(memory, PAGE + 10, bytes + PAGE + 10));
	check_memory(memory, 4 * PAGE);
	close_pipe(end);
	usp_file_put(memory);
}

/* What a pipe is filled with, and what it shares, so that a page may not be taken over. */
static struct usp_file *twin[2];
static struct mock_store store;
static _Alignas(PAGE) unsigned char gifted[PAGE]; /* slots of a page hold no parts of two */

static void fill_with_a_page(struct usp_file *end[2])
{
	inject(end[1], folio_buf(0, PAGE, 0));
}

static void fill_with_a_shared_page(struct usp_file *end[2])
{
	inject(end[1], folio_buf(0, PAGE, 0));
	assert_int_equal(usp_tee(end[0], twin[1], PAGE, 0), PAGE);
}

static void fill_with_a_gift(struct usp_file *end[2])
{
	const struct iovec iov = {.iov_base = gifted, .iov_len = PAGE};

	pattern_fill(gifted, 0, PAGE);
	assert_int_equal(usp_vmsplice(end[1], &iov, 1, USP_SPLICE_GIFT), PAGE);
}

/* An author's memory, which an author's table would give away. */
static void fill_with_a_packet(struct usp_file *end[2])
{
	store.can_steal = true;
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, PAGE, 0));
}

static void fill_with_less_than_a_page(struct usp_file *end[2])
{
	inject(end[1], folio_buf(0, PAGE - 1, 0));
}

static void fill_with_less_than_half_a_folio(struct usp_file *end[2])
{
	struct usp_buf buf = folio_buf(0, 2 * PAGE + 1, 0); /* of a folio of four pages */

	buf.len = PAGE;
	inject(end[1], buf);
}

static void fill_with_a_huge_folio(struct usp_file *end[2])
{
	close_pipe(end);
	assert_int_equal(usp_pipe_open(&(struct usp_pipe_params){.size = sizeof(struct usp_pipe_params),
								 .nr_slots = 1,
								 .slot_bytes = (size_t)4 << 20},
				       end),
			 0);
	inject(end[1], folio_buf(0, (size_t)4 << 20, 0));
}

static void what_cannot_be_taken_over_is_copied(void **state)
{
	static const struct {
		void (*fill)(struct usp_file *end[2]);
		size_t len, at; /* asked for; bytes that memory has */
		int64_t pos;
		const char *spec;
		unsigned flags;
		const char *why;
	} rows[] = {
		{fill_with_a_page, PAGE, 0, 0, "mem:", 0, "MOVE was not asked for"},
		{fill_with_a_page, PAGE, 0, 0, "mem:", USP_SPLICE_GIFT, "MOVE was not asked for"},
		{fill_with_a_page, PAGE - 1, 0, 0, "mem:", USP_SPLICE_MOVE, "only a part of a buf was asked for"},
		{fill_with_a_page, PAGE, 10, 9, "mem:", USP_SPLICE_MOVE, "not at the end of what the sink has"},
		{fill_with_a_page, PAGE, 10, 11, "mem:", USP_SPLICE_MOVE, "not at the end of what the sink has"},
		{fill_with_a_page, PAGE, 0, 0, "mem:,max=4095", USP_SPLICE_MOVE, "the sink has no room for all of it"},
		{fill_with_a_shared_page, PAGE, 0, 0, "mem:", USP_SPLICE_MOVE, "others refer to the memory"},
		{fill_with_a_gift, PAGE, 0, 0, "mem:", USP_SPLICE_MOVE, "the memory has another owner"},
		{fill_with_a_packet, PAGE, 0, 0, "mem:", USP_SPLICE_MOVE, "the memory has another owner"},
		{fill_with_less_than_a_page, PAGE, 0, 0, "mem:", USP_SPLICE_MOVE, "too small a part of a folio"},
		{fill_with_less_than_half_a_folio, PAGE, 0, 0, "mem:", USP_SPLICE_MOVE, "too small a part of a folio"},
		{fill_with_a_huge_folio, (size_t)4 << 20, 0, 0, "mem:", USP_SPLICE_MOVE, "too small a part of a folio"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct usp_file *memory = open_spec(rows[i].spec, USP_READ | USP_WRITE), *end[2];
		int64_t pos = rows[i].pos;
		unsigned char *bytes = calloc(1, (size_t)5 << 20);
		const unsigned char *page;
		struct usp_hop hop;
		ssize_t ret;

		assert_non_null(bytes);
		mock_store_init(&store);
		open_pipe(end, 1, 0);
		open_pipe(twin, 1, 0);
		rows[i].fill(end);
		page = first_bytes(end[0]);
		assert_int_equal(usp_write(memory, bytes, rows[i].at), rows[i].at);
		ret = usp_splice(end[0], NULL, memory, &pos, rows[i].len, rows[i].flags);
		assert_true(ret > 0);
		hop = hop_of(memory, USP_WRITE);
		assert_int_equal(hop.bytes[USP_COPIED], ret);
		assert_int_equal(hop.bytes[USP_BY_REFERENCE], 0);
		assert_string_equal(hop.reason[USP_COPIED], rows[i].why);
		assert_int_equal(pos, rows[i].pos + ret);
		assert_int_equal(usp_pread(memory, bytes, (size_t)ret, rows[i].pos), ret);
		assert_pattern(bytes, 0, (size_t)ret);
		assert_false(lends(memory, rows[i].pos, page));
		close_pipe(end);
		close_pipe(twin);
		mock_store_fini(&store);
		usp_file_put(memory);
		free(bytes);
	}
}

static void the_callers_memory_is_copied_into(void **state)
{
	struct usp_file *memory, *end[2];
	unsigned char bytes[PAGE];

	(void)state;
	open_pipe(end, 1, 0);
	inject(end[1], folio_buf(0, PAGE, 0));
	assert_int_equal(usp_open_memory(bytes, sizeof(bytes), USP_WRITE, NULL, NULL, &memory), 0);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, PAGE, USP_SPLICE_MOVE), PAGE);
	assert_string_equal(hop_of(memory, USP_WRITE).reason[USP_COPIED], "it goes into memory of the caller");
	assert_pattern(bytes, 0, PAGE);
	usp_file_put(memory);
	close_pipe(end);
}

/* They were copied on their way: the ledger says so, although they are not copied again. */
static void bytes_that_the_kernel_held_stay_copied_when_they_are_taken_over(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
	const unsigned char *page;

	(void)state;
	open_pipe(end, 1, 0);
	inject(end[1], folio_buf(0, PAGE, USP_BUF_MAPPED));
	page = first_bytes(end[0]);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, PAGE, USP_SPLICE_MOVE), PAGE);
	assert_int_equal(hop_of(memory, USP_WRITE).bytes[USP_COPIED], PAGE);
	assert_int_equal(hop_of(memory, USP_WRITE).bytes[USP_BY_REFERENCE], 0);
	assert_true(lends(memory, 0, page));
	usp_file_put(memory);
	close_pipe(end);
}

static void a_page_that_was_taken_over_does_not_change_under_its_readers(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
	unsigned char byte = (unsigned char)~pattern_at(100);

	(void)state;
	open_pipe(end, 4, 0);
	inject(end[1], folio_buf(0, PAGE, 0));
	inject(end[1], folio_buf(PAGE, PAGE, 0));
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, 2 * PAGE, USP_SPLICE_MOVE), 2 * PAGE);
	assert_int_equal(usp_splice(memory, &(int64_t){0}, end[1], NULL, 2 * PAGE, 0), 2 * PAGE);
	assert_int_equal(usp_file_seek(memory, 100, SEEK_SET), 100);
	assert_int_equal(usp_write(memory, &byte, 1), 1);
	take_bytes(end[0], 0, 2 * PAGE);
	byte = 0;
	assert_int_equal(usp_pread(memory, &byte, 1, 100), 1);
	assert_int_equal(byte, (unsigned char)~pattern_at(100));
	close_pipe(end);
	usp_file_put(memory);
}

/* Nobody else refers to it: it is changed where it is. */
static void a_page_that_was_taken_over_belongs_to_the_memory(void **state)
{
	struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
	const unsigned char *page;
	unsigned char byte = pattern_at(0);

	(void)state;
	open_pipe(end, 1, 0);
	inject(end[1], folio_buf(0, PAGE, 0));
	page = first_bytes(end[0]);
	assert_int_equal(usp_splice(end[0], NULL, memory, NULL, PAGE, USP_SPLICE_MOVE), PAGE);
	assert_int_equal(usp_file_seek(memory, 0, SEEK_SET), 0);
	assert_int_equal(usp_write(memory, &byte, 1), 1);
	assert_true(lends(memory, 0, page));
	check_memory(memory, PAGE);
	close_pipe(end);
	usp_file_put(memory);
}

/* As the manual says: twice the bytes, and 512 KiB. */
static void check_bound(struct usp_file *memory, size_t before)
{
	struct usp_usage usage = {.size = sizeof(usage)};

	usp_trim(&usage);
	assert_true(usage.folio_bytes - before <= 2 * (size_t)usp_file_size(memory) + ((size_t)512 << 10));
}

/* Large folios with few bytes, and small bufs between whole pages. */
static void memory_is_bounded_by_the_bytes_in_it(void **state)
{
	static const size_t patterns[][2] = {{1, 1}, {PAGE, 1}, {1, 16 * PAGE}, {16 * PAGE, 9 * PAGE}, {8 * PAGE, 100}};
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 1, .slot_bytes = 16 * PAGE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		struct usp_file *memory = open_spec("mem:", USP_READ | USP_WRITE), *end[2];
		struct usp_usage usage = {.size = sizeof(usage)};
		size_t len = 0;

		assert_int_equal(usp_pipe_open(&params, end), 0);
		usp_trim(&usage);
		for (unsigned nr = 0; nr < 200; nr++) {
			size_t part = patterns[i][nr % 2];
			struct usp_buf buf = folio_buf(len, 16 * PAGE, 0);

			buf.len = part;
			inject(end[1], buf);
			assert_int_equal(usp_splice(end[0], NULL, memory, NULL, part, USP_SPLICE_MOVE), part);
			len += part;
			check_bound(memory, usage.folio_bytes);
		}
		check_memory(memory, len);
		close_pipe(end);
		usp_file_put(memory);
	}
}

static void a_pump_lets_memory_take_pages_over(void **state)
{
	struct usp_file *source = open_spec("mem:", USP_READ | USP_WRITE),
			*memory = open_spec("mem:", USP_READ | USP_WRITE);
	struct usp_route_total total = {.size = sizeof(total)};
	unsigned char *bytes = malloc((size_t)1 << 20);
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);

	(void)state;
	assert_non_null(bytes);
	mock->size = (int64_t)1 << 20;
	assert_int_equal(usp_copy_files(mock->file, memory, NULL, &total), 0);
	assert_int_equal(hop_of(memory, USP_WRITE).bytes[USP_BY_REFERENCE], 1 << 20);
	assert_int_equal(total.copied, 1 << 20); /* by the source */
	check_memory(memory, (size_t)1 << 20);
	/* The source keeps its own references: now the bytes are copied. */
	pattern_fill(bytes, 0, (size_t)1 << 20);
	assert_int_equal(usp_write(source, bytes, (size_t)1 << 20), 1 << 20);
	assert_int_equal(usp_file_seek(source, 0, SEEK_SET), 0);
	assert_int_equal(usp_file_seek(memory, 0, SEEK_SET), 0);
	assert_int_equal(usp_copy_files(source, memory, NULL, NULL), 0);
	assert_int_equal(hop_of(memory, USP_WRITE).bytes[USP_COPIED], 1 << 20);
	check_memory(memory, (size_t)1 << 20);
	mock_close(mock);
	usp_file_put(source);
	usp_file_put(memory);
	free(bytes);
}

/* --- Beside others ---------------------------------------------------------------------------------------- */

#define STREAM_LEN ((size_t)8 << 20)

struct stream {
	struct usp_file *pipe[2], *memory;
	size_t len;
};

/* Pieces that end in the middle of a slot, so that the next one is appended. */
static ssize_t stream_write(void *arg)
{
	struct stream *stream = arg;
	unsigned char bytes[9000];
	ssize_t ret = 0;

	for (size_t off = 0; off < STREAM_LEN && ret >= 0; off += (size_t)ret) {
		size_t len = 1000 + off % 8000;

		len = len < STREAM_LEN - off ? len : STREAM_LEN - off;
		pattern_fill(bytes, off, len);
		ret = usp_write(stream->pipe[1], bytes, len);
	}
	drop(&stream->pipe[1]);
	return ret < 0 ? ret : 0;
}

/* Copies of what is there; they stay what they are. */
static ssize_t stream_read(void *arg)
{
	struct stream *stream = arg;
	const size_t len = 100000;
	unsigned char *bytes = malloc(len);
	int64_t pos = 0;
	bool is_good = true;

	while (is_good && (size_t)pos < STREAM_LEN) {
		ssize_t ret = usp_pread(stream->memory, bytes, len, pos);

		is_good = ret >= 0 && pattern_is(bytes, (uint64_t)pos, (size_t)ret);
		pos += ret > 0 ? ret : 0;
		if (ret == 0)
			sched_yield();
	}
	free(bytes);
	return is_good ? 0 : -EIO;
}

static void a_pipe_that_is_written_meanwhile_changes_nothing_in_memory(void **state)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 4, .slot_bytes = 2 * PAGE};
	struct stream stream = {.memory = open_spec("mem:", USP_READ | USP_WRITE)};
	struct worker writer, reader;
	struct usp_hop hop;
	ssize_t ret;

	(void)state;
	assert_int_equal(usp_pipe_open(&params, stream.pipe), 0);
	worker_start(&writer, stream_write, &stream);
	worker_start(&reader, stream_read, &stream);
	do
		ret = usp_splice(stream.pipe[0], NULL, stream.memory, NULL, STREAM_LEN, USP_SPLICE_MOVE);
	while (ret > 0);
	assert_int_equal(ret, 0);
	assert_int_equal(worker_join(&writer), 0);
	assert_int_equal(worker_join(&reader), 0);
	hop = hop_of(stream.memory, USP_WRITE);
	assert_int_equal(hop.bytes[USP_COPIED] + hop.bytes[USP_BY_REFERENCE], STREAM_LEN);
	assert_true(hop.bytes[USP_BY_REFERENCE] > 0);
	check_memory(stream.memory, STREAM_LEN);
	usp_file_put(stream.pipe[0]);
	usp_file_put(stream.memory);
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
		CASE(a_whole_buf_is_taken_over_with_move),
		CASE(what_is_left_of_a_buf_is_taken_over),
		CASE(what_cannot_be_taken_over_is_copied),
		CASE(the_callers_memory_is_copied_into),
		CASE(bytes_that_the_kernel_held_stay_copied_when_they_are_taken_over),
		CASE(a_page_that_was_taken_over_does_not_change_under_its_readers),
		CASE(a_page_that_was_taken_over_belongs_to_the_memory),
		CASE(memory_is_bounded_by_the_bytes_in_it),
		CASE(a_pump_lets_memory_take_pages_over),
		CASE(a_pipe_that_is_written_meanwhile_changes_nothing_in_memory),
	};

	return cmocka_run_group_tests_name("null, zero and memory", tests, NULL, NULL);
}
