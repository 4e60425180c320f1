/* SPDX-License-Identifier: MIT */
/*
 * rope - bytes in memory as a row of pieces, in order of their positions.
 *
 *   pieces   [ copied, 256 KiB ][ taken over ][ taken over ][ copied | room ]
 *            0                  start         start         start   len
 *
 * Reading lends references to the folios of the pieces. A piece is one of three kinds:
 *
 * - Made by the rope, for bytes that are copied. Only the last one has room behind its bytes. References that were
 *   lent end before this room, so it may be filled while they are in use.
 * - Taken over. Its memory beyond the piece is never used: a pipe may still append to the same folio. Only memory of
 *   the pool is taken over. Other memory has an owner that may need it back to go on, and that is told of the release,
 *   while the caller holds its lock.
 * - The caller's, the only piece of its rope. The caller must prevent that bytes change which others refer to.
 *
 * Before bytes change, the rope makes sure that it is the only owner of their folio. If it is not, it copies the piece.
 *
 * Memory is bounded by the length: a folio is not taken over if less than half of it is in use, or if all pieces
 * together then have more than twice the memory that their bytes need, and ROPE_PIECE_LEN.
 */
#include "splice/rope.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "mm/folio.h"
#include "splice/iter.h"

#define ROPE_PIECE_LEN ((size_t)256 << 10)
#define ROPE_TAKE_MAX ((size_t)2 << 20) /* a piece is copied whole before a byte of it changes */

/* --- Pieces ------------------------------------------------------------------------------------------- */

static bool rope_make_room(struct usp_rope *rope)
{
	size_t nr_room = usp_max(2 * rope->nr_room, 8);
	struct usp_rope_piece *pieces;

	if (rope->nr_pieces < rope->nr_room)
		return true;
	pieces = usp_alloc_array(nr_room, sizeof(pieces[0]));
	if (!pieces)
		return false;
	if (rope->nr_pieces)
		memcpy(pieces, rope->pieces, rope->nr_pieces * sizeof(pieces[0]));
	usp_free(rope->pieces);
	rope->pieces = pieces;
	rope->nr_room = nr_room;
	return true;
}

/* Append bytes [off, off + len) of a folio, and own the reference; the array has room. The last piece ends at len. */
static void rope_append(struct usp_rope *rope, struct usp_folio *folio, size_t off, size_t len)
{
	struct usp_rope_piece *last = rope->nr_pieces ? &rope->pieces[rope->nr_pieces - 1] : NULL;

	if (last)
		last->len = rope->len - last->start;
	rope->pieces[rope->nr_pieces++] =
		(struct usp_rope_piece){.folio = folio, .start = rope->len, .off = off, .len = len};
	rope->capacity += folio->len;
}

/* Append a piece for bytes that will be copied. */
static bool rope_grow(struct usp_rope *rope)
{
	struct usp_folio *folio = rope_make_room(rope) ? usp_folio_new(usp_min(ROPE_PIECE_LEN, rope->max_len)) : NULL;

	if (folio)
		rope_append(rope, folio, 0, folio->len);
	return folio;
}

/* Return the index of the piece of pos: the last one that starts there or before. There is one. */
static size_t rope_find(const struct usp_rope *rope, size_t pos)
{
	size_t first = 0, end = rope->nr_pieces;

	while (end - first > 1) {
		size_t middle = first + (end - first) / 2;

		if (rope->pieces[middle].start <= pos)
			first = middle;
		else
			end = middle;
	}
	return first;
}

/* Return how much room there is for bytes behind the last one. */
static size_t rope_room(const struct usp_rope *rope)
{
	const struct usp_rope_piece *last = rope->nr_pieces ? &rope->pieces[rope->nr_pieces - 1] : NULL;

	return last ? last->start + last->len - rope->len : 0;
}

/* Replace the folio of a piece by a copy of its own. */
static bool rope_copy_piece(struct usp_rope *rope, struct usp_rope_piece *piece)
{
	struct usp_folio *folio = usp_folio_new(piece->len);

	if (!folio)
		return false;
	memcpy(folio->base, piece->folio->base + piece->off, usp_min(piece->len, rope->len - piece->start));
	rope->capacity += folio->len - piece->folio->len;
	usp_folio_put(piece->folio);
	piece->folio = folio;
	piece->off = 0;
	return true;
}

static bool rope_is_shared(const struct usp_rope_piece *piece)
{
	return atomic_load_explicit(usp_u32(&piece->folio->refs), memory_order_acquire) > 1;
}

/* Return the piece of pos, ready for writing there; NULL if memory is short. Bytes behind the last one are not shared. */
static struct usp_rope_piece *rope_writable(struct usp_rope *rope, size_t pos)
{
	struct usp_rope_piece *piece;

	if (pos == rope->len && rope_room(rope) == 0 && !rope_grow(rope))
		return NULL;
	piece = &rope->pieces[rope_find(rope, pos)];
	if (!rope->is_fixed && pos < rope->len && rope_is_shared(piece) && !rope_copy_piece(rope, piece))
		return NULL;
	return piece;
}

