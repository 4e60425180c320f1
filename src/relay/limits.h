/* SPDX-License-Identifier: MIT */
/*
 * limits - how many connections an address may have at a time, and how often it may connect.
 *
 * All workers share the table, whose shards have a lock each. A client costs one look-up in a shard
 * when it comes and one when it goes. The hash has a secret, so that an attacker cannot choose
 * addresses that meet in one chain. Memory holds the addresses with connections, and at most
 * USP_LIMITS_QUIET_MAX others, the latest ones.
 */
#ifndef USP_RELAY_LIMITS_H
#define USP_RELAY_LIMITS_H

#include <stdint.h>

#include "relay/sockaddr.h"

#define USP_LIMITS_QUIET_MAX 65536

struct usp_limits;
struct usp_guest;

/*
 * 0: no limit. At most rate connections at once, and as many in each rate_ns afterwards. IPv6
 * addresses count by their first ipv6_bits.
 */
struct usp_limits_params {
	unsigned connections, rate, ipv6_bits;
	uint64_t rate_ns;
};

int usp_limits_new(const struct usp_limits_params *params, struct usp_limits **ret_limits);
void usp_limits_free(struct usp_limits *limits); /* after all have left; NULL is allowed */

/*
 * Count a client that comes: 0 with the entry of its address, or with NULL if it has no address.
 * -EUSERS with too many connections, -EAGAIN too soon, -ENOMEM. A refused client is not counted.
 */
int usp_limits_enter(struct usp_limits *limits, const union usp_peer *client, uint64_t now_ns,
		     struct usp_guest **ret_guest);
void usp_limits_leave(struct usp_guest *guest, uint64_t now_ns);

#endif
