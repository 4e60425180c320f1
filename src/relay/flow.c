/* SPDX-License-Identifier: MIT */
/*
 * flow - the two directions of a connection, from the moment when both of its sides are there.
 *
 *   client end ──► file ── pump ──► file ──► target end
 *          ▲                                     │
 *          └─────── file ◄── pump ── file ◄──────┘
 *
 * With io_uring, flows begin as streams of the ring. The loop watches the input of an end only when
 * it has to: when large pieces come, or nothing has come for a while. A descriptor is watched
 * edge-triggered. An event makes the flow step that waits for it; a flow that yielded is in the
 * loop's list of tasks. The input of an end is not watched while its sink is full: each segment
 * would wake the thread for nothing, and take the processor from the sink.
 *
 * A flow whose source ended has shut its sink down, and the other flow goes on: half-close is kept.
 * An error ends only its own direction. A side that takes no more may have sent bytes before,
 * perhaps its end, and its socket has queued them. The other flow delivers them, and then linger.c
 * ends the connection. Files and pumps are freed when nothing has moved for a while.
 */
#include "relay/flow.h"

#include <errno.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/wait.h"
#include "endpoints/stream.h"
#include "event/uring.h"
#include "pump/driver.h"
#include "relay/account.h"
#include "relay/linger.h"
#include "relay/tell.h"
#include "relay/work.h"
#include "relay/worker.h"
#include "splice/sock.h"

#define FLOW_NR_MESSAGES 4u    /* in a row, before the ring is asked to carry a flow again: */
#define FLOW_RETURN_SHIFT 3    /* eight times as many after each time that the ring gave it back, */
#define FLOW_RETURNS_MAX 4u    /* four times at most */
#define FLOW_REST_NS 100000000 /* without movement, until files and pumps are freed */
#define FLOW_LOOKS 8	       /* looks at what peers have taken, in the idle time; at least one a second */
#define FLOW_LOOK_NS 1000000000

/* --- The end ----------------------------------------------------------------------------------------- */

static bool flow_has_broken(const struct usp_conn *conn)
{
	return conn->ends[0].is_broken || conn->ends[0].is_deaf || conn->ends[1].is_broken || conn->ends[1].is_deaf;
}

/* End the flows that are over, after a side has ended or broken. The last flow ends the connection. */
static void flow_end_finished(struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++) {
		if (usp_conn_is_over(conn, i))
			usp_work_end_flow(conn, i);
	}
	if (!usp_conn_is_over(conn, 0) || !usp_conn_is_over(conn, 1))
		return;
	if (flow_has_broken(conn))
		usp_linger_begin(conn);
	else
		usp_conn_close(conn);
}

static void flow_lose(struct usp_conn *conn, bool *ret_how)
{
	const struct usp_conn_end *client = &conn->ends[0];

	if (!flow_has_broken(conn)) {
		usp_counter_add(&usp_conn_counters(conn)->reset, 1);
		conn->story.why = ret_how == &client->is_broken || ret_how == &client->is_deaf ? USP_WHY_CLIENT_BROKE
											       : USP_WHY_TARGET_BROKE;
	}
	*ret_how = true;
	flow_end_finished(conn);
}

/* --- Work ------------------------------------------------------------------------------------------- */

static void flow_fired(struct usp_timer *timer);

/* Return when to look again whether something still moves. */
static uint64_t flow_next_look(const struct usp_conn *conn)
{
	uint64_t idle_ns = usp_conn_params(conn)->idle_timeout_ns;

	return usp_conn_now(conn) + (idle_ns && idle_ns < FLOW_REST_NS ? idle_ns : FLOW_REST_NS);
}

/* Make files and pumps for what is coming: 0 or -errno. */
static int flow_begin_work(struct usp_conn *conn)
{
	int ret;

	if (conn->work)
		return 0;
	ret = usp_work_begin(conn, flow_fired);
	if (ret == 0)
		ret = usp_loop_arm(conn->worker->loop, &conn->timer, flow_next_look(conn));
	return ret;
}

