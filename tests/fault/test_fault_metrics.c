/* SPDX-License-Identifier: MIT */
/*
 * test_fault_metrics - a request to the server of metrics, with everything failing in turn. The client gets its answer,
 * or the connection ends before all of it is there; what says "try again" costs nothing but time.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/own.h"
#include "fault.h"
#include "metrics/server.h"
#include "relay/report.h"

#define ANSWER_ROOM (1 << 18)
#define HASTE 5	     /* in waits of the server, which gives a client five seconds */
#define PATIENCE_S 1 /* of the client: longer than the tick after which the server tries again */

/* --- The relay ------------------------------------------------------------------------------------- */

void usp_relay_status(struct usp_relay *relay, struct usp_relay_status *ret_status)
{
	(void)relay;
	*ret_status = (struct usp_relay_status){.size = sizeof(struct usp_relay_status), .nr_targets = 200};
}

int usp_relay_target_status(struct usp_relay *relay, unsigned index, struct usp_relay_target_status *ret_status)
{
	(void)relay;
	*ret_status =
		(struct usp_relay_target_status){.size = sizeof(struct usp_relay_target_status), .nr_connected = index};
	snprintf(ret_status->name, sizeof(ret_status->name), "target-%u", index);
	return 0;
}

/* --- The client ------------------------------------------------------------------------------------ */

struct client {
	const char *request;
	int listener;
	struct usp_loop *loop; /* to be ended when the client has gone; NULL if there is none */
	pthread_barrier_t begun;
	char answer[ANSWER_ROOM];
	size_t len;
	bool has_ended; /* the connection, properly */
};

static int client_connect(const struct client *client)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fault_check(getsockname(client->listener, (struct sockaddr *)&address, &len) == 0);
	fault_check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
	fault_check(connect(fd, (struct sockaddr *)&address, len) == 0);
	return fd;
}

static void *client_run(void *arg)
{
	struct client *client = arg;
	int fd = client_connect(client);
	ssize_t len;

	pthread_barrier_wait(&client->begun);
	if (client->loop) {
		send(fd, client->request, strlen(client->request), MSG_NOSIGNAL);
		while ((len = recv(fd, client->answer + client->len, sizeof(client->answer) - 1 - client->len, 0)) > 0)
			client->len += (size_t)len;
		client->has_ended = len == 0;
		usp_loop_wake(client->loop);
	}
	close(fd);
	return NULL;
}

/* All of what its head promises is there. */
static bool client_has_all(const struct client *client)
{
	const char *body = strstr(client->answer, "\r\n\r\n"), *told = strstr(client->answer, "\r\nContent-Length: ");

	return client->has_ended && body && told && strtoul(told + 18, NULL, 10) == strlen(body + 4);
}

/* --- The scenario ---------------------------------------------------------------------------------- */

static void loop_ended(void *arg)
{
	usp_loop_stop(arg);
}

static int open_listener(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	fault_check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 4) == 0);
	return fd;
}

/* The server's life: 0, or why it could not begin. */
static int serve(struct client *client, struct usp_loop *loop)
{
	struct usp_metrics *metrics = NULL;
	struct usp_reporter reporter = {.relay = NULL};
	const struct usp_metrics_source source = usp_reporter_source(&reporter);
	const char *why;
	int ret = loop ? usp_metrics_new(&source, &client->listener, 1, &metrics) : -ENOMEM;

	if (ret == 0)
		ret = usp_metrics_add_host(metrics, "relay", &why);
	if (ret == 0)
		usp_reporter_begin(&reporter, usp_loop_now(loop));
	if (ret == 0)
		ret = usp_metrics_start(metrics, loop);
	client->loop = ret == 0 ? loop : NULL;
	pthread_barrier_wait(&client->begun);
	if (ret == 0) {
		usp_loop_on_wake(loop, loop_ended, loop);
		ret = usp_loop_run(loop);
	}
	usp_metrics_free(metrics);
	close(client->listener);
	return ret;
}

static bool is_refusal(const struct client *client)
{
	return strncmp(client->answer, "HTTP/1.1 503 ", 13) == 0;
}

static void check_answer(const struct client *client, int ret)
{
	struct fault_hit hit = fault_hit();
	bool must_succeed = !hit.has_fired || fault_is_transient(&hit.plan);

	fault_check(ret == 0 || !must_succeed);
	if (must_succeed)
		fault_check(client_has_all(client) && strncmp(client->answer, "HTTP/1.1 200 ", 13) == 0);
	if (is_refusal(client))
		fault_check(client_has_all(client) && hit.plan.error == ENOMEM);
}

static void run_request(const void *arg)
{
	static struct client client;
	struct usp_loop *loop = NULL;
	pthread_t thread;
	int ret;

	client = (struct client){.request = arg, .listener = open_listener()};
	pthread_barrier_init(&client.begun, NULL, 2);
	fault_check(pthread_create(&thread, NULL, client_run, &client) == 0);
	fault_arm();
	usp_loop_new(&loop);
	ret = serve(&client, loop);
	fault_disarm();
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&client.begun);
	usp_loop_free(loop);
	check_answer(&client, ret);
}

static const struct fault_scenario scenarios[] = {
	{.name = "ask_for_metrics", .run = run_request, .arg = "GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n"},
	{.name = "ask_for_the_status", .run = run_request, .arg = "GET /status.json HTTP/1.0\r\n\r\n"},
};

int main(void)
{
	fault_haste = HASTE;
	return fault_main(scenarios, usp_array_len(scenarios));
}
