/* SPDX-License-Identifier: MIT */
/*
 * seek - the pieces of a compressed file that can be decompressed by themselves, and where they are.
 *
 * A file tells them by a table, or by headers that lead from one to the next. Both are read by positioned reads. What
 * they say is not trusted: the pieces follow each other, lie in the file, and are short.
 */
#ifndef USP_CODEC_SEEK_H
#define USP_CODEC_SEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define USP_SEEK_PIECE_MAX ((size_t)32 << 20) /* bytes that come out of one; what a folio can have */
#define USP_SEEK_READ ((size_t)4 << 20)	      /* bytes of a piece in hand: libzstd is faster with all of a frame */
#define USP_SEEK_NR_MAX ((size_t)1 << 20)     /* pieces, and headers that are looked at: 32 MiB of memory */

/*
 * A file that is compressed. read gives all len bytes at off, or -errno; -ENODATA where the file ends before. room is
 * memory of the caller, of room_len bytes, for what is read of a piece; without it, or if it is too short, the heap has it.
 */
struct usp_seek_input {
	int64_t len;
	int (*read)(void *arg, void *bytes, size_t len, int64_t off);
	void *arg;
	unsigned char *room;
	size_t room_len;
};

struct usp_seek_piece {
	int64_t in_off, out_off;
	uint32_t in_len, out_len; /* neither is 0 */
	uint32_t check;		  /* what the format needs to know of it; zstd: see has_xxh64 */
};

struct usp_seek_table {
	const struct usp_seek_format *format;
	const char *reason;	       /* for the account; static */
	struct usp_seek_piece *pieces; /* without gaps, in order */
	size_t nr_pieces, room;
	int64_t out_len;
	uint32_t longest; /* out_len of a piece, at most */
	bool has_xxh64;	  /* check has the low 32 bits of XXH64 of what comes out; the caller compares them */
};

/* One format, in a file of its own. The hooks are called by the functions below. */
struct usp_seek_format {
	unsigned char magic[6];
	size_t magic_len;
	bool can_join; /* decode takes several pieces behind each other as one */
	int (*read_table)(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why);
	int (*decode)(const struct usp_seek_piece *piece, const struct usp_seek_input *input, unsigned char *out,
		      const char **ret_why);
};

/* BGZF is gzip in blocks of at most 64 KiB, as bgzip(1) makes it. A build without a library has a table that refuses. */
extern const struct usp_seek_format usp_seek_zstd, usp_seek_bgzf, usp_seek_xz;

/*
 * Read the table of a file: 0; -ESPIPE and a sentence if it has none, or one that makes no sense; -EFBIG and a sentence
 * for pieces that are too large; -EOPNOTSUPP and a sentence for a library that is missing; -ENOMEM or -errno of a read.
 */
int usp_seek_open(const struct usp_seek_input *input, struct usp_seek_table *ret_table, const char **ret_why);
void usp_seek_fini(struct usp_seek_table *table);

/* Return the piece that has the byte at off of what comes out, which is below out_len. */
size_t usp_seek_find(const struct usp_seek_table *table, int64_t off);

/*
 * Decompress a piece into memory for its out_len bytes: 0, -EBADMSG or -EFBIG and a sentence, -ENOMEM, or -errno of a
 * read. After an error the memory has bytes that must not be used. Safe from several threads.
 */
int usp_seek_decode(const struct usp_seek_table *table, size_t index, const struct usp_seek_input *input,
		    unsigned char *out, const char **ret_why);

/* --- For the formats ---------------------------------------------------------------------------------------- */

/*
 * Add a piece behind the last one: 0, -ESPIPE, -EFBIG, -ENOMEM or -errno of a read, and a sentence. One without output
 * is left out, if it is really empty. Short ones are joined, where the format and their checksums allow that: thousands of small frames would cost more to begin
 * than to decompress.
 */
int usp_seek_add(struct usp_seek_table *table, const struct usp_seek_input *input, const struct usp_seek_piece *piece,
		 uint64_t in_len, uint64_t out_len, const char **ret_why);

struct usp_codec_side;

/* Decompress a piece by the decoder of a codec: a decode. */
int usp_seek_run(const struct usp_codec_side *decoder, const struct usp_seek_piece *piece,
		 const struct usp_seek_input *input, unsigned char *out, const char **ret_why);

static inline uint32_t usp_seek_u32(const unsigned char *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint32_t usp_seek_u16(const unsigned char *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

#endif
