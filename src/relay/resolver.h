/* SPDX-License-Identifier: MIT */
/* resolver - the targets of a relay as they were named, and the thread that keeps the addresses of the names. */
#ifndef USP_RELAY_RESOLVER_H
#define USP_RELAY_RESOLVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "relay/address.h"

struct usp_relay;
struct usp_resolver_name;

struct usp_resolver {
	struct usp_relay *relay;
	struct usp_address_book book;
	pthread_mutex_t lock; /* for what follows; held only for moments, never during a look-up */
	struct usp_resolver_name **names;
	unsigned nr;
	bool is_running, has_thread;
	bool is_stale; /* a new list is due, but there was no memory for it */
	pthread_t thread;
	int wake_fd;
	atomic_bool must_end, must_hurry;
};

int usp_resolver_init(struct usp_resolver *resolver, struct usp_relay *relay);
void usp_resolver_fini(struct usp_resolver *resolver);

/* Set the targets. set blocks until all names are known; name does not, and names become known later. */
int usp_resolver_set(struct usp_resolver *resolver, const char *const *names, unsigned nr, unsigned *ret_failed,
		     const char **ret_why);
int usp_resolver_name(struct usp_resolver *resolver, const char *const *names, unsigned nr, unsigned *ret_failed,
		      const char **ret_why);

/*
 * Check whether the relay as it is now may connect to the targets whose addresses are known: 0, or
 * -errno of usp_fit_target with a sentence.
 */
int usp_resolver_check(struct usp_resolver *resolver, const char **ret_why);

/*
 * Begin to look names up, in a thread, if there are any: 0 or -errno. end does not wait for the
 * name service.
 */
int usp_resolver_begin(struct usp_resolver *resolver);
void usp_resolver_end(struct usp_resolver *resolver);

/*
 * Look a target up soon, if it is a name and has no address left that works. Does not block; from
 * any thread.
 */
void usp_resolver_hurry(struct usp_resolver *resolver);

#endif
