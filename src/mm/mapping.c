/* SPDX-License-Identifier: MIT */
/*
 * mapping - a page cache over a source.
 *
 *   reader ── lend ──► index ──► folio ──► buf in a pipe ──► confirm: is it filled?
 *                        │ miss                                  ▲
 *                        └──► new folio ──► filler's thread ─────┘
 *
 * A cached folio has one reference of the cache, one of its fill while that lasts, and one for each buf. The
 * budget counts all memory of folios. When it is used up the cache gives up a folio that nobody else refers to.
 * Without one the reader waits until a reference is dropped.
 *
 * The lock covers index, queues and counters, and is held for short times. Nobody reads the source with it. The
 * filler's lock comes behind it.
 */
#include "mm/mapping.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/sized.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "mm/inside.h"

#define FOLIO_BYTES_MAX ((size_t)2 << 20)
#define PIECE_BYTES_MAX ((size_t)32 << 20) /* no folio is longer */
#define BUDGET_MIN ((size_t)256 << 10)
#define BUDGET_DEFAULT ((size_t)64 << 20)
#define AHEAD_FIRST ((size_t)128 << 10)
#define AHEAD_LEAST_PIECES 4 /* of a source that makes pieces: several are in work, and one is read */
#define AHEAD_MAX ((size_t)8 << 20)
#define AHEAD_PIECES 8 /* folios in one window: they are read side by side */
#define BUDGET_SHARE 4 /* one reader has at most this part of the budget ahead, and takes no more at once */
#define RANDOM_PIECE ((size_t)64 << 10) /* a longer read out of order is cut in pieces */
#define NR_THREADS_MAX 16

/* Drop the cached folios of a range. Lock held; it is dropped meanwhile. */
static void mapping_drop(struct usp_mapping *mapping, int64_t from, int64_t to)
{
	struct usp_reclaim_queue *queues[] = {&mapping->reclaim.small, &mapping->reclaim.main}, dead;
	struct usp_reclaim_entry *entry, *next;

	TAILQ_INIT(&dead);
	for (unsigned i = 0; i < usp_array_len(queues); i++) {
		for (entry = TAILQ_FIRST(queues[i]); entry; entry = next) {
			struct usp_cached *cached = usp_cached_of_entry(entry);

			next = TAILQ_NEXT(entry, link);
			if (usp_cached_off(cached) >= to || usp_cached_off(cached) + (int64_t)cached->folio.len <= from)
				continue;
			usp_mapping_forget(mapping, cached, true);
			TAILQ_INSERT_TAIL(&dead, entry, link);
		}
	}
	pthread_mutex_unlock(&mapping->lock);
	while ((entry = TAILQ_FIRST(&dead))) {
		TAILQ_REMOVE(&dead, entry, link);
		usp_cached_put(&usp_cached_of_entry(entry)->folio);
	}
	pthread_mutex_lock(&mapping->lock);
}

/* --- Filling ------------------------------------------------------------------------------------------------ */

static ssize_t mapping_read(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct usp_mapping *mapping = arg;

	return mapping->ops->read_folios(mapping->source, iov, nr_segs, off);
}

/* Tell whether the fill brought less than the source seemed to have there. Such a folio is not kept. */
static bool cached_is_short(const struct usp_mapping *mapping, const struct usp_cached *cached)
{
	int64_t left = mapping->state.bytes - usp_cached_off(cached);

	return left > 0 && cached->fill.nr_read < usp_min((size_t)left, cached->fill.len);
}

/*
 * Note where a fill has failed. Folios there are the smallest ones from now on, so that an error keeps no other byte away.
 * Lock held.
 */
static void mapping_note_failure(struct usp_mapping *mapping, const struct usp_fill *fill)
{
	int64_t from = fill->off + (int64_t)fill->nr_read, to = fill->off + (int64_t)fill->len;
	struct usp_mapping_failure *failure;

	for (unsigned i = 0; i < usp_min(mapping->nr_failures, MAPPING_FAILURES); i++) {
		failure = &mapping->failures[i];
		if (from <= failure->to && to >= failure->from) {
			failure->from = usp_min(failure->from, from);
			failure->to = usp_max(failure->to, to);
			return;
		}
	}
	failure = &mapping->failures[mapping->nr_failures++ % MAPPING_FAILURES];
	*failure = (struct usp_mapping_failure){.from = from, .to = to};
}

