/* SPDX-License-Identifier: MIT */
/*
 * rules - which clients a relay serves, by their addresses: a list of blocks that are allowed or denied, of which the first
 * that has the address decides.
 */
#ifndef USP_RELAY_RULES_H
#define USP_RELAY_RULES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Blocks contain each other or have nothing in common. So the list becomes a row of bounds, from each of which on to the next
 * one address after the other gets the same answer, and a look-up is a binary search, however long the list is.
 */
struct usp_rules {
	atomic_uint refs;
	bool allows_others; /* whom no rule names: true if no rule allows anybody */
	unsigned nr_bounds;
	struct usp_rule_bound *bounds;
};

/*
 * Of texts "allow BLOCK" and "deny BLOCK", as usp_cidr_parse reads blocks, or "allow all" and "deny all". -EINVAL with the
 * index of the one at fault and a reason, or -ENOMEM.
 */
int usp_rules_new(const char *const *texts, unsigned nr, struct usp_rules **ret_rules, unsigned *ret_failed,
		  const char **ret_why);
struct usp_rules *usp_rules_get(struct usp_rules *rules);
void usp_rules_put(struct usp_rules *rules); /* NULL is allowed */

/* May this client be served? */
bool usp_rules_allow(const struct usp_rules *rules, const struct sockaddr *client);

#endif
