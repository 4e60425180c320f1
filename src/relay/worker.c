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
#include "base/sys.h"
#include "lanes/plan.h"
#include "mm/gift.h"
#include "relay/place.h"

#define WORKER_ACCEPTS_MAX 64	 /* in one round, so that connections that flow get their turn */
#define WORKER_PAUSE_NS 50000000 /* without descriptors, memory or room */
#define WORKER_SPARE_FDS 4
#define WORKER_TRIM_AFTER 256 /* connections that came to rest, which needed a few hundred KiB */
#define WORKER_TRIM_NS 1000000000
#define WORKER_TICK_NS 100000000

/* --- Accepting --------------------------------------------------------------------------------------- */

static void worker_leave_door(struct usp_worker *worker)
{
	worker->is_accepting = false;
	atomic_fetch_sub(&worker->relay->nr_accepting, 1);
	if (atomic_load(&worker->relay->state) != USP_RELAY_RUNNING)
		usp_relay_wake(worker->relay);
}

static void worker_stop_accepting(struct usp_worker *worker)
{
	if (!worker->is_accepting)
		return;
	for (unsigned i = 0; i < worker->relay->nr_listeners; i++)
		usp_loop_unwatch(worker->loop, worker->listeners[i].fd);
	worker_leave_door(worker);
}

/* Watch the listeners, so that one client wakes one worker. */
static int worker_start_accepting(struct usp_worker *worker)
{
	int ret = 0;

	if (worker->is_accepting || atomic_load(&worker->relay->state) != USP_RELAY_RUNNING)
		return 0;
	worker->is_accepting = true;
	atomic_fetch_add(&worker->relay->nr_accepting, 1);
	/* Check again: other workers may have ended meanwhile without waiting for this one. */
	if (atomic_load(&worker->relay->state) != USP_RELAY_RUNNING) {
		worker_leave_door(worker);
		return 0;
	}
	for (unsigned i = 0; i < worker->relay->nr_listeners && ret == 0; i++)
		ret = usp_loop_watch(worker->loop, worker->listeners[i].fd, EPOLLIN | EPOLLEXCLUSIVE,
				     &worker->listeners[i].watch);
	if (ret < 0)
		worker_stop_accepting(worker);
	return ret;
}

/*
 * Stop accepting for a moment. Without memory for the timer the next end of a connection starts it
 * again.
 */
static void worker_rest(struct usp_worker *worker)
{
	worker_stop_accepting(worker);
	usp_loop_arm(worker->loop, &worker->accept_timer, usp_loop_now(worker->loop) + WORKER_PAUSE_NS);
}

void usp_worker_pause(struct usp_worker *worker)
{
	usp_counter_add(&worker->counters.accept_pauses, 1);
	worker_rest(worker);
}

/*
 * The error of a client that has gone again is not a shortage. (ENOSPC: the limit of what may be
 * watched.)
 */
bool usp_worker_is_short(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM || error == -ENOSPC;
}

/*
 * Tell whether the descriptors above fd, the lowest free one, are needed already: by the clients
 * that are here, for their targets; by one more client of each worker, which may be accepted at the
 * same time; and by the threads that read targets again or look up names.
 */
static bool worker_needs_fds(const struct usp_worker *worker, int fd)
{
	const struct usp_relay *relay = worker->relay;
	int nr_wanting = (int)atomic_load(&relay->nr_connections) - (int)atomic_load(&relay->nr_target_fds);

	return (unsigned)fd + (unsigned)(nr_wanting > 0 ? nr_wanting : 0) + 2 * relay->nr_workers + WORKER_SPARE_FDS >=
	       usp_sys_fd_limit();
}

/*
 * Tell whether descriptors are short. Clients that are not accepted wait in the queue of the
 * listener; accepted ones without a target would be reset.
 */