static bool mapping_has_failed(const struct usp_mapping *mapping, int64_t from, int64_t to)
{
	for (unsigned i = 0; i < usp_min(mapping->nr_failures, MAPPING_FAILURES); i++) {
		if (from < mapping->failures[i].to && to > mapping->failures[i].from)
			return true;
	}
	return false;
}

/*
 * A folio that the cache keeps loses the reference of its fill before others see that it is filled: from then on
 * its count tells who refers to it.
 */
static void mapping_done(void *arg, struct usp_fill *fill)
{
	struct usp_mapping *mapping = arg;
	struct usp_cached *cached = usp_container_of(fill, struct usp_cached, fill);
	bool was_indexed, is_kept;

	pthread_mutex_lock(&mapping->lock);
	mapping->usage.read_bytes += fill->nr_read;
	was_indexed = cached->is_indexed;
	is_kept = was_indexed && fill->error == 0 && !cached_is_short(mapping, cached);
	if (was_indexed && !is_kept)
		usp_mapping_forget(mapping, cached, true);
	if (fill->error)
		mapping_note_failure(mapping, fill);
	if (was_indexed)
		usp_folio_put(&cached->folio); /* one of the two: of the cache and of the fill */
	atomic_store(&cached->is_filled, true);
	if (atomic_load(&cached->event_fd) >= 0)
		usp_sys_eventfd_set(atomic_load(&cached->event_fd), true);
	pthread_cond_broadcast(&mapping->filled);
	pthread_mutex_unlock(&mapping->lock);
	if (is_kept)
		usp_mapping_tell_room(mapping);
	else
		usp_cached_put(&cached->folio);
}

static bool cached_may_go(const struct usp_reclaim_entry *entry)
{
	const struct usp_cached *cached = usp_container_of(entry, struct usp_cached, entry);

	return usp_cached_refs(cached) == 1;
}

/* Give up a folio that nobody else refers to. Lock held. */
static void mapping_give_up(struct usp_mapping *mapping, struct usp_cached *cached, bool is_queued)
{
	usp_mapping_forget(mapping, cached, is_queued);
	mapping->usage.nr_evicted++;
	cached->is_evicted = true;
	usp_folio_put(&cached->folio);
}

/* Give up the folio whose turn it is. False if others refer to all of them. Lock held. */
static bool mapping_evict(struct usp_mapping *mapping)
{
	struct usp_reclaim_entry *entry = usp_reclaim_take(&mapping->reclaim, cached_may_go);

	if (entry)
		mapping_give_up(mapping, usp_cached_of_entry(entry), false);
	return entry;
}

/* Evict until len more bytes fit in the budget. False if nothing more can go. Lock held. */
static bool mapping_make_room(struct usp_mapping *mapping, size_t len)
{
	while (mapping->usage.bytes + len > mapping->params.budget) {
		if (!mapping_evict(mapping))
			return false;
	}
	return true;
}

/* Take memory for a folio. If the system has none, the cache gives up some of its own. Lock held. */
static struct usp_folio *mapping_take_memory(struct usp_mapping *mapping, size_t len)
{
	struct usp_folio *memory = usp_folio_new(len);

	while (!memory && mapping_evict(mapping)) {
		usp_folio_trim();
		memory = usp_folio_new(len);
	}
	return memory;
}

/* What a lend was asked for, what it gives, and why it gives no more. */
struct lend {
	int64_t pos;
	size_t len, piece;
	struct usp_lent *lents;
	unsigned nr_lents;
	int error;				  /* -EAGAIN: the budget is used up; -ENOMEM */
	TAILQ_HEAD(lend_own_fills, usp_fill) own; /* fills that no thread could be had for */
};

