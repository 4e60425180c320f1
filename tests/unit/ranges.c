/* SPDX-License-Identifier: MIT */
/* ranges - see ranges.h. */
#include "ranges.h"

#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/sys.h"

#define SLOT_BYTES ((size_t)1 << 20)

uint32_t random_next(uint32_t *random)
{
	*random = *random * 1664525 + 1013904223;
	return *random >> 8;
}

void open_wide_pipe(struct usp_file *end[2])
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 16, .slot_bytes = SLOT_BYTES};

	assert_int_equal(usp_pipe_open(&params, end), 0);
}

/* Read up to len bytes at off by references: how many before the end or an error, which is in *ret_error. */
size_t splice_at(struct usp_file *file, int64_t off, unsigned char *to, size_t len, int *ret_error)
{
	struct usp_file *end[2];
	ssize_t ret = 1, got = 1;
	size_t done = 0;

	open_wide_pipe(end);
	while (done < len && ret > 0 && got > 0) {
		ret = usp_splice(file, &(int64_t){off + (int64_t)done}, end[1], NULL, len - done, 0);
		for (size_t left = ret > 0 ? (size_t)ret : 0; left && got > 0; left -= (size_t)got) {
			got = usp_read(end[0], to + done, left);
			if (got <= 0)
				break;
			done += (size_t)got;
		}
	}
	close_pipe(end);
	*ret_error = (int)(ret < 0 ? ret : got < 0 ? got : 0);
	return done;
}

/* The same by copies. */
size_t pread_at(struct usp_file *file, int64_t off, unsigned char *to, size_t len, int *ret_error)
{
	ssize_t got = 1;
	size_t done = 0;

	while (done < len && got > 0) {
		got = usp_pread(file, to + done, len - done, off + (int64_t)done);
		done += got > 0 ? (size_t)got : 0;
	}
	*ret_error = got < 0 ? (int)got : 0;
	return done;
}

void check_range(struct usp_file *file, const unsigned char *plain, int64_t off, size_t len, bool by_splice)
{
	unsigned char *got = malloc(len + 1);
	int error;

	assert_int_equal((by_splice ? splice_at : pread_at)(file, off, got, len, &error), len);
	assert_int_equal(error, 0);
	assert_memory_equal(got, plain + off, len);
	free(got);
}

void check_random_ranges(struct usp_file *file, const unsigned char *plain, size_t len, unsigned nr, uint32_t seed)
{
	for (unsigned i = 0; i < nr; i++) {
		size_t off = random_next(&seed) % len, most = random_next(&seed) % 8 ? 5000 : 400000;
		size_t part = random_next(&seed) % most + 1;

		check_range(file, plain, (int64_t)off, part < len - off ? part : len - off, i % 2);
	}
}

/* --- Files on disk ----------------------------------------------------------------------------------------- */

void disk_write(const struct disk *disk, const void *bytes, size_t len)
{
	FILE *out = fopen(disk->path, "r+");

	out = out ? out : fopen(disk->path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(bytes, 1, len, out), len);
	assert_int_equal(ftruncate(fileno(out), (off_t)len), 0);
	assert_int_equal(fclose(out), 0);
}

void disk_make(struct disk *disk, const void *bytes, size_t len)
{
	snprintf(disk->path, sizeof(disk->path), "ranges-%d", (int)getpid());
	snprintf(disk->spec, sizeof(disk->spec), "./%s", disk->path);
	disk_write(disk, bytes, len);
}

void disk_settle(const struct disk *disk)
{
	struct stat st;

	do {
		sched_yield();
		assert_int_equal(stat(disk->path, &st), 0);
	} while (usp_sys_is_recent(&st.st_ctim));
}

struct usp_file *disk_open_below(const struct disk *disk)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *file;

	assert_int_equal(usp_open(disk->spec, &params, &file, NULL), 0);
	return file;
}
