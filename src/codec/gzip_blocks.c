/* SPDX-License-Identifier: MIT */
/*
 * gzip_blocks - gzip made of blocks of 128 KiB by several threads, as pigz(1) does it.
 *
 * A worker knows the 32 KiB in front of its block, so little is lost. It ends its block at a byte. All is one member,
 * whose checksum is put together of those of the blocks.
 */
#include "codec/split.h"

#ifdef USP_HAVE_ZLIB

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/library.h"

#define BLOCK_LEN ((size_t)128 << 10)
#define BLOCK_ROOM (BLOCK_LEN + (BLOCK_LEN >> 5)) /* stored blocks, a header and a trailer are far less */
#define BLOCK_WINDOW 15
#define BLOCK_BEFORE ((size_t)1 << BLOCK_WINDOW)
#define BLOCK_MEMORY 8 /* the default of zlib */
#define BLOCK_HEADER 10

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(deflateInit2_) *init;
	__typeof__(deflateReset) *reset;
	__typeof__(deflateSetDictionary) *set_dictionary;
	__typeof__(deflate) *deflate;
	__typeof__(deflateEnd) *end;
	__typeof__(crc32) *crc32;
	__typeof__(crc32_combine) *combine;
} zlib = {.once = PTHREAD_ONCE_INIT};

static void blocks_load(void)
{
	zlib.is_there = usp_library_load("libz.so.1", (const struct usp_library_function[]){
							      {"deflateInit2_", &zlib.init},
							      {"deflateReset", &zlib.reset},
							      {"deflateSetDictionary", &zlib.set_dictionary},
							      {"deflate", &zlib.deflate},
							      {"deflateEnd", &zlib.end},
							      {"crc32", &zlib.crc32},
							      {"crc32_combine", &zlib.combine},
							      {0},
						      });
}

static enum usp_scan_result blocks_scan(struct usp_scan *scan, const unsigned char *unit, size_t len)
{
	(void)unit;
	scan->need = BLOCK_LEN;
	scan->room = BLOCK_ROOM;
	scan->is_end = true;
	return len < BLOCK_LEN ? USP_SCAN_MORE : USP_SCAN_UNIT;
}

/* --- The worker --------------------------------------------------------------------------------------------- */

struct worker {
	z_stream stream;
	int level;
};

static void *blocks_open(int level)
{
	struct worker *worker = usp_alloc(sizeof(*worker));

	pthread_once(&zlib.once, blocks_load);
	if (!worker)
		return NULL;
	worker->level = level;
	if (zlib.is_there && zlib.init(&worker->stream, level, Z_DEFLATED, -BLOCK_WINDOW, BLOCK_MEMORY,
				       Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof(worker->stream)) == Z_OK)
		return worker;
	usp_free(worker);
	return NULL;
}

static void blocks_free(void *arg)
{
	struct worker *worker = arg;

	if (worker)
		zlib.end(&worker->stream);
	usp_free(worker);
}

/* The header that zlib makes. */
static void blocks_begin(struct usp_piece *piece, int level)
{
	const unsigned char header[BLOCK_HEADER] = {0x1f, 0x8b, Z_DEFLATED,
						    [8] = level == 9   ? 2
							  : level == 1 ? 4
								       : 0,
						    [9] = 3};

	memcpy(piece->out, header, sizeof(header));
	piece->out_len = sizeof(header);
}

static int blocks_work(void *arg, struct usp_piece *piece)
{
	struct worker *worker = arg;
	z_stream *stream = &worker->stream;
	int ret;

	zlib.reset(stream);
	if (piece->before)
		zlib.set_dictionary(stream, piece->in - piece->before, (unsigned)piece->before);
	if (piece->is_first)
		blocks_begin(piece, worker->level);
	stream->next_in = (unsigned char *)piece->in;
	stream->avail_in = (unsigned)piece->in_len;
	stream->next_out = piece->out + piece->out_len;
	stream->avail_out = (unsigned)(piece->room - piece->out_len);
	ret = zlib.deflate(stream, piece->is_last ? Z_FINISH : Z_SYNC_FLUSH);
	piece->out_len = (size_t)(stream->next_out - piece->out);
	piece->crc = (uint32_t)zlib.crc32(0, piece->in, (unsigned)piece->in_len);
	return ret == (piece->is_last ? Z_STREAM_END : Z_OK) && !stream->avail_in && stream->avail_out ? 0 : -EIO;
}

/* --- In order ----------------------------------------------------------------------------------------------- */

struct joint {
	uint32_t crc, len; /* of all, the length modulo 2^32 */
};

static void *joint_open(void)
{
	return usp_alloc(sizeof(struct joint));
}

static void joint_put(struct usp_piece *piece, uint32_t number)
{
	for (unsigned i = 0; i < 4; i++)
		piece->out[piece->out_len++] = (unsigned char)(number >> 8 * i);
}

static int joint_add(void *arg, struct usp_piece *piece, const char **ret_why)
{
	struct joint *joint = arg;

	(void)ret_why;
	joint->crc = (uint32_t)zlib.combine(joint->crc, piece->crc, (z_off_t)piece->in_len);
	joint->len += (uint32_t)piece->in_len;
	if (!piece->is_last)
		return 0;
	if (piece->room - piece->out_len < 8)
		return -EIO;
	joint_put(piece, joint->crc);
	joint_put(piece, joint->len);
	return 0;
}

const struct usp_split usp_split_gzip = {
	.scan = blocks_scan,
	.open = blocks_open,
	.run = blocks_work,
	.free = blocks_free,
	.join_open = joint_open,
	.join = joint_add,
	.join_free = usp_free,
	.before = BLOCK_BEFORE,
	.is_encoder = true,
};

#else

const struct usp_split usp_split_gzip = {0};

#endif
