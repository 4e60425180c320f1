/* SPDX-License-Identifier: MIT */
/* test_uring - what io_uring does in an event loop: streams of messages, connecting, closing. Skipped where there is no such ring. */
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/compiler.h"
#include "event/uring.h"
#include "net.h"
#include "support.h"

#define NR_STREAMS 100 /* more than the kernel gives completions in one call */
#define BUFFER_BYTES ((size_t)16 << 10)
#define NR_LARGE 8
#define NR_PIECES 3 /* one is sent at a time */

/* A stream from one socket to another, and who is at their other ends. */
struct way {
	struct usp_uring_stream *stream;
	int from[2], to[2]; /* [0] is the stream's */
	size_t taken, given;
	int why;
	bool is_over;
	struct way *rival;  /* of two, who is dropped when the other has given something */
	size_t message_len; /* of those that its source still sends, one after the other */
	unsigned nr_messages;
};

static struct usp_loop *loop;
static struct usp_uring *uring;
static struct way ways[NR_STREAMS];
static unsigned nr_ways, nr_over;

/* It has come as far as it will. */
static void way_ended(struct way *way, int why)
{
	way->why = why;
	way->is_over = true;
	if (++nr_over == nr_ways)
		usp_loop_stop(loop);
}

static void drop_rival(struct way *way)
{
	struct way *rival = way->rival;

	way->rival = rival->rival = NULL;
	usp_uring_drop(rival->stream);
	way_ended(rival, 0);
}

/* A pause between two messages is what tells one from the other. */
static void send_next_message(struct way *way)
{
	unsigned char bytes[2 * BUFFER_BYTES];

	if (!way->nr_messages) {
		shutdown(way->from[1], SHUT_WR);
		return;
	}
	way->nr_messages--;
	assert_true(way->message_len <= sizeof(bytes));
	pattern_fill(bytes, way->given, way->message_len);
	assert_int_equal(send(way->from[1], bytes, way->message_len, 0), way->message_len);
}

/* The next one when this one is through. */
static void take_message(struct way *way)
{
	if (way->given % way->message_len)
		return;
	net_take(way->to[1], way->given - way->message_len, way->message_len);
	send_next_message(way);
}

static void told(void *arg, size_t taken, size_t given, int why)
{
	struct way *way = arg;

	assert_false(way->is_over);
	way->taken += taken;
	way->given += given;
	if (why != 0)
		way_ended(way, why);
	else if (given && way->message_len)
		take_message(way);
	else if (given && way->rival)
		drop_rival(way);
}

static void begin_ring(void)
{
	assert_int_equal(usp_loop_new(&loop), 0);
	if (usp_uring_new(loop, &uring) < 0) {
		usp_loop_free(loop);
		skip();
	}
}

static void end_ring(void)
{
	usp_uring_free(uring);
	usp_loop_free(loop);
}

static void begin(unsigned nr)
{
	begin_ring();
	nr_ways = nr;
	nr_over = 0;
	for (unsigned i = 0; i < nr; i++) {
		ways[i] = (struct way){.why = 0};
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ways[i].from), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ways[i].to), 0);
		ways[i].stream = usp_uring_begin(uring, ways[i].from[0], false, ways[i].to[0], told, &ways[i]);
		assert_non_null(ways[i].stream);
	}
}

static void end(void)
{
	end_ring();
	for (unsigned i = 0; i < nr_ways; i++) {
		for (unsigned side = 0; side < 2; side++) {
			close(ways[i].from[side]);
			close(ways[i].to[side]);
		}
	}
}

/* Until all streams are over; an alarm ends a test for which they never are. */
static void run(void)
{
	assert_int_equal(usp_loop_run(loop), 0);
	assert_int_equal(nr_over, nr_ways);
}

static void send_bytes(int fd, uint64_t off, size_t len)
{
	unsigned char bytes[BUFFER_BYTES];

	assert_true(len <= sizeof(bytes));
	pattern_fill(bytes, off, len);
	assert_int_equal(send(fd, bytes, len, 0), len);
}

