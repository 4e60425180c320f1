/* SPDX-License-Identifier: MIT */
/*
 * linger - the last phase of a connection of which one side broke: the other gets all that was sent
 * to it.
 *
 *   FLOWING ──► LINGERING ──► CLOSED      acknowledged: reset; or, behind an end, closed when it ends, too
 *
 * A reset discards what the peer has not acknowledged, so the connection waits for that. What the
 * peer sends meanwhile is dropped, for two reasons: some peers read nothing before they have sent
 * all, and to close a socket with unread bytes is a reset. No event reports an acknowledgement, so
 * linger looks for it now and then, less often as time goes by.
 */
#include "relay/linger.h"

#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "relay/account.h"
#include "relay/work.h"
#include "relay/worker.h"
#include "splice/sock.h"

#define LINGER_NS ((uint64_t)30000000000)	 /* without taking anything, as for the sinks of a pump */
#define LINGER_SILENCE_NS ((uint64_t)1000000000) /* for a side that has got an end to send its own */
#define LINGER_NAP_MIN_NS ((uint64_t)1000000)
#define LINGER_NAP_MAX_NS ((uint64_t)20000000)
#define LINGER_NR_DROPS 64 /* in one round */

uint64_t usp_linger_ns(const struct usp_conn *conn)
{
	uint64_t idle_ns = usp_conn_params(conn)->idle_timeout_ns;

	return idle_ns && idle_ns < LINGER_NS ? idle_ns : LINGER_NS;
}

int usp_linger_drop(struct usp_conn *conn, unsigned index)
{
	ssize_t ret = 1;

	for (unsigned i = 0; ret > 0 && i < LINGER_NR_DROPS; i++) {
		ret = usp_sock_drop(conn->ends[index].fd);
		if (ret > 0)
			usp_account_drop(usp_conn_counters(conn), index, (uint64_t)ret);
	}
	return ret == -EINTR ? 1 : (int)ret;
}

/* Look again: soon while bytes are on their way, or when the time for an end is over. */
static void linger_await(struct usp_conn *conn, bool has_all, bool has_more)
{
	uint64_t nap_ns = (usp_conn_now(conn) - conn->active_ns) / 8, when_ns = conn->active_ns + LINGER_SILENCE_NS;

	nap_ns = nap_ns < LINGER_NAP_MIN_NS ? LINGER_NAP_MIN_NS : usp_min(nap_ns, LINGER_NAP_MAX_NS);
	if (has_more)
		usp_loop_defer(conn->worker->loop, &conn->task);
	if (usp_loop_arm(conn->worker->loop, &conn->timer, has_all ? when_ns : usp_conn_now(conn) + nap_ns) < 0)
		usp_conn_abort(conn);
}

static void linger_look(struct usp_conn *conn)
{
	unsigned index = conn->ends[0].fd < 0;
	struct usp_conn_end *end = &conn->ends[index];
	bool is_whole = conn->ends[!index].has_ended, has_all;
	int said;

	if (usp_sock_was_taken_from(end->fd, &end->left))
		conn->active_ns = usp_conn_now(conn);
	has_all = !end->is_tcp || atomic_load(&end->left) <= 0; /* bytes in a UNIX socket are with the peer */
	if (has_all && !is_whole) {
		usp_conn_abort(conn);
		return;
	}
	said = usp_linger_drop(conn, index);
	if (has_all && said == 0)
		usp_conn_close(conn);
	else if ((said < 0 && said != -EAGAIN) ||
		 usp_conn_now(conn) - conn->active_ns >= (has_all ? LINGER_SILENCE_NS : usp_linger_ns(conn)))
		usp_conn_abort(conn);
	else
		linger_await(conn, has_all, said > 0);
}

static void linger_fired(struct usp_timer *timer)
{
	linger_look(usp_container_of(timer, struct usp_conn, timer));
}

static void linger_run(struct usp_task *task)
{
	linger_look(usp_container_of(task, struct usp_conn, task));
}

void usp_linger_ready(struct usp_conn *conn, unsigned index, unsigned events)
{
	if (conn->ends[index].fd < 0)
		return; /* an event of this round, from before it was closed */
	if (events & EPOLLERR)
		usp_conn_abort(conn);
	else
		linger_look(conn);
}

static bool linger_is_gone(const struct usp_conn_end *end)
{
	return end->is_broken || end->is_deaf;
}

void usp_linger_begin(struct usp_conn *conn)
{
	unsigned index = linger_is_gone(&conn->ends[0]);

	if (linger_is_gone(&conn->ends[index])) {
		usp_conn_abort(conn);
		return;
	}
	usp_work_end(conn);
	usp_conn_reset(conn, !index);
	conn->state = USP_CONN_LINGERING;
	conn->timer.fired = linger_fired;
	conn->task.run = linger_run;
	conn->active_ns = usp_conn_now(conn);
	if (usp_conn_watch(conn, index, USP_END_HEARD) < 0)
		usp_conn_abort(conn);
	else
		linger_look(conn);
}
