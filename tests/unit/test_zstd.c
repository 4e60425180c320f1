/* SPDX-License-Identifier: MIT */
/* test_zstd - the decoder of zstd with its window in the memory of the caller, against libzstd. */
#include "support.h"

#include "codec/codec.h"
#include "codec/split.h"
#include "mm/folio.h"

#include <stdlib.h>
#include <usplice/transform.h>

#ifdef USP_HAVE_ZSTD
#include <zstd.h>

#define LEN ((size_t)3000007)
#define ROOM (2 * LEN)
#define LONG_LEN ((size_t)20 << 20) /* more than threads take as one piece */

/* --- Frames ------------------------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *random)
{
	*random = *random * 1664525 + 1013904223;
	return *random >> 8;
}

/* Fill with runs of zeros, random bytes, and copies of what came up to a window before: all kinds of blocks, and far matches. */
static void fill(unsigned char *bytes, size_t len, size_t window, uint32_t random)
{
	size_t at = 0;

	while (at < len) {
		size_t part = next_random(&random) % 300000 + 1, from = next_random(&random) % window + 1;

		part = part < len - at ? part : len - at;
		switch (next_random(&random) % 4) {
		case 0:
			memset(bytes + at, 0, part);
			break;
		case 1:
			for (size_t i = 0; i < part; i++)
				bytes[at + i] = (unsigned char)next_random(&random);
			break;
		default:
			for (size_t i = 0; i < part; i++)
				bytes[at + i] = at + i >= from ? bytes[at + i - from] : (unsigned char)i;
		}
		at += part;
	}
}

/* Pack one frame with a window of 1 << window_log, flushed after every so many bytes: its length. */
static size_t pack(const void *plain, size_t len, int window_log, size_t flush, unsigned char *ret)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	ZSTD_outBuffer out = {.dst = ret, .size = 2 * len + 1000};
	size_t at = 0, left = 1;

	ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	while (left || at < len) {
		size_t part = flush && flush < len - at ? flush : len - at;
		ZSTD_inBuffer in = {.src = (const char *)plain + at, .size = part};

		do {
			left = ZSTD_compressStream2(context, &out, &in, at + part == len ? ZSTD_e_end : ZSTD_e_flush);
			assert_false(ZSTD_isError(left));
		} while (left);
		at += part;
	}
	ZSTD_freeCCtx(context);
	return out.pos;
}

/* --- A caller that keeps the window ------------------------------------------------------------------------- */

/* The memory is exactly what the decoder asks for, and what it must not read any more is freed. */
struct keeper {
	const struct usp_codec_side *codec;
	void *decoder;
	unsigned char *area, *before;
	size_t area_len, filled;
	bool had_window;
	unsigned char *got; /* a copy of all */
	size_t got_len;
};

static bool keeper_lacks_room(struct keeper *keeper)
{
	size_t window = keeper->codec->window(keeper->decoder), least = window ? USP_CODEC_ROOM : 1;

	keeper->had_window |= window > 0;
	return !keeper->area || keeper->area_len < window + least || keeper->area_len - keeper->filled < least;
}

static void keeper_make_room(struct keeper *keeper)
{
	size_t window = keeper->codec->window(keeper->decoder);

	if (!keeper_lacks_room(keeper))
		return;
	free(keeper->before);
	keeper->before = keeper->area;
	keeper->area_len = window ? window + USP_CODEC_ROOM : 1000;
	keeper->area = malloc(keeper->area_len);
	keeper->filled = 0;
}

/* Decode, with step bytes of input in each call: what the last call returns. */
static int keeper_run(struct keeper *keeper, const unsigned char *packed, size_t len, size_t step)
{
	size_t used = 0;
	const char *why = NULL;
	int ret = 0;

	while (ret == 0) {
		size_t part = step < len - used ? step : len - used;
		unsigned char *in = malloc(part + 1); /* of its own, so that no byte behind it is read */
		struct usp_codec_io io = {.in = in, .in_len = part, .is_end = used == len, .keeps_window = true};
		unsigned char *out;

		memcpy(in, packed + used, part);
		keeper_make_room(keeper);
		out = io.out = keeper->area + keeper->filled;
		io.out_len = keeper->area_len - keeper->filled;
		ret = keeper->codec->run(keeper->decoder, &io, &why);
		assert_true((ret < 0) == (why != NULL));
		assert_true(ret || io.in_len < part || io.out != out || keeper_lacks_room(keeper) || !part);
		used += part - io.in_len;
		keeper->filled += (size_t)(io.out - out);
		assert_true(keeper->got_len + (size_t)(io.out - out) <= ROOM);
		memcpy(keeper->got + keeper->got_len, out, (size_t)(io.out - out));
		keeper->got_len += (size_t)(io.out - out);
		free(in);
	}
	return ret;
}

