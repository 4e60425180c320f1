/* SPDX-License-Identifier: MIT */
/*
 * fuzz_decompress - any bytes are decompressed, or refused with a reason that stays; how they come, and in what pieces they are
 * asked for, changes nothing. What one thread can decompress, pieces for several threads give, too.
 */
#include <errno.h>
#include <string.h>
#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "fuzz.h"

#define OUTPUT_MAX ((size_t)1 << 20) /* of a bomb, that much */

/* Read up to room bytes: 0 or -errno, and the length. */
static int decompress_read(struct usp_file *stage, size_t piece, unsigned char *ret, size_t room, size_t *ret_len)
{
	ssize_t got = 1;

	*ret_len = 0;
	while (got > 0 && *ret_len < room) {
		got = usp_read(stage, ret + *ret_len, piece < room - *ret_len ? piece : room - *ret_len);
		*ret_len += got > 0 ? (size_t)got : 0;
	}
	return got < 0 ? (int)got : 0;
}

/* An error has a reason, a place in the input, and comes again. */
static void decompress_check_error(struct usp_file *stage, int error, size_t len)
{
	const char *why = NULL;
	uint64_t offset = 0;
	char byte;

	FUZZ_CHECK(error == -EBADMSG || error == -EINVAL || error == -EFBIG || error == -EOPNOTSUPP ||
		   error == -ENOMEM);
	FUZZ_CHECK(error == -ENOMEM || usp_transform_failure(stage, &why, &offset));
	FUZZ_CHECK(offset <= len && (why || error == -ENOMEM));
	FUZZ_CHECK(usp_read(stage, &byte, 1) == error);
}

/* Decompress, and ask for so many bytes at a time: 0 or -errno. */
static int decompress_run(const uint8_t *data, size_t len, unsigned flags, size_t piece, unsigned char *ret,
			  size_t *ret_len)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = flags | USP_TRANSFORM_LENGTH, .length = (int64_t)len};
	struct usp_file *below, *stage;
	int error;

	FUZZ_CHECK(usp_open_memory((void *)(len ? data : (const uint8_t *)"x"), len ? len : 1, USP_READ, NULL, NULL,
				   &below) == 0);
	FUZZ_CHECK(usp_transform_open("decompress", below, &params, &stage, NULL) == 0);
	error = decompress_read(stage, piece, ret, OUTPUT_MAX, ret_len);
	if (error < 0)
		decompress_check_error(stage, error, len);
	usp_file_put(stage);
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static unsigned char first[OUTPUT_MAX], second[OUTPUT_MAX];
	size_t first_len, second_len;
	int first_error = decompress_run(data, len, USP_TRANSFORM_INLINE, OUTPUT_MAX, first, &first_len);
	int second_error = decompress_run(data, len, USP_TRANSFORM_INLINE, 4093, second, &second_len);

	if (first_error == -ENOMEM || second_error == -ENOMEM)
		return 0;
	FUZZ_CHECK(first_error == second_error);
	FUZZ_CHECK(first_len == second_len && memcmp(first, second, first_len) == 0);
	second_error = decompress_run(data, len, 0, OUTPUT_MAX, second, &second_len);
	FUZZ_CHECK(first_error < 0 || second_error == -ENOMEM || (second_error == 0 && first_len == second_len));
	FUZZ_CHECK(first_error < 0 || memcmp(first, second, second_len) == 0);
	return 0;
}
