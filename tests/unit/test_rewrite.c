/* SPDX-License-Identifier: MIT */
/* test_rewrite - the stages that compress and decompress, against the one-shot functions of the libraries. */
#include "support.h"

#include "codec/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <usplice/transform.h>

#ifdef USP_HAVE_ZSTD
#include <zstd.h>
#endif
#ifdef USP_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef USP_HAVE_LZ4
#include <lz4.h>
#include <lz4frame.h>
#endif
#ifdef USP_HAVE_LZMA
#include <lzma.h>
#endif

#define LEN ((size_t)3000007) /* more than a pipe and the folios of the thread hold at once, in odd pieces */

static const unsigned thread_flags[] = {0, USP_TRANSFORM_INLINE, USP_TRANSFORM_THREAD};

/* --- The formats -------------------------------------------------------------------------------------------- */

/* What the library itself makes of bytes, in ret, and of what a stage made; both return the length. */
struct format {
	const char *name;
	size_t (*pack)(const void *bytes, size_t len, void *ret, size_t room);
	size_t (*unpack)(const void *bytes, size_t len, void *ret, size_t room);
};

#ifdef USP_HAVE_ZSTD
static size_t zstd_pack(const void *bytes, size_t len, void *ret, size_t room)
{
	size_t got = ZSTD_compress(ret, room, bytes, len, 3);

	assert_false(ZSTD_isError(got));
	return got;
}

static size_t zstd_unpack(const void *bytes, size_t len, void *ret, size_t room)
{
	size_t got = ZSTD_decompress(ret, room, bytes, len);

	assert_false(ZSTD_isError(got));
	return got;
}
#endif

#ifdef USP_HAVE_ZLIB
static size_t gzip_pack(const void *bytes, size_t len, void *ret, size_t room)
{
	z_stream stream = {
		.next_in = (void *)bytes, .avail_in = (unsigned)len, .next_out = ret, .avail_out = (unsigned)room};

	assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	return stream.total_out;
}

static size_t gzip_unpack(const void *bytes, size_t len, void *ret, size_t room)
{
	z_stream stream = {
		.next_in = (void *)bytes, .avail_in = (unsigned)len, .next_out = ret, .avail_out = (unsigned)room};

	assert_int_equal(inflateInit2(&stream, 31), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.avail_in, 0);
	inflateEnd(&stream);
	return stream.total_out;
}
#endif

#ifdef USP_HAVE_LZ4
static size_t lz4_pack(const void *bytes, size_t len, void *ret, size_t room)
{
	const LZ4F_preferences_t preferences = {.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled};
	size_t got = LZ4F_compressFrame(ret, room, bytes, len, &preferences);

	assert_false(LZ4F_isError(got));
	return got;
}

static size_t lz4_unpack(const void *bytes, size_t len, void *ret, size_t room)
{
	size_t got = 0, used = 0, left = 1;
	LZ4F_dctx *context;

	assert_false(LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
	while (left) {
		size_t out = room - got, in = len - used;

		left = LZ4F_decompress(context, (char *)ret + got, &out, (const char *)bytes + used, &in, NULL);
		assert_false(LZ4F_isError(left));
		got += out;
		used += in;
		assert_true(!left || in || out);
	}
	assert_int_equal(used, len);
	LZ4F_freeDecompressionContext(context);
	return got;
}
#endif

#ifdef USP_HAVE_LZMA
static size_t xz_pack(const void *bytes, size_t len, void *ret, size_t room)
{
	size_t got = 0;

	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, bytes, len, ret, &got, room), LZMA_OK);
	return got;
}

static size_t xz_unpack(const void *bytes, size_t len, void *ret, size_t room)
{
	uint64_t memory = UINT64_MAX;
	size_t got = 0, used = 0;

	assert_int_equal(lzma_stream_buffer_decode(&memory, 0, NULL, bytes, &used, len, ret, &got, room), LZMA_OK);
	assert_int_equal(used, len);
	return got;
}
#endif

static const struct format formats[] = {
#ifdef USP_HAVE_ZSTD
	{"zstd", zstd_pack, zstd_unpack},
#endif
#ifdef USP_HAVE_ZLIB
	{"gzip", gzip_pack, gzip_unpack},
#endif
#ifdef USP_HAVE_LZ4
	{"lz4", lz4_pack, lz4_unpack},
#endif
#ifdef USP_HAVE_LZMA
	{"xz", xz_pack, xz_unpack},
#endif
	{NULL, NULL, NULL},
};

