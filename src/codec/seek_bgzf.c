/* SPDX-License-Identifier: MIT */
/*
 * seek_bgzf - the blocks of BGZF: members of gzip whose headers tell how long they are (the SAM specification, 4.1).
 *
 * The length of what comes out stands in the last bytes of a block, so one read gives it together with the header of
 * the next one.
 */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "codec/codec.h"
#include "codec/seek.h"

#define BGZF_HEADER_MAX 64 /* more than the 18 bytes that bgzip(1) writes */
#define BGZF_FIXED 12	   /* up to the extra fields */
#define BGZF_HAS_EXTRA 4
#define BGZF_TRAILER 8	     /* CRC32, and the length of what comes out */
#define BGZF_LEN_AT_END 4    /* of the trailer: that length */
#define BGZF_PLAIN_MAX 65536 /* bytes that come out of a block */
#define BGZF_EMPTY_MAX 64    /* of one without any: it is not looked into */

static const char no_blocks[] = "it has no table to seek by: of gzip only files in blocks (BGZF) have one";

/* Find the length of the block whose header has len bytes at head: 0 if it tells none. */
static size_t bgzf_block_len(const unsigned char *head, size_t len)
{
	size_t at = BGZF_FIXED, end;

	if (len < BGZF_FIXED || memcmp(head, "\x1f\x8b\x08", 3) != 0 || !(head[3] & BGZF_HAS_EXTRA))
		return 0;
	end = usp_min(len, at + usp_seek_u16(head + 10));
	while (at + 6 <= end) {
		if (memcmp(head + at, "BC\x02\x00", 4) == 0)
			return usp_seek_u16(head + at + 4) + 1;
		at += 4 + usp_seek_u16(head + at + 2);
	}
	return 0;
}

/* Read the end of the block before off, and the header behind it, as far as there is one: its length or -errno. */
static ssize_t bgzf_look(const struct usp_seek_input *input, int64_t off, unsigned char *ret_bytes)
{
	size_t before = off ? BGZF_LEN_AT_END : 0, len = usp_min(BGZF_HEADER_MAX, (size_t)(input->len - off));
	int ret = input->read(input->arg, ret_bytes + BGZF_LEN_AT_END - before, before + len, off - (int64_t)before);

	return ret < 0 ? ret : (ssize_t)len;
}

static int bgzf_walk(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why)
{
	unsigned char bytes[BGZF_LEN_AT_END + BGZF_HEADER_MAX];
	struct usp_seek_piece piece = {.in_off = 0};
	size_t block = 0, nr_looks = 0;
	ssize_t len;
	int ret;

	for (int64_t off = 0;; off += (int64_t)block) {
		len = bgzf_look(input, off, bytes);
		if (len < 0)
			return (int)len;
		if (off) {
			piece.in_off = off - (int64_t)block;
			*ret_why = no_blocks;
			if (usp_seek_u32(bytes) > BGZF_PLAIN_MAX || (!usp_seek_u32(bytes) && block > BGZF_EMPTY_MAX))
				return -ESPIPE;
			ret = usp_seek_add(table, input, &piece, block, usp_seek_u32(bytes), ret_why);
			if (ret < 0)
				return ret;
		}
		if (off == input->len)
			return 0;
		block = bgzf_block_len(bytes + BGZF_LEN_AT_END, (size_t)len);
		*ret_why = no_blocks;
		if (block < BGZF_FIXED + BGZF_TRAILER || block > (size_t)(input->len - off) ||
		    ++nr_looks > USP_SEEK_NR_MAX)
			return -ESPIPE;
	}
}

static int bgzf_read_table(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why)
{
	*ret_why = usp_codec_gzip.missing();
	if (*ret_why)
		return -EOPNOTSUPP;
	table->reason = "decompressed (gzip), by its blocks";
	return bgzf_walk(input, table, ret_why);
}

static int bgzf_decode(const struct usp_seek_piece *piece, const struct usp_seek_input *input, unsigned char *out,
		       const char **ret_why)
{
	return usp_seek_run(&usp_codec_gzip.decoder, piece, input, out, ret_why);
}

const struct usp_seek_format usp_seek_bgzf = {
	.magic = {0x1f, 0x8b}, .magic_len = 2, .can_join = true, .read_table = bgzf_read_table, .decode = bgzf_decode};
