/* SPDX-License-Identifier: MIT */
/* seek - the list of the formats with pieces, their tables, and how a piece is decompressed by a codec. */
#include "codec/seek.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "codec/codec.h"

#define SEEK_ROOM_FIRST ((size_t)256)
#define SEEK_JOIN ((size_t)64 << 10) /* bytes that come out of pieces that are joined, at most */

static const struct usp_seek_format *const formats[] = {&usp_seek_zstd, &usp_seek_bgzf, &usp_seek_xz};

static const char too_long[] = "a piece of it is too long: seeking needs pieces of at most 32 MiB";
static const char too_many[] = "it has too many pieces to seek in: more than 1048576";
static const char no_sense[] = "its table makes no sense";

/* --- Tables ------------------------------------------------------------------------------------------------- */

/* A frame of zstd without data may stand first: 0x184D2A50 to 0x184D2A5F, little-endian. */
static const struct usp_seek_format *seek_format(const unsigned char *head, size_t len)
{
	for (unsigned i = 0; i < usp_array_len(formats); i++) {
		if (len >= formats[i]->magic_len && memcmp(head, formats[i]->magic, formats[i]->magic_len) == 0)
			return formats[i];
	}
	return len >= 4 && (head[0] & 0xf0) == 0x50 && memcmp(head + 1, "\x2a\x4d\x18", 3) == 0 ? &usp_seek_zstd : NULL;
}

int usp_seek_open(const struct usp_seek_input *input, struct usp_seek_table *ret_table, const char **ret_why)
{
	struct usp_seek_table table = {.nr_pieces = 0};
	unsigned char head[sizeof(table.format->magic)];
	size_t len = usp_min(sizeof(head), (size_t)input->len);
	int ret = input->read(input->arg, head, len, 0);

	if (ret == 0) {
		table.format = seek_format(head, len);
		*ret_why = "it has no table to seek by: zstd, gzip in blocks (BGZF) and xz may have one";
		ret = table.format ? table.format->read_table(input, &table, ret_why) : -ESPIPE;
	}
	if (ret == -ENODATA) {
		*ret_why = no_sense;
		ret = -ESPIPE;
	}
	if (ret < 0)
		usp_seek_fini(&table);
	else
		*ret_table = table;
	return ret;
}

void usp_seek_fini(struct usp_seek_table *table)
{
	usp_free(table->pieces);
	table->pieces = NULL;
}

static int seek_grow(struct usp_seek_table *table)
{
	size_t room = table->room ? 2 * table->room : SEEK_ROOM_FIRST;
	struct usp_seek_piece *pieces = usp_alloc_array(room, sizeof(*pieces));

	if (!pieces)
		return -ENOMEM;
	if (table->nr_pieces)
		memcpy(pieces, table->pieces, table->nr_pieces * sizeof(*pieces));
	usp_free(table->pieces);
	table->pieces = pieces;
	table->room = room;
	return 0;
}

/* Tell what is wrong with a piece: 0 or -errno. */
static int seek_judge(const struct usp_seek_table *table, const struct usp_seek_input *input, int64_t in_off,
		      uint64_t in_len, uint64_t out_len, const char **ret_why)
{
	if (table->nr_pieces == USP_SEEK_NR_MAX) {
		*ret_why = too_many;
		return -ESPIPE;
	}
	*ret_why = no_sense;
	if (!in_len || in_off < 0 || in_off > input->len || in_len > (uint64_t)(input->len - in_off))
		return -ESPIPE;
	*ret_why = too_long;
	return out_len > USP_SEEK_PIECE_MAX || in_len > UINT32_MAX ? -EFBIG : 0;
}

/* Join a piece to the last one, if that is right in front of it, and both are short. False if not. */
static bool seek_join(struct usp_seek_table *table, int64_t in_off, uint64_t in_len, uint64_t out_len)
{
	struct usp_seek_piece *last = table->nr_pieces ? &table->pieces[table->nr_pieces - 1] : NULL;

	if (!last || table->has_xxh64 || !table->format->can_join || last->in_off + last->in_len != in_off ||
	    last->out_len + out_len > SEEK_JOIN || last->in_len + in_len > 2 * SEEK_JOIN)
		return false;
	last->in_len += (uint32_t)in_len;
	last->out_len += (uint32_t)out_len;
	return true;
}

static void seek_append(struct usp_seek_table *table, const struct usp_seek_piece *piece, uint64_t in_len,
			uint64_t out_len)
{
	struct usp_seek_piece *own = &table->pieces[table->nr_pieces++];

	*own = *piece;
	own->in_len = (uint32_t)in_len;
	own->out_len = (uint32_t)out_len;
	own->out_off = table->out_len;
}

