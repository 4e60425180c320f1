/* SPDX-License-Identifier: MIT */
/* admit - decide by the address of a client whether it is served. */
#include "relay/admit.h"

#include <errno.h>

#include "relay/conn.h"
#include "relay/limits.h"
#include "relay/proxy.h"
#include "relay/rules.h"
#include "relay/worker.h"

/* Return the client that the PROXY header names, or without a header the peer of the socket. */
static union usp_peer admit_client(const struct usp_conn *conn)
{
	union usp_peer client = conn->story.peer;

	if (conn->addresses && conn->addresses->is_known)
		usp_peer_take(&conn->addresses->source, &client);
	return client;
}

static enum usp_relay_why admit_refuse(struct usp_conn *conn, int error)
{
	struct usp_relay_counters *counters = usp_conn_counters(conn);

	if (error == -ENOMEM)
		return USP_WHY_SHORT;
	usp_counter_add(error == -EUSERS ? &counters->too_many : &counters->too_fast, 1);
	return error == -EUSERS ? USP_WHY_TOO_MANY : USP_WHY_TOO_FAST;
}

enum usp_relay_why usp_admit(struct usp_conn *conn)
{
	const struct usp_rules *rules = usp_worker_rules(conn->worker);
	struct usp_limits *limits = conn->worker->relay->limits;
	union usp_peer client = admit_client(conn);
	int ret;

	if (rules && !usp_rules_allow(rules, &client.any)) {
		usp_counter_add(&usp_conn_counters(conn)->denied, 1);
		return USP_WHY_DENIED;
	}
	ret = limits ? usp_limits_enter(limits, &client, usp_conn_now(conn), &conn->guest) : 0;
	return ret < 0 ? admit_refuse(conn, ret) : USP_WHY_CLOSED;
}

void usp_admit_leave(struct usp_conn *conn)
{
	if (conn->guest)
		usp_limits_leave(conn->guest, usp_conn_now(conn));
	conn->guest = NULL;
}
