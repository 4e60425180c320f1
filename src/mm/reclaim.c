/* SPDX-License-Identifier: MIT */
/* reclaim - two queues and a list of ghosts. */
#include "mm/reclaim.h"

#include "base/alloc.h"

#define SMALL_SHARE 10 /* the small queue has at least one tenth of the bytes */
#define GHOST_WAYS 4   /* places in the table for one key */

/* --- Ghosts ---------------------------------------------------------------------------------------------
 *
 * A table of keys in buckets of four. The oldest of a bucket makes room for a new key, so the whole table is
 * about a queue. A key that is lost early costs one read.
 */

static uint64_t *ghost_bucket(const struct usp_reclaim *reclaim, uint64_t key)
{
	uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);

	return &reclaim->ghosts[(hash >> 32) % (reclaim->nr_ghosts / GHOST_WAYS) * GHOST_WAYS];
}

static void ghost_add(struct usp_reclaim *reclaim, uint64_t key)
{
	uint64_t *bucket = reclaim->nr_ghosts ? ghost_bucket(reclaim, key) : NULL;

	for (unsigned i = GHOST_WAYS - 1; bucket && i > 0; i--)
		bucket[i] = bucket[i - 1];
	if (bucket)
		bucket[0] = key;
}

/* Tell whether the key is remembered, and forget it. */
static bool ghost_take(struct usp_reclaim *reclaim, uint64_t key)
{
	uint64_t *bucket = reclaim->nr_ghosts ? ghost_bucket(reclaim, key) : NULL;

	for (unsigned i = 0; bucket && i < GHOST_WAYS; i++) {
		if (bucket[i] != key)
			continue;
		bucket[i] = 0;
		return true;
	}
	return false;
}

/* --- The queues ----------------------------------------------------------------------------------------- */

void usp_reclaim_init(struct usp_reclaim *reclaim, unsigned nr_ghosts)
{
	*reclaim = (struct usp_reclaim){.nr_ghosts = nr_ghosts / GHOST_WAYS * GHOST_WAYS};
	TAILQ_INIT(&reclaim->small);
	TAILQ_INIT(&reclaim->main);
	reclaim->ghosts = usp_alloc_array(reclaim->nr_ghosts, sizeof(reclaim->ghosts[0]));
	if (!reclaim->ghosts)
		reclaim->nr_ghosts = 0;
}

void usp_reclaim_fini(struct usp_reclaim *reclaim)
{
	usp_free(reclaim->ghosts);
}

static void reclaim_put(struct usp_reclaim *reclaim, struct usp_reclaim_entry *entry, bool is_main)
{
	entry->is_main = is_main;
	TAILQ_INSERT_HEAD(is_main ? &reclaim->main : &reclaim->small, entry, link);
	*(is_main ? &reclaim->main_bytes : &reclaim->small_bytes) += entry->len;
	++*(is_main ? &reclaim->nr_main : &reclaim->nr_small);
}

void usp_reclaim_add(struct usp_reclaim *reclaim, struct usp_reclaim_entry *entry)
{
	entry->nr_uses = 0;
	reclaim_put(reclaim, entry, ghost_take(reclaim, entry->key));
}

void usp_reclaim_remove(struct usp_reclaim *reclaim, struct usp_reclaim_entry *entry)
{
	TAILQ_REMOVE(entry->is_main ? &reclaim->main : &reclaim->small, entry, link);
	*(entry->is_main ? &reclaim->main_bytes : &reclaim->small_bytes) -= entry->len;
	--*(entry->is_main ? &reclaim->nr_main : &reclaim->nr_small);
}

/*
 * Look at the oldest entry of a queue, and take it out if it is free to go. Else NULL: an entry that was used gets
 * another round in the main queue, and one that must stay goes to the front again.
 */
static struct usp_reclaim_entry *reclaim_oldest(struct usp_reclaim *reclaim, bool is_main,
						bool (*may_go)(const struct usp_reclaim_entry *entry))
{
	struct usp_reclaim_entry *entry = TAILQ_LAST(is_main ? &reclaim->main : &reclaim->small, usp_reclaim_queue);
	bool is_used = entry->nr_uses > (is_main ? 0 : 1);

	usp_reclaim_remove(reclaim, entry);
	if (!is_used && may_go(entry))
		return entry;
	if (is_used)
		entry->nr_uses = is_main ? entry->nr_uses - 1 : 0;
	reclaim_put(reclaim, entry, is_main || is_used);
	return NULL;
}

/* Search a queue. After four rounds each entry of the main queue has used up its uses. */
static struct usp_reclaim_entry *reclaim_search(struct usp_reclaim *reclaim, bool is_main,
						bool (*may_go)(const struct usp_reclaim_entry *entry))
{
	const struct usp_reclaim_queue *queue = is_main ? &reclaim->main : &reclaim->small;
	unsigned nr_looks = is_main ? 4 * reclaim->nr_main : reclaim->nr_small;
	struct usp_reclaim_entry *entry = NULL;

	while (nr_looks-- > 0 && !entry && !TAILQ_EMPTY(queue))
		entry = reclaim_oldest(reclaim, is_main, may_go);
	return entry;
}

struct usp_reclaim_entry *usp_reclaim_take(struct usp_reclaim *reclaim,
					   bool (*may_go)(const struct usp_reclaim_entry *entry))
{
	bool is_small_full = reclaim->small_bytes * SMALL_SHARE >= reclaim->small_bytes + reclaim->main_bytes;
	struct usp_reclaim_entry *entry = is_small_full ? reclaim_search(reclaim, false, may_go) : NULL;

	if (!entry)
		entry = reclaim_search(reclaim, true, may_go);
	if (!entry && !is_small_full)
		entry = reclaim_search(reclaim, false, may_go);
	if (entry && !entry->is_main)
		ghost_add(reclaim, entry->key);
	return entry;
}
