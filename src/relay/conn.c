/* SPDX-License-Identifier: MIT */
/*
 * conn - one connection of a relay, from its client's first byte to its end: which target it gets, and when it is closed.
 *
 *   HEADER ──► CONNECTING ──► FLOWING ──► CLOSED
 *                 ▲   │           │         ▲
 *                 └───┘           └─LINGERING, if one side broke
 *                 refused: the next address, the next target
 *
 * What it carries while it flows is in flow.c.
 */
#include "relay/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "endpoints/socket.h"
#include "event/uring.h"
#include "relay/admit.h"
#include "relay/fit.h"
#include "relay/flow.h"
#include "relay/header.h"
#include "relay/keepalive.h"
#include "relay/linger.h"
#include "relay/place.h"
#include "relay/proxy.h"
#include "relay/tell.h"
#include "relay/worker.h"
#include "splice/sock.h"

#define CONN_RETRY_NS 50000000		    /* until a descriptor may be had again */
#define CONN_WATCH_NS ((uint64_t)100000000) /* of connecting, until the client is watched: most connect sooner */

static void conn_try_target(struct usp_conn *conn);

#define CONN_UNHEARD_EVENTS (EPOLLOUT | EPOLLET)
#define CONN_HEARD_EVENTS (CONN_UNHEARD_EVENTS | EPOLLIN | EPOLLRDHUP | EPOLLPRI)

int usp_conn_watch(struct usp_conn *conn, unsigned index, enum usp_end_watch watched)
{
	struct usp_loop *loop = conn->worker->loop;
	struct usp_conn_end *end = &conn->ends[index];
	unsigned events = watched == USP_END_HEARD ? CONN_HEARD_EVENTS : CONN_UNHEARD_EVENTS;
	int ret = 0;

	if (end->watched == watched)
		return 0;
	if (watched == USP_END_UNWATCHED)
		usp_loop_unwatch(loop, end->fd);
	else if (end->watched == USP_END_UNWATCHED)
		ret = usp_loop_watch(loop, end->fd, events, &end->watch);
	else
		ret = usp_loop_change(loop, end->fd, events, &end->watch);
	if (ret == 0)
		end->watched = watched;
	return ret;
}

/* --- The end --------------------------------------------------------------------------------------- */

void usp_conn_free(struct usp_conn *conn)
{
	usp_targets_put(conn->targets);
	usp_free(conn->addresses);
	usp_free(conn->header);
	usp_slab_free(&conn->worker->conn_slab, conn);
}

static void conn_run_free(struct usp_task *task)
{
	usp_conn_free(usp_container_of(task, struct usp_conn, task));
}

/* Close with a reset instead of an end. */
static void conn_reset_fd(int fd)
{
	if (fd >= 0)
		usp_sock_set_reset(fd, true);
}

/* Close one end, by the ring together with others if no loop watches the descriptor. */
static void conn_close_end(struct usp_conn *conn, struct usp_conn_end *end)
{
	struct usp_uring *uring = end->watched == USP_END_UNWATCHED ? conn->worker->uring : NULL;

	if (end->fd >= 0 && end == &conn->ends[1])
		atomic_fetch_sub_explicit(&conn->worker->relay->nr_target_fds, 1, memory_order_relaxed);
	if (end->fd >= 0 && !(uring && usp_uring_close(uring, end->fd)))
		usp_sys_close(end->fd);
	end->fd = -1;
	end->watched = USP_END_UNWATCHED;
}

static void conn_stop_connecting(struct usp_conn *conn)
{
	if (conn->connect)
		usp_uring_drop_connect(conn->connect);
	conn->connect = NULL;
}

static void conn_leave_target(struct usp_conn *conn)
{
	if (conn->address && (conn->state == USP_CONN_FLOWING || conn->state == USP_CONN_LINGERING))
		atomic_fetch_sub_explicit(&conn->address->nr_connections, 1, memory_order_relaxed);
}

