/* SPDX-License-Identifier: MIT */
/* client - a client that was accepted: its header, whether it is served, and the way to its target. */
#include "relay/client.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "relay/admit.h"
#include "relay/connect.h"
#include "relay/flow.h"
#include "relay/header.h"
#include "relay/linger.h"
#include "relay/proxy.h"
#include "relay/sockaddr.h"
#include "relay/worker.h"
#include "splice/sock.h"

/*
 * Admit the client, whose address is known now. A refused client is reset, like one that no target
 * takes.
 */
static void client_admit(struct usp_conn *conn)
{
	conn->story.why = (unsigned char)usp_admit(conn);
	if (conn->story.why)
		usp_conn_abort(conn);
	else
		usp_connect_begin(conn);
}

static void client_refuse_header(struct usp_conn *conn, int error)
{
	usp_header_count(conn, error);
	usp_conn_give_up(conn, USP_WHY_NO_HEADER);
}

static bool client_has_input(const struct usp_conn *conn)
{
	struct iovec iov = {.iov_base = &(char){0}, .iov_len = 1};

	return usp_sys_recvmsg(conn->ends[0].fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1},
			       MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * Tell whether the client has given up while a target is being tried. A client that only ended its
 * side still waits for an answer. A UNIX socket that is closed may have left bytes to deliver.
 */
static bool client_is_gone(struct usp_conn *conn, unsigned events)
{
	bool is_reset = events & EPOLLERR || (events & EPOLLHUP && conn->ends[0].is_tcp);

	return is_reset || (events & EPOLLHUP && !client_has_input(conn));
}

static void client_is_lost(struct usp_conn *conn)
{
	conn->story.why = USP_WHY_CLIENT_BROKE;
	usp_conn_break(conn);
}

static void client_ready(struct usp_watch *watch, unsigned events)
{
	struct usp_conn *conn = usp_container_of(watch, struct usp_conn, ends[0].watch);
	int ret;

	if (conn->state == USP_CONN_LINGERING)
		usp_linger_ready(conn, 0, events);
	else if (conn->state == USP_CONN_FLOWING)
		usp_flow_ready(conn, 0, events);
	else if (conn->state == USP_CONN_CONNECTING && client_is_gone(conn, events))
		client_is_lost(conn);
	if (conn->state != USP_CONN_HEADER || !(events & ~(unsigned)EPOLLOUT))
		return;
	ret = usp_header_take(conn);
	if (ret < 0) {
		client_refuse_header(conn, ret);
	} else if (ret > 0) {
		usp_conn_watch(conn, 0, USP_END_UNWATCHED);
		client_admit(conn);
	}
}

static void client_header_fired(struct usp_timer *timer)
{
	client_refuse_header(usp_container_of(timer, struct usp_conn, timer), -ETIMEDOUT);
}

/* Find the addresses of both ends of the client's socket. */
static int client_find_addresses(struct usp_conn *conn)
{
	struct usp_proxy_addresses *addresses = usp_alloc(sizeof(*addresses));
	socklen_t dest_len = sizeof(addresses->dest);
	int ret;

	if (!addresses)
		return -ENOMEM;
	conn->addresses = addresses;
	memcpy(&addresses->source, &conn->story.peer, sizeof(conn->story.peer));
	ret = usp_sys_getsockname(conn->ends[0].fd, (struct sockaddr *)&addresses->dest, &dest_len);
	usp_sockaddr_unmap(&addresses->dest);
	addresses->is_known = ret == 0 && addresses->source.ss_family != AF_UNIX; /* UNIX clients have none */
	return ret;
}

static int client_await_header(struct usp_conn *conn)
{
	struct usp_loop *loop = conn->worker->loop;
	int ret;

	conn->timer.fired = client_header_fired;
	ret = usp_loop_arm(loop, &conn->timer, usp_conn_now(conn) + usp_conn_params(conn)->connect_timeout_ns);
	return ret < 0 ? ret : usp_conn_watch(conn, 0, USP_END_HEARD);
}

static struct usp_conn *client_new(struct usp_worker *worker, const struct usp_client *client)
{
	struct usp_conn *conn = usp_slab_alloc(&worker->conn_slab);

	if (!conn)
		return NULL;
	conn->worker = worker;
	conn->ends[0] = (struct usp_conn_end){.watch.ready = client_ready, .fd = client->fd, .is_tcp = client->is_tcp};
	conn->ends[1] = (struct usp_conn_end){.watch.ready = usp_connect_ready, .fd = -1};
	conn->active_ns = usp_loop_now(worker->loop);
	conn->story.peer = client->peer;
	conn->story.listener = client->listener;
	conn->story.begun_ns = conn->active_ns;
	return conn;
}

void usp_client_begin(struct usp_worker *worker, const struct usp_client *client)
{
	const struct usp_relay_params *params = &worker->relay->params;
	struct usp_conn *conn = client_new(worker, client);
	bool is_due;
	int ret = 0;

	if (!conn) {
		usp_sock_set_reset(client->fd, true);
		usp_sys_close(client->fd);
		usp_worker_count(worker, -1);
		return;
	}
	usp_worker_add(worker, conn);
	if (params->proxy_send || params->proxy_accept || params->balance == USP_BALANCE_SOURCE)
		ret = client_find_addresses(conn);
	is_due = ret == 0 && usp_header_is_due(conn);
	if (is_due)
		ret = client_await_header(conn);
	if (ret < 0)
		usp_conn_give_up(conn, USP_WHY_SHORT);
	else if (!is_due)
		client_admit(conn);
}
