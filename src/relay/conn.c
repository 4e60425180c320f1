/* SPDX-License-Identifier: MIT */
/*
 * conn - one connection of a relay: a client, a target, and a pump each way.
 *
 *   HEADER ──► CONNECTING ──► FLOWING ──► CLOSED
 *                 ▲   │ refused: the next address, the next target
 *                 └───┘
 *
 * Descriptors are watched edge-triggered, once for everything. An event makes that flow step which waits for it; a flow that
 * let others go first is in the loop's list of tasks. An end is not heard while nobody can use what it says: where a sink is
 * full, each segment that comes in would wake us for nothing, and take the processor from the sink.
 *
 * A flow whose source ended has shut its sink down, and the other goes on: half-close is kept. When one side breaks, the other is
 * reset, so that nobody takes what was cut short for the end.
 */
#include "relay/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "relay/account.h"
#include "relay/place.h"
#include "relay/proxy.h"
#include "relay/worker.h"
#include "run/pump.h"
#include "run/uring.h"

#define CONN_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)
#define CONN_UNHEARD_EVENTS (EPOLLOUT | EPOLLET)
#define CONN_RETRY_NS 50000000 /* until a descriptor may be had again */
#define CONN_REST_NS 100000000 /* without anything moving, until what moves it is given back */

static void conn_try_target(struct usp_conn *conn);

static const struct usp_relay_params *conn_params(const struct usp_conn *conn)
{
	return &conn->worker->relay->params;
}

static struct usp_relay_counters *conn_counters(const struct usp_conn *conn)
{
	return &conn->worker->counters;
}

static uint64_t conn_now(const struct usp_conn *conn)
{
	return usp_loop_now(conn->worker->loop);
}

/* --- The end --------------------------------------------------------------------------------------- */

void usp_conn_free(struct usp_conn *conn)
{
	usp_targets_put(conn->targets);
	usp_free(conn->addresses);
	usp_free(conn);
}

static void conn_run_free(struct usp_task *task)
{
	usp_conn_free(usp_container_of(task, struct usp_conn, task));
}

/* Close with a reset instead of an end. */
static void conn_reset_fd(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (fd >= 0)
		usp_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void conn_close_end(struct usp_conn_end *end)
{
	if (end->fd >= 0)
		usp_sys_close(end->fd);
	end->fd = -1;
}

static void conn_end_flow(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];

	usp_loop_disarm(conn->worker->loop, &flow->timer);
	if (flow->stream)
		usp_uring_drop(flow->stream);
	flow->stream = NULL;
	if (!flow->pump)
		return;
	usp_account_end(conn_counters(conn), direction, flow);
	usp_pump_free(flow->pump);
	flow->pump = NULL;
}

/* Give back what only a connection needs on which something moves. The descriptors stay. */
static void conn_end_work(struct usp_conn *conn)
{
	struct usp_conn_work *work = conn->work;

	if (!work)
		return;
	for (unsigned i = 0; i < 2; i++)
		conn_end_flow(conn, i);
	for (unsigned i = 0; i < 2; i++) {
		if (work->files[i])
			work->files[i]->fd = -1;
		usp_file_put(work->files[i]);
	}
	usp_free(work);
	conn->work = NULL;
}

static void conn_leave_target(struct usp_conn *conn)
{
	if (conn->target && conn->state == USP_CONN_FLOWING)
		atomic_fetch_sub_explicit(&conn->target->nr_connections, 1, memory_order_relaxed);
}

/* Both sides are done with, each as it was prepared. The memory stays for events of this round that come late. */
static void conn_close(struct usp_conn *conn)
{
	if (conn->state == USP_CONN_CLOSED)
		return;
	conn_end_work(conn);
	conn_leave_target(conn);
	for (unsigned i = 0; i < 2; i++)
		conn_close_end(&conn->ends[i]);
	usp_loop_disarm(conn->worker->loop, &conn->timer);
	conn->state = USP_CONN_CLOSED;
	usp_worker_remove(conn->worker, conn);
	conn->task.run = conn_run_free;
	usp_loop_defer(conn->worker->loop, &conn->task);
}

