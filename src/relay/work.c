/* SPDX-License-Identifier: MIT */
/* work - what a connection needs while something moves: a file for each side, and a pump each way. */
#include "relay/work.h"

#include <errno.h>
#include <usplice/endpoint.h>

#include "base/alloc.h"
#include "endpoints/stream.h"
#include "event/uring.h"
#include "pump/driver.h"
#include "relay/account.h"
#include "relay/worker.h"

void usp_work_end_flow(struct usp_conn *conn, unsigned direction)
{
	struct usp_flow *flow = &conn->work->flows[direction];

	usp_loop_disarm(conn->worker->loop, &flow->timer);
	if (flow->stream)
		usp_uring_drop(flow->stream);
	flow->stream = NULL;
	if (!flow->pump)
		return;
	usp_account_end(usp_conn_counters(conn), direction, flow);
	usp_worker_moved(conn->worker);
	usp_pump_free(flow->pump);
	flow->pump = NULL;
}

/* Free what a connection needs only while something moves. The descriptors stay. */
void usp_work_end(struct usp_conn *conn)
{
	struct usp_conn_work *work = conn->work;

	if (!work)
		return;
	for (unsigned i = 0; i < 2; i++)
		usp_work_end_flow(conn, i);
	for (unsigned i = 0; i < 2; i++) {
		if (work->files[i])
			work->files[i]->fd = -1;
		usp_file_put(work->files[i]);
	}
	usp_free(work);
	conn->work = NULL;
}

static int work_open(struct usp_conn *conn, unsigned direction, void (*fired)(struct usp_timer *timer))
{
	const struct usp_pump_params params = {
		.size = sizeof(params),
		.rate = usp_conn_params(conn)->rate,
		.lane = usp_conn_params(conn)->lane,
		.flags = USP_PUMP_ADAPT_LANE,
	};
	struct usp_flow *flow = &conn->work->flows[direction];
	int ret;

	flow->conn = conn;
	flow->timer.fired = fired;
	if (usp_conn_is_over(conn, direction))
		return 0;
	ret = usp_pump_new(conn->work->files[direction], &params, &flow->pump);
	if (ret < 0)
		return ret;
	usp_pump_share(flow->pump, &conn->worker->scratch,
		       conn->worker->relay->shared_rate.per_second ? &conn->worker->relay->shared_rate : NULL);
	return usp_pump_add_sink(flow->pump, conn->work->files[!direction]);
}

int usp_work_begin(struct usp_conn *conn, void (*fired)(struct usp_timer *timer))
{
	int ret = 0;

	conn->work = usp_alloc(sizeof(*conn->work));
	if (!conn->work)
		return -ENOMEM;
	for (unsigned i = 0; i < 2 && ret == 0; i++)
		ret = usp_stream_file_new(conn->ends[i].fd, conn->ends[i].is_tcp, i ? "target" : "client",
					  &conn->work->files[i]);
	for (unsigned i = 0; i < 2 && ret == 0; i++)
		ret = work_open(conn, i, fired);
	return ret;
}
