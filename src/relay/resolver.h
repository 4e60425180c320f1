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
	pthread_mutex_t lock; /* of what follows; held for moments, and never while anybody is asked */
	struct usp_resolver_name **names;
	unsigned nr;
	bool is_running, has_thread;
	bool is_stale; /* there was no memory for a new list */
	pthread_t thread;
	int wake_fd;
	atomic_bool must_end, must_hurry;
};

int usp_resolver_init(struct usp_resolver *resolver, struct usp_relay *relay);
void usp_resolver_fini(struct usp_resolver *resolver);

/* The targets from now on. set blocks until all names are known; name does not, and names are known later. */
int usp_resolver_set(struct usp_resolver *resolver, const char *const *names, unsigned nr, unsigned *ret_failed,
		     const char **ret_why);
int usp_resolver_name(struct usp_resolver *resolver, const char *const *names, unsigned nr, unsigned *ret_failed,
		      const char **ret_why);

/* Do those whose addresses are known fit to the relay as it is now? 0, or -errno of usp_fit_target with a sentence. */
int usp_resolver_check(struct usp_resolver *resolver, const char **ret_why);

/* Look names up from now on, in a thread, if there are any: 0 or -errno. end does not wait for the name service. */
int usp_resolver_begin(struct usp_resolver *resolver);
void usp_resolver_end(struct usp_resolver *resolver);

/* A target has no address left that works: if it is a name, look it up soon. Does not block; from any thread. */
void usp_resolver_hurry(struct usp_resolver *resolver);

#endif
