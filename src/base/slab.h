/* SPDX-License-Identifier: MIT */
/*
 * slab - objects of one size, packed. What lives for long leaves no holes between itself when what was allocated beside it
 * has gone, and takes little more than its own length.
 */
#ifndef USP_BASE_SLAB_H
#define USP_BASE_SLAB_H

#include <stddef.h>
#include <sys/queue.h>

/* Of one thread at a time. */
struct usp_slab {
	size_t object_bytes;
	LIST_HEAD(, usp_slab_block) with_room;
};

void usp_slab_init(struct usp_slab *slab, size_t object_bytes);

/* Give back its memory. All objects must have been freed. */
void usp_slab_fini(struct usp_slab *slab);

/* Zeroed, aligned for pointers and 64-bit numbers; or NULL. */
void *usp_slab_alloc(struct usp_slab *slab);
void usp_slab_free(struct usp_slab *slab, void *object);

#endif