static void receive_bytes(int fd, uint64_t off, size_t len)
{
	unsigned char bytes[BUFFER_BYTES];

	assert_true(len <= sizeof(bytes));
	assert_int_equal(recv(fd, bytes, len, MSG_WAITALL), len);
	assert_pattern(bytes, off, len);
}

/* --- Cases ----------------------------------------------------------------------------------------- */

/* What a test does to the sources when all streams have begun to listen, which takes the loop some rounds. */
struct later {
	struct usp_task task;
	void (*run)(void);
	unsigned nr_rounds;
};

static void later_turn(struct usp_task *task)
{
	struct later *later = usp_container_of(task, struct later, task);

	if (++later->nr_rounds < 4)
		usp_loop_defer(loop, task);
	else
		later->run();
}

static void run_with(void (*what)(void))
{
	struct later later = {.task.run = later_turn, .run = what};

	usp_loop_defer(loop, &later.task);
	run();
}

static void end_all_sources(void)
{
	for (unsigned i = 0; i < nr_ways; i++)
		shutdown(ways[i].from[1], SHUT_WR);
}

static void ends_that_come_at_once_are_all_told(void **state)
{
	(void)state;
	begin(NR_STREAMS);
	run_with(end_all_sources);
	for (unsigned i = 0; i < nr_ways; i++)
		assert_int_equal(ways[i].why, USP_URING_END);
	end();
}

/* Somebody else is faster at all sources but the last, unless the ring takes what comes whenever its thread enters the kernel. */
static void end_behind_nothing(void)
{
	for (unsigned i = 0; i + 1 < nr_ways; i++) {
		send_bytes(ways[i].from[1], 0, 1);
		assert_true(recv(ways[i].from[0], &(char){0}, 1, MSG_DONTWAIT) == 1 || errno == EAGAIN);
	}
	shutdown(ways[nr_ways - 1].from[1], SHUT_WR);
}

/* The kernel looks at twenty sources at a time, and says nothing about those that have nothing. */
static void an_end_behind_many_sources_that_have_nothing_is_told(void **state)
{
	(void)state;
	begin(NR_STREAMS);
	nr_over = nr_ways - 1;
	run_with(end_behind_nothing);
	assert_int_equal(ways[nr_ways - 1].why, USP_URING_END);
	end();
}

static void what_was_sent_before_the_end_is_given_before_it(void **state)
{
	(void)state;
	begin(1);
	send_bytes(ways[0].from[1], 0, 1000);
	send_bytes(ways[0].from[1], 1000, 24);
	shutdown(ways[0].from[1], SHUT_WR);
	run();
	assert_int_equal(ways[0].why, USP_URING_END);
	assert_int_equal(ways[0].taken, 1024);
	assert_int_equal(ways[0].given, 1024);
	receive_bytes(ways[0].to[1], 0, 1024);
	end();
}

static void a_stream_that_is_left_gives_what_it_has(void **state)
{
	(void)state;
	begin(1);
	send_bytes(ways[0].from[1], 0, 5000);
	usp_uring_leave(ways[0].stream);
	run();
	assert_int_equal(ways[0].why, -EAGAIN);
	assert_int_equal(ways[0].taken, ways[0].given);
	if (ways[0].given)
		receive_bytes(ways[0].to[1], 0, ways[0].given);
	if (ways[0].given < 5000)
		receive_bytes(ways[0].from[0], ways[0].given, 5000 - ways[0].given);
	end();
}

/* In the same round both have sent, and one hears of it first. */
static void what_a_stream_has_sent_is_told_when_it_is_dropped(void **state)
{
	(void)state;
	begin(2);
	ways[0].rival = &ways[1];
	ways[1].rival = &ways[0];
	for (unsigned i = 0; i < 2; i++)
		send_bytes(ways[i].from[1], 0, 100);
	shutdown(ways[0].from[1], SHUT_WR);
	shutdown(ways[1].from[1], SHUT_WR);
	run();
	for (unsigned i = 0; i < 2; i++) {
		int nr_arrived = -1;

		assert_int_equal(ioctl(ways[i].to[1], FIONREAD, &nr_arrived), 0);
		assert_int_equal(ways[i].given, nr_arrived);
	}
	end();
}

