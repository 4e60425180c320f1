/* SPDX-License-Identifier: MIT */
/* test_slab - objects of one size: none in the place of another, zeroed, and places that are used again. */
#include "base/slab.h"
#include "support.h"

#define NR_OBJECTS 1000
#define NR_STEPS 100000

struct thing {
	uint64_t number;
	unsigned char rest[93]; /* not a multiple of anything */
};

static struct usp_slab slab;
static struct thing *things[NR_OBJECTS];

static void make(unsigned i, uint64_t number)
{
	static const struct thing zeroed;

	things[i] = usp_slab_alloc(&slab);
	assert_non_null(things[i]);
	assert_int_equal((uintptr_t)things[i] % sizeof(uint64_t), 0);
	assert_memory_equal(things[i], &zeroed, sizeof(zeroed));
	things[i]->number = number;
	memset(things[i]->rest, (int)(number % 251), sizeof(things[i]->rest));
}

static void unmake(unsigned i, uint64_t number)
{
	assert_int_equal(things[i]->number, number);
	for (size_t k = 0; k < sizeof(things[i]->rest); k++)
		assert_int_equal(things[i]->rest[k], number % 251);
	usp_slab_free(&slab, things[i]);
	things[i] = NULL;
}

static void objects_keep_apart_in_any_order(void **state)
{
	static uint64_t numbers[NR_OBJECTS];
	uint64_t random = 1;

	(void)state;
	usp_slab_init(&slab, sizeof(struct thing));
	for (unsigned step = 0; step < NR_STEPS; step++) {
		unsigned i = (unsigned)(random >> 33) % NR_OBJECTS;

		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		if (things[i])
			unmake(i, numbers[i]);
		else
			make(i, numbers[i] = random);
	}
	for (unsigned i = 0; i < NR_OBJECTS; i++) {
		if (things[i])
			unmake(i, numbers[i]);
	}
	usp_slab_fini(&slab);
}

/* So a crowd that has gone leaves room for the next one. */
static void places_are_used_again(void **state)
{
	uintptr_t first = UINTPTR_MAX, last = 0;

	(void)state;
	usp_slab_init(&slab, sizeof(struct thing));
	make(0, 0);
	for (unsigned round = 0; round < NR_OBJECTS; round++) {
		make(1, round);
		first = (uintptr_t)things[1] < first ? (uintptr_t)things[1] : first;
		last = (uintptr_t)things[1] > last ? (uintptr_t)things[1] : last;
		unmake(1, round);
	}
	assert_int_equal(first, last);
	unmake(0, 0);
	usp_slab_fini(&slab);
}

static void objects_are_packed(void **state)
{
	uintptr_t first = UINTPTR_MAX, last = 0;

	(void)state;
	usp_slab_init(&slab, sizeof(struct thing));
	for (unsigned i = 0; i < 100; i++) {
		make(i, i);
		first = (uintptr_t)things[i] < first ? (uintptr_t)things[i] : first;
		last = (uintptr_t)things[i] > last ? (uintptr_t)things[i] : last;
	}
	assert_true(last - first <= 99 * (sizeof(struct thing) + 2 * sizeof(uint64_t)));
	for (unsigned i = 0; i < 100; i++)
		unmake(i, i);
	usp_slab_fini(&slab);
}

static void a_slab_that_was_never_used_has_no_end_to_fear(void **state)
{
	(void)state;
	usp_slab_init(&slab, 1);
	usp_slab_fini(&slab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(objects_keep_apart_in_any_order),
		CASE(places_are_used_again),
		CASE(objects_are_packed),
		CASE(a_slab_that_was_never_used_has_no_end_to_fear),
	};

	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