/* Tell whether nothing is under way. */
static bool flow_is_still(const struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct usp_flow *flow = &conn->work->flows[i];

		if (flow->pump && flow->wait != USP_FLOW_SOURCE)
			return false;
	}
	return !conn->task.is_queued;
}

/* --- Flows ----------------------------------------------------------------------------------------- */

static struct usp_flow *flow_of(const struct usp_conn *conn, unsigned direction)
{
	bool is_there = conn->state == USP_CONN_FLOWING && conn->work && conn->work->flows[direction].pump;

	return is_there ? &conn->work->flows[direction] : NULL;
}

static void flow_count_wait(struct usp_conn *conn, unsigned direction, enum usp_flow_wait wait)
{
	struct usp_relay_counters *counters = usp_conn_counters(conn);

	if (wait == USP_FLOW_SOURCE)
		usp_counter_add(&counters->source_waits[direction], 1);
	else if (wait == USP_FLOW_SINK)
		usp_counter_add(&counters->sink_waits[direction], 1);
}

/* Tell whether its sink is full, or its rate is used up. */
static bool flow_is_held(const struct usp_flow *flow)
{
	return flow->wait == USP_FLOW_SINK || (flow->wait == USP_FLOW_TIME && flow->timer.index);
}

/* Note what a flow waits for. */
static void flow_await(struct usp_conn *conn, unsigned direction, const struct usp_pump_wait *wait)
{
	struct usp_loop *loop = conn->worker->loop;
	struct usp_flow *flow = &conn->work->flows[direction];

	flow->wait = !wait->file ? USP_FLOW_TIME : wait->side == USP_READ ? USP_FLOW_SOURCE : USP_FLOW_SINK;
	flow_count_wait(conn, direction, flow->wait);
	usp_loop_disarm(loop, &flow->timer);
	if (wait->timeout_ns == 0 ||
	    (wait->timeout_ns > 0 &&
	     usp_loop_arm(loop, &flow->timer, usp_conn_now(conn) + (uint64_t)wait->timeout_ns) < 0))
		usp_loop_defer(loop, &conn->task);
}

static void flow_stream_told(void *arg, size_t taken, size_t given, int why);

/* Let the ring carry a flow, as long as it brings messages. True: the ring now reads the source. */
static bool flow_begin_stream(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];
	struct usp_uring *uring = usp_worker_uring(conn->worker);

	if (!uring || !usp_pump_may_be_external(flow->pump))
		return false;
	flow->stream = usp_uring_begin(uring, conn->ends[direction].fd, conn->ends[direction].is_tcp,
				       conn->ends[!direction].fd, flow_stream_told, flow);
	if (flow->stream)
		flow->wait = USP_FLOW_STREAM;
	return flow->stream;
}

/* Carry a direction by the own loop: watch the input of its source, and its sink. 0 or -errno. */
static int flow_listen(struct usp_conn *conn, unsigned direction)
{
	int ret = usp_conn_watch(conn, direction, USP_END_HEARD);

	if (ret == 0 && conn->ends[!direction].watched == USP_END_UNWATCHED)
		ret = usp_conn_watch(conn, !direction, USP_END_UNHEARD);
	return ret;
}

/*
 * Tell whether a flow is for the ring. A flow with alternating small and large pieces would go back
 * and forth, which costs most of all.
 */
static bool flow_is_for_ring(const struct usp_flow *flow)
{
	return usp_pump_nr_messages(flow->pump) >= FLOW_NR_MESSAGES << flow->nr_returns * FLOW_RETURN_SHIFT;
}

/* Choose what watches the source that a flow waits for: the ring or the loop. 0 or -errno. */
static int flow_await_source(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];

	if (flow_is_for_ring(flow) && flow_begin_stream(conn, direction))
		return conn->ends[direction].watched == USP_END_HEARD ? usp_conn_watch(conn, direction, USP_END_UNHEARD)
								      : 0;
	return flow_listen(conn, direction);
}

