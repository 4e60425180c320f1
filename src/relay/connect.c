/* SPDX-License-Identifier: MIT */
/* connect - which target a client gets: the first address that takes the connection. */
#include "relay/connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "endpoints/stream.h"
#include "event/uring.h"
#include "relay/fit.h"
#include "relay/flow.h"
#include "relay/header.h"
#include "relay/keepalive.h"
#include "relay/linger.h"
#include "relay/proxy.h"
#include "relay/sockaddr.h"
#include "relay/tell.h"
#include "relay/worker.h"

#define CONNECT_RETRY_NS 50000000	       /* until a descriptor may be had again */
#define CONNECT_WATCH_NS ((uint64_t)100000000) /* until the client is watched: most connect sooner */

static void connect_try_target(struct usp_conn *conn);
static void connect_tried(struct usp_conn *conn, int ret);

/* --- Failing --------------------------------------------------------------------------------------------- */

/*
 * Watch only whether the client goes away, until the connection flows. Ignores an error: without
 * memory the client is just not watched.
 */
static void connect_watch_client(struct usp_conn *conn)
{
	usp_conn_watch(conn, 0, USP_END_UNHEARD);
}

/* Give up an attempt. Reset it: a target that accepted it after all must not see an end. */
static void connect_leave_address(struct usp_conn *conn)
{
	usp_loop_disarm(conn->worker->loop, &conn->timer);
	usp_conn_stop_connecting(conn);
	usp_conn_reset(conn, 1);
	if (conn->header)
		conn->header->nr_given = 0;
	connect_watch_client(conn);
}

/*
 * Return the address of the target to try after another one. If it failed before, no other client
 * tries it meanwhile.
 */
static struct usp_address *connect_next_address(const struct usp_conn *conn, const struct usp_address *after)
{
	uint64_t now_ns = usp_conn_now(conn), until_ns = now_ns + usp_conn_params(conn)->connect_timeout_ns;

	return usp_target_address(conn->target, after, conn->is_forced, now_ns, until_ns);
}

/* Move to the next address to try, of this target or of the next one; NULL if there is none. */
static void connect_next(struct usp_conn *conn)
{
	conn->address = connect_next_address(conn, conn->address);
	while (!conn->address && conn->target) {
		conn->is_forced = false;
		conn->target = usp_targets_next(conn->targets, conn->target, conn->first_target, usp_conn_now(conn));
		conn->address = conn->target ? connect_next_address(conn, NULL) : NULL;
	}
}

static void connect_wait_for_ports(struct usp_conn *conn);

static void connect_go_on(struct usp_conn *conn)
{
	connect_next(conn);
	if (conn->address)
		connect_try_target(conn);
	else if (conn->is_short)
		connect_wait_for_ports(conn);
	else
		usp_conn_give_up(conn, USP_WHY_NO_TARGET);
}

/* Note that an address failed, and try the next one, then the next target. */
static void connect_failed(struct usp_conn *conn, int error)
{
	uint64_t now_ns = usp_conn_now(conn);

	connect_leave_address(conn);
	usp_address_failed(conn->address, error, now_ns + usp_conn_params(conn)->retry_after_ns);
	conn->story.error = error;
	if (usp_target_failed(conn->target))
		usp_tell_target(conn, error);
	if (!usp_target_is_up(conn->target, now_ns))
		usp_resolver_hurry(&conn->worker->relay->resolver);
	connect_go_on(conn);
}

/*
 * Try the next address: this machine has no port left for this one, or no address of its family.
 * The address is not left out, because its peer did not fail. Other addresses may have ports.
 */
static void connect_lacked_port(struct usp_conn *conn)
{
	connect_leave_address(conn);
	conn->is_short = true;
	connect_go_on(conn);
}

static void connect_late_fired(struct usp_timer *timer)
{
	connect_failed(usp_container_of(timer, struct usp_conn, timer), -ETIMEDOUT);
}

/* --- Waiting --------------------------------------------------------------------------------------------- */

static void connect_retry_fired(struct usp_timer *timer)
{
	connect_try_target(usp_container_of(timer, struct usp_conn, timer));
}

static void connect_choose_fired(struct usp_timer *timer)
{
	usp_connect_begin(usp_container_of(timer, struct usp_conn, timer));
}

