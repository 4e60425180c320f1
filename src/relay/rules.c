/* SPDX-License-Identifier: MIT */
/*
 * rules - which clients a relay serves, by their addresses.
 *
 *   deny  10.1.0.0/16        10.0.0.0   10.1.0.0   10.2.0.0   11.0.0.0
 *   allow 10.0.0.0/8    ──►  | allowed  | denied   | allowed  | others
 *
 * To make the row, walk over the blocks in the order of their first addresses, larger ones first. A
 * stack holds the blocks that contain the current point. The block of the stack that stands first
 * in the list decides.
 */
#include "relay/rules.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cidr.h"

#define RULES_ADDRESS_LEN 16
#define RULES_POINT_LEN (1 + RULES_ADDRESS_LEN) /* the family, then the address, so that families are apart */
#define RULES_NESTED_MAX (8 * RULES_ADDRESS_LEN + 1)

/* From this point on, clients get this answer. */
struct usp_rule_bound {
	unsigned char point[RULES_POINT_LEN];
	bool is_allowed;
};

/* A block of the list. */
struct rule {
	unsigned char first[RULES_POINT_LEN], last[RULES_POINT_LEN];
	unsigned nr_bits, index;
	bool is_allowed;
};

/* --- Points ------------------------------------------------------------------------------------------ */

static void rules_point(sa_family_t family, const void *address, size_t len, unsigned char ret_point[RULES_POINT_LEN])
{
	memset(ret_point, 0, RULES_POINT_LEN);
	ret_point[0] = (unsigned char)family;
	if (len)
		memcpy(ret_point + 1, address, len);
}

static size_t rules_address_len(sa_family_t family)
{
	return family == AF_INET ? sizeof(struct in_addr) : family == AF_INET6 ? sizeof(struct in6_addr) : 0;
}

/* Set the last point of a rule: all bits behind the prefix are 1. */
static void rules_last_point(struct rule *rule)
{
	memcpy(rule->last, rule->first, sizeof(rule->last));
	for (unsigned bit = rule->nr_bits; bit < 8 * RULES_ADDRESS_LEN; bit++)
		rule->last[1 + bit / 8] |= (unsigned char)(0x80 >> bit % 8);
}

/* Return the point after it; false if there is none. */
static bool rules_next_point(const unsigned char point[RULES_POINT_LEN], unsigned char ret_next[RULES_POINT_LEN])
{
	memcpy(ret_next, point, RULES_POINT_LEN);
	for (unsigned i = RULES_POINT_LEN; i-- > 0;) {
		if (++ret_next[i])
			return true;
	}
	return false;
}

/* --- From texts -------------------------------------------------------------------------------------- */

/* Parse the rules of one text, at most one for each family: how many, or -errno. */
static int rules_parse(const char *text, unsigned index, struct rule *ret_rules, const char **ret_why)
{
	static const sa_family_t families[] = {AF_INET, AF_INET6, AF_UNIX};
	size_t len = strcspn(text, " \t");
	bool is_allowed = len == 5 && strncmp(text, "allow", len) == 0;
	const char *block = text + len + strspn(text + len, " \t");
	struct usp_cidr cidr;
	unsigned nr = 0;
	int ret;

	if (!is_allowed && (len != 4 || strncmp(text, "deny", len) != 0)) {
		*ret_why = "a rule is 'allow' or 'deny' and a block of addresses";
		return -EINVAL;
	}
	while (strcmp(block, "all") == 0 && nr < 3) {
		ret_rules[nr] = (struct rule){.index = index, .is_allowed = is_allowed};
		rules_point(families[nr], NULL, 0, ret_rules[nr].first);
		rules_last_point(&ret_rules[nr++]);
	}
	if (nr)
		return (int)nr;
	ret = usp_cidr_parse(block, strlen(block), &cidr, ret_why);
	if (ret < 0)
		return ret;
	*ret_rules = (struct rule){.nr_bits = cidr.nr_bits, .index = index, .is_allowed = is_allowed};
	rules_point(cidr.family, cidr.prefix, rules_address_len(cidr.family), ret_rules->first);
	rules_last_point(ret_rules);
	return 1;
}

/* Compare by first point; then the larger block first; of equal blocks the one that stands first. */
static int rules_compare(const void *a, const void *b)
{
	const struct rule *one = a, *other = b;
	int order = memcmp(one->first, other->first, sizeof(one->first));

	if (order)
		return order;
	if (one->nr_bits != other->nr_bits)
		return one->nr_bits < other->nr_bits ? -1 : 1;
	return one->index < other->index ? -1 : one->index > other->index;
}

/* --- The row ----------------------------------------------------------------------------------------- */

/* The blocks that contain the current point: each is inside the one before it. */
struct rules_walk {
	struct usp_rules *rules;
	const struct rule *nested[RULES_NESTED_MAX];
	unsigned nr_nested;
};

static bool rules_answer(const struct rules_walk *walk)
{
	const struct rule *first = NULL;

	for (unsigned i = 0; i < walk->nr_nested; i++) {
		if (!first || walk->nested[i]->index < first->index)
			first = walk->nested[i];
	}
	return first ? first->is_allowed : walk->rules->allows_others;
}