/* Close each side as it was prepared. The memory stays for late events of this round. */
void usp_conn_close(struct usp_conn *conn)
{
	if (conn->state == USP_CONN_CLOSED)
		return;
	usp_flow_end_work(conn);
	conn_stop_connecting(conn);
	conn_leave_target(conn);
	for (unsigned i = 0; i < 2; i++)
		conn_close_end(conn, &conn->ends[i]);
	usp_loop_disarm(conn->worker->loop, &conn->timer);
	usp_admit_leave(conn);
	usp_tell_ended(conn);
	conn->state = USP_CONN_CLOSED;
	usp_worker_remove(conn->worker, conn);
	conn->task.run = conn_run_free;
	usp_loop_defer(conn->worker->loop, &conn->task);
}

void usp_conn_reset(struct usp_conn *conn, unsigned index)
{
	conn_reset_fd(conn->ends[index].fd);
	conn_close_end(conn, &conn->ends[index]);
}

void usp_conn_abort(struct usp_conn *conn)
{
	if (conn->state == USP_CONN_CLOSED)
		return;
	if (!conn->story.why)
		conn->story.why = USP_WHY_SHORT;
	usp_flow_end_work(conn);
	conn_stop_connecting(conn);
	for (unsigned i = 0; i < 2; i++)
		usp_conn_reset(conn, i);
	usp_conn_close(conn);
}

void usp_conn_break(struct usp_conn *conn)
{
	usp_counter_add(&usp_conn_counters(conn)->reset, 1);
	usp_conn_abort(conn);
}

/* --- Connecting -------------------------------------------------------------------------------------- */

/* Reset a client that no target takes. */
static void conn_give_up(struct usp_conn *conn, enum usp_relay_why why)
{
	conn->story.why = why;
	usp_counter_add(&usp_conn_counters(conn)->unserved, 1);
	usp_conn_abort(conn);
}

/*
 * Watch only whether the client goes away, until the connection flows. Ignores an error: without
 * memory the client is just not watched.
 */
static void conn_watch_client(struct usp_conn *conn)
{
	usp_conn_watch(conn, 0, USP_END_UNHEARD);
}

/* Give up an attempt. Reset it: a target that accepted it after all must not see an end. */
static void conn_leave_address(struct usp_conn *conn)
{
	usp_loop_disarm(conn->worker->loop, &conn->timer);
	conn_stop_connecting(conn);
	usp_conn_reset(conn, 1);
	if (conn->header)
		conn->header->nr_given = 0;
	conn_watch_client(conn);
}

/*
 * Return the address of the target to try after another one. If it failed before, no other client
 * tries it meanwhile.
 */
static struct usp_address *conn_next_address(const struct usp_conn *conn, const struct usp_address *after)
{
	uint64_t now_ns = usp_conn_now(conn), until_ns = now_ns + usp_conn_params(conn)->connect_timeout_ns;

	return usp_target_address(conn->target, after, conn->is_forced, now_ns, until_ns);
}

/* Move to the next address to try, of this target or of the next one; NULL if there is none. */
static void conn_next(struct usp_conn *conn)
{
	conn->address = conn_next_address(conn, conn->address);
	while (!conn->address && conn->target) {
		conn->is_forced = false;
		conn->target = usp_targets_next(conn->targets, conn->target, conn->first_target, usp_conn_now(conn));
		conn->address = conn->target ? conn_next_address(conn, NULL) : NULL;
	}
}

static void conn_wait_for_ports(struct usp_conn *conn);

static void conn_go_on(struct usp_conn *conn)
{
	conn_next(conn);
	if (conn->address)
		conn_try_target(conn);
	else if (conn->is_short)
		conn_wait_for_ports(conn);
	else
		conn_give_up(conn, USP_WHY_NO_TARGET);
}

