/* SPDX-License-Identifier: MIT */
/* test_merge - a write to a pipe with large slots once went beyond the page that had come from a pipe with small ones. */
#include "support.h"

static void a_write_stays_within_the_page_that_came_from_a_pipe_with_smaller_slots(void **state)
{
	const struct usp_pipe_params large = {.size = sizeof(large), .slot_bytes = 4 * PAGE};
	struct usp_file *from[2], *to[2];

	(void)state;
	open_pipe(from, 4, 0);
	assert_int_equal(usp_pipe_open(&large, to), 0);
	put_bytes(from[1], 0, PAGE - 10);
	assert_int_equal(usp_splice(from[0], NULL, to[1], NULL, PAGE, 0), PAGE - 10);
	put_bytes(to[1], PAGE - 10, 10); /* fits, so it merges */
	assert_int_equal(nr_bufs_in(to[0]), 1);
	put_bytes(to[1], PAGE, 100); /* would fit into a slot of this pipe, and not into the page */
	assert_int_equal(nr_bufs_in(to[0]), 2);
	take_bytes(to[0], 0, PAGE + 100);
	close_pipe(from);
	close_pipe(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_write_stays_within_the_page_that_came_from_a_pipe_with_smaller_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
