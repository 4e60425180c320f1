/* SPDX-License-Identifier: MIT */
/* test_udp - one splice is one datagram (A7, H15), and what begins and ends a stream of them. */
#include <signal.h>

#include "net.h"

static struct usp_file *open_udp(unsigned mode, unsigned port, const char *format)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = mode};
	struct usp_file *file;
	char spec[100];

	snprintf(spec, sizeof(spec), format, port);
	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	return file;
}

/* The next datagram must be the pattern bytes [off, off + len), no more and no less. */
static void take_datagram(int fd, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(65536);

	assert_non_null(bytes);
	assert_int_equal(recv(fd, bytes, 65536, 0), len);
	assert_pattern(bytes, off, len);
	free(bytes);
}

/* --- Sinks ------------------------------------------------------------------------------------------ */

static void the_bufs_of_one_splice_are_one_datagram(void **state)
{
	struct usp_file *end[2], *sink;
	unsigned port;
	int fd = net_bound(SOCK_DGRAM, &port);

	(void)state;
	sink = open_udp(USP_WRITE, port, "udp:127.0.0.1:%u");
	open_pipe(end, 64, USP_PACKET);
	for (unsigned i = 0; i < 40; i++)
		put_bytes(end[1], i, 1);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 3, 0), 3);
	take_datagram(fd, 0, 3);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 1000, USP_SPLICE_MORE),
			 37); /* more is not the kernel's cork */
	take_datagram(fd, 3, 37);
	assert_int_equal(net_hop(sink, USP_WRITE).bytes[USP_COPIED], 40);
	assert_int_equal(net_hop(sink, USP_WRITE).nr_calls, 2);
	close_pipe(end);
	drop(&sink);
	close(fd);
}

static void a_datagram_is_at_most_what_the_option_says(void **state)
{
	static const struct {
		const char *format;
		size_t len;
	} cases[] = {{"udp:127.0.0.1:%u", 1472},
		     {"udp:127.0.0.1:%u,datagram=100", 100},
		     {"udp:127.0.0.1:%u,datagram=8k", 8192}};
	struct usp_file *end[2], *sink;
	unsigned port;
	int fd = net_bound(SOCK_DGRAM, &port);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		sink = open_udp(USP_WRITE, port, cases[i].format);
		open_pipe(end, 16, 0);
		put_bytes(end[1], 0, 9000);
		assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 9000, 0), cases[i].len);
		take_datagram(fd, 0, cases[i].len);
		take_bytes(end[0], cases[i].len, 9000 - cases[i].len);
		close_pipe(end);
		drop(&sink);
	}
	close(fd);
}

static void more_than_a_datagram_holds_is_emsgsize_and_nothing_is_consumed(void **state)
{
	struct usp_file *end[2], *sink;
	unsigned port;
	int fd = net_bound(SOCK_DGRAM, &port);

	(void)state;
	sink = open_udp(USP_WRITE, port, "udp:127.0.0.1:%u,datagram=65507");
	open_pipe(end, 32, 0);
	put_bytes(end[1], 0, 17 * PAGE);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 65508, 0), -EMSGSIZE);
	assert_int_equal(usp_pipe_bytes(end[0]), 17 * PAGE);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 65507, 0),
			 65507); /* 16 and a part: the kernel loses these */
	take_datagram(fd, 0, 65507);
	close_pipe(end);
	drop(&sink);
	close(fd);
}

static void a_write_is_one_datagram(void **state)
{
	struct usp_file *sink;
	unsigned char bytes[3000];
	unsigned port;
	int fd = net_bound(SOCK_DGRAM, &port);

	(void)state;
	sink = open_udp(USP_WRITE, port, "udp:127.0.0.1:%u");
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(usp_write(sink, bytes, sizeof(bytes)), sizeof(bytes));
	take_datagram(fd, 0, sizeof(bytes));
	drop(&sink);
	close(fd);
}

static void a_shutdown_says_so_only_with_eof(void **state)
{
	struct usp_file *sink;
	unsigned char byte;
	unsigned port;
	int fd = net_bound(SOCK_DGRAM, &port);

	(void)state;
	sink = open_udp(USP_WRITE, port, "udp:127.0.0.1:%u");
	assert_int_equal(usp_file_shutdown(sink), 0);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	drop(&sink);
	sink = open_udp(USP_WRITE, port, "udp:127.0.0.1:%u,eof");
	assert_int_equal(usp_file_shutdown(sink), 0);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	drop(&sink);
	close(fd);
}