/* --- Helpers ------------------------------------------------------------------------------------------------ */

/* Put a stage over bytes of the program. */
static struct usp_file *open_over(const char *spec, const void *bytes, size_t len, unsigned flags)
{
	const struct usp_transform_params params = {.size = sizeof(params), .flags = flags};
	struct usp_file *below, *stage;

	assert_int_equal(usp_open_memory((void *)(len ? bytes : "x"), len ? len : 1, USP_READ, NULL, NULL, &below), 0);
	if (!len)
		usp_file_seek(below, 1, SEEK_SET);
	assert_int_equal(usp_transform_open(spec, below, &params, &stage, NULL), 0);
	return stage;
}

/* Read to the end, or an error, in pieces: the length or -errno, and in *ret_len what came before. */
static int read_all(struct usp_file *stage, unsigned char *ret, size_t room, size_t *ret_len)
{
	static const size_t pieces[] = {1, 7, 65536, 4095, 300000, 2};
	ssize_t got = 1;

	*ret_len = 0;
	for (unsigned i = 0; got > 0; i++) {
		size_t piece = pieces[i % ARRAY_LEN(pieces)];

		got = usp_read(stage, ret + *ret_len, piece < room - *ret_len ? piece : room - *ret_len);
		*ret_len += got > 0 ? (size_t)got : 0;
		if (*ret_len == room)
			return 0;
	}
	return (int)got;
}

/* Bytes of the pattern that a codec can make smaller, and some that it cannot. */
static unsigned char *mixed_bytes(size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	uint32_t random = 1;

	pattern_fill(bytes, 0, len);
	for (size_t i = len / 3; i < len / 3 * 2; i++) {
		random = random * 1664525 + 1013904223;
		bytes[i] = (unsigned char)(random >> 24);
	}
	return bytes;
}

/* Run a pump from a stage into memory of the mock sink. */
static int pump_into(struct usp_file *stage, struct mock *sink)
{
	struct usp_pump *pump;
	int ret;

	assert_int_equal(usp_pump_new(stage, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink->file), 0);
	ret = usp_pump_run(pump);
	usp_pump_free(pump);
	return ret;
}

/* --- What comes out ----------------------------------------------------------------------------------------- */

static void what_the_library_packs_is_unpacked(void **state)
{
	const size_t lens[] = {0, 1, 1000, 262144, LEN};
	unsigned char *packed = malloc(2 * LEN), *got = malloc(LEN + 1);

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(thread_flags); i++) {
			size_t plain_len = lens[i / ARRAY_LEN(thread_flags)], len;
			unsigned char *plain = mixed_bytes(plain_len);
			struct usp_file *stage =
				open_over("decompress", packed, format->pack(plain, plain_len, packed, 2 * LEN),
					  thread_flags[i % ARRAY_LEN(thread_flags)]);

			assert_int_equal(read_all(stage, got, LEN + 1, &len), 0);
			assert_int_equal(len, plain_len);
			assert_memory_equal(got, plain, len);
			assert_int_equal(usp_read(stage, got, 1), 0);
			drop(&stage);
			free(plain);
		}
	}
	free(packed);
	free(got);
}

static void what_a_stage_packs_is_unpacked_by_the_library(void **state)
{
	const size_t lens[] = {0, 1, 1000, 262144, LEN};
	unsigned char *packed = malloc(2 * LEN), *got = malloc(LEN + 1);

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(thread_flags); i++) {
			size_t plain_len = lens[i / ARRAY_LEN(thread_flags)], len;
			unsigned char *plain = mixed_bytes(plain_len);
			char spec[16];
			struct usp_file *stage;

			snprintf(spec, sizeof(spec), "%s:1", format->name);
			stage = open_over(spec, plain, plain_len, thread_flags[i % ARRAY_LEN(thread_flags)]);
			assert_int_equal(read_all(stage, packed, 2 * LEN, &len), 0);
			assert_int_equal(format->unpack(packed, len, got, LEN + 1), plain_len);
			assert_memory_equal(got, plain, plain_len);
			drop(&stage);
			free(plain);
		}
	}
	free(packed);
	free(got);
}

