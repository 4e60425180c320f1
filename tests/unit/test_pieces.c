/* SPDX-License-Identifier: MIT */
/* test_pieces - streams whose parts are decoded or made by several threads are what one thread makes of them. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <usplice/spec.h>
#include <usplice/transform.h>

#ifdef USP_HAVE_ZSTD
#include <zstd.h>
#endif
#ifdef USP_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef USP_HAVE_LZ4
#include <lz4frame.h>
#endif

#define PLAIN_LEN ((size_t)42 << 20) /* of which a frame may be too large for a piece */
#define PACKED_LEN ((size_t)40 << 20)

static const unsigned thread_flags[] = {0, USP_TRANSFORM_INLINE, USP_TRANSFORM_THREAD};

static unsigned char *plain, *packed, *got, *expected;

/* --- Streams ------------------------------------------------------------------------------------------------ */

/* A part of plain, which goes into a frame of a kind. */
struct part {
	size_t len;
	unsigned kind;
};

/* Ends with a part of no bytes. A part may be too large for a piece, and many go into one. */
static const struct part parts[] = {
	{1, 0},	      {200000, 1},   {100, 2},	    {100, 3},	  {100, 0},   {300000, 1},
	{2000000, 2}, {17 << 20, 3}, {17 << 20, 0}, {70000, 1},	  {70000, 2}, {5, 3},
	{5, 4},	      {700000, 5},   {65536, 6},    {3000000, 7}, {9, 8},     {0, 0},
};

struct format {
	const char *name;
	size_t (*pack)(const void *bytes, size_t len, unsigned kind, unsigned char *ret);
	size_t most; /* bytes of a part, or 0 */
};

#ifdef USP_HAVE_ZSTD
/* With and without the size, with and without a checksum, in one block or many, and what no decoder cares for. */
static size_t zstd_pack(const void *bytes, size_t len, unsigned kind, unsigned char *ret)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	ZSTD_inBuffer in = {.src = bytes, .size = len};
	ZSTD_outBuffer out = {.dst = ret, .size = PACKED_LEN};

	if (kind == 8) {
		memcpy(ret, "\x5a\x2a\x4d\x18\3\0\0\0abc", 11);
		out.pos = 11;
	}
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, kind & 1);
	if (kind & 2)
		ZSTD_CCtx_setPledgedSrcSize(context, len);
	else
		while (in.pos < in.size)
			ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
	assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
	ZSTD_freeCCtx(context);
	return out.pos;
}
#endif

#ifdef USP_HAVE_ZLIB
static void put_number(unsigned char *ret, uint32_t number, unsigned nr_bytes)
{
	while (nr_bytes--) {
		*ret++ = (unsigned char)number;
		number >>= 8;
	}
}

static size_t gzip_member(const void *bytes, size_t len, unsigned char *ret)
{
	z_stream stream = {
		.next_in = (void *)bytes, .avail_in = (unsigned)len, .next_out = ret, .avail_out = PACKED_LEN};

	assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	return stream.total_out;
}

/* A member as bgzip(1) makes it. The length that it says may be a lie. */
static size_t bgzf_member(const void *bytes, size_t len, int lie, unsigned char *ret)
{
	static const unsigned char head[] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, 'B', 'C', 2, 0};
	z_stream stream = {
		.next_in = (void *)bytes, .avail_in = (unsigned)len, .next_out = ret + 18, .avail_out = PACKED_LEN};

	assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	memcpy(ret, head, sizeof(head));
	put_number(ret + 16, (uint32_t)((int)stream.total_out + 25 + lie), 2);
	put_number(ret + 18 + stream.total_out, (uint32_t)crc32(0, bytes, (unsigned)len), 4);
	put_number(ret + 22 + stream.total_out, (uint32_t)len, 4);
	return stream.total_out + 26;
}

static size_t bgzf_pack(const void *bytes, size_t len, unsigned kind, unsigned char *ret)
{
	size_t at = 0;

	(void)kind;
	for (size_t done = 0; done < len; done += 60000)
		at += bgzf_member((const unsigned char *)bytes + done, len - done < 60000 ? len - done : 60000, 0,
				  ret + at);
	return at;
}

/* Plain members between those of BGZF, from the fifth part on; before that all is BGZF. */
static size_t mixed_pack(const void *bytes, size_t len, unsigned kind, unsigned char *ret)
{
	return kind > 3 && kind & 1 ? gzip_member(bytes, len, ret) : bgzf_pack(bytes, len, kind, ret);
}