void usp_conn_abort(struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++)
		conn_reset_fd(conn->ends[i].fd);
	conn_close(conn);
}

/* A side broke: the other must not take it for the end. */
static void conn_break(struct usp_conn *conn)
{
	usp_counter_add(&conn_counters(conn)->reset, 1);
	usp_conn_abort(conn);
}

/* --- Work ------------------------------------------------------------------------------------------- */

static int conn_open_file(struct usp_conn *conn, unsigned index)
{
	const struct usp_conn_end *end = &conn->ends[index];

	return usp_stream_file_new(end->fd, end->is_tcp, index ? "target" : "client", &conn->work->files[index]);
}

static void conn_flow_fired(struct usp_timer *timer);

static int conn_open_flow(struct usp_conn *conn, unsigned direction)
{
	const struct usp_pump_params params = {
		.count = -1,
		.rate = conn_params(conn)->rate,
		.lane = conn_params(conn)->lane,
		.flags = USP_PUMP_ADAPT_LANE,
	};
	struct usp_flow *flow = &conn->work->flows[direction];
	int ret;

	flow->conn = conn;
	flow->timer.fired = conn_flow_fired;
	if (conn->ends[direction].has_ended)
		return 0;
	ret = usp_pump_new(conn->work->files[direction], &params, &flow->pump);
	if (ret < 0)
		return ret;
	if (conn->worker->relay->shared_rate.per_second)
		flow->pump->shared_rate = &conn->worker->relay->shared_rate;
	flow->pump->scratch = &conn->worker->scratch;
	return usp_pump_add_sink(flow->pump, conn->work->files[!direction]);
}

/* When to look whether something still moves. */
static uint64_t conn_next_look(const struct usp_conn *conn)
{
	uint64_t idle_ns = conn_params(conn)->idle_timeout_ns;

	return conn_now(conn) + (idle_ns && idle_ns < CONN_REST_NS ? idle_ns : CONN_REST_NS);
}

/* Files and pumps for what is coming: 0 or -errno. */
static int conn_begin_work(struct usp_conn *conn)
{
	int ret = 0;

	if (conn->work)
		return 0;
	conn->work = usp_alloc(sizeof(*conn->work));
	if (!conn->work)
		return -ENOMEM;
	for (unsigned i = 0; i < 2 && ret == 0; i++)
		ret = conn_open_file(conn, i);
	for (unsigned i = 0; i < 2 && ret == 0; i++)
		ret = conn_open_flow(conn, i);
	if (ret == 0)
		ret = usp_loop_arm(conn->worker->loop, &conn->timer, conn_next_look(conn));
	return ret;
}

/* Nothing is under way. */
static bool conn_is_still(const struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct usp_flow *flow = &conn->work->flows[i];

		if (flow->pump && flow->wait != USP_FLOW_SOURCE)
			return false;
	}
	return !conn->task.is_queued;
}

/* --- Flows ----------------------------------------------------------------------------------------- */

static struct usp_flow *conn_flow(const struct usp_conn *conn, unsigned direction)
{
	bool is_there = conn->state == USP_CONN_FLOWING && conn->work && conn->work->flows[direction].pump;

	return is_there ? &conn->work->flows[direction] : NULL;
}

static void conn_count_wait(struct usp_conn *conn, unsigned direction, enum usp_flow_wait wait)
{
	struct usp_relay_counters *counters = conn_counters(conn);

	if (wait == USP_FLOW_SOURCE)
		usp_counter_add(&counters->source_waits[direction], 1);
	else if (wait == USP_FLOW_SINK)
		usp_counter_add(&counters->sink_waits[direction], 1);
}

/* Be told when an end has something to say, or not. What it said meanwhile is told at once: 0 or -errno. */
static int conn_hear(struct usp_conn *conn, unsigned index, bool must_hear)
{
	struct usp_conn_end *end = &conn->ends[index];
	int ret = 0;

	if (end->is_unheard == must_hear)
		ret = usp_loop_change(conn->worker->loop, end->fd, must_hear ? CONN_EVENTS : CONN_UNHEARD_EVENTS,
				      &end->watch);
	if (ret == 0)
		end->is_unheard = !must_hear;
	return ret;
}