static void a_pump_packs_and_unpacks_in_a_stack_of_stages(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
			const struct usp_transform_params params = {.size = sizeof(params), .flags = thread_flags[i]};
			struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
			struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
			struct usp_hop hop = {.size = sizeof(hop)};
			struct usp_file *packing, *stage;

			below->size = (int64_t)LEN;
			SCRIPT(below, 1, 2, 3, 4095, 100001, 7, PAGE, 1, 300000);
			assert_int_equal(
				usp_transform_open(format->name, usp_file_get(below->file), &params, &packing, NULL),
				0);
			assert_int_equal(usp_transform_open("decompress", packing, &params, &stage, NULL), 0);
			assert_int_equal(pump_into(stage, sink), 0);
			assert_int_equal(sink->len, LEN);
			assert_pattern(sink->bytes, 0, LEN);
			usp_file_hop(stage, USP_READ, &hop);
			assert_int_equal(hop.bytes[USP_REWRITTEN], LEN);
			drop(&stage);
			mock_close(below);
			mock_close(sink);
		}
	}
}

/* --- Streams of several frames, and what is no stream -------------------------------------------------------- */

static void thousands_of_small_frames_are_one_stream(void **state)
{
	enum { FRAMES = 3000, FRAME = 100 };
	unsigned char *packed = malloc(FRAMES * 400), *got = malloc(FRAMES * FRAME + 1), plain[FRAME];

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		struct usp_file *stage;
		size_t at = 0, len;

		for (size_t i = 0; i < FRAMES; i++) {
			pattern_fill(plain, (int64_t)(i * FRAME), FRAME);
			at += format->pack(plain, FRAME, packed + at, 400);
		}
		stage = open_over("decompress", packed, at, 0);
		assert_int_equal(read_all(stage, got, FRAMES * FRAME + 1, &len), 0);
		assert_int_equal(len, FRAMES * FRAME);
		assert_pattern(got, 0, len);
		drop(&stage);
	}
	free(packed);
	free(got);
}

static void input_cut_at_any_byte_is_an_error_with_its_offset(void **state)
{
	unsigned char packed[2000], got[1001];
	unsigned char *plain = mixed_bytes(1000);

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t whole = format->pack(plain, 1000, packed, sizeof(packed)), len;

		for (size_t cut = 0; cut < whole; cut++) {
			struct usp_file *stage = open_over("decompress", packed, cut, 0);
			int ret = read_all(stage, got, sizeof(got), &len);
			const char *why = NULL;
			uint64_t offset = 0;

			assert_int_equal(ret, cut ? -EBADMSG : -EINVAL);
			assert_memory_equal(got, plain, len);
			assert_int_equal(usp_read(stage, got, 1), ret);
			assert_true(usp_transform_failure(stage, &why, &offset));
			assert_non_null(why);
			assert_int_equal(offset, cut);
			drop(&stage);
		}
	}
	free(plain);
}

static void damage_anywhere_is_never_other_bytes(void **state)
{
	unsigned char packed[2000], damaged[2000], *got = malloc(LEN);
	unsigned char *plain = mixed_bytes(1000);

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t whole = format->pack(plain, 1000, packed, sizeof(packed)), len;

		for (size_t at = whole / 2; at < whole; at++) {
			struct usp_file *stage;
			int ret;

			memcpy(damaged, packed, whole);
			damaged[at] ^= 0x10;
			stage = open_over("decompress", damaged, whole, 0);
			ret = read_all(stage, got, LEN, &len);
			if (strcmp(format->name, "zstd") != 0) /* ZSTD_compress adds no checksum */
				assert_true(ret < 0);
			drop(&stage);
		}
	}
	free(plain);
	free(got);
}

static void what_is_behind_a_stream_is_an_error(void **state)
{
	unsigned char packed[2000], got[2000];

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t len = format->pack("abc", 3, packed, sizeof(packed)), got_len;
		struct usp_file *stage;

		memcpy(packed + len, "garbage!", 8);
		stage = open_over("decompress", packed, len + 8, 0);
		assert_int_equal(read_all(stage, got, sizeof(got), &got_len), -EBADMSG);
		assert_true(got_len <= 3);
		drop(&stage);
	}
}

