/* SPDX-License-Identifier: MIT */
/* target - where connections go: a list of targets with their addresses, and which of them is next. */
#ifndef USP_RELAY_TARGET_H
#define USP_RELAY_TARGET_H

#include <usplice/relay.h>

#include "relay/address.h"

/* One target: an address, or all those of a name, in the order in which they are tried. */
struct usp_target {
	char *name;
	unsigned nr_addresses; /* 0: the name does not resolve, or has not yet */
	struct usp_address **addresses;
	int lookup_error;    /* of the name: 0, or -errno of the last look-up */
	atomic_bool is_down; /* it is told that all its addresses have failed, and not yet that one works again */
};

/* An unchanging list of targets, which lives as long as somebody uses it. How its addresses fare is shared with other lists. */
struct usp_targets {
	atomic_uint refs;
	atomic_uint turn; /* of the round robin */
	bool is_pending;  /* a name is looked up for the first time */
	unsigned nr;
	struct usp_target target[];
};

/* What a list is made of. */
struct usp_target_source {
	char *name;
	struct addrinfo *addresses; /* NULL: it has none yet */
	bool is_pending;
	int lookup_error;
};

/*
 * A new list, whose turns go on where those of another one were (may be NULL); a target of the same name that was down there is down.
 * 0 or -ENOMEM.
 */
int usp_targets_new(const struct usp_target_source *const *sources, unsigned nr, struct usp_address_book *book,
		    const struct usp_targets *before, struct usp_targets **ret_targets);
struct usp_targets *usp_targets_get(struct usp_targets *targets);
void usp_targets_put(struct usp_targets *targets); /* NULL is allowed */

/* Is there an address that is not left out? */
bool usp_target_is_up(const struct usp_target *target, uint64_t now_ns);

/* Connections that it has now, at all addresses. */
unsigned usp_target_nr_connections(const struct usp_target *target);

/*
 * The address to try behind another one, or the first one (after is NULL): one that is up and, as usp_address_try, nobody else
 * tries until until_ns; with is_forced any. NULL if there is none.
 */
struct usp_address *usp_target_address(const struct usp_target *target, const struct usp_address *after, bool is_forced,
				       uint64_t now_ns, uint64_t until_ns);

/*
 * The first target for a client, by hash of its address for USP_BALANCE_SOURCE: one that is up, or if all are left out one that is
 * not. NULL only if none has an address.
 */
struct usp_target *usp_targets_first(struct usp_targets *targets, enum usp_balance balance, uint32_t hash,
				     uint64_t now_ns);

/* The one to try after another has failed for this client; NULL when it is first's turn again. */
struct usp_target *usp_targets_next(struct usp_targets *targets, const struct usp_target *failed,
				    const struct usp_target *first, uint64_t now_ns);

/*
 * An address of it has failed, or has been connected with. True if that is news: it was the last one that had not failed, or the
 * target was down.
 */
bool usp_target_failed(struct usp_target *target);
bool usp_target_connected(struct usp_target *target);

#endif