/* Its sink is full, or its rate used up. */
static bool conn_flow_is_held(const struct usp_flow *flow)
{
	return flow->wait == USP_FLOW_SINK || (flow->wait == USP_FLOW_TIME && flow->timer.place);
}

/* Note what a flow waits for. */
static void conn_await(struct usp_conn *conn, unsigned direction, const struct usp_pump_wait *wait)
{
	struct usp_loop *loop = conn->worker->loop;
	struct usp_flow *flow = &conn->work->flows[direction];

	flow->wait = !wait->file ? USP_FLOW_TIME : wait->side == USP_READ ? USP_FLOW_SOURCE : USP_FLOW_SINK;
	conn_count_wait(conn, direction, flow->wait);
	usp_loop_disarm(loop, &flow->timer);
	if (wait->timeout_ns == 0 ||
	    (wait->timeout_ns > 0 && usp_loop_arm(loop, &flow->timer, conn_now(conn) + (uint64_t)wait->timeout_ns) < 0))
		usp_loop_defer(loop, &conn->task);
}

static void conn_stream_told(void *arg, size_t taken, size_t given, int why);

/* Messages are what comes: let the ring carry them. Events about the source are its own from here on. */
static void conn_begin_stream(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];
	struct usp_uring *uring = usp_worker_uring(conn->worker);

	if (!uring || conn_hear(conn, direction, false) < 0)
		return;
	flow->stream =
		usp_uring_begin(uring, conn->ends[direction].fd, conn->ends[!direction].fd, conn_stream_told, flow);
	if (flow->stream)
		flow->wait = USP_FLOW_STREAM;
	else
		conn_hear(conn, direction, true);
}

/* Do what a flow can do now. */
static void conn_step(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];
	struct usp_pump_wait wait;
	int ret;

	flow->pump->is_last = conn->ends[!direction].has_ended;
	ret = usp_pump_step(flow->pump, &wait);
	if (usp_account_step(conn_counters(conn), direction, flow))
		conn->active_ns = conn_now(conn);
	if (ret == -EAGAIN) {
		conn_await(conn, direction, &wait);
		if (flow->wait == USP_FLOW_SOURCE && conn_hear(conn, direction, true) < 0)
			usp_conn_abort(conn);
		else if (flow->wait == USP_FLOW_SOURCE && usp_pump_may_be_carried(flow->pump))
			conn_begin_stream(conn, direction);
	} else if (ret < 0) {
		conn_break(conn);
	} else {
		conn_end_flow(conn, direction);
		conn->ends[direction].has_ended = true;
		if (conn->ends[!direction].has_ended)
			conn_close(conn);
	}
}

/* The ring has given a flow back: what comes now may be anything, its end too. */
static void conn_end_stream(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];

	flow->wait = USP_FLOW_SOURCE;
	flow->pump->nr_messages = 0;
	usp_pump_look(flow->pump);
	if (conn_hear(conn, direction, true) < 0)
		usp_conn_abort(conn);
	else
		conn_step(conn, direction);
}

static void conn_stream_told(void *arg, size_t taken, size_t given, int why)
{
	struct usp_flow *flow = arg;
	struct usp_conn *conn = flow->conn;
	unsigned direction = flow == &conn->work->flows[USP_TO_CLIENT];

	usp_pump_carried(flow->pump, taken, given);
	if (taken || given) {
		usp_account_step(conn_counters(conn), direction, flow);
		conn->active_ns = conn_now(conn);
	}
	if (why == 0)
		return;
	flow->stream = NULL;
	if (why == -EAGAIN)
		conn_end_stream(conn, direction);
	else
		conn_break(conn);
}