/* Note that an address failed, and try the next one, then the next target. */
static void conn_failed(struct usp_conn *conn, int error)
{
	uint64_t now_ns = usp_conn_now(conn);

	conn_leave_address(conn);
	usp_address_failed(conn->address, error, now_ns + usp_conn_params(conn)->retry_after_ns);
	conn->story.error = error;
	if (usp_target_failed(conn->target))
		usp_tell_target(conn, error);
	if (!usp_target_is_up(conn->target, now_ns))
		usp_resolver_hurry(&conn->worker->relay->resolver);
	conn_go_on(conn);
}

/*
 * Try the next address: this machine has no port left for this one, or no address of its family.
 * The address is not left out, because its peer did not fail. Other addresses may have ports.
 */
static void conn_lacked_port(struct usp_conn *conn)
{
	conn_leave_address(conn);
	conn->is_short = true;
	conn_go_on(conn);
}

static void conn_connect_fired(struct usp_timer *timer)
{
	conn_failed(usp_container_of(timer, struct usp_conn, timer), -ETIMEDOUT);
}

/* Wait until the target takes more of its header, within the time that it has to answer. 0 or -errno. */
static int conn_await_room(struct usp_conn *conn)
{
	uint64_t deadline_ns = usp_conn_now(conn) + usp_conn_params(conn)->connect_timeout_ns;
	int ret = 0;

	conn_watch_client(conn);
	if (!conn->timer.place) {
		conn->timer.fired = conn_connect_fired;
		ret = usp_loop_arm(conn->worker->loop, &conn->timer, deadline_ns);
	}
	if (ret == 0 && conn->ends[1].watched == USP_END_UNWATCHED)
		ret = usp_conn_watch(conn, 1, USP_END_UNHEARD);
	return ret;
}

static void conn_tried(struct usp_conn *conn, int ret);

static void conn_connected(struct usp_conn *conn)
{
	bool is_self = conn->ends[1].is_tcp && usp_stream_is_self(conn->ends[1].fd, &conn->address->info);
	int ret = is_self ? -ECONNREFUSED : usp_header_give(conn);

	if (ret == -EAGAIN) {
		ret = conn_await_room(conn);
		if (ret == 0)
			return;
	}
	if (ret < 0)
		conn_tried(conn, ret);
	else
		usp_flow_begin(conn);
}

static void conn_target_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_conn *conn = usp_container_of(watch, struct usp_conn, ends[1].watch);
	int error = 0;

	if (conn->state == USP_CONN_CONNECTING) {
		if (events & (EPOLLERR | EPOLLHUP))
			error = usp_sys_getsockopt_int(conn->ends[1].fd, SOL_SOCKET, SO_ERROR);
		if (error)
			conn_tried(conn, error > 0 ? -error : error);
		else if (events & EPOLLOUT)
			conn_connected(conn);
	}
	if (conn->state == USP_CONN_LINGERING)
		usp_linger_ready(conn, 1, events);
	else if (error == 0 && conn->state == USP_CONN_FLOWING)
		usp_flow_ready(conn, 1, events); /* a target may have sent something at once */
}

/* Watch the client, because connecting takes long. */
static void conn_slow_fired(struct usp_timer *timer)
{
	struct usp_conn *conn = usp_container_of(timer, struct usp_conn, timer);
	uint64_t deadline_ns = timer->when_ns - CONN_WATCH_NS + usp_conn_params(conn)->connect_timeout_ns;

	conn_watch_client(conn);
	timer->fired = conn_connect_fired;
	if (usp_loop_arm(conn->worker->loop, timer, deadline_ns) < 0)
		conn_failed(conn, -ENOMEM);
}

static int conn_prepare_socket(struct usp_conn *conn, int fd)
{
	const struct usp_relay *relay = conn->worker->relay;
	const struct addrinfo *source = relay->source;
	int ret = 0;

	if (relay->params.mark)
		ret = usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_MARK, (int)relay->params.mark);
	if (conn->address->info.ai_family == AF_UNIX || ret < 0)
		return ret;
	while (source && source->ai_family != conn->address->info.ai_family)
		source = source->ai_next;
	if (source)
		ret = usp_place_bind(fd, source);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	usp_keepalive_set(fd, &relay->params);
	return ret;
}