static void pieces_that_are_large_again_and_again_are_left_to_the_owner(void **state)
{
	(void)state;
	begin(1);
	for (unsigned i = 0; i < NR_LARGE; i++)
		send_bytes(ways[0].from[1], i * BUFFER_BYTES, BUFFER_BYTES);
	run();
	assert_int_equal(ways[0].why, -EAGAIN);
	assert_int_equal(ways[0].taken, NR_LARGE * BUFFER_BYTES);
	for (unsigned i = 0; i < NR_LARGE; i++)
		receive_bytes(ways[0].to[1], i * BUFFER_BYTES, BUFFER_BYTES);
	end();
}

/* One message at a time over TCP: how the stream ends, after nr messages at most. */
static int pass_messages(size_t len, unsigned nr)
{
	begin_ring();
	nr_ways = 1;
	nr_over = 0;
	ways[0] = (struct way){.message_len = len, .nr_messages = nr};
	net_tcp_pair(ways[0].from, 0);
	net_tcp_pair(ways[0].to, 0);
	ways[0].stream = usp_uring_begin(uring, ways[0].from[0], true, ways[0].to[0], told, &ways[0]);
	assert_non_null(ways[0].stream);
	send_next_message(&ways[0]);
	run();
	assert_int_equal(ways[0].taken, ways[0].given);
	end();
	return ways[0].why;
}

static void messages_that_just_fill_a_buffer_stay(void **state)
{
	(void)state;
	assert_int_equal(pass_messages(BUFFER_BYTES, 10 * NR_LARGE), USP_URING_END);
}

/* Two receives and two sends, one after the other, cost more than a recv and a send of the whole. */
static void messages_of_more_than_a_buffer_are_left_to_the_owner(void **state)
{
	(void)state;
	assert_int_equal(pass_messages(BUFFER_BYTES + 1, 10 * NR_LARGE), -EAGAIN);
}

static void messages_below_a_buffer_stay(void **state)
{
	(void)state;
	assert_int_equal(pass_messages(BUFFER_BYTES - 1, 10 * NR_LARGE), USP_URING_END);
}

/* A byte that goes round in two streams keeps a ring busy for ever. */
static void begin_circle(int there[2], int back[2])
{
	begin_ring();
	nr_ways = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, there), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, back), 0);
	for (unsigned i = 0; i < 2; i++)
		ways[i] = (struct way){.why = 0};
	ways[0].stream = usp_uring_begin(uring, there[1], false, back[0], told, &ways[0]);
	ways[1].stream = usp_uring_begin(uring, back[1], false, there[0], told, &ways[1]);
	assert_int_equal(send(there[0], "", 1, 0), 1);
}

#define NR_TURNS 100

struct turn {
	struct usp_watch watch;
	unsigned nr;
};

static void turn_ready(struct usp_watch *watch, unsigned events)
{
	struct turn *turn = usp_container_of(watch, struct turn, watch);

	(void)events;
	if (++turn->nr == NR_TURNS)
		usp_loop_stop(loop);
}

static void what_the_loop_watches_has_its_turn_beside_streams_that_never_rest(void **state)
{
	struct turn turn = {.watch.ready = turn_ready};
	int there[2], back[2], ready[2];

	(void)state;
	begin_circle(there, back);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ready), 0);
	assert_int_equal(usp_loop_watch(loop, ready[0], EPOLLOUT, &turn.watch), 0);
	assert_int_equal(usp_loop_run(loop), 0);
	assert_int_equal(turn.nr, NR_TURNS);
	assert_true(ways[0].taken > 0);
	end_ring();
	for (unsigned i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
		close(ready[i]);
	}
}

static void a_sink_that_has_gone_is_an_error(void **state)
{
	(void)state;
	begin(1);
	close(ways[0].to[1]);
	send_bytes(ways[0].from[1], 0, 1);
	run();
	assert_int_equal(ways[0].why, USP_URING_REFUSED);
	assert_int_equal(ways[0].taken, 1);
	assert_int_equal(ways[0].given, 0);
	end();
}

static void a_source_that_broke_is_an_error(void **state)
{
	(void)state;
	begin(1);
	send_bytes(ways[0].from[0], 0, 1); /* which nobody reads: so the close is a reset */
	close(ways[0].from[1]);
	run();
	assert_int_equal(ways[0].why, -ECONNRESET);
	end();
}

