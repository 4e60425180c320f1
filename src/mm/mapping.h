/* SPDX-License-Identifier: MIT */
/* mapping - the page cache from the inside, for the hooks and buffer operations over it. */
#ifndef USP_MM_MAPPING_H
#define USP_MM_MAPPING_H

#include <usplice/endpoint.h>
#include <usplice/mapping.h>

/* A folio of a mapping. Its bytes are valid once is_filled is set, up to nr_valid. */
struct usp_cached;

/* A piece of a folio, with a reference to it. */
struct usp_lent {
	struct usp_folio *folio; /* of a struct usp_cached */
	size_t offset, len;
};

/* Ask the source what it is now, and drop what is stale: its size, or -errno. */
int64_t usp_mapping_look(struct usp_mapping *mapping);

/* The same, and tell all that the source says of itself: 0 or -errno. */
int usp_mapping_look_at(struct usp_mapping *mapping, struct usp_mapping_state *ret_state);

/*
 * Lend the bytes [pos, pos + len) in order, in at most nr_lents pieces of at most `piece` bytes, and have what
 * is missing read. Returns the number of pieces, -ENOMEM, or -EAGAIN if the budget is used up: then
 * usp_mapping_poll_fd says what to wait for. ra is the state of one reader. Does not block where the mapping
 * has threads.
 */
int usp_mapping_lend(struct usp_mapping *mapping, struct usp_readahead *ra, int64_t pos, size_t len, size_t piece,
		     struct usp_lent *ret_lents, unsigned nr_lents);

/* Return a descriptor that is readable when memory may have become free, since a lend gave -EAGAIN. Or -errno. */
int usp_mapping_poll_fd(struct usp_mapping *mapping);

/* Sleep until memory may have become free. */
void usp_mapping_await_room(struct usp_mapping *mapping);

/* Account for bytes that were lent. */
void usp_mapping_ways(const struct usp_mapping *mapping, enum usp_way *ret_way, const char **ret_reason);

/*
 * Keep memory as the bytes [off, off + len) of the source, and take over the reference. memory is of the pool, and
 * nobody else refers to it; off is a multiple of its length, which is at most 2 MiB; len is shorter only at the end
 * of the source. -EEXIST if some of it is cached already, -EAGAIN without room: then memory stays with the caller.
 */
int usp_mapping_store(struct usp_mapping *mapping, int64_t off, struct usp_folio *memory, size_t len);

/* Return the length of the smallest folio. */
size_t usp_mapping_folio_bytes(const struct usp_mapping *mapping);

/* --- Folios: what the buffer operations need ------------------------------------------------------------- */

/*
 * Tell how many of the bytes [offset, offset + len) are there, from the first one on. -EAGAIN: not yet. Else
 * at least 1; -ENODATA where the source has ended; or -errno of the read.
 */
ssize_t usp_cached_valid(struct usp_folio *folio, size_t offset, size_t len);

/*
 * Return a descriptor that is readable when the folio is filled; it stays open while the folio is lent. Without
 * descriptors it waits itself, and returns -EAGAIN.
 */
int usp_cached_poll_fd(struct usp_folio *folio);

/* Sleep until the folio is filled. */
void usp_cached_await(struct usp_folio *folio);

/* Count bytes as lent. Returns how many of them nobody was lent before, since they were read. */
size_t usp_cached_charge(struct usp_folio *folio, size_t offset, size_t len);

/* Drop a reference. */
void usp_cached_put(struct usp_folio *folio);

/*
 * Take the folio out of the cache, if the caller has the only reference, and all of its bytes: then it may be
 * written. It no longer counts for the budget. (Of a part, the rest would have to be read again.)
 */
bool usp_cached_steal(struct usp_folio *folio, size_t offset, size_t len);

#endif
