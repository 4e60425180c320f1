/* SPDX-License-Identifier: MIT */
/* test_failed_waits - a wait that cannot be made, here because the process may not poll so many descriptors, loses nothing. */
#include <sys/resource.h>

#include "net.h"

#define LEN ((size_t)1 << 20)

static struct rlimit poll_limit;

/* poll(2) is -EINVAL for more descriptors than the process may have open. */
static void limit_polls(rlim_t nr_fds)
{
	const struct rlimit limit = {.rlim_cur = nr_fds, .rlim_max = poll_limit.rlim_max};

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int after(void **state)
{
	setrlimit(RLIMIT_NOFILE, &poll_limit);
	return support_after(state);
}

static int before(void **state)
{
	return getrlimit(RLIMIT_NOFILE, &poll_limit) < 0 ? -1 : support_before(state);
}

static ssize_t run_pump(void *arg)
{
	return usp_pump_run(arg);
}

static void a_run_that_cannot_wait_for_its_source_has_not_succeeded(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .lane = USP_LANE_USER};
	unsigned char byte = 'x';
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_file *source, *sink;
	struct usp_pump *pump;
	struct worker worker;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], &byte, 1), 1);
	source = net_file(fds[0], USP_READ);
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			 &sink, NULL),
		0);
	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	worker_start(&worker, run_pump, pump);
	worker_await_sleep(&worker);
	limit_polls(1);
	assert_int_equal(write(fds[1], &byte, 1), 1);
	assert_int_equal(worker_join(&worker), -EINVAL);
	usp_pump_status(pump, &status);
	assert_int_equal(status.source_error, -EINVAL);
	assert_int_equal(status.bytes, 2);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
	close(fds[1]);
}

struct peer {
	int fd;
	unsigned char *bytes;
};

static ssize_t take_all(void *arg)
{
	struct peer *peer = arg;

	return recv(peer->fd, peer->bytes, LEN, MSG_WAITALL);
}

static void closing_a_socket_without_waiting_does_not_reset_it(void **state)
{
	unsigned char *bytes = malloc(LEN);
	struct usp_file *source, *sink;
	struct worker worker;
	struct peer peer = {.bytes = malloc(LEN)};
	int fds[2];

	(void)state;
	assert_non_null(bytes);
	assert_non_null(peer.bytes);
	pattern_fill(bytes, 0, LEN);
	net_tcp_pair(fds, 0);
	assert_int_equal(usp_open_memory(bytes, LEN, USP_READ, NULL, NULL, &source), 0);
	sink = net_file(fds[0], USP_WRITE);
	peer.fd = fds[1];
	worker_start(&worker, take_all, &peer);
	assert_int_equal(usp_splice_direct(source, NULL, sink, NULL, LEN, 0, NULL), LEN);
	limit_polls(0);
	drop(&sink);
	drop(&source);
	assert_int_equal(worker_join(&worker), LEN);
	assert_pattern(peer.bytes, 0, LEN);
	close(fds[1]);
	free(peer.bytes);
	free(bytes);
}

#define WAIT_CASE(f) cmocka_unit_test_setup_teardown(f, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WAIT_CASE(a_run_that_cannot_wait_for_its_source_has_not_succeeded),
		WAIT_CASE(closing_a_socket_without_waiting_does_not_reset_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
