/* SPDX-License-Identifier: MIT */
/* test_rules - which clients are allowed: the first rule that has an address decides, however rules lie in each other. */
#include "relay/rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/cidr.h"
#include "support.h"

#define NR_RANDOM_RULES 40
#define NR_LISTS 300
#define NR_ADDRESSES 200
#define NR_LONG 100000

static struct usp_rules *make_rules(const char *const *texts, unsigned nr)
{
	struct usp_rules *rules;
	const char *why = NULL;
	unsigned failed = 0;

	assert_int_equal(usp_rules_new(texts, nr, &rules, &failed, &why), 0);
	return rules;
}

static bool allows(const struct usp_rules *rules, const char *text)
{
	struct sockaddr_storage address = {.ss_family = AF_UNIX};

	if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr) == 1)
		address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr) == 1)
		address.ss_family = AF_INET6;
	return usp_rules_allow(rules, (const struct sockaddr *)&address);
}

struct expected {
	const char *address;
	bool is_allowed;
};

static void try_rules(const char *const *texts, unsigned nr, const struct expected *expected, unsigned nr_expected)
{
	struct usp_rules *rules = make_rules(texts, nr);

	for (unsigned i = 0; i < nr_expected; i++) {
		if (allows(rules, expected[i].address) != expected[i].is_allowed)
			fail_msg("%s is %sallowed", expected[i].address, expected[i].is_allowed ? "not " : "");
	}
	usp_rules_put(rules);
}

#define TRY(texts, expected) try_rules(texts, ARRAY_LEN(texts), expected, ARRAY_LEN(expected))

/* --- What decides -------------------------------------------------------------------------------------------- */

static void without_rules_everybody_is_allowed(void **state)
{
	static const struct expected expected[] = {{"192.0.2.1", true}, {"::1", true}, {"unix", true}};

	(void)state;
	try_rules(NULL, 0, expected, ARRAY_LEN(expected));
}

static void whom_no_rule_names_is_refused_where_somebody_is_allowed(void **state)
{
	static const char *const allow[] = {"allow 10.0.0.0/8"}, *const deny[] = {"deny 10.0.0.0/8"};
	static const struct expected with_allow[] = {{"9.255.255.255", false}, {"10.0.0.0", true},
						     {"10.255.255.255", true}, {"11.0.0.0", false},
						     {"::1", false},	       {"unix", false}};
	static const struct expected with_deny[] = {
		{"9.255.255.255", true}, {"10.0.0.0", false}, {"10.255.255.255", false},
		{"11.0.0.0", true},	 {"::1", true},	      {"unix", true}};

	(void)state;
	TRY(allow, with_allow);
	TRY(deny, with_deny);
}

static void the_first_rule_that_has_an_address_decides(void **state)
{
	static const char *const inner_first[] = {"deny 10.1.0.0/16", "allow 10.0.0.0/8", "allow 10.1.2.3"};
	static const char *const outer_first[] = {"allow 10.0.0.0/8", "deny 10.1.0.0/16"};
	static const struct expected inner[] = {{"10.0.255.255", true},
						{"10.1.0.0", false},
						{"10.1.2.3", false},
						{"10.1.255.255", false},
						{"10.2.0.0", true}};
	static const struct expected outer[] = {{"10.1.2.3", true}, {"10.2.0.0", true}, {"11.0.0.0", false}};

	(void)state;
	TRY(inner_first, inner);
	TRY(outer_first, outer);
}

static void families_are_apart_and_all_are_all(void **state)
{
	static const char *const six[] = {"allow ::/0"}, *const sockets[] = {"deny unix:"};
	static const char *const all[] = {"allow ::1", "deny all"}, *const every[] = {"deny 0.0.0.0/0", "allow all"};
	static const struct expected with_six[] = {{"::", true}, {"ffff::", true}, {"0.0.0.0", false}, {"unix", false}};
	static const struct expected with_sockets[] = {{"::", true}, {"255.255.255.255", true}, {"unix", false}};
	static const struct expected with_all[] = {{"::1", true}, {"::2", false}, {"1.2.3.4", false}, {"unix", false}};
	static const struct expected with_every[] = {{"::1", true}, {"255.255.255.255", false}, {"unix", true}};

	(void)state;
	TRY(six, with_six);
	TRY(sockets, with_sockets);
	TRY(all, with_all);
	TRY(every, with_every);
}

static void the_ends_of_the_space_have_their_rules(void **state)
{
	static const char *const ends[] = {"deny 255.255.255.255", "deny 0.0.0.0", "deny ffff::/16"};
	static const struct expected expected[] = {{"255.255.255.255", false}, {"255.255.255.254", true},
						   {"0.0.0.0", false},	       {"0.0.0.1", true},
						   {"ffff:ffff::1", false},    {"fffe:ffff::1", true}};

	(void)state;
	TRY(ends, expected);
}

