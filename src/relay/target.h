/* SPDX-License-Identifier: MIT */
/* target - where connections go: a set of targets, which of them is next, and how each has fared. */
#ifndef USP_RELAY_TARGET_H
#define USP_RELAY_TARGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <usplice/relay.h>

/* One target. Its counters are written by all workers. */
struct usp_target {
	char *name;
	struct addrinfo *addresses;
	atomic_uint nr_connections;
	_Atomic(uint64_t) nr_connected, nr_failed;
	_Atomic(uint64_t) left_out_until_ns;
	atomic_int last_error;
};

/* An unchanging list of targets, which lives as long as somebody uses it. */
struct usp_targets {
	atomic_uint refs;
	atomic_uint turn; /* of the round robin */
	unsigned nr;
	struct usp_target target[];
};

/* The errors, the index and the sentence of usp_relay_set_targets, and its waiting. */
int usp_targets_new(const char *const *names, unsigned nr, struct usp_targets **ret_targets, unsigned *ret_failed,
		    const char **ret_why);
struct usp_targets *usp_targets_get(struct usp_targets *targets);
void usp_targets_put(struct usp_targets *targets); /* NULL is allowed */

/* The first target for a client, by hash of its address for USP_BALANCE_SOURCE. NULL only if the list is empty. */
struct usp_target *usp_targets_first(struct usp_targets *targets, enum usp_balance balance, uint32_t hash,
				     uint64_t now_ns);

/* The one to try after another has failed for this client; NULL when it is first's turn again. */
struct usp_target *usp_targets_next(struct usp_targets *targets, const struct usp_target *failed,
				    const struct usp_target *first, uint64_t now_ns);

/* What became of an attempt. One that failed is left out until a moment; success ends that. */
void usp_target_failed(struct usp_target *target, int error, uint64_t until_ns);
void usp_target_connected(struct usp_target *target);

#endif
