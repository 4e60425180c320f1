/* SPDX-License-Identifier: MIT */
/* test_target - which target a connection gets: the ways to balance, who is left out, and where trying ends. */
#include "relay/target.h"
#include "support.h"

#define NR 4
#define NOW 1000

static const char *const names[NR] = {"127.0.0.1:1", "127.0.0.1:2", "unix:/nowhere", "[::1]:4"};

static struct usp_targets *open_targets(unsigned nr)
{
	struct usp_targets *targets;
	const char *why = NULL;
	unsigned failed;

	assert_int_equal(usp_targets_new(names, nr, &targets, &failed, &why), 0);
	return targets;
}

static unsigned first(struct usp_targets *targets, enum usp_balance balance, uint32_t hash, uint64_t now_ns)
{
	return (unsigned)(usp_targets_first(targets, balance, hash, now_ns) - targets->target);
}

static void leave_out(struct usp_targets *targets, unsigned index, uint64_t until_ns)
{
	usp_target_failed(&targets->target[index], -ECONNREFUSED, until_ns);
}

/* --- The first one --------------------------------------------------------------------------------------------- */

static void round_robin_takes_each_in_turn(void **state)
{
	struct usp_targets *targets = open_targets(NR);

	(void)state;
	for (unsigned i = 0; i < 3 * NR; i++)
		assert_int_equal(first(targets, USP_BALANCE_ROUNDROBIN, 0, NOW), i % NR);
	usp_targets_put(targets);
}

static void round_robin_passes_over_who_is_left_out_until_he_is_back(void **state)
{
	static const unsigned without[] = {0, 2, 2, 3, 0};
	struct usp_targets *targets = open_targets(NR);

	(void)state;
	leave_out(targets, 1, NOW);
	for (unsigned i = 0; i < ARRAY_LEN(without); i++)
		assert_int_equal(first(targets, USP_BALANCE_ROUNDROBIN, 0, NOW - 1), without[i]);
	assert_int_equal(first(targets, USP_BALANCE_ROUNDROBIN, 0, NOW), 1);
	usp_targets_put(targets);
}

static void the_one_with_the_fewest_connections_is_taken(void **state)
{
	static const unsigned counts[NR] = {3, 2, 5, 2};
	struct usp_targets *targets = open_targets(NR);
	unsigned nr_taken[NR] = {0};

	(void)state;
	for (unsigned i = 0; i < NR; i++)
		targets->target[i].nr_connections = counts[i];
	for (unsigned i = 0; i < 2 * NR; i++)
		nr_taken[first(targets, USP_BALANCE_LEASTCONN, 0, NOW)]++;
	assert_int_equal(nr_taken[0] + nr_taken[2], 0);
	assert_true(nr_taken[1] && nr_taken[3]); /* of two that have as few, not always the same */
	leave_out(targets, 1, NOW);
	leave_out(targets, 3, NOW);
	for (unsigned i = 0; i < NR; i++)
		assert_int_equal(first(targets, USP_BALANCE_LEASTCONN, 0, NOW - 1), 0);
	usp_targets_put(targets);
}

static void a_client_keeps_its_target(void **state)
{
	struct usp_targets *targets = open_targets(NR);

	(void)state;
	for (uint32_t hash = 0; hash < 2 * NR; hash++) {
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(first(targets, USP_BALANCE_SOURCE, hash, NOW), hash % NR);
	}
	assert_int_equal(first(targets, USP_BALANCE_SOURCE, UINT32_MAX, NOW), UINT32_MAX % NR);
	leave_out(targets, 3, NOW);
	assert_int_equal(first(targets, USP_BALANCE_SOURCE, 3, NOW - 1), 0); /* another one, meanwhile */
	assert_int_equal(first(targets, USP_BALANCE_SOURCE, 3, NOW), 3);
	usp_targets_put(targets);
}

static void if_all_are_left_out_one_is_tried_all_the_same(void **state)
{
	struct usp_targets *targets = open_targets(NR);

	(void)state;
	for (unsigned i = 0; i < NR; i++)
		leave_out(targets, i, NOW);
	for (enum usp_balance balance = USP_BALANCE_ROUNDROBIN; balance <= USP_BALANCE_SOURCE; balance++)
		assert_in_range(first(targets, balance, 7, NOW - 1), 0, NR - 1);
	usp_targets_put(targets);
}

static void of_no_targets_none_is_the_first(void **state)
{
	struct usp_targets *targets = open_targets(0);

	(void)state;
	for (enum usp_balance balance = USP_BALANCE_ROUNDROBIN; balance <= USP_BALANCE_SOURCE; balance++)
		assert_null(usp_targets_first(targets, balance, 7, NOW));
	usp_targets_put(targets);
	usp_targets_put(NULL);
}