static size_t lying_pack(const void *bytes, size_t len, unsigned kind, unsigned char *ret)
{
	return len < 60000 ? bgzf_member(bytes, len,
					 kind & 1   ? 3
					 : kind & 4 ? -3
						    : 0,
					 ret)
			   : bgzf_pack(bytes, len, kind, ret);
}
#endif

#ifdef USP_HAVE_LZ4
static size_t lz4_pack(const void *bytes, size_t len, unsigned kind, unsigned char *ret)
{
	const LZ4F_preferences_t preferences = {
		.frameInfo = {.blockSizeID = kind & 4 ? LZ4F_max64KB : LZ4F_max4MB,
			      .blockMode = kind == 5 ? LZ4F_blockLinked : LZ4F_blockIndependent,
			      .contentChecksumFlag = kind & 1 ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum,
			      .blockChecksumFlag = kind & 2 ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum,
			      .contentSize = kind & 3 ? len : 0}};
	size_t got_len = LZ4F_compressFrame(ret, PACKED_LEN, bytes, len, &preferences);

	assert_false(LZ4F_isError(got_len));
	return got_len;
}
#endif

static const struct format formats[] = {
#ifdef USP_HAVE_ZSTD
	{"zstd", zstd_pack, 0},
#endif
#ifdef USP_HAVE_ZLIB
	{"bgzf", bgzf_pack, 0},
	{"mixed", mixed_pack, 0},
	{"lying", lying_pack, 0},
#endif
#ifdef USP_HAVE_LZ4
	{"lz4", lz4_pack, 0},
#endif
	{0},
};

/* Pack parts in this order: the length, and in *ret_plain_len that of the plain bytes. A skip leaves some out. */
static size_t pack_parts(const struct format *format, size_t longest, size_t *ret_plain_len)
{
	size_t at = 0, done = 0;

	for (const struct part *part = parts; part->len; part++) {
		if (part->len > longest || done + part->len > PLAIN_LEN)
			continue;
		at += format->pack(plain + done, part->len, part->kind, packed + at);
		done += part->len;
	}
	*ret_plain_len = done;
	return at;
}

static struct usp_file *open_over(const char *spec, const void *bytes, size_t len, unsigned flags)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = flags | USP_TRANSFORM_LENGTH, .length = (int64_t)len};
	struct usp_file *below, *stage;

	assert_int_equal(usp_open_memory((void *)bytes, len ? len : 1, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_transform_open(spec, below, &params, &stage, NULL), 0);
	return stage;
}

/* Read to the end, or an error: 0 or -errno. */
static int read_all(struct usp_file *stage, size_t piece, size_t room, size_t *ret_len)
{
	ssize_t len = 1;

	*ret_len = 0;
	while (len > 0 && *ret_len < room) {
		len = usp_read(stage, got + *ret_len, piece < room - *ret_len ? piece : room - *ret_len);
		*ret_len += len > 0 ? (size_t)len : 0;
	}
	return len < 0 ? (int)len : 0;
}

/* --- Decoding ----------------------------------------------------------------------------------------------- */

static void frames_are_decoded_in_order(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t plain_len, len, packed_len = pack_parts(format, PLAIN_LEN, &plain_len);

		for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
			struct usp_file *stage = open_over("decompress", packed, packed_len, thread_flags[i]);

			assert_int_equal(read_all(stage, i ? 1 << 20 : 12345, PLAIN_LEN + 1, &len), 0);
			assert_int_equal(len, plain_len);
			assert_memory_equal(got, plain, len);
			drop(&stage);
		}
	}
}

static void what_is_damaged_ends_with_good_bytes(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t plain_len, packed_len = pack_parts(format, 2000000, &plain_len);

		for (size_t at = 1000; at < packed_len; at += packed_len / 23) {
			size_t alone_len, len;
			struct usp_file *alone = open_over("decompress", packed, packed_len, USP_TRANSFORM_INLINE),
					*stage;
			uint64_t offset;
			const char *why;
			int error;

			packed[at] ^= 0x40;
			error = read_all(alone, 1 << 20, PLAIN_LEN, &alone_len);
			memcpy(expected, got, alone_len);
			stage = open_over("decompress", packed, packed_len, USP_TRANSFORM_THREAD);
			assert_int_equal(read_all(stage, 1 << 20, PLAIN_LEN, &len), error);
			assert_memory_equal(got, expected, len < alone_len ? len : alone_len);
			if (error < 0) {
				assert_true(usp_transform_failure(stage, &why, &offset));
				assert_true(why && offset <= packed_len && offset + (2 << 20) > at);
				assert_int_equal(usp_read(stage, got, 1), error);
			}
			packed[at] ^= 0x40;
			drop(&alone);
			drop(&stage);
		}
	}
}

