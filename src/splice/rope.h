/* SPDX-License-Identifier: MIT */
/* rope - bytes in memory as a row of pieces of folios, in order of their positions. The caller locks. */
#ifndef USP_SPLICE_ROPE_H
#define USP_SPLICE_ROPE_H

#include <usplice/endpoint.h>

/* Bytes [start, start + len) of the rope are bytes [off, off + len) of the folio. */
struct usp_rope_piece {
	struct usp_folio *folio;
	size_t start, off, len;
};

struct usp_rope {
	struct usp_rope_piece *pieces;
	size_t nr_pieces, nr_room; /* pieces, and entries of the array */
	size_t len, max_len;	   /* bytes that exist, and that may exist */
	size_t capacity;	   /* bytes of memory in all folios */
	bool is_fixed;		   /* one piece of the caller's memory: neither replaced nor grown */
};

/* Make room for one more piece: 0 or -ENOMEM. */
int usp_rope_reserve(struct usp_rope *rope);

/* Make an empty rope of the caller's memory, with room for a piece. Takes the reference. */
void usp_rope_lay(struct usp_rope *rope, struct usp_folio *folio);

void usp_rope_fini(struct usp_rope *rope);

/* Copy the bytes at pos to memory, at most to->count: their number, 0 at the end. */
size_t usp_rope_read(const struct usp_rope *rope, const struct usp_iter *to, int64_t pos);

/*
 * Copy memory to pos. A gap before pos becomes zeros. A piece that others refer to is copied before it
 * changes. Returns bytes, -ENOSPC at max_len, -ENOMEM, or -EINVAL for a negative position.
 */
ssize_t usp_rope_write(struct usp_rope *rope, const struct usp_iter *from, int64_t pos);

/*
 * Take over bytes [off, off + len) of a folio at pos, with one more reference. The caller of the rope
 * is the only owner of these bytes, and no other code will change them. Returns NULL, or why it has to be
 * copied.
 */
const char *usp_rope_take(struct usp_rope *rope, struct usp_folio *folio, size_t off, size_t len, int64_t pos);

/* Push references to at most len bytes at pos, while the pipe has room. Returns bytes, 0 at the end, or -errno. */
ssize_t usp_rope_lend(const struct usp_rope *rope, int64_t pos, struct usp_pipe *pipe, size_t len);

#endif
