/* SPDX-License-Identifier: MIT */
/*
 * seek_zstd - the frames of a zstd file: from its table, which stands in a frame without data at its end, or by a walk
 * from frame to frame and from block to block (RFC 8878, and zstd_seekable_compression_format.md).
 *
 *   [frame][frame]...[frame][0x184D2A5E, length | entry | entry ... | number of frames, flags, 0x8F92EAB1]
 *
 * An entry has the lengths of a frame, compressed and not, and maybe a checksum of what comes out. A walk needs frames
 * that tell the length of what comes out, which zstd(1) writes if it knows that length before it begins.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "codec/codec.h"
#include "codec/seek.h"

#define ZSTD_MAGIC 0xfd2fb528u
#define SKIPPABLE_MAGIC 0x184d2a50u /* the lowest four bits are free */
#define TABLE_MAGIC 0x184d2a5eu
#define FOOTER_MAGIC 0x8f92eab1u
#define SKIPPABLE_HEADER 8
#define FOOTER_LEN 9
#define FOOTER_HAS_CHECKSUMS 0x80u
#define FOOTER_RESERVED 0x7cu
#define ENTRY_LEN 8	    /* and 4 of a checksum */
#define NR_AT_ONCE 4096u    /* entries that are read together */
#define FRAME_HEADER_MAX 18 /* with its magic */
#define BLOCK_HEADER 3

static const char by_table[] = "decompressed (zstd), by its table";
static const char by_frames[] = "decompressed (zstd), by its frames";
static const char no_sense[] = "its table makes no sense (zstd)";

/* --- The table ---------------------------------------------------------------------------------------------- */

/* Where the table is, and what it has. */
struct zstd_table {
	int64_t off; /* of the first entry */
	uint32_t nr_frames;
	unsigned entry_len;
};

/* Look for a table at the end: 1 if there is one, 0, or -errno. */
static int zstd_find_table(const struct usp_seek_input *input, struct zstd_table *ret_table, const char **ret_why)
{
	unsigned char footer[FOOTER_LEN], head[SKIPPABLE_HEADER];
	int64_t len;
	int ret = input->len < FOOTER_LEN + SKIPPABLE_HEADER
			  ? -ESPIPE
			  : input->read(input->arg, footer, FOOTER_LEN, input->len - FOOTER_LEN);

	if (ret == -ESPIPE || (ret == 0 && usp_seek_u32(footer + 5) != FOOTER_MAGIC))
		return 0;
	if (ret < 0)
		return ret;
	*ret_why = no_sense;
	ret_table->nr_frames = usp_seek_u32(footer);
	ret_table->entry_len = ENTRY_LEN + (footer[4] & FOOTER_HAS_CHECKSUMS ? 4 : 0);
	len = (int64_t)ret_table->nr_frames * ret_table->entry_len + FOOTER_LEN;
	ret_table->off = input->len - len;
	if (footer[4] & FOOTER_RESERVED || len > UINT32_MAX || ret_table->off < SKIPPABLE_HEADER)
		return -ESPIPE;
	ret = input->read(input->arg, head, SKIPPABLE_HEADER, ret_table->off - SKIPPABLE_HEADER);
	if (ret < 0)
		return ret;
	return usp_seek_u32(head) == TABLE_MAGIC && usp_seek_u32(head + 4) == len ? 1 : -ESPIPE;
}

/* Add the frames of some entries: 0 or -errno. */
static int zstd_add_entries(const struct usp_seek_input *input, struct usp_seek_table *table, const unsigned char *at,
			    uint32_t nr, int64_t *in_off, const char **ret_why)
{
	unsigned entry_len = ENTRY_LEN + (table->has_xxh64 ? 4 : 0);
	int ret = 0;

	for (; nr-- && ret == 0; at += entry_len) {
		struct usp_seek_piece piece = {.in_off = *in_off,
					       .check = table->has_xxh64 ? usp_seek_u32(at + ENTRY_LEN) : 0};

		ret = usp_seek_add(table, input, &piece, usp_seek_u32(at), usp_seek_u32(at + 4), ret_why);
		*in_off += usp_seek_u32(at);
	}
	return ret;
}

/* Read the entries: 0 or -errno. The frames must end where the table begins. */
static int zstd_read_entries(const struct usp_seek_input *input, struct usp_seek_table *table,
			     const struct zstd_table *where, const char **ret_why)
{
	unsigned char *entries = usp_alloc_array(NR_AT_ONCE, where->entry_len);
	int64_t in_off = 0, off = where->off;
	uint32_t nr, left = where->nr_frames;
	int ret = entries ? 0 : -ENOMEM;

	for (; left && ret == 0; left -= nr) {
		nr = (uint32_t)usp_min(left, NR_AT_ONCE);
		ret = input->read(input->arg, entries, (size_t)nr * where->entry_len, off);
		if (ret == 0)
			ret = zstd_add_entries(input, table, entries, nr, &in_off, ret_why);
		off += (int64_t)nr * where->entry_len;
	}
	usp_free(entries);
	if (ret < 0 || in_off == where->off - SKIPPABLE_HEADER)
		return ret;
	*ret_why = no_sense;
	return -ESPIPE;
}

/* --- The walk ----------------------------------------------------------------------------------------------- */

struct zstd_frame {
	size_t header_len;
	bool has_checksum, is_sized;
	uint64_t out_len;
};

