/* SPDX-License-Identifier: MIT */
/* run - the thread of a worker, from its first client to the end of the last one. */
#include "relay/run.h"

#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "event/uring.h"
#include "metrics/server.h"
#include "relay/accept.h"
#include "relay/conn.h"
#include "relay/handover.h"
#include "relay/state.h"
#include "relay/worker.h"

#define RUN_TICK_NS 100000000

/* --- The end --------------------------------------------------------------------------------------------- */

/*
 * Tell whether this worker is done. As long as a worker accepts it may hand clients over. The first
 * worker waits for the connections of all.
 */
static bool run_is_done(const struct usp_worker *worker)
{
	const struct usp_relay *relay = worker->relay;

	if (atomic_load(&relay->state) == USP_RELAY_RUNNING || atomic_load(&relay->nr_accepting))
		return false;
	return !atomic_load(worker == &relay->workers[0] ? &relay->nr_connections : &worker->counters.connections);
}

/* Free the address of the metrics for a successor. A name whose lock is held keeps its socket, and so its inode number. */
static void run_shut_metrics(struct usp_relay *relay)
{
	if (relay->metrics)
		usp_metrics_shut(relay->metrics);
	for (unsigned i = 0; i < relay->nr_metrics_doors; i++) {
		struct usp_door *door = &relay->metrics_doors[i];

		if (door->fd < 0)
			continue;
		usp_door_shut(door);
		if (!door->name.is_bound)
			usp_door_close(door);
	}
}

/*
 * Let in the clients in the queue of each listener, then refuse new ones, so that they go elsewhere
 * instead of waiting for nothing. Only the first worker does this. Listeners made by another
 * program stay open: their clients wait for the next server.
 */
static void run_close_doors(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;

	for (unsigned i = 0; i < relay->nr_listeners; i++) {
		if (!relay->listeners[i].process)
			continue;
		if (atomic_load(&relay->state) == USP_RELAY_DRAINING)
			usp_accept_rest(&worker->listeners[i]);
		usp_door_shut(&relay->listeners[i]);
	}
	run_shut_metrics(relay);
	usp_relay_call_keeper(relay);
}

static void run_stop_conns(struct usp_worker *worker)
{
	while (worker->conns) {
		if (!worker->conns->story.why)
			worker->conns->story.why = USP_WHY_STOPPED;
		usp_conn_abort(worker->conns);
	}
}

static void run_woken(void *arg)
{
	struct usp_worker *worker = arg;
	int state = atomic_load(&worker->relay->state);

	atomic_store(&worker->nr_answered, atomic_load(&worker->relay->nr_asked));
	if (state != USP_RELAY_RUNNING)
		usp_accept_stop(worker);
	if (state != USP_RELAY_RUNNING && worker == &worker->relay->workers[0])
		run_close_doors(worker);
	if (state == USP_RELAY_STOPPING)
		run_stop_conns(worker);
	if (run_is_done(worker))
		usp_loop_stop(worker->loop);
}

/* End a run that has been idle, or draining, for long enough. Only in the first worker. */
static void run_ticked(struct usp_timer *timer)
{
	struct usp_worker *worker = usp_container_of(timer, struct usp_worker, tick);
	struct usp_relay *relay = worker->relay;
	uint64_t now_ns = usp_loop_now(worker->loop);
	uint64_t exit_ns = relay->params.exit_idle_ns, drain_ns = relay->params.drain_timeout_ns;
	int state = atomic_load(&relay->state);

	if (exit_ns && !atomic_load(&relay->nr_connections) && now_ns - atomic_load(&relay->busy_ns) >= exit_ns)
		usp_relay_drain(relay);
	if (state == USP_RELAY_DRAINING && !relay->drain_ns)
		relay->drain_ns = now_ns;
	if (state == USP_RELAY_DRAINING && drain_ns && now_ns - relay->drain_ns >= drain_ns)
		usp_relay_stop(relay);
	usp_loop_arm(worker->loop, timer, now_ns + RUN_TICK_NS);
}

/* --- The run --------------------------------------------------------------------------------------------- */

static int run_prepare(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;
	int ret = usp_accept_begin(worker);

	usp_loop_on_wake(worker->loop, run_woken, worker);
	worker->tick.fired = run_ticked;
	if (ret == 0 && worker == &relay->workers[0] && (relay->params.exit_idle_ns || relay->params.drain_timeout_ns))
		ret = usp_loop_arm(worker->loop, &worker->tick, usp_loop_now(worker->loop));
	return ret < 0 ? ret : usp_accept_start(worker);
}

int usp_run_worker(struct usp_worker *worker)
{
	struct usp_sigpipe_guard guard;
	int ret = run_prepare(worker);

	if (!worker->relay->params.no_batch)
		usp_sched_begin(&worker->sched, usp_loop_now(worker->loop));
	usp_sigpipe_begin(&guard);   /* once for all splices */
	usp_loop_wake(worker->loop); /* to see a drain or stop that came before */
	atomic_store(&worker->nr_answered, atomic_load(&worker->relay->nr_asked));
	atomic_store(&worker->is_running, true);
	if (ret == 0)
		ret = usp_loop_run(worker->loop);
	atomic_store(&worker->is_running, false);
	usp_accept_stop(worker);
	run_stop_conns(worker);
	usp_loop_finish(worker->loop);
	usp_uring_free(worker->uring); /* in the thread that made it */
	worker->uring = NULL;
	usp_sched_end(&worker->sched);
	atomic_store_explicit(&worker->counters.is_batch, 0, memory_order_relaxed);
	usp_sigpipe_end(&guard);
	return ret;
}