/* Go on in a moment. False if the time for that is over. */
static bool connect_try_later(struct usp_conn *conn, void (*fired)(struct usp_timer *timer))
{
	connect_watch_client(conn);
	conn->timer.fired = fired;
	return usp_conn_now(conn) - conn->active_ns <= usp_conn_params(conn)->connect_timeout_ns &&
	       usp_loop_arm(conn->worker->loop, &conn->timer, usp_conn_now(conn) + CONNECT_RETRY_NS) == 0;
}

/* Wait for descriptors, as long as the client waits. No address is left out for that. */
static void connect_wait_for_descriptors(struct usp_conn *conn)
{
	conn->worker->pause(conn->worker);
	if (!connect_try_later(conn, connect_retry_fired))
		usp_conn_give_up(conn, USP_WHY_SHORT);
}

static void connect_wait_for_room(struct usp_conn *conn)
{
	if (!connect_try_later(conn, connect_retry_fired))
		connect_failed(conn, -ETIMEDOUT);
}

/*
 * Choose a target again in a moment, as long as the client waits. All targets were tried, and one
 * failed only for lack of a local port.
 */
static void connect_wait_for_ports(struct usp_conn *conn)
{
	conn->worker->pause(conn->worker);
	usp_targets_put(conn->targets);
	conn->targets = NULL;
	conn->is_short = false;
	if (!connect_try_later(conn, connect_choose_fired))
		usp_conn_give_up(conn, USP_WHY_SHORT);
}

/* --- Connecting ------------------------------------------------------------------------------------------ */

/* Wait until the target takes more of its header, within the time that it has to answer. 0 or -errno. */
static int connect_await_room(struct usp_conn *conn)
{
	uint64_t deadline_ns = usp_conn_now(conn) + usp_conn_params(conn)->connect_timeout_ns;
	int ret = 0;

	connect_watch_client(conn);
	if (!conn->timer.index) {
		conn->timer.fired = connect_late_fired;
		ret = usp_loop_arm(conn->worker->loop, &conn->timer, deadline_ns);
	}
	if (ret == 0 && conn->ends[1].watched == USP_END_UNWATCHED)
		ret = usp_conn_watch(conn, 1, USP_END_UNHEARD);
	return ret;
}

static void connect_connected(struct usp_conn *conn)
{
	bool is_self = conn->ends[1].is_tcp && usp_stream_is_self(conn->ends[1].fd, &conn->address->info);
	int ret = is_self ? -ECONNREFUSED : usp_header_give(conn);

	if (ret == -EAGAIN) {
		ret = connect_await_room(conn);
		if (ret == 0)
			return;
	}
	if (ret < 0)
		connect_tried(conn, ret);
	else
		usp_flow_begin(conn);
}

void usp_connect_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_conn *conn = usp_container_of(watch, struct usp_conn, ends[1].watch);
	int error = 0;

	if (conn->state == USP_CONN_CONNECTING) {
		if (events & (EPOLLERR | EPOLLHUP))
			error = usp_sys_getsockopt_int(conn->ends[1].fd, SOL_SOCKET, SO_ERROR);
		if (error)
			connect_tried(conn, error > 0 ? -error : error);
		else if (events & EPOLLOUT)
			connect_connected(conn);
	}
	if (conn->state == USP_CONN_LINGERING)
		usp_linger_ready(conn, 1, events);
	else if (error == 0 && conn->state == USP_CONN_FLOWING)
		usp_flow_ready(conn, 1, events); /* a target may have sent something at once */
}

/* Watch the client, because connecting takes long. */
static void connect_slow_fired(struct usp_timer *timer)
{
	struct usp_conn *conn = usp_container_of(timer, struct usp_conn, timer);
	uint64_t deadline_ns = timer->when_ns - CONNECT_WATCH_NS + usp_conn_params(conn)->connect_timeout_ns;

	connect_watch_client(conn);
	timer->fired = connect_late_fired;
	if (usp_loop_arm(conn->worker->loop, timer, deadline_ns) < 0)
		connect_failed(conn, -ENOMEM);
}

static int connect_prepare_socket(struct usp_conn *conn, int fd)
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
		ret = usp_sockaddr_bind(fd, source);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	usp_keepalive_set(fd, &relay->params);
	return ret;
}

