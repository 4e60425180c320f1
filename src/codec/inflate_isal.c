/* SPDX-License-Identifier: MIT */
/*
 * inflate_isal - members of gzip by ISA-L, which decodes about twice as fast as zlib.
 *
 * ISA-L checks the trailer. The header is read here: ISA-L 2.30 refuses the right checksum of a header that comes in parts,
 * and accepts flags that RFC 1952 reserves.
 */
#include "codec/inflate.h"

#ifdef USP_HAVE_ISAL

#include <errno.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/library.h"

#define ISAL_PIECE ((size_t)1 << 30)
#define HEADER_FIXED 10 /* magic, method, flags, time, extra flags, system */

enum header_flag {
	HEADER_CRC = 0x02,
	HEADER_EXTRA = 0x04,
	HEADER_NAME = 0x08,
	HEADER_COMMENT = 0x10,
	HEADER_BAD = 0xe0
};

/* Where a header is. */
enum header_part { PART_FIXED, PART_EXTRA_LEN, PART_EXTRA, PART_NAME, PART_COMMENT, PART_CRC, PART_NONE };

struct header {
	enum header_part part;
	unsigned nr;	 /* bytes of the part that came */
	unsigned flags;	 /* enum header_flag */
	unsigned number; /* of two bytes, the low one first: the length of the extra field, or the checksum */
	uint32_t crc;
};

struct isal {
	struct inflate_state state;
	struct header header;
};

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(isal_inflate_init) *init;
	__typeof__(isal_inflate_reset) *reset;
	__typeof__(isal_inflate) *inflate;
	__typeof__(crc32_gzip_refl) *crc32;
} isal = {.once = PTHREAD_ONCE_INIT};

static void isal_load(void)
{
	isal.is_there = usp_library_load("libisal.so.2", (const struct usp_library_function[]){
								 {"isal_inflate_init", &isal.init},
								 {"isal_inflate_reset", &isal.reset},
								 {"isal_inflate", &isal.inflate},
								 {"crc32_gzip_refl", &isal.crc32},
								 {0},
							 });
}

static bool isal_is_there(void)
{
	pthread_once(&isal.once, isal_load);
	return isal.is_there;
}

/* --- The header --------------------------------------------------------------------------------------------- */

/* Go to the next part that this header has. */
static void header_step(struct header *header)
{
	static const unsigned flag_of[PART_NONE] = {
		[PART_EXTRA_LEN] = HEADER_EXTRA, [PART_EXTRA] = HEADER_EXTRA, [PART_NAME] = HEADER_NAME,
		[PART_COMMENT] = HEADER_COMMENT, [PART_CRC] = HEADER_CRC,
	};
	bool has_extra = header->part == PART_EXTRA_LEN && header->number;

	do
		header->part++;
	while (header->part < PART_NONE &&
	       (header->part == PART_EXTRA ? !has_extra : !(header->flags & flag_of[header->part])));
	header->nr = 0;
	if (header->part != PART_EXTRA)
		header->number = 0;
}

/* Look at a byte of the first ten: 0 or -EBADMSG. */
static int header_look_fixed(struct header *header, unsigned char byte)
{
	static const unsigned char first[] = {0x1f, 0x8b, 8};

	if (header->nr <= sizeof(first))
		return byte == first[header->nr - 1] ? 0 : -EBADMSG;
	if (header->nr == sizeof(first) + 1)
		header->flags = byte;
	return header->flags & HEADER_BAD ? -EBADMSG : 0;
}

/* Look at the next byte of the header: 0 or -EBADMSG. */
static int header_look(struct header *header, unsigned char byte)
{
	int ret = 0;
	bool is_whole = false;

	header->nr++;
	switch (header->part) {
	case PART_FIXED:
		ret = header_look_fixed(header, byte);
		is_whole = header->nr == HEADER_FIXED;
		break;
	case PART_EXTRA:
		is_whole = header->nr == header->number;
		break;
	case PART_NAME:
	case PART_COMMENT:
		is_whole = byte == 0;
		break;
	default:
		header->number |= (unsigned)byte << (header->nr == 1 ? 0 : 8);
		is_whole = header->nr == 2;
		if (is_whole && header->part == PART_CRC && header->number != (header->crc & 0xffff))
			return -EBADMSG;
	}
	if (header->part != PART_CRC)
		header->crc = isal.crc32(header->crc, &byte, 1);
	if (is_whole)
		header_step(header);
	return ret;
}

/* --- The member --------------------------------------------------------------------------------------------- */

static void isal_again(void *state)
{
	struct isal *member = state;

	isal.reset(&member->state);
	member->state.crc_flag = ISAL_GZIP_NO_HDR_VER;
	member->header = (struct header){0};
}

static void *isal_open(void)
{
	struct isal *member = usp_alloc(sizeof(*member));

	if (!member)
		return NULL;
	isal.init(&member->state);
	isal_again(member);
	return member;
}

static int isal_run(void *arg, struct usp_codec_io *io)
{
	struct isal *member = arg;
	struct inflate_state *state = &member->state;
	int ret = 0;

	for (; member->header.part != PART_NONE && io->in_len && ret == 0; io->in++, io->in_len--)
		ret = header_look(&member->header, *io->in);
	if (ret < 0 || member->header.part != PART_NONE)
		return ret;
	state->next_in = (unsigned char *)io->in;
	state->avail_in = (uint32_t)usp_min(io->in_len, ISAL_PIECE);
	state->next_out = io->out;
	state->avail_out = (uint32_t)usp_min(io->out_len, ISAL_PIECE);
	ret = isal.inflate(state);
	io->in_len -= (size_t)(state->next_in - io->in);
	io->in = state->next_in;
	if (ret < 0)
		return -EBADMSG; /* it may have counted bytes behind the good ones, which it did not write */
	io->out_len -= (size_t)(state->next_out - io->out);
	io->out = state->next_out;
	return state->block_state == ISAL_BLOCK_FINISH ? USP_CODEC_DONE : 0;
}

static void isal_free(void *state)
{
	usp_free(state);
}

const struct usp_inflate usp_inflate_isal = {
	.is_there = isal_is_there, .open = isal_open, .run = isal_run, .reset = isal_again, .free = isal_free};

#else

static bool isal_is_there(void)
{
	return false;
}

const struct usp_inflate usp_inflate_isal = {.is_there = isal_is_there};

#endif
