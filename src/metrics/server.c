/* SPDX-License-Identifier: MIT */
/*
 * server - a small HTTP server that reports numbers: /metrics for Prometheus, / for people.
 *
 * Each client sends one request and gets one answer. Then it lingers until it has closed its side,
 * because unread bytes would reset the connection before the answer has arrived:
 *
 *     accepted ──► asks ──► takes ──► lingers ──► gone
 *                    └────────┴──────────┴─ error, or METRICS_PATIENCE_NS ─► gone
 *
 * A client that takes its answer has that time again with each piece.
 *
 * All of it runs in the thread of the loop, never blocks, and is bounded in clients and in what
 * each may send. When all places are taken, a client that has had its time gives its place to a
 * waiting one. The client that has been asking for the longest goes first.
 */
#include "metrics/server.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "metrics/host.h"
#include "metrics/http.h"

#define METRICS_CLIENTS_MAX 32
#define METRICS_SPARE_FDS 4 /* kept for clients that come when the process has none left */
#define METRICS_REQUEST_MAX 8192
#define METRICS_HEAD_MAX 2048		       /* of an answer */
#define METRICS_LINGER_MAX ((size_t)256 << 10) /* bytes behind a request that are read and dropped */
#define METRICS_PATIENCE_NS (5 * UINT64_C(1000000000))
#define METRICS_TICK_NS UINT64_C(1000000000)
#define METRICS_GRACE_NS UINT64_C(500000000) /* that each state has in any case, so that a crowd is served in turn */

enum metrics_state {
	METRICS_ASKS,
	METRICS_TAKES,
	METRICS_LINGERS,
};

struct metrics_client {
	struct usp_watch watch;
	struct usp_timer timer;
	struct usp_task last_task; /* frees it */
	struct usp_metrics *metrics;
	struct metrics_client **slot;
	int fd; /* -1: closed, and freed soon */
	enum metrics_state state;
	uint64_t since_ns; /* when that state began */
	unsigned events;   /* that it is watched for */
	size_t nr_read, nr_sent;
	char request[METRICS_REQUEST_MAX];
	char head[METRICS_HEAD_MAX];
	size_t head_len;
	struct usp_text text; /* holds body, unless that is static */
	const char *body;
	size_t body_len;
};

struct metrics_door {
	struct usp_watch watch;
	struct usp_metrics *metrics;
	int fd; /* -1: it is not listened to any more */
};

struct usp_metrics {
	struct usp_metrics_source source;
	struct usp_loop *loop; /* NULL before the start */
	struct usp_timer tick;
	struct metrics_door doors[USP_METRICS_DOORS_MAX];
	unsigned nr_doors;
	bool is_unix; /* which no page in a browser can reach */
	char *hosts[USP_METRICS_HOSTS_MAX];
	unsigned nr_hosts;
	unsigned process; /* process that made it: a child leaves shared things alone */
	struct metrics_client *clients[METRICS_CLIENTS_MAX];
	int spare_fds[METRICS_SPARE_FDS];
	unsigned nr_spare_fds;
};

/* --- Hosts ----------------------------------------------------------------------------------------- */

static const char metrics_foreign[] =
	"Misdirected Request: this server answers to its numeric addresses, to localhost, and to the "
	"names that --metrics-host gives it.\n";

int usp_metrics_add_host(struct usp_metrics *metrics, const char *name, const char **ret_why)
{
	char plain[USP_HOST_NAME_MAX];
	int ret = usp_host_name(name, plain, ret_why);

	if (ret < 0)
		return ret;
	if (metrics->nr_hosts == usp_array_len(metrics->hosts))
		return -ENOSPC;
	metrics->hosts[metrics->nr_hosts] = usp_alloc_string(plain);
	if (!metrics->hosts[metrics->nr_hosts])
		return -ENOMEM;
	metrics->nr_hosts++;
	return 0;
}

/*
 * Tell whether a request is for this server. Without a host there is no foreign name, and the
 * client is not a browser.
 */