/* Handle the result of an attempt. A shortage of this machine does not count against the peer. */
static void connect_tried(struct usp_conn *conn, int ret)
{
	if (ret == 0) {
		connect_connected(conn);
	} else if (usp_worker_is_short(ret)) {
		connect_leave_address(conn);
		connect_wait_for_descriptors(conn);
	} else if (ret == -EADDRNOTAVAIL || ret == -EADDRINUSE || (ret == -EAGAIN && conn->ends[1].is_tcp)) {
		connect_lacked_port(conn);
	} else {
		connect_failed(conn, ret);
	}
}

static void connect_ring_connected(void *arg, int error)
{
	struct usp_conn *conn = arg;

	conn->connect = NULL;
	connect_tried(conn, error);
}

/*
 * Connect by the ring, together with others, if there is one. Flows begin on the ring then, too,
 * and the loop need not watch the socket.
 */
static bool connect_ring_connect(struct usp_conn *conn)
{
	const struct usp_conn_end *end = &conn->ends[1];
	const struct addrinfo *to = &conn->address->info;
	struct usp_uring *uring = end->is_tcp ? usp_worker_uring(conn->worker) : NULL;

	if (uring)
		conn->connect =
			usp_uring_connect(uring, end->fd, to->ai_addr, to->ai_addrlen, connect_ring_connected, conn);
	return conn->connect;
}

/* Make a socket and connect it: 0 if it is connected, -EINPROGRESS, or -errno. */
static int connect_socket(struct usp_conn *conn)
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
	ret = connect_prepare_socket(conn, end->fd);
	if (ret == 0 && connect_ring_connect(conn))
		return -EINPROGRESS;
	if (ret == 0)
		ret = usp_sys_connect(end->fd, to->ai_addr, to->ai_addrlen);
	if (ret == 0 || ret == -EINPROGRESS) {
		int watched = usp_conn_watch(conn, 1, usp_worker_uring(conn->worker) ? USP_END_UNHEARD : USP_END_HEARD);

		ret = watched < 0 ? watched : ret;
	}
	return ret;
}

static void connect_try_target(struct usp_conn *conn)
{
	uint64_t timeout_ns = usp_conn_params(conn)->connect_timeout_ns;
	bool may_be_slow = timeout_ns > CONNECT_WATCH_NS && conn->ends[0].watched == USP_END_UNWATCHED;
	int ret = connect_socket(conn);

	conn->state = USP_CONN_CONNECTING;
	/* The queue of a UNIX socket is full. TCP would wait by itself. */
	if (ret == -EAGAIN && !conn->ends[1].is_tcp) {
		usp_conn_close_end(conn, 1);
		connect_wait_for_room(conn);
		return;
	}
	conn->timer.fired = may_be_slow ? connect_slow_fired : connect_late_fired;
	if (ret == -EINPROGRESS) {
		ret = usp_loop_arm(conn->worker->loop, &conn->timer,
				   usp_conn_now(conn) + (may_be_slow ? CONNECT_WATCH_NS : timeout_ns));
		if (ret == 0)
			return;
	}
	connect_tried(conn, ret);
}

/* --- Choosing -------------------------------------------------------------------------------------------- */

static uint32_t connect_hash(const struct usp_conn *conn)
{
	return conn->addresses ? usp_sockaddr_hash((const struct sockaddr *)&conn->addresses->source) : 0;
}

void usp_connect_begin(struct usp_conn *conn)
{
	struct usp_targets *targets = usp_worker_targets(conn->worker);
	struct usp_target *target = targets ? usp_targets_first(targets, usp_conn_params(conn)->balance,
								connect_hash(conn), usp_conn_now(conn))
					    : NULL;

	usp_loop_disarm(conn->worker->loop, &conn->timer);
	conn->state = USP_CONN_CONNECTING;
	if (!target) { /* wait for a name that is being looked up */
		if (!targets || !targets->is_pending || !connect_try_later(conn, connect_choose_fired))
			usp_conn_give_up(conn, USP_WHY_NO_TARGET);
		return;
	}
	if (!conn->first_target && usp_header_make(conn) < 0) { /* only once, even if it chooses again */
		usp_conn_give_up(conn, USP_WHY_SHORT);
		return;
	}
	conn->targets = usp_targets_get(targets);
	conn->target = conn->first_target = target;
	conn->address = connect_next_address(conn, NULL);
	conn->is_forced = !conn->address;
	if (conn->is_forced)
		conn->address = connect_next_address(conn, NULL);
	connect_try_target(conn);
}
