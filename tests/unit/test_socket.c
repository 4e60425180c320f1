/* SPDX-License-Identifier: MIT */
/* test_socket - making and awaiting stream connections by name, and inherited sockets. */
#include "net.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

/* One usp_open, for a worker. */
struct opening {
	char spec[160];
	struct usp_file *file;
	const char *why;
};

static ssize_t opening_run(void *arg)
{
	struct opening *opening = arg;
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ | USP_WRITE};

	return usp_open(opening->spec, &params, &opening->file, &opening->why);
}

static struct opening opening_of(const char *format, unsigned port, const char *options)
{
	struct opening opening = {.file = NULL};

	snprintf(opening.spec, sizeof(opening.spec), format, port, options);
	return opening;
}

/* The two files can talk, in both directions. */
static void assert_connected(struct usp_file *a, struct usp_file *b)
{
	char bytes[8];

	assert_int_equal(usp_write(a, "to b", 4), 4);
	assert_int_equal(usp_read(b, bytes, sizeof(bytes)), 4);
	assert_int_equal(usp_write(b, "to a!", 5), 5);
	assert_int_equal(usp_read(a, bytes, sizeof(bytes)), 5);
}

/* Open a listener in a worker and a client here, which retries until the listener is there. */
static void open_connection(struct opening *listener, struct opening *client)
{
	struct worker worker;

	worker_start(&worker, opening_run, listener);
	assert_int_equal(opening_run(client), 0);
	assert_int_equal(worker_join(&worker), 0);
	assert_connected(listener->file, client->file);
}

static void close_connection(struct opening *listener, struct opening *client)
{
	drop(&listener->file);
	drop(&client->file);
}

/* --- Where it listens -------------------------------------------------------------------------------- */

/* A listener with a free port: the callback connects a client to the address that it is told. */
struct door {
	char address[64];
	unsigned nr_told;
	struct worker client_worker;
	struct opening client;
};

static void door_told(void *arg, const char *address)
{
	struct door *door = arg;

	snprintf(door->address, sizeof(door->address), "%s", address);
	snprintf(door->client.spec, sizeof(door->client.spec), "%s%s", strncmp(address, "unix:", 5) ? "tcp:" : "",
		 address);
	if (door->nr_told++ == 0)
		worker_start(&door->client_worker, opening_run, &door->client);
}

static int door_open(struct door *door, const char *spec, struct usp_file **ret_file, const char **ret_why)
{
	const struct usp_open_params params = {
		.size = sizeof(params), .mode = USP_READ | USP_WRITE, .listening = door_told, .listening_arg = door};

	*door = (struct door){.nr_told = 0};
	return usp_open(spec, &params, ret_file, ret_why);
}

static void a_listener_tells_its_address_before_it_waits(void **state)
{
	static const char *const specs[] = {"tcp-listen:127.0.0.1:0", "tcp-listen:127.0.0.1:0,from=127.0.0.0/8\\,::1",
					    "unix-listen:@usplice test of a name"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		struct usp_file *file;
		struct door door;

		assert_int_equal(door_open(&door, specs[i], &file, NULL), 0);
		assert_int_equal(door.nr_told, 1);
		assert_int_equal(worker_join(&door.client_worker), 0);
		assert_connected(file, door.client.file);
		drop(&file);
		drop(&door.client.file);
	}
}

/* The first client is not from there: it sees the end, and the wait goes on until the time-out. */
static void a_client_from_elsewhere_is_closed(void **state)
{
	struct usp_file *file;
	const char *why = NULL;
	struct door door;
	char byte;

	(void)state;
	assert_int_equal(door_open(&door, "tcp-listen:127.0.0.1:0,from=10.0.0.0/8,timeout=300ms", &file, &why),
			 -ETIMEDOUT);
	assert_int_equal(worker_join(&door.client_worker), 0);
	assert_true(usp_read(door.client.file, &byte, 1) <= 0);
	drop(&door.client.file);
	assert_int_equal(door_open(&door, "tcp-listen:127.0.0.1:0,from=10.1.2.3/8", &file, &why), -EINVAL);
	assert_non_null(strstr(why, "bits behind its prefix"));
}

