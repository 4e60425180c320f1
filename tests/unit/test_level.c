/* SPDX-License-Identifier: MIT */
/* test_level - the marks of a buffer: which end may go on at which level, against a model in words. */
#include "splice/level.h"

#include "base/compiler.h"
#include "support.h"

static struct usp_level level_of(uint64_t capacity, unsigned start, unsigned low, unsigned refill)
{
	struct usp_level level;

	usp_level_init(&level, capacity, &(struct usp_level_marks){start, low, refill});
	return level;
}

static void without_marks_both_ends_go_on(void **state)
{
	struct usp_level level = level_of(1000, 0, 0, 100);

	(void)state;
	assert_true(level.is_giving && level.is_taking);
	usp_level_add(&level, 1);
	usp_level_remove(&level, 1);
	assert_true(level.is_giving && level.is_taking);
	assert_int_equal(level.nr_empty, 1);
	assert_int_equal(level.most, 1);
}

static void the_sink_begins_at_start_and_pauses_at_low(void **state)
{
	struct usp_level level = level_of(1000, 80, 20, 100);

	(void)state;
	usp_level_add(&level, 799);
	assert_false(level.is_giving);
	usp_level_add(&level, 1);
	assert_true(level.is_giving);
	usp_level_remove(&level, 599);
	assert_true(level.is_giving);
	usp_level_remove(&level, 1);
	assert_false(level.is_giving);
	assert_int_equal(level.nr_empty, 1);
	usp_level_add(&level, 599);
	assert_false(level.is_giving);
	usp_level_add(&level, 1);
	assert_true(level.is_giving);
	assert_int_equal(level.most, 800);
}

static void the_source_pauses_when_it_is_full_until_refill(void **state)
{
	struct usp_level level = level_of(1000, 0, 0, 30);

	(void)state;
	usp_level_add(&level, 990);
	usp_level_fill_up(&level);
	usp_level_fill_up(&level);
	assert_false(level.is_taking);
	assert_int_equal(level.nr_full, 1);
	usp_level_remove(&level, 689);
	assert_false(level.is_taking);
	usp_level_remove(&level, 1);
	assert_true(level.is_taking);
}

static void a_full_buffer_and_the_end_let_the_sink_go_on_below_start(void **state)
{
	struct usp_level level = level_of(1000, 100, 0, 100);

	(void)state;
	usp_level_add(&level, 10);
	usp_level_fill_up(&level);
	assert_true(level.is_giving);
	level = level_of(1000, 100, 50, 100);
	usp_level_add(&level, 10);
	usp_level_end(&level);
	assert_true(level.is_giving);
	usp_level_remove(&level, 10);
	assert_true(level.is_giving);
	assert_int_equal(level.nr_empty, 0);
}

static void marks_go_with_the_capacity(void **state)
{
	struct usp_level level = level_of(1000, 50, 10, 60);

	(void)state;
	usp_level_add(&level, 250);
	assert_false(level.is_giving);
	usp_level_shrink(&level, 500);
	assert_true(level.is_giving);
	assert_int_equal(level.low, 50);
	assert_int_equal(level.refill, 300);
	assert_int_equal(level.most, 250);
	usp_level_shrink(&level, 200);
	assert_int_equal(level.most, 200); /* no more than there is room for */
	usp_level_add(&level, 1);
	assert_int_equal(level.most, 200);
	level = level_of(UINT64_MAX / 2, 100, 99, 100);
	assert_int_equal(level.start, UINT64_MAX / 2);
}

/* The model: what the marks say in words, worked out anew for each step. */
struct model {
	uint64_t bytes;
	bool is_giving, is_taking;
};

static void model_step(struct model *model, const struct usp_level *level, uint64_t added, uint64_t removed,
		       bool is_full)
{
	model->bytes += added;
	if (model->bytes >= level->start)
		model->is_giving = true;
	model->bytes -= removed;
	if (removed && level->start && model->bytes <= level->low)
		model->is_giving = false;
	if (removed && (model->bytes <= level->refill || model->bytes <= level->low))
		model->is_taking = true;
	if (is_full) {
		model->is_taking = false;
		model->is_giving = true;
	}
}

static void bursts_at_random_go_as_the_model(void **state)
{
	uint32_t random = 7;

	(void)state;
	for (unsigned run = 0; run < 200; run++) {
		unsigned start = run % 101, low = start ? run * 7 % start : 0, refill = run % 3 ? 100 : 1 + run % 99;
		struct usp_level level = level_of(10000 + run, start, low, refill);
		struct model model = {.is_giving = !start, .is_taking = true};

		for (unsigned i = 0; i < 500; i++) {
			uint64_t room = level.capacity - level.bytes, len;

			random = random * 1664525 + 1013904223;
			len = (random >> 8) % 4000;
			if (random >> 31) { /* a burst of the source */
				len = level.is_taking ? usp_min(len, room) : 0;
				usp_level_add(&level, len);
				model_step(&model, &level, len, 0, false);
				if (level.is_taking && level.bytes == level.capacity) {
					usp_level_fill_up(&level);
					model_step(&model, &level, 0, 0, true);
				}
			} else {
				len = level.is_giving ? usp_min(len, level.bytes) : 0;
				usp_level_remove(&level, len);
				model_step(&model, &level, 0, len, false);
			}
			assert_int_equal(level.bytes, model.bytes);
			assert_int_equal(level.is_giving, model.is_giving);
			assert_int_equal(level.is_taking, model.is_taking);
			assert_true(level.is_giving || level.is_taking); /* else both would wait for ever */
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(without_marks_both_ends_go_on),
		CASE(the_sink_begins_at_start_and_pauses_at_low),
		CASE(the_source_pauses_when_it_is_full_until_refill),
		CASE(a_full_buffer_and_the_end_let_the_sink_go_on_below_start),
		CASE(marks_go_with_the_capacity),
		CASE(bursts_at_random_go_as_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
