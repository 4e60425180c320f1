/* SPDX-License-Identifier: MIT */
/* test_reclaim - what leaves a cache first: what was used once, before what was used again. */
#include "support.h"

#include "mm/reclaim.h"

#define NR_HOT 50u
#define NR_ROOM 100u

struct page_entry {
	struct usp_reclaim_entry entry;
	bool is_there, is_held;
};

static bool may_go(const struct usp_reclaim_entry *entry)
{
	const struct page_entry *page = (const struct page_entry *)entry;

	return !page->is_held;
}

/* Ask for a page in a cache of NR_ROOM pages: true if it was there. */
static bool ask(struct usp_reclaim *reclaim, struct page_entry *pages, unsigned nr, unsigned *nr_there)
{
	struct page_entry *page = &pages[nr];
	bool was_there = page->is_there;

	if (was_there) {
		usp_reclaim_use(&page->entry);
		return true;
	}
	if (*nr_there == NR_ROOM) {
		struct page_entry *victim = (struct page_entry *)usp_reclaim_take(reclaim, may_go);

		assert_non_null(victim);
		victim->is_there = false;
		--*nr_there;
	}
	page->entry = (struct usp_reclaim_entry){.key = nr + 1, .len = 1};
	page->is_there = true;
	usp_reclaim_add(reclaim, &page->entry);
	++*nr_there;
	return false;
}

static void drain(struct usp_reclaim *reclaim)
{
	struct usp_reclaim_queue *queues[] = {&reclaim->small, &reclaim->main};

	for (unsigned i = 0; i < ARRAY_LEN(queues); i++) {
		while (!TAILQ_EMPTY(queues[i]))
			usp_reclaim_remove(reclaim, TAILQ_FIRST(queues[i]));
	}
	assert_int_equal(reclaim->small_bytes + reclaim->main_bytes + reclaim->nr_small + reclaim->nr_main, 0);
	usp_reclaim_fini(reclaim);
}

/* A scan of ten times the room passes by a hot set that is used now and then. */
static void test_scan(void **state)
{
	static struct page_entry pages[NR_HOT + 10 * NR_ROOM];
	struct usp_reclaim reclaim;
	unsigned nr_there = 0, nr_hits = 0;

	(void)state;
	usp_reclaim_init(&reclaim, NR_ROOM);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < NR_HOT; i++)
			ask(&reclaim, pages, i, &nr_there);
	}
	for (unsigned i = 0; i < 10 * NR_ROOM; i++)
		ask(&reclaim, pages, NR_HOT + i, &nr_there);
	for (unsigned i = 0; i < NR_HOT; i++)
		nr_hits += ask(&reclaim, pages, i, &nr_there);
	assert_int_equal(nr_hits, NR_HOT);
	drain(&reclaim);
}

/* What comes again soon after it left is kept longer: its ghost is remembered. */
static void test_ghost(void **state)
{
	static struct page_entry pages[3 * NR_ROOM];
	struct usp_reclaim reclaim;
	unsigned nr_there = 0;

	(void)state;
	usp_reclaim_init(&reclaim, NR_ROOM);
	for (unsigned i = 0; i < NR_ROOM + 1; i++)
		ask(&reclaim, pages, i, &nr_there);
	assert_false(pages[0].is_there);
	ask(&reclaim, pages, 0, &nr_there);
	assert_true(pages[0].entry.is_main);
	assert_false(pages[NR_ROOM].entry.is_main);
	drain(&reclaim);
}

/* What is held never goes, in either queue. Without anything else there is no answer. */
static void test_held(void **state)
{
	static struct page_entry pages[NR_ROOM];
	struct usp_reclaim reclaim;
	struct usp_reclaim_entry *entry;

	(void)state;
	usp_reclaim_init(&reclaim, 0);
	for (unsigned i = 0; i < NR_ROOM; i++) {
		pages[i] = (struct page_entry){.entry = {.key = i + 1, .len = 1}, .is_held = i != 70};
		usp_reclaim_add(&reclaim, &pages[i].entry);
		pages[i].entry.nr_uses = i % 4;
	}
	for (unsigned round = 0; round < 2; round++) {
		entry = usp_reclaim_take(&reclaim, may_go);
		assert_ptr_equal(entry, round ? NULL : &pages[70].entry);
	}
	drain(&reclaim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(test_scan), CASE(test_ghost), CASE(test_held)};

	return cmocka_run_group_tests_name("reclaim", tests, NULL, NULL);
}
