/* SPDX-License-Identifier: MIT */
/* inside - a mapping and its folios, for mapping.c and cached.c. mapping.c uses cached.c. */
#ifndef USP_MM_INSIDE_H
#define USP_MM_INSIDE_H

#include <pthread.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "mm/fill.h"
#include "mm/index.h"
#include "mm/mapping.h"
#include "mm/reclaim.h"

#define USP_PAGE_SHIFT 12

#define MAPPING_FAILURES 8u

/* Where a fill failed: the bytes that it did not bring. */
struct usp_mapping_failure {
	int64_t from, to;
};

struct usp_mapping {
	atomic_uint refs;	/* of the struct: one for all users, one for each folio */
	atomic_uint nr_users;	/* files, and the maker */
	unsigned process;	/* that has the threads */
	atomic_bool is_starved; /* a reader waits for memory */
	pthread_mutex_t lock;
	pthread_cond_t filled, room;
	const struct usp_mapping_ops *ops;
	void *source;
	struct usp_mapping_params params;
	struct usp_filler *filler;
	struct usp_index index;
	struct usp_reclaim reclaim;
	struct usp_mapping_state state;			       /* of the source, at the last look */
	struct usp_mapping_usage usage;			       /* bytes: of all folios */
	int room_fd;					       /* -1 until asked for */
	unsigned nr_failures;				       /* since the last change of the source */
	struct usp_mapping_failure failures[MAPPING_FAILURES]; /* the last ones, in turn */
};

struct usp_cached {
	struct usp_folio folio; /* first: bufs refer to it; over the bytes of memory */
	struct usp_folio *memory;
	struct usp_mapping *mapping;
	struct usp_reclaim_entry entry;
	struct usp_fill fill;
	unsigned order;
	bool is_indexed; /* the cache has a reference */
	bool is_stolen;	 /* it belongs to whoever has it, and counts no more */
	bool is_evicted; /* the holder of the lock drops the last reference */
	atomic_bool is_filled;
	atomic_size_t nr_lent; /* bytes, from the first one on, that were lent once */
	atomic_int event_fd;   /* of those who wait for the fill; -1 until asked for */
};

static inline struct usp_cached *usp_cached_of(struct usp_folio *folio)
{
	return usp_container_of(folio, struct usp_cached, folio);
}

static inline struct usp_cached *usp_cached_of_entry(struct usp_reclaim_entry *entry)
{
	return usp_container_of(entry, struct usp_cached, entry);
}

static inline uint32_t usp_cached_refs(const struct usp_cached *cached)
{
	return atomic_load_explicit(usp_u32(&cached->folio.refs), memory_order_acquire);
}

static inline int64_t usp_cached_off(const struct usp_cached *cached)
{
	return cached->fill.off;
}

static inline uint64_t usp_page_of(int64_t off)
{
	return (uint64_t)off >> USP_PAGE_SHIFT;
}

/* A child of fork(2) has neither the threads nor, maybe, the lock. */
static inline bool usp_mapping_is_ours(const struct usp_mapping *mapping)
{
	return mapping->process == usp_own_nr();
}

/* Drop a reference to the struct. */
void usp_mapping_unref(struct usp_mapping *mapping);

/* The last reference to a folio is gone: its release. */
void usp_cached_release(struct usp_folio *folio);

/* Wake those who wait for memory. Takes the lock. */
void usp_mapping_tell_room(struct usp_mapping *mapping);

/*
 * Take a folio out of the index and, with is_queued, the queues. Its reference of the cache is then the caller's.
 * Lock held.
 */
void usp_mapping_forget(struct usp_mapping *mapping, struct usp_cached *cached, bool is_queued);

#endif