static bool metrics_is_for(const struct usp_metrics *metrics, const struct usp_http_request *request)
{
	return metrics->is_unix || !request->host ||
	       usp_host_is_ours(request->host, request->host_len, metrics->hosts, metrics->nr_hosts);
}

/* --- Answers --------------------------------------------------------------------------------------- */

struct metrics_route {
	const char *path, *type;
	void (*write)(const struct usp_metrics *metrics, struct usp_text *text); /* NULL: the page */
};

static void metrics_write_numbers(const struct usp_metrics *metrics, struct usp_text *text)
{
	struct usp_numbers numbers = {.prefix = metrics->source.prefix, .text = text};

	metrics->source.write_numbers(metrics->source.arg, &numbers);
}

static void metrics_write_json(const struct usp_metrics *metrics, struct usp_text *text)
{
	metrics->source.write_json(metrics->source.arg, text);
}

static const struct metrics_route metrics_routes[] = {
	{.path = "/", .type = "text/html; charset=utf-8"},
	{.path = "/metrics", .type = "text/plain; version=0.0.4; charset=utf-8", .write = metrics_write_numbers},
	{.path = "/status.json", .type = "application/json", .write = metrics_write_json},
};

static const struct metrics_route *metrics_find(const struct usp_http_request *request)
{
	for (size_t i = 0; i < usp_array_len(metrics_routes); i++) {
		const char *path = metrics_routes[i].path;

		if (strlen(path) == request->path_len && memcmp(path, request->path, request->path_len) == 0)
			return &metrics_routes[i];
	}
	return NULL;
}

static void metrics_enter(struct metrics_client *client, enum metrics_state state)
{
	client->state = state;
	client->since_ns = usp_loop_now(client->metrics->loop);
}

/* Give the client its full time again. Its timer is armed already, and moving one cannot fail. */
static void metrics_be_patient(struct metrics_client *client)
{
	struct usp_loop *loop = client->metrics->loop;

	usp_loop_arm(loop, &client->timer, usp_loop_now(loop) + METRICS_PATIENCE_NS);
}

static void metrics_answer(struct metrics_client *client, unsigned status, const char *type, const char *policy)
{
	const struct usp_http_answer answer = {
		.status = status, .type = type, .policy = policy, .len = client->body_len};

	client->head_len = usp_http_head(&answer, client->head, sizeof(client->head));
	metrics_enter(client, METRICS_TAKES);
	metrics_be_patient(client);
}

static void metrics_refuse(struct metrics_client *client, unsigned status)
{
	client->body = status == 421 ? metrics_foreign : usp_http_reason(status);
	client->body_len = strlen(client->body);
	metrics_answer(client, status, "text/plain; charset=utf-8", NULL);
}

static void metrics_send_page(struct metrics_client *client, const struct metrics_route *route)
{
	const struct usp_metrics_page *page = client->metrics->source.page;

	client->body = page->html;
	client->body_len = page->html_len;
	metrics_answer(client, 200, route->type, page->policy);
}

static void metrics_send_report(struct metrics_client *client, const struct metrics_route *route)
{
	route->write(client->metrics, &client->text);
	client->body = client->text.base;
	client->body_len = client->text.len;
	if (client->text.has_failed)
		metrics_refuse(client, 503);
	else
		metrics_answer(client, 200, route->type, NULL);
}

static void metrics_serve(struct metrics_client *client, const struct usp_http_request *request)
{
	const struct metrics_route *route = metrics_find(request);

	if (!metrics_is_for(client->metrics, request))
		metrics_refuse(client, 421);
	else if (request->method == USP_HTTP_OTHER)
		metrics_refuse(client, 405);
	else if (!route)
		metrics_refuse(client, 404);
	else if (route->write)
		metrics_send_report(client, route);
	else
		metrics_send_page(client, route);
	if (request->method == USP_HTTP_HEAD)
		client->body_len = 0;
}

/* --- Clients: each step gives 0 to go on with the next, -EAGAIN to wait for events, or why it is over ---------------- */

