/* SPDX-License-Identifier: MIT */
/* lz4_encode - a frame of lz4 whose blocks of 4 MiB are made by several threads, and then hashed in order. */
#include "codec/split.h"

#if defined(USP_HAVE_LZ4) && defined(USP_HAVE_XXHASH)

#include <errno.h>
#include <lz4.h>
#include <lz4hc.h>
#include <pthread.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/alloc.h"
#include "base/library.h"

#define BLOCK_LEN ((size_t)4 << 20)
#define BLOCK_IS_STORED 0x80000000u
#define FRAME_HEADER 7
#define FRAME_ROOM 32 /* the header, the size of a block, the end mark and the checksum */
#define LEVEL_HC 3    /* from here on liblz4 has another compressor */

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(LZ4_sizeofState) *fast_len;
	__typeof__(LZ4_compress_fast_extState) *fast;
	__typeof__(LZ4_sizeofStateHC) *hc_len;
	__typeof__(LZ4_compress_HC_extStateHC) *hc;
} lz4 = {.once = PTHREAD_ONCE_INIT};

static void encode_load(void)
{
	lz4.is_there = usp_library_load("liblz4.so.1", (const struct usp_library_function[]){
							       {"LZ4_sizeofState", &lz4.fast_len},
							       {"LZ4_compress_fast_extState", &lz4.fast},
							       {"LZ4_sizeofStateHC", &lz4.hc_len},
							       {"LZ4_compress_HC_extStateHC", &lz4.hc},
							       {0},
						       });
}

static enum usp_scan_result encode_scan(struct usp_scan *scan, const unsigned char *unit, size_t len)
{
	(void)unit;
	scan->need = BLOCK_LEN;
	scan->room = BLOCK_LEN + FRAME_ROOM;
	scan->is_end = true;
	return len < BLOCK_LEN ? USP_SCAN_MORE : USP_SCAN_UNIT;
}

static void encode_put(struct usp_piece *piece, uint32_t number)
{
	for (unsigned i = 0; i < 4; i++)
		piece->out[piece->out_len++] = (unsigned char)(number >> 8 * i);
}

/* --- The worker --------------------------------------------------------------------------------------------- */

struct worker {
	void *state; /* of liblz4 */
	int level;
};

static void encode_free(void *arg)
{
	struct worker *worker = arg;

	if (worker)
		usp_free(worker->state);
	usp_free(worker);
}

static void *encode_open(int level)
{
	struct worker *worker = usp_alloc(sizeof(*worker));

	pthread_once(&lz4.once, encode_load);
	if (!worker)
		return NULL;
	worker->level = level;
	if (lz4.is_there)
		worker->state = usp_alloc((size_t)(level < LEVEL_HC ? lz4.fast_len() : lz4.hc_len()));
	if (worker->state)
		return worker;
	encode_free(worker);
	return NULL;
}

/* Begin a frame as lz4(1) does: blocks of 4 MiB that do not refer to each other, and a checksum. */
static void encode_begin(struct usp_piece *piece)
{
	unsigned char header[FRAME_HEADER] = {0x04, 0x22, 0x4d, 0x18, 0x64, 0x70};

	header[FRAME_HEADER - 1] = (unsigned char)(XXH32(header + 4, 2, 0) >> 8);
	memcpy(piece->out, header, sizeof(header));
	piece->out_len = sizeof(header);
}

/* Make a block, which is stored when it does not get smaller. */
static void encode_block(struct worker *worker, struct usp_piece *piece)
{
	const char *in = (const char *)piece->in;
	char *out = (char *)piece->out + piece->out_len + 4;
	int len = (int)piece->in_len, made;

	if (worker->level < LEVEL_HC)
		made = lz4.fast(worker->state, in, out, len, len - 1, 1);
	else
		made = lz4.hc(worker->state, in, out, len, len - 1, worker->level);
	encode_put(piece, made > 0 ? (uint32_t)made : (uint32_t)len | BLOCK_IS_STORED);
	if (made <= 0)
		memcpy(out, in, piece->in_len);
	piece->out_len += made > 0 ? (size_t)made : piece->in_len;
}

static int encode_work(void *worker, struct usp_piece *piece)
{
	if (piece->room < piece->in_len + FRAME_ROOM)
		return -EIO;
	if (piece->is_first)
		encode_begin(piece);
	if (piece->in_len)
		encode_block(worker, piece);
	return 0;
}

/* --- In order ----------------------------------------------------------------------------------------------- */

static void *encode_join_open(void)
{
	XXH32_state_t *sum = XXH32_createState();

	if (sum)
		XXH32_reset(sum, 0);
	return sum;
}

static int encode_join(void *sum, struct usp_piece *piece, const char **ret_why)
{
	(void)ret_why;
	XXH32_update(sum, piece->in, piece->in_len);
	if (piece->is_last) {
		encode_put(piece, 0);
		encode_put(piece, XXH32_digest(sum));
	}
	return 0;
}

static void encode_join_free(void *sum)
{
	XXH32_freeState(sum);
}

const struct usp_split usp_split_lz4_encode = {
	.scan = encode_scan,
	.open = encode_open,
	.run = encode_work,
	.free = encode_free,
	.join_open = encode_join_open,
	.join = encode_join,
	.join_free = encode_join_free,
	.is_encoder = true,
};

#else

const struct usp_split usp_split_lz4_encode = {0};

#endif