static void a_rule_that_is_none_is_named(void **state)
{
	static const char *const bad[] = {"allow",     "permit 10.0.0.0/8", "deny ",	     "allow 10.0.0.0/33",
					  "deny host", "10.0.0.0/8",	    "allow all ::1", ""};
	struct usp_rules *rules = NULL;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		const char *texts[] = {"allow ::1", bad[i], "deny ::2"}, *why = NULL;
		unsigned failed = 7;

		assert_int_equal(usp_rules_new(texts, 3, &rules, &failed, &why), -EINVAL);
		assert_int_equal(failed, 1);
		assert_non_null(why);
		assert_null(rules);
	}
}

/* --- Against a plain walk over the list ----------------------------------------------------------------------- */

static uint64_t random_state = 4711;

static unsigned random_below(unsigned limit)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % limit;
}

/* Few bits differ, so blocks meet. */
static void random_block(char *ret_text, size_t len)
{
	static const unsigned lens[] = {0, 24, 25, 28, 30, 31, 32};
	unsigned nr_bits = lens[random_below(ARRAY_LEN(lens))];
	uint32_t mask = nr_bits ? ~0u << (32 - nr_bits) : 0, bits = (0x0a000000u | random_below(512)) & mask;

	snprintf(ret_text, len, "%u.%u.%u.%u/%u", bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255, nr_bits);
}

static bool walk_allows(char texts[][64], unsigned nr, const struct sockaddr *address)
{
	bool has_allow = false;

	for (unsigned i = 0; i < nr; i++) {
		bool is_allow = texts[i][0] == 'a';
		const char *block = strchr(texts[i], ' ') + 1, *why;
		struct usp_cidr cidr;

		assert_int_equal(usp_cidr_parse(block, strlen(block), &cidr, &why), 0);
		if (usp_cidr_has(&cidr, address))
			return is_allow;
		has_allow |= is_allow;
	}
	return !has_allow;
}

static void random_lists_answer_as_a_walk_over_them_would(void **state)
{
	char texts[NR_RANDOM_RULES][64], block[32];
	const char *list[NR_RANDOM_RULES];

	(void)state;
	for (unsigned round = 0; round < NR_LISTS; round++) {
		unsigned nr = random_below(NR_RANDOM_RULES + 1);
		struct usp_rules *rules;

		for (unsigned i = 0; i < nr; i++) {
			random_block(block, sizeof(block));
			snprintf(texts[i], sizeof(texts[i]), "%s %s", random_below(2) ? "allow" : "deny", block);
			list[i] = texts[i];
		}
		rules = make_rules(list, nr);
		for (unsigned i = 0; i < NR_ADDRESSES; i++) {
			struct sockaddr_in in = {.sin_family = AF_INET,
						 .sin_addr.s_addr = htonl(0x09ffff80u + random_below(1024))};
			const struct sockaddr *address = (const struct sockaddr *)&in;

			assert_int_equal(usp_rules_allow(rules, address), walk_allows(texts, nr, address));
		}
		usp_rules_put(rules);
	}
}

/* A list of the length that block lists have. */
static void a_long_list_is_a_short_search(void **state)
{
	char(*texts)[32] = malloc(NR_LONG * sizeof(texts[0]));
	const char **list = malloc(NR_LONG * sizeof(list[0]));
	struct usp_rules *rules;

	(void)state;
	for (unsigned i = 0; i < NR_LONG; i++) {
		snprintf(texts[i], sizeof(texts[i]), "deny %u.%u.%u.0/25", 1 + i % 200, i / 200 % 250, i / 50000);
		list[i] = texts[i];
	}
	rules = make_rules(list, NR_LONG);
	for (unsigned i = 0; i < NR_LONG; i++) {
		char address[32];

		snprintf(address, sizeof(address), "%u.%u.%u.127", 1 + i % 200, i / 200 % 250, i / 50000);
		assert_false(allows(rules, address));
		snprintf(address, sizeof(address), "%u.%u.%u.128", 1 + i % 200, i / 200 % 250, i / 50000);
		assert_true(allows(rules, address));
	}
	usp_rules_put(rules);
	free(list);
	free(texts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(without_rules_everybody_is_allowed),
		CASE(whom_no_rule_names_is_refused_where_somebody_is_allowed),
		CASE(the_first_rule_that_has_an_address_decides),
		CASE(families_are_apart_and_all_are_all),
		CASE(the_ends_of_the_space_have_their_rules),
		CASE(a_rule_that_is_none_is_named),
		CASE(random_lists_answer_as_a_walk_over_them_would),
		CASE(a_long_list_is_a_short_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