static void nobody_at_the_other_end_is_an_error(void **state)
{
	struct usp_file *sink = open_udp(USP_WRITE, net_free_port(SOCK_DGRAM), "udp:127.0.0.1:%u");

	(void)state;
	assert_int_equal(usp_write(sink, "x", 1), 1); /* it was sent; that nobody is there comes back */
	assert_int_equal(usp_write(sink, "x", 1), -ECONNREFUSED);
	drop(&sink);
}

static void nobody_at_the_other_end_of_the_last_datagram_is_an_error_of_closing(void **state)
{
	struct usp_file *sink = open_udp(USP_WRITE, net_free_port(SOCK_DGRAM), "udp:127.0.0.1:%u");

	(void)state;
	assert_int_equal(usp_write(sink, "x", 1), 1);
	assert_int_equal(usp_file_close(sink), -ECONNREFUSED);
	drop(&sink);
}

/* --- Sources ---------------------------------------------------------------------------------------- */

static void send_datagram(int fd, unsigned port, uint64_t off, size_t len)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port),
	};
	unsigned char *bytes = malloc(len + 1);

	assert_non_null(bytes);
	pattern_fill(bytes, off, len);
	assert_int_equal(sendto(fd, bytes, len, 0, (const struct sockaddr *)&address, sizeof(address)), len);
	free(bytes);
}

static void a_splice_takes_one_datagram_and_an_empty_one_is_the_end(void **state)
{
	unsigned port = net_free_port(SOCK_DGRAM);
	struct usp_file *end[2], *source = open_udp(USP_READ, port, "udp-listen:127.0.0.1:%u");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	open_pipe(end, 32, 0);
	send_datagram(fd, port, 0, 10);
	send_datagram(fd, port, 10, 5000);
	send_datagram(fd, port, 0, 0);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 65536, 0), 10);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 65536, 0), 5000);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 65536, 0), 0);
	take_bytes(end[0], 0, 5010);
	assert_int_equal(net_hop(source, USP_READ).bytes[USP_COPIED], 5010);
	close_pipe(end);
	drop(&source);
	close(fd);
}

static void the_largest_datagram_fits(void **state)
{
	unsigned port = net_free_port(SOCK_DGRAM);
	struct usp_file *end[2], *source = open_udp(USP_READ, port, "udp-listen:%u");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	open_pipe(end, 16, 0);
	send_datagram(fd, port, 0, 65507);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, source->io_bytes, 0), 65507);
	take_bytes(end[0], 0, 65507);
	close_pipe(end);
	drop(&source);
	close(fd);
}

static void a_datagram_that_does_not_fit_is_an_error_and_not_cut(void **state)
{
	unsigned port = net_free_port(SOCK_DGRAM);
	struct usp_file *end[2], *source = open_udp(USP_READ, port, "udp-listen:127.0.0.1:%u");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	open_pipe(end, 16, 0);
	send_datagram(fd, port, 0, 101);
	send_datagram(fd, port, 0, 100);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 100, 0), -EMSGSIZE);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 100, 0), 100);
	take_bytes(end[0], 0, 100);
	close_pipe(end);
	drop(&source);
	close(fd);
}

static void an_empty_queue_is_not_the_end(void **state)
{
	struct usp_file *end[2], *source = open_udp(USP_READ, net_free_port(SOCK_DGRAM), "udp-listen:127.0.0.1:%u");

	(void)state;
	open_pipe(end, 16, 0);
	assert_int_equal(usp_file_set_flags(source, USP_NONBLOCK), 0);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 100, 0), -EAGAIN);
	assert_int_equal(usp_blocked_side(source, end[1]), USP_READ);
	close_pipe(end);
	drop(&source);
}

