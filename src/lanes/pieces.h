/* SPDX-License-Identifier: MIT */
/* pieces - an experiment: does a socket keep what is written to it in pages that a splice can refer to? */
#ifndef USP_LANES_PIECES_H
#define USP_LANES_PIECES_H

#include <stdbool.h>
#include <stddef.h>

#define USP_PIECE_MAX (65536 - 4096) /* the longest piece that is tried */

/*
 * Write pieces of 512 bytes, 4 KiB and 64 KiB to pair[1], and see how much memory pair[0] is charged for
 * them. True if every byte costs a byte: then it lies in pages of its own. False if pieces are rounded up to
 * the size of a buffer, which a splice has to copy from, or if the socket does not tell. Empties the pair.
 */
bool usp_pieces_are_pages(const int pair[2]);

/* The same for pieces of one length up to USP_PIECE_MAX: 1 pages, 0 a buffer, -1 the socket does not tell. */
int usp_piece_is_pages(const int pair[2], size_t len);

#endif
