/* SPDX-License-Identifier: MIT */
/*
 * index - a radix tree of nodes with 64 slots.
 *
 * A slot is empty, or holds an entry, or leads to a node below; the lowest bit of the pointer tells. An entry
 * of order 6 or more stands in a slot of a higher level. It fills as many slots as it covers, so that no
 * search has to look beside its own slot.
 */
#include "mm/index.h"

#include <errno.h>

#include "base/alloc.h"

#define NODE_BITS 6u
#define NODE_SLOTS (1u << NODE_BITS)

struct node {
	unsigned nr_used;
	void *slots[NODE_SLOTS];
};

static struct node *node_of(void *slot)
{
	return (uintptr_t)slot & 1 ? (struct node *)((uintptr_t)slot - 1) : NULL;
}

static void *node_slot(struct node *node)
{
	return (void *)((uintptr_t)node + 1);
}

static unsigned slot_index(uint64_t nr, unsigned shift)
{
	return (unsigned)(nr >> shift) & (NODE_SLOTS - 1);
}

static bool index_reaches(const struct usp_index *index, uint64_t nr)
{
	return index->root && nr >> index->shift < NODE_SLOTS;
}

void *usp_index_find(const struct usp_index *index, uint64_t nr)
{
	unsigned shift = index->shift;
	struct node *node;
	void *slot;

	if (!index_reaches(index, nr))
		return NULL;
	for (slot = index->root; (node = node_of(slot)); shift -= NODE_BITS)
		slot = node->slots[slot_index(nr, shift)];
	return slot;
}

static bool node_is_free(const struct node *node, unsigned first, unsigned nr_slots)
{
	for (unsigned i = 0; i < nr_slots; i++) {
		if (node->slots[first + i])
			return false;
	}
	return true;
}

bool usp_index_is_free(const struct usp_index *index, uint64_t nr, unsigned order)
{
	unsigned level = order / NODE_BITS * NODE_BITS, shift = index->shift;
	uint64_t first = nr >> order << order;
	void *slot = index->root;

	if (shift < level)
		return !slot || first >= (uint64_t)NODE_SLOTS << shift;
	if (!index_reaches(index, first))
		return true;
	for (; shift > level && node_of(slot); shift -= NODE_BITS)
		slot = node_of(slot)->slots[slot_index(first, shift)];
	return node_of(slot) ? node_is_free(node_of(slot), slot_index(first, level), 1u << (order - level)) : !slot;
}

/* --- Inserting ------------------------------------------------------------------------------------------ */

/* Put nodes above the root until it reaches nr, and has slots of at least this shift. */
static int index_grow(struct usp_index *index, uint64_t nr, unsigned shift)
{
	while (!index_reaches(index, nr) || index->shift < shift) {
		bool is_empty = index->root && node_of(index->root)->nr_used == 0;
		struct node *node = is_empty ? node_of(index->root) : usp_alloc(sizeof(*node));

		if (!node)
			return -ENOMEM;
		if (index->root) {
			node->slots[0] = is_empty ? NULL : index->root;
			node->nr_used = !is_empty;
			index->shift += NODE_BITS;
		}
		index->root = node_slot(node);
	}
	return 0;
}

/* Find or make the node whose slots have this shift. On failure what was made stays: index_prune frees it. */
static int index_descend(struct usp_index *index, uint64_t nr, unsigned shift, struct node **ret_node)
{
	struct node *node = node_of(index->root);

	for (unsigned at = index->shift; at > shift; at -= NODE_BITS) {
		void **slot = &node->slots[slot_index(nr, at)];

		if (!*slot) {
			struct node *below = usp_alloc(sizeof(*below));

			if (!below)
				return -ENOMEM;
			*slot = node_slot(below);
			node->nr_used++;
		}
		node = node_of(*slot);
		if (!node)
			return -EEXIST;
	}
	*ret_node = node;
	return 0;
}

static int node_fill(struct node *node, unsigned first, unsigned nr_slots, void *entry)
{
	if (!node_is_free(node, first, nr_slots))
		return -EEXIST;
	for (unsigned i = 0; i < nr_slots; i++)
		node->slots[first + i] = entry;
	node->nr_used += nr_slots;
	return 0;
}

/* Free the empty nodes on the way to nr, from the bottom up, and then what stands above a single first slot. */
static void index_prune(struct usp_index *index, uint64_t nr)
{
	void **path[64 / NODE_BITS + 1] = {&index->root};
	unsigned depth = 0;
	struct node *node;

	for (unsigned shift = index->shift; (node = node_of(*path[depth])); shift -= NODE_BITS) {
		path[depth + 1] = &node->slots[slot_index(nr, shift)];
		depth++;
		if (shift == 0)
			break;
	}
	while (depth-- > 0 && node_of(*path[depth]) && node_of(*path[depth])->nr_used == 0) {
		usp_free(node_of(*path[depth]));
		*path[depth] = NULL;
		if (depth > 0)
			node_of(*path[depth - 1])->nr_used--;
	}
	if (!index->root)
		index->shift = 0;
}

int usp_index_insert(struct usp_index *index, uint64_t nr, unsigned order, void *entry)
{
	unsigned shift = order / NODE_BITS * NODE_BITS, nr_slots = 1u << (order - shift);
	uint64_t first = nr >> order << order;
	struct node *node;
	int ret = index_grow(index, first, shift);

	if (ret == 0)
		ret = index_descend(index, first, shift, &node);
	if (ret == 0)
		ret = node_fill(node, slot_index(first, shift), nr_slots, entry);
	if (ret < 0)
		index_prune(index, first);
	return ret;
}

void usp_index_remove(struct usp_index *index, uint64_t nr, unsigned order)
{
	unsigned shift = order / NODE_BITS * NODE_BITS, nr_slots = 1u << (order - shift), first;
	struct node *node = node_of(index->root);

	for (unsigned at = index->shift; at > shift; at -= NODE_BITS)
		node = node_of(node->slots[slot_index(nr, at)]);
	first = slot_index(nr >> order << order, shift);
	for (unsigned i = 0; i < nr_slots; i++)
		node->slots[first + i] = NULL;
	node->nr_used -= nr_slots;
	index_prune(index, nr);
}