static struct keeper keeper_open(void)
{
	return (struct keeper){
		.codec = &usp_codec_any_decoder, .decoder = usp_codec_any_decoder.open(0), .got = malloc(ROOM)};
}

static void keeper_close(struct keeper *keeper)
{
	keeper->codec->free(keeper->decoder);
	free(keeper->area);
	free(keeper->before);
	free(keeper->got);
}

static void assert_unpacks(const unsigned char *packed, size_t len, size_t step, const unsigned char *plain,
			   size_t plain_len, bool has_window)
{
	struct keeper keeper = keeper_open();

	assert_int_equal(keeper_run(&keeper, packed, len, step), USP_CODEC_DONE);
	assert_int_equal(keeper.got_len, plain_len);
	assert_memory_equal(keeper.got, plain, plain_len);
	assert_int_equal(keeper.had_window, has_window);
	keeper_close(&keeper);
}

/* --- What comes out ----------------------------------------------------------------------------------------- */

#define STEPS_EACH 4u /* other ones with each window, so that all come with small and with large ones */

static void frames_of_all_windows_come_out_whatever_the_pieces_of_input(void **state)
{
	static const size_t steps[] = {1, 2, 3, 17, 1000, 131071, 131072, 131073, 1048576, ROOM};
	static const size_t flushes[] = {0, 100, 70000};
	unsigned char *plain = malloc(LEN), *packed = malloc(ROOM);

	(void)state;
	for (int log = 10; log <= 24; log++) {
		for (unsigned turn = 0; turn < STEPS_EACH; turn++) {
			unsigned i = ((unsigned)log * (STEPS_EACH - 1) + turn) % ARRAY_LEN(steps);
			size_t plain_len = steps[i] < 100 ? LEN / 20 : LEN, flush = flushes[i % ARRAY_LEN(flushes)],
			       len;
			bool has_size = !flush; /* which makes the window smaller */

			fill(plain, plain_len, (size_t)1 << log, (uint32_t)log);
			len = pack(plain, plain_len, log, flush, packed);
			assert_unpacks(packed, len, steps[i], plain, plain_len,
				       has_size || (size_t)1 << log <= USP_CODEC_WINDOW_MAX);
		}
	}
	free(plain);
	free(packed);
}

/* One without a window of the caller's, frames to skip, an empty one, and others. */
static void frames_of_all_kinds_follow_each_other(void **state)
{
	static const unsigned char skip[] = {0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3};
	static const int logs[] = {25, 10, 22, 24, 17, 20, 25, 11};
	static const size_t lens[] = {200000, 0, 300000, 1, 500000, 70000, 9, 400000};
	unsigned char *plain = malloc(LEN), *packed = malloc(ROOM);
	size_t at = 0, len = 0;

	(void)state;
	fill(plain, LEN, 100000, 7);
	for (unsigned i = 0; i < ARRAY_LEN(logs); i++) {
		len += pack(plain + at, lens[i], logs[i], i % 2 ? 0 : 50000, packed + len);
		memcpy(packed + len, skip, sizeof(skip));
		len += sizeof(skip);
		at += lens[i];
	}
	assert_unpacks(packed, len, 1, plain, at, true);
	assert_unpacks(packed, len, 5, plain, at, true);
	assert_unpacks(packed, len, len, plain, at, true);
	free(plain);
	free(packed);
}

/* --- What does not ------------------------------------------------------------------------------------------ */

static void a_frame_cut_anywhere_gives_what_came_whole_and_an_error(void **state)
{
	unsigned char plain[3000], packed[6000];
	size_t whole;

	(void)state;
	fill(plain, sizeof(plain), 1000, 3);
	whole = pack(plain, sizeof(plain), 12, 700, packed);
	for (size_t cut = 1; cut < whole; cut++) {
		struct keeper keeper = keeper_open();
		ZSTD_DCtx *context = ZSTD_createDCtx();
		unsigned char expected[sizeof(plain)];
		ZSTD_outBuffer out = {.dst = expected, .size = sizeof(expected)};

		for (ZSTD_inBuffer in = {.src = packed, .size = cut}; in.pos < in.size;)
			assert_false(ZSTD_isError(ZSTD_decompressStream(context, &out, &in)));
		assert_int_equal(keeper_run(&keeper, packed, cut, cut % 50 + 1), -EBADMSG);
		assert_int_equal(keeper.got_len, out.pos);
		assert_memory_equal(keeper.got, plain, out.pos);
		ZSTD_freeDCtx(context);
		keeper_close(&keeper);
	}
}

