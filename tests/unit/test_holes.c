/* SPDX-License-Identifier: MIT */
/* test_holes - holes through pumps: what find_hole and make_hole are asked, who gets zeros, and what the ledger says. */
#include "support.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define DISK_LEN (64 * PAGE)

/* A file in memory with data in pages that a mask names, which keeps what happens to it. */
struct disk {
	struct usp_file *file;
	uint64_t data; /* bit i: page i is data */
	unsigned char bytes[DISK_LEN];
	size_t nr_written, nr_holes, nr_read;
	int find_error, make_error;
	size_t make_most; /* make fewer at a time, if it is not 0 */
};

static bool is_data(const struct disk *disk, size_t page)
{
	return disk->data >> page & 1;
}

static int disk_find_hole(struct usp_file *in, int64_t pos, struct usp_holes *ret_holes)
{
	struct disk *disk = in->priv;
	size_t first = (size_t)pos / PAGE, page = first;

	if (disk->find_error)
		return disk->find_error;
	if (pos >= DISK_LEN)
		return -ENXIO;
	while (page < DISK_LEN / PAGE && is_data(disk, page) == is_data(disk, first))
		page++;
	ret_holes->is_hole = !is_data(disk, first);
	ret_holes->end = (int64_t)(page * PAGE);
	return 0;
}

static ssize_t disk_make_hole(struct usp_file *out, int64_t pos, size_t len)
{
	struct disk *disk = out->priv;

	if (disk->make_error)
		return disk->make_error;
	if (disk->make_most && len > disk->make_most)
		len = disk->make_most;
	memset(disk->bytes + pos, 0, len);
	disk->nr_holes += len;
	return (ssize_t)len;
}

static ssize_t disk_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct disk *disk = in->priv;
	size_t len = DISK_LEN - (size_t)*pos;

	(void)flags;
	len = to->iov->iov_len < len ? to->iov->iov_len : len;
	memcpy(to->iov->iov_base, disk->bytes + *pos, len);
	disk->nr_read += len;
	*pos += (int64_t)len;
	return (ssize_t)len;
}

static ssize_t disk_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct disk *disk = out->priv;

	(void)flags;
	memcpy(disk->bytes + *pos, from->iov->iov_base, from->iov->iov_len);
	disk->nr_written += from->iov->iov_len;
	*pos += (int64_t)from->iov->iov_len;
	return (ssize_t)from->iov->iov_len;
}

static const struct usp_file_ops disk_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "disk",
	.read_iter = disk_read_iter,
	.write_iter = disk_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.find_hole = disk_find_hole,
	.make_hole = disk_make_hole,
};

/* A disk with data in these pages, which is never zero; a sink is full of old bytes. */
static struct disk *disk_new(unsigned mode, uint64_t data)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	assert_non_null(disk);
	disk->data = data;
	memset(disk->bytes, mode == USP_WRITE ? 0xee : 0, DISK_LEN);
	for (size_t page = 0; mode == USP_READ && page < DISK_LEN / PAGE; page++)
		memset(disk->bytes + page * PAGE, is_data(disk, page) ? (int)page + 1 : 0, PAGE);
	assert_int_equal(usp_file_new(&disk_ops, mode, "disk", disk, &disk->file), 0);
	disk->file->traits = USP_FILE_SEEKABLE;
	return disk;
}

static void disk_free(struct disk *disk)
{
	drop(&disk->file);
	free(disk);
}

/* Pump from one to one or two, and compare. */
static void run(struct disk *from, struct disk *to, struct usp_file *second, enum usp_sparse sparse,
		struct usp_route_total *ret_total)
{
	const struct usp_pump_params params = {.size = sizeof(params), .sparse = sparse};
	struct usp_pump *pump;

	*ret_total = (struct usp_route_total){.size = sizeof(*ret_total)};
	assert_int_equal(usp_pump_new(from->file, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, to->file), 0);
	if (second)
		assert_int_equal(usp_pump_add_sink(pump, second), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_total(pump, ret_total);
	usp_pump_free(pump);
	assert_memory_equal(from->bytes, to->bytes, DISK_LEN);
}

#define SOME UINT64_C(0x8000f00000000a01)
#define NR_SOME 8

static void holes_are_neither_read_nor_written(void **state)
{
	struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);
	struct usp_route_total total;

	(void)state;
	run(from, to, NULL, USP_SPARSE_AUTO, &total);
	assert_int_equal(from->nr_read, NR_SOME * PAGE);
	assert_int_equal(to->nr_written, NR_SOME * PAGE);
	assert_int_equal(to->nr_holes, DISK_LEN - NR_SOME * PAGE);
	assert_int_equal(total.holes, DISK_LEN - NR_SOME * PAGE);
	assert_int_equal(total.copied, NR_SOME * PAGE);
	assert_int_equal(total.by_reference + total.unknown + total.rewritten, 0);
	disk_free(from);
	disk_free(to);
}

static void without_the_parameter_all_is_read_and_written(void **state)
{
	static const enum usp_sparse modes[] = {USP_SPARSE_ANY, USP_SPARSE_NEVER};
	struct usp_route_total total;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);

		run(from, to, NULL, modes[i], &total);
		assert_int_equal(to->nr_written, DISK_LEN);
		assert_int_equal(total.holes, 0);
		disk_free(from);
		disk_free(to);
	}
}