static void wrong_rights_of_a_socket_are_refused(void **state)
{
	static const char *const rows[] = {"mode=0888", "mode=", "mode=07777", "owner=no-such-user-here",
					   "owner=0:no-such-group-here"};
	struct usp_file *file;
	struct door door;
	char spec[128];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(spec, sizeof(spec), "unix-listen:/nowhere/at/all,%s", rows[i]);
		assert_int_equal(door_open(&door, spec, &file, NULL), -EINVAL);
	}
	assert_int_equal(door_open(&door, "unix-listen:@x,mode=0600", &file, NULL), -EINVAL);
}

static void a_unix_listener_gives_its_file_rights(void **state)
{
	char folder[] = "/tmp/usplice-rights-XXXXXX", path[64];
	struct opening listener = {.file = NULL}, client = {.file = NULL};
	struct worker worker;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s", folder);
	snprintf(listener.spec, sizeof(listener.spec), "unix-listen:%s,mode=0620,owner=%u:%u", path, getuid(),
		 getgid());
	snprintf(client.spec, sizeof(client.spec), "unix:%s,retry=10", path);
	worker_start(&worker, opening_run, &listener);
	while (stat(path, &st) < 0 || (st.st_mode & 07777) != 0620)
		sched_yield(); /* the alarm around the test ends it */
	assert_int_equal(st.st_uid, getuid());
	assert_int_equal(opening_run(&client), 0);
	assert_int_equal(worker_join(&worker), 0);
	assert_connected(listener.file, client.file);
	close_connection(&listener, &client);
	assert_int_equal(rmdir(folder), 0);
}

/* --- TCP -------------------------------------------------------------------------------------------- */

static void a_listener_takes_one_client_and_goes_away(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", port, "");
	struct opening client = opening_of("tcp:127.0.0.1:%u%s", port, ",retry=10");
	struct opening late = opening_of("tcp:127.0.0.1:%u%s", port, "");

	(void)state;
	open_connection(&listener, &client);
	assert_string_equal(usp_file_type(client.file), "tcp");
	assert_string_equal(usp_file_spec(client.file), client.spec);
	assert_int_equal(opening_run(&late), -ECONNREFUSED);
	assert_string_equal(late.why, "nobody listens there");
	close_connection(&listener, &client);
}

static void a_listener_without_a_host_takes_ipv4_clients(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:%u%s", port, "");
	struct opening client = opening_of("tcp:127.0.0.1:%u%s", port, ",retry=10");

	(void)state;
	open_connection(&listener, &client);
	close_connection(&listener, &client);
}

static void ipv6_stands_in_brackets(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:[::1]:%u%s", port, "");
	struct opening client = opening_of("tcp:[::1]:%u%s", port, ",retry=10");

	(void)state;
	if (!net_has_ipv6())
		skip();
	open_connection(&listener, &client);
	close_connection(&listener, &client);
}

static void a_name_is_tried_with_all_its_addresses(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", port, "");
	struct opening client = opening_of("tcp:localhost:%u%s", port, ",retry=10"); /* ::1 comes first, and refuses */

	(void)state;
	open_connection(&listener, &client);
	close_connection(&listener, &client);
}

static void nodelay_sets_tcp_nodelay(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", port, "");
	struct opening client = opening_of("tcp:127.0.0.1:%u%s", port, ",retry=10,nodelay");
	int is_set[2] = {-1, -1};
	socklen_t len = sizeof(int);

	(void)state;
	open_connection(&listener, &client);
	assert_int_equal(getsockopt(usp_file_fd(listener.file), IPPROTO_TCP, TCP_NODELAY, &is_set[0], &len), 0);
	assert_int_equal(getsockopt(usp_file_fd(client.file), IPPROTO_TCP, TCP_NODELAY, &is_set[1], &len), 0);
	assert_false(is_set[0]);
	assert_true(is_set[1]);
	close_connection(&listener, &client);
}

