/* SPDX-License-Identifier: MIT */
/* test_index - a radix tree whose entries cover a power of two of numbers, beside a plain array. */
#include "support.h"

#include "mm/index.h"

#define NR 8192u

static unsigned next_random(unsigned *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 8;
}

static bool model_is_free(void *const *model, unsigned first, unsigned len)
{
	for (unsigned i = first; i < first + len; i++) {
		if (model[i])
			return false;
	}
	return true;
}

static void model_set(void **model, unsigned first, unsigned len, void *entry)
{
	for (unsigned i = first; i < first + len; i++)
		model[i] = entry;
}

/* What was inserted: the entry is the address of this. */
struct item {
	unsigned first, order;
};

static void test_random(void **state)
{
	static void *model[NR];
	static struct item items[NR];
	struct usp_index index = {.root = NULL};
	unsigned random = 7;

	(void)state;
	for (unsigned step = 0; step < 200000; step++) {
		unsigned nr = next_random(&random) % NR, order = next_random(&random) % (USP_INDEX_ORDER_MAX + 1);
		unsigned first = nr >> order << order;
		struct item *item = model[nr];
		bool is_free = model_is_free(model, first, 1u << order);

		assert_ptr_equal(usp_index_find(&index, nr), item);
		assert_int_equal(usp_index_is_free(&index, nr, order), is_free);
		if (item && next_random(&random) % 2) {
			usp_index_remove(&index, item->first + next_random(&random) % (1u << item->order), item->order);
			model_set(model, item->first, 1u << item->order, NULL);
			continue;
		}
		assert_int_equal(usp_index_insert(&index, nr, order, &items[first]), is_free ? 0 : -EEXIST);
		if (!is_free)
			continue;
		items[first] = (struct item){.first = first, .order = order};
		model_set(model, first, 1u << order, &items[first]);
	}
	for (unsigned i = 0; i < NR; i++) {
		if (model[i]) {
			struct item *item = model[i];

			usp_index_remove(&index, item->first, item->order);
			model_set(model, item->first, 1u << item->order, NULL);
		}
	}
	assert_null(index.root);
}

/* Numbers far apart need few nodes, and leave none behind. */
static void test_far(void **state)
{
	struct usp_index index = {.root = NULL};
	const uint64_t far = (uint64_t)1 << 51;
	uint64_t a, b;

	(void)state;
	assert_int_equal(usp_index_insert(&index, far, 9, &a), 0);
	assert_int_equal(usp_index_insert(&index, 0, 0, &b), 0);
	assert_ptr_equal(usp_index_find(&index, far + 511), &a);
	assert_null(usp_index_find(&index, far + 512));
	assert_null(usp_index_find(&index, far - 1));
	assert_false(usp_index_is_free(&index, far + 100, 3));
	assert_true(usp_index_is_free(&index, far + 512, 9));
	assert_true(usp_index_is_free(&index, (uint64_t)1 << 58, 9));
	usp_index_remove(&index, far, 9);
	assert_null(usp_index_find(&index, far));
	assert_ptr_equal(usp_index_find(&index, 0), &b);
	usp_index_remove(&index, 0, 0);
	assert_null(index.root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(test_random), CASE(test_far)};

	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
