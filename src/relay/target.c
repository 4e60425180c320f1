/* SPDX-License-Identifier: MIT */
/* target - where connections go: a set of targets, which of them is next, and how each has fared. */
#include "relay/target.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "relay/place.h"

/* --- Life ----------------------------------------------------------------------------------------- */

struct usp_targets *usp_targets_get(struct usp_targets *targets)
{
	atomic_fetch_add_explicit(&targets->refs, 1, memory_order_relaxed);
	return targets;
}

void usp_targets_put(struct usp_targets *targets)
{
	if (!targets || atomic_fetch_sub_explicit(&targets->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < targets->nr; i++) {
		usp_place_free(targets->target[i].addresses);
		usp_free(targets->target[i].name);
	}
	usp_free(targets);
}

static int target_init(struct usp_target *target, const char *name, const char **ret_why)
{
	target->name = usp_alloc_string(name);
	return target->name ? usp_place_resolve(name, false, &target->addresses, ret_why) : -ENOMEM;
}

int usp_targets_new(const char *const *names, unsigned nr, struct usp_targets **ret_targets, unsigned *ret_failed,
		    const char **ret_why)
{
	struct usp_targets *targets = usp_alloc(sizeof(*targets) + nr * sizeof(targets->target[0]));
	int ret = targets ? 0 : -ENOMEM;

	for (unsigned i = 0; i < nr && ret == 0; i++) {
		targets->nr = i + 1;
		*ret_failed = i;
		ret = target_init(&targets->target[i], names[i], ret_why);
	}
	if (ret < 0) {
		if (targets)
			atomic_store(&targets->refs, 1);
		usp_targets_put(targets);
		return ret;
	}
	atomic_store(&targets->refs, 1);
	*ret_targets = targets;
	return 0;
}

/* --- Choosing ------------------------------------------------------------------------------------- */

static bool target_is_up(const struct usp_target *target, uint64_t now_ns)
{
	return atomic_load_explicit(&target->left_out_until_ns, memory_order_relaxed) <= now_ns;
}

/* The first from index on that is up; if all are left out, the one at index: it may be well again by now. */
static struct usp_target *targets_up_from(struct usp_targets *targets, unsigned index, uint64_t now_ns)
{
	for (unsigned i = 0; i < targets->nr; i++) {
		struct usp_target *target = &targets->target[(index + i) % targets->nr];

		if (target_is_up(target, now_ns))
			return target;
	}
	return &targets->target[index % targets->nr];
}

static struct usp_target *targets_least(struct usp_targets *targets, uint64_t now_ns)
{
	unsigned turn = atomic_fetch_add_explicit(&targets->turn, 1, memory_order_relaxed);
	struct usp_target *best = targets_up_from(targets, turn, now_ns);

	for (unsigned i = 0; i < targets->nr; i++) {
		struct usp_target *target = &targets->target[(turn + i) % targets->nr];

		if (target_is_up(target, now_ns) &&
		    atomic_load_explicit(&target->nr_connections, memory_order_relaxed) <
			    atomic_load_explicit(&best->nr_connections, memory_order_relaxed))
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
		if (target_is_up(target, now_ns))
			return target;
	}
	return NULL;
}

/* --- How it fared ----------------------------------------------------------------------------------- */

void usp_target_failed(struct usp_target *target, int error, uint64_t until_ns)
{
	atomic_fetch_add_explicit(&target->nr_failed, 1, memory_order_relaxed);
	atomic_store_explicit(&target->last_error, error, memory_order_relaxed);
	atomic_store_explicit(&target->left_out_until_ns, until_ns, memory_order_relaxed);
}

void usp_target_connected(struct usp_target *target)
{
	atomic_fetch_add_explicit(&target->nr_connected, 1, memory_order_relaxed);
	if (atomic_load_explicit(&target->left_out_until_ns, memory_order_relaxed))
		atomic_store_explicit(&target->left_out_until_ns, 0, memory_order_relaxed);
}