static int metrics_ask(struct metrics_client *client)
{
	struct usp_http_request request;
	ssize_t len =
		usp_sys_read(client->fd, client->request + client->nr_read, sizeof(client->request) - client->nr_read);

	if (len <= 0)
		return len < 0 ? (int)len : -EPIPE;
	client->nr_read += (size_t)len;
	len = usp_http_parse(client->request, client->nr_read, &request);
	if (len > 0)
		metrics_serve(client, &request);
	else if (len < 0)
		metrics_refuse(client, 400);
	else if (client->nr_read == sizeof(client->request))
		metrics_refuse(client, 431);
	return 0;
}

static int metrics_take(struct metrics_client *client)
{
	size_t head_sent = usp_min(client->nr_sent, client->head_len), body_sent = client->nr_sent - head_sent;
	struct iovec iov[] = {
		{.iov_base = client->head + head_sent, .iov_len = client->head_len - head_sent},
		{.iov_base = (char *)client->body + body_sent, .iov_len = client->body_len - body_sent},
	};
	const struct msghdr message = {.msg_iov = iov, .msg_iovlen = usp_array_len(iov)};
	ssize_t len = usp_sys_sendmsg(client->fd, &message, MSG_DONTWAIT);

	if (len < 0)
		return (int)len;
	client->nr_sent += (size_t)len;
	metrics_be_patient(client);
	if (client->nr_sent < client->head_len + client->body_len)
		return 0;
	metrics_enter(client, METRICS_LINGERS);
	client->nr_read = 0;
	return usp_sys_shutdown(client->fd, SHUT_WR);
}

static int metrics_linger(struct metrics_client *client)
{
	ssize_t len = usp_sys_read(client->fd, client->request, sizeof(client->request));

	if (len <= 0)
		return len < 0 ? (int)len : -EPIPE;
	client->nr_read += (size_t)len;
	return client->nr_read < METRICS_LINGER_MAX ? 0 : -EMSGSIZE;
}

static void metrics_accept(struct usp_metrics *metrics);

static void metrics_client_free(struct usp_task *task)
{
	struct metrics_client *client = usp_container_of(task, struct metrics_client, last_task);

	usp_text_free(&client->text);
	usp_free(client);
}

static void metrics_keep_fds(struct usp_metrics *metrics)
{
	while (metrics->nr_spare_fds < METRICS_SPARE_FDS) {
		int fd = usp_sys_eventfd(); /* any descriptor will do */

		if (fd < 0)
			return;
		metrics->spare_fds[metrics->nr_spare_fds++] = fd;
	}
}

static void metrics_client_close(struct metrics_client *client)
{
	struct usp_loop *loop = client->metrics->loop;

	usp_loop_disarm(loop, &client->timer);
	usp_loop_unwatch(loop, client->fd);
	usp_sys_close(client->fd);
	client->fd = -1;
	*client->slot = NULL;
	metrics_keep_fds(client->metrics);
}

/*
 * Close a client. An event of this round may still be on its way to it, so the memory stays until
 * the round is over.
 */
static void metrics_client_drop(struct metrics_client *client)
{
	metrics_client_close(client);
	usp_loop_defer(client->metrics->loop, &client->last_task);
}

static void metrics_client_end(struct metrics_client *client)
{
	metrics_client_drop(client);
	metrics_accept(client->metrics);
}

/* Watch a client for what its state waits for: 0 or -errno. */
static int metrics_client_wait(struct metrics_client *client)
{
	unsigned events = client->state == METRICS_TAKES ? EPOLLOUT : EPOLLIN;

	if (events == client->events)
		return 0;
	client->events = events;
	return usp_loop_change(client->metrics->loop, client->fd, events, &client->watch);
}

static void metrics_client_ready(struct usp_watch *watch, unsigned events)
{
	static int (*const steps[])(struct metrics_client * client) = {
		[METRICS_ASKS] = metrics_ask,
		[METRICS_TAKES] = metrics_take,
		[METRICS_LINGERS] = metrics_linger,
	};
	struct metrics_client *client = usp_container_of(watch, struct metrics_client, watch);
	int ret;

	(void)events;
	if (client->fd < 0)
		return;
	do {
		ret = steps[client->state](client);
	} while (ret == 0 || ret == -EINTR);
	if (ret == -EAGAIN)
		ret = metrics_client_wait(client);
	if (ret < 0)
		metrics_client_end(client);
}