static bool worker_lacks_fds(const struct usp_worker *worker)
{
	int fd = usp_sys_eventfd();
	bool lacks = fd < 0 || worker_needs_fds(worker, fd);

	if (fd >= 0)
		usp_sys_close(fd);
	return lacks;
}

static void worker_accept_fired(struct usp_timer *timer)
{
	struct usp_worker *worker = usp_container_of(timer, struct usp_worker, accept_timer);

	worker->is_tight = worker->is_tight && worker_lacks_fds(worker);
	if (worker->is_tight)
		usp_worker_pause(worker);
	else if (worker_start_accepting(worker) < 0)
		worker_rest(worker);
}

static bool worker_is_full(const struct usp_worker *worker)
{
	unsigned max = worker->relay->params.connections_max;

	return max && atomic_load_explicit(&worker->relay->nr_connections, memory_order_relaxed) >= max;
}

/* Accept the next client, for this worker or another one: 0 or -errno. */
static int worker_accept_one(struct usp_listener *listener)
{
	struct usp_worker *worker = listener->worker;
	struct usp_client client = {.listener = listener->index, .is_tcp = listener->is_tcp};
	struct sockaddr_storage peer;

	client.fd = usp_sys_accept(listener->fd, &peer);
	if (client.fd < 0)
		return client.fd;
	worker->is_tight = worker_needs_fds(worker, client.fd);
	usp_place_take_peer(&peer, &client.peer);
	usp_counter_add(&worker->counters.accepted, 1);
	if (worker->is_accepting && usp_handover_give(worker, &client))
		return 0;
	usp_worker_count(worker, 1);
	usp_conn_begin(worker, &client);
	return 0;
}

static void worker_accept(struct usp_watch *watch, unsigned events)
{
	struct usp_listener *listener = usp_container_of(watch, struct usp_listener, watch);
	struct usp_worker *worker = listener->worker;

	(void)events;
	for (unsigned i = 0; i < WORKER_ACCEPTS_MAX && worker->is_accepting; i++) {
		int ret = worker_is_full(worker) ? -EDQUOT : worker_accept_one(listener);

		if (usp_worker_is_short(ret) || (ret == 0 && worker->is_tight))
			usp_worker_pause(worker);
		else if (ret == -EDQUOT)
			worker_rest(worker);
		else if (ret < 0 && ret != -ECONNABORTED && ret != -EINTR)
			break;
	}
}

/* --- Connections --------------------------------------------------------------------------------------- */

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
	if (!worker->is_accepting && !worker_is_full(worker) && !worker->accept_timer.place)
		worker_start_accepting(worker);
	if (!worker->conns && atomic_load(&relay->state) != USP_RELAY_RUNNING) {
		usp_loop_wake(worker->loop);
		usp_loop_wake(relay->workers[0].loop);
	}
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

/* --- The end --------------------------------------------------------------------------------------------- */

/*
 * Tell whether this worker is done. As long as a worker accepts it may hand clients over. The first
 * worker waits for the connections of all.
 */
static bool worker_is_done(const struct usp_worker *worker)
{
	const struct usp_relay *relay = worker->relay;

	if (atomic_load(&relay->state) == USP_RELAY_RUNNING || atomic_load(&relay->nr_accepting))
		return false;
	return !atomic_load(worker == &relay->workers[0] ? &relay->nr_connections : &worker->counters.connections);
}

static void worker_let_in(struct usp_listener *listener)
{
	while (!worker_is_full(listener->worker) && worker_accept_one(listener) == 0)
		;
}

/*
 * Let in the clients in the queue of each listener, then refuse new ones, so that they go elsewhere
 * instead of waiting for nothing. Only the first worker does this. Listeners made by another
 * program stay open: their clients wait for the next server.
 */
static void worker_close_doors(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;

	for (unsigned i = 0; i < relay->nr_listeners; i++) {
		if (!relay->listeners[i].process)
			continue;
		if (atomic_load(&relay->state) == USP_RELAY_DRAINING)
			worker_let_in(&worker->listeners[i]);
		usp_door_shut(&relay->listeners[i]);
	}
	if (relay->metrics)
		usp_metrics_shut(relay->metrics);
	usp_relay_call_keeper(relay);
}

