/* SPDX-License-Identifier: MIT */
/* test_limits - how many connections an address may have, how often it may come, and that what is remembered is bounded. */
#include "relay/limits.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <stdatomic.h>

#include "support.h"

#define S UINT64_C(1000000000)
#define NR_THREADS 4
#define NR_TURNS 20000

static struct usp_limits *make_limits(unsigned connections, unsigned rate, uint64_t rate_ns)
{
	const struct usp_limits_params params = {
		.connections = connections, .rate = rate, .rate_ns = rate_ns, .ipv6_bits = 64};
	struct usp_limits *limits;

	assert_int_equal(usp_limits_new(&params, &limits), 0);
	return limits;
}

static union usp_peer peer(const char *text)
{
	union usp_peer made = {.any.sa_family = AF_UNIX};

	if (inet_pton(AF_INET, text, &made.in.sin_addr) == 1)
		made.any.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &made.in6.sin6_addr) == 1)
		made.any.sa_family = AF_INET6;
	return made;
}

static union usp_peer peer_of_number(uint32_t number)
{
	return (union usp_peer){.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(number)}};
}

/* Comes, and goes at once if it may. */
static int visit(struct usp_limits *limits, const char *text, uint64_t now_ns)
{
	union usp_peer client = peer(text);
	struct usp_guest *guest;
	int ret = usp_limits_enter(limits, &client, now_ns, &guest);

	if (guest)
		usp_limits_leave(guest, now_ns);
	return ret;
}

static void an_address_has_so_many_connections_and_no_more(void **state)
{
	struct usp_limits *limits = make_limits(2, 0, S);
	union usp_peer one = peer("192.0.2.1"), other = peer("192.0.2.2");
	struct usp_guest *guests[3], *refused;

	(void)state;
	assert_int_equal(usp_limits_enter(limits, &one, S, &guests[0]), 0);
	one.in.sin_port = 7; /* which does not count */
	assert_int_equal(usp_limits_enter(limits, &one, S, &guests[1]), 0);
	assert_int_equal(usp_limits_enter(limits, &one, S, &refused), -EUSERS);
	assert_null(refused);
	assert_int_equal(usp_limits_enter(limits, &other, S, &guests[2]), 0);
	usp_limits_leave(guests[0], S);
	assert_int_equal(usp_limits_enter(limits, &one, S, &guests[0]), 0);
	assert_int_equal(usp_limits_enter(limits, &one, S, &refused), -EUSERS);
	for (unsigned i = 0; i < 3; i++)
		usp_limits_leave(guests[i], S);
	assert_int_equal(visit(limits, "192.0.2.1", S), 0);
	usp_limits_free(limits);
}

static void an_address_comes_so_often_at_once_and_then_evenly(void **state)
{
	struct usp_limits *limits = make_limits(0, 4, S);
	uint64_t now_ns = 1000 * S;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(visit(limits, "192.0.2.1", now_ns), 0);
	for (unsigned i = 0; i < 10; i++) /* what is refused costs nothing */
		assert_int_equal(visit(limits, "192.0.2.1", now_ns + S / 4 - 1), -EAGAIN);
	assert_int_equal(visit(limits, "192.0.2.2", now_ns), 0);
	assert_int_equal(visit(limits, "192.0.2.1", now_ns + S / 4), 0);
	assert_int_equal(visit(limits, "192.0.2.1", now_ns + S / 4), -EAGAIN);
	now_ns += 10 * S; /* no more is saved than fits */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(visit(limits, "192.0.2.1", now_ns), 0);
	assert_int_equal(visit(limits, "192.0.2.1", now_ns), -EAGAIN);
	usp_limits_free(limits);
}

static void who_has_too_many_connections_does_not_use_up_the_rate(void **state)
{
	struct usp_limits *limits = make_limits(1, 2, S);
	union usp_peer client = peer("192.0.2.1");
	struct usp_guest *guest, *refused;

	(void)state;
	assert_int_equal(usp_limits_enter(limits, &client, S, &guest), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(usp_limits_enter(limits, &client, S, &refused), -EUSERS);
	usp_limits_leave(guest, S);
	assert_int_equal(visit(limits, "192.0.2.1", S), 0);
	assert_int_equal(visit(limits, "192.0.2.1", S), -EAGAIN);
	usp_limits_free(limits);
}

static void ipv6_counts_by_its_prefix_and_sockets_without_address_do_not(void **state)
{
	struct usp_limits *limits = make_limits(0, 1, S);

	(void)state;
	assert_int_equal(visit(limits, "2001:db8:0:1::1", S), 0);
	assert_int_equal(visit(limits, "2001:db8:0:1:ffff::2", S), -EAGAIN);
	assert_int_equal(visit(limits, "2001:db8:0:2::1", S), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(visit(limits, "unix", S), 0);
	usp_limits_free(limits);
}

/* Everybody comes once, and is remembered until its bucket is full again: but not more of them than there is room for. */
static void what_is_remembered_of_those_who_have_gone_is_bounded(void **state)
{
	struct usp_limits *limits = make_limits(0, 1, 3600 * S);
	struct mallinfo2 before = mallinfo2(), after;
	struct usp_guest *guest;

	(void)state;
	for (uint32_t i = 0; i < 4 * USP_LIMITS_QUIET_MAX; i++) {
		union usp_peer client = peer_of_number(i);

		assert_int_equal(usp_limits_enter(limits, &client, S, &guest), 0);
		usp_limits_leave(guest, S);
	}
	after = mallinfo2();
	if (after.uordblks > before.uordblks) /* 0 where a sanitizer has the heap */
		assert_true(after.uordblks - before.uordblks < 144 * (size_t)USP_LIMITS_QUIET_MAX);
	assert_int_equal(visit(limits, "0.3.255.255", S), -EAGAIN); /* the last one */
	assert_int_equal(visit(limits, "0.0.0.1", S), 0);	    /* forgotten */
	usp_limits_free(limits);
}

/* --- Threads ------------------------------------------------------------------------------------------------- */

struct crowd {
	struct usp_limits *limits;
	atomic_uint nr_in, nr_most;
};

static void *come_and_go(void *arg)
{
	struct crowd *crowd = arg;
	union usp_peer client = peer("192.0.2.1");

	for (unsigned i = 0; i < NR_TURNS; i++) {
		struct usp_guest *guest;
		unsigned nr;

		if (usp_limits_enter(crowd->limits, &client, S, &guest) != 0)
			continue;
		nr = atomic_fetch_add(&crowd->nr_in, 1) + 1;
		if (nr > atomic_load(&crowd->nr_most))
			atomic_store(&crowd->nr_most, nr);
		atomic_fetch_sub(&crowd->nr_in, 1);
		usp_limits_leave(guest, S);
	}
	return NULL;
}

static void threads_together_keep_the_limit(void **state)
{
	struct crowd crowd = {.limits = make_limits(2, 0, S)};
	pthread_t threads[NR_THREADS];

	(void)state;
	for (unsigned i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(atomic_load(&crowd.nr_most), 1, 2);
	assert_int_equal(visit(crowd.limits, "192.0.2.1", S), 0);
	usp_limits_free(crowd.limits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_address_has_so_many_connections_and_no_more),
		CASE(an_address_comes_so_often_at_once_and_then_evenly),
		CASE(who_has_too_many_connections_does_not_use_up_the_rate),
		CASE(ipv6_counts_by_its_prefix_and_sockets_without_address_do_not),
		CASE(what_is_remembered_of_those_who_have_gone_is_bounded),
		CASE(threads_together_keep_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