/* Nothing is read or written that is not there, which only a sanitizer sees, and no wrong byte is called good. */
static void damage_is_an_error_wherever_it_is(void **state)
{
	unsigned char *plain = malloc(LEN), *packed = malloc(ROOM);
	size_t whole, plain_len = 400000;
	uint32_t random = 11;

	(void)state;
	fill(plain, plain_len, 3000, 5);
	whole = pack(plain, plain_len, 12, 0, packed);
	for (unsigned i = 0; i < 300; i++) {
		struct keeper keeper = keeper_open();
		size_t at = i < 100 ? i : next_random(&random) % whole;
		unsigned char was = packed[at];
		int ret;

		packed[at] ^= (unsigned char)(1 << i % 8);
		ret = keeper_run(&keeper, packed, whole, i % 2 ? whole : 1000);
		packed[at] = was;
		assert_true(ret < 0 || (keeper.got_len == plain_len && memcmp(keeper.got, plain, plain_len) == 0));
		keeper_close(&keeper);
	}
	free(plain);
	free(packed);
}

/* Decode a frame whole and in pieces: each time it is damaged. */
static void assert_damaged(const unsigned char *packed, size_t len)
{
	static const size_t steps[] = {1, 7, ROOM};

	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		struct keeper keeper = keeper_open();

		assert_int_equal(keeper_run(&keeper, packed, len, steps[i]), -EBADMSG);
		keeper_close(&keeper);
	}
}

/* The last block is an empty one, where the library does not look. */
static void a_frame_of_another_length_than_its_header_says_is_damaged(void **state)
{
	static const size_t lens[] = {0, 1, 200, 300, 70000, 200000};
	unsigned char *plain = calloc(1, LEN), *packed = malloc(ROOM);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		ZSTD_CCtx *context = ZSTD_createCCtx();
		ZSTD_outBuffer out = {.dst = packed, .size = ROOM};
		ZSTD_inBuffer in = {.src = plain, .size = lens[i]};
		struct keeper keeper;
		size_t size_at;

		ZSTD_CCtx_setPledgedSrcSize(context, in.size);
		while (ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush) > 0)
			;
		while (ZSTD_compressStream2(context, &out, &in, ZSTD_e_end) > 0)
			;
		ZSTD_freeCCtx(context);
		keeper = keeper_open();
		assert_int_equal(keeper_run(&keeper, packed, out.pos, 1000), USP_CODEC_DONE);
		assert_int_equal(keeper.got_len, in.size);
		keeper_close(&keeper);
		size_at = packed[4] & 0x20 ? 5 : 6;
		for (unsigned bit = 0; bit < 8; bit++) {
			packed[size_at] ^= (unsigned char)(1 << bit);
			assert_damaged(packed, out.pos);
			packed[size_at] ^= (unsigned char)(1 << bit);
		}
	}
	free(plain);
	free(packed);
}

static void a_compressed_block_without_bytes_is_damaged(void **state)
{
	static const unsigned char packed[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 5, 0, 0};

	(void)state;
	assert_damaged(packed, sizeof(packed));
}

/* --- The stage ---------------------------------------------------------------------------------------------- */

static struct usp_file *open_over(const void *bytes, size_t len, unsigned flags)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = flags | USP_TRANSFORM_LENGTH, .length = (int64_t)len};
	struct usp_file *below, *stage;

	assert_int_equal(usp_open_memory((void *)bytes, len, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_transform_open("decompress", below, &params, &stage, NULL), 0);
	return stage;
}

/* Bufs that a sink holds do not change while the stage goes on. */
static void what_was_given_stays_as_it_is(void **state)
{
	static const unsigned flags[] = {USP_TRANSFORM_INLINE, USP_TRANSFORM_THREAD};
	unsigned char *plain = malloc(LONG_LEN), *packed = malloc(2 * LONG_LEN), *got = malloc(LONG_LEN);
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 4096, .slot_bytes = 1 << 20};

	(void)state;
	fill(plain, LONG_LEN, 50000, 9);
	for (unsigned i = 0; i < 2 * ARRAY_LEN(flags); i++) {
		size_t len = pack(plain, LONG_LEN, i < 2 ? 16 : 21, 0, packed), done = 0;
		struct usp_file *stage = open_over(packed, len, flags[i % 2]);
		struct usp_file *ends[2];
		ssize_t ret;

		assert_int_equal(usp_pipe_open(&params, ends), 0);
		while ((ret = usp_splice(stage, NULL, ends[1], NULL, LONG_LEN, 0)) > 0)
			done += (size_t)ret;
		assert_int_equal(ret, 0);
		assert_int_equal(done, LONG_LEN);
		drop(&stage);
		for (size_t at = 0; at < LONG_LEN; at += (size_t)ret) {
			ret = usp_read(ends[0], got + at, LONG_LEN - at);
			assert_true(ret > 0);
		}
		assert_memory_equal(got, plain, LONG_LEN);
		drop(&ends[0]);
		drop(&ends[1]);
	}
	free(plain);
	free(packed);
	free(got);
}

