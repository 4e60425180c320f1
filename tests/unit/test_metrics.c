/* SPDX-License-Identifier: MIT */
/*
 * test_metrics - the server of a relay's metrics over real connections, good and bad ones. The relay is one of ours, which
 * counts how often it is asked; a loop of its own serves in a second thread.
 */
#include "metrics/server.h"

#include <openssl/evp.h>
#include <sys/resource.h>
#include <time.h>

#include "base/sys.h"
#include "net.h"
#include "relay/page.h"
#include "relay/report.h"

#define MANY_TARGETS 4000 /* whose text is larger than what a socket of ours holds */
#define CROWD 40	  /* more clients than the server has places */
#define PATIENCE_S 60	  /* of our clients; the server has 5 */
#define PLACES 32	  /* that the server has */
#define SECOND_NS UINT64_C(1000000000)

/* --- The relay ------------------------------------------------------------------------------------- */

static pthread_mutex_t relay_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t relay_asked = PTHREAD_COND_INITIALIZER;
static unsigned nr_asked;
static atomic_uint nr_targets; /* servers of a test may be asked while the next one is made */

void usp_relay_status(struct usp_relay *relay, struct usp_relay_status *ret_status)
{
	assert_ptr_equal(relay, &nr_asked);
	pthread_mutex_lock(&relay_lock);
	*ret_status = (struct usp_relay_status){
		.size = sizeof(struct usp_relay_status), .nr_connections = 77, .nr_targets = nr_targets};
	nr_asked++;
	pthread_cond_broadcast(&relay_asked);
	pthread_mutex_unlock(&relay_lock);
}

/* One target fewer than was said: it has just been taken away. */
int usp_relay_target_status(struct usp_relay *relay, unsigned index, struct usp_relay_target_status *ret_status)
{
	assert_ptr_equal(relay, &nr_asked);
	if (index + 1 >= nr_targets)
		return -EINVAL;
	*ret_status =
		(struct usp_relay_target_status){.size = sizeof(struct usp_relay_target_status), .nr_connected = index};
	snprintf(ret_status->name, sizeof(ret_status->name), "target-%u", index);
	return 0;
}

/* Until the server has looked at the relay so many times more, which it does at least once in a second. */
static void await_asked(unsigned nr_times)
{
	struct timespec deadline;
	unsigned until;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&relay_lock);
	until = nr_asked + nr_times;
	while (nr_asked < until)
		assert_int_equal(pthread_cond_timedwait(&relay_asked, &relay_lock, &deadline), 0);
	pthread_mutex_unlock(&relay_lock);
}

/* --- The clock: while a test holds it the server's time goes on only as the test says ------------------ */

static _Atomic(uint64_t) held_ns; /* 0: it is not held */

uint64_t __real_usp_sys_now_ns(void);
uint64_t __wrap_usp_sys_now_ns(void);
uint64_t __wrap_usp_sys_now_ns(void)
{
	uint64_t now_ns = atomic_load(&held_ns);

	return now_ns ? now_ns : __real_usp_sys_now_ns();
}

static void hold_clock(void)
{
	atomic_store(&held_ns, __real_usp_sys_now_ns());
}

static void release_clock(void)
{
	atomic_store(&held_ns, 0);
}

/* --- The server ------------------------------------------------------------------------------------ */

struct server {
	struct usp_loop *loop;
	struct usp_reporter reporter;
	struct usp_metrics *metrics;
	struct worker worker;
	int listener;
	unsigned port;
};

static void server_stop(void *arg)
{
	usp_loop_stop(arg);
}

static ssize_t server_run(void *arg)
{
	return usp_loop_run(arg);
}

static void make_server(struct server *server, int listener)
{
	struct usp_metrics_source source;

	assert_int_equal(listen(listener, 128), 0);
	assert_int_equal(usp_loop_new(&server->loop), 0);
	server->listener = listener;
	server->reporter.relay = (struct usp_relay *)&nr_asked;
	source = usp_reporter_source(&server->reporter);
	assert_int_equal(usp_metrics_new(&source, &listener, 1, &server->metrics), 0);
}

static void start_server(struct server *server)
{
	usp_reporter_begin(&server->reporter, usp_loop_now(server->loop));
	assert_int_equal(usp_metrics_start(server->metrics, server->loop), 0);
	usp_loop_on_wake(server->loop, server_stop, server->loop);
	worker_start(&server->worker, server_run, server->loop);
}