static void conn_retry_fired(struct usp_timer *timer)
{
	conn_try_target(usp_container_of(timer, struct usp_conn, timer));
}

static void conn_choose_target(struct usp_conn *conn);

static void conn_choose_fired(struct usp_timer *timer)
{
	conn_choose_target(usp_container_of(timer, struct usp_conn, timer));
}

/* Go on in a moment. False if the time for that is over. */
static bool conn_try_later(struct usp_conn *conn, void (*fired)(struct usp_timer *timer))
{
	conn_watch_client(conn);
	conn->timer.fired = fired;
	return usp_conn_now(conn) - conn->active_ns <= usp_conn_params(conn)->connect_timeout_ns &&
	       usp_loop_arm(conn->worker->loop, &conn->timer, usp_conn_now(conn) + CONN_RETRY_NS) == 0;
}

/* Wait for descriptors, as long as the client waits. No address is left out for that. */
static void conn_wait_for_descriptors(struct usp_conn *conn)
{
	usp_worker_pause(conn->worker);
	if (!conn_try_later(conn, conn_retry_fired))
		conn_give_up(conn, USP_WHY_SHORT);
}

static void conn_wait_for_room(struct usp_conn *conn)
{
	if (!conn_try_later(conn, conn_retry_fired))
		conn_failed(conn, -ETIMEDOUT);
}

/*
 * Choose a target again in a moment, as long as the client waits. All targets were tried, and one
 * failed only for lack of a local port.
 */
static void conn_wait_for_ports(struct usp_conn *conn)
{
	usp_worker_pause(conn->worker);
	usp_targets_put(conn->targets);
	conn->targets = NULL;
	conn->is_short = false;
	if (!conn_try_later(conn, conn_choose_fired))
		conn_give_up(conn, USP_WHY_SHORT);
}

/* Handle the result of an attempt. A shortage of this machine does not count against the peer. */
static void conn_tried(struct usp_conn *conn, int ret)
{
	if (ret == 0) {
		conn_connected(conn);
	} else if (usp_worker_is_short(ret)) {
		conn_leave_address(conn);
		conn_wait_for_descriptors(conn);
	} else if (ret == -EADDRNOTAVAIL || ret == -EADDRINUSE || (ret == -EAGAIN && conn->ends[1].is_tcp)) {
		conn_lacked_port(conn);
	} else {
		conn_failed(conn, ret);
	}
}

static void conn_ring_connected(void *arg, int error)
{
	struct usp_conn *conn = arg;

	conn->connect = NULL;
	conn_tried(conn, error);
}

/*
 * Connect by the ring, together with others, if there is one. Flows begin on the ring then, too,
 * and the loop need not watch the socket.
 */
static bool conn_ring_connect(struct usp_conn *conn)
{
	const struct usp_conn_end *end = &conn->ends[1];
	const struct addrinfo *to = &conn->address->info;
	struct usp_uring *uring = end->is_tcp ? usp_worker_uring(conn->worker) : NULL;

	if (uring)
		conn->connect =
			usp_uring_connect(uring, end->fd, to->ai_addr, to->ai_addrlen, conn_ring_connected, conn);
	return conn->connect;
}

/* Make a socket and connect it: 0 if it is connected, -EINPROGRESS, or -errno. */
static int conn_connect(struct usp_conn *conn)
{
	struct usp_conn_end *end = &conn->ends[1];
	const struct addrinfo *to = &conn->address->info;
	int ret = usp_fit_address(conn->worker->relay, to);

	if (ret < 0)
		return ret;
	end->is_tcp = to->ai_family != AF_UNIX;
	end->fd = usp_sys_socket(to->ai_family, SOCK_STREAM, 0);
	if (end->fd < 0)
		return end->fd;
	atomic_fetch_add_explicit(&conn->worker->relay->nr_target_fds, 1, memory_order_relaxed);
	ret = conn_prepare_socket(conn, end->fd);
	if (ret == 0 && conn_ring_connect(conn))
		return -EINPROGRESS;
	if (ret == 0)
		ret = usp_sys_connect(end->fd, to->ai_addr, to->ai_addrlen);
	if (ret == 0 || ret == -EINPROGRESS) {
		int watched = usp_conn_watch(conn, 1, usp_worker_uring(conn->worker) ? USP_END_UNHEARD : USP_END_HEARD);

		ret = watched < 0 ? watched : ret;
	}
	return ret;
}