static void what_has_no_known_magic_is_refused_before_a_byte(void **state)
{
	static const char *const texts[] = {"plain text", "", "\x1f", "(", "\3757zXY", "P*M\x19", "((", "\x02!L!"};
	unsigned char got[16];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		struct usp_file *stage = open_over("decompress", texts[i], strlen(texts[i]), 0);
		uint64_t offset;
		const char *why;
		size_t len;
		int ret = read_all(stage, got, sizeof(got), &len);

		assert_true(ret == -EINVAL || ret == -EBADMSG);
		assert_int_equal(len, 0);
		assert_true(usp_transform_failure(stage, &why, &offset));
		assert_ptr_equal(usp_transform_failed(stage), stage);
		assert_int_equal(offset, ret == -EINVAL ? 0 : strlen(texts[i]));
		drop(&stage);
	}
}

static void frames_to_skip_come_before_the_first_one(void **state)
{
	unsigned char packed[200] = {0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5}, got[16];

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		struct usp_file *stage;
		size_t len;

		if (strcmp(format->name, "zstd") != 0 && strcmp(format->name, "lz4") != 0)
			continue;
		len = 13 + format->pack("abc", 3, packed + 13, sizeof(packed) - 13);
		memcpy(packed + len, packed, 13);
		stage = open_over("decompress", packed, len + 13, 0);
		assert_int_equal(read_all(stage, got, sizeof(got), &len), 0);
		assert_int_equal(len, 3);
		assert_memory_equal(got, "abc", 3);
		drop(&stage);
	}
}

#ifdef USP_HAVE_ZLIB
static void zeros_behind_gzip_are_padding(void **state)
{
	unsigned char packed[600] = {0}, got[16];
	struct usp_file *stage;
	size_t len;

	(void)state;
	gzip_pack("abc", 3, packed, sizeof(packed));
	stage = open_over("decompress", packed, sizeof(packed), 0);
	assert_int_equal(read_all(stage, got, sizeof(got), &len), 0);
	assert_int_equal(len, 3);
	drop(&stage);
}
#endif

#ifdef USP_HAVE_LZ4
#define LEGACY_BLOCK ((size_t)8 << 20)

/* A frame as `lz4 -l` makes it. */
static size_t legacy_pack(const void *bytes, size_t len, void *ret, size_t room)
{
	unsigned char *to = ret;
	size_t at = 4;

	memcpy(to, "\x02\x21\x4c\x18", 4);
	for (size_t done = 0; done < len;) {
		size_t plain = len - done < LEGACY_BLOCK ? len - done : LEGACY_BLOCK;
		int got = LZ4_compress_default((const char *)bytes + done, (char *)to + at + 4, (int)plain,
					       (int)(room - at - 4));

		assert_true(got > 0);
		for (unsigned i = 0; i < 4; i++)
			to[at + i] = (unsigned char)((unsigned)got >> 8 * i);
		at += 4 + (size_t)got;
		done += plain;
	}
	return at;
}

static void old_frames_of_lz4_are_unpacked_in_any_order_with_new_ones(void **state)
{
	const size_t lens[] = {0, 1, 1000, LEGACY_BLOCK + 3};
	const size_t room = 4 * LEGACY_BLOCK;
	unsigned char *packed = malloc(room), *got = malloc(room);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens) * 2 * ARRAY_LEN(thread_flags); i++) {
		size_t plain_len = lens[i / 2 % ARRAY_LEN(lens)], at = 0, len;
		unsigned char *plain = mixed_bytes(plain_len);
		struct usp_file *stage;

		if (i % 2)
			at = lz4_pack(plain, plain_len, packed, room);
		at += legacy_pack(plain, plain_len, packed + at, room - at);
		at += legacy_pack("abc", 3, packed + at, room - at);
		memcpy(packed + at, "\x51\x2a\x4d\x18\x01\0\0\0x", 9); /* to be skipped */
		at += 9;
		at += lz4_pack("defg", 4, packed + at, room - at);
		stage = open_over("decompress", packed, at, thread_flags[i / 2 / ARRAY_LEN(lens)]);
		assert_int_equal(read_all(stage, got, room, &len), 0);
		assert_int_equal(len, plain_len * (1 + i % 2) + 7);
		assert_memory_equal(got, plain, plain_len);
		assert_memory_equal(got + len - 7, "abcdefg", 7);
		drop(&stage);
		free(plain);
	}
	free(packed);
	free(got);
}