/*
 * Make a cached folio of memory, whose reference it takes over, for the 2^order pages at off: with one reference,
 * of the cache. NULL without memory for it. Lock held.
 */
static struct usp_cached *mapping_insert(struct usp_mapping *mapping, int64_t off, unsigned order,
					 struct usp_folio *memory)
{
	size_t len = (size_t)1 << (order + USP_PAGE_SHIFT);
	struct usp_cached *cached = usp_alloc(sizeof(*cached));

	if (!cached || usp_index_insert(&mapping->index, usp_page_of(off), order, cached) < 0) {
		usp_free(cached);
		return NULL;
	}
	usp_folio_init(&cached->folio, memory->base, len, usp_cached_release);
	cached->memory = memory;
	cached->mapping = mapping;
	atomic_fetch_add_explicit(&mapping->refs, 1, memory_order_relaxed);
	cached->order = order;
	cached->is_indexed = true;
	atomic_init(&cached->event_fd, -1);
	cached->fill = (struct usp_fill){.base = memory->base, .len = len, .off = off};
	cached->entry = (struct usp_reclaim_entry){.key = usp_page_of(off) + 1, .len = len};
	usp_reclaim_add(&mapping->reclaim, &cached->entry);
	mapping->usage.bytes += len;
	return cached;
}

/*
 * Make a folio for 2^order pages around off, with two references: of the cache and of the fill. NULL with
 * lend->error. Lock held.
 */
static struct usp_cached *mapping_add(struct usp_mapping *mapping, int64_t off, unsigned order, struct lend *lend)
{
	size_t len = (size_t)1 << (order + USP_PAGE_SHIFT);
	bool has_room = mapping_make_room(mapping, len);
	struct usp_folio *memory = has_room ? mapping_take_memory(mapping, len) : NULL;
	struct usp_cached *cached = NULL;

	lend->error = has_room ? -ENOMEM : -EAGAIN;
	if (memory)
		cached = mapping_insert(mapping, off / (int64_t)len * (int64_t)len, order, memory);
	if (cached)
		atomic_store(usp_u32(&cached->folio.refs), 2);
	else if (memory)
		usp_folio_put(memory);
	return cached;
}

/* Choose the size of the folio at off: what is wanted, cut to the end of the source and to what is free. Lock held. */
static unsigned mapping_order(const struct usp_mapping *mapping, int64_t off, size_t want)
{
	size_t least = mapping->params.folio_bytes;
	size_t most = usp_min(usp_max(FOLIO_BYTES_MAX, mapping->params.piece_bytes), mapping->params.budget / 8);
	unsigned order = 0;

	most = usp_max(most, least);
	while (((size_t)1 << (order + USP_PAGE_SHIFT)) < usp_max(usp_min(want, most), least))
		order++;
	for (; ((size_t)1 << (order + USP_PAGE_SHIFT)) > least; order--) {
		int64_t len = (int64_t)1 << (order + USP_PAGE_SHIFT), first = off / len * len;

		if (len <= (int64_t)most && first + len / 2 < mapping->state.bytes &&
		    !mapping_has_failed(mapping, first, first + len) &&
		    usp_index_is_free(&mapping->index, usp_page_of(off), order))
			break;
	}
	return order;
}

/* --- Lending ------------------------------------------------------------------------------------------------ */

/* Make a folio for off, and have it read. NULL if memory or the budget is used up. Lock held. */
static struct usp_cached *mapping_ask(struct usp_mapping *mapping, int64_t off, size_t want, bool is_urgent,
				      struct lend *lend)
{
	struct usp_cached *cached = mapping_add(mapping, off, mapping_order(mapping, off, want), lend);

	if (!cached && lend->error == -ENOMEM)
		cached = mapping_add(mapping, off, mapping_order(mapping, off, 1), lend);
	if (cached && !usp_filler_ask(mapping->filler, &cached->fill, is_urgent))
		TAILQ_INSERT_TAIL(&lend->own, &cached->fill, link);
	return cached;
}