static void rules_add_bound(struct rules_walk *walk, const unsigned char point[RULES_POINT_LEN])
{
	struct usp_rules *rules = walk->rules;
	struct usp_rule_bound *bounds = rules->bounds, bound = {.is_allowed = rules_answer(walk)};

	memcpy(bound.point, point, sizeof(bound.point));
	if (rules->nr_bounds && memcmp(bounds[rules->nr_bounds - 1].point, point, RULES_POINT_LEN) == 0)
		rules->nr_bounds--; /* nothing lies between the two */
	if (!rules->nr_bounds || bounds[rules->nr_bounds - 1].is_allowed != bound.is_allowed)
		bounds[rules->nr_bounds++] = bound;
}

/* Leave the blocks that end before a point; NULL: all of them. */
static void rules_leave(struct rules_walk *walk, const unsigned char *point)
{
	unsigned char next[RULES_POINT_LEN];

	while (walk->nr_nested &&
	       (!point || memcmp(walk->nested[walk->nr_nested - 1]->last, point, RULES_POINT_LEN) < 0)) {
		const struct rule *rule = walk->nested[--walk->nr_nested];

		if (rules_next_point(rule->last, next))
			rules_add_bound(walk, next);
	}
}

/*
 * Tell whether two blocks are equal. The later one never decides, and would make the stack deeper
 * than there are bits.
 */
static bool rules_is_same(const struct rule *one, const struct rule *other)
{
	return one->nr_bits == other->nr_bits && memcmp(one->first, other->first, sizeof(one->first)) == 0;
}

static void rules_fill(struct usp_rules *rules, struct rule *list, unsigned nr)
{
	static const unsigned char everywhere[RULES_POINT_LEN];
	struct rules_walk walk = {.rules = rules};

	qsort(list, nr, sizeof(list[0]), rules_compare);
	rules_add_bound(&walk, everywhere);
	for (unsigned i = 0; i < nr; i++) {
		if (i && rules_is_same(&list[i - 1], &list[i]))
			continue;
		rules_leave(&walk, list[i].first);
		walk.nested[walk.nr_nested++] = &list[i];
		rules_add_bound(&walk, list[i].first);
	}
	rules_leave(&walk, NULL);
}

/* --- Life ------------------------------------------------------------------------------------------ */

static int rules_parse_all(const char *const *texts, unsigned nr, struct rule *list, unsigned *ret_failed,
			   const char **ret_why)
{
	unsigned nr_rules = 0;

	for (unsigned i = 0; i < nr; i++) {
		int ret = rules_parse(texts[i], i, &list[nr_rules], ret_why);

		*ret_failed = i;
		if (ret < 0)
			return ret;
		nr_rules += (unsigned)ret;
	}
	return (int)nr_rules;
}

int usp_rules_new(const char *const *texts, unsigned nr, struct usp_rules **ret_rules, unsigned *ret_failed,
		  const char **ret_why)
{
	struct usp_rules *rules = usp_alloc(sizeof(*rules));
	struct rule *list = usp_alloc_array((size_t)3 * nr + 1, sizeof(list[0]));
	int ret = rules && list ? rules_parse_all(texts, nr, list, ret_failed, ret_why) : -ENOMEM;

	if (ret >= 0) {
		atomic_store(&rules->refs, 1);
		rules->allows_others = true;
		for (int i = 0; i < ret; i++)
			rules->allows_others = rules->allows_others && !list[i].is_allowed;
		rules->bounds = usp_alloc_array((size_t)2 * (unsigned)ret + 1, sizeof(rules->bounds[0]));
		if (!rules->bounds)
			ret = -ENOMEM;
	}
	if (ret >= 0)
		rules_fill(rules, list, (unsigned)ret);
	usp_free(list);
	if (ret < 0) {
		usp_free(rules);
		return ret;
	}
	*ret_rules = rules;
	return 0;
}

struct usp_rules *usp_rules_get(struct usp_rules *rules)
{
	atomic_fetch_add_explicit(&rules->refs, 1, memory_order_relaxed);
	return rules;
}

void usp_rules_put(struct usp_rules *rules)
{
	if (!rules || atomic_fetch_sub_explicit(&rules->refs, 1, memory_order_acq_rel) != 1)
		return;
	usp_free(rules->bounds);
	usp_free(rules);
}

bool usp_rules_allow(const struct usp_rules *rules, const struct sockaddr *client)
{
	unsigned char point[RULES_POINT_LEN];
	unsigned first = 0, behind = rules->nr_bounds;
	const void *address = client->sa_family == AF_INET
				      ? (const void *)&((const struct sockaddr_in *)client)->sin_addr
				      : &((const struct sockaddr_in6 *)client)->sin6_addr;

	rules_point(client->sa_family, address, rules_address_len(client->sa_family), point);
	while (behind - first > 1) { /* the answer is that of a bound in [first, behind) */
		unsigned middle = first + (behind - first) / 2;

		if (memcmp(rules->bounds[middle].point, point, sizeof(point)) <= 0)
			first = middle;
		else
			behind = middle;
	}
	return rules->bounds[first].is_allowed;
}