#ifdef USP_HAVE_LZ4
/* The checksum of a frame that is in one piece, and of one that goes over several, with a frame behind it. */
static void a_wrong_checksum_of_lz4_ends_with_its_frame(void **state)
{
	static const size_t lens[] = {1000, 300000, 3000000, 9000000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(thread_flags) * 2; i++) {
		unsigned flags = thread_flags[i % ARRAY_LEN(thread_flags)];
		size_t plain_len = lens[i / ARRAY_LEN(thread_flags) / 2], len;
		size_t first = lz4_pack(plain, plain_len, i & 1 ? 7 : 1, packed);
		size_t both = first + lz4_pack(plain, 2000, 1, packed + first);
		struct usp_file *stage;

		packed[first - 1] ^= 1;
		stage = open_over("decompress", packed, both, flags);
		assert_int_equal(read_all(stage, 1 << 20, PLAIN_LEN, &len), -EBADMSG);
		assert_true(len <= plain_len && len + (256 << 10) >= plain_len);
		assert_memory_equal(got, plain, len);
		drop(&stage);
	}
}
#endif

static void input_that_is_cut_off_is_never_a_short_success(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t plain_len, packed_len = pack_parts(format, 1000, &plain_len), len, ends = 0;

		for (size_t cut = 1; cut < packed_len; cut++) {
			struct usp_file *stage = open_over("decompress", packed, cut, USP_TRANSFORM_THREAD);
			int error = read_all(stage, 1 << 20, PLAIN_LEN, &len);
			uint64_t offset = 0;
			const char *why;

			assert_memory_equal(got, plain, len);
			if (error == 0) {
				ends++; /* behind a frame */
			} else {
				assert_int_equal(error, -EBADMSG);
				assert_true(usp_transform_failure(stage, &why, &offset));
				assert_int_equal(offset, cut);
			}
			drop(&stage);
		}
		assert_in_range(ends, 1, 10);
	}
}

static void bytes_that_come_late_are_waited_for(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	char spec[] = "cached:/tmp/usplice-pieces-XXXXXX";

	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t plain_len, packed_len = pack_parts(format, PLAIN_LEN, &plain_len), len;
		struct usp_file *below, *stage;
		int fd;

		strcpy(spec + strlen(spec) - 6, "XXXXXX");
		fd = mkstemp(spec + strlen("cached:"));
		assert_true(fd >= 0);
		for (size_t done = 0; done < packed_len;) {
			ssize_t ret = write(fd, packed + done, packed_len - done);

			assert_true(ret > 0);
			done += (size_t)ret;
		}
		assert_int_equal(usp_open(spec, &params, &below, NULL), 0);
		assert_int_equal(usp_transform_open("decompress", below, NULL, &stage, NULL), 0);
		assert_int_equal(read_all(stage, 1 << 20, PLAIN_LEN + 1, &len), 0);
		assert_int_equal(len, plain_len);
		assert_memory_equal(got, plain, len);
		drop(&stage);
		unlink(spec + strlen("cached:"));
		close(fd);
	}
}

static void a_small_pipe_gets_all_of_it(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t plain_len, packed_len = pack_parts(format, 300000, &plain_len), len;

		for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
			struct usp_file *stage = open_over("decompress", packed, packed_len, thread_flags[i]), *end[2];

			open_pipe(end, 1, 0);
			for (len = 0; usp_splice(stage, NULL, end[1], NULL, 1 << 20, 0) > 0;) {
				ssize_t ret = usp_read(end[0], got + len, PLAIN_LEN - len);

				assert_true(ret > 0);
				len += (size_t)ret;
			}
			assert_int_equal(len, plain_len);
			assert_memory_equal(got, plain, len);
			drop(&end[1]);
			drop(&end[0]);
			drop(&stage);
		}
	}
}

/* Half a frame is in the hands of the threads when the sender pauses. */
static void what_a_sender_has_sent_is_given_before_it_goes_on(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
			const struct usp_transform_params params = {.size = sizeof(params), .flags = thread_flags[i]};
			size_t first = format->pack(plain, 1000, 1, packed);
			size_t both = first + format->pack(plain + 1000, 3000, 1, packed + first), len;
			struct usp_file *below, *stage;
			int fds[2];

			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
			assert_int_equal(usp_open_fd(fds[0], USP_READ, "peer", &below), 0);
			assert_int_equal(usp_transform_open("decompress", below, &params, &stage, NULL), 0);
			for (unsigned times = 0; times < 3; times++) {
				assert_int_equal(send(fds[1], packed, first + 30, 0), (ssize_t)first + 30);
				assert_int_equal(read_all(stage, 1000, 1000, &len), 0);
				assert_memory_equal(got, plain, 1000);
				assert_int_equal(send(fds[1], packed + first + 30, both - first - 30, 0),
						 (ssize_t)(both - first - 30));
				assert_int_equal(read_all(stage, 3000, 3000, &len), 0);
				assert_memory_equal(got, plain + 1000, 3000);
			}
			close(fds[1]);
			assert_int_equal(usp_read(stage, got, 1), 0);
			drop(&stage);
		}
	}
}

