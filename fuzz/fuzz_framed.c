/* SPDX-License-Identifier: MIT */
/*
 * fuzz_framed - any bytes are a framed stream, or are refused with a sentence that can be shown. What is whole has all its
 * bytes.
 *
 * Checksums would keep nearly all inputs out. So with an odd first byte those of the header and of the frames are set
 * right before.
 */
#include <errno.h>
#include <string.h>
#include <usplice/endpoint.h>
#include <usplice/framed.h>
#include <usplice/spec.h>

#include "base/crc32c.h"
#include "fuzz.h"

#define STREAM_MAX ((size_t)64 << 10)
#define HEADER_LEN 28
#define FRAME_LEN 12

static void framed_set_crc(unsigned char *base, size_t len)
{
	uint32_t crc = usp_crc32c(0, base, len);

	for (unsigned i = 0; i < 4; i++)
		base[len + i] = (unsigned char)(crc >> (24 - 8 * i));
}

/* Set the checksums of all that looks like a stream. */
static void framed_repair(unsigned char *base, size_t len)
{
	size_t at = HEADER_LEN;

	if (len < HEADER_LEN)
		return;
	framed_set_crc(base, HEADER_LEN - 4);
	while (len - at >= FRAME_LEN) {
		unsigned char *frame = base + at;
		size_t part = (size_t)frame[4] << 24 | (size_t)frame[5] << 16 | (size_t)frame[6] << 8 | frame[7];

		framed_set_crc(frame, FRAME_LEN - 4);
		at += FRAME_LEN;
		if (part > len - at)
			return;
		if (memcmp(frame, "DATA", 4) != 0 && part >= 4)
			framed_set_crc(frame + FRAME_LEN, part - 4);
		at += part;
	}
}

/* Check that a sentence has only characters that a terminal shows. */
static void framed_check_why(const char *why)
{
	uint32_t point;
	size_t len;

	for (; *why; why += len) {
		len = usp_utf8_len(why, &point);
		FUZZ_CHECK(len && !usp_utf8_is_control(point));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static unsigned char stream[STREAM_MAX], bytes[STREAM_MAX];
	struct usp_file *below, *file;
	const char *why;
	size_t done = 0;
	ssize_t ret;

	if (len < 2 || len > STREAM_MAX)
		return 0;
	memcpy(stream, data + 1, --len);
	if (data[0] & 1)
		framed_repair(stream, len);
	FUZZ_CHECK(usp_open_memory(stream, len, USP_READ, NULL, NULL, &below) == 0);
	FUZZ_CHECK(usp_framed_open(below, USP_READ, NULL, &file, NULL) == 0);
	do {
		ret = usp_read(file, bytes, 1 + data[0] * (size_t)16);
		done += ret > 0 ? (size_t)ret : 0;
	} while (ret > 0);
	why = usp_framed_failure(file);
	FUZZ_CHECK(done < len);
	FUZZ_CHECK(ret == 0 || ret == -EBADMSG || ret == -ENODATA || ret == -EREMOTEIO || ret == -EOPNOTSUPP ||
		   ret == -ENOMEM);
	FUZZ_CHECK(!why == (ret == 0 || ret == -ENOMEM));
	if (why)
		framed_check_why(why);
	FUZZ_CHECK(usp_read(file, bytes, 1) == ret); /* it stays so */
	usp_file_put(file);
	return 0;
}
