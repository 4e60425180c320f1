/* SPDX-License-Identifier: MIT */
/*
 * folio - reference counted memory and the pool that it comes from.
 *
 * The pool is a slab allocator. A block is 2 MiB of memory (one huge page where the kernel gives one), cut into folios of
 * one size class; classes of 2 MiB and more have a block for each folio. A class lists the blocks that have a free folio.
 * Freed folios go to the front of their block's list, so a copy loop keeps using memory that is still in the cache.
 *
 *   class[order] -> block [folio|folio|free|free] -> block [free|folio|...]
 *
 * A block that is all free stays for the next use, up to POOL_KEEP_BYTES in total; then it goes back to the kernel. Under
 * AddressSanitizer the memory of a free folio is poisoned, so a reader that kept no reference is caught.
 */
#include "mm/folio.h"

#include <pthread.h>
#include <sys/queue.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"

#define FOLIO_ORDER_MIN 12 /* 4 KiB */
#define FOLIO_ORDER_MAX 25 /* 32 MiB */
#define FOLIO_NR_CLASSES (FOLIO_ORDER_MAX - FOLIO_ORDER_MIN + 1)
#define BLOCK_BYTES ((size_t)2 << 20)
#define POOL_KEEP_BYTES ((size_t)64 << 20)
#define FOLIO_REFS_MAX (1u << 31)

struct pool_folio {
	struct usp_folio folio;
	struct folio_block *block;
	SLIST_ENTRY(pool_folio) free_link;
};

struct folio_block {
	LIST_ENTRY(folio_block) link; /* in its class, while a folio is free */
	void *base;
	size_t len;
	unsigned nr_folios, nr_used;
	unsigned begun; /* pool.nr_begun when it was made */
	SLIST_HEAD(, pool_folio) free;
	struct pool_folio folios[];
};

static struct {
	struct usp_own_lock lock;
	LIST_HEAD(, folio_block) classes[FOLIO_NR_CLASSES];
	size_t idle_bytes;  /* in blocks with no folio in use */
	unsigned nr_begun;  /* times that the pool began empty: in a child that cannot use its parent's */
	bool is_at_rest;    /* the pool does not change while the process forks */
	bool has_fork_hook; /* which sets is_at_rest */
} pool;

static atomic_size_t folio_nr_alive, folio_bytes_alive;

void usp_folio_init(struct usp_folio *folio, void *base, size_t len, void (*release)(struct usp_folio *folio))
{
	*folio = (struct usp_folio){.len = len, .base = base, .release = release};
	atomic_init(usp_u32(&folio->refs), 1);
	atomic_fetch_add_explicit(&folio_nr_alive, 1, memory_order_relaxed);
}

bool usp_folio_get(struct usp_folio *folio)
{
	if (atomic_load_explicit(usp_u32(&folio->refs), memory_order_relaxed) >= FOLIO_REFS_MAX)
		return false;
	atomic_fetch_add_explicit(usp_u32(&folio->refs), 1, memory_order_relaxed);
	return true;
}

void usp_folio_put(struct usp_folio *folio)
{
	if (atomic_fetch_sub_explicit(usp_u32(&folio->refs), 1, memory_order_acq_rel) != 1)
		return;
	atomic_fetch_sub_explicit(&folio_nr_alive, 1, memory_order_relaxed);
	folio->release(folio);
}

/* --- The lock, and forks --------------------------------------------------------------------------------
 *
 * Memory is copied on a fork. So a child may use its copy of the pool if no thread was changing the
 * pool at that moment. With fork(3) a hook takes the lock first. A child of a plain clone(2) begins
 * with an empty pool and ignores the parent's blocks.
 */

static void pool_lock(void);

static void pool_before_fork(void)
{
	pool_lock();
	pool.is_at_rest = true;
}

static void pool_after_fork(void)
{
	pool.is_at_rest = false;
	usp_own_unlock(&pool.lock);
}

static void pool_begin(void)
{
	if (!pool.is_at_rest) {
		for (unsigned i = 0; i < FOLIO_NR_CLASSES; i++)
			LIST_INIT(&pool.classes[i]);
		pool.idle_bytes = 0;
		pool.nr_begun++;
	}
	pool.is_at_rest = false;
	if (!pool.has_fork_hook)
		pool.has_fork_hook = pthread_atfork(pool_before_fork, pool_after_fork, NULL) == 0;
}

static void pool_lock(void)
{
	if (usp_own_lock(&pool.lock))
		pool_begin();
}

/* --- The pool ---------------------------------------------------------------------------------------- */

