/* SPDX-License-Identifier: MIT */
/* target - where connections go: a list of targets with their addresses, and the choice of the next one. */
#ifndef USP_RELAY_TARGET_H
#define USP_RELAY_TARGET_H

#include <stdatomic.h>
#include <usplice/relay.h>

#include "relay/address.h"

/* One target: an address, or all addresses of a name, in the order in which they are tried. */
struct usp_target {
	char *name;
	unsigned nr_addresses; /* 0: the name does not resolve, or not yet */
	struct usp_address **addresses;
	int lookup_error;    /* 0, or -errno of the last look-up of the name */
	atomic_bool is_down; /* reported as down: all its addresses failed, and none has worked since */
};

/* An unchanging, reference-counted list of targets. Lists share the state of their addresses. */
struct usp_targets {
	atomic_uint refs;
	atomic_uint turn; /* of the round robin */
	bool is_pending;  /* a name is being looked up for the first time */
	unsigned nr;
	struct usp_target target[];
};

/* What a list is made of. */
struct usp_target_source {
	char *name;
	struct addrinfo *addresses; /* NULL: there are none yet */
	bool is_pending;
	int lookup_error;
};

/*
 * Make a list. Its turns go on from those of another list (may be NULL), and a target that is down
 * there is down here. 0 or -ENOMEM.
 */
int usp_targets_new(const struct usp_target_source *const *sources, unsigned nr, struct usp_address_book *book,
		    const struct usp_targets *before, struct usp_targets **ret_targets);
struct usp_targets *usp_targets_get(struct usp_targets *targets);
void usp_targets_put(struct usp_targets *targets); /* NULL is allowed */

/* Tell whether the target has an address that is not left out. */
bool usp_target_is_up(const struct usp_target *target, uint64_t now_ns);

/* Return the connections that it has now, at all addresses. */
unsigned usp_target_nr_connections(const struct usp_target *target);

/*
 * Return the address to try after another one, or the first one if after is NULL. It is up and, as
 * for usp_address_try, no other client tries it until until_ns; with is_forced any address will do.
 * NULL if there is none.
 */
struct usp_address *usp_target_address(const struct usp_target *target, const struct usp_address *after, bool is_forced,
				       uint64_t now_ns, uint64_t until_ns);

/*
 * Choose the first target for a client; USP_BALANCE_SOURCE uses hash, a hash of the client's
 * address. The target is up, or if all are left out any target. NULL only if none has an address.
 */
struct usp_target *usp_targets_first(struct usp_targets *targets, enum usp_balance balance, uint32_t hash,
				     uint64_t now_ns);

/*
 * Return the target to try after another one has failed for this client; NULL after the last one,
 * before first again.
 */
struct usp_target *usp_targets_next(struct usp_targets *targets, const struct usp_target *failed,
				    const struct usp_target *first, uint64_t now_ns);

/*
 * Note that an address of the target has failed, or has connected. True if that is news: it was the
 * last address that had not failed, or the target was down.
 */
bool usp_target_failed(struct usp_target *target);
bool usp_target_connected(struct usp_target *target);

#endif
