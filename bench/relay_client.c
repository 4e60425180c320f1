/* SPDX-License-Identifier: MIT */
/* relay_client - what stands before the relay: writes all it can, asks and waits, connects and closes, or drips. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay_load.h"

#define CLIENT_NR_AHEAD 4
#define CLIENT_TRICKLE_NS 10000000L
#define CLIENT_CRUMB_NS 1000000L
#define CLIENT_LOOK_NS 20000000L /* nothing that loopback has under way takes this long */
#define CLIENT_NR_LOOKS 5	 /* the sink's side is full when it has not grown so many times */
/* Enough to fill the last packet of a send queue and then the 64 slots of a pipe, and less than a window. */
#define CLIENT_NR_CRUMBS 150
#define CLIENT_CRUMB_BYTES 1448

struct client_conn {
	int fd;
	size_t message_len, nr_received; /* of the request, and of the answer that is awaited */
	unsigned nr_asked;
	bool is_sent; /* of a short connection */
	off_t file_off;
	uint64_t began_ns;
};

struct client {
	const struct load_plan *plan;
	struct load_shared *shared;
	unsigned port;
	int epoll_fd, file;
	off_t file_len;
	unsigned char *buffer;
	struct client_conn *conns;
};

static uint64_t client_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void client_pause(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static int client_socket(void)
{
	int one = 1, fd = (int)bench_check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");

	bench_check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), "TCP_NODELAY");
	return fd;
}

/* A socket that does not block need not be connected yet. */
static void client_connect(const struct client *client, int fd)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)client->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS)
		bench_die("connect", errno);
}

static void client_watch(struct client *client, struct client_conn *conn, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = conn};

	bench_check(epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event), "epoll_ctl");
}

/* A connection that is to stay: whoever refuses it cannot be measured. */
static void client_open(struct client *client, struct client_conn *conn)
{
	int flags;

	conn->fd = client_socket();
	flags = fcntl(conn->fd, F_GETFL);
	fcntl(conn->fd, F_SETFL, flags & ~O_NONBLOCK);
	client_connect(client, conn->fd);
	fcntl(conn->fd, F_SETFL, flags);
	load_congestion(conn->fd, client->shared->client_congestion);
}

/* All connections, few ahead of the sink so that no backlog overflows, until each has reached it. */
static void client_open_all(struct client *client, uint32_t events)
{
	for (unsigned i = 0; i < client->plan->nr_connections; i++) {
		client_open(client, &client->conns[i]);
		client_watch(client, &client->conns[i], events);
		while (atomic_load(&client->shared->nr_accepted) + CLIENT_NR_AHEAD < i)
			client_pause(100000);
	}
	while (atomic_load(&client->shared->nr_accepted) < client->plan->nr_connections)
		client_pause(1000000);
	atomic_store(&client->shared->is_ready, true);
}

/* Wait for events and give each to handle, until the end of the process. */
static _Noreturn void client_loop(struct client *client, void (*handle)(struct client *, struct client_conn *))
{
	struct epoll_event events[LOAD_NR_EVENTS];

	for (;;) {
		int nr = (int)bench_check(epoll_wait(client->epoll_fd, events, LOAD_NR_EVENTS, -1), "epoll_wait");

		for (int i = 0; i < nr; i++)
			handle(client, events[i].data.ptr);
	}
}

/* --- Bulk ---------------------------------------------------------------------------------------- */

static ssize_t client_send_bulk(struct client *client, struct client_conn *conn)
{
	if (client->plan->kind == LOAD_REAL)
		return send(conn->fd, client->buffer, LOAD_PIECE_BYTES, MSG_NOSIGNAL);
	if (conn->file_off >= client->file_len)
		conn->file_off = 0;
	return sendfile(conn->fd, client->file, &conn->file_off, LOAD_DISCARD_BYTES);
}

static void client_bulk_ready(struct client *client, struct client_conn *conn)
{
	if (client_send_bulk(client, conn) < 0 && errno != EAGAIN)
		bench_die("the relay broke a connection", errno);
}

