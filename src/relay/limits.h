/* SPDX-License-Identifier: MIT */
/*
 * limits - how many connections an address may have at a time, and how often it may come.
 *
 * All workers share the table, whose shards have a lock each: a client costs a look-up in one of them when it comes and one when it
 * goes. Where an address counts is hashed with a secret, so that nobody can choose addresses that meet in one chain.
 * Memory: addresses with connections, and of those without the last ones that came, USP_LIMITS_QUIET_MAX at most.
 */
#ifndef USP_RELAY_LIMITS_H
#define USP_RELAY_LIMITS_H

#include <stdint.h>

#include "relay/place.h"

#define USP_LIMITS_QUIET_MAX 65536

struct usp_limits;
struct usp_guest;

/* 0: no limit. rate connections at once, and as many in each rate_ns afterwards. IPv6 counts by its first ipv6_bits. */
struct usp_limits_params {
	unsigned connections, rate, ipv6_bits;
	uint64_t rate_ns;
};

int usp_limits_new(const struct usp_limits_params *params, struct usp_limits **ret_limits);
void usp_limits_free(struct usp_limits *limits); /* when all have left; NULL is allowed */

/*
 * A client comes: 0 with its address's entry, or with NULL where it has no address; -EUSERS with too many connections,
 * -EAGAIN too soon, -ENOMEM. One that was refused counts for nothing.
 */
int usp_limits_enter(struct usp_limits *limits, const union usp_peer *client, uint64_t now_ns,
		     struct usp_guest **ret_guest);
void usp_limits_leave(struct usp_guest *guest, uint64_t now_ns);

#endif