static void conn_run_steps(struct usp_task *task)
{
	struct usp_conn *conn = usp_container_of(task, struct usp_conn, task);

	for (unsigned i = 0; i < 2; i++) {
		if (conn_flow(conn, i) && conn_flow(conn, i)->wait == USP_FLOW_TIME)
			conn_step(conn, i);
	}
}

static void conn_flow_fired(struct usp_timer *timer)
{
	struct usp_flow *flow = usp_container_of(timer, struct usp_flow, timer);

	conn_step(flow->conn, flow == &flow->conn->work->flows[USP_TO_CLIENT]);
}

/* An error of the connection itself, and not a notice about a zero-copy send. */
static bool conn_is_broken(struct usp_file *file, unsigned events)
{
	return events & EPOLLERR && usp_file_poll(file) & POLLERR;
}

/* Something about one end: its own flow may have a source again, the other one a sink. */
static void conn_flow_ready(struct usp_conn *conn, unsigned index, unsigned events)
{
	struct usp_flow *from, *to;

	if (!conn->work && !(events & ~(unsigned)EPOLLOUT))
		return;
	if (conn_begin_work(conn) < 0) {
		usp_conn_abort(conn);
		return;
	}
	if (conn_is_broken(conn->work->files[index], events)) {
		conn_break(conn);
		return;
	}
	to = conn_flow(conn, !index);
	if (to && to->wait == USP_FLOW_SINK && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		conn_step(conn, !index);
	from = conn_flow(conn, index);
	if (from && events & (EPOLLRDHUP | EPOLLHUP | EPOLLPRI))
		usp_pump_look(from->pump);
	if (from && conn_flow_is_held(from) && events & EPOLLIN)
		conn_hear(conn, index, false);
	if (from && from->wait == USP_FLOW_SOURCE && events & ~(unsigned)EPOLLOUT)
		conn_step(conn, index);
}

/* --- From here on it flows --------------------------------------------------------------------------- */

/* The first bytes that a target gets; they fit into a socket that is fresh. */
static int conn_send_header(struct usp_conn *conn)
{
	unsigned version = conn_params(conn)->proxy_send;
	unsigned char bytes[USP_PROXY_HEADER_MAX];
	size_t len = version ? usp_proxy_format(version, conn->addresses, bytes) : 0, done = 0;

	while (done < len) {
		struct iovec iov = {.iov_base = bytes + done, .iov_len = len - done};
		ssize_t ret = usp_sys_sendmsg(conn->ends[1].fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1},
					      MSG_DONTWAIT);

		if (ret < 0 && ret != -EINTR)
			return (int)ret;
		done += ret > 0 ? (size_t)ret : 0;
	}
	return 0;
}

/* A stream keeps a request in the kernel: a connection at rest has none. What is under way still arrives. */
static void conn_leave_streams(struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++) {
		if (conn->work->flows[i].stream)
			usp_uring_leave(conn->work->flows[i].stream);
	}
}

/* While something moves, look now and then whether it still does; and afterwards for how long it has not. */
static void conn_idle_fired(struct usp_timer *timer)
{
	struct usp_conn *conn = usp_container_of(timer, struct usp_conn, timer);
	uint64_t now_ns = conn_now(conn), idle_ns = conn_params(conn)->idle_timeout_ns;

	if (idle_ns && now_ns - conn->active_ns >= idle_ns) {
		usp_counter_add(&conn_counters(conn)->idle_closed, 1);
		usp_conn_abort(conn);
		return;
	}
	if (conn->work && now_ns - conn->active_ns >= CONN_REST_NS)
		conn_leave_streams(conn);
	if (conn->work && now_ns - conn->active_ns >= CONN_REST_NS && conn_is_still(conn)) {
		conn_end_work(conn);
		usp_worker_rested(conn->worker);
	}
	if (conn->work)
		usp_loop_arm(conn->worker->loop, timer, conn_next_look(conn));
	else if (idle_ns)
		usp_loop_arm(conn->worker->loop, timer, conn->active_ns + idle_ns);
}

