/* SPDX-License-Identifier: MIT */
/* status - what a relay did, and how its targets are. */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "lanes/kpool.h"
#include "relay/account.h"
#include "relay/worker.h"
#include "splice/file.h"
#include "splice/zerocopy.h"

void usp_relay_status(struct usp_relay *relay, struct usp_relay_status *ret_status)
{
	struct usp_relay_status status = {
		.is_draining = atomic_load(&relay->state) != USP_RELAY_RUNNING,
		.nr_sends_pending = usp_zerocopy_nr_pending(),
	};
	for (unsigned i = 0; i < relay->nr_workers; i++)
		usp_account_sum(&relay->workers[i].counters, &status);
	for (unsigned i = 0; i < usp_array_len(status.hops); i++) {
		const struct usp_relay_hop *from = &status.hops[i][0], *to = &status.hops[i][1];
		uint64_t sums[USP_NR_WAYS];

		for (unsigned way = 0; way < USP_NR_WAYS; way++)
			sums[way] = from->bytes[way] + to->bytes[way];
		usp_ways_judge(status.delivered[i], sums, status.ways[i]);
	}
	usp_kpool_usage(&status.nr_kpipes, &status.nr_kpipes_idle, &status.nr_kpipes_destroyed);
	pthread_mutex_lock(&relay->lock);
	status.nr_targets = relay->targets ? relay->targets->nr : 0;
	pthread_mutex_unlock(&relay->lock);
	usp_sized_give(ret_status, &status, sizeof(status));
}

/* Add one address of a target to the target's status. */
static void relay_add_address(const struct usp_address *address, uint64_t now_ns,
			      struct usp_relay_target_status *status)
{
	uint64_t until_ns = atomic_load(&address->left_out_until_ns), ns = until_ns > now_ns ? until_ns - now_ns : 0;
	int error = atomic_load(&address->last_error);

	status->nr_connections += atomic_load(&address->nr_connections);
	status->nr_connected += atomic_load(&address->nr_connected);
	status->nr_failed += atomic_load(&address->nr_failed);
	status->nr_addresses_up += ns == 0;
	if (status->nr_addresses++ == 0 || ns < status->left_out_ns)
		status->left_out_ns = ns;
	if (error)
		status->last_error = error;
}

static void relay_fill_target(const struct usp_target *target, struct usp_relay_target_status *ret_status)
{
	uint64_t now_ns = usp_sys_now_ns();

	*ret_status = (struct usp_relay_target_status){.last_error = target->lookup_error};
	for (unsigned i = 0; i < target->nr_addresses; i++)
		relay_add_address(target->addresses[i], now_ns, ret_status);
	strncpy(ret_status->name, target->name, sizeof(ret_status->name) - 1);
}

int usp_relay_target_status(struct usp_relay *relay, unsigned index, struct usp_relay_target_status *ret_status)
{
	struct usp_relay_target_status status;
	int ret = -EINVAL;

	pthread_mutex_lock(&relay->lock);
	if (relay->targets && index < relay->targets->nr) {
		relay_fill_target(&relay->targets->target[index], &status);
		ret = 0;
	}
	pthread_mutex_unlock(&relay->lock);
	if (ret == 0)
		usp_sized_give(ret_status, &status, sizeof(status));
	return ret;
}