static void metrics_client_late(struct usp_timer *timer)
{
	metrics_client_end(usp_container_of(timer, struct metrics_client, timer));
}

/* --- Listener -------------------------------------------------------------------------------------- */

/*
 * Choose the client that loses least by closing, among those that have had their time in one state;
 * the oldest first. First those that have not asked, then those that have their answer, last those
 * that take it slowly. NULL if none has had its time.
 */
static struct metrics_client *metrics_idlest(struct usp_metrics *metrics)
{
	static const unsigned ranks[] = {[METRICS_ASKS] = 0, [METRICS_LINGERS] = 1, [METRICS_TAKES] = 2};
	struct metrics_client *idlest = NULL;

	for (size_t i = 0; i < usp_array_len(metrics->clients); i++) {
		struct metrics_client *client = metrics->clients[i];

		if (!client || usp_loop_now(metrics->loop) - client->since_ns < METRICS_GRACE_NS)
			continue;
		if (!idlest || ranks[client->state] < ranks[idlest->state] ||
		    (client->state == idlest->state && client->since_ns < idlest->since_ns))
			idlest = client;
	}
	return idlest;
}

static struct metrics_client **metrics_free_slot(struct usp_metrics *metrics)
{
	for (size_t i = 0; i < usp_array_len(metrics->clients); i++) {
		if (!metrics->clients[i])
			return &metrics->clients[i];
	}
	return NULL;
}

/* Make a client; on failure close the connection. */
static void metrics_client_new(struct usp_metrics *metrics, struct metrics_client **slot, int fd)
{
	struct metrics_client *client = usp_alloc(sizeof(*client));
	struct usp_loop *loop = metrics->loop;

	if (!client) {
		usp_sys_close(fd);
		return;
	}
	*client = (struct metrics_client){
		.watch.ready = metrics_client_ready,
		.timer.fired = metrics_client_late,
		.last_task.run = metrics_client_free,
		.metrics = metrics,
		.slot = slot,
		.fd = fd,
		.since_ns = usp_loop_now(loop),
		.events = EPOLLIN,
	};
	*slot = client;
	if (usp_loop_arm(loop, &client->timer, usp_loop_now(loop) + METRICS_PATIENCE_NS) < 0 ||
	    usp_loop_watch(loop, fd, client->events, &client->watch) < 0) {
		metrics_client_close(client);
		metrics_client_free(&client->last_task);
	}
}

/* Accept a client. If descriptors are short, use a spare one: a relay in trouble must still report. */
static int metrics_take_client(struct usp_metrics *metrics, int listener)
{
	int fd = usp_sys_accept(listener, NULL);

	if ((fd != -EMFILE && fd != -ENFILE) || !metrics->nr_spare_fds)
		return fd;
	usp_sys_close(metrics->spare_fds[--metrics->nr_spare_fds]);
	fd = usp_sys_accept(listener, NULL);
	if (fd < 0) /* accept(2) wants a descriptor before it looks for a client */
		metrics_keep_fds(metrics);
	return fd;
}

/*
 * Accept one waiting client, in a free place or in that of another client. False if there is none,
 * or no place for it.
 */
static bool metrics_accept_one(struct usp_metrics *metrics, int listener)
{
	struct metrics_client **slot = metrics_free_slot(metrics);
	struct metrics_client *idlest = slot ? NULL : metrics_idlest(metrics);
	int fd = slot || idlest ? metrics_take_client(metrics, listener) : -EBUSY;

	if (fd < 0)
		return false;
	if (idlest) {
		slot = idlest->slot;
		metrics_client_drop(idlest);
	}
	metrics_client_new(metrics, slot, fd);
	return true;
}

/*
 * Accept until no client waits. After a failure try again at each tick and whenever a client has
 * gone. The listener is edge-triggered, so nothing spins meanwhile.
 */
