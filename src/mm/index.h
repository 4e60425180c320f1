/* SPDX-License-Identifier: MIT */
/*
 * index - entries by number, as the kernel's xarray: a radix tree. An entry covers 2^order numbers, aligned
 * to their count. The caller locks.
 */
#ifndef USP_MM_INDEX_H
#define USP_MM_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#define USP_INDEX_ORDER_MAX 11

struct usp_index {
	void *root;	/* a node, or NULL; zeros are an empty index */
	unsigned shift; /* of the root's slots: each covers 2^shift numbers */
};

/* Return the entry that covers nr, or NULL. */
void *usp_index_find(const struct usp_index *index, uint64_t nr);

/* Tell whether none of the 2^order numbers around nr is covered. */
bool usp_index_is_free(const struct usp_index *index, uint64_t nr, unsigned order);

/*
 * Insert an entry, which is at least two bytes aligned, for the 2^order numbers around nr. 0, -EEXIST if one
 * of them is covered already, or -ENOMEM. order is at most USP_INDEX_ORDER_MAX, nr below 2^60.
 */
int usp_index_insert(struct usp_index *index, uint64_t nr, unsigned order, void *entry);

/* Remove the entry that was inserted with these. Frees what is empty then. */
void usp_index_remove(struct usp_index *index, uint64_t nr, unsigned order);

#endif