/* What came before the error is given first. */
static void what_was_sent_before_a_source_broke_is_given_before_the_error(void **state)
{
	(void)state;
	begin(1);
	send_bytes(ways[0].from[0], 0, 1); /* which nobody reads */
	for (unsigned i = 0; i < NR_PIECES; i++)
		send_bytes(ways[0].from[1], i * BUFFER_BYTES, BUFFER_BYTES);
	close(ways[0].from[1]);
	run();
	assert_int_equal(ways[0].why, -ECONNRESET);
	assert_int_equal(ways[0].given, NR_PIECES * BUFFER_BYTES);
	for (unsigned i = 0; i < NR_PIECES; i++)
		receive_bytes(ways[0].to[1], i * BUFFER_BYTES, BUFFER_BYTES);
	end();
}

/* A TCP connection as the source: what its end is told as, when its peer has ended, or a send was told that it has broken. */
static int end_of_tcp(bool is_broken)
{
	struct way *way = &ways[0];

	begin_ring();
	nr_ways = 1;
	nr_over = 0;
	*way = (struct way){.why = 0};
	net_tcp_pair(way->from, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, way->to), 0);
	if (is_broken) {
		net_reset(way->from[1]);
		while (send(way->from[0], "x", 1, MSG_NOSIGNAL) == 1)
			;
		assert_int_equal(errno, ECONNRESET);
	} else {
		shutdown(way->from[1], SHUT_WR);
	}
	way->stream = usp_uring_begin(uring, way->from[0], true, way->to[0], told, way);
	assert_non_null(way->stream);
	run();
	end_ring();
	for (unsigned side = 0; side < 2; side++) {
		close(way->to[side]);
		if (side == 0 || !is_broken)
			close(way->from[side]);
	}
	return way->why;
}

static void an_end_is_told_from_an_error_that_a_send_was_told(void **state)
{
	(void)state;
	assert_int_equal(end_of_tcp(false), USP_URING_END);
	assert_int_equal(end_of_tcp(true), USP_URING_SILENCE);
}

/* --- Connecting and closing ------------------------------------------------------------------------------- */

/* A connection to a port of the loopback, and what became of it. */
struct dial {
	struct usp_uring_connect *connect;
	struct sockaddr_in address;
	int fd, error;
	unsigned nr_told;
};

static void dial_told(void *arg, int error)
{
	struct dial *dial = arg;

	dial->error = error;
	dial->nr_told++;
	usp_loop_stop(loop);
}