static void metrics_accept(struct usp_metrics *metrics)
{
	for (unsigned i = 0; i < metrics->nr_doors; i++) {
		while (metrics_accept_one(metrics, metrics->doors[i].fd))
			;
	}
}

void usp_metrics_shut(struct usp_metrics *metrics)
{
	for (unsigned i = 0; i < metrics->nr_doors; i++) {
		struct metrics_door *door = &metrics->doors[i];

		if (door->fd >= 0)
			usp_loop_unwatch(metrics->loop, door->fd);
		door->fd = -1;
	}
}

static void metrics_door_ready(struct usp_watch *watch, unsigned events)
{
	(void)events;
	metrics_accept(usp_container_of(watch, struct metrics_door, watch)->metrics);
}

/* Run once a second. Arming the timer cannot fail here: its place among the timers has just become free. */
static void metrics_ticked(struct usp_timer *timer)
{
	struct usp_metrics *metrics = usp_container_of(timer, struct usp_metrics, tick);
	uint64_t now_ns = usp_loop_now(metrics->loop), next_ns = timer->when_ns + METRICS_TICK_NS;

	usp_loop_arm(metrics->loop, timer, next_ns > now_ns ? next_ns : now_ns + METRICS_TICK_NS);
	metrics->source.tick(metrics->source.arg, now_ns);
	metrics_accept(metrics);
	metrics_keep_fds(metrics);
}

/* --- Life ------------------------------------------------------------------------------------------ */

int usp_metrics_new(const struct usp_metrics_source *source, const int *fds, unsigned nr_fds,
		    struct usp_metrics **ret_metrics)
{
	struct usp_metrics *metrics = usp_alloc(sizeof(*metrics));

	if (!metrics)
		return -ENOMEM;
	metrics->source = *source;
	for (metrics->nr_doors = 0; metrics->nr_doors < nr_fds; metrics->nr_doors++)
		metrics->doors[metrics->nr_doors] = (struct metrics_door){
			.watch.ready = metrics_door_ready,
			.metrics = metrics,
			.fd = fds[metrics->nr_doors],
		};
	metrics->is_unix = usp_sys_getsockopt_int(fds[0], SOL_SOCKET, SO_DOMAIN) == AF_UNIX;
	metrics->process = usp_own_nr();
	metrics->tick.fired = metrics_ticked;
	*ret_metrics = metrics;
	return 0;
}

/* Remove everything from the loop. */
static void metrics_stop(struct usp_metrics *metrics)
{
	for (size_t i = 0; i < usp_array_len(metrics->clients); i++) {
		struct metrics_client *client = metrics->clients[i];

		if (!client)
			continue;
		metrics_client_close(client);
		metrics_client_free(&client->last_task);
	}
	usp_loop_disarm(metrics->loop, &metrics->tick);
	for (unsigned i = 0; i < metrics->nr_doors; i++) {
		if (metrics->doors[i].fd >= 0)
			usp_loop_unwatch(metrics->loop, metrics->doors[i].fd);
	}
	metrics->loop = NULL;
}

int usp_metrics_start(struct usp_metrics *metrics, struct usp_loop *loop)
{
	uint64_t now_ns = usp_loop_now(loop);
	int ret = usp_loop_arm(loop, &metrics->tick, now_ns + METRICS_TICK_NS);

	for (unsigned i = 0; i < metrics->nr_doors && ret == 0; i++)
		ret = usp_loop_watch(loop, metrics->doors[i].fd, EPOLLIN | EPOLLET, &metrics->doors[i].watch);
	metrics->loop = loop;
	if (ret < 0)
		metrics_stop(metrics);
	else
		metrics_keep_fds(metrics);
	return ret;
}

void usp_metrics_free(struct usp_metrics *metrics)
{
	if (!metrics)
		return;
	if (metrics->process == usp_own_nr() && metrics->loop)
		metrics_stop(metrics);
	while (metrics->nr_spare_fds)
		usp_sys_close(metrics->spare_fds[--metrics->nr_spare_fds]);
	for (unsigned i = 0; i < metrics->nr_hosts; i++)
		usp_free(metrics->hosts[i]);
	usp_free(metrics);
}