static void a_client_retries_until_somebody_listens(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", port, "");
	struct opening client = opening_of("tcp:127.0.0.1:%u%s", port, ",retry=20");
	struct worker worker;

	(void)state;
	worker_start(&worker, opening_run, &client);
	worker_await_sleep(&worker); /* between two attempts: connecting to the loopback does not sleep */
	assert_false(worker.is_done);
	assert_int_equal(opening_run(&listener), 0);
	assert_int_equal(worker_join(&worker), 0);
	close_connection(&listener, &client);
}

static void waiting_ends_with_the_timeout(void **state)
{
	unsigned port = net_free_port(SOCK_STREAM);
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", port, ",timeout=0.02");
	struct opening client = opening_of("tcp:127.0.0.1:%u%s", port, ",retry=60,timeout=0.02");

	(void)state;
	assert_int_equal(opening_run(&listener), -ETIMEDOUT);
	assert_string_equal(listener.why, "nobody came or answered in time");
	assert_int_equal(opening_run(&client), -ECONNREFUSED); /* what was wrong until the end */
}

static void interrupt_handler(int number)
{
	(void)number;
}

static void a_signal_interrupts_the_wait_for_a_client(void **state)
{
	const struct sigaction action = {.sa_handler = interrupt_handler};
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", net_free_port(SOCK_STREAM), "");
	struct sigaction old;
	struct worker worker;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	worker_start(&worker, opening_run, &listener);
	worker_await_sleep(&worker);
	assert_int_equal(pthread_kill(worker.thread, SIGUSR1), 0);
	assert_int_equal(worker_join(&worker), -EINTR);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	unsigned port;
	int fd = net_bound(SOCK_STREAM, &port);
	struct opening listener = opening_of("tcp-listen:127.0.0.1:%u%s", port, "");

	(void)state;
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(opening_run(&listener), -EADDRINUSE);
	assert_string_equal(listener.why, "somebody else listens there");
	close(fd);
}

static void what_is_no_address_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *spec;
		int error;
		const char *why;
	} cases[] = {
		{"tcp:localhost", -EINVAL, "the address needs a port: HOST:PORT"},
		{"tcp:", -EINVAL, "the address needs a port: HOST:PORT"},
		{"tcp::80", -EINVAL, "the address needs a host: HOST:PORT"},
		{"tcp:localhost:", -EINVAL, "the port is missing"},
		{"tcp-listen:", -EINVAL, "the port is missing"},
		{"tcp:localhost:65536", -EINVAL, "the port is larger than 65535"},
		{"tcp:localhost:99999999999999999999", -EINVAL, "the port is larger than 65535"},
		{"tcp:127.0.0.1:no-such-service", -EINVAL, "no service of this name has a port"},
		{"tcp:::1:80", -EINVAL, "an IPv6 address needs brackets: [::1]:PORT"},
		{"tcp:[::zz]:80", -EHOSTUNREACH, "the name does not resolve"},
		{"tcp-listen:192.0.2.77:8080", -EADDRNOTAVAIL, "this machine does not have that address"},
		{"tcp:localhost:80,retry=soon", -EINVAL, "retry and timeout take a time, such as 2.5 or 500ms"},
		{"tcp:localhost:80,timeout", -EINVAL, "retry and timeout take a time, such as 2.5 or 500ms"},
		{"tcp:localhost:80,timeout=-1", -EINVAL, "retry and timeout take a time, such as 2.5 or 500ms"},
		{"tcp:localhost:80,timeout=1d", -EINVAL, "retry and timeout take a time, such as 2.5 or 500ms"},
		{"tcp:localhost:80,nodelay=maybe", -EINVAL, "nodelay takes no value"},
		{"unix:", -EINVAL, "the path of the socket is missing"},
		{"unix-listen:", -EINVAL, "the path of the socket is missing"},
		{"unix:/nowhere/at/all", -ENOENT, "there is no such socket"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct opening opening = opening_of("%.0u%s", 0, cases[i].spec);

		assert_int_equal(opening_run(&opening), cases[i].error);
		assert_non_null(opening.why);
		assert_string_equal(opening.why, cases[i].why);
	}
}

/* --- UNIX sockets ----------------------------------------------------------------------------------- */

static char folder[] = "/tmp/usplice-socket-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static struct opening unix_opening(const char *scheme, const char *name, const char *options)
{
	struct opening opening = {.file = NULL};

	snprintf(opening.spec, sizeof(opening.spec), "%s:%s/%s%s", scheme, folder, name, options);
	return opening;
}

