/* SPDX-License-Identifier: MIT */
/*
 * fuzz_seekable - any bytes are taken for a file with a table of pieces, or refused with a reason; a range has the bytes
 * that a read in order has there, or an error.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "fuzz.h"

#define OUTPUT_MAX ((size_t)256 << 10) /* of a bomb, that much */
#define RANGES 8

/* Read up to len bytes at off: how many before an error, which is in *ret_error. */
static size_t seekable_read(struct usp_file *file, int64_t off, unsigned char *ret, size_t len, int *ret_error)
{
	size_t done = 0;
	ssize_t got = 1;

	while (done < len && got > 0) {
		got = usp_pread(file, ret + done, len - done, off + (int64_t)done);
		done += got > 0 ? (size_t)got : 0;
	}
	*ret_error = got < 0 ? (int)got : 0;
	return done;
}

static void seekable_check_error(struct usp_file *file, int error)
{
	const char *why = NULL;
	uint64_t offset;

	FUZZ_CHECK(error == 0 || error == -EBADMSG || error == -EFBIG || error == -ENOMEM);
	FUZZ_CHECK(error == 0 || error == -ENOMEM || (usp_transform_failure(file, &why, &offset) && why));
}

/* Compare ranges with the len bytes that were read in order; data chooses where they are. */
static void seekable_check_ranges(struct usp_file *file, const uint8_t *data, size_t data_len, const unsigned char *all,
				  size_t len)
{
	static unsigned char part[OUTPUT_MAX];

	for (size_t i = 0; i < RANGES && len; i++) {
		uint32_t seed = data[i * 7 % data_len] * 65537u + data[i * 13 % data_len] * 257u + (uint32_t)i;
		size_t off = seed % len, most = seed % 5000, got;
		int error;

		got = seekable_read(file, (int64_t)off, part, most < len - off ? most : len - off, &error);
		seekable_check_error(file, error);
		FUZZ_CHECK(memcmp(part, all + off, got) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = USP_TRANSFORM_SEEKABLE, .budget = (size_t)1 << 20};
	static unsigned char all[OUTPUT_MAX];
	struct usp_file *below, *file;
	const char *why = NULL;
	size_t got;
	int ret;

	if (!len)
		return 0;
	FUZZ_CHECK(usp_open_memory((void *)data, len, USP_READ, NULL, NULL, &below) == 0);
	ret = usp_transform_open("decompress", below, &params, &file, &why);
	if (ret < 0) {
		FUZZ_CHECK(ret == -ENOMEM || ((ret == -ESPIPE || ret == -EFBIG || ret == -EOPNOTSUPP) && why));
		usp_file_put(below);
		return 0;
	}
	FUZZ_CHECK(usp_file_size(file) >= 0);
	got = seekable_read(file, 0, all, OUTPUT_MAX, &ret);
	seekable_check_error(file, ret);
	FUZZ_CHECK(ret < 0 || got == OUTPUT_MAX || (int64_t)got == usp_file_size(file));
	seekable_check_ranges(file, data, len, all, got);
	usp_file_put(file);
	return 0;
}
