/* SPDX-License-Identifier: MIT */
/* test_inflate - gzip is decoded alike by zlib and by ISA-L. */
#include "support.h"

#include <stdlib.h>

#include "codec/inflate.h"

#ifdef USP_HAVE_ZLIB
#include <zlib.h>

#define ROOM ((size_t)200000)

/* Decode in pieces of the input and output: 0 or -errno, how much came out, and how much went in. */
static int decode(const struct usp_inflate *inflate, const unsigned char *in, size_t in_len, size_t in_piece,
		  size_t out_piece, unsigned char *ret, size_t *ret_len, size_t *ret_taken)
{
	void *state = usp_gzip_decoder_open(inflate);
	const char *why = NULL;
	size_t taken = 0, made = 0;
	int error = 0;

	while (error == 0 && made < ROOM) {
		size_t len = in_piece < in_len - taken ? in_piece : in_len - taken;
		size_t room = out_piece < ROOM - made ? out_piece : ROOM - made;
		struct usp_codec_io io = {
			.in = in + taken, .in_len = len, .out = ret + made, .out_len = room, .is_end = taken == in_len};

		error = usp_codec_gzip.decoder.run(state, &io, &why);
		taken += len - io.in_len;
		made += room - io.out_len;
	}
	usp_codec_gzip.decoder.free(state);
	*ret_len = made;
	*ret_taken = taken;
	assert_true(error >= 0 || why);
	return error;
}

static const struct {
	size_t in, out;
} pieces[] = {{ROOM, ROOM}, {1, ROOM}, {7, 11}, {4096, 1}, {3, 4097}};

/* Both libraries agree on what a stream is: whole, damaged or cut off. What is whole gives the same bytes. */
static int assert_alike(const unsigned char *in, size_t len, size_t *ret_len)
{
	static unsigned char by_zlib[ROOM], by_isal[ROOM], before[ROOM];
	size_t zlib_len, isal_len, zlib_taken, isal_taken, before_len = 0;
	int error = decode(&usp_inflate_zlib, in, len, ROOM, ROOM, by_zlib, &zlib_len, &zlib_taken);

	for (unsigned i = 0; i < ARRAY_LEN(pieces); i++) {
		int got = decode(&usp_inflate_isal, in, len, pieces[i].in, pieces[i].out, by_isal, &isal_len,
				 &isal_taken);

		assert_int_equal(got, error);
		assert_memory_equal(by_zlib, by_isal, zlib_len < isal_len ? zlib_len : isal_len);
		before_len = i && isal_len > before_len ? before_len : isal_len;
		assert_memory_equal(before, by_isal, i ? before_len : 0);
		memcpy(before, by_isal, before_len);
		if (error >= 0) {
			assert_int_equal(zlib_len, isal_len);
			assert_int_equal(zlib_taken, isal_taken);
		}
	}
	*ret_len = zlib_len;
	return error;
}

/* A member whose header has these parts. */
static size_t member(const void *bytes, size_t len, int level, gz_header *header, unsigned char *ret)
{
	z_stream stream = {
		.next_in = (void *)bytes, .avail_in = (unsigned)len, .next_out = ret, .avail_out = (unsigned)ROOM};

	assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	if (header)
		assert_int_equal(deflateSetHeader(&stream, header), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	return stream.total_out;
}

static unsigned char plain[60000];

/* Members of every kind: stored, fixed and dynamic blocks, and every part of a header. */
static size_t make(unsigned kind, unsigned char *ret)
{
	gz_header header = {.time = 77, .text = 1};
	size_t len = kind % 3 == 0 ? 300 : kind % 3 == 1 ? 3 : sizeof(plain);

	header.extra = kind & 1 ? (unsigned char *)"xtra" : NULL;
	header.extra_len = kind & 16 ? 0 : 4;
	header.name = kind & 2 ? (unsigned char *)"name" : NULL;
	header.comment = kind & 4 ? (unsigned char *)"" : NULL;
	header.hcrc = kind & 8 ? 1 : 0;
	return member(plain, len, (int)(kind % 10), kind ? &header : NULL, ret);
}

static void whole_streams_are_decoded_alike(void **state)
{
	static unsigned char packed[4 * ROOM];

	(void)state;
	for (unsigned kind = 0; kind < 96; kind++) {
		size_t len = make(kind, packed), got;

		assert_int_equal(assert_alike(packed, len, &got), USP_CODEC_DONE);
		len += make(kind + 1, packed + len);
		memset(packed + len, 0, 20);
		assert_int_equal(assert_alike(packed, len + kind % 20, &got), USP_CODEC_DONE);
		memcpy(packed + len, "\x1fgarbage", 8);
		assert_int_equal(assert_alike(packed, len + 8, &got), -EBADMSG);
	}
}

static void streams_that_are_cut_off_end_alike(void **state)
{
	static unsigned char packed[ROOM];

	(void)state;
	for (unsigned kind = 0; kind < 31; kind += 3) { /* the small ones */
		size_t len = make(kind, packed), got;

		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(assert_alike(packed, cut, &got), -EBADMSG);
	}
}

static void damage_of_any_bit_is_found_alike(void **state)
{
	static unsigned char packed[ROOM];

	(void)state;
	for (unsigned kind = 0; kind < 31; kind += 3) {
		size_t len = make(kind, packed), got;

		for (size_t bit = 0; bit < 8 * len; bit++) {
			packed[bit / 8] ^= (unsigned char)(1 << bit % 8);
			assert_alike(packed, len, &got);
			packed[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
	}
}

static int setup(void **state)
{
	uint32_t random = 1;

	(void)state;
	pattern_fill(plain, 0, sizeof(plain));
	for (size_t i = 100; i < sizeof(plain) / 2; i++) {
		random = random * 1664525 + 1013904223;
		plain[i] = (unsigned char)(random >> 24);
	}
	usp_codec_gzip.missing(); /* loads zlib */
	if (!usp_inflate_zlib.is_there() || !usp_inflate_isal.is_there()) {
		print_message("built without one of the two\n");
		exit(77);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(whole_streams_are_decoded_alike),
		CASE(streams_that_are_cut_off_end_alike),
		CASE(damage_of_any_bit_is_found_alike),
	};

	return cmocka_run_group_tests_name("inflate", tests, setup, NULL);
}

#else

int main(void)
{
	return 77;
}

#endif