static void a_stage_may_be_closed_while_its_threads_work(void **state)
{
	(void)state;
	for (const struct format *format = formats; format->name; format++) {
		size_t plain_len, packed_len = pack_parts(format, 3000000, &plain_len);

		for (size_t len = 1; len < plain_len; len = 3 * len + 100000) {
			struct usp_file *stage = open_over("decompress", packed, packed_len, USP_TRANSFORM_THREAD);
			size_t got_len;

			assert_int_equal(read_all(stage, 1 << 20, len, &got_len), 0);
			assert_memory_equal(got, plain, got_len);
			drop(&stage);
		}
	}
}

/* --- Encoding ----------------------------------------------------------------------------------------------- */

#ifdef USP_HAVE_ZLIB
static void gzip_of_several_threads_is_one_member(void **state)
{
	static const size_t lens[] = {0, 1, 131071, 131072, 131073, 262144, 5000000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(thread_flags); i++) {
		size_t len = lens[i / ARRAY_LEN(thread_flags)], got_len;
		struct usp_file *stage = open_over("gzip:6", plain, len, thread_flags[i % ARRAY_LEN(thread_flags)]);
		z_stream stream = {.next_out = packed, .avail_out = PACKED_LEN};

		assert_int_equal(read_all(stage, 77777, PLAIN_LEN, &got_len), 0);
		stream.next_in = got;
		stream.avail_in = (unsigned)got_len;
		assert_int_equal(inflateInit2(&stream, 31), Z_OK);
		assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
		assert_int_equal(stream.avail_in, 0);
		assert_int_equal(stream.total_out, len);
		assert_memory_equal(packed, plain, len);
		inflateEnd(&stream);
		drop(&stage);
	}
}
#endif

#ifdef USP_HAVE_LZ4
static void lz4_of_several_threads_is_one_frame(void **state)
{
	static const size_t lens[] = {0, 1, 4194303, 4194304, 4194305, 20000000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(thread_flags); i++) {
		size_t len = lens[i / ARRAY_LEN(thread_flags)], got_len, room = PACKED_LEN;
		unsigned flags = thread_flags[i % ARRAY_LEN(thread_flags)];
		struct usp_file *stage = open_over(i & 1 ? "lz4:1" : "lz4:3", plain, len, flags);
		LZ4F_dctx *context;

		assert_int_equal(read_all(stage, 77777, PLAIN_LEN, &got_len), 0);
		assert_false(LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
		assert_int_equal(LZ4F_decompress(context, packed, &room, got, &got_len, NULL), 0);
		LZ4F_freeDecompressionContext(context);
		assert_int_equal(room, len);
		assert_memory_equal(packed, plain, len);
		drop(&stage);
	}
}
#endif

static int setup(void **state)
{
	uint32_t random = 1;

	(void)state;
	plain = malloc(PLAIN_LEN + 1);
	packed = malloc(2 * PACKED_LEN);
	got = malloc(PLAIN_LEN + 1);
	expected = malloc(PLAIN_LEN + 1);
	pattern_fill(plain, 0, PLAIN_LEN);
	for (size_t i = 0; i < PLAIN_LEN; i++) {
		random = random * 1664525 + 1013904223;
		if (i / 50000 % 3 == 0 && i > 1000)
			plain[i] = (unsigned char)(random >> 24);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(plain);
	free(packed);
	free(got);
	free(expected);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(frames_are_decoded_in_order),
		CASE(what_is_damaged_ends_with_good_bytes),
#ifdef USP_HAVE_LZ4
		CASE(a_wrong_checksum_of_lz4_ends_with_its_frame),
#endif
		CASE(input_that_is_cut_off_is_never_a_short_success),
		CASE(bytes_that_come_late_are_waited_for),
		CASE(a_small_pipe_gets_all_of_it),
		CASE(what_a_sender_has_sent_is_given_before_it_goes_on),
		CASE(a_stage_may_be_closed_while_its_threads_work),
#ifdef USP_HAVE_ZLIB
		CASE(gzip_of_several_threads_is_one_member),
#endif
#ifdef USP_HAVE_LZ4
		CASE(lz4_of_several_threads_is_one_frame),
#endif
	};

	return cmocka_run_group_tests_name("pieces", tests, setup, teardown);
}
