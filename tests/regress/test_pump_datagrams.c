/* SPDX-License-Identifier: MIT */
/* test_pump_datagrams - a pump gave a datagram sink all that was in its pipe at once, and failed with -EMSGSIZE. */
#include "support.h"

#include <sys/socket.h>

#define TOTAL 300000 /* several datagrams of any size */

struct receiver {
	pthread_t thread;
	int fd;
	unsigned char bytes[TOTAL];
	size_t len;
	unsigned nr_datagrams;
};

static void *receiver_run(void *arg)
{
	struct receiver *receiver = arg;
	ssize_t ret;

	while (receiver->len < TOTAL &&
	       (ret = recv(receiver->fd, receiver->bytes + receiver->len, TOTAL - receiver->len, 0)) > 0) {
		receiver->len += (size_t)ret;
		receiver->nr_datagrams++;
	}
	return NULL;
}

/* A UNIX datagram socket loses nothing and makes the sender wait. */
static struct usp_file *receiver_start(struct receiver *receiver)
{
	struct usp_file *sink;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	receiver->fd = fds[0];
	assert_int_equal(usp_open_fd(fds[1], USP_WRITE | USP_EXCLUSIVE, "datagrams", &sink), 0);
	assert_int_equal(pthread_create(&receiver->thread, NULL, receiver_run, receiver), 0);
	return sink;
}

static void receiver_check(struct receiver *receiver)
{
	shutdown(receiver->fd, SHUT_RD); /* what is queued still comes */
	pthread_join(receiver->thread, NULL);
	assert_int_equal(receiver->len, TOTAL);
	assert_pattern(receiver->bytes, 0, TOTAL);
	assert_true(receiver->nr_datagrams > 1);
	close(receiver->fd);
	free(receiver);
}

static void pump_to(unsigned nr_sinks)
{
	unsigned char *bytes = malloc(TOTAL);
	struct usp_file *source, *sinks[2];
	struct receiver *receivers[2];
	struct usp_pump *pump;

	assert_non_null(bytes);
	pattern_fill(bytes, 0, TOTAL);
	assert_int_equal(usp_open_memory(bytes, TOTAL, USP_READ, free, bytes, &source), 0);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++) {
		receivers[i] = calloc(1, sizeof(*receivers[i]));
		assert_non_null(receivers[i]);
		sinks[i] = receiver_start(receivers[i]);
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
	}
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_free(pump);
	for (unsigned i = 0; i < nr_sinks; i++) {
		receiver_check(receivers[i]);
		usp_file_put(sinks[i]);
	}
	usp_file_put(source);
}

static void a_pump_cuts_a_stream_into_datagrams(void **state)
{
	(void)state;
	pump_to(1);
}

static void a_pump_cuts_a_stream_into_datagrams_for_each_of_two_sinks(void **state)
{
	(void)state;
	pump_to(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_pump_cuts_a_stream_into_datagrams),
		CASE(a_pump_cuts_a_stream_into_datagrams_for_each_of_two_sinks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