static void flow_step(struct usp_conn *conn, unsigned direction);

/* Drop what a side sends and the other one does not take. */
static void flow_drop(struct usp_conn *conn, unsigned index)
{
	int ret = usp_linger_drop(conn, index);

	if (ret > 0)
		usp_loop_defer(conn->worker->loop, &conn->task);
	else if (ret < 0 && ret != -EAGAIN)
		flow_lose(conn, &conn->ends[index].is_broken);
}

/* Tell whether an error of the sink means a dead connection, and not a shortage of this machine. */
static bool flow_is_dead(const struct usp_conn *conn, unsigned index, int error)
{
	return error == -EPIPE || error == -ECONNRESET || usp_file_poll(conn->work->files[index]) & POLLHUP;
}

/*
 * Handle a sink that takes no more. What its source sends is dropped; what the sink sent before
 * still arrives.
 */
static void flow_lose_sink(struct usp_conn *conn, unsigned direction, int error)
{
	struct usp_flow *back;

	if (!flow_is_dead(conn, !direction, error)) {
		usp_conn_break(conn);
		return;
	}
	conn->active_ns = usp_conn_now(conn);
	flow_lose(conn, &conn->ends[!direction].is_deaf);
	if (conn->state == USP_CONN_FLOWING && usp_conn_watch(conn, direction, USP_END_HEARD) < 0)
		usp_conn_abort(conn);
	if (conn->state == USP_CONN_FLOWING)
		flow_drop(conn, direction);
	back = flow_of(conn, !direction);
	if (back && back->wait == USP_FLOW_SOURCE) {
		usp_pump_recheck(back->pump);
		flow_step(conn, !direction);
	}
}

/* Do what a flow can do now. */
static void flow_step(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	int ret;

	usp_pump_set_closes_sink(flow->pump, conn->ends[!direction].has_ended);
	ret = usp_pump_step(flow->pump, &wait);
	if (usp_account_step(usp_conn_counters(conn), direction, flow))
		conn->active_ns = usp_conn_now(conn);
	usp_worker_moved(conn->worker);
	if (ret == -EAGAIN) {
		flow_await(conn, direction, &wait);
		if (flow->wait == USP_FLOW_SOURCE && flow_await_source(conn, direction) < 0)
			usp_conn_abort(conn);
	} else if (ret < 0 && usp_pump_source_error(flow->pump)) {
		flow_lose(conn, &conn->ends[direction].is_broken);
	} else if (ret < 0) {
		flow_lose_sink(conn, direction, ret);
	} else {
		conn->ends[direction].has_ended = true;
		flow_end_finished(conn);
	}
}

/* Take back a flow from the ring: large pieces may come now, or the end. */
static void flow_end_stream(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];

	flow->wait = USP_FLOW_SOURCE;
	flow->nr_returns = (unsigned)usp_min(flow->nr_returns + 1, FLOW_RETURNS_MAX);
	usp_pump_reset_messages(flow->pump);
	usp_pump_recheck(flow->pump);
	if (flow_listen(conn, direction) < 0)
		usp_conn_abort(conn);
	else
		flow_step(conn, direction);
}

/* End a flow whose source has ended, and of which the ring has carried all. */
static void flow_end_source(struct usp_conn *conn, unsigned direction)
{
	usp_pump_end_external(conn->work->flows[direction].pump);
	flow_step(conn, direction);
}

static void flow_stream_told(void *arg, size_t taken, size_t given, int why)
{
	struct usp_flow *flow = arg;
	struct usp_conn *conn = flow->conn;
	unsigned direction = flow == &conn->work->flows[USP_TO_CLIENT];

	usp_pump_count_external(flow->pump, taken, given);
	if (taken || given) {
		usp_account_step(usp_conn_counters(conn), direction, flow);
		conn->active_ns = usp_conn_now(conn);
	}
	if (why == 0)
		return;
	flow->stream = NULL;
	if (why == USP_URING_SILENCE)
		why = usp_sock_end_error(conn->work->files[direction]) < 0 ? -ECONNRESET : USP_URING_END;
	if (why == USP_URING_END)
		flow_end_source(conn, direction);
	else if (why == -EAGAIN)
		flow_end_stream(conn, direction);
	else if (why == USP_URING_REFUSED)
		flow_lose_sink(conn, direction, -EPIPE);
	else
		flow_lose(conn, &conn->ends[direction].is_broken);
}