/* Send buffers of sndbuf bytes, or what the system gives if it is 0. */
static void open_server(struct server *server, unsigned nr, int sndbuf)
{
	int fd = net_bound(SOCK_STREAM | SOCK_NONBLOCK, &server->port);

	nr_targets = nr;
	if (sndbuf)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
	make_server(server, fd);
	start_server(server);
}

static void close_server(struct server *server)
{
	usp_loop_wake(server->loop);
	assert_int_equal(worker_join(&server->worker), 0);
	usp_metrics_free(server->metrics);
	close(server->listener);
	usp_loop_free(server->loop);
}

/* --- Clients --------------------------------------------------------------------------------------- */

static int unconnected_client(void)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static int client(const struct server *server)
{
	int fd = unconnected_client();

	assert_int_equal(net_connect(fd, server->port), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* An answer, taken to its end. */
struct reply {
	char *text; /* all of it, ended by a 0 */
	size_t len;
	const char *body;
	size_t body_len;
};

/* Read to the end in pieces of at most step bytes, and close. */
static struct reply take_reply(int fd, size_t step)
{
	const size_t room = 4 << 20; /* more than any answer of ours */
	struct reply reply = {.text = malloc(room)};
	ssize_t len;

	while ((len = recv(fd, reply.text + reply.len, step < room - reply.len ? step : room - reply.len - 1, 0)) > 0)
		reply.len += (size_t)len;
	assert_int_equal(len, 0);
	close(fd);
	reply.text[reply.len] = '\0';
	reply.body = strstr(reply.text, "\r\n\r\n");
	assert_non_null(reply.body);
	reply.body += 4;
	reply.body_len = reply.len - (size_t)(reply.body - reply.text);
	return reply;
}

static struct reply ask(const struct server *server, const char *request)
{
	int fd = client(server);

	say(fd, request);
	return take_reply(fd, SIZE_MAX);
}

/* The status is this one, and the text holds that. */
static void assert_reply(const struct reply *reply, const char *status, const char *part)
{
	char line[64];

	snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n", status);
	assert_int_equal(strncmp(reply->text, line, strlen(line)), 0);
	assert_non_null(strstr(reply->text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(reply->text, part));
}

static size_t length_told(const struct reply *reply)
{
	const char *at = strstr(reply->text, "\r\nContent-Length: ");

	assert_non_null(at);
	return strtoul(at + strlen("\r\nContent-Length: "), NULL, 10);
}

static void assert_serves(const struct server *server)
{
	struct reply reply = ask(server, "GET /metrics HTTP/1.0\r\n\r\n");

	assert_reply(&reply, "200 OK", "\nusplice_relay_connections 77\n");
	assert_int_equal(reply.body_len, length_told(&reply));
	free(reply.text);
}

/* --- What is served -------------------------------------------------------------------------------- */

static void metrics_are_served_to_prometheus(void **state)
{
	struct server server;
	struct reply reply;

	(void)state;
	open_server(&server, 3, 0);
	reply = ask(&server, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n");
	assert_reply(&reply, "200 OK", "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	assert_int_equal(reply.body_len, length_told(&reply));
	assert_non_null(strstr(reply.body, "\nusplice_relay_connections 77\n"));
	assert_non_null(
		strstr(reply.body, "usplice_relay_target_connected_total{index=\"1\",target=\"target-1\"} 1\n"));
	assert_null(strstr(reply.body, "target-2"));
	free(reply.text);
	close_server(&server);
}

static void the_status_has_a_history_that_grows(void **state)
{
	struct server server;
	struct reply reply;

	(void)state;
	open_server(&server, 0, 0);
	reply = ask(&server, "GET /status.json HTTP/1.0\r\n\r\n");
	assert_reply(&reply, "200 OK", "\r\nContent-Type: application/json\r\n");
	assert_non_null(strstr(reply.body, "\"targets\":[],"));
	free(reply.text);
	await_asked(2);
	reply = ask(&server, "GET /status.json HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(reply.body, ",\"connections\":[77"));
	free(reply.text);
	close_server(&server);
}

/* The source that the policy has to name for the text between two tags: its digest. */
static void assert_allowed(const char *page, const char *from, const char *to)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char source[128] = "'sha256-";
	unsigned digest_len;
	const char *begin = strstr(page, from), *end = strstr(page, to);

	assert_true(begin && end);
	begin += strlen(from);
	assert_int_equal(EVP_Digest(begin, (size_t)(end - begin), digest, &digest_len, EVP_sha256(), NULL), 1);
	EVP_EncodeBlock((unsigned char *)source + strlen(source), digest, (int)digest_len);
	strcat(source, "'");
	assert_non_null(strstr(usp_relay_page.policy, source));
}

static void the_page_is_served_with_a_policy_that_allows_only_itself(void **state)
{
	struct server server;
	struct reply reply;
	char line[1024];

	(void)state;
	open_server(&server, 0, 0);
	reply = ask(&server, "GET / HTTP/1.0\r\n\r\n");
	snprintf(line, sizeof(line), "\r\nContent-Security-Policy: %s\r\n", usp_relay_page.policy);
	assert_reply(&reply, "200 OK", line);
	assert_non_null(strstr(reply.text, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
	assert_int_equal(reply.body_len, usp_relay_page.html_len);
	assert_memory_equal(reply.body, usp_relay_page.html, usp_relay_page.html_len);
	assert_int_equal(strncmp(usp_relay_page.policy, "default-src 'none'; ", 20), 0);
	assert_allowed(reply.body, "<script>", "</script>");
	assert_allowed(reply.body, "<style>", "</style>");
	free(reply.text);
	close_server(&server);
}

static void a_head_comes_without_its_body(void **state)
{
	struct server server;
	struct reply head, page;

	(void)state;
	open_server(&server, 0, 0);
	head = ask(&server, "HEAD / HTTP/1.0\r\n\r\n");
	page = ask(&server, "GET / HTTP/1.0\r\n\r\n");
	assert_int_equal(head.body_len, 0);
	assert_int_equal(length_told(&head), usp_relay_page.html_len);
	assert_int_equal(head.len, page.len - page.body_len);
	assert_memory_equal(head.text, page.text, head.len);
	free(head.text);
	free(page.text);
	close_server(&server);
}

static void what_is_not_there_is_refused_by_its_status(void **state)
{
	static const struct {
		const char *request, *status, *part;
	} cases[] = {
		{"GET /metrics/ HTTP/1.0\r\n\r\n", "404 Not Found", "\r\n\r\nNot Found"},
		{"GET /../etc/passwd HTTP/1.0\r\n\r\n", "404 Not Found", "\r\n\r\nNot Found"},
		{"POST /metrics HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed",
		 "\r\nAllow: GET, HEAD\r\n"},
		{"BREW / HTTP/1.0\r\n\r\n", "405 Method Not Allowed", "\r\nAllow: GET, HEAD\r\n"},
		{"GET /\r\n\r\n", "400 Bad Request", "\r\n\r\nBad Request"},
		{"\x16\x03\x01", "400 Bad Request", "\r\n\r\nBad Request"},
	};
	struct server server;

	(void)state;
	open_server(&server, 0, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct reply reply = ask(&server, cases[i].request);

		assert_reply(&reply, cases[i].status, cases[i].part);
		assert_int_equal(reply.body_len, length_told(&reply));
		free(reply.text);
	}
	close_server(&server);
}

/* --- Clients of all kinds -------------------------------------------------------------------------- */

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char text[] = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	struct server server;
	struct reply reply;
	int fd, one = 1;

	(void)state;
	open_server(&server, 0, 0);
	fd = client(&server);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	for (size_t i = 0; i < strlen(text); i++)
		assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
	reply = take_reply(fd, SIZE_MAX);
	assert_reply(&reply, "200 OK", "\nusplice_relay_connections 77\n");
	free(reply.text);
	close_server(&server);
}

/* What was not read must not turn the answer into a reset. */
static void a_request_that_is_too_long_is_told_so(void **state)
{
	size_t len = 100000;
	char *text = malloc(len + 1);
	struct server server;
	struct reply reply;
	int fd;

	(void)state;
	memset(text, 'x', len);
	text[len] = '\0';
	memcpy(text, "GET /", 5);
	open_server(&server, 0, 0);
	fd = client(&server);
	say(fd, text);
	reply = take_reply(fd, SIZE_MAX);
	assert_reply(&reply, "431 Request Header Fields Too Large", "\r\n\r\nRequest Header");
	free(reply.text);
	free(text);
	close_server(&server);
}

static void a_slow_reader_gets_all_of_a_long_answer(void **state)
{
	struct server server;
	struct reply reply;
	char last[64];
	int fd;

	(void)state;
	open_server(&server, MANY_TARGETS, 4096);
	fd = client(&server);
	say(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	reply = take_reply(fd, 1000);
	assert_int_equal(reply.body_len, length_told(&reply));
	snprintf(last, sizeof(last), "target=\"target-%u\"} 0\n", MANY_TARGETS - 2);
	assert_string_equal(reply.text + reply.len - strlen(last), last);
	free(reply.text);
	close_server(&server);
}

static void clients_that_go_early_do_no_harm(void **state)
{
	struct server server;
	int fd;

	(void)state;
	open_server(&server, MANY_TARGETS, 4096);
	close(client(&server));
	net_reset(client(&server));
	fd = client(&server);
	say(fd, "GET /met");
	close(fd);
	fd = client(&server);
	say(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_int_equal(recv(fd, &(char){0}, 1, 0), 1);
	net_reset(fd);
	assert_serves(&server);
	close_server(&server);
}

/* The end of the connection, or a reset if the server had to leave something unread. */
static void await_end(int fd)
{
	char buffer[4096];
	ssize_t len;

	while ((len = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		;
	assert_true(len == 0 || errno == ECONNRESET);
	close(fd);
}

static int silent_client(const struct server *server)
{
	return client(server);
}

static int deaf_client(const struct server *server)
{
	int fd = unconnected_client(), rcvbuf = 4096;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)), 0);
	assert_int_equal(net_connect(fd, server->port), 0);
	say(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	return fd;
}

static int lingering_client(const struct server *server)
{
	int fd = client(server);

	say(fd, "HEAD / HTTP/1.0\r\n\r\n");
	return fd;
}

/* Each piece comes when the server has sent most of it since the clock went on: three times three seconds, and not five. */
static void a_reader_has_time_as_long_as_it_reads(void **state)
{
	static char piece[200000];
	struct server server;
	size_t len = 0;
	ssize_t ret;
	int fd;

	(void)state;
	hold_clock();
	open_server(&server, MANY_TARGETS, 4096);
	fd = deaf_client(&server);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(recv(fd, piece, sizeof(piece), MSG_WAITALL), sizeof(piece));
		len += sizeof(piece);
		atomic_fetch_add(&held_ns, 3 * SECOND_NS);
	}
	while ((ret = recv(fd, piece, sizeof(piece), 0)) > 0)
		len += (size_t)ret;
	assert_int_equal(ret, 0);
	assert_true(len > 4 * MANY_TARGETS * strlen("usplice_relay_target_up{index=\"1\",target=\"target-1\"} 0\n"));
	close(fd);
	close_server(&server);
	release_clock();
}

/* A server for each kind, and more of them than it has places: who comes behind is served when they have lost theirs. */
static void clients_that_stall_are_dropped(void **state)
{
	static int (*const kinds[])(const struct server *server) = {silent_client, deaf_client, lingering_client};
	struct server servers[ARRAY_LEN(kinds)];
	int fds[ARRAY_LEN(kinds)][CROWD];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		open_server(&servers[i], MANY_TARGETS, 4096);
		for (size_t j = 0; j < CROWD; j++)
			fds[i][j] = kinds[i](&servers[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		assert_serves(&servers[i]);
		close_server(&servers[i]);
		for (size_t j = 0; j < CROWD; j++)
			close(fds[i][j]);
	}
}

static void a_client_that_talks_on_is_dropped(void **state)
{
	static const char talk[4096];
	struct server server;
	size_t len = 0;
	int fd;

	(void)state;
	open_server(&server, 0, 0);
	fd = lingering_client(&server);
	while (send(fd, talk, sizeof(talk), MSG_NOSIGNAL) > 0) {
		len += sizeof(talk);
		assert_true(len < 64 << 20); /* what may be on its way is less */
	}
	assert_true(errno == EPIPE || errno == ECONNRESET);
	await_end(fd);
	assert_serves(&server);
	close_server(&server);
}

static int trickling_client(const struct server *server)
{
	int fd = client(server);

	say(fd, "GET /metrics HTTP/1.0\r\nX");
	return fd;
}

/* Until so many clients wait to be accepted, and all others are. */
static void await_queue(int listener, unsigned nr)
{
	struct tcp_info info = {.tcpi_unacked = nr + 1};
	socklen_t len = sizeof(info);

	while (info.tcpi_unacked != nr) {
		assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
		sched_yield();
	}
}

/* Somebody comes behind the crowd, of which so many wait, and is served although nobody goes: two seconds later, before the server
 * would lose patience with any of them. */
static void assert_gets_in(const struct server *server, unsigned nr_waiting)
{
	int listener = server->listener, fd;
	struct reply reply;

	await_queue(listener, nr_waiting);
	fd = client(server);
	say(fd, "HEAD / HTTP/1.0\r\n\r\n");
	await_queue(listener, nr_waiting + 1);
	atomic_fetch_add(&held_ns, 2 * SECOND_NS);
	reply = take_reply(fd, SIZE_MAX);
	assert_reply(&reply, "200 OK", "\r\n\r\n");
	free(reply.text);
}

static void crowd_out(int (*kind)(const struct server *server))
{
	struct server server;
	int fds[CROWD];

	hold_clock();
	open_server(&server, MANY_TARGETS, 4096);
	for (size_t i = 0; i < CROWD; i++)
		fds[i] = kind(&server);
	assert_gets_in(&server, CROWD - PLACES);
	if (kind == silent_client) {
		char byte;

		await_end(fds[0]); /* the oldest one had to go, and not the youngest one that had a place */
		fds[0] = client(&server);
		assert_int_equal(recv(fds[PLACES - 1], &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
	}
	close_server(&server);
	release_clock();
	for (size_t i = 0; i < CROWD; i++)
		close(fds[i]);
}

static void a_crowd_that_says_nothing_keeps_nobody_out(void **state)
{
	static int (*const kinds[])(const struct server *server) = {silent_client, trickling_client, lingering_client,
								    deaf_client};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		crowd_out(kinds[i]);
}

/* Who is busy with an answer is left alone as long as somebody else is silent. */
static void the_silent_go_before_those_who_take_their_answer(void **state)
{
	struct server server;
	int deaf, silent[CROWD];
	struct reply reply;

	(void)state;
	hold_clock();
	open_server(&server, MANY_TARGETS, 4096);
	deaf = deaf_client(&server);
	assert_int_equal(recv(deaf, &(char){0}, 1, MSG_PEEK), 1);
	for (size_t i = 0; i < CROWD; i++)
		silent[i] = client(&server);
	assert_gets_in(&server, CROWD + 1 - PLACES);
	reply = take_reply(deaf, SIZE_MAX);
	assert_int_equal(reply.body_len, length_told(&reply));
	free(reply.text);
	close_server(&server);
	release_clock();
	for (size_t i = 0; i < CROWD; i++)
		close(silent[i]);
}

static void requests_behind_the_first_are_not_answered(void **state)
{
	struct server server;
	struct reply reply;

	(void)state;
	open_server(&server, 0, 0);
	reply = ask(&server, "HEAD / HTTP/1.0\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n");
	assert_reply(&reply, "200 OK", "\r\nContent-Length: ");
	assert_int_equal(reply.body_len, 0);
	free(reply.text);
	close_server(&server);
}

/* --- Whom a request is for --------------------------------------------------------------------------- */

static void assert_status(const struct server *server, const char *request, const char *status)
{
	struct reply reply = ask(server, request);

	print_message("# %s: %s\n", request, status);
	assert_reply(&reply, status, "\r\n\r\n");
	free(reply.text);
}

static void a_request_for_another_host_is_refused(void **state)
{
	static const char *const good[] = {
		"GET /metrics HTTP/1.0\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9187\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: [::1]:9187\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: Relay.Example.:9187\r\n\r\n",
		"GET http://relay.example/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"HEAD /status.json HTTP/1.1\r\nHost: other.example\r\n\r\n",
	};
	static const char *const foreign[] = {
		"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: evil.example:9187\r\n\r\n",
		"GET /nothing HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"POST /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"GET http://evil.example/metrics HTTP/1.1\r\nHost: relay.example\r\n\r\n",
	};
	unsigned port;
	int fd = net_bound(SOCK_STREAM | SOCK_NONBLOCK, &port);
	struct server server = {.port = port};
	struct reply reply;
	const char *why = NULL;

	(void)state;
	nr_targets = 0;
	make_server(&server, fd);
	assert_int_equal(usp_metrics_add_host(server.metrics, "relay.Example", &why), 0);
	assert_int_equal(usp_metrics_add_host(server.metrics, "other.example.", &why), 0);
	assert_int_equal(usp_metrics_add_host(server.metrics, "relay:80", &why), -EINVAL);
	assert_non_null(why);
	start_server(&server);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_status(&server, good[i], "200 OK");
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		assert_status(&server, foreign[i], "421 Misdirected Request");
	reply = ask(&server, "HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	assert_reply(&reply, "421 Misdirected Request", "\r\n\r\n");
	assert_int_equal(reply.body_len, 0);
	free(reply.text);
	reply = ask(&server, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	assert_non_null(strstr(reply.body, "--metrics-host"));
	assert_int_equal(reply.body_len, length_told(&reply));
	free(reply.text);
	close_server(&server);
}

static void a_server_has_sixty_four_names_at_most(void **state)
{
	unsigned port;
	int listener = net_bound(SOCK_STREAM, &port);
	struct usp_metrics *metrics;
	const char *why;

	(void)state;
	assert_int_equal(usp_metrics_new(&(struct usp_metrics_source){.arg = NULL}, &listener, 1, &metrics), 0);
	for (unsigned i = 0; i < USP_METRICS_HOSTS_MAX; i++)
		assert_int_equal(usp_metrics_add_host(metrics, "relay", &why), 0);
	assert_int_equal(usp_metrics_add_host(metrics, "relay", &why), -ENOSPC);
	usp_metrics_free(metrics);
	close(listener);
}

/* No page of a browser gets there. */
static void every_host_is_right_at_a_unix_socket(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t); /* the kernel chooses a name, outside the file system */
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct server server;
	struct reply reply;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	len = sizeof(address);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	make_server(&server, listener);
	start_server(&server);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	say(fd, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	reply = take_reply(fd, SIZE_MAX);
	assert_reply(&reply, "200 OK", "\nusplice_relay_connections 77\n");
	free(reply.text);
	close_server(&server);
}

/* Nothing tells when there is room again: the server looks for itself. */
static void a_client_that_could_not_be_accepted_is_accepted_later(void **state)
{
	struct rlimit limit, none;
	struct server server;
	struct reply reply;
	int fd;

	(void)state;
	open_server(&server, 0, 0);
	fd = unconnected_client();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(net_connect(fd, server.port), 0);
	say(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	await_asked(2);
	assert_int_equal(recv(fd, &(char){0}, 1, MSG_DONTWAIT), -1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	reply = take_reply(fd, SIZE_MAX);
	assert_reply(&reply, "200 OK", "\nusplice_relay_connections 77\n");
	free(reply.text);
	close_server(&server);
}

/* --- Life ------------------------------------------------------------------------------------------ */

static void the_end_closes_what_is_open(void **state)
{
	struct server server;
	int silent, deaf, fd;

	(void)state;
	open_server(&server, MANY_TARGETS, 4096);
	silent = client(&server);
	deaf = client(&server);
	say(deaf, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_int_equal(recv(deaf, &(char){0}, 1, 0), 1);
	close_server(&server);
	await_end(silent);
	await_end(deaf);
	fd = unconnected_client();
	assert_int_equal(net_connect(fd, server.port), -ECONNREFUSED);
	close(fd);
}

static void a_server_that_never_started_is_freed(void **state)
{
	unsigned port;
	int listener = net_bound(SOCK_STREAM, &port);
	struct usp_metrics *metrics;

	(void)state;
	assert_int_equal(usp_metrics_new(&(struct usp_metrics_source){.arg = NULL}, &listener, 1, &metrics), 0);
	usp_metrics_free(metrics);
	usp_metrics_free(NULL);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(metrics_are_served_to_prometheus),
		CASE(the_status_has_a_history_that_grows),
		CASE(the_page_is_served_with_a_policy_that_allows_only_itself),
		CASE(a_head_comes_without_its_body),
		CASE(what_is_not_there_is_refused_by_its_status),
		CASE(a_request_may_come_byte_by_byte),
		CASE(a_request_that_is_too_long_is_told_so),
		CASE(a_slow_reader_gets_all_of_a_long_answer),
		CASE(a_reader_has_time_as_long_as_it_reads),
		CASE(clients_that_go_early_do_no_harm),
		CASE(clients_that_stall_are_dropped),
		CASE(a_client_that_talks_on_is_dropped),
		CASE(a_crowd_that_says_nothing_keeps_nobody_out),
		CASE(the_silent_go_before_those_who_take_their_answer),
		CASE(requests_behind_the_first_are_not_answered),
		CASE(a_request_for_another_host_is_refused),
		CASE(a_server_has_sixty_four_names_at_most),
		CASE(every_host_is_right_at_a_unix_socket),
		CASE(a_client_that_could_not_be_accepted_is_accepted_later),
		CASE(the_end_closes_what_is_open),
		CASE(a_server_that_never_started_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