/* Parse a frame header of len bytes that begins with the magic: false if it is none, or cut off. */
static bool zstd_parse_header(const unsigned char *head, size_t len, struct zstd_frame *ret_frame)
{
	static const unsigned char id_lens[] = {0, 1, 2, 4}, size_lens[] = {0, 2, 4, 8};
	unsigned flags = len > 4 ? head[4] : 8, size_len;
	bool is_single = flags & 0x20;
	uint64_t out_len = 0;
	size_t at = 5 + !is_single + id_lens[flags & 3];

	size_len = flags >> 6 ? size_lens[flags >> 6] : is_single;
	if (flags & 8 || at + size_len > len)
		return false;
	for (unsigned i = size_len; i-- > 0;)
		out_len = out_len << 8 | head[at + i];
	*ret_frame = (struct zstd_frame){.header_len = at + size_len,
					 .has_checksum = flags & 4,
					 .is_sized = size_len,
					 .out_len = size_len == 2 ? out_len + 256 : out_len};
	return true;
}

struct zstd_walk {
	const struct usp_seek_input *input;
	int64_t off;
	size_t nr_looks; /* headers that were read */
};

/* Read a header of len bytes where the walk is: 0 or -errno. */
static int zstd_look(struct zstd_walk *walk, unsigned char *bytes, size_t len, const char **ret_why)
{
	*ret_why = "it has no table, and too many blocks to find its frames (zstd)";
	if (walk->nr_looks++ == USP_SEEK_NR_MAX)
		return -ESPIPE;
	return walk->input->read(walk->input->arg, bytes, len, walk->off);
}

/* Go behind the blocks of a frame: 0 or -errno. */
static int zstd_skip_blocks(struct zstd_walk *walk, const char **ret_why)
{
	unsigned char head[BLOCK_HEADER];
	uint32_t block;
	int ret;

	do {
		ret = zstd_look(walk, head, BLOCK_HEADER, ret_why);
		if (ret < 0)
			return ret;
		block = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16;
		walk->off += BLOCK_HEADER + ((block >> 1 & 3) == 1 ? 1 : block >> 3); /* 1: a byte, repeated */
	} while (!(block & 1));
	return 0;
}

/* Take the frame where the walk is, whose first len bytes are at head: 0 or -errno. */
static int zstd_walk_frame(struct zstd_walk *walk, const unsigned char *head, size_t len, struct usp_seek_table *table,
			   const char **ret_why)
{
	struct usp_seek_piece piece = {.in_off = walk->off};
	struct zstd_frame frame;
	int ret;

	*ret_why = "its frames do not tell their lengths, and it has no table (zstd)";
	if (!zstd_parse_header(head, len, &frame) || !frame.is_sized)
		return -ESPIPE;
	if (frame.out_len > USP_SEEK_PIECE_MAX) /* before its blocks are looked for */
		return usp_seek_add(table, walk->input, &piece, 1, frame.out_len, ret_why);
	walk->off += (int64_t)frame.header_len;
	ret = zstd_skip_blocks(walk, ret_why);
	walk->off += frame.has_checksum ? 4 : 0;
	if (ret < 0)
		return ret;
	return usp_seek_add(table, walk->input, &piece, (uint64_t)(walk->off - piece.in_off), frame.out_len, ret_why);
}

/* Walk from frame to frame: 0 or -errno. */
static int zstd_walk_frames(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why)
{
	struct zstd_walk walk = {.input = input};
	int ret = 0;

	while (ret == 0 && walk.off < input->len) {
		unsigned char head[FRAME_HEADER_MAX] = {0};
		size_t len = usp_min(sizeof(head), (size_t)(input->len - walk.off));

		ret = zstd_look(&walk, head, len, ret_why);
		if (ret < 0)
			break;
		if (len >= SKIPPABLE_HEADER && (usp_seek_u32(head) & ~0xfu) == SKIPPABLE_MAGIC) {
			walk.off += SKIPPABLE_HEADER + (int64_t)usp_seek_u32(head + 4);
			continue;
		}
		*ret_why = "it has something else than frames of zstd";
		ret = usp_seek_u32(head) == ZSTD_MAGIC ? zstd_walk_frame(&walk, head, len, table, ret_why) : -ESPIPE;
	}
	if (ret == 0 && walk.off != input->len) {
		*ret_why = "it is cut off (zstd)";
		ret = -ESPIPE;
	}
	return ret;
}

/* --- The format --------------------------------------------------------------------------------------------- */

static int zstd_read_table(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why)
{
	struct zstd_table where;
	int ret;

	*ret_why = usp_codec_zstd.missing();
	if (*ret_why)
		return -EOPNOTSUPP;
	ret = zstd_find_table(input, &where, ret_why);
	table->reason = ret > 0 ? by_table : by_frames;
	if (ret > 0) {
		table->has_xxh64 = where.entry_len > ENTRY_LEN;
		return zstd_read_entries(input, table, &where, ret_why);
	}
	return ret < 0 ? ret : zstd_walk_frames(input, table, ret_why);
}

static int zstd_decode_piece(const struct usp_seek_piece *piece, const struct usp_seek_input *input, unsigned char *out,
			     const char **ret_why)
{
	return usp_seek_run(&usp_codec_zstd.decoder, piece, input, out, ret_why);
}

const struct usp_seek_format usp_seek_zstd = {.magic = {0x28, 0xb5, 0x2f, 0xfd},
					      .magic_len = 4,
					      .can_join = true,
					      .read_table = zstd_read_table,
					      .decode = zstd_decode_piece};