/* Return the length of folios for a read by its length alone. */
static size_t wanted_len(const struct lend *lend)
{
	return lend->len > RANDOM_PIECE ? lend->len / AHEAD_PIECES : lend->len;
}

/* Return the length of folios for a reader in order. Whole pieces are for one that has gone on for a while. */
static size_t ahead_len(const struct usp_mapping *mapping, const struct usp_readahead *ra)
{
	size_t len = ra->window / AHEAD_PIECES;

	return ra->window > AHEAD_FIRST ? usp_max(len, mapping->params.piece_bytes) : len;
}

/* Find or ask for the folio that a reader wants now. Lock held. */
static struct usp_cached *mapping_want(struct usp_mapping *mapping, struct usp_readahead *ra, struct lend *lend)
{
	struct usp_cached *cached = usp_index_find(&mapping->index, usp_page_of(lend->pos));

	if (!cached) {
		size_t want = wanted_len(lend);

		if (lend->pos >= ra->next) /* what was read before and is gone was short, or failed */
			want = usp_max(want, ahead_len(mapping, ra));
		mapping->usage.nr_misses++;
		cached = mapping_ask(mapping, lend->pos, want, true, lend);
	} else if (ra->last != cached->entry.key) {
		mapping->usage.nr_hits++;
		usp_reclaim_use(&cached->entry);
		if (!atomic_load(&cached->is_filled))
			usp_filler_hurry(mapping->filler, &cached->fill);
	}
	if (cached)
		ra->last = cached->entry.key;
	return cached;
}

/*
 * Tell whether a read goes on in order. Requests of one reader that several threads serve come in nearly that order: each
 * may be early or late, within what is ahead or by one request.
 */
static bool readahead_goes_on(const struct usp_readahead *ra, int64_t pos, size_t len)
{
	int64_t early = usp_max(ra->ahead, ra->next + (int64_t)len),
		late = ra->next - (int64_t)usp_max(ra->window, len);

	return pos == ra->next || (ra->window && pos >= late && pos <= early);
}

/* Note where a read begins, and how much to have ahead. Lock held. */
static void readahead_begin(const struct usp_mapping *mapping, struct usp_readahead *ra, int64_t pos, size_t len)
{
	size_t most = usp_min(AHEAD_MAX, mapping->params.budget / BUDGET_SHARE);

	if (!readahead_goes_on(ra, pos, len) || mapping->state.is_unsettled) {
		ra->window = 0;
		ra->ahead = 0;
		ra->next = pos;
		ra->behind = pos;
	} else if (ra->window == 0) {
		ra->window = usp_min(AHEAD_FIRST, most);
	} else if (pos + (int64_t)(len + ra->window / 2) > ra->ahead) {
		ra->window = usp_min(usp_max(2 * ra->window, AHEAD_LEAST_PIECES * mapping->params.piece_bytes), most);
	}
}

/*
 * Give up what a reader in order has passed, where another cache keeps what it was given. The memory is used again while
 * the processor has it in its caches, and less of it has to be cleared first. Two reads of len bytes may still come late.
 * Lock held.
 */
static void readahead_give_up(struct usp_mapping *mapping, struct usp_readahead *ra, size_t len)
{
	int64_t end = ra->next - 2 * (int64_t)len;

	while (ra->behind < end) {
		struct usp_cached *cached = usp_index_find(&mapping->index, usp_page_of(ra->behind));
		int64_t next = ra->behind + (int64_t)mapping->params.folio_bytes;

		if (cached) {
			next = usp_cached_off(cached) + (int64_t)cached->folio.len;
			if (next > end || !atomic_load(&cached->is_filled) || !cached_may_go(&cached->entry))
				return;
			mapping_give_up(mapping, cached, true);
		}
		ra->behind = next;
	}
}

