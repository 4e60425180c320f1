/* SPDX-License-Identifier: MIT */
/*
 * handover - give each client to the worker that has the fewest.
 *
 *   worker that accepted it ──the client──────────► pipe ──► worker that has fewer
 *
 * A listening socket wakes any worker that waits for it, often the same one again. A thread with
 * most of the work is a limit although others are idle. To hand a client over wakes another thread,
 * so a small difference does not count.
 */
#include "relay/handover.h"

#include <fcntl.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "relay/client.h"
#include "relay/conn.h"
#include "relay/state.h"
#include "relay/worker.h"

#define HANDOVER_SHARE 8 /* a difference of up to one in so many does not count */

static unsigned handover_load(struct usp_worker *worker)
{
	return atomic_load_explicit(&worker->counters.connections, memory_order_relaxed);
}

static struct usp_worker *handover_least_busy(struct usp_relay *relay)
{
	struct usp_worker *least = &relay->workers[0];

	for (unsigned i = 1; i < relay->nr_workers; i++) {
		if (handover_load(&relay->workers[i]) < handover_load(least))
			least = &relay->workers[i];
	}
	return least;
}

bool usp_handover_give(struct usp_worker *worker, const struct usp_client *client)
{
	struct usp_worker *other = handover_least_busy(worker->relay);
	unsigned load = handover_load(other);

	if (handover_load(worker) <= load + load / HANDOVER_SHARE)
		return false;
	usp_worker_count(other, 1);
	if (usp_sys_write(other->handover.fds[1], client, sizeof(*client)) == sizeof(*client))
		return true;
	usp_worker_count(other, -1); /* its pipe is full */
	return false;
}

static bool handover_take(struct usp_worker *worker, struct usp_client *ret_client)
{
	return usp_sys_read(worker->handover.fds[0], ret_client, sizeof(*ret_client)) == sizeof(*ret_client);
}

static void handover_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_worker *worker = usp_container_of(watch, struct usp_worker, handover.watch);
	struct usp_client client;

	(void)events;
	while (handover_take(worker, &client))
		usp_client_begin(worker, &client);
	if (atomic_load(&worker->relay->state) != USP_RELAY_RUNNING)
		usp_relay_wake(worker->relay); /* to end what should have ended, or to see that no work is left */
}

int usp_handover_init(struct usp_worker *worker)
{
	worker->handover.watch.ready = handover_ready;
	return worker->relay->params.nr_workers > 1 ? usp_sys_pipe(worker->handover.fds, O_NONBLOCK | O_CLOEXEC) : 0;
}

int usp_handover_start(struct usp_worker *worker)
{
	struct usp_handover *handover = &worker->handover;

	return handover->fds[0] < 0 ? 0 : usp_loop_watch(worker->loop, handover->fds[0], EPOLLIN, &handover->watch);
}

void usp_handover_fini(struct usp_worker *worker)
{
	struct usp_client client;

	if (worker->handover.fds[0] < 0)
		return;
	while (handover_take(worker, &client))
		usp_sys_close(client.fd);
	usp_sys_close(worker->handover.fds[0]);
	usp_sys_close(worker->handover.fds[1]);
}
