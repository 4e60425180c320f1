/* SPDX-License-Identifier: MIT */
/*
 * worker - one thread of a relay: its loop, its connections, its counters.
 *
 * Workers share only the listening sockets and the targets. Each client goes to the worker that has
 * the fewest, and stays there. The relay wakes a worker through its loop when it begins to drain,
 * stops, or gets new targets.
 */
#include "relay/worker.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "lanes/plan.h"
#include "mm/gift.h"
#include "relay/conn.h"

#define WORKER_TRIM_AFTER 256 /* connections that came to rest, which needed a few hundred KiB */
#define WORKER_TRIM_NS 1000000000

/* --- What connections need ------------------------------------------------------------------------------- */

/*
 * The error of a client that has gone again is not a shortage. (ENOSPC: the limit of what may be
 * watched.)
 */
bool usp_worker_is_short(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM || error == -ENOSPC;
}

/* Tell whether flows may use the ring. A flow with a limit goes by what its pump allows. */
static bool worker_may_uring(const struct usp_relay *relay)
{
	const struct usp_relay_params *params = &relay->params;

	return !params->no_uring && params->lane == USP_LANE_AUTO && !params->rate && !relay->shared_rate.per_second;
}

struct usp_uring *usp_worker_uring(struct usp_worker *worker)
{
	if (!worker->has_tried_uring && worker_may_uring(worker->relay))
		usp_uring_new(worker->loop, &worker->uring);
	worker->has_tried_uring = true;
	return worker->uring;
}

static void worker_trim_fired(struct usp_timer *timer)
{
	struct usp_worker *worker = usp_container_of(timer, struct usp_worker, trim_timer);

	worker->nr_rested = 0;
	usp_alloc_trim();
}

void usp_worker_rested(struct usp_worker *worker)
{
	if (++worker->nr_rested == WORKER_TRIM_AFTER)
		usp_loop_arm(worker->loop, &worker->trim_timer, usp_loop_now(worker->loop) + WORKER_TRIM_NS);
}

void usp_worker_moved(struct usp_worker *worker)
{
	bool has_bulk = atomic_load_explicit(&worker->counters.kernel_flows, memory_order_relaxed);

	usp_sched_look(&worker->sched, usp_loop_now(worker->loop), has_bulk);
	atomic_store_explicit(&worker->counters.is_batch, worker->sched.is_on, memory_order_relaxed);
}

struct usp_targets *usp_worker_targets(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;
	unsigned version = atomic_load_explicit(&relay->targets_version, memory_order_acquire);

	if (version != worker->targets_version) {
		pthread_mutex_lock(&relay->lock);
		usp_targets_put(worker->targets);
		worker->targets = relay->targets ? usp_targets_get(relay->targets) : NULL;
		worker->targets_version = version;
		pthread_mutex_unlock(&relay->lock);
	}
	return worker->targets;
}

const struct usp_rules *usp_worker_rules(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;
	unsigned version = atomic_load_explicit(&relay->rules_version, memory_order_acquire);

	if (version != worker->rules_version) {
		pthread_mutex_lock(&relay->lock);
		usp_rules_put(worker->rules);
		worker->rules = relay->rules ? usp_rules_get(relay->rules) : NULL;
		worker->rules_version = version;
		pthread_mutex_unlock(&relay->lock);
	}
	return worker->rules;
}

/* --- Its connections ------------------------------------------------------------------------------------- */

void usp_worker_count(struct usp_worker *worker, int change)
{
	atomic_fetch_add_explicit(&worker->counters.connections, (unsigned)change, memory_order_relaxed);
	atomic_fetch_add_explicit(&worker->relay->nr_connections, (unsigned)change, memory_order_acq_rel);
}

void usp_worker_add(struct usp_worker *worker, struct usp_conn *conn)
{
	conn->next = worker->conns;
	conn->link = &worker->conns;
	if (conn->next)
		conn->next->link = &conn->next;
	worker->conns = conn;
}

void usp_worker_remove(struct usp_worker *worker, struct usp_conn *conn)
{
	struct usp_relay *relay = worker->relay;

	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	atomic_store_explicit(&relay->busy_ns, usp_loop_now(worker->loop), memory_order_relaxed);
	usp_worker_count(worker, -1);
	worker->has_room(worker);
	if (!worker->conns && atomic_load(&relay->state) != USP_RELAY_RUNNING) {
		usp_loop_wake(worker->loop);
		usp_loop_wake(relay->workers[0].loop);
	}
}

/* --- Life ------------------------------------------------------------------------------------------------ */

/* Make the scratch memory. Not from the pool of folios, which begins with a huge page. */
static int worker_make_scratch(struct usp_worker *worker)
{
	void *base = usp_alloc(USP_PLAN_ADAPT_BYTES);
	struct usp_gift *gift;
	int ret = base ? usp_gift_new(base, USP_PLAN_ADAPT_BYTES, usp_free, base, &gift) : -ENOMEM;

	if (ret < 0)
		usp_free(base);
	else
		worker->scratch = &gift->folio;
	return ret;
}

int usp_worker_init(struct usp_worker *worker, struct usp_relay *relay)
{
	int ret;

	worker->relay = relay;
	worker->handover.fds[0] = worker->handover.fds[1] = -1;
	worker->trim_timer.fired = worker_trim_fired;
	usp_slab_init(&worker->conn_slab, sizeof(struct usp_conn));
	ret = usp_loop_new(&worker->loop);
	return ret < 0 ? ret : worker_make_scratch(worker);
}

void usp_worker_fini(struct usp_worker *worker)
{
	if (worker->scratch)
		usp_folio_put(worker->scratch);
	usp_targets_put(worker->targets);
	usp_rules_put(worker->rules);
	usp_loop_free(worker->loop);
	usp_slab_fini(&worker->conn_slab);
}