/* Such a frame has no end mark: only where a block ends may the input end. */
static void an_old_frame_that_is_cut_or_damaged_is_an_error(void **state)
{
	unsigned char packed[4000], got[3000], *plain = mixed_bytes(1000);
	size_t first = legacy_pack(plain, 1000, packed, sizeof(packed));
	size_t whole = first + legacy_pack(plain, 1000, packed + first, sizeof(packed) - first), len;

	(void)state;
	for (size_t cut = 0; cut <= whole; cut++) {
		struct usp_file *stage = open_over("decompress", packed, cut, 0);
		bool may_end = cut == 4 || cut == first || cut == first + 4 || cut == whole;

		assert_int_equal(read_all(stage, got, sizeof(got), &len), may_end ? 0 : cut ? -EBADMSG : -EINVAL);
		assert_int_equal(len, cut == whole ? 2000 : cut >= first ? 1000 : 0);
		assert_memory_equal(got, plain, len < 1000 ? len : 1000);
		drop(&stage);
	}
	for (unsigned i = 0; i < 3; i++) {
		static const char *const behind[] = {"garbage!", "\0\0\0\0", "\x01\0\0\0\xff"};
		static const size_t behind_len[] = {8, 4, 5};
		struct usp_file *stage;

		memcpy(packed + whole, behind[i], behind_len[i]);
		stage = open_over("decompress", packed, whole + behind_len[i], 0);
		assert_int_equal(read_all(stage, got, sizeof(got), &len), -EBADMSG);
		assert_int_equal(len, 2000);
		drop(&stage);
	}
	free(plain);
}
#endif

/* Every format, and the frames that may stand together, with one byte of input and one of output at a time. */
static void bytes_may_come_and_go_one_at_a_time(void **state)
{
	unsigned char packed[8000], *plain = mixed_bytes(1000);

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t whole = format->pack(plain, 1000, packed, 2000), at = 0, used = 0;
		void *decoder = usp_codec_any_decoder.open(0);
		const char *why;
		int ret = 0;

#ifdef USP_HAVE_LZ4
		if (strcmp(format->name, "lz4") == 0) {
			whole += legacy_pack(plain, 1000, packed + whole, 2000);
			whole += legacy_pack(plain, 1000, packed + whole, 2000);
		}
#endif
		whole += format->pack(plain, 1000, packed + whole, 2000);
		while (ret == 0) {
			unsigned char byte;
			struct usp_codec_io io = {.in = packed + used,
						  .in_len = used < whole,
						  .out = &byte,
						  .out_len = 1,
						  .is_end = used == whole};

			ret = usp_codec_any_decoder.run(decoder, &io, &why);
			used += used < whole && !io.in_len;
			if (!io.out_len)
				assert_int_equal(byte, plain[at++ % 1000]);
		}
		assert_int_equal(ret, USP_CODEC_DONE);
		assert_int_equal(at, strcmp(format->name, "lz4") == 0 ? 4000 : 2000);
		usp_codec_any_decoder.free(decoder);
	}
	free(plain);
}

/* --- Life --------------------------------------------------------------------------------------------------- */

static void an_error_below_comes_behind_the_bytes(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
			const struct usp_transform_params params = {.size = sizeof(params), .flags = thread_flags[i]};
			struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
			struct usp_file *stage;
			unsigned char got[1000];
			uint64_t offset;
			const char *why;
			size_t len;

			below->size = (int64_t)LEN;
			SCRIPT(below, 1000, -EIO);
			assert_int_equal(
				usp_transform_open(format->name, usp_file_get(below->file), &params, &stage, NULL), 0);
			assert_int_equal(read_all(stage, got, sizeof(got), &len), -EIO);
			assert_false(usp_transform_failure(stage, &why, &offset));
			drop(&stage);
			mock_close(below);
		}
	}
}

static void a_stage_that_is_closed_early_ends_its_thread(void **state)
{
	unsigned char *plain = mixed_bytes(LEN), byte;

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		struct usp_file *stage = open_over(format->name, plain, LEN, USP_TRANSFORM_THREAD);

		assert_int_equal(usp_read(stage, &byte, 1), 1);
		drop(&stage);
	}
	free(plain);
}

