/* SPDX-License-Identifier: MIT */
/* seek_files - see seek_files.h. */
#include "seek_files.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef USP_HAVE_ZSTD
#include <zstd.h>
#endif
#ifdef USP_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef USP_HAVE_LZMA
#include <lzma.h>
#endif
#ifdef USP_HAVE_XXHASH
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

#define SLACK 1024 /* that a format may need for a piece, besides twice its length */

/* Fail the test, in a build without assertions, too. */
#define MUST(condition) ((condition) ? (void)0 : abort())

#if defined(USP_HAVE_ZSTD) || defined(USP_HAVE_ZLIB)
static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}
#endif

static unsigned char *make_room(struct seek_file *file, size_t len)
{
	if (file->len + len > file->room) {
		file->room = 2 * (file->len + len);
		file->bytes = realloc(file->bytes, file->room);
		MUST(file->bytes);
	}
	return file->bytes + file->len;
}

void seek_put(struct seek_file *file, const void *bytes, size_t len)
{
	memcpy(make_room(file, len), bytes, len);
	file->len += len;
}

void seek_put_u32(struct seek_file *file, uint32_t number)
{
	const unsigned char bytes[] = {(unsigned char)number, (unsigned char)(number >> 8),
				       (unsigned char)(number >> 16), (unsigned char)(number >> 24)};

	seek_put(file, bytes, sizeof(bytes));
}

#ifdef USP_HAVE_ZSTD
static size_t put_frame(struct seek_file *file, const unsigned char *plain, size_t len)
{
	unsigned char *to = make_room(file, 2 * len + SLACK);
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t got;

	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	got = ZSTD_compress2(context, to, 2 * len + SLACK, plain, len);
	MUST(!ZSTD_isError(got));
	ZSTD_freeCCtx(context);
	file->len += got;
	return got;
}

static void make_frames(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file)
{
	*ret_file = (struct seek_file){.len = 0};
	for (size_t at = 0; at < len; at += piece)
		put_frame(ret_file, plain + at, least(piece, len - at));
}

static uint32_t checksum_of(const unsigned char *plain, size_t len)
{
#ifdef USP_HAVE_XXHASH
	return (uint32_t)XXH64(plain, len, 0);
#else
	(void)plain, (void)len;
	return 0;
#endif
}

static void make_with_table(const unsigned char *plain, size_t len, size_t piece, bool has_checksums,
			    struct seek_file *ret_file)
{
	size_t entry_len = has_checksums ? 12 : 8, nr = (len + piece - 1) / piece;
	struct seek_file entries = {.len = 0};

	*ret_file = (struct seek_file){.len = 0};
	for (size_t at = 0; at < len; at += piece) {
		size_t part = least(piece, len - at);

		seek_put_u32(&entries, (uint32_t)put_frame(ret_file, plain + at, part));
		seek_put_u32(&entries, (uint32_t)part);
		if (has_checksums)
			seek_put_u32(&entries, checksum_of(plain + at, part));
	}
	seek_put_u32(ret_file, 0x184d2a5e);
	seek_put_u32(ret_file, (uint32_t)(nr * entry_len + 9));
	if (entries.len)
		seek_put(ret_file, entries.bytes, entries.len);
	seek_put_u32(ret_file, (uint32_t)nr);
	seek_put(ret_file, has_checksums ? "\x80" : "", 1);
	seek_put_u32(ret_file, 0x8f92eab1);
	free(entries.bytes);
}

static void make_table(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file)
{
	make_with_table(plain, len, piece, false, ret_file);
}

static void make_checked_table(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file)
{
	make_with_table(plain, len, piece, true, ret_file);
}
#endif

#ifdef USP_HAVE_ZLIB
#define BGZF_MOST ((size_t)0xff00)

static void put_block(struct seek_file *file, const unsigned char *plain, size_t len)
{
	static const unsigned char head[] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, 'B', 'C', 2, 0};
	unsigned char packed[65536];
	z_stream stream = {
		.next_in = (void *)plain, .avail_in = (unsigned)len, .next_out = packed, .avail_out = sizeof(packed)};
	size_t block;

	MUST(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	MUST(deflate(&stream, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&stream);
	block = sizeof(head) + 2 + stream.total_out + 8;
	MUST(block <= 65536);
	seek_put(file, head, sizeof(head));
	seek_put(file, (const unsigned char[]){(unsigned char)(block - 1), (unsigned char)((block - 1) >> 8)}, 2);
	seek_put(file, packed, stream.total_out);
	seek_put_u32(file, (uint32_t)crc32(0, plain, (unsigned)len));
	seek_put_u32(file, (uint32_t)len);
}

static void make_bgzf(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file)
{
	*ret_file = (struct seek_file){.len = 0};
	piece = least(piece, BGZF_MOST);
	for (size_t at = 0; at < len; at += piece)
		put_block(ret_file, plain + at, least(piece, len - at));
	put_block(ret_file, plain, 0); /* the mark of the end */
}
#endif

#ifdef USP_HAVE_LZMA
static void put_stream(struct seek_file *file, const unsigned char *plain, size_t len, size_t piece)
{
	const lzma_mt threads = {.threads = 1, .block_size = piece, .preset = 0, .check = LZMA_CHECK_CRC64};
	lzma_stream stream = LZMA_STREAM_INIT;
	size_t room = 2 * len + (len / piece + 2) * SLACK;

	MUST(lzma_stream_encoder_mt(&stream, &threads) == LZMA_OK);
	stream.next_in = plain;
	stream.avail_in = len;
	stream.next_out = make_room(file, room);
	stream.avail_out = room;
	MUST(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
	file->len += room - stream.avail_out;
	lzma_end(&stream);
}

static void make_xz(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file)
{
	*ret_file = (struct seek_file){.len = 0};
	put_stream(ret_file, plain, len, piece);
}

/* Two streams, with padding between and behind them. */
static void make_two_xz(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file)
{
	size_t half = len / 2 / piece * piece;

	*ret_file = (struct seek_file){.len = 0};
	put_stream(ret_file, plain, half, piece);
	seek_put(ret_file, "\0\0\0\0\0\0\0", 8);
	put_stream(ret_file, plain + half, len - half, piece);
	seek_put(ret_file, "\0\0\0", 4);
}
#endif

const struct seek_format seek_formats[] = {
#ifdef USP_HAVE_ZSTD
	{"zstd-table", "decompressed (zstd), by its table", make_table},
	{"zstd-checked", "decompressed (zstd), by its table", make_checked_table},
	{"zstd-frames", "decompressed (zstd), by its frames", make_frames},
#endif
#ifdef USP_HAVE_ZLIB
	{"bgzf", "decompressed (gzip), by its blocks", make_bgzf},
#endif
#ifdef USP_HAVE_LZMA
	{"xz", "decompressed (xz), by its index", make_xz},
	{"xz-streams", "decompressed (xz), by its index", make_two_xz},
#endif
	{0},
};

const struct seek_format *seek_format_named(const char *name)
{
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		if (strcmp(format->name, name) == 0)
			return format;
	}
	return NULL;
}