static void client_bulk(struct client *client)
{
	struct stat status;

	if (client->plan->kind == LOAD_LIGHT) {
		client->file = (int)bench_check(open(client->plan->path, O_RDONLY | O_CLOEXEC), client->plan->path);
		bench_check(fstat(client->file, &status), "fstat");
		client->file_len = status.st_size;
	}
	client_open_all(client, EPOLLOUT);
	client_loop(client, client_bulk_ready);
}

/* --- Messages ------------------------------------------------------------------------------------ */

static void client_record(struct client *client, const struct client_conn *conn)
{
	uint64_t ns = client_now_ns() - conn->began_ns;
	unsigned shift = 0;

	if (load_phase(client->shared) != LOAD_MEASURE)
		return;
	while (ns >> shift >= 2u << LOAD_SUB_BITS)
		shift++;
	load_add(&client->shared->latency[(shift << LOAD_SUB_BITS) + (ns >> shift)], 1);
}

/* The sizes of a mix come in an order of their own on each connection. */
static size_t client_message_len(const struct client *client, struct client_conn *conn)
{
	static const size_t mix[] = {64, 16384, 1024, 32768, 4096, 20000, 16385};
	size_t turn = (size_t)(conn - client->conns) + conn->nr_asked++;

	return client->plan->message_len ? client->plan->message_len : mix[turn * 3 % (sizeof(mix) / sizeof(mix[0]))];
}

static void client_set_header(struct client *client, size_t len)
{
	load_header header = (load_header)len;

	memcpy(client->buffer, &header, sizeof(header));
}

/* A request is smaller than any send buffer, so it goes whole. */
static void client_ask(struct client *client, struct client_conn *conn)
{
	ssize_t len;

	conn->nr_received = 0;
	conn->began_ns = client_now_ns();
	conn->message_len = client_message_len(client, conn);
	client_set_header(client, conn->message_len);
	len = bench_check(send(conn->fd, client->buffer, conn->message_len, MSG_NOSIGNAL), "send of a request");
	if ((size_t)len != conn->message_len)
		bench_die("send of a request", EMSGSIZE);
}

/* True when the answer is there. */
static bool client_take_answer(struct client *client, struct client_conn *conn)
{
	ssize_t len = recv(conn->fd, client->buffer, LOAD_PIECE_BYTES, 0);

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len <= 0)
		bench_die("the relay broke a connection", len < 0 ? errno : EPIPE);
	conn->nr_received += (size_t)len;
	return conn->nr_received >= conn->message_len;
}

static void client_message_ready(struct client *client, struct client_conn *conn)
{
	if (!client_take_answer(client, conn))
		return;
	client_record(client, conn);
	load_add(&client->shared->nr_done, 1);
	client_ask(client, conn);
}

static void client_messages(struct client *client)
{
	client_open_all(client, EPOLLIN);
	for (unsigned i = 0; i < client->plan->nr_connections; i++)
		client_ask(client, &client->conns[i]);
	client_loop(client, client_message_ready);
}

static void client_idle_ready(struct client *client, struct client_conn *conn)
{
	if (client_take_answer(client, conn))
		load_add(&client->shared->nr_done, 1);
}

static void client_idle(struct client *client)
{
	client_open_all(client, EPOLLIN);
	while (load_phase(client->shared) == LOAD_WARM)
		client_pause(1000000);
	for (unsigned i = 0; i < client->plan->nr_connections; i++)
		client_ask(client, &client->conns[i]);
	client_loop(client, client_idle_ready);
}

/* --- Short connections --------------------------------------------------------------------------- */

static void client_short_begin(struct client *client, struct client_conn *conn)
{
	*conn = (struct client_conn){.fd = client_socket(), .began_ns = client_now_ns()};
	client_connect(client, conn->fd);
	client_watch(client, conn, EPOLLIN | EPOLLOUT | EPOLLET);
}

static void client_short_end(struct client *client, struct client_conn *conn, bool is_answered)
{
	close(conn->fd);
	load_add(is_answered ? &client->shared->nr_done : &client->shared->nr_failed, 1);
	if (is_answered)
		client_record(client, conn);
	client_short_begin(client, conn);
}

