/* SPDX-License-Identifier: MIT */
/* extents - do two files have the same blocks on disk? */
#ifndef USP_LANES_EXTENTS_H
#define USP_LANES_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

/* How many bytes of a range are where the bytes of another one are. */
struct usp_extents {
	uint64_t shared;  /* in the same blocks */
	uint64_t own;	  /* in blocks of their own, in none yet, or beside the inode */
	uint64_t unknown; /* the file system does not say where */
};

/*
 * Compare len bytes at off_out of a file with those at off_in of another one. 0, or -errno if the file system
 * does not tell. Bytes in the page cache that stand over a block which is still shared count as shared, unless
 * the files are written out first, which is_synced asks for.
 */
int usp_extents_compare(int in, int64_t off_in, int out, int64_t off_out, uint64_t len, bool is_synced,
			struct usp_extents *ret_extents);

/* Tell whether some bytes of a file stand beside the inode, where no other file can share them. Writes the file out. */
bool usp_extents_has_inline(int fd);

#endif
