/* SPDX-License-Identifier: MIT */
/*
 * address - one address that clients are connected with, and its state, which all lists of targets
 * share.
 */
#include "relay/address.h"

#include <string.h>

#include "base/alloc.h"

/* --- The book --------------------------------------------------------------------------------------- */

void usp_address_book_init(struct usp_address_book *book)
{
	pthread_mutex_init(&book->lock, NULL);
	LIST_INIT(&book->addresses);
}

void usp_address_book_fini(struct usp_address_book *book)
{
	pthread_mutex_destroy(&book->lock);
}

bool usp_address_is(const struct usp_address *address, const struct addrinfo *info)
{
	return address->info.ai_addrlen == info->ai_addrlen &&
	       memcmp(address->info.ai_addr, info->ai_addr, info->ai_addrlen) == 0;
}

static struct usp_address *address_find(struct usp_address_book *book, const struct addrinfo *info, unsigned turn)
{
	struct usp_address *address;

	LIST_FOREACH(address, &book->addresses, link)
	{
		if (address->turn == turn && usp_address_is(address, info))
			return address;
	}
	return NULL;
}

static struct usp_address *address_new(struct usp_address_book *book, const struct addrinfo *info, unsigned turn)
{
	struct usp_address *address = usp_alloc(sizeof(*address));

	if (!address)
		return NULL;
	memcpy(&address->at, info->ai_addr, info->ai_addrlen);
	address->info = (struct addrinfo){
		.ai_family = info->ai_family,
		.ai_socktype = info->ai_socktype,
		.ai_addr = (struct sockaddr *)&address->at,
		.ai_addrlen = info->ai_addrlen,
	};
	address->turn = turn;
	address->book = book;
	LIST_INSERT_HEAD(&book->addresses, address, link);
	return address;
}

struct usp_address *usp_address_get(struct usp_address_book *book, const struct addrinfo *info, unsigned turn)
{
	struct usp_address *address;

	pthread_mutex_lock(&book->lock);
	address = address_find(book, info, turn);
	if (!address)
		address = address_new(book, info, turn);
	if (address)
		address->nr_refs++;
	pthread_mutex_unlock(&book->lock);
	return address;
}

void usp_address_put(struct usp_address *address)
{
	struct usp_address_book *book = address->book;
	bool is_last;

	pthread_mutex_lock(&book->lock);
	is_last = --address->nr_refs == 0;
	if (is_last)
		LIST_REMOVE(address, link);
	pthread_mutex_unlock(&book->lock);
	if (is_last)
		usp_free(address);
}

/* --- How it fares ----------------------------------------------------------------------------------- */

bool usp_address_is_up(const struct usp_address *address, uint64_t now_ns)
{
	return atomic_load_explicit(&address->left_out_until_ns, memory_order_relaxed) <= now_ns;
}

bool usp_address_has_failed(const struct usp_address *address)
{
	return atomic_load(&address->left_out_until_ns) != 0;
}

bool usp_address_try(struct usp_address *address, uint64_t now_ns, uint64_t until_ns)
{
	uint64_t left_out_until_ns = atomic_load_explicit(&address->left_out_until_ns, memory_order_relaxed);

	if (left_out_until_ns == 0)
		return true;
	return left_out_until_ns <= now_ns &&
	       atomic_compare_exchange_strong(&address->left_out_until_ns, &left_out_until_ns, until_ns);
}

/*
 * Note a failure. The order of memory is that of usp_address_has_failed: if all addresses of a
 * target fail at once, the last one to fail sees that all have.
 */
void usp_address_failed(struct usp_address *address, int error, uint64_t until_ns)
{
	atomic_fetch_add_explicit(&address->nr_failed, 1, memory_order_relaxed);
	atomic_store_explicit(&address->last_error, error, memory_order_relaxed);
	atomic_store(&address->left_out_until_ns, until_ns);
}

void usp_address_connected(struct usp_address *address)
{
	atomic_fetch_add_explicit(&address->nr_connected, 1, memory_order_relaxed);
	if (atomic_load_explicit(&address->left_out_until_ns, memory_order_relaxed))
		atomic_store_explicit(&address->left_out_until_ns, 0, memory_order_relaxed);
}