static void dial_begin(struct dial *dial, unsigned port)
{
	*dial = (struct dial){
		.address = {.sin_family = AF_INET,
			    .sin_port = htons((uint16_t)port),
			    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
		.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	};
	dial->connect = usp_uring_connect(uring, dial->fd, (struct sockaddr *)&dial->address, sizeof(dial->address),
					  dial_told, dial);
	assert_non_null(dial->connect);
	assert_int_equal(dial->nr_told, 0);
}

static int listen_to_one(unsigned *ret_port)
{
	int listener = net_bound(SOCK_STREAM, ret_port);

	assert_int_equal(listen(listener, 0), 0);
	return listener;
}

static void a_socket_is_connected(void **state)
{
	struct dial dial;
	unsigned port;
	int listener = listen_to_one(&port), fd;

	(void)state;
	begin_ring();
	dial_begin(&dial, port);
	assert_int_equal(usp_loop_run(loop), 0);
	assert_int_equal(dial.nr_told, 1);
	assert_int_equal(dial.error, 0);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(send(dial.fd, "x", 1, 0), 1);
	assert_int_equal(recv(fd, &(char){0}, 1, 0), 1);
	end_ring();
	close(fd);
	close(dial.fd);
	close(listener);
}

static void a_refusal_is_told(void **state)
{
	struct dial dial;

	(void)state;
	begin_ring();
	dial_begin(&dial, net_free_port(SOCK_STREAM));
	assert_int_equal(usp_loop_run(loop), 0);
	assert_int_equal(dial.nr_told, 1);
	assert_int_equal(dial.error, -ECONNREFUSED);
	end_ring();
	close(dial.fd);
}

static void stop(void)
{
	usp_loop_stop(loop);
}

/* Rounds enough for everything that is under way. */
static void run_some_rounds(void)
{
	struct later later = {.task.run = later_turn, .run = stop};

	usp_loop_defer(loop, &later.task);
	assert_int_equal(usp_loop_run(loop), 0);
}

/* The queue of a listener that nobody accepts from holds one, and whoever comes next waits. */
static void nothing_is_told_of_a_connection_that_is_dropped(void **state)
{
	struct dial first, second;
	unsigned port, own_port;
	int listener = listen_to_one(&port), queued = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(net_connect(queued, port), 0);
	begin_ring();
	dial_begin(&first, port);
	dial_begin(&second, port);
	usp_uring_drop_connect(second.connect); /* in the round that asked for it */
	close(second.fd);
	assert_int_equal(net_bound(SOCK_STREAM, &own_port), second.fd); /* somebody else has its number now */
	run_some_rounds();
	assert_int_equal(
		getpeername(second.fd, (struct sockaddr *)&second.address, &(socklen_t){sizeof(second.address)}), -1);
	assert_int_equal(listen(second.fd, 1), 0); /* which fails where a connection is on its way */
	close(second.fd);
	usp_uring_drop_connect(first.connect);
	close(first.fd);
	run_some_rounds();
	assert_int_equal(first.nr_told + second.nr_told, 0);
	end_ring();
	close(queued);
	close(listener);
}

static void a_ring_ends_while_sockets_are_being_connected(void **state)
{
	struct dial dial;
	unsigned port;
	int listener = listen_to_one(&port), queued = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(net_connect(queued, port), 0);
	begin_ring();
	dial_begin(&dial, port);
	run_some_rounds();
	end_ring();
	assert_int_equal(dial.nr_told, 0);
	close(dial.fd);
	close(queued);
	close(listener);
}

static bool has_ended(int fd)
{
	return recv(fd, &(char){0}, 1, MSG_DONTWAIT) == 0;
}

static void descriptors_are_closed_at_the_end_of_the_round(void **state)
{
	int ends[2];

	(void)state;
	begin_ring();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_true(usp_uring_close(uring, ends[0]));
	assert_int_equal(fcntl(ends[0], F_GETFD), 0); /* nobody else gets its number meanwhile */
	run_some_rounds();
	assert_true(has_ended(ends[1]));
	end_ring();
	close(ends[1]);
}

static void descriptors_are_closed_when_the_ring_ends(void **state)
{
	int ends[2];

	(void)state;
	begin_ring();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_true(usp_uring_close(uring, ends[0]));
	end_ring();
	assert_true(has_ended(ends[1]));
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(ends_that_come_at_once_are_all_told),
		CASE(an_end_behind_many_sources_that_have_nothing_is_told),
		CASE(what_was_sent_before_the_end_is_given_before_it),
		CASE(a_stream_that_is_left_gives_what_it_has),
		CASE(what_a_stream_has_sent_is_told_when_it_is_dropped),
		CASE(pieces_that_are_large_again_and_again_are_left_to_the_owner),
		CASE(messages_that_just_fill_a_buffer_stay),
		CASE(messages_of_more_than_a_buffer_are_left_to_the_owner),
		CASE(messages_below_a_buffer_stay),
		CASE(what_the_loop_watches_has_its_turn_beside_streams_that_never_rest),
		CASE(a_sink_that_has_gone_is_an_error),
		CASE(a_source_that_broke_is_an_error),
		CASE(what_was_sent_before_a_source_broke_is_given_before_the_error),
		CASE(an_end_is_told_from_an_error_that_a_send_was_told),
		CASE(a_socket_is_connected),
		CASE(a_refusal_is_told),
		CASE(nothing_is_told_of_a_connection_that_is_dropped),
		CASE(a_ring_ends_while_sockets_are_being_connected),
		CASE(descriptors_are_closed_at_the_end_of_the_round),
		CASE(descriptors_are_closed_when_the_ring_ends),
	};

	return cmocka_run_group_tests_name("uring", tests, NULL, NULL);
}