/* However long the frame is, the memory of a stage that is read at once is its window, twice. */
static void memory_does_not_grow_with_the_frame(void **state)
{
	unsigned char *plain = malloc(LEN), *packed = malloc(ROOM), *got = malloc(100000);
	size_t len, nr, before, now;
	struct usp_file *stage;
	ssize_t ret;

	(void)state;
	fill(plain, LEN, 50000, 9);
	len = pack(plain, LEN, 17, 0, packed);
	usp_folio_usage(&nr, &before);
	stage = open_over(packed, len, USP_TRANSFORM_INLINE);
	while ((ret = usp_read(stage, got, 100000)) > 0) {
		usp_folio_usage(&nr, &now);
		assert_true(now <= before + 2 * ((size_t)512 << 10));
	}
	assert_int_equal(ret, 0);
	drop(&stage);
	free(plain);
	free(packed);
	free(got);
}

/* --- Threads ------------------------------------------------------------------------------------------------ */

/* Decode one frame as a stream, up to where the next one may begin. */
static void decode_frame(void *decoder, const unsigned char *packed, size_t len)
{
	struct usp_codec_io io = {.in = packed, .in_len = len, .stops_behind = true};
	unsigned char *out = malloc(LEN);
	const char *why = NULL;
	int ret;

	do {
		io.out = out;
		io.out_len = LEN;
		ret = usp_codec_any_decoder.run(decoder, &io, &why);
	} while (ret == 0);
	assert_int_equal(ret, USP_CODEC_BETWEEN);
	free(out);
}

static void a_frame_of_unknown_length_is_taken_for_as_long_as_the_last_one(void **state)
{
	unsigned char *plain = malloc(LONG_LEN), *sized = malloc(ROOM), *unsized = malloc(ROOM);
	unsigned char *longer = malloc(2 * LONG_LEN + 1000);
	void *first = usp_codec_any_decoder.open(0), *second = usp_codec_any_decoder.open(0);
	size_t sized_len, unsized_len, longer_len;

	(void)state;
	fill(plain, LONG_LEN, 50000, 11);
	sized_len = pack(plain, LEN, 17, 0, sized);
	unsized_len = pack(plain, LEN, 17, LEN - 1, unsized);
	longer_len = pack(plain, LONG_LEN, 17, LONG_LEN - 1, longer);
	assert_ptr_equal(usp_codec_any_split(first, sized, 4), NULL);
	assert_ptr_not_equal(usp_codec_any_split(first, sized, sized_len), NULL);
	assert_ptr_equal(usp_codec_any_split(second, unsized, unsized_len), NULL);
	decode_frame(second, unsized, unsized_len);
	assert_ptr_not_equal(usp_codec_any_split(second, unsized, unsized_len), NULL);
	decode_frame(second, longer, longer_len);
	assert_ptr_equal(usp_codec_any_split(second, unsized, unsized_len), NULL);
	assert_ptr_not_equal(usp_codec_any_split(second, sized, sized_len), NULL);
	usp_codec_any_decoder.free(first);
	usp_codec_any_decoder.free(second);
	free(plain);
	free(sized);
	free(unsized);
	free(longer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(frames_of_all_windows_come_out_whatever_the_pieces_of_input),
		CASE(frames_of_all_kinds_follow_each_other),
		CASE(a_frame_cut_anywhere_gives_what_came_whole_and_an_error),
		CASE(damage_is_an_error_wherever_it_is),
		CASE(a_frame_of_another_length_than_its_header_says_is_damaged),
		CASE(a_compressed_block_without_bytes_is_damaged),
		CASE(what_was_given_stays_as_it_is),
		CASE(memory_does_not_grow_with_the_frame),
		CASE(a_frame_of_unknown_length_is_taken_for_as_long_as_the_last_one),
	};

	return cmocka_run_group_tests_name("zstd", tests, NULL, NULL);
}

#else

int main(void)
{
	return 77;
}

#endif
