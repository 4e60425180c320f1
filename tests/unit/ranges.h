/* SPDX-License-Identifier: MIT */
/* ranges - read ranges of a file, by references and by copies, and files on disk that change. */
#ifndef USP_TESTS_RANGES_H
#define USP_TESTS_RANGES_H

#include "support.h"

/* A number below 2^24. */
uint32_t random_next(uint32_t *random);

/* Open a pipe for 16 MiB of references. */
void open_wide_pipe(struct usp_file *end[2]);

/* Read up to len bytes at off: how many before the end or an error, which is in *ret_error. */
size_t splice_at(struct usp_file *file, int64_t off, unsigned char *to, size_t len, int *ret_error);
size_t pread_at(struct usp_file *file, int64_t off, unsigned char *to, size_t len, int *ret_error);

/* Check that bytes of a file are those of plain: one range, or some that a seed chooses of len bytes. */
void check_range(struct usp_file *file, const unsigned char *plain, int64_t off, size_t len, bool by_splice);
void check_random_ranges(struct usp_file *file, const unsigned char *plain, size_t len, unsigned nr, uint32_t seed);

/* A file in the folder of the test. */
struct disk {
	char path[64], spec[80];
};

void disk_make(struct disk *disk, const void *bytes, size_t len);
void disk_write(const struct disk *disk, const void *bytes, size_t len);
struct usp_file *disk_open_below(const struct disk *disk);

/* Wait until what is read is kept: a file that changed a moment ago may change again without a later time. */
void disk_settle(const struct disk *disk);

#endif
