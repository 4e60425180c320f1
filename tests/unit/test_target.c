/* SPDX-License-Identifier: MIT */
/* test_target - which target a connection gets: the ways to balance, who is left out, and where trying ends. */
#include "endpoints/stream_address.h"
#include "relay/target.h"
#include "support.h"

#define NR 4
#define NOW 1000

static const char *const names[NR] = {"127.0.0.1:1", "127.0.0.1:2", "unix:/nowhere", "[::1]:4"};

static struct usp_address_book book;

static int open_book(void **state)
{
	(void)state;
	usp_address_book_init(&book);
	return 0;
}

static int close_book(void **state)
{
	(void)state;
	return LIST_EMPTY(&book.addresses) ? 0 : -1;
}

/* The addresses of a list of texts, in their order: one by one, as a look-up gives them. */
static struct addrinfo *resolve(const char *const *texts, unsigned nr)
{
	struct addrinfo *list = NULL;
	const char *why;

	for (unsigned i = nr; i-- > 0;) {
		struct addrinfo *info;

		assert_int_equal(usp_stream_resolve(texts[i], false, &info, &why), 0);
		info->ai_next = list;
		list = info;
	}
	return list;
}

/* A source of each of these lists, with as many addresses as it has texts. */
struct named {
	const char *name;
	const char *texts[3];
};

static struct usp_targets *open_named(const struct named *named, unsigned nr, const struct usp_targets *before)
{
	struct usp_target_source source[8] = {0};
	const struct usp_target_source *sources[8] = {NULL};
	struct usp_targets *targets;

	for (unsigned i = 0; i < nr; i++) {
		unsigned nr_texts = 0;

		while (nr_texts < ARRAY_LEN(named[i].texts) && named[i].texts[nr_texts])
			nr_texts++;
		source[i].name = (char *)named[i].name;
		source[i].addresses = resolve(named[i].texts, nr_texts);
		sources[i] = &source[i];
	}
	assert_int_equal(usp_targets_new(sources, nr, &book, before, &targets), 0);
	for (unsigned i = 0; i < nr; i++) {
		for (struct addrinfo *info = source[i].addresses, *next; info; info = next) {
			next = info->ai_next;
			info->ai_next = NULL;
			usp_stream_resolve_free(info);
		}
	}
	return targets;
}

static struct usp_targets *open_targets(unsigned nr)
{
	struct named named[NR] = {0};

	for (unsigned i = 0; i < nr; i++)
		named[i] = (struct named){names[i], {names[i]}};
	return open_named(named, nr, NULL);
}

static unsigned first(struct usp_targets *targets, enum usp_balance balance, uint32_t hash, uint64_t now_ns)
{
	return (unsigned)(usp_targets_first(targets, balance, hash, now_ns) - targets->target);
}

static void leave_out(struct usp_targets *targets, unsigned index, uint64_t until_ns)
{
	usp_address_failed(targets->target[index].addresses[0], -ECONNREFUSED, until_ns);
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
		targets->target[i].addresses[0]->nr_connections = counts[i];
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
		usp_address_failed(target->addresses[0], -ETIMEDOUT, NOW + 5);
		target = usp_targets_next(targets, target, from, NOW);
	}
	assert_int_equal(nr_tries, NR);
	usp_targets_put(targets);
}

/* --- How it fared --------------------------------------------------------------------------------------------------- */

static void success_ends_being_left_out(void **state)
{
	struct usp_targets *targets = open_targets(2);
	struct usp_address *address = targets->target[0].addresses[0];

	(void)state;
	usp_address_failed(address, -ECONNREFUSED, 5 * NOW);
	usp_address_failed(address, -ETIMEDOUT, 6 * NOW);
	assert_int_equal(address->nr_failed, 2);
	assert_int_equal(address->last_error, -ETIMEDOUT);
	assert_int_equal(address->left_out_until_ns, 6 * NOW);
	usp_address_connected(address);
	assert_int_equal(address->nr_connected, 1);
	assert_int_equal(address->left_out_until_ns, 0);
	assert_int_equal(address->last_error, -ETIMEDOUT); /* is history */
	assert_int_equal(first(targets, USP_BALANCE_ROUNDROBIN, 0, NOW), 0);
	usp_targets_put(targets);
}

/* --- Names with several addresses --------------------------------------------------------------------------------- */

static const struct named one_name = {"db:1", {"127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"}};