static unsigned folio_order(size_t len)
{
	unsigned order = FOLIO_ORDER_MIN;

	while (((size_t)1 << order) < len)
		order++;
	return order;
}

static void block_destroy(struct folio_block *block)
{
	LIST_REMOVE(block, link);
	pool.idle_bytes -= block->len;
	usp_unpoison(block->base, block->len);
	usp_sys_unmap(block->base, block->len);
	usp_free(block);
}

/* Take a folio back. If its whole block is free now, keep or destroy the block. Lock held. */
static void block_take_back(struct folio_block *block, struct pool_folio *item)
{
	if (SLIST_EMPTY(&block->free))
		LIST_INSERT_HEAD(&pool.classes[item->folio.order - FOLIO_ORDER_MIN], block, link);
	SLIST_INSERT_HEAD(&block->free, item, free_link);
	if (--block->nr_used == 0) {
		pool.idle_bytes += block->len;
		if (pool.idle_bytes > POOL_KEEP_BYTES)
			block_destroy(block);
	}
}

static void pool_folio_release(struct usp_folio *folio)
{
	struct pool_folio *item = usp_container_of(folio, struct pool_folio, folio);
	struct folio_block *block = item->block;

	atomic_fetch_sub_explicit(&folio_bytes_alive, folio->len, memory_order_relaxed);
	usp_poison(folio->base, folio->len);
	pool_lock();
	if (block->begun == pool.nr_begun)
		block_take_back(block, item);
	usp_own_unlock(&pool.lock);
}

static struct folio_block *block_new(unsigned order)
{
	size_t folio_len = (size_t)1 << order, len = usp_max(folio_len, BLOCK_BYTES);
	unsigned nr_folios = (unsigned)(len / folio_len);
	struct folio_block *block = usp_alloc(sizeof(*block) + nr_folios * sizeof(block->folios[0]));

	if (!block)
		return NULL;
	block->base = usp_sys_map_anon(len);
	if (!block->base) {
		usp_free(block);
		return NULL;
	}
	block->len = len;
	block->nr_folios = nr_folios;
	block->begun = pool.nr_begun;
	usp_poison(block->base, len);
	for (unsigned i = nr_folios; i-- > 0;) {
		struct pool_folio *item = &block->folios[i];

		item->block = block;
		item->folio.order = order;
		item->folio.base = (unsigned char *)block->base + i * folio_len;
		SLIST_INSERT_HEAD(&block->free, item, free_link);
	}
	return block;
}

/* Take a free folio of a class, from a block that has one or from a new block. */
static struct pool_folio *pool_take(unsigned order)
{
	struct folio_block *block = LIST_FIRST(&pool.classes[order - FOLIO_ORDER_MIN]);
	struct pool_folio *item;

	if (!block) {
		block = block_new(order);
		if (!block)
			return NULL;
		pool.idle_bytes += block->len;
		LIST_INSERT_HEAD(&pool.classes[order - FOLIO_ORDER_MIN], block, link);
	}
	item = SLIST_FIRST(&block->free);
	SLIST_REMOVE_HEAD(&block->free, free_link);
	if (block->nr_used++ == 0)
		pool.idle_bytes -= block->len;
	if (SLIST_EMPTY(&block->free))
		LIST_REMOVE(block, link);
	return item;
}

struct usp_folio *usp_folio_new(size_t len)
{
	unsigned order;
	struct pool_folio *item;

	if (len == 0 || len > (size_t)1 << FOLIO_ORDER_MAX)
		return NULL;
	order = folio_order(len);
	pool_lock();
	item = pool_take(order);
	usp_own_unlock(&pool.lock);
	if (!item)
		return NULL;
	len = (size_t)1 << order;
	usp_unpoison(item->folio.base, len);
	usp_folio_init(&item->folio, item->folio.base, len, pool_folio_release);
	item->folio.order = order;
	atomic_fetch_add_explicit(&folio_bytes_alive, len, memory_order_relaxed);
	return &item->folio;
}

void usp_folio_usage(size_t *ret_nr_folios, size_t *ret_bytes)
{
	*ret_nr_folios = atomic_load_explicit(&folio_nr_alive, memory_order_relaxed);
	*ret_bytes = atomic_load_explicit(&folio_bytes_alive, memory_order_relaxed);
}

void usp_folio_trim(void)
{
	pool_lock();
	for (unsigned i = 0; i < FOLIO_NR_CLASSES; i++) {
		struct folio_block *block = LIST_FIRST(&pool.classes[i]);

		while (block) {
			struct folio_block *next = LIST_NEXT(block, link);

			if (block->nr_used == 0)
				block_destroy(block);
			block = next;
		}
	}
	usp_own_unlock(&pool.lock);
}
