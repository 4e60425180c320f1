/* SPDX-License-Identifier: MIT */
/* state - what all workers of a relay share, and how they hear that it changed. */
#include "relay/state.h"

#include "base/sys.h"
#include "relay/target.h"
#include "relay/worker.h"

void usp_relay_wake(struct usp_relay *relay)
{
	for (unsigned i = 0; i < relay->nr_workers; i++)
		usp_loop_wake(relay->workers[i].loop);
}

void usp_relay_drain(struct usp_relay *relay)
{
	int running = USP_RELAY_RUNNING;

	atomic_compare_exchange_strong(&relay->state, &running, USP_RELAY_DRAINING);
	usp_relay_wake(relay);
}

void usp_relay_stop(struct usp_relay *relay)
{
	atomic_store(&relay->state, USP_RELAY_STOPPING);
	usp_relay_wake(relay);
}

void usp_relay_publish(struct usp_relay *relay, struct usp_targets *targets)
{
	struct usp_targets *old;

	pthread_mutex_lock(&relay->lock);
	old = relay->targets;
	relay->targets = targets;
	atomic_fetch_add_explicit(&relay->targets_version, 1, memory_order_release);
	pthread_mutex_unlock(&relay->lock);
	usp_targets_put(old);
}

void usp_relay_call_keeper(struct usp_relay *relay)
{
	if (relay->keeper_fd >= 0)
		usp_sys_close(relay->keeper_fd);
	relay->keeper_fd = -1;
}