int usp_rope_reserve(struct usp_rope *rope)
{
	return rope_make_room(rope) ? 0 : -ENOMEM;
}

void usp_rope_lay(struct usp_rope *rope, struct usp_folio *folio)
{
	rope->is_fixed = true;
	rope_append(rope, folio, 0, folio->len);
	rope->len = rope->max_len = folio->len;
}

void usp_rope_fini(struct usp_rope *rope)
{
	for (size_t i = 0; i < rope->nr_pieces; i++)
		usp_folio_put(rope->pieces[i].folio);
	usp_free(rope->pieces);
}

/* --- Reading ------------------------------------------------------------------------------------------ */

/* Cut len to the bytes that exist at pos. */
static size_t rope_left(const struct usp_rope *rope, int64_t pos, size_t len)
{
	if (pos < 0 || (uint64_t)pos >= rope->len)
		return 0;
	return usp_min(len, rope->len - (size_t)pos);
}

size_t usp_rope_read(const struct usp_rope *rope, const struct usp_iter *to, int64_t pos)
{
	size_t len = rope_left(rope, pos, to->count), done = 0, at = (size_t)pos;

	for (size_t i = len ? rope_find(rope, at) : 0; done < len; i++) {
		const struct usp_rope_piece *piece = &rope->pieces[i];
		size_t off = at + done - piece->start, part = usp_min(piece->len - off, len - done);

		usp_iter_copy_to(to, done, piece->folio->base + piece->off + off, part);
		done += part;
	}
	return len;
}

ssize_t usp_rope_lend(const struct usp_rope *rope, int64_t pos, struct usp_pipe *pipe, size_t len)
{
	size_t done = 0, at = (size_t)pos;
	ssize_t ret = 0;

	len = rope_left(rope, pos, len);
	for (size_t i = len ? rope_find(rope, at) : 0; done < len; i++) {
		const struct usp_rope_piece *piece = &rope->pieces[i];
		size_t off = at + done - piece->start, part = usp_min(piece->len - off, len - done);

		ret = usp_pipe_push_folio(pipe, piece->folio, piece->off + off, part, 0);
		done += ret > 0 ? (size_t)ret : 0;
		if (ret < (ssize_t)part)
			break;
	}
	return done ? (ssize_t)done : ret;
}

/* --- Writing ------------------------------------------------------------------------------------------ */

/* Copy len bytes to pos, or zeros if from is NULL, while memory lasts; their number. pos is at most rope->len. */
static size_t rope_put(struct usp_rope *rope, size_t pos, const struct usp_iter *from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct usp_rope_piece *piece = rope_writable(rope, pos);
		size_t off, part;

		if (!piece)
			break;
		off = pos - piece->start;
		part = usp_min(piece->len - off, len - done);
		if (from)
			usp_iter_copy_from(from, done, piece->folio->base + piece->off + off, part);
		else
			memset(piece->folio->base + piece->off + off, 0, part);
		done += part;
		pos += part;
		rope->len = usp_max(rope->len, pos);
	}
	return done;
}

ssize_t usp_rope_write(struct usp_rope *rope, const struct usp_iter *from, int64_t pos)
{
	size_t start = (size_t)pos, done;

	if (pos < 0)
		return -EINVAL;
	if (from->count == 0)
		return 0;
	if ((uint64_t)pos >= rope->max_len)
		return -ENOSPC;
	if (start > rope->len)
		rope_put(rope, rope->len, NULL, start - rope->len);
	if (start > rope->len)
		return -ENOMEM;
	done = rope_put(rope, start, from, usp_min(from->count, rope->max_len - start));
	return done ? (ssize_t)done : -ENOMEM;
}

/* --- Taking over ---------------------------------------------------------------------------------------- */

/* Tell whether enough of a folio is in use, so that the memory stays within its bounds. */
static bool rope_has_use(const struct usp_rope *rope, const struct usp_folio *folio, size_t len)
{
	return len >= USP_PAGE && len >= folio->len / 2 && folio->len <= ROPE_TAKE_MAX &&
	       rope->capacity + folio->len <= 2 * (rope->len + len) + ROPE_PIECE_LEN;
}

const char *usp_rope_take(struct usp_rope *rope, struct usp_folio *folio, size_t off, size_t len, int64_t pos)
{
	if (rope->is_fixed)
		return "it goes into memory of the caller";
	if (pos < 0 || (size_t)pos != rope->len)
		return "not at the end of what the sink has";
	if (len > rope->max_len - rope->len)
		return "the sink has no room for all of it";
	if (!rope_has_use(rope, folio, len))
		return "too small a part of a folio";
	if (!rope_make_room(rope) || !usp_folio_get(folio))
		return "memory was short";
	rope_append(rope, folio, off, len);
	rope->len += len;
	return NULL;
}
