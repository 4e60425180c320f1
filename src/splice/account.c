/* SPDX-License-Identifier: MIT */
/* account - the ledger of a file: how many bytes crossed each of its sides, which way, and why. */

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "splice/file.h"

struct usp_side *usp_file_side(const struct usp_file *file, unsigned side)
{
	if (file->traits & USP_FILE_SIDE_BELOW)
		file = file->below;
	return (struct usp_side *)&file->sides[side & USP_READ ? 0 : 1];
}

void usp_file_account(struct usp_file *file, unsigned side, enum usp_way way, size_t len, const char *reason)
{
	struct usp_account *account = &usp_file_side(file, side)->account;

	atomic_fetch_add_explicit(usp_u64(&account->bytes[way]), len, memory_order_relaxed);
	atomic_fetch_add_explicit(usp_u64(&account->nr_calls), 1, memory_order_relaxed);
	atomic_store_explicit(usp_text_of(&account->reason[way]), reason, memory_order_relaxed);
}

void usp_file_unaccount(struct usp_file *file, unsigned side, size_t len)
{
	struct usp_account *account = &usp_file_side(file, side)->account;

	for (unsigned way = USP_NR_WAYS; way-- > 0;) {
		size_t there = atomic_load(usp_u64(&account->bytes[way]));

		atomic_fetch_sub(usp_u64(&account->bytes[way]), usp_min(there, len));
		len -= usp_min(there, len);
	}
}

void usp_file_reaccount(struct usp_file *file, unsigned side, size_t len, const char *reason)
{
	struct usp_account *account = &usp_file_side(file, side)->account;

	atomic_fetch_sub(usp_u64(&account->bytes[USP_COPIED]), len);
	usp_file_account(file, side, USP_REWRITTEN, len, reason);
}

/*
 * Return how many datagrams came to a socket of ours and found no room. A socket that others have was told of some before
 * we came.
 */
static uint64_t account_lost(const struct usp_file *file, unsigned side)
{
	bool may_lose = side & USP_READ && file->mode & USP_READ && file->traits & USP_FILE_DATAGRAM &&
			!(file->traits & USP_FILE_SHARED) && file->fd >= 0;
	int64_t nr = may_lose ? usp_sys_dropped(file->fd) : 0;

	return nr > 0 ? (uint64_t)nr : 0;
}

void usp_file_hop(const struct usp_file *file, unsigned side, struct usp_hop *ret_hop)
{
	const struct usp_side *of = usp_file_side(file, side);
	const struct usp_account *account = &of->account;
	struct usp_hop hop = {.lane = of->lane ? of->lane->name : "user"};

	hop.nr_calls = atomic_load_explicit(usp_u64(&account->nr_calls), memory_order_relaxed);
	hop.holes = atomic_load_explicit(usp_u64(&account->holes), memory_order_relaxed);
	hop.lost = account_lost(file, side);
	for (unsigned way = 0; way < USP_NR_WAYS; way++) {
		hop.bytes[way] = atomic_load_explicit(usp_u64(&account->bytes[way]), memory_order_relaxed);
		hop.reason[way] = atomic_load_explicit(usp_text_of(&account->reason[way]), memory_order_relaxed);
	}
	usp_sized_give(ret_hop, &hop, sizeof(hop));
}

void usp_file_take_account(struct usp_file *file, unsigned side, struct usp_hop *ret_hop)
{
	struct usp_account *account = &usp_file_side(file, side)->account;

	*ret_hop = (struct usp_hop){.nr_calls = 0};
	if (!atomic_load_explicit(usp_u64(&account->nr_calls), memory_order_relaxed))
		return;
	ret_hop->nr_calls = atomic_exchange_explicit(usp_u64(&account->nr_calls), 0, memory_order_relaxed);
	for (unsigned way = 0; way < USP_NR_WAYS; way++) {
		if (!atomic_load_explicit(usp_u64(&account->bytes[way]), memory_order_relaxed))
			continue;
		ret_hop->bytes[way] = atomic_exchange_explicit(usp_u64(&account->bytes[way]), 0, memory_order_relaxed);
		ret_hop->reason[way] = atomic_load_explicit(usp_text_of(&account->reason[way]), memory_order_relaxed);
	}
}

void usp_ways_judge(uint64_t delivered, const uint64_t sums[USP_NR_WAYS], uint64_t ret_ways[USP_NR_WAYS])
{
	static const enum usp_way worst_first[] = {USP_COPIED, USP_UNKNOWN, USP_REWRITTEN};
	uint64_t left = delivered;

	for (unsigned i = 0; i < usp_array_len(worst_first); i++) {
		ret_ways[worst_first[i]] = usp_min(sums[worst_first[i]], left);
		left -= ret_ways[worst_first[i]];
	}
	ret_ways[USP_BY_REFERENCE] = left;
}