/* --- The next one ------------------------------------------------------------------------------------------------- */

/* Whom a client gets that is refused by everybody, as digits; '.' is the end. */
static void assert_tries(struct usp_targets *targets, unsigned begin, uint64_t now_ns, const char *tries)
{
	struct usp_target *from = &targets->target[begin], *target = from;
	char text[2 * NR + 2] = "";
	size_t len = 0;

	while (target && len < 2 * NR) {
		text[len++] = (char)('0' + (target - targets->target));
		target = usp_targets_next(targets, target, from, now_ns);
	}
	text[len] = '.';
	assert_string_equal(text, tries);
}

static void everybody_is_tried_once(void **state)
{
	struct usp_targets *targets = open_targets(NR);

	(void)state;
	assert_tries(targets, 0, NOW, "0123.");
	assert_tries(targets, 2, NOW, "2301.");
	leave_out(targets, 3, NOW);
	assert_tries(targets, 2, NOW - 1, "201.");
	assert_tries(targets, 3, NOW - 1, "3012."); /* where it had to begin */
	assert_tries(targets, 2, NOW, "2301.");
	usp_targets_put(targets);
	targets = open_targets(1);
	assert_tries(targets, 0, NOW, "0.");
	usp_targets_put(targets);
}

/* As each fails it is left out, the first one too. */
static void failures_on_the_way_do_not_make_it_go_round(void **state)
{
	struct usp_targets *targets = open_targets(NR);
	struct usp_target *from = &targets->target[1], *target = from;
	unsigned nr_tries = 0;

	(void)state;
	for (; target && nr_tries <= NR; nr_tries++) {
		usp_target_failed(target, -ETIMEDOUT, NOW + 5);
		target = usp_targets_next(targets, target, from, NOW);
	}
	assert_int_equal(nr_tries, NR);
	usp_targets_put(targets);
}

/* --- How it fared --------------------------------------------------------------------------------------------------- */

static void success_ends_being_left_out(void **state)
{
	struct usp_targets *targets = open_targets(2);
	struct usp_target *target = &targets->target[0];

	(void)state;
	usp_target_failed(target, -ECONNREFUSED, 5 * NOW);
	usp_target_failed(target, -ETIMEDOUT, 6 * NOW);
	assert_int_equal(target->nr_failed, 2);
	assert_int_equal(target->last_error, -ETIMEDOUT);
	assert_int_equal(target->left_out_until_ns, 6 * NOW);
	usp_target_connected(target);
	assert_int_equal(target->nr_connected, 1);
	assert_int_equal(target->left_out_until_ns, 0);
	assert_int_equal(target->last_error, -ETIMEDOUT); /* is history */
	assert_int_equal(first(targets, USP_BALANCE_ROUNDROBIN, 0, NOW), 0);
	usp_targets_put(targets);
}

/* --- Life ------------------------------------------------------------------------------------------------------------ */

static void targets_live_as_long_as_somebody_uses_them(void **state)
{
	struct usp_targets *targets = open_targets(NR);

	(void)state;
	assert_ptr_equal(usp_targets_get(targets), targets);
	usp_targets_put(targets);
	for (unsigned i = 0; i < NR; i++)
		assert_string_equal(targets->target[i].name, names[i]);
	usp_targets_put(targets);
}

static void the_target_at_fault_is_named(void **state)
{
	static const char *const bad[] = {"127.0.0.1:1", "unix:/there", "127.0.0.1", "127.0.0.1:4"};
	struct usp_targets *targets = NULL;
	const char *why = NULL;
	unsigned failed = 7;

	(void)state;
	assert_int_equal(usp_targets_new(bad, 4, &targets, &failed, &why), -EINVAL);
	assert_int_equal(failed, 2);
	assert_string_equal(why, "the address needs a port: HOST:PORT");
	assert_null(targets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(round_robin_takes_each_in_turn),
		CASE(round_robin_passes_over_who_is_left_out_until_he_is_back),
		CASE(the_one_with_the_fewest_connections_is_taken),
		CASE(a_client_keeps_its_target),
		CASE(if_all_are_left_out_one_is_tried_all_the_same),
		CASE(of_no_targets_none_is_the_first),
		CASE(everybody_is_tried_once),
		CASE(failures_on_the_way_do_not_make_it_go_round),
		CASE(success_ends_being_left_out),
		CASE(targets_live_as_long_as_somebody_uses_them),
		CASE(the_target_at_fault_is_named),
	};

	return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