/* The address behind another one, as an index, or -1. */
static int next_address(const struct usp_target *target, int after, bool is_forced, uint64_t now_ns)
{
	const struct usp_address *from = after < 0 ? NULL : target->addresses[after];
	const struct usp_address *address = usp_target_address(target, from, is_forced, now_ns, now_ns + 5);

	for (unsigned i = 0; i < target->nr_addresses; i++) {
		if (address == target->addresses[i])
			return (int)i;
	}
	return -1;
}

static void a_dead_address_is_passed_over_like_a_dead_target(void **state)
{
	struct usp_targets *targets = open_named(&one_name, 1, NULL);
	struct usp_target *target = &targets->target[0];

	(void)state;
	assert_int_equal(next_address(target, -1, false, NOW), 0);
	usp_address_failed(target->addresses[0], -ETIMEDOUT, 2 * NOW);
	assert_true(usp_target_is_up(target, NOW));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(next_address(target, -1, false, NOW), 1);
	usp_address_failed(target->addresses[1], -ETIMEDOUT, 2 * NOW);
	assert_int_equal(next_address(target, -1, false, NOW), 2);
	usp_address_failed(target->addresses[2], -ETIMEDOUT, 2 * NOW);
	assert_false(usp_target_is_up(target, NOW));
	assert_int_equal(next_address(target, -1, false, NOW), -1);
	for (int i = -1; i < 2; i++) /* all the same, in their order */
		assert_int_equal(next_address(target, i, true, NOW), i + 1);
	assert_int_equal(next_address(target, 2, true, NOW), -1);
	usp_targets_put(targets);
}