/* Ask for what is missing of the window, after a read of len bytes. Lock held. */
static void readahead_go(struct usp_mapping *mapping, struct usp_readahead *ra, struct lend *lend, size_t len)
{
	int64_t end = ra->next + (int64_t)ra->window, off = ra->ahead > ra->next ? ra->ahead : ra->next;

	if (ra->window == 0 || end <= ra->ahead)
		return;
	if (ra->is_kept_above)
		readahead_give_up(mapping, ra, len);
	while (off < end && off < mapping->state.bytes) {
		struct usp_cached *cached = usp_index_find(&mapping->index, usp_page_of(off));

		if (!cached) {
			cached = mapping_ask(mapping, off, ahead_len(mapping, ra), false, lend);
			mapping->usage.nr_ahead++;
		}
		if (!cached)
			break;
		off = usp_cached_off(cached) + (int64_t)cached->folio.len;
	}
	ra->ahead = off;
}

static int mapping_lend(struct usp_mapping *mapping, struct usp_readahead *ra, struct lend *lend)
{
	size_t len = lend->len;
	unsigned nr = 0;

	readahead_begin(mapping, ra, lend->pos, len);
	while (nr < lend->nr_lents && lend->len) {
		struct usp_cached *cached = mapping_want(mapping, ra, lend);
		struct usp_lent *lent = &lend->lents[nr];

		if (!cached)
			break;
		if (!usp_folio_get(&cached->folio)) {
			lend->error = -ENOMEM;
			break;
		}
		lent->folio = &cached->folio;
		lent->offset = (size_t)(lend->pos - usp_cached_off(cached));
		lent->len = usp_min(usp_min(lend->len, lend->piece), cached->folio.len - lent->offset);
		lend->pos += (int64_t)lent->len;
		lend->len -= lent->len;
		nr++;
	}
	if (nr == 0)
		return lend->error;
	ra->next = usp_max(ra->next, lend->pos);
	readahead_go(mapping, ra, lend, len);
	return (int)nr;
}

/* Say first that a reader is starved, and look again: so no reference is dropped unseen in between. Lock held. */
static void mapping_starve(struct usp_mapping *mapping)
{
	if (mapping->room_fd >= 0)
		usp_sys_eventfd_set(mapping->room_fd, false);
	atomic_store(&mapping->is_starved, true);
}

int usp_mapping_lend(struct usp_mapping *mapping, struct usp_readahead *ra, int64_t pos, size_t len, size_t piece,
		     struct usp_lent *ret_lents, unsigned nr_lents)
{
	/* No more than a part of the budget in one call: a pipe that takes all would drive out what others use. */
	struct lend lend = {.pos = pos,
			    .len = usp_min(len, mapping->params.budget / BUDGET_SHARE),
			    .piece = piece,
			    .lents = ret_lents,
			    .nr_lents = nr_lents};
	struct usp_fill *fill;
	int ret;

	TAILQ_INIT(&lend.own);
	pthread_mutex_lock(&mapping->lock);
	ret = mapping_lend(mapping, ra, &lend);
	if (ret == -EAGAIN) {
		mapping_starve(mapping);
		ret = mapping_lend(mapping, ra, &lend);
	}
	pthread_mutex_unlock(&mapping->lock);
	while ((fill = TAILQ_FIRST(&lend.own))) {
		TAILQ_REMOVE(&lend.own, fill, link);
		usp_filler_run(mapping->filler, fill);
	}
	if (ra->is_kept_above)
		usp_mapping_tell_room(mapping); /* what it gave up, others may wait for */
	return ret;
}

static bool state_differs(const struct usp_mapping_state *a, const struct usp_mapping_state *b)
{
	return a->bytes != b->bytes || a->version[0] != b->version[0] || a->version[1] != b->version[1];
}

int usp_mapping_look_at(struct usp_mapping *mapping, struct usp_mapping_state *ret_state)
{
	struct usp_mapping_state state = {.bytes = 0};
	int ret = usp_mapping_is_ours(mapping) ? mapping->ops->get_state(mapping->source, &state) : -ESTALE;

	if (ret == 0 && state.bytes < 0)
		ret = -EIO;
	if (ret)
		return ret < 0 ? ret : -EIO;
	pthread_mutex_lock(&mapping->lock);
	if (mapping->state.is_unsettled || state_differs(&state, &mapping->state)) {
		mapping->state = state;
		mapping->nr_failures = 0;
		mapping_drop(mapping, 0, INT64_MAX);
	}
	pthread_mutex_unlock(&mapping->lock);
	*ret_state = state;
	return 0;
}