static void conn_begin_flow(struct usp_conn *conn)
{
	struct usp_loop *loop = conn->worker->loop;
	uint64_t idle_ns = conn_params(conn)->idle_timeout_ns;
	int ret = usp_loop_watch(loop, conn->ends[0].fd, CONN_EVENTS, &conn->ends[0].watch);

	usp_loop_disarm(loop, &conn->timer);
	conn->active_ns = conn_now(conn);
	conn->timer.fired = conn_idle_fired;
	if (ret == 0 && idle_ns)
		ret = usp_loop_arm(loop, &conn->timer, conn->active_ns + idle_ns);
	usp_target_connected(conn->target);
	atomic_fetch_add_explicit(&conn->target->nr_connections, 1, memory_order_relaxed);
	conn->task.run = conn_run_steps;
	conn->state = USP_CONN_FLOWING;
	if (ret < 0)
		usp_conn_abort(conn);
}

/* --- Connecting -------------------------------------------------------------------------------------- */

/* Nobody takes the client. */
static void conn_give_up(struct usp_conn *conn)
{
	usp_counter_add(&conn_counters(conn)->unserved, 1);
	usp_conn_abort(conn);
}

/* A target that took the connection after all must not take it for one that is complete. */
static void conn_leave_address(struct usp_conn *conn)
{
	conn_reset_fd(conn->ends[1].fd);
	conn_close_end(&conn->ends[1]);
}

/* An address did not work: the next one, then the next target. */
static void conn_failed(struct usp_conn *conn, int error)
{
	usp_loop_disarm(conn->worker->loop, &conn->timer);
	conn_leave_address(conn);
	conn->address = conn->address->ai_next;
	if (!conn->address) {
		usp_target_failed(conn->target, error, conn_now(conn) + conn_params(conn)->retry_after_ns);
		conn->target = usp_targets_next(conn->targets, conn->target, conn->first_target, conn_now(conn));
		conn->address = conn->target ? conn->target->addresses : NULL;
	}
	if (conn->address)
		conn_try_target(conn);
	else
		conn_give_up(conn);
}

static void conn_connected(struct usp_conn *conn)
{
	bool is_self = conn->ends[1].is_tcp && usp_stream_is_self(conn->ends[1].fd, conn->address);
	int ret = is_self ? -ECONNREFUSED : conn_send_header(conn);

	if (ret < 0)
		conn_failed(conn, ret);
	else
		conn_begin_flow(conn);
}

static void conn_target_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_conn *conn = usp_container_of(watch, struct usp_conn, ends[1].watch);
	int error = 0;

	if (conn->state == USP_CONN_CONNECTING) {
		if (events & (EPOLLERR | EPOLLHUP))
			error = usp_sys_getsockopt_int(conn->ends[1].fd, SOL_SOCKET, SO_ERROR);
		if (error)
			conn_failed(conn, error > 0 ? -error : error);
		else if (events & EPOLLOUT)
			conn_connected(conn);
	}
	if (error == 0 && conn->state == USP_CONN_FLOWING)
		conn_flow_ready(conn, 1, events); /* a target may have spoken at once */
}

static void conn_connect_fired(struct usp_timer *timer)
{
	conn_failed(usp_container_of(timer, struct usp_conn, timer), -ETIMEDOUT);
}

static int conn_prepare_socket(struct usp_conn *conn, int fd)
{
	const struct usp_relay *relay = conn->worker->relay;
	const struct addrinfo *source = relay->source;
	int ret = 0;

	if (relay->params.mark)
		ret = usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_MARK, (int)relay->params.mark);
	if (conn->address->ai_family == AF_UNIX || ret < 0)
		return ret;
	while (source && source->ai_family != conn->address->ai_family)
		source = source->ai_next;
	if (source) {
		usp_sys_setsockopt_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		ret = usp_sys_bind(fd, source->ai_addr, source->ai_addrlen);
	}
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return ret;
}

