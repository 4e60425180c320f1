/* SPDX-License-Identifier: MIT */
/* pieces - cut input into pieces, let threads work at them at a time, and give what they made in order. */
#ifndef USP_PIECES_PIECES_H
#define USP_PIECES_PIECES_H

#include <usplice/endpoint.h>

#include "codec/split.h"

struct usp_pieces;

/* Of one thread, but for its workers. Without workers each piece is worked at as soon as it is cut. NULL without memory. */
struct usp_pieces *usp_pieces_new(const struct usp_split *split, int level);

/* Start as many workers as there can be, at most nr. */
void usp_pieces_start(struct usp_pieces *pieces, unsigned nr);

/* Drop all pieces, and wait for the workers. Takes NULL. */
void usp_pieces_free(struct usp_pieces *pieces);

/*
 * Take bytes of the input, and shorten *len to what was taken: 0, also when enough pieces wait; USP_PIECES_STREAM when
 * what follows cannot be cut, USP_PIECES_NEVER when nothing behind it can, either; or -ENOMEM.
 */
int usp_pieces_feed(struct usp_pieces *pieces, const unsigned char *in, size_t *len);

#define USP_PIECES_STREAM 2
#define USP_PIECES_NEVER 3

/* Cut what an encoder has, as its last piece: 0 or -ENOMEM. Only while there is room. */
int usp_pieces_end(struct usp_pieces *pieces);

/* Cut the whole units that wait for more: 0 or -ENOMEM. Only while there is room. */
int usp_pieces_cut(struct usp_pieces *pieces);

/* Tell whether enough pieces wait, and whether there is one. */
bool usp_pieces_is_full(const struct usp_pieces *pieces);
bool usp_pieces_has_some(const struct usp_pieces *pieces);

/* Tell whether there are bytes that are no piece yet, and can be decoded without more: as one, or as a stream. */
bool usp_pieces_can_go_on(const struct usp_pieces *pieces);

/*
 * Wait for the first piece: 1, and a folio with *ret_len bytes that is the caller's; USP_PIECES_STREAM if it has to be decoded
 * as a stream; or -errno, behind these bytes, with *ret_why. ret_taken: its bytes of the input.
 */
int usp_pieces_next(struct usp_pieces *pieces, struct usp_folio **ret_folio, size_t *ret_len, size_t *ret_taken,
		    const char **ret_why);

/*
 * Leave the pieces, after usp_pieces_next has given all or the stream: the next bytes of the input that were taken and
 * not worked at, and those in front of them are done. NULL if there are none. Then usp_pieces_feed begins with a new unit.
 */
const unsigned char *usp_pieces_left(struct usp_pieces *pieces, size_t done, size_t *ret_len);

/* The frame that the first of these bytes, or the next to come, are in. */
const struct usp_split_frame *usp_pieces_frame(const struct usp_pieces *pieces);

#endif