static void conn_try_target(struct usp_conn *conn)
{
	uint64_t timeout_ns = usp_conn_params(conn)->connect_timeout_ns;
	bool may_be_slow = timeout_ns > CONN_WATCH_NS && conn->ends[0].watched == USP_END_UNWATCHED;
	int ret = conn_connect(conn);

	conn->state = USP_CONN_CONNECTING;
	/* The queue of a UNIX socket is full. TCP would wait by itself. */
	if (ret == -EAGAIN && !conn->ends[1].is_tcp) {
		conn_close_end(conn, &conn->ends[1]);
		conn_wait_for_room(conn);
		return;
	}
	conn->timer.fired = may_be_slow ? conn_slow_fired : conn_connect_fired;
	if (ret == -EINPROGRESS) {
		ret = usp_loop_arm(conn->worker->loop, &conn->timer,
				   usp_conn_now(conn) + (may_be_slow ? CONN_WATCH_NS : timeout_ns));
		if (ret == 0)
			return;
	}
	conn_tried(conn, ret);
}

/* --- The client -------------------------------------------------------------------------------------- */

static uint32_t conn_hash(const struct usp_conn *conn)
{
	return conn->addresses ? usp_place_hash((const struct sockaddr *)&conn->addresses->source) : 0;
}

static void conn_choose_target(struct usp_conn *conn)
{
	struct usp_targets *targets = usp_worker_targets(conn->worker);
	struct usp_target *target = targets ? usp_targets_first(targets, usp_conn_params(conn)->balance,
								conn_hash(conn), usp_conn_now(conn))
					    : NULL;

	usp_loop_disarm(conn->worker->loop, &conn->timer);
	conn->state = USP_CONN_CONNECTING;
	if (!target) { /* wait for a name that is being looked up */
		if (!targets || !targets->is_pending || !conn_try_later(conn, conn_choose_fired))
			conn_give_up(conn, USP_WHY_NO_TARGET);
		return;
	}
	if (!conn->first_target && usp_header_make(conn) < 0) { /* only once, even if it chooses again */
		conn_give_up(conn, USP_WHY_SHORT);
		return;
	}
	conn->targets = usp_targets_get(targets);
	conn->target = conn->first_target = target;
	conn->address = conn_next_address(conn, NULL);
	conn->is_forced = !conn->address;
	if (conn->is_forced)
		conn->address = conn_next_address(conn, NULL);
	conn_try_target(conn);
}

/*
 * Admit the client, whose address is known now. A refused client is reset, like one that no target
 * takes.
 */
static void conn_admit(struct usp_conn *conn)
{
	conn->story.why = usp_admit(conn);
	if (conn->story.why)
		usp_conn_abort(conn);
	else
		conn_choose_target(conn);
}

static void conn_refuse_header(struct usp_conn *conn, int error)
{
	usp_header_count(conn, error);
	conn_give_up(conn, USP_WHY_NO_HEADER);
}