int64_t usp_mapping_look(struct usp_mapping *mapping)
{
	struct usp_mapping_state state;
	int ret = usp_mapping_look_at(mapping, &state);

	return ret < 0 ? ret : state.bytes;
}

int usp_mapping_poll_fd(struct usp_mapping *mapping)
{
	int fd;

	if (!usp_mapping_is_ours(mapping))
		return -ESTALE;
	pthread_mutex_lock(&mapping->lock);
	if (mapping->room_fd < 0) {
		mapping->room_fd = usp_sys_eventfd();
		if (mapping->room_fd >= 0 && !atomic_load(&mapping->is_starved))
			usp_sys_eventfd_set(mapping->room_fd, true);
	}
	fd = mapping->room_fd;
	pthread_mutex_unlock(&mapping->lock);
	return fd;
}

void usp_mapping_await_room(struct usp_mapping *mapping)
{
	pthread_mutex_lock(&mapping->lock);
	while (atomic_load(&mapping->is_starved))
		pthread_cond_wait(&mapping->room, &mapping->lock);
	pthread_mutex_unlock(&mapping->lock);
}

void usp_mapping_ways(const struct usp_mapping *mapping, enum usp_way *ret_way, const char **ret_reason)
{
	*ret_way = mapping->params.way;
	*ret_reason = mapping->params.reason;
}

/* --- Storing ---------------------------------------------------------------------------------------------- */

int usp_mapping_store(struct usp_mapping *mapping, int64_t off, struct usp_folio *memory, size_t len)
{
	struct usp_cached *cached = NULL;
	unsigned order = 0;
	int ret = -EAGAIN;

	while (((size_t)1 << (order + USP_PAGE_SHIFT)) < memory->len)
		order++;
	pthread_mutex_lock(&mapping->lock);
	if (!usp_index_is_free(&mapping->index, usp_page_of(off), order))
		ret = -EEXIST;
	else if (mapping_make_room(mapping, memory->len))
		cached = mapping_insert(mapping, off, order, memory);
	if (cached) {
		cached->fill.nr_read = len;
		atomic_store(&cached->is_filled, true);
		ret = 0;
	}
	pthread_mutex_unlock(&mapping->lock);
	return ret;
}

size_t usp_mapping_folio_bytes(const struct usp_mapping *mapping)
{
	return mapping->params.folio_bytes;
}

/* --- Life ------------------------------------------------------------------------------------------------- */

static bool is_power_of_two(size_t len)
{
	return len && !(len & (len - 1));
}

static int mapping_check(const struct usp_mapping_params *params)
{
	size_t least = params->folio_bytes, piece = params->piece_bytes;

	return params->budget < BUDGET_MIN || least < 1 << USP_PAGE_SHIFT || least > FOLIO_BYTES_MAX ||
			       !is_power_of_two(least) || least > params->budget / 8 ||
			       params->nr_threads > NR_THREADS_MAX || params->way >= USP_NR_WAYS ||
			       (piece && !is_power_of_two(piece)) || piece > PIECE_BYTES_MAX
		       ? -EINVAL
		       : 0;
}

static int mapping_take_params(struct usp_mapping_params *own, const struct usp_mapping_params *params)
{
	int ret = params ? usp_sized_take(own, sizeof(*own), params) : 0;

	if (ret < 0)
		return ret;
	if (!own->budget)
		own->budget = BUDGET_DEFAULT;
	if (!own->folio_bytes)
		own->folio_bytes = (size_t)1 << USP_PAGE_SHIFT;
	if (!own->nr_threads)
		own->nr_threads = 1;
	return mapping_check(own);
}