/* A socket on its way to the address: 0 if it is there, -EINPROGRESS, or -errno. */
static int conn_connect(struct usp_conn *conn)
{
	struct usp_conn_end *end = &conn->ends[1];
	int ret;

	end->is_tcp = conn->address->ai_family != AF_UNIX;
	end->fd = usp_sys_socket(conn->address->ai_family, SOCK_STREAM, 0);
	if (end->fd < 0)
		return end->fd;
	ret = conn_prepare_socket(conn, end->fd);
	if (ret == 0)
		ret = usp_sys_connect(end->fd, conn->address->ai_addr, conn->address->ai_addrlen);
	if (ret == 0 || ret == -EINPROGRESS) {
		int watched = usp_loop_watch(conn->worker->loop, end->fd, CONN_EVENTS, &end->watch);

		ret = watched < 0 ? watched : ret;
	}
	return ret;
}

static void conn_retry_fired(struct usp_timer *timer)
{
	conn_try_target(usp_container_of(timer, struct usp_conn, timer));
}

/* Try the same again in a moment: true, or the time for that is over. */
static bool conn_try_later(struct usp_conn *conn)
{
	conn->timer.fired = conn_retry_fired;
	return conn_now(conn) - conn->active_ns <= conn_params(conn)->connect_timeout_ns &&
	       usp_loop_arm(conn->worker->loop, &conn->timer, conn_now(conn) + CONN_RETRY_NS) == 0;
}

/* Without descriptors nobody is to blame: wait for some, as long as the client does. */
static void conn_wait_for_descriptors(struct usp_conn *conn)
{
	usp_worker_pause(conn->worker);
	if (!conn_try_later(conn))
		conn_give_up(conn);
}

static void conn_wait_for_room(struct usp_conn *conn)
{
	if (!conn_try_later(conn))
		conn_failed(conn, -ETIMEDOUT);
}

static void conn_try_target(struct usp_conn *conn)
{
	uint64_t deadline_ns = conn_now(conn) + conn_params(conn)->connect_timeout_ns;
	int ret = conn_connect(conn);

	conn->state = USP_CONN_CONNECTING;
	if (ret == -EAGAIN) { /* a UNIX socket whose queue is full, where TCP would wait by itself */
		conn_close_end(&conn->ends[1]);
		conn_wait_for_room(conn);
		return;
	}
	if (ret == -EMFILE || ret == -ENFILE || ret == -ENOBUFS || ret == -ENOMEM) {
		conn_leave_address(conn);
		conn_wait_for_descriptors(conn);
		return;
	}
	conn->timer.fired = conn_connect_fired;
	if (ret == -EINPROGRESS)
		ret = usp_loop_arm(conn->worker->loop, &conn->timer, deadline_ns);
	else if (ret == 0)
		conn_connected(conn);
	if (ret < 0)
		conn_failed(conn, ret);
}

/* --- The client -------------------------------------------------------------------------------------- */

static uint32_t conn_hash(const struct usp_conn *conn)
{
	return conn->addresses ? usp_place_hash((const struct sockaddr *)&conn->addresses->source) : 0;
}

static void conn_choose_target(struct usp_conn *conn)
{
	struct usp_targets *targets = usp_worker_targets(conn->worker);

	usp_loop_disarm(conn->worker->loop, &conn->timer);
	if (targets) {
		conn->targets = usp_targets_get(targets);
		conn->target = conn->first_target =
			usp_targets_first(targets, conn_params(conn)->balance, conn_hash(conn), conn_now(conn));
	}
	if (!conn->target) {
		conn_give_up(conn);
		return;
	}
	conn->address = conn->target->addresses;
	conn_try_target(conn);
}

