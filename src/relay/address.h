/* SPDX-License-Identifier: MIT */
/* address - one address that clients are connected with, and how it has fared: shared by all lists of targets that name it. */
#ifndef USP_RELAY_ADDRESS_H
#define USP_RELAY_ADDRESS_H

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* All addresses of a relay that some list still names. */
struct usp_address_book {
	pthread_mutex_t lock;
	LIST_HEAD(, usp_address) addresses;
};

/* Its state is written by all workers. */
struct usp_address {
	struct addrinfo info; /* a list of one, whose address is at */
	struct sockaddr_storage at;
	unsigned turn; /* which of the equal ones in a list: a target that is named twice has two states */
	atomic_uint nr_connections;
	_Atomic(uint64_t) nr_connected, nr_failed;
	_Atomic(uint64_t) left_out_until_ns; /* 0: it works, as far as is known */
	atomic_int last_error;
	struct usp_address_book *book;
	unsigned nr_refs; /* as the link, under the lock of the book */
	LIST_ENTRY(usp_address) link;
};

void usp_address_book_init(struct usp_address_book *book);
void usp_address_book_fini(struct usp_address_book *book); /* when no list is left */

/* The one of the book that is equal, with all that is known of it, or a new one; NULL if memory is short. */
struct usp_address *usp_address_get(struct usp_address_book *book, const struct addrinfo *info, unsigned turn);
void usp_address_put(struct usp_address *address);

bool usp_address_is(const struct usp_address *address, const struct addrinfo *info);
bool usp_address_is_up(const struct usp_address *address, uint64_t now_ns);
bool usp_address_has_failed(const struct usp_address *address); /* and has not been connected with since */

/*
 * May a client try it now? After a failure one client does, when the time to leave it out is over; for all others it is left out
 * until that one has come to an end, or until_ns.
 */
bool usp_address_try(struct usp_address *address, uint64_t now_ns, uint64_t until_ns);

/* What became of an attempt. One that failed is left out until a moment; success ends that. */
void usp_address_failed(struct usp_address *address, int error, uint64_t until_ns);
void usp_address_connected(struct usp_address *address);

#endif