static const char *path_of(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* A socket bound to a name in the folder. */
static int bind_name(const char *name, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void a_unix_listener_removes_its_file(void **state)
{
	struct opening listener = unix_opening("unix-listen", "a", "");
	struct opening client = unix_opening("unix", "a", ",retry=10");

	(void)state;
	open_connection(&listener, &client);
	assert_string_equal(usp_file_type(client.file), "unix");
	assert_int_equal(access(path_of("a"), F_OK), -1);
	close_connection(&listener, &client);
}

static void a_unix_listener_that_gives_up_removes_its_file(void **state)
{
	struct opening listener = unix_opening("unix-listen", "a", ",timeout=0");

	(void)state;
	assert_int_equal(opening_run(&listener), -ETIMEDOUT);
	assert_int_equal(access(path_of("a"), F_OK), -1);
}

static void a_stale_socket_file_is_replaced(void **state)
{
	struct opening listener = unix_opening("unix-listen", "stale", "");
	struct opening client = unix_opening("unix", "stale", ",retry=10");
	struct opening early = unix_opening("unix", "stale", "");

	(void)state;
	close(bind_name("stale", SOCK_STREAM));
	assert_int_equal(opening_run(&early), -ECONNREFUSED);
	open_connection(&listener, &client);
	close_connection(&listener, &client);
}

static void a_live_socket_is_neither_replaced_nor_disturbed(void **state)
{
	struct opening listener = unix_opening("unix-listen", "live", "");
	int fd = bind_name("live", SOCK_STREAM);
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	(void)state;
	assert_int_equal(opening_run(&listener), -EADDRINUSE); /* bound is enough */
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(opening_run(&listener), -EADDRINUSE);
	assert_string_equal(listener.why, "somebody else listens there");
	assert_int_equal(poll(&pollfd, 1, 0), 0); /* no client of ours came to look */
	close(fd);
	assert_int_equal(unlink(path_of("live")), 0);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct opening listener = unix_opening("unix-listen", "file", "");
	int fd = open(path_of("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(opening_run(&listener), -EEXIST);
	assert_string_equal(listener.why, "a file that is no socket is there");
	assert_int_equal(unlink(path_of("file")), 0);
}

/* Its client comes by another name of the same file. */
static void a_listener_leaves_alone_what_has_replaced_it(void **state)
{
	struct opening listener = unix_opening("unix-listen", "front", "");
	struct opening client = unix_opening("unix", "other", ",retry=10");
	struct worker worker;
	char front[160];

	(void)state;
	worker_start(&worker, opening_run, &listener);
	worker_await_sleep(&worker); /* for its client */
	snprintf(front, sizeof(front), "%s", path_of("front"));
	assert_int_equal(link(front, path_of("other")), 0);
	assert_int_equal(unlink(path_of("front")), 0);
	close(open(path_of("front"), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(opening_run(&client), 0);
	assert_int_equal(worker_join(&worker), 0);
	usp_file_put(client.file);
	usp_file_put(listener.file);
	assert_int_equal(unlink(path_of("other")), 0);
	assert_int_equal(unlink(path_of("front")), 0); /* it is there */
}

static void a_listener_at_localhost_takes_clients_of_both_families(void **state)
{
	static const char *const clients[] = {"tcp:127.0.0.1:%u%s", "tcp:[::1]:%u%s"};

	(void)state;
	if (!net_has_ipv6())
		skip();
	for (unsigned i = 0; i < 2; i++) {
		unsigned port = net_free_port(SOCK_STREAM);
		struct opening listener = opening_of("tcp-listen:localhost:%u%s", port, "");
		struct opening client = opening_of(clients[i], port, ",retry=10");

		open_connection(&listener, &client);
		close_connection(&listener, &client);
	}
}

static void a_path_that_is_too_long_is_an_error(void **state)
{
	struct opening opening = {.file = NULL};

	(void)state;
	snprintf(opening.spec, sizeof(opening.spec), "unix:/%0120d", 0);
	assert_int_equal(opening_run(&opening), -ENAMETOOLONG);
	assert_string_equal(opening.why, "the path is too long for a socket");
}

/* --- Inherited sockets ------------------------------------------------------------------------------ */

static void an_inherited_nonblocking_socket_does_not_block(void **state)
{
	struct usp_file *file;
	char byte;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	file = net_file(fds[0], USP_READ);
	assert_int_equal(usp_file_flags(file), USP_NONBLOCK);
	assert_int_equal(usp_read(file, &byte, 1), -EAGAIN);
	drop(&file);
	close(fds[1]);
}

static void the_type_of_an_inherited_socket_is_found(void **state)
{
	static const struct {
		int domain, type;
		const char *name;
	} cases[] = {
		{AF_INET, SOCK_STREAM, "tcp"},
		{AF_INET, SOCK_DGRAM, "udp"},
		{AF_UNIX, SOCK_STREAM, "unix"},
		{AF_UNIX, SOCK_DGRAM, "unix-dgram"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_file *file = net_file(socket(cases[i].domain, cases[i].type | SOCK_CLOEXEC, 0), USP_READ);

		assert_string_equal(usp_file_type(file), cases[i].name);
		drop(&file);
	}
}

static void a_listening_socket_is_no_stream_and_stays_with_the_caller(void **state)
{
	struct usp_file *file;
	unsigned port;
	int fd = net_bound(SOCK_STREAM, &port);

	(void)state;
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(usp_open_fd(fd, USP_READ, "listener", &file), -EINVAL);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(close(fd), 0);
}

static void a_shutdown_ends_one_direction(void **state)
{
	struct usp_file *file;
	char byte;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_READ | USP_WRITE);
	assert_int_equal(usp_file_shutdown(file), 0);
	assert_int_equal(recv(fds[1], &byte, 1, 0), 0);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	assert_int_equal(usp_read(file, &byte, 1), 1);
	assert_int_equal(usp_write(file, "y", 1), -EPIPE);
	drop(&file);
	close(fds[1]);
}

static void a_socket_has_no_position(void **state)
{
	struct usp_file *end[2], *file;
	int64_t off = 0;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_READ | USP_WRITE);
	open_pipe(end, 1, 0);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_file_seek(file, 0, SEEK_SET), -ESPIPE);
	assert_int_equal(usp_splice(end[0], NULL, file, &off, 10, 0), -EINVAL);
	assert_int_equal(usp_splice(file, &off, end[1], NULL, 10, 0), -EINVAL);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_listener_tells_its_address_before_it_waits),
		CASE(a_client_from_elsewhere_is_closed),
		CASE(wrong_rights_of_a_socket_are_refused),
		CASE(a_unix_listener_gives_its_file_rights),
		CASE(a_listener_takes_one_client_and_goes_away),
		CASE(a_listener_without_a_host_takes_ipv4_clients),
		CASE(ipv6_stands_in_brackets),
		CASE(a_name_is_tried_with_all_its_addresses),
		CASE(nodelay_sets_tcp_nodelay),
		CASE(a_client_retries_until_somebody_listens),
		CASE(waiting_ends_with_the_timeout),
		CASE(a_signal_interrupts_the_wait_for_a_client),
		CASE(a_port_that_is_taken_is_an_error),
		CASE(what_is_no_address_is_refused_with_a_reason),
		CASE(a_unix_listener_removes_its_file),
		CASE(a_unix_listener_that_gives_up_removes_its_file),
		CASE(a_stale_socket_file_is_replaced),
		CASE(a_live_socket_is_neither_replaced_nor_disturbed),
		CASE(a_file_that_is_no_socket_is_left_alone),
		CASE(a_listener_leaves_alone_what_has_replaced_it),
		CASE(a_listener_at_localhost_takes_clients_of_both_families),
		CASE(a_path_that_is_too_long_is_an_error),
		CASE(an_inherited_nonblocking_socket_does_not_block),
		CASE(the_type_of_an_inherited_socket_is_found),
		CASE(a_listening_socket_is_no_stream_and_stays_with_the_caller),
		CASE(a_shutdown_ends_one_direction),
		CASE(a_socket_has_no_position),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