static int mapping_init(struct usp_mapping *mapping)
{
	const struct usp_filler_params filler = {
		.read = mapping_read, .done = mapping_done, .arg = mapping, .nr_threads = mapping->params.nr_threads};
	int ret = usp_filler_new(&filler, &mapping->filler);

	if (ret < 0)
		return ret;
	pthread_mutex_init(&mapping->lock, NULL);
	pthread_cond_init(&mapping->filled, NULL);
	pthread_cond_init(&mapping->room, NULL);
	usp_reclaim_init(&mapping->reclaim,
			 (unsigned)usp_min(mapping->params.budget / mapping->params.folio_bytes, 1 << 20));
	mapping->process = usp_own_nr();
	mapping->room_fd = -1;
	atomic_init(&mapping->refs, 1);
	atomic_init(&mapping->nr_users, 1);
	return 0;
}

int usp_mapping_new(const struct usp_mapping_ops *ops, void *source, const struct usp_mapping_params *params,
		    struct usp_mapping **ret_mapping)
{
	int ret = usp_sized_check(ops, sizeof(*ops), offsetof(struct usp_mapping_ops, release) + sizeof(ops->release));
	struct usp_mapping *mapping = ret == 0 ? usp_alloc(sizeof(*mapping)) : NULL;

	if (ret < 0)
		return ret;
	if (!mapping)
		return -ENOMEM;
	mapping->ops = ops;
	mapping->source = source;
	ret = ops->name && ops->read_folios && ops->get_state ? mapping_take_params(&mapping->params, params) : -EINVAL;
	if (ret == 0)
		ret = mapping_init(mapping);
	if (ret < 0)
		usp_free(mapping);
	else
		*ret_mapping = mapping;
	return ret;
}

struct usp_mapping *usp_mapping_get(struct usp_mapping *mapping)
{
	atomic_fetch_add(&mapping->nr_users, 1);
	return mapping;
}

/* Take back what is read ahead and stands in no pipe. Lock held. */
static void mapping_cancel(struct usp_mapping *mapping, struct usp_reclaim_queue *queue)
{
	struct usp_reclaim_entry *entry;

	TAILQ_FOREACH(entry, queue, link)
	{
		struct usp_cached *cached = usp_cached_of_entry(entry);

		if (usp_cached_refs(cached) == 2 && !atomic_load(&cached->is_filled) &&
		    usp_filler_cancel(mapping->filler, &cached->fill))
			usp_folio_put(&cached->folio);
	}
}

void usp_mapping_put(struct usp_mapping *mapping)
{
	if (!mapping || atomic_fetch_sub(&mapping->nr_users, 1) != 1)
		return;
	if (usp_mapping_is_ours(mapping)) {
		pthread_mutex_lock(&mapping->lock);
		mapping_cancel(mapping, &mapping->reclaim.small);
		mapping_cancel(mapping, &mapping->reclaim.main);
		mapping_drop(mapping, 0, INT64_MAX);
		pthread_mutex_unlock(&mapping->lock);
		usp_filler_free(mapping->filler);
	}
	if (mapping->ops->release)
		mapping->ops->release(mapping->source);
	usp_mapping_unref(mapping);
}

void usp_mapping_invalidate(struct usp_mapping *mapping, int64_t off, size_t len)
{
	int64_t end;

	if (!usp_mapping_is_ours(mapping))
		return;
	if (!len || len > INT64_MAX || __builtin_add_overflow(off, (int64_t)len, &end))
		end = INT64_MAX;
	pthread_mutex_lock(&mapping->lock);
	mapping_drop(mapping, off, end);
	pthread_mutex_unlock(&mapping->lock);
}

void usp_mapping_usage(struct usp_mapping *mapping, struct usp_mapping_usage *ret_usage)
{
	struct usp_mapping_usage usage;

	pthread_mutex_lock(&mapping->lock);
	usage = mapping->usage;
	pthread_mutex_unlock(&mapping->lock);
	usage.budget = mapping->params.budget;
	usp_sized_give(ret_usage, &usage, sizeof(usage));
}