static void a_stage_over_a_socket_gives_what_there_is(void **state)
{
	unsigned char packed[2000], got[10];

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
			const struct usp_transform_params params = {.size = sizeof(params), .flags = thread_flags[i]};
			size_t len = format->pack("abc", 3, packed, sizeof(packed));
			struct usp_file *below, *stage;
			int fds[2];

			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
			assert_int_equal(usp_open_fd(fds[0], USP_READ, "peer", &below), 0);
			assert_int_equal(usp_transform_open("decompress", below, &params, &stage, NULL), 0);
			assert_int_equal(send(fds[1], packed, len, 0), (ssize_t)len);
			assert_int_equal(usp_read(stage, got, sizeof(got)), 3); /* the peer has not ended yet */
			assert_memory_equal(got, "abc", 3);
			close(fds[1]);
			assert_int_equal(usp_read(stage, got, sizeof(got)), 0);
			drop(&stage);
		}
	}
}

static void the_length_ends_the_input(void **state)
{
	unsigned char packed[2000], got[1001];
	unsigned char *plain = mixed_bytes(1000);

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		const struct usp_transform_params params = {
			.size = sizeof(params), .flags = USP_TRANSFORM_LENGTH, .length = 777};
		struct usp_file *below, *stage;
		size_t len;

		assert_int_equal(usp_open_memory(plain, 1000, USP_READ, NULL, NULL, &below), 0);
		assert_int_equal(usp_transform_open(format->name, below, &params, &stage, NULL), 0);
		assert_int_equal(read_all(stage, packed, sizeof(packed), &len), 0);
		assert_int_equal(format->unpack(packed, len, got, sizeof(got)), 777);
		assert_memory_equal(got, plain, 777);
		drop(&stage);
	}
	free(plain);
}

static void a_child_gets_an_error(void **state)
{
	unsigned char *plain, byte;

	(void)state;
	if (!CAN_FORK_BESIDE_THREADS)
		skip();
	plain = mixed_bytes(LEN);
	for (const struct format *format = formats; format->name; format++) {
		struct usp_file *stage = open_over(format->name, plain, LEN, USP_TRANSFORM_THREAD);
		int status;
		pid_t pid;

		assert_int_equal(usp_read(stage, &byte, 1), 1);
		pid = fork();
		if (pid == 0)
			_exit(usp_read(stage, &byte, 1) == -ESTALE ? 0 : 1);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		drop(&stage);
	}
	free(plain);
}

static void levels_and_options_are_checked(void **state)
{
	static const char *const wrong[] = {"decompress:zstd",
					    "zstd:0",
					    "zstd:23",
					    "gzip:10",
					    "gzip:0",
					    "lz4:13",
					    "xz:10",
					    "zstd:x",
					    "zstd:3x",
					    "bzip2",
					    "gzip:99999999999999999999"};
	const char *why;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		int ret = usp_transform_check(wrong[i], &why);

		assert_true(ret == -EINVAL || ret == -EOPNOTSUPP);
		assert_non_null(why);
	}
	for (const struct format *format = formats; format->name; format++)
		assert_int_equal(usp_transform_check(format->name, &why), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_the_library_packs_is_unpacked),
		CASE(what_a_stage_packs_is_unpacked_by_the_library),
		CASE(a_pump_packs_and_unpacks_in_a_stack_of_stages),
		CASE(thousands_of_small_frames_are_one_stream),
		CASE(input_cut_at_any_byte_is_an_error_with_its_offset),
		CASE(damage_anywhere_is_never_other_bytes),
		CASE(what_is_behind_a_stream_is_an_error),
		CASE(what_has_no_known_magic_is_refused_before_a_byte),
		CASE(frames_to_skip_come_before_the_first_one),
#ifdef USP_HAVE_LZ4
		CASE(old_frames_of_lz4_are_unpacked_in_any_order_with_new_ones),
		CASE(an_old_frame_that_is_cut_or_damaged_is_an_error),
#endif
		CASE(bytes_may_come_and_go_one_at_a_time),
#ifdef USP_HAVE_ZLIB
		CASE(zeros_behind_gzip_are_padding),
#endif
		CASE(an_error_below_comes_behind_the_bytes),
		CASE(a_stage_that_is_closed_early_ends_its_thread),
		CASE(a_stage_over_a_socket_gives_what_there_is),
		CASE(the_length_ends_the_input),
		CASE(a_child_gets_an_error),
		CASE(levels_and_options_are_checked),
	};

	return cmocka_run_group_tests_name("rewrite", tests, NULL, NULL);
}