static void a_sink_that_makes_no_holes_gets_zeros(void **state)
{
	static const int errors[] = {-EOPNOTSUPP};
	struct usp_route_total total;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(errors); i++) {
		struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);

		to->make_error = errors[i];
		run(from, to, NULL, USP_SPARSE_AUTO, &total);
		assert_int_equal(from->nr_read, NR_SOME * PAGE);
		assert_int_equal(to->nr_written, DISK_LEN);
		assert_int_equal(total.holes, 0);
		assert_int_equal(total.copied, DISK_LEN);
		disk_free(from);
		disk_free(to);
	}
}

static void a_sink_may_make_less_at_a_time(void **state)
{
	struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);
	struct usp_route_total total;

	(void)state;
	to->make_most = 1000;
	run(from, to, NULL, USP_SPARSE_AUTO, &total);
	assert_int_equal(total.holes, DISK_LEN - NR_SOME * PAGE);
	disk_free(from);
	disk_free(to);
}

static void a_source_that_cannot_tell_is_data(void **state)
{
	struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);
	struct usp_route_total total;

	(void)state;
	from->find_error = -EINVAL;
	run(from, to, NULL, USP_SPARSE_AUTO, &total);
	assert_int_equal(from->nr_read, DISK_LEN);
	assert_int_equal(total.holes, 0);
	disk_free(from);
	disk_free(to);
}

static void always_finds_zeros_that_were_read(void **state)
{
	struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);
	struct usp_route_total total;

	(void)state;
	from->find_error = -EINVAL;
	run(from, to, NULL, USP_SPARSE_ALWAYS, &total);
	assert_int_equal(from->nr_read, DISK_LEN);
	assert_int_equal(to->nr_written, NR_SOME * PAGE);
	assert_int_equal(total.holes, DISK_LEN - NR_SOME * PAGE);
	disk_free(from);
	disk_free(to);
}

static void each_of_several_sinks_does_as_it_can(void **state)
{
	struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0), *other = disk_new(USP_WRITE, 0);
	struct usp_route_total total;

	(void)state;
	other->make_error = -EOPNOTSUPP;
	run(from, to, other->file, USP_SPARSE_AUTO, &total);
	assert_memory_equal(from->bytes, other->bytes, DISK_LEN);
	assert_int_equal(to->nr_written, NR_SOME * PAGE);
	assert_int_equal(other->nr_written, DISK_LEN);
	assert_int_equal(total.holes, DISK_LEN - NR_SOME * PAGE);
	assert_int_equal(total.copied, DISK_LEN + NR_SOME * PAGE);
	disk_free(from);
	disk_free(to);
	disk_free(other);
}

static void an_error_of_a_hole_is_that_of_the_sink(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .sparse = USP_SPARSE_AUTO};
	struct disk *from = disk_new(USP_READ, SOME), *to = disk_new(USP_WRITE, 0);
	struct usp_sink_status status = {.size = sizeof(status)};
	struct usp_pump *pump;

	(void)state;
	to->make_error = -ENOSPC;
	assert_int_equal(usp_pump_new(from->file, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, to->file), 0);
	assert_int_equal(usp_pump_run(pump), -ENOSPC);
	assert_int_equal(usp_pump_sink_status(pump, 0, &status), 0);
	assert_int_equal(status.bytes, PAGE); /* the first page is data */
	assert_int_equal(to->file->pos, PAGE);
	usp_pump_free(pump);
	disk_free(from);
	disk_free(to);
}

static void a_hole_at_the_end_has_the_right_size(void **state)
{
	const struct usp_pump_params params = {
		.size = sizeof(params), .sparse = USP_SPARSE_AUTO, .flags = USP_PUMP_COUNT, .count = 100000};
	int from = memfd_create("source", MFD_CLOEXEC), to = memfd_create("sink", MFD_CLOEXEC);
	struct usp_file *source, *sink;
	struct stat st;

	(void)state;
	assert_int_equal(ftruncate(from, 200000), 0);
	assert_int_equal(usp_open_fd(from, USP_READ | USP_EXCLUSIVE, "source", &source), 0);
	assert_int_equal(usp_open_fd(to, USP_WRITE | USP_EXCLUSIVE, "sink", &sink), 0);
	assert_int_equal(usp_copy_files(source, sink, &params, NULL), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 100000);
	assert_int_equal(st.st_blocks, 0);
	drop(&source);
	drop(&sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(holes_are_neither_read_nor_written),    CASE(without_the_parameter_all_is_read_and_written),
		CASE(a_sink_that_makes_no_holes_gets_zeros), CASE(a_sink_may_make_less_at_a_time),
		CASE(a_source_that_cannot_tell_is_data),     CASE(always_finds_zeros_that_were_read),
		CASE(each_of_several_sinks_does_as_it_can),  CASE(an_error_of_a_hole_is_that_of_the_sink),
		CASE(a_hole_at_the_end_has_the_right_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