static void flow_run_steps(struct usp_task *task)
{
	struct usp_conn *conn = usp_container_of(task, struct usp_conn, task);

	for (unsigned i = 0; i < 2; i++) {
		if (flow_of(conn, i) && flow_of(conn, i)->wait == USP_FLOW_TIME)
			flow_step(conn, i);
		if (conn->state == USP_CONN_FLOWING && conn->ends[!i].is_deaf)
			flow_drop(conn, i);
	}
}

static void flow_fired(struct usp_timer *timer)
{
	struct usp_flow *flow = usp_container_of(timer, struct usp_flow, timer);

	flow_step(flow->conn, flow == &flow->conn->work->flows[USP_TO_CLIENT]);
}

/*
 * Tell whether a side broke that has nothing more to send. Its sender would see that only with the
 * next bytes. The end of a UNIX socket is not an error.
 */
static bool flow_has_lost_sink(const struct usp_conn *conn, unsigned index, unsigned events)
{
	return events & (conn->ends[index].is_tcp ? EPOLLERR | EPOLLHUP : EPOLLERR) && !flow_of(conn, index) &&
	       flow_of(conn, !index);
}

/* Handle an event of one end: its own flow may have a source again, the other one a sink. */
void usp_flow_ready(struct usp_conn *conn, unsigned index, unsigned events)
{
	struct usp_flow *from, *to;

	if (!conn->work && !(events & ~(unsigned)EPOLLOUT))
		return;
	if (flow_begin_work(conn) < 0) {
		usp_conn_abort(conn);
		return;
	}
	to = flow_of(conn, !index);
	if (to && to->wait == USP_FLOW_SINK && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		flow_step(conn, !index);
	from = flow_of(conn, index);
	if (from && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
		usp_pump_recheck(from->pump);
	if (from && flow_is_held(from) && events & EPOLLIN)
		usp_conn_watch(conn, index, USP_END_UNHEARD);
	if (from && from->wait == USP_FLOW_SOURCE && events & ~(unsigned)EPOLLOUT)
		flow_step(conn, index);
	if (flow_has_lost_sink(conn, index, events))
		flow_lose_sink(conn, !index, -EPIPE);
	else if (conn->state == USP_CONN_FLOWING && conn->ends[!index].is_deaf && events & ~(unsigned)EPOLLOUT)
		flow_drop(conn, index);
}

/* --- Rest ------------------------------------------------------------------------------------------- */

/*
 * Give up the streams of a connection at rest: each keeps a request in the kernel. What is under
 * way still arrives.
 */
static void flow_leave_streams(struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++) {
		if (conn->work->flows[i].stream)
			usp_uring_leave(conn->work->flows[i].stream);
	}
}

/*
 * Return how long nothing may move, or 0 for ever. When one side broke, the other side has only a
 * limited time to take the rest.
 */
static uint64_t flow_patience_ns(const struct usp_conn *conn)
{
	bool is_stuck = flow_has_broken(conn) && conn->work && !flow_is_still(conn);

	return is_stuck ? usp_linger_ns(conn) : usp_conn_params(conn)->idle_timeout_ns;
}

/*
 * Look what the peers have acknowledged, or taken out of a UNIX socket: no event reports that
 * movement. A connection that a rate holds back is not idle.
 */
static void flow_look_at_peers(struct usp_conn *conn)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct usp_flow *flow = flow_of(conn, i);

		if (usp_sock_was_taken_from(conn->ends[i].fd, &conn->ends[i].left) ||
		    (flow && flow->wait == USP_FLOW_TIME))
			conn->active_ns = usp_conn_now(conn);
	}
}

