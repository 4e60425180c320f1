/* SPDX-License-Identifier: MIT */
/*
 * lz4_blocks - the blocks of an lz4 frame one by one, where they do not refer to each other.
 *
 * The checksum of the content goes over all blocks of a frame in order. A worker checks frames that are whole in its piece;
 * join does it for those that go over several. A piece that cannot be decoded is left to the decoder of the stream, which
 * is told the header of its frame.
 */
#include "codec/split.h"

#if defined(USP_HAVE_LZ4) && defined(USP_HAVE_XXHASH)

#include <errno.h>
#include <lz4.h>
#include <pthread.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/alloc.h"
#include "base/library.h"

#define FRAME_MAGIC 0x184d2204u
#define FRAME_FLAGS 4 /* offsets in the header */
#define FRAME_BLOCK_SIZE 5
#define FRAME_CONTENT_SIZE 6
#define FRAME_LEAST 7
#define BLOCK_IS_STORED 0x80000000u
#define BLOCK_RATIO 256 /* a byte makes no more than 255 */

enum frame_flag {
	FLAG_DICTIONARY = 0x01,
	FLAG_RESERVED = 0x02,
	FLAG_CONTENT_SUM = 0x04,
	FLAG_CONTENT_SIZE = 0x08,
	FLAG_BLOCK_SUM = 0x10,
	FLAG_INDEPENDENT = 0x20,
	FLAG_VERSION = 0xc0
};

static __typeof__(LZ4_decompress_safe) *blocks_decompress;

static void blocks_load(void)
{
	usp_library_load("liblz4.so.1",
			 (const struct usp_library_function[]){{"LZ4_decompress_safe", &blocks_decompress}, {0}});
}

static uint32_t blocks_number(const unsigned char *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool frame_has(const struct usp_split_frame *frame, enum frame_flag flag)
{
	return frame->head[FRAME_FLAGS] & flag;
}

static size_t frame_block_max(const struct usp_split_frame *frame)
{
	return (size_t)1 << (8 + 2 * (frame->head[FRAME_BLOCK_SIZE] >> 4)); /* 4 to 7: 64 KiB to 4 MiB */
}

/* --- The scanner -------------------------------------------------------------------------------------------- */

/* Keep a header without the size of the content: a decoder that begins within the frame would miss the bytes before. */
static void blocks_keep_header(struct usp_split_frame *frame, const unsigned char *unit)
{
	unsigned char *head = frame->head;

	memcpy(head, unit, FRAME_LEAST);
	head[FRAME_FLAGS] &= (unsigned char)~FLAG_CONTENT_SIZE;
	head[FRAME_LEAST - 1] = (unsigned char)(XXH32(head + FRAME_FLAGS, FRAME_LEAST - FRAME_FLAGS - 1, 0) >> 8);
	frame->head_len = FRAME_LEAST;
}

static enum usp_scan_result blocks_scan_header(struct usp_scan *scan, const unsigned char *unit, size_t len)
{
	struct usp_split_frame *frame = &scan->frame;
	unsigned flags, block_size;

	scan->need = FRAME_LEAST;
	if (len < scan->need)
		return USP_SCAN_MORE;
	flags = unit[FRAME_FLAGS];
	block_size = unit[FRAME_BLOCK_SIZE];
	if (blocks_number(unit) != FRAME_MAGIC || (flags & FLAG_VERSION) != 0x40 || !(flags & FLAG_INDEPENDENT) ||
	    flags & (FLAG_DICTIONARY | FLAG_RESERVED) || block_size & 0x8f || block_size >> 4 < 4)
		return USP_SCAN_NONE;
	scan->need += flags & FLAG_CONTENT_SIZE ? 8 : 0;
	if (len < scan->need)
		return USP_SCAN_MORE;
	if (unit[scan->need - 1] != (XXH32(unit + FRAME_FLAGS, scan->need - FRAME_FLAGS - 1, 0) >> 8 & 0xff))
		return USP_SCAN_NONE;
	blocks_keep_header(frame, unit);
	return USP_SCAN_UNIT;
}

static enum usp_scan_result blocks_scan(struct usp_scan *scan, const unsigned char *unit, size_t len)
{
	struct usp_split_frame *frame = &scan->frame;
	uint32_t size;

	if (!frame->head_len)
		return blocks_scan_header(scan, unit, len);
	scan->need = 4;
	if (len < scan->need)
		return USP_SCAN_MORE;
	size = blocks_number(unit) & ~BLOCK_IS_STORED;
	if (size > frame_block_max(frame))
		return USP_SCAN_NONE;
	scan->need += size + (frame_has(frame, size ? FLAG_BLOCK_SUM : FLAG_CONTENT_SUM) ? 4 : 0);
	scan->room = size <= frame_block_max(frame) / BLOCK_RATIO ? BLOCK_RATIO * size : frame_block_max(frame);
	if (len < scan->need)
		return USP_SCAN_MORE;
	if (!blocks_number(unit))
		frame->head_len = 0;
	return USP_SCAN_UNIT;
}

/* --- The worker --------------------------------------------------------------------------------------------- */

/* liblz4 has no state for blocks. */
static void *blocks_open(int level)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)level;
	pthread_once(&once, blocks_load);
	return blocks_decompress ? usp_alloc(1) : NULL;
}

