/* SPDX-License-Identifier: MIT */
/* target - where connections go: a list of targets with their addresses, and the choice of the next one. */
#include "relay/target.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

/* --- Life ----------------------------------------------------------------------------------------- */

struct usp_targets *usp_targets_get(struct usp_targets *targets)
{
	atomic_fetch_add_explicit(&targets->refs, 1, memory_order_relaxed);
	return targets;
}

static void target_fini(struct usp_target *target)
{
	for (unsigned i = 0; i < target->nr_addresses; i++)
		usp_address_put(target->addresses[i]);
	usp_free(target->addresses);
	usp_free(target->name);
}

void usp_targets_put(struct usp_targets *targets)
{
	if (!targets || atomic_fetch_sub_explicit(&targets->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < targets->nr; i++)
		target_fini(&targets->target[i]);
	usp_free(targets);
}

static bool target_has(const struct usp_target *target, const struct addrinfo *info)
{
	for (unsigned i = 0; i < target->nr_addresses; i++) {
		if (usp_address_is(target->addresses[i], info))
			return true;
	}
	return false;
}

/* Count the targets before index that have the same address. */
static unsigned targets_turn(const struct usp_targets *targets, unsigned index, const struct addrinfo *info)
{
	unsigned turn = 0;

	for (unsigned i = 0; i < index; i++)
		turn += target_has(&targets->target[i], info);
	return turn;
}

static int targets_fill(struct usp_targets *targets, unsigned index, const struct usp_target_source *source,
			struct usp_address_book *book)
{
	struct usp_target *target = &targets->target[index];
	unsigned nr = 0;

	for (const struct addrinfo *info = source->addresses; info; info = info->ai_next)
		nr++;
	target->lookup_error = source->lookup_error;
	target->name = usp_alloc_string(source->name);
	target->addresses = usp_alloc_array(nr + 1, sizeof(target->addresses[0]));
	if (!target->name || !target->addresses)
		return -ENOMEM;
	for (const struct addrinfo *info = source->addresses; info; info = info->ai_next) {
		struct usp_address *address;

		if (target_has(target, info))
			continue;
		address = usp_address_get(book, info, targets_turn(targets, index, info));
		if (!address)
			return -ENOMEM;
		target->addresses[target->nr_addresses++] = address;
	}
	return 0;
}

static bool targets_has_down(const struct usp_targets *targets, const char *name)
{
	for (unsigned i = 0; i < targets->nr; i++) {
		if (atomic_load(&targets->target[i].is_down) && strcmp(targets->target[i].name, name) == 0)
			return true;
	}
	return false;
}

int usp_targets_new(const struct usp_target_source *const *sources, unsigned nr, struct usp_address_book *book,
		    const struct usp_targets *before, struct usp_targets **ret_targets)
{
	struct usp_targets *targets = usp_alloc(sizeof(*targets) + nr * sizeof(targets->target[0]));
	int ret = 0;

	if (!targets)
		return -ENOMEM;
	atomic_store(&targets->refs, 1);
	atomic_store(&targets->turn, before ? atomic_load(&before->turn) : 0);
	for (unsigned i = 0; i < nr && ret == 0; i++) {
		targets->nr = i + 1;
		targets->is_pending |= sources[i]->is_pending;
		ret = targets_fill(targets, i, sources[i], book);
		atomic_store(&targets->target[i].is_down, before && targets_has_down(before, sources[i]->name));
	}
	if (ret < 0)
		usp_targets_put(targets);
	else
		*ret_targets = targets;
	return ret;
}

/* --- Choosing ------------------------------------------------------------------------------------- */

bool usp_target_is_up(const struct usp_target *target, uint64_t now_ns)
{
	for (unsigned i = 0; i < target->nr_addresses; i++) {
		if (usp_address_is_up(target->addresses[i], now_ns))
			return true;
	}
	return false;
}

unsigned usp_target_nr_connections(const struct usp_target *target)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < target->nr_addresses; i++)
		nr += atomic_load_explicit(&target->addresses[i]->nr_connections, memory_order_relaxed);
	return nr;
}

struct usp_address *usp_target_address(const struct usp_target *target, const struct usp_address *after, bool is_forced,
				       uint64_t now_ns, uint64_t until_ns)
{
	bool is_behind = !after;

	for (unsigned i = 0; i < target->nr_addresses; i++) {
		struct usp_address *address = target->addresses[i];

		if (is_behind && (is_forced || usp_address_try(address, now_ns, until_ns)))
			return address;
		is_behind |= address == after;
	}
	return NULL;
}

/*
 * Return the first target from index on that is up. If all are left out, the first one with an
 * address: it may work again by now.
 */
static struct usp_target *targets_up_from(struct usp_targets *targets, unsigned index, uint64_t now_ns)
{
	struct usp_target *known = NULL;

	for (unsigned i = 0; i < targets->nr; i++) {
		struct usp_target *target = &targets->target[(index + i) % targets->nr];

		if (usp_target_is_up(target, now_ns))
			return target;
		if (!known && target->nr_addresses)
			known = target;
	}
	return known;
}

static struct usp_target *targets_least(struct usp_targets *targets, uint64_t now_ns)
{
	unsigned turn = atomic_fetch_add_explicit(&targets->turn, 1, memory_order_relaxed);
	struct usp_target *best = targets_up_from(targets, turn, now_ns);

	for (unsigned i = 0; i < targets->nr; i++) {
		struct usp_target *target = &targets->target[(turn + i) % targets->nr];

		if (usp_target_is_up(target, now_ns) &&
		    usp_target_nr_connections(target) < usp_target_nr_connections(best))
			best = target;
	}
	return best;
}

struct usp_target *usp_targets_first(struct usp_targets *targets, enum usp_balance balance, uint32_t hash,
				     uint64_t now_ns)
{
	if (!targets->nr)
		return NULL;
	switch (balance) {
	case USP_BALANCE_LEASTCONN:
		return targets_least(targets, now_ns);
	case USP_BALANCE_SOURCE:
		return targets_up_from(targets, hash % targets->nr, now_ns);
	default:
		return targets_up_from(targets, atomic_fetch_add_explicit(&targets->turn, 1, memory_order_relaxed),
				       now_ns);
	}
}

struct usp_target *usp_targets_next(struct usp_targets *targets, const struct usp_target *failed,
				    const struct usp_target *first, uint64_t now_ns)
{
	unsigned index = (unsigned)(failed - targets->target);

	for (unsigned i = 1; i < targets->nr; i++) {
		struct usp_target *target = &targets->target[(index + i) % targets->nr];

		if (target == first)
			return NULL;
		if (usp_target_is_up(target, now_ns))
			return target;
	}
	return NULL;
}

/* --- Reports -------------------------------------------------------------------------------------- */

static bool target_has_failed(const struct usp_target *target)
{
	for (unsigned i = 0; i < target->nr_addresses; i++) {
		if (!usp_address_has_failed(target->addresses[i]))
			return false;
	}
	return true;
}

bool usp_target_failed(struct usp_target *target)
{
	return target_has_failed(target) && !atomic_exchange(&target->is_down, true);
}

bool usp_target_connected(struct usp_target *target)
{
	return atomic_load_explicit(&target->is_down, memory_order_relaxed) && atomic_exchange(&target->is_down, false);
}
