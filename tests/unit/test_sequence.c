/* SPDX-License-Identifier: MIT */
/* test_sequence - several files as one source: their order, errors, accounts and references. */
#include "support.h"

#define NR_FILES 5

/* What the sequence asks for: memory with the pattern, cut into pieces; 0 or -errno in place of a piece ends it. */
struct row {
	size_t lens[NR_FILES];
	int errors[NR_FILES];
	unsigned nr, next, nr_done;
	size_t off;
	unsigned char bytes[1 << 16];
};

static void row_done(void *arg)
{
	((struct row *)arg)->nr_done++;
}

static int row_next(void *arg, struct usp_file **ret_file)
{
	struct row *row = arg;
	unsigned i = row->next++;
	int ret;

	if (i >= row->nr || row->errors[i])
		return i >= row->nr ? 0 : row->errors[i];
	ret = usp_open_memory(row->bytes + row->off, row->lens[i], USP_READ, row_done, row, ret_file);
	row->off += row->lens[i];
	return ret < 0 ? ret : 1;
}

static struct row *row_new(unsigned nr, const size_t *lens)
{
	struct row *row = calloc(1, sizeof(*row));

	assert_non_null(row);
	pattern_fill(row->bytes, 0, sizeof(row->bytes));
	row->nr = nr;
	for (unsigned i = 0; i < nr; i++)
		row->lens[i] = lens[i];
	return row;
}

static int row_open(struct row *row, struct usp_file **ret_file)
{
	const struct usp_sequence_params params = {.size = sizeof(params), .next = row_next, .arg = row};

	return usp_sequence_open(&params, "row", ret_file);
}

static uint64_t moved(const struct usp_file *file)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	uint64_t sum = 0;

	usp_file_hop(file, USP_READ, &hop);
	for (unsigned way = 0; way < USP_WAYS_MAX; way++)
		sum += hop.bytes[way];
	return sum;
}

static void reading_gives_one_file_behind_the_other(void **state)
{
	struct row *row = row_new(3, (const size_t[]){1000, 1, 3000});
	unsigned char bytes[4001];
	size_t done = 0;
	ssize_t ret;
	struct usp_file *file;

	(void)state;
	assert_int_equal(row_open(row, &file), 0);
	while ((ret = usp_read(file, bytes + done, sizeof(bytes) - done)) > 0)
		done += (size_t)ret;
	assert_int_equal(ret, 0);
	assert_int_equal(done, 4001);
	assert_pattern(bytes, 0, done);
	assert_int_equal(usp_read(file, bytes, 1), 0); /* the end stays the end */
	assert_int_equal(row->next, 4);
	drop(&file);
	assert_int_equal(row->nr_done, 3);
	free(row);
}

static void splices_lend_the_memory_of_each_file(void **state)
{
	struct row *row = row_new(3, (const size_t[]){1000, 2000, 3000});
	struct usp_file *file, *end[2];
	struct usp_buf bufs[4];

	(void)state;
	open_pipe(end, 16, 0);
	assert_int_equal(row_open(row, &file), 0);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 6000, 0), 1000);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 6000, 0), 2000);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 100, 0), 100);
	assert_int_equal(peek_bufs(end[0], bufs, 4), 3);
	assert_ptr_equal(usp_buf_bytes(&bufs[1]), row->bytes + 1000);
	assert_int_equal(moved(file), 3100);
	take_bytes(end[0], 0, 3100);
	drop(&file);
	close_pipe(end);
	assert_int_equal(row->nr_done, 3);
	free(row);
}

static void a_sequence_has_no_positions_and_no_size(void **state)
{
	struct row *row = row_new(1, (const size_t[]){1000});
	struct usp_file *file, *end[2];
	unsigned char byte;
	int64_t off = 0;

	(void)state;
	open_pipe(end, 16, 0);
	assert_int_equal(row_open(row, &file), 0);
	assert_int_equal(usp_file_seek(file, 0, SEEK_CUR), -ESPIPE);
	assert_int_equal(usp_pread(file, &byte, 1, 0), -ESPIPE);
	assert_int_equal(usp_splice(file, &off, end[1], NULL, 1, 0), -EINVAL);
	assert_int_equal(usp_file_size(file), -EINVAL);
	drop(&file);
	close_pipe(end);
	free(row);
}

static void an_error_of_next_comes_behind_the_bytes_before_it(void **state)
{
	struct row *row = row_new(3, (const size_t[]){1000, 1000, 1000});
	unsigned char bytes[1000];
	struct usp_file *file;

	(void)state;
	row->errors[1] = -ENOENT;
	assert_int_equal(row_open(row, &file), 0);
	assert_int_equal(usp_read(file, bytes, 1000), 1000);
	assert_int_equal(usp_read(file, bytes, 1000), -ENOENT);
	drop(&file);
	row->errors[0] = -EACCES;
	row->next = 0;
	assert_int_equal(row_open(row, &file), -EACCES);
	row->nr = 0;
	assert_int_equal(row_open(row, &file), -EINVAL);
	free(row);
}

static void a_pump_moves_all_files_and_counts_them(void **state)
{
	static const size_t lens[] = {10, 30000, 4096, 1, 20000};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_route_total total = {.size = sizeof(total)};
	unsigned char *copy = malloc(sizeof(((struct row *)0)->bytes));
	struct row *row = row_new(NR_FILES, lens);
	struct usp_file *file, *sink;
	struct usp_pump *pump;

	(void)state;
	assert_int_equal(row_open(row, &file), 0);
	assert_int_equal(usp_open_memory(copy, sizeof(row->bytes), USP_WRITE, NULL, NULL, &sink), 0);
	assert_int_equal(usp_pump_new(file, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_status(pump, &status);
	usp_pump_total(pump, &total);
	assert_int_equal(status.bytes, 54107);
	assert_int_equal(total.by_reference + total.copied, 54107);
	assert_int_equal(moved(file), 54107);
	assert_pattern(copy, 0, 54107);
	usp_pump_free(pump);
	drop(&file);
	drop(&sink);
	assert_int_equal(row->nr_done, NR_FILES);
	free(copy);
	free(row);
}

static void zero_copy_cannot_be_required_of_what_comes_later(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_REQUIRE_ZERO_COPY};
	struct row *row = row_new(2, (const size_t[]){10, 10});
	struct usp_file *file, *sink;
	struct usp_pump *pump;

	(void)state;
	assert_int_equal(row_open(row, &file), 0);
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			 &sink, NULL),
		0);
	assert_int_equal(usp_pump_new(file, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), -USP_EWOULDCOPY);
	usp_pump_free(pump);
	drop(&file);
	drop(&sink);
	free(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(reading_gives_one_file_behind_the_other), CASE(splices_lend_the_memory_of_each_file),
		CASE(a_sequence_has_no_positions_and_no_size), CASE(an_error_of_next_comes_behind_the_bytes_before_it),
		CASE(a_pump_moves_all_files_and_counts_them),  CASE(zero_copy_cannot_be_required_of_what_comes_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
