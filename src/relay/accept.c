/* SPDX-License-Identifier: MIT */
/*
 * accept - clients of the listening sockets, for this worker or another one.
 *
 * Accepting pauses while something is short: clients then wait in the queue of the listener.
 */
#include "relay/accept.h"

#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "relay/client.h"
#include "relay/handover.h"
#include "relay/sockaddr.h"
#include "relay/state.h"
#include "relay/worker.h"

#define ACCEPT_NR_MAX 64	 /* in one round, so that connections that flow get their turn */
#define ACCEPT_PAUSE_NS 50000000 /* without descriptors, memory or room */
#define ACCEPT_SPARE_FDS 4

/* --- Starting and stopping ------------------------------------------------------------------------------- */

static void accept_leave(struct usp_worker *worker)
{
	worker->is_accepting = false;
	atomic_fetch_sub(&worker->relay->nr_accepting, 1);
	if (atomic_load(&worker->relay->state) != USP_RELAY_RUNNING)
		usp_relay_wake(worker->relay);
}

void usp_accept_stop(struct usp_worker *worker)
{
	if (!worker->is_accepting)
		return;
	for (unsigned i = 0; i < worker->relay->nr_listeners; i++)
		usp_loop_unwatch(worker->loop, worker->listeners[i].fd);
	accept_leave(worker);
}

/* Watch the listeners, so that one client wakes one worker. */
int usp_accept_start(struct usp_worker *worker)
{
	int ret = 0;

	if (worker->is_accepting || atomic_load(&worker->relay->state) != USP_RELAY_RUNNING)
		return 0;
	worker->is_accepting = true;
	atomic_fetch_add(&worker->relay->nr_accepting, 1);
	/* Check again: other workers may have ended meanwhile without waiting for this one. */
	if (atomic_load(&worker->relay->state) != USP_RELAY_RUNNING) {
		accept_leave(worker);
		return 0;
	}
	for (unsigned i = 0; i < worker->relay->nr_listeners && ret == 0; i++)
		ret = usp_loop_watch(worker->loop, worker->listeners[i].fd, EPOLLIN | EPOLLEXCLUSIVE,
				     &worker->listeners[i].watch);
	if (ret < 0)
		usp_accept_stop(worker);
	return ret;
}

/*
 * Stop accepting for a moment. Without memory for the timer the next end of a connection starts it
 * again.
 */
static void accept_rest(struct usp_worker *worker)
{
	usp_accept_stop(worker);
	usp_loop_arm(worker->loop, &worker->accept_timer, usp_loop_now(worker->loop) + ACCEPT_PAUSE_NS);
}

static void accept_pause(struct usp_worker *worker)
{
	usp_counter_add(&worker->counters.accept_pauses, 1);
	accept_rest(worker);
}

/* --- Descriptors ----------------------------------------------------------------------------------------- */

/*
 * Tell whether the descriptors above fd, the lowest free one, are needed already: by the clients
 * that are here, for their targets; by one more client of each worker, which may be accepted at the
 * same time; and by the threads that read targets again or look up names.
 */
static bool accept_needs_fds(const struct usp_worker *worker, int fd)
{
	const struct usp_relay *relay = worker->relay;
	int nr_wanting = (int)atomic_load(&relay->nr_connections) - (int)atomic_load(&relay->nr_target_fds);

	return (unsigned)fd + (unsigned)(nr_wanting > 0 ? nr_wanting : 0) + 2 * relay->nr_workers + ACCEPT_SPARE_FDS >=
	       usp_sys_fd_limit();
}

/*
 * Tell whether descriptors are short. Clients that are not accepted wait in the queue of the
 * listener; accepted ones without a target would be reset.
 */
static bool accept_lacks_fds(const struct usp_worker *worker)
{
	int fd = usp_sys_eventfd();
	bool lacks = fd < 0 || accept_needs_fds(worker, fd);

	if (fd >= 0)
		usp_sys_close(fd);
	return lacks;
}

static void accept_fired(struct usp_timer *timer)
{
	struct usp_worker *worker = usp_container_of(timer, struct usp_worker, accept_timer);

	worker->is_tight = worker->is_tight && accept_lacks_fds(worker);
	if (worker->is_tight)
		accept_pause(worker);
	else if (usp_accept_start(worker) < 0)
		accept_rest(worker);
}

/* --- Clients --------------------------------------------------------------------------------------------- */

static bool accept_is_full(const struct usp_worker *worker)
{
	unsigned max = worker->relay->params.connections_max;

	return max && atomic_load_explicit(&worker->relay->nr_connections, memory_order_relaxed) >= max;
}

/* Accept the next client, for this worker or another one: 0 or -errno. */
static int accept_one(struct usp_listener *listener)
{
	struct usp_worker *worker = listener->worker;
	struct usp_client client = {.listener = listener->index, .is_tcp = listener->is_tcp};
	struct sockaddr_storage peer;

	client.fd = usp_sys_accept(listener->fd, &peer);
	if (client.fd < 0)
		return client.fd;
	worker->is_tight = accept_needs_fds(worker, client.fd);
	usp_peer_take(&peer, &client.peer);
	usp_counter_add(&worker->counters.accepted, 1);
	if (worker->is_accepting && usp_handover_give(worker, &client))
		return 0;
	usp_worker_count(worker, 1);
	usp_client_begin(worker, &client);
	return 0;
}

static void accept_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_listener *listener = usp_container_of(watch, struct usp_listener, watch);
	struct usp_worker *worker = listener->worker;

	(void)events;
	for (unsigned i = 0; i < ACCEPT_NR_MAX && worker->is_accepting; i++) {
		int ret = accept_is_full(worker) ? -EDQUOT : accept_one(listener);

		if (usp_worker_is_short(ret) || (ret == 0 && worker->is_tight))
			accept_pause(worker);
		else if (ret == -EDQUOT)
			accept_rest(worker);
		else if (ret < 0 && ret != -ECONNABORTED && ret != -EINTR)
			break;
	}
}

void usp_accept_rest(struct usp_listener *listener)
{
	while (!accept_is_full(listener->worker) && accept_one(listener) == 0)
		;
}

/* A connection has ended, so there may be room again. */
static void accept_again(struct usp_worker *worker)
{
	if (!worker->is_accepting && !accept_is_full(worker) && !worker->accept_timer.index)
		usp_accept_start(worker);
}

/* --- Life -------------------------------------------------------------------------------------------- */

int usp_accept_init(struct usp_worker *worker)
{
	worker->accept_timer.fired = accept_fired;
	worker->pause = accept_pause;
	worker->has_room = accept_again;
	return usp_handover_init(worker);
}

int usp_accept_begin(struct usp_worker *worker)
{
	struct usp_relay *relay = worker->relay;

	for (unsigned i = 0; i < relay->nr_listeners; i++)
		worker->listeners[i] = (struct usp_listener){
			.watch.ready = accept_ready,
			.worker = worker,
			.fd = relay->listeners[i].fd,
			.index = (unsigned char)i,
			.is_tcp = relay->listener_is_tcp[i],
		};
	return usp_handover_start(worker);
}
