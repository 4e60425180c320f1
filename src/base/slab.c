/* SPDX-License-Identifier: MIT */
/*
 * slab - objects of one size, packed.
 *
 *   with_room ──► block: [tag|object][tag|object] ... ──► block ...
 *
 * The tag of an object in use points to its block; the tag of a free place points to the next free
 * one. Full blocks are in no list. An empty block goes back to the heap, unless it is the last one
 * with room.
 */
#include "base/slab.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"

#define SLAB_BLOCK_BYTES ((size_t)16 << 10)

struct slab_object {
	union {
		struct usp_slab_block *block;
		struct slab_object *next;
	} tag;
	uint64_t bytes[];
};

struct usp_slab_block {
	LIST_ENTRY(usp_slab_block) link;
	struct slab_object *free;
	unsigned nr_used;
	uint64_t objects[];
};

void usp_slab_init(struct usp_slab *slab, size_t object_bytes)
{
	slab->object_bytes = (object_bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
	LIST_INIT(&slab->with_room);
}

static void slab_push(struct usp_slab *slab, struct usp_slab_block *block, struct slab_object *object)
{
	object->tag.next = block->free;
	block->free = object;
	usp_poison(object->bytes, slab->object_bytes);
}

static struct usp_slab_block *slab_grow(struct usp_slab *slab)
{
	size_t stride = sizeof(struct slab_object) + slab->object_bytes,
	       room = SLAB_BLOCK_BYTES - sizeof(struct usp_slab_block);
	struct usp_slab_block *block = usp_alloc(SLAB_BLOCK_BYTES);

	if (!block)
		return NULL;
	for (size_t i = room / stride; i-- > 0;)
		slab_push(slab, block, (struct slab_object *)((char *)block->objects + i * stride));
	LIST_INSERT_HEAD(&slab->with_room, block, link);
	return block;
}

static void slab_shrink(struct usp_slab_block *block)
{
	LIST_REMOVE(block, link);
	usp_unpoison(block, SLAB_BLOCK_BYTES);
	usp_free(block);
}

void usp_slab_fini(struct usp_slab *slab)
{
	while (LIST_FIRST(&slab->with_room))
		slab_shrink(LIST_FIRST(&slab->with_room));
}

void *usp_slab_alloc(struct usp_slab *slab)
{
	struct usp_slab_block *block = LIST_FIRST(&slab->with_room);
	struct slab_object *object;

	if (!block)
		block = slab_grow(slab);
	if (!block)
		return NULL;
	object = block->free;
	block->free = object->tag.next;
	block->nr_used++;
	if (!block->free)
		LIST_REMOVE(block, link);
	object->tag.block = block;
	usp_unpoison(object->bytes, slab->object_bytes);
	return memset(object->bytes, 0, slab->object_bytes);
}

void usp_slab_free(struct usp_slab *slab, void *base)
{
	struct slab_object *object = usp_container_of(base, struct slab_object, bytes);
	struct usp_slab_block *block = object->tag.block;
	bool is_last = LIST_FIRST(&slab->with_room) == block ? !LIST_NEXT(block, link) : LIST_EMPTY(&slab->with_room);

	if (!block->free)
		LIST_INSERT_HEAD(&slab->with_room, block, link);
	slab_push(slab, block, object);
	if (--block->nr_used == 0 && !is_last)
		slab_shrink(block);
}
