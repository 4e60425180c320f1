/* SPDX-License-Identifier: MIT */
/*
 * address - one address that clients are connected with, and its state, which all lists of targets
 * share.
 */
#ifndef USP_RELAY_ADDRESS_H
#define USP_RELAY_ADDRESS_H

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* All addresses of a relay that a list still names. */
struct usp_address_book {
	pthread_mutex_t lock;
	LIST_HEAD(, usp_address) addresses;
};

/* An address. All workers write its state. */
struct usp_address {
	struct addrinfo info; /* a list with one address, stored in at */
	struct sockaddr_storage at;
	unsigned turn; /* tells equal addresses in one list apart: a target that is named twice has two states */
	atomic_uint nr_connections;
	_Atomic(uint64_t) nr_connected, nr_failed;
	_Atomic(uint64_t) left_out_until_ns; /* 0: it works, as far as is known */
	atomic_int last_error;
	struct usp_address_book *book;
	unsigned nr_refs; /* with the link, under the lock of the book */
	LIST_ENTRY(usp_address) link;
};

void usp_address_book_init(struct usp_address_book *book);
void usp_address_book_fini(struct usp_address_book *book); /* after the last list */

/* Return the equal address of the book, with its state, or a new one. NULL without memory. */
struct usp_address *usp_address_get(struct usp_address_book *book, const struct addrinfo *info, unsigned turn);
void usp_address_put(struct usp_address *address);

bool usp_address_is(const struct usp_address *address, const struct addrinfo *info);
bool usp_address_is_up(const struct usp_address *address, uint64_t now_ns);
bool usp_address_has_failed(const struct usp_address *address); /* and has not connected since */

/*
 * Tell whether a client may try the address now. A failed address is left out until its time is
 * over; then one client tries it. For all others it stays left out until that attempt ends, or
 * until until_ns.
 */
bool usp_address_try(struct usp_address *address, uint64_t now_ns, uint64_t until_ns);

/* Note the result of an attempt. A failed address is left out until until_ns; success ends that. */
void usp_address_failed(struct usp_address *address, int error, uint64_t until_ns);
void usp_address_connected(struct usp_address *address);

#endif
