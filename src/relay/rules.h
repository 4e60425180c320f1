/* SPDX-License-Identifier: MIT */
/*
 * rules - which clients a relay serves, by their addresses: a list of blocks that are allowed or
 * denied. The first block with the address decides.
 */
#ifndef USP_RELAY_RULES_H
#define USP_RELAY_RULES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Two blocks either contain one another or have nothing in common. So the list becomes a row of
 * bounds: from each bound to the next all addresses get the same answer. A look-up is a binary
 * search, however long the list is.
 */
struct usp_rules {
	atomic_uint refs;
	bool allows_others; /* for clients without a rule: true if no rule allows a client */
	unsigned nr_bounds;
	struct usp_rule_bound *bounds;
};

/*
 * Make rules of texts "allow BLOCK" and "deny BLOCK", with blocks as of usp_cidr_parse, or "allow
 * all" and "deny all". -EINVAL with the index of the wrong one and a reason, or -ENOMEM.
 */
int usp_rules_new(const char *const *texts, unsigned nr, struct usp_rules **ret_rules, unsigned *ret_failed,
		  const char **ret_why);
struct usp_rules *usp_rules_get(struct usp_rules *rules);
void usp_rules_put(struct usp_rules *rules); /* NULL is allowed */

/* Tell whether this client may be served. */
bool usp_rules_allow(const struct usp_rules *rules, const struct sockaddr *client);

#endif