/* Check that a piece of which nothing should come out is empty: nobody would ever read it. 0, -ESPIPE or -errno. */
static int seek_check_empty(const struct usp_seek_table *table, const struct usp_seek_input *input,
			    const struct usp_seek_piece *piece, uint64_t in_len, const char **ret_why)
{
	const struct usp_seek_piece empty = {
		.in_off = piece->in_off, .in_len = (uint32_t)in_len, .check = piece->check};
	unsigned char nothing;
	int ret = table->format->decode(&empty, input, &nothing, ret_why);

	if (ret != -EBADMSG && ret != -EFBIG)
		return ret;
	*ret_why = no_sense;
	return -ESPIPE;
}

int usp_seek_add(struct usp_seek_table *table, const struct usp_seek_input *input, const struct usp_seek_piece *piece,
		 uint64_t in_len, uint64_t out_len, const char **ret_why)
{
	int ret = seek_judge(table, input, piece->in_off, in_len, out_len, ret_why);

	if (ret < 0)
		return ret;
	if (!out_len)
		return seek_check_empty(table, input, piece, in_len, ret_why);
	if (!seek_join(table, piece->in_off, in_len, out_len)) {
		if (table->nr_pieces == table->room)
			ret = seek_grow(table);
		if (ret < 0)
			return ret;
		seek_append(table, piece, in_len, out_len);
	}
	table->out_len += (int64_t)out_len; /* at most USP_SEEK_NR_MAX times USP_SEEK_PIECE_MAX */
	table->longest = (uint32_t)usp_max(table->longest, table->pieces[table->nr_pieces - 1].out_len);
	return 0;
}

size_t usp_seek_find(const struct usp_seek_table *table, int64_t off)
{
	size_t low = 0, high = table->nr_pieces;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (table->pieces[middle].out_off <= off)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* --- Pieces ------------------------------------------------------------------------------------------------- */

int usp_seek_decode(const struct usp_seek_table *table, size_t index, const struct usp_seek_input *input,
		    unsigned char *out, const char **ret_why)
{
	return table->format->decode(&table->pieces[index], input, out, ret_why);
}

/* How far a piece is. io.in is what was read and not taken yet. */
struct seek_run {
	const struct usp_codec_side *decoder;
	void *state;
	const struct usp_seek_piece *piece;
	struct usp_codec_io io;
	size_t nr_read, nr_made;
};

/* Let the decoder work once: 1, 0 at its end, or -errno. It gets room for a byte too many, to find the end. */
static int seek_step(struct seek_run *run, unsigned char *out, const char **ret_why)
{
	size_t left = run->piece->out_len - run->nr_made, in_len = run->io.in_len, made;
	unsigned char beyond;
	int ret;

	run->io.out = left ? out + run->nr_made : &beyond;
	run->io.out_len = usp_max(left, 1);
	run->io.is_end = run->nr_read == run->piece->in_len;
	ret = run->decoder->run(run->state, &run->io, ret_why);
	if (ret < 0)
		return ret;
	made = usp_max(left, 1) - run->io.out_len;
	run->nr_made += made;
	if (ret == USP_CODEC_DONE && run->nr_made == run->piece->out_len)
		return 0;
	if (ret != USP_CODEC_DONE && run->nr_made <= run->piece->out_len && (made || run->io.in_len < in_len))
		return 1;
	*ret_why = "a piece has another length than its table says";
	return -EBADMSG;
}

static int seek_run(struct seek_run *run, const struct usp_seek_input *input, unsigned char *buffer, size_t room,
		    unsigned char *out, const char **ret_why)
{
	int ret;

	do {
		if (!run->io.in_len && run->nr_read < run->piece->in_len) {
			run->io.in = buffer;
			run->io.in_len = usp_min(room, run->piece->in_len - run->nr_read);
			ret = input->read(input->arg, buffer, run->io.in_len,
					  run->piece->in_off + (int64_t)run->nr_read);
			if (ret < 0)
				return ret;
			run->nr_read += run->io.in_len;
		}
		ret = seek_step(run, out, ret_why);
	} while (ret > 0);
	return ret;
}

int usp_seek_run(const struct usp_codec_side *decoder, const struct usp_seek_piece *piece,
		 const struct usp_seek_input *input, unsigned char *out, const char **ret_why)
{
	struct seek_run run = {.decoder = decoder, .piece = piece, .state = decoder->open(0)};
	size_t room = usp_min(piece->in_len, USP_SEEK_READ);
	bool has_room = input->room_len >= room;
	unsigned char *own = has_room ? NULL : usp_alloc(room), *buffer = has_room ? input->room : own;
	int ret = buffer && run.state ? seek_run(&run, input, buffer, room, out, ret_why) : -ENOMEM;

	usp_free(own);
	decoder->free(run.state);
	return ret;
}