/* Decode the bytes of a block, of which len are there: 0 or -EBADMSG. */
static int blocks_decode(struct usp_piece *piece, const struct usp_split_frame *frame, const unsigned char *in,
			 uint32_t header, size_t len)
{
	size_t room = piece->room - piece->out_len, most = frame_block_max(frame);
	int got;

	if (frame_has(frame, FLAG_BLOCK_SUM) && XXH32(in, len, 0) != blocks_number(in + len))
		return -EBADMSG;
	room = room < most ? room : most;
	if (header & BLOCK_IS_STORED) {
		if (len > room)
			return -EBADMSG;
		memcpy(piece->out + piece->out_len, in, len);
		piece->out_len += len;
		return 0;
	}
	got = blocks_decompress((const char *)in, (char *)piece->out + piece->out_len, (int)len, (int)room);
	piece->out_len += got > 0 ? (size_t)got : 0;
	return got < 0 ? -EBADMSG : 0;
}

/* Tell whether a frame of so many bytes is as its header and its end say. Header and end are in the input. */
static bool frame_is_right(const unsigned char *header, uint64_t len, uint32_t sum, const unsigned char *end)
{
	const unsigned char *size = header + FRAME_CONTENT_SIZE;

	if (header[FRAME_FLAGS] & FLAG_CONTENT_SIZE &&
	    len != (blocks_number(size) | (uint64_t)blocks_number(size + 4) << 32))
		return false;
	return !(header[FRAME_FLAGS] & FLAG_CONTENT_SUM) || sum == blocks_number(end + 4);
}

/* Begin with a frame whose header is at *at, and go behind it. */
static void blocks_begin(struct usp_piece *piece, struct usp_split_frame *frame, size_t *at)
{
	memcpy(frame->head, piece->in + *at, FRAME_LEAST);
	frame->head_len = FRAME_LEAST;
	piece->has_begun = true;
	piece->begin_at = *at;
	piece->begin_out = piece->out_len;
	*at += frame_has(frame, FLAG_CONTENT_SIZE) ? FRAME_LEAST + 8 : FRAME_LEAST;
}

