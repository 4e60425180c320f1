/* SPDX-License-Identifier: MIT */
/* ends - files, memory and gifts for the tests of what went wrong in the kernel. */
#ifndef USP_TESTS_ENDS_H
#define USP_TESTS_ENDS_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "support.h"

#define POISON 0xa5
#define ROUNDS_MAX 100 /* of loops that end much earlier, unless something is wrong */

static inline int open_memfd(size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	int fd = memfd_create("kernel-bugs", MFD_CLOEXEC);

	assert_true(fd >= 0 && bytes);
	pattern_fill(bytes, 0, len);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	free(bytes);
	return fd;
}

static inline struct usp_file *adopt(int fd, unsigned mode)
{
	struct usp_file *file;

	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, "end", &file), 0);
	return file;
}

/* The same file once more, with a description of its own. */
static inline int open_again(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static inline void assert_file(int fd, size_t len)
{
	unsigned char *bytes = malloc(len + 1);

	assert_int_equal(pread(fd, bytes, len + 1, 0), len);
	assert_pattern(bytes, 0, len);
	free(bytes);
}

static inline struct usp_file *open_bytes(unsigned char *bytes, size_t len, unsigned mode)
{
	struct usp_file *file;

	assert_int_equal(usp_open_memory(bytes, len, mode, NULL, NULL, &file), 0);
	return file;
}

static inline unsigned char *map_pages(unsigned nr_pages)
{
	void *pages = mmap(NULL, (size_t)nr_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(pages != MAP_FAILED);
	pattern_fill(pages, 0, (size_t)nr_pages * PAGE);
	return pages;
}

static inline struct usp_gift *give(struct usp_file *end, unsigned char *bytes, size_t len)
{
	struct usp_gift *gift;

	assert_int_equal(usp_gift_new(bytes, len, NULL, NULL, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, len, end, 0), len);
	return gift;
}

/* Splice until nothing moves any more: how much it was, and the last result. */
static inline size_t splice_all(struct usp_file *in, struct usp_file *out, ssize_t *ret_last)
{
	size_t sum = 0;

	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		*ret_last = usp_splice(in, NULL, out, NULL, 8 * PAGE, 0);
		if (*ret_last <= 0)
			break;
		sum += (size_t)*ret_last;
	}
	return sum;
}

#endif
