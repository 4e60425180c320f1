/* SPDX-License-Identifier: MIT */
/*
 * reclaim - which folio of a cache has to go: S3-FIFO (Yang et al., 2023).
 *
 * A new entry enters a small queue, a tenth of the memory. What is asked for again there moves to the main
 * queue; the rest leaves, so a scan passes through the small queue alone. Of what has left, a list of ghosts
 * remembers the keys: such an entry enters the main queue when it comes again. The caller locks.
 */
#ifndef USP_MM_RECLAIM_H
#define USP_MM_RECLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* A part of what can be reclaimed. */
struct usp_reclaim_entry {
	TAILQ_ENTRY(usp_reclaim_entry) link;
	uint64_t key;	 /* the same when it comes again; not 0 */
	size_t len;	 /* bytes */
	uint8_t nr_uses; /* at most 3 */
	bool is_main;
};

TAILQ_HEAD(usp_reclaim_queue, usp_reclaim_entry);

struct usp_reclaim {
	struct usp_reclaim_queue small, main;
	size_t small_bytes, main_bytes;
	unsigned nr_small, nr_main;
	uint64_t *ghosts; /* keys */
	unsigned nr_ghosts;
};

/* Begin empty, with memory of nr_ghosts keys; without memory for that there are none. */
void usp_reclaim_init(struct usp_reclaim *reclaim, unsigned nr_ghosts);
void usp_reclaim_fini(struct usp_reclaim *reclaim);

/* Add an entry, whose key and len are set. */
void usp_reclaim_add(struct usp_reclaim *reclaim, struct usp_reclaim_entry *entry);
void usp_reclaim_remove(struct usp_reclaim *reclaim, struct usp_reclaim_entry *entry);

/* Note that the entry was asked for again. */
static inline void usp_reclaim_use(struct usp_reclaim_entry *entry)
{
	if (entry->nr_uses < 3)
		entry->nr_uses++;
}

/*
 * Remove the entry that has to go, and return it. may_go tells of an entry whether it is free to go. NULL if
 * none is.
 */
struct usp_reclaim_entry *usp_reclaim_take(struct usp_reclaim *reclaim,
					   bool (*may_go)(const struct usp_reclaim_entry *entry));

#endif