/* End the frame, whose end mark is at *at, and go behind it: 0 or -EBADMSG. */
static int blocks_end(struct usp_piece *piece, struct usp_split_frame *frame, size_t *at)
{
	const unsigned char *out = piece->out + piece->begin_out, *header = piece->in + piece->begin_at;
	size_t len = piece->out_len - piece->begin_out, end = *at;

	*at += frame_has(frame, FLAG_CONTENT_SUM) ? 8 : 4;
	frame->head_len = 0;
	if (!piece->has_begun) {
		piece->has_ended = true;
		piece->end_at = end;
		piece->end_out = piece->out_len;
		return 0;
	}
	piece->has_begun = false;
	return frame_is_right(header, len, frame_has(frame, FLAG_CONTENT_SUM) ? XXH32(out, len, 0) : 0, piece->in + end)
		       ? 0
		       : -EBADMSG;
}

static int blocks_work(void *worker, struct usp_piece *piece)
{
	struct usp_split_frame frame = piece->frame;
	size_t at = 0;
	int ret = 0;

	(void)worker;
	while (ret == 0 && at < piece->in_len) {
		uint32_t header = blocks_number(piece->in + at);
		size_t len = header & ~BLOCK_IS_STORED;

		if (!frame.head_len) {
			blocks_begin(piece, &frame, &at);
		} else if (!header) {
			ret = blocks_end(piece, &frame, &at);
		} else {
			ret = blocks_decode(piece, &frame, piece->in + at + 4, header, len);
			at += 4 + len + (frame_has(&frame, FLAG_BLOCK_SUM) ? 4 : 0);
		}
	}
	return ret;
}

/* --- In order ----------------------------------------------------------------------------------------------- */

/* A frame that goes over several pieces. */
struct joint {
	XXH32_state_t *sum;
	uint64_t len; /* what it has made */
	unsigned char header[FRAME_LEAST + 8];
};

static void joint_free(void *arg)
{
	struct joint *joint = arg;

	if (joint)
		XXH32_freeState(joint->sum);
	usp_free(joint);
}

static void *joint_open(void)
{
	struct joint *joint = usp_alloc(sizeof(*joint));

	if (!joint)
		return NULL;
	joint->sum = XXH32_createState();
	if (joint->sum)
		return joint;
	joint_free(joint);
	return NULL;
}

static void joint_update(struct joint *joint, const unsigned char *out, size_t len)
{
	joint->len += len;
	if (joint->header[FRAME_FLAGS] & FLAG_CONTENT_SUM)
		XXH32_update(joint->sum, out, len);
}

static void joint_begin(struct joint *joint, const unsigned char *header)
{
	memcpy(joint->header, header, header[FRAME_FLAGS] & FLAG_CONTENT_SIZE ? FRAME_LEAST + 8 : FRAME_LEAST);
	joint->len = 0;
	XXH32_reset(joint->sum, 0);
}

/* End the frame that came from before: 0, or -EBADMSG behind its last byte. */
static int joint_end(struct joint *joint, struct usp_piece *piece, const char **ret_why)
{
	if (frame_is_right(joint->header, joint->len, XXH32_digest(joint->sum), piece->in + piece->end_at))
		return 0;
	piece->in_len = piece->end_at + 4;
	piece->out_len = piece->end_out;
	*ret_why = "the data is damaged (lz4)";
	return -EBADMSG;
}

static int joint_add(void *arg, struct usp_piece *piece, const char **ret_why)
{
	struct joint *joint = arg;

	if (piece->frame.head_len)
		joint_update(joint, piece->out, piece->has_ended ? piece->end_out : piece->out_len);
	if (piece->has_ended && joint_end(joint, piece, ret_why) < 0)
		return -EBADMSG;
	if (!piece->has_begun)
		return 0;
	joint_begin(joint, piece->in + piece->begin_at);
	joint_update(joint, piece->out + piece->begin_out, piece->out_len - piece->begin_out);
	return 0;
}

const struct usp_split usp_split_lz4 = {
	.scan = blocks_scan,
	.open = blocks_open,
	.run = blocks_work,
	.free = usp_free,
	.join_open = joint_open,
	.join = joint_add,
	.join_free = joint_free,
	.is_late = true,
};

#else

const struct usp_split usp_split_lz4 = {0};

#endif