static void one_client_finds_out_whether_an_address_is_well_again(void **state)
{
	struct usp_targets *targets = open_named(&one_name, 1, NULL);
	struct usp_target *target = &targets->target[0];

	(void)state;
	usp_address_failed(target->addresses[0], -ETIMEDOUT, 2 * NOW);
	assert_int_equal(next_address(target, -1, false, 2 * NOW), 0);
	for (unsigned i = 0; i < 3; i++) /* nobody else, while that one is at it */
		assert_int_equal(next_address(target, -1, false, 2 * NOW + 4), 1);
	assert_int_equal(next_address(target, -1, false, 2 * NOW + 5), 0); /* it has never come back */
	usp_address_connected(target->addresses[0]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(next_address(target, -1, false, 2 * NOW + 5), 0);
	usp_targets_put(targets);
}

static void a_name_without_an_address_gets_nobody(void **state)
{
	static const struct named mixed[] = {{"unknown:1", {NULL}}, {"127.0.0.1:2", {"127.0.0.1:2"}}};
	struct usp_targets *targets = open_named(mixed, 1, NULL);

	(void)state;
	for (enum usp_balance balance = USP_BALANCE_ROUNDROBIN; balance <= USP_BALANCE_SOURCE; balance++)
		assert_null(usp_targets_first(targets, balance, 0, NOW));
	usp_targets_put(targets);
	targets = open_named(mixed, 2, NULL);
	leave_out(targets, 1, 2 * NOW);
	for (enum usp_balance balance = USP_BALANCE_ROUNDROBIN; balance <= USP_BALANCE_SOURCE; balance++) {
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(first(targets, balance, i, NOW), 1);
	}
	usp_targets_put(targets);
}

/* --- One list after the other --------------------------------------------------------------------------------------- */

static void what_is_known_of_an_address_goes_on_in_the_next_list(void **state)
{
	static const struct named before[] = {{"a:1", {"127.0.0.1:1"}}, {"b:1", {"127.0.0.2:1", "127.0.0.3:1"}}};
	static const struct named after[] = {{"b:1", {"127.0.0.3:1", "127.0.0.4:1"}}, {"127.0.0.1:1", {"127.0.0.1:1"}}};
	struct usp_targets *old = open_named(before, 2, NULL), *new;
	struct usp_address *a = old->target[0].addresses[0], *b = old->target[1].addresses[1];

	(void)state;
	a->nr_connections = 7;
	usp_address_failed(b, -ECONNREFUSED, 2 * NOW);
	first(old, USP_BALANCE_ROUNDROBIN, 0, NOW);
	new = open_named(after, 2, old);
	usp_targets_put(old);
	assert_ptr_equal(new->target[1].addresses[0], a);
	assert_ptr_equal(new->target[0].addresses[0], b);
	assert_int_equal(usp_target_nr_connections(&new->target[1]), 7);
	assert_int_equal(next_address(&new->target[0], -1, false, NOW), 1);
	assert_int_equal(first(new, USP_BALANCE_ROUNDROBIN, 0, NOW), 1); /* whose turn it is */
	usp_targets_put(new);
}

/* As long as connections are there, whatever lists there were meanwhile. */
static void an_address_that_was_gone_comes_back_with_its_connections(void **state)
{
	static const struct named with[] = {{"a:1", {"127.0.0.1:1"}}}, without[] = {{"b:1", {"127.0.0.2:1"}}};
	struct usp_targets *old = open_named(with, 1, NULL), *between = open_named(without, 1, old), *new;

	(void)state;
	old->target[0].addresses[0]->nr_connections = 3;
	new = open_named(with, 1, between);
	assert_int_equal(usp_target_nr_connections(&new->target[0]), 3);
	usp_targets_put(old);
	usp_targets_put(between);
	assert_int_equal(usp_target_nr_connections(&new->target[0]), 3);
	usp_targets_put(new);
}

static void a_target_that_is_named_twice_has_two_states(void **state)
{
	static const struct named twice[] = {{"a:1", {"127.0.0.1:1", "127.0.0.1:1"}}, {"a:1", {"127.0.0.1:1"}}};
	struct usp_targets *old = open_named(twice, 2, NULL), *new;

	(void)state;
	assert_int_equal(old->target[0].nr_addresses, 1);
	assert_ptr_not_equal(old->target[0].addresses[0], old->target[1].addresses[0]);
	new = open_named(twice, 2, old);
	for (unsigned i = 0; i < 2; i++)
		assert_ptr_equal(new->target[i].addresses[0], old->target[i].addresses[0]);
	usp_targets_put(old);
	usp_targets_put(new);
}

/* --- What is told of it --------------------------------------------------------------------------------------------- */

/* Its address of an index fails, or is connected with: is that news? */
static bool fails(struct usp_target *target, unsigned index)
{
	usp_address_failed(target->addresses[index], -ECONNREFUSED, 2 * NOW);
	return usp_target_failed(target);
}

static bool connects(struct usp_target *target, unsigned index)
{
	usp_address_connected(target->addresses[index]);
	return usp_target_connected(target);
}

static void a_target_is_down_with_its_last_address_and_up_with_the_first(void **state)
{
	struct usp_targets *targets = open_named(&one_name, 1, NULL);
	struct usp_target *target = &targets->target[0];

	(void)state;
	assert_false(connects(target, 0));
	assert_false(fails(target, 0));
	assert_false(connects(target, 0));
	for (unsigned i = 0; i < 2; i++)
		assert_false(fails(target, i));
	assert_true(fails(target, 2));
	for (unsigned i = 0; i < 3; i++)
		assert_false(fails(target, i));
	assert_true(connects(target, 1));
	assert_false(connects(target, 0));
	assert_false(fails(target, 0));
	assert_true(fails(target, 1));
	usp_targets_put(targets);
}

static void what_was_told_of_a_target_is_not_told_of_the_next_list(void **state)
{
	static const struct named before[] = {{"a:1", {"127.0.0.1:1"}}, {"b:1", {"127.0.0.2:1"}}};
	static const struct named after[] = {{"b:1", {"127.0.0.2:1"}}, {"a:1", {"127.0.0.3:1"}}};
	struct usp_targets *old = open_named(before, 2, NULL), *new;

	(void)state;
	assert_true(fails(&old->target[0], 0));
	new = open_named(after, 2, old);
	usp_targets_put(old);
	assert_false(fails(&new->target[1], 0)); /* another address, and still down */
	assert_true(connects(&new->target[1], 0));
	assert_true(fails(&new->target[0], 0));
	usp_targets_put(new);
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
		CASE(a_dead_address_is_passed_over_like_a_dead_target),
		CASE(one_client_finds_out_whether_an_address_is_well_again),
		CASE(a_name_without_an_address_gets_nobody),
		CASE(what_is_known_of_an_address_goes_on_in_the_next_list),
		CASE(an_address_that_was_gone_comes_back_with_its_connections),
		CASE(a_target_that_is_named_twice_has_two_states),
		CASE(a_target_is_down_with_its_last_address_and_up_with_the_first),
		CASE(what_was_told_of_a_target_is_not_told_of_the_next_list),
		CASE(targets_live_as_long_as_somebody_uses_them),
	};

	return cmocka_run_group_tests_name("target", tests, open_book, close_book);
}