/* 1 if it went, 0 if the connection is not there yet, -1 if it never will be. */
static int client_short_send(struct client *client, struct client_conn *conn)
{
	client_set_header(client, client->plan->message_len);
	if (send(conn->fd, client->buffer, client->plan->message_len, MSG_NOSIGNAL) >= 0)
		return 1;
	return errno == EAGAIN || errno == ENOTCONN ? 0 : -1;
}

static void client_short_ready(struct client *client, struct client_conn *conn)
{
	ssize_t len;

	if (!conn->is_sent) {
		int sent = client_short_send(client, conn);

		if (sent < 0)
			client_short_end(client, conn, false);
		conn->is_sent = sent > 0;
		return;
	}
	len = recv(conn->fd, client->buffer, LOAD_PIECE_BYTES, 0);
	if (len > 0)
		conn->nr_received += (size_t)len;
	if (conn->nr_received >= client->plan->message_len)
		client_short_end(client, conn, true);
	else if (len == 0 || (len < 0 && errno != EAGAIN))
		client_short_end(client, conn, false);
}

static void client_connections(struct client *client)
{
	for (unsigned i = 0; i < client->plan->nr_connections; i++)
		client_short_begin(client, &client->conns[i]);
	atomic_store(&client->shared->is_ready, true);
	client_loop(client, client_short_ready);
}

/* --- A trickle ----------------------------------------------------------------------------------- */

/* Bytes that the relay has sent towards the sink and that the sink's kernel has not acknowledged. */
static unsigned long client_relay_backlog(unsigned sink_port)
{
	unsigned long queued, total = 0;
	unsigned remote;
	char line[256];
	FILE *file = fopen("/proc/self/net/tcp", "re");

	if (!file)
		bench_die("/proc/self/net/tcp", errno);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*s %*x:%*x %*x:%x %*x %lx:", &remote, &queued) == 2 && remote == sink_port)
			total += queued;
	}
	fclose(file);
	return total;
}

/*
 * Write until the relay can get rid of nothing any more, and then in small pieces: a pipe that has few bytes but no free
 * slot is where relays go wrong.
 */
static void client_fill(struct client *client, int fd, unsigned sink_port)
{
	unsigned long before, now = 0;
	unsigned nr_same = 0;

	while (nr_same < CLIENT_NR_LOOKS) {
		send(fd, client->buffer, nr_same ? 1 : LOAD_PIECE_BYTES, MSG_NOSIGNAL);
		client_pause(CLIENT_LOOK_NS);
		before = now;
		now = client_relay_backlog(sink_port);
		nr_same = now == before ? nr_same + 1 : 0;
	}
	for (unsigned i = 0; i < CLIENT_NR_CRUMBS; i++) {
		send(fd, client->buffer, CLIENT_CRUMB_BYTES, MSG_NOSIGNAL);
		client_pause(CLIENT_CRUMB_NS);
	}
}

static void client_trickle(struct client *client, unsigned sink_port)
{
	client_open_all(client, 0);
	client_fill(client, client->conns[0].fd, sink_port);
	atomic_store(&client->shared->is_ready, true);
	for (;;) {
		if (send(client->conns[0].fd, client->buffer, 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			bench_die("the relay broke a connection", errno);
		client_pause(CLIENT_TRICKLE_NS);
	}
}

void load_client(const struct load_plan *plan, struct load_shared *shared, unsigned relay_port, unsigned sink_port)
{
	struct client client = {
		.plan = plan,
		.shared = shared,
		.port = relay_port,
		.epoll_fd = (int)bench_check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"),
		.buffer = bench_memory(LOAD_PIECE_BYTES),
		.conns = calloc(plan->nr_connections, sizeof(*client.conns)),
	};

	if (!client.conns)
		bench_die("calloc", ENOMEM);
	if (plan->kind == LOAD_REAL || plan->kind == LOAD_LIGHT)
		client_bulk(&client);
	else if (plan->kind == LOAD_MESSAGES)
		client_messages(&client);
	else if (plan->kind == LOAD_CONNECTIONS)
		client_connections(&client);
	else if (plan->kind == LOAD_IDLE)
		client_idle(&client);
	else
		client_trickle(&client, sink_port);
	abort();
}