static bool conn_has_input(const struct usp_conn *conn)
{
	struct iovec iov = {.iov_base = &(char){0}, .iov_len = 1};

	return usp_sys_recvmsg(conn->ends[0].fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1},
			       MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * Tell whether the client has given up while a target is being tried. A client that only ended its
 * side still waits for an answer. A UNIX socket that is closed may have left bytes to deliver.
 */
static bool conn_client_is_gone(struct usp_conn *conn, unsigned events)
{
	bool is_reset = events & EPOLLERR || (events & EPOLLHUP && conn->ends[0].is_tcp);

	return is_reset || (events & EPOLLHUP && !conn_has_input(conn));
}

static void conn_lose_client(struct usp_conn *conn)
{
	conn->story.why = USP_WHY_CLIENT_BROKE;
	usp_conn_break(conn);
}

static void conn_client_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_conn *conn = usp_container_of(watch, struct usp_conn, ends[0].watch);
	int ret;

	if (conn->state == USP_CONN_LINGERING)
		usp_linger_ready(conn, 0, events);
	else if (conn->state == USP_CONN_FLOWING)
		usp_flow_ready(conn, 0, events);
	else if (conn->state == USP_CONN_CONNECTING && conn_client_is_gone(conn, events))
		conn_lose_client(conn);
	if (conn->state != USP_CONN_HEADER || !(events & ~(unsigned)EPOLLOUT))
		return;
	ret = usp_header_take(conn);
	if (ret < 0) {
		conn_refuse_header(conn, ret);
	} else if (ret > 0) {
		usp_conn_watch(conn, 0, USP_END_UNWATCHED);
		conn_admit(conn);
	}
}

static void conn_header_fired(struct usp_timer *timer)
{
	conn_refuse_header(usp_container_of(timer, struct usp_conn, timer), -ETIMEDOUT);
}

/* Find the addresses of both ends of the client's socket. */
static int conn_find_addresses(struct usp_conn *conn)
{
	struct usp_proxy_addresses *addresses = usp_alloc(sizeof(*addresses));
	socklen_t dest_len = sizeof(addresses->dest);
	int ret;

	if (!addresses)
		return -ENOMEM;
	conn->addresses = addresses;
	memcpy(&addresses->source, &conn->story.peer, sizeof(conn->story.peer));
	ret = usp_sys_getsockname(conn->ends[0].fd, (struct sockaddr *)&addresses->dest, &dest_len);
	usp_place_unmap(&addresses->dest);
	addresses->is_known = ret == 0 && addresses->source.ss_family != AF_UNIX; /* UNIX clients have none */
	return ret;
}

static int conn_await_header(struct usp_conn *conn)
{
	struct usp_loop *loop = conn->worker->loop;
	int ret;

	conn->timer.fired = conn_header_fired;
	ret = usp_loop_arm(loop, &conn->timer, usp_conn_now(conn) + usp_conn_params(conn)->connect_timeout_ns);
	return ret < 0 ? ret : usp_conn_watch(conn, 0, USP_END_HEARD);
}

static struct usp_conn *conn_new(struct usp_worker *worker, const struct usp_client *client)
{
	struct usp_conn *conn = usp_slab_alloc(&worker->conn_slab);

	if (!conn)
		return NULL;
	conn->worker = worker;
	conn->ends[0] =
		(struct usp_conn_end){.watch.ready = conn_client_ready, .fd = client->fd, .is_tcp = client->is_tcp};
	conn->ends[1] = (struct usp_conn_end){.watch.ready = conn_target_ready, .fd = -1};
	conn->active_ns = usp_loop_now(worker->loop);
	conn->story.peer = client->peer;
	conn->story.listener = client->listener;
	conn->story.begun_ns = conn->active_ns;
	return conn;
}

void usp_conn_begin(struct usp_worker *worker, const struct usp_client *client)
{
	const struct usp_relay_params *params = &worker->relay->params;
	struct usp_conn *conn = conn_new(worker, client);
	bool is_due;
	int ret = 0;

	if (!conn) {
		conn_reset_fd(client->fd);
		usp_sys_close(client->fd);
		usp_worker_count(worker, -1);
		return;
	}
	usp_worker_add(worker, conn);
	if (params->proxy_send || params->proxy_accept || params->balance == USP_BALANCE_SOURCE)
		ret = conn_find_addresses(conn);
	is_due = ret == 0 && usp_header_is_due(conn);
	if (is_due)
		ret = conn_await_header(conn);
	if (ret < 0)
		conn_give_up(conn, USP_WHY_SHORT);
	else if (!is_due)
		conn_admit(conn);
}