static void bad_options_and_directions_are_refused(void **state)
{
	static const char *const specs[] = {"udp:127.0.0.1:9,datagram=0",    "udp:127.0.0.1:9,datagram=65508",
					    "udp:127.0.0.1:9,datagram=many", "udp:127.0.0.1:9,datagram",
					    "udp:127.0.0.1:9,eof=yes",	     "udp:127.0.0.1",
					    "udp-listen:127.0.0.1:9"};
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		struct usp_file *file;
		const char *why = NULL;

		assert_int_equal(usp_open(specs[i], &params, &file, &why), -EINVAL);
		assert_non_null(why);
	}
}

static void unix_datagrams_keep_their_borders_too(void **state)
{
	struct usp_file *end[2], *sink, *source;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	sink = net_file(fds[0], USP_WRITE);
	source = net_file(fds[1], USP_READ);
	open_pipe(end, 16, 0);
	put_bytes(end[1], 0, 300);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 100, 0), 100);
	assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 1000, 0), 200);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 1000, 0), 100);
	assert_int_equal(usp_splice(source, NULL, end[1], NULL, 1000, 0), 200);
	take_bytes(end[0], 0, 300);
	close_pipe(end);
	drop(&sink);
	drop(&source);
}

static void a_read_of_nothing_takes_no_datagram(void **state)
{
	struct usp_file *source;
	unsigned char bytes[10];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	source = net_file(fds[0], USP_READ);
	assert_int_equal(write(fds[1], "datagram", 8), 8);
	assert_int_equal(usp_read(source, bytes, 0), 0);
	assert_int_equal(usp_read(source, bytes, sizeof(bytes)), 8);
	drop(&source);
	close(fds[1]);
}

static void bytes_that_are_not_confirmed_are_not_sent(void **state)
{
	static const struct {
		int confirm_error;
		ssize_t result;
	} cases[] = {{-EIO, -EIO}, {-ENODATA, 0}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_file *end[2], *sink;
		struct mock_store store;
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
		sink = net_file(fds[0], USP_WRITE);
		mock_store_init(&store);
		store.confirm_error = cases[i].confirm_error;
		open_pipe(end, 4, USP_NONBLOCK);
		inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
		assert_int_equal(usp_splice(end[0], NULL, sink, NULL, 10, 0), cases[i].result);
		assert_int_equal(usp_pipe_bytes(end[0]), 10);
		assert_int_equal(recv(fds[1], &(char){0}, 1, MSG_DONTWAIT), -1);
		close_pipe(end);
		mock_store_fini(&store);
		drop(&sink);
		close(fds[1]);
	}
}

static void ignore_signal(int number)
{
	(void)number;
}

static void a_signal_ends_the_wait_for_a_full_socket(void **state)
{
	const struct sigaction action = {.sa_handler = ignore_signal}; /* without SA_RESTART */
	struct sigaction old;
	struct usp_file *end[2], *sink;
	struct worker worker;
	struct call call;
	int fds[2];

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	while (send(fds[0], "full", 4, MSG_DONTWAIT) == 4)
		;
	sink = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 10);
	call = (struct call){.in = end[0], .out = sink, .len = 10};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_int_equal(pthread_kill(worker.thread, SIGUSR1), 0);
	assert_int_equal(worker_join(&worker), -EINTR);
	take_bytes(end[0], 0, 10);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	close_pipe(end);
	drop(&sink);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_bufs_of_one_splice_are_one_datagram),
		CASE(a_datagram_is_at_most_what_the_option_says),
		CASE(more_than_a_datagram_holds_is_emsgsize_and_nothing_is_consumed),
		CASE(a_write_is_one_datagram),
		CASE(a_shutdown_says_so_only_with_eof),
		CASE(nobody_at_the_other_end_is_an_error),
		CASE(nobody_at_the_other_end_of_the_last_datagram_is_an_error_of_closing),
		CASE(a_splice_takes_one_datagram_and_an_empty_one_is_the_end),
		CASE(the_largest_datagram_fits),
		CASE(a_datagram_that_does_not_fit_is_an_error_and_not_cut),
		CASE(an_empty_queue_is_not_the_end),
		CASE(bad_options_and_directions_are_refused),
		CASE(unix_datagrams_keep_their_borders_too),
		CASE(a_read_of_nothing_takes_no_datagram),
		CASE(bytes_that_are_not_confirmed_are_not_sent),
		CASE(a_signal_ends_the_wait_for_a_full_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
