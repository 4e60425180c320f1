/* SPDX-License-Identifier: MIT */
/* cached - a folio of a mapping: who refers to it, whether its bytes are there, and its end. */
#include <errno.h>

#include "base/alloc.h"
#include "base/sys.h"
#include "mm/inside.h"

/* --- The end of folios and mappings ------------------------------------------------------------------------ */

void usp_mapping_unref(struct usp_mapping *mapping)
{
	if (atomic_fetch_sub(&mapping->refs, 1) != 1)
		return;
	usp_reclaim_fini(&mapping->reclaim);
	pthread_mutex_destroy(&mapping->lock);
	pthread_cond_destroy(&mapping->filled);
	pthread_cond_destroy(&mapping->room);
	if (mapping->room_fd >= 0)
		usp_sys_close(mapping->room_fd);
	usp_free(mapping);
}

void usp_cached_release(struct usp_folio *folio)
{
	struct usp_cached *cached = usp_cached_of(folio);
	struct usp_mapping *mapping = cached->mapping;
	bool is_locked = cached->is_evicted || !usp_mapping_is_ours(mapping);

	if (!is_locked)
		pthread_mutex_lock(&mapping->lock);
	mapping->usage.bytes -= cached->is_stolen ? 0 : cached->folio.len;
	if (!is_locked)
		pthread_mutex_unlock(&mapping->lock);
	if (atomic_load(&cached->event_fd) >= 0)
		usp_sys_close(atomic_load(&cached->event_fd));
	usp_folio_put(cached->memory);
	usp_free(cached);
	usp_mapping_unref(mapping);
}

void usp_mapping_tell_room(struct usp_mapping *mapping)
{
	if (!atomic_load(&mapping->is_starved))
		return;
	pthread_mutex_lock(&mapping->lock);
	atomic_store(&mapping->is_starved, false);
	if (mapping->room_fd >= 0)
		usp_sys_eventfd_set(mapping->room_fd, true);
	pthread_cond_broadcast(&mapping->room);
	pthread_mutex_unlock(&mapping->lock);
}

/* Close the descriptor of a folio that nobody but the cache refers to any more. */
static void cached_close_fd(struct usp_cached *cached)
{
	struct usp_mapping *mapping = cached->mapping;

	pthread_mutex_lock(&mapping->lock);
	if (cached->is_indexed && usp_cached_refs(cached) == 2)
		usp_sys_close(atomic_exchange(&cached->event_fd, -1));
	pthread_mutex_unlock(&mapping->lock);
}

void usp_cached_put(struct usp_folio *folio)
{
	struct usp_cached *cached = usp_cached_of(folio);
	struct usp_mapping *mapping = cached->mapping;

	if (!usp_mapping_is_ours(mapping)) {
		usp_folio_put(folio);
		return;
	}
	atomic_fetch_add_explicit(&mapping->refs, 1, memory_order_relaxed);
	if (atomic_load(&cached->event_fd) >= 0)
		cached_close_fd(cached);
	usp_folio_put(folio);
	usp_mapping_tell_room(mapping);
	usp_mapping_unref(mapping);
}

void usp_mapping_forget(struct usp_mapping *mapping, struct usp_cached *cached, bool is_queued)
{
	usp_index_remove(&mapping->index, usp_page_of(usp_cached_off(cached)), cached->order);
	if (is_queued)
		usp_reclaim_remove(&mapping->reclaim, &cached->entry);
	cached->is_indexed = false;
}

/* --- What the buffer operations need ---------------------------------------------------------------------- */

ssize_t usp_cached_valid(struct usp_folio *folio, size_t offset, size_t len)
{
	const struct usp_cached *cached = usp_cached_of(folio);

	if (!atomic_load_explicit(&cached->is_filled, memory_order_acquire))
		return usp_mapping_is_ours(cached->mapping) ? -EAGAIN : -ESTALE;
	if (offset >= cached->fill.nr_read)
		return cached->fill.error ? cached->fill.error : -ENODATA;
	return (ssize_t)usp_min(len, cached->fill.nr_read - offset);
}

size_t usp_cached_charge(struct usp_folio *folio, size_t offset, size_t len)
{
	struct usp_cached *cached = usp_cached_of(folio);
	size_t lent = atomic_load(&cached->nr_lent), end = offset + len;

	while (lent < end && !atomic_compare_exchange_weak(&cached->nr_lent, &lent, end))
		;
	return lent < end ? end - usp_max(offset, lent) : 0;
}

int usp_cached_poll_fd(struct usp_folio *folio)
{
	struct usp_cached *cached = usp_cached_of(folio);
	struct usp_mapping *mapping = cached->mapping;
	int fd;

	if (!usp_mapping_is_ours(mapping))
		return -ESTALE;
	pthread_mutex_lock(&mapping->lock);
	if (atomic_load(&cached->event_fd) < 0) {
		fd = usp_sys_eventfd();
		while (fd < 0 && !atomic_load(&cached->is_filled))
			pthread_cond_wait(&mapping->filled, &mapping->lock);
		if (fd >= 0)
			atomic_store(&cached->event_fd, fd);
		if (fd >= 0 && atomic_load(&cached->is_filled))
			usp_sys_eventfd_set(fd, true);
	} else {
		fd = atomic_load(&cached->event_fd);
	}
	pthread_mutex_unlock(&mapping->lock);
	return fd < 0 ? -EAGAIN : fd;
}

void usp_cached_await(struct usp_folio *folio)
{
	struct usp_cached *cached = usp_cached_of(folio);
	struct usp_mapping *mapping = cached->mapping;

	pthread_mutex_lock(&mapping->lock);
	while (!atomic_load(&cached->is_filled))
		pthread_cond_wait(&mapping->filled, &mapping->lock);
	pthread_mutex_unlock(&mapping->lock);
}

bool usp_cached_steal(struct usp_folio *folio, size_t offset, size_t len)
{
	struct usp_cached *cached = usp_cached_of(folio);
	struct usp_mapping *mapping = cached->mapping;
	bool is_indexed, is_ours;

	if (!usp_mapping_is_ours(mapping) || !atomic_load(&cached->is_filled) || offset || len < cached->fill.nr_read)
		return false;
	pthread_mutex_lock(&mapping->lock);
	is_indexed = cached->is_indexed;
	is_ours = usp_cached_refs(cached) == (is_indexed ? 2 : 1);
	if (is_ours && is_indexed)
		usp_mapping_forget(mapping, cached, true);
	if (is_ours && !cached->is_stolen)
		mapping->usage.bytes -= cached->folio.len;
	cached->is_stolen |= is_ours;
	pthread_mutex_unlock(&mapping->lock);
	if (is_ours && is_indexed)
		usp_folio_put(folio);
	if (is_ours)
		usp_mapping_tell_room(mapping);
	return is_ours;
}