/* Up to len bytes of what the client sent: how many, 0 if there are none now, or -errno, -EPROTO for its end. */
static ssize_t conn_receive(struct usp_conn *conn, void *bytes, size_t len, int flags)
{
	struct iovec iov = {.iov_base = bytes, .iov_len = len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t ret;

	do
		ret = usp_sys_recvmsg(conn->ends[0].fd, &message, flags | MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret == -EAGAIN ? 0 : ret ? ret : -EPROTO;
}

/* Look at the header, and take it out when it is complete: 1, 0 if more is needed, or -errno. */
static int conn_take_header(struct usp_conn *conn)
{
	unsigned char bytes[USP_PROXY_HEADER_MAX];
	ssize_t len = conn_receive(conn, bytes, sizeof(bytes), MSG_PEEK), ret;

	if (len > 0)
		len = usp_proxy_parse(bytes, (size_t)len, conn->addresses);
	if (len <= 0)
		return (int)len;
	do { /* it is there, and comes out whole unless somebody is in the way */
		ret = conn_receive(conn, bytes, (size_t)len, 0);
		len -= ret > 0 ? ret : 0;
	} while (ret > 0 && len);
	return ret > 0 ? 1 : -EPROTO;
}

static void conn_client_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_conn *conn = usp_container_of(watch, struct usp_conn, ends[0].watch);
	int ret;

	if (conn->state == USP_CONN_FLOWING)
		conn_flow_ready(conn, 0, events);
	if (conn->state != USP_CONN_HEADER)
		return;
	ret = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) && !(events & EPOLLIN) ? -EPROTO : conn_take_header(conn);
	if (ret < 0) {
		conn_give_up(conn);
	} else if (ret > 0) {
		usp_loop_unwatch(conn->worker->loop, conn->ends[0].fd);
		conn_choose_target(conn);
	}
}

static void conn_header_fired(struct usp_timer *timer)
{
	conn_give_up(usp_container_of(timer, struct usp_conn, timer));
}

/* Who talks to whom, as the socket itself knows it. */
static int conn_find_addresses(struct usp_conn *conn)
{
	struct usp_proxy_addresses *addresses = usp_alloc(sizeof(*addresses));
	socklen_t source_len = sizeof(addresses->source), dest_len = sizeof(addresses->dest);
	int ret;

	if (!addresses)
		return -ENOMEM;
	conn->addresses = addresses;
	ret = usp_sys_getpeername(conn->ends[0].fd, (struct sockaddr *)&addresses->source, &source_len);
	if (ret == 0)
		ret = usp_sys_getsockname(conn->ends[0].fd, (struct sockaddr *)&addresses->dest, &dest_len);
	usp_place_unmap(&addresses->source);
	usp_place_unmap(&addresses->dest);
	addresses->is_known = ret == 0;
	return ret;
}

static int conn_await_header(struct usp_conn *conn)
{
	struct usp_loop *loop = conn->worker->loop;
	int ret;

	conn->timer.fired = conn_header_fired;
	ret = usp_loop_arm(loop, &conn->timer, conn_now(conn) + conn_params(conn)->connect_timeout_ns);
	return ret < 0 ? ret : usp_loop_watch(loop, conn->ends[0].fd, CONN_EVENTS, &conn->ends[0].watch);
}

static struct usp_conn *conn_new(struct usp_worker *worker, int fd, bool is_tcp)
{
	struct usp_conn *conn = usp_alloc(sizeof(*conn));

	if (!conn)
		return NULL;
	conn->worker = worker;
	conn->ends[0] = (struct usp_conn_end){.watch.ready = conn_client_ready, .fd = fd, .is_tcp = is_tcp};
	conn->ends[1] = (struct usp_conn_end){.watch.ready = conn_target_ready, .fd = -1};
	conn->active_ns = usp_loop_now(worker->loop);
	return conn;
}

void usp_conn_begin(struct usp_worker *worker, int fd, bool is_tcp)
{
	const struct usp_relay_params *params = &worker->relay->params;
	struct usp_conn *conn = conn_new(worker, fd, is_tcp);
	int ret = 0;

	if (!conn) {
		conn_reset_fd(fd);
		usp_sys_close(fd);
		return;
	}
	usp_worker_add(worker, conn);
	if (params->proxy_send || params->proxy_accept || params->balance == USP_BALANCE_SOURCE)
		ret = conn_find_addresses(conn);
	if (ret == 0 && params->proxy_accept)
		ret = conn_await_header(conn);
	if (ret < 0)
		conn_give_up(conn);
	else if (!params->proxy_accept)
		conn_choose_target(conn);
}
