/* SPDX-License-Identifier: MIT */
/*
 * slab - objects of one size, packed. Long-lived objects stay together, so freed neighbours of other
 * sizes leave no holes between them. An object takes little more than its own length.
 */
#ifndef USP_BASE_SLAB_H
#define USP_BASE_SLAB_H

#include <stddef.h>
#include <sys/queue.h>

/* Used by one thread at a time. */
struct usp_slab {
	size_t object_bytes;
	LIST_HEAD(, usp_slab_block) with_room;
};

void usp_slab_init(struct usp_slab *slab, size_t object_bytes);

/* Free the memory of the slab. All objects must have been freed. */
void usp_slab_fini(struct usp_slab *slab);

/* Allocate an object, zeroed, aligned for pointers and 64-bit numbers; NULL if memory is short. */
void *usp_slab_alloc(struct usp_slab *slab);
void usp_slab_free(struct usp_slab *slab, void *object);

#endif
