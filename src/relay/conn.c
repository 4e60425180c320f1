/* SPDX-License-Identifier: MIT */
/*
 * conn - one connection of a relay: its two ends, and how it ends.
 *
 *   HEADER ──► CONNECTING ──► FLOWING ──► CLOSED
 *                 ▲   │           │         ▲
 *                 └───┘           └─LINGERING, if one side broke
 *                 refused: the next address, the next target
 *
 * client.c has the first state, connect.c the second, flow.c and linger.c the others.
 */
#include "relay/conn.h"

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "event/uring.h"
#include "relay/admit.h"
#include "relay/tell.h"
#include "relay/work.h"
#include "relay/worker.h"
#include "splice/sock.h"

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

/* --- The end --------------------------------------------------------------------------------------------- */

static void conn_run_free(struct usp_task *task)
{
	struct usp_conn *conn = usp_container_of(task, struct usp_conn, task);

	usp_targets_put(conn->targets);
	usp_free(conn->addresses);
	usp_free(conn->header);
	usp_slab_free(&conn->worker->conn_slab, conn);
}

/* Close one end, by the ring together with others if no loop watches the descriptor. */
void usp_conn_close_end(struct usp_conn *conn, unsigned index)
{
	struct usp_conn_end *end = &conn->ends[index];
	struct usp_uring *uring = end->watched == USP_END_UNWATCHED ? conn->worker->uring : NULL;

	if (end->fd >= 0 && end == &conn->ends[1])
		atomic_fetch_sub_explicit(&conn->worker->relay->nr_target_fds, 1, memory_order_relaxed);
	if (end->fd >= 0 && !(uring && usp_uring_close(uring, end->fd)))
		usp_sys_close(end->fd);
	end->fd = -1;
	end->watched = USP_END_UNWATCHED;
}

void usp_conn_stop_connecting(struct usp_conn *conn)
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
	usp_work_end(conn);
	usp_conn_stop_connecting(conn);
	conn_leave_target(conn);
	for (unsigned i = 0; i < 2; i++)
		usp_conn_close_end(conn, i);
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
	if (conn->ends[index].fd >= 0)
		usp_sock_set_reset(conn->ends[index].fd, true);
	usp_conn_close_end(conn, index);
}

void usp_conn_abort(struct usp_conn *conn)
{
	if (conn->state == USP_CONN_CLOSED)
		return;
	if (!conn->story.why)
		conn->story.why = USP_WHY_SHORT;
	usp_work_end(conn);
	usp_conn_stop_connecting(conn);
	for (unsigned i = 0; i < 2; i++)
		usp_conn_reset(conn, i);
	usp_conn_close(conn);
}

void usp_conn_break(struct usp_conn *conn)
{
	usp_counter_add(&usp_conn_counters(conn)->reset, 1);
	usp_conn_abort(conn);
}

/* Reset a client that no target takes. */
void usp_conn_give_up(struct usp_conn *conn, enum usp_relay_why why)
{
	conn->story.why = (unsigned char)why;
	usp_counter_add(&usp_conn_counters(conn)->unserved, 1);
	usp_conn_abort(conn);
}