/*
 * Return the time of the next look at a connection at rest: when its idle time is over, or sooner
 * if a peer has bytes to take.
 */
static uint64_t flow_next_idle_look(const struct usp_conn *conn, uint64_t idle_ns)
{
	bool has_left = atomic_load(&conn->ends[0].left) > 0 || atomic_load(&conn->ends[1].left) > 0;
	uint64_t pause_ns = idle_ns / FLOW_LOOKS < FLOW_LOOK_NS ? idle_ns / FLOW_LOOKS : FLOW_LOOK_NS;

	return usp_earlier(conn->active_ns + idle_ns, usp_conn_now(conn), has_left ? pause_ns : 0);
}

/* Look now and then whether something still moves, and afterwards how long nothing has moved. */
static void flow_idle_fired(struct usp_timer *timer)
{
	struct usp_conn *conn = usp_container_of(timer, struct usp_conn, timer);
	uint64_t now_ns = usp_conn_now(conn), idle_ns = usp_conn_params(conn)->idle_timeout_ns;
	uint64_t patience_ns = flow_patience_ns(conn);

	if (patience_ns)
		flow_look_at_peers(conn);
	if (patience_ns && now_ns - conn->active_ns >= patience_ns) {
		if (!flow_has_broken(conn)) {
			usp_counter_add(&usp_conn_counters(conn)->idle_closed, 1);
			conn->story.why = USP_WHY_IDLE;
		}
		usp_conn_abort(conn);
		return;
	}
	if (conn->work && now_ns - conn->active_ns >= FLOW_REST_NS)
		flow_leave_streams(conn);
	if (conn->work && now_ns - conn->active_ns >= FLOW_REST_NS && flow_is_still(conn)) {
		usp_work_end(conn);
		usp_worker_rested(conn->worker);
	}
	if (conn->work)
		usp_loop_arm(conn->worker->loop, timer, flow_next_look(conn));
	else if (idle_ns)
		usp_loop_arm(conn->worker->loop, timer, flow_next_idle_look(conn, idle_ns));
}

/* --- The beginning ----------------------------------------------------------------------------------- */

/* Begin without files and pumps: none are needed before bytes come. */
static int flow_begin_quiet(struct usp_conn *conn)
{
	uint64_t idle_ns = usp_conn_params(conn)->idle_timeout_ns;
	int ret = usp_conn_watch(conn, 0, USP_END_HEARD);

	if (ret == 0)
		ret = usp_conn_watch(conn, 1, USP_END_HEARD);
	if (ret == 0 && idle_ns)
		ret = usp_loop_arm(conn->worker->loop, &conn->timer, conn->active_ns + idle_ns);
	return ret;
}

/*
 * Begin as streams of the ring. Most connections are short and their messages small: for these the
 * ring saves half of all system calls.
 */
static int flow_begin_streams(struct usp_conn *conn)
{
	int ret = flow_begin_work(conn);

	for (unsigned i = 0; i < 2 && ret == 0; i++) {
		if (!flow_begin_stream(conn, i))
			ret = flow_listen(conn, i);
	}
	return ret;
}

void usp_flow_begin(struct usp_conn *conn)
{
	int ret;

	usp_loop_disarm(conn->worker->loop, &conn->timer);
	conn->active_ns = usp_conn_now(conn);
	conn->timer.fired = flow_idle_fired;
	conn->task.run = flow_run_steps;
	conn->state = USP_CONN_FLOWING;
	usp_address_connected(conn->address);
	if (usp_target_connected(conn->target))
		usp_tell_target(conn, 0);
	atomic_fetch_add_explicit(&conn->address->nr_connections, 1, memory_order_relaxed);
	ret = usp_worker_uring(conn->worker) ? flow_begin_streams(conn) : flow_begin_quiet(conn);
	if (ret < 0)
		usp_conn_abort(conn);
}