static void worker_stop_conns(struct usp_worker *worker)
{
	while (worker->conns) {
		if (!worker->conns->story.why)
			worker->conns->story.why = USP_WHY_STOPPED;
		usp_conn_abort(worker->conns);
	}
}

static void worker_woken(void *arg)
{
	struct usp_worker *worker = arg;
	int state = atomic_load(&worker->relay->state);

	atomic_store(&worker->nr_answered, atomic_load(&worker->relay->nr_asked));
	if (state != USP_RELAY_RUNNING)
		worker_stop_accepting(worker);
	if (state != USP_RELAY_RUNNING && worker == &worker->relay->workers[0])
		worker_close_doors(worker);
	if (state == USP_RELAY_STOPPING)
		worker_stop_conns(worker);
	if (worker_is_done(worker))
		usp_loop_stop(worker->loop);
}

/* End a run that has been idle, or draining, for long enough. Only in the first worker. */
static void worker_ticked(struct usp_timer *timer)
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
	usp_loop_arm(worker->loop, timer, now_ns + WORKER_TICK_NS);
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
	worker->accept_timer.fired = worker_accept_fired;
	worker->tick.fired = worker_ticked;
	worker->trim_timer.fired = worker_trim_fired;
	usp_slab_init(&worker->conn_slab, sizeof(struct usp_conn));
	ret = usp_handover_init(worker);
	if (ret == 0)
		ret = usp_loop_new(&worker->loop);
	return ret < 0 ? ret : worker_make_scratch(worker);
}

void usp_worker_fini(struct usp_worker *worker)
{
	if (worker->scratch)
		usp_folio_put(worker->scratch);
	usp_targets_put(worker->targets);
	usp_rules_put(worker->rules);
	usp_handover_fini(worker);
	usp_loop_free(worker->loop);
	usp_slab_fini(&worker->conn_slab);
}

static int worker_prepare(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;
	int ret = usp_handover_start(worker);

	for (unsigned i = 0; i < relay->nr_listeners; i++)
		worker->listeners[i] = (struct usp_listener){
			.watch.ready = worker_accept,
			.worker = worker,
			.fd = relay->listeners[i].fd,
			.index = (unsigned char)i,
			.is_tcp = relay->listener_is_tcp[i],
		};
	usp_loop_on_wake(worker->loop, worker_woken, worker);
	if (ret == 0 && worker == &relay->workers[0] && (relay->params.exit_idle_ns || relay->params.drain_timeout_ns))
		ret = usp_loop_arm(worker->loop, &worker->tick, usp_loop_now(worker->loop));
	return ret < 0 ? ret : worker_start_accepting(worker);
}

int usp_worker_run(struct usp_worker *worker)
{
	struct usp_sigpipe_guard guard;
	int ret = worker_prepare(worker);

	if (!worker->relay->params.no_batch)
		usp_sched_begin(&worker->sched, usp_loop_now(worker->loop));
	usp_sigpipe_begin(&guard);   /* once for all splices */
	usp_loop_wake(worker->loop); /* to see a drain or stop that came before */
	atomic_store(&worker->nr_answered, atomic_load(&worker->relay->nr_asked));
	atomic_store(&worker->is_running, true);
	if (ret == 0)
		ret = usp_loop_run(worker->loop);
	atomic_store(&worker->is_running, false);
	worker_stop_accepting(worker);
	worker_stop_conns(worker);
	usp_loop_finish(worker->loop);
	usp_uring_free(worker->uring); /* in the thread that made it */
	worker->uring = NULL;
	usp_sched_end(&worker->sched);
	atomic_store_explicit(&worker->counters.is_batch, 0, memory_order_relaxed);
	usp_sigpipe_end(&guard);
	return ret;
}
