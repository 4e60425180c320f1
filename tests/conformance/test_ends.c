/* SPDX-License-Identifier: MIT */
/* test_ends - how a stream ends, as its peer sees it: on every lane, over TCP and UNIX sockets, however the pump is driven. */
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <usplice/endpoint.h>

#include "base/sys.h"
#include "net.h"
#include "support.h"

#define LEN ((size_t)100 << 10) /* fits into the socket of a peer that reads nothing, and not into the peer's */
#define MS ((uint64_t)1000000)
#define AN_HOUR ((uint64_t)3600 * 1000 * MS)

/* The alarm around every test bounds it. */
#define AWAIT(condition)     \
	while (!(condition)) \
	sched_yield()

enum drive {
	BY_RUN,	      /* one sink, in the caller's thread */
	BY_STEPS,     /* one sink, in an event loop */
	BY_THREADS,   /* two sinks, each with a thread */
	BY_TURNS,     /* two sinks, served in turns */
	BY_TWO_STEPS, /* two sinks, in an event loop */
	NR_DRIVES,
};

static const char *const drive_names[NR_DRIVES] = {"run", "steps", "threads", "turns", "steps of two"};
static const char *const lane_names[] = {"auto", "kernel", "user"};

struct end {
	enum usp_lane_choice lane;
	bool is_unix;
	enum drive drive;
	char name[128];
};

static struct {
	const struct end *end;
	struct usp_file *sink;
	struct usp_pump *pump;
	struct worker worker;
	int source_far, peer;
} run;

/* --- A run with a peer --------------------------------------------------------------------------------------- */

static void open_sink(bool is_unix)
{
	const int room = 1 << 20;
	int fds[2];

	if (is_unix)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	else
		net_tcp_pair(fds, 4 * PAGE);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	run.sink = net_file(fds[0], USP_WRITE);
	run.peer = fds[1];
}

/* From a socket, whose other end is source_far, to run.sink. */
static void begin_pump(const struct end *end, const struct usp_pump_params *params)
{
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *source, *other;
	int fds[2];

	run.end = end;
	net_tcp_pair(fds, 0);
	run.source_far = fds[0];
	source = net_file(fds[1], USP_READ);
	assert_int_equal(usp_pump_new(source, params, &run.pump), 0);
	assert_int_equal(usp_pump_add_sink(run.pump, run.sink), 0);
	usp_file_put(source);
	if (end->drive < BY_THREADS)
		return;
	assert_int_equal(usp_open("null:", &to_write, &other, NULL), 0);
	assert_int_equal(usp_pump_add_sink(run.pump, other), 0);
	usp_file_put(other);
}

static struct usp_pump_params params_of(const struct end *end, uint64_t linger_ns)
{
	return (struct usp_pump_params){
		.size = sizeof(struct usp_pump_params),
		.lane = end->lane,
		.flags = end->drive == BY_TURNS ? USP_PUMP_TURNS : 0,
		.idle_ns = end->drive == BY_TURNS ? AN_HOUR : 0,
		.linger_ns = linger_ns,
	};
}

static void begin_with(const struct end *end, const struct usp_pump_params *params)
{
	open_sink(end->is_unix);
	begin_pump(end, params);
}

static void begin(const struct end *end, uint64_t linger_ns)
{
	const struct usp_pump_params params = params_of(end, linger_ns);

	begin_with(end, &params);
}

static void give_source(uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	pattern_fill(bytes, off, len);
	assert_int_equal(send(run.source_far, bytes, len, MSG_NOSIGNAL), len);
	free(bytes);
}

static int go_by_steps(void)
{
	struct usp_pump_wait waits[3] = {{.size = sizeof(waits[0])}};
	struct pollfd fds[3];
	int ret;

	while ((ret = usp_pump_step(run.pump, waits)) == -EAGAIN) {
		unsigned nr = usp_pump_waits(run.pump, waits, ARRAY_LEN(waits));
		int64_t timeout_ns = -1;

		for (unsigned i = 0; i < nr; i++) {
			fds[i] = (struct pollfd){.fd = waits[i].fd, .events = waits[i].events};
			if (waits[i].timeout_ns >= 0 && (timeout_ns < 0 || waits[i].timeout_ns < timeout_ns))
				timeout_ns = waits[i].timeout_ns;
		}
		assert_true(poll(fds, nr, timeout_ns < 0 ? -1 : (int)((timeout_ns + 999999) / 1000000)) >= 0);
	}
	return ret;
}

/* The run, and then the sink is closed. */
static ssize_t go(void *arg)
{
	bool is_stepped = run.end->drive == BY_STEPS || run.end->drive == BY_TWO_STEPS;
	int ret = is_stepped ? go_by_steps() : usp_pump_run(run.pump);

	(void)arg;
	usp_file_close(run.sink);
	return ret;
}

static struct usp_sink_status sink_status(void)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	assert_int_equal(usp_pump_sink_status(run.pump, 0, &status), 0);
	return status;
}

/* The source has given all, and the sink's socket has it. The peer reads nothing yet. */
static void start_and_send_all(void)
{
	worker_start(&run.worker, go, NULL);
	give_source(0, LEN);
	close(run.source_far);
	AWAIT(sink_status().bytes == LEN || run.worker.is_done);
	worker_await_sleep(&run.worker);
}

static void end_run(void)
{
	usp_pump_free(run.pump);
	drop(&run.sink);
	close(run.peer);
}

/* What comes before the end or a reset: how much, and which. */
static size_t take_rest(uint64_t off, int *ret_error)
{
	unsigned char bytes[PAGE];
	size_t len = 0;
	ssize_t ret;

	while ((ret = recv(run.peer, bytes, sizeof(bytes), 0)) > 0) {
		assert_pattern(bytes, off + len, (size_t)ret);
		len += (size_t)ret;
	}
	*ret_error = ret < 0 ? errno : 0;
	return len;
}

static bool is_acknowledged(void)
{
	int unsent = -1;

	return ioctl(usp_file_fd(run.sink), SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

/* The end has come to the peer, and its acknowledgement back. Before it is sent, that of all bytes looks the same. */
static void await_acknowledged_end(void)
{
	struct pollfd fd = {.fd = run.peer, .events = POLLRDHUP};

	AWAIT(run.worker.is_done || (poll(&fd, 1, 0) == 1 && is_acknowledged()));
}

/* --- Sent is not delivered ------------------------------------------------------------------------------------- */

static void a_peer_that_speaks_first_and_reads_late_gets_everything(void **state)
{
	int error;

	begin(*state, 0);
	assert_int_equal(send(run.peer, "220 hello\r\n", 11, 0), 11);
	start_and_send_all();
	assert_int_equal(take_rest(0, &error), LEN);
	assert_int_equal(error, 0);
	assert_int_equal(send(run.peer, "226 done\r\n", 10, MSG_NOSIGNAL), 10);
	close(run.peer);
	run.peer = -1;
	assert_int_equal(worker_join(&run.worker), 0);
	assert_int_equal(sink_status().bytes, LEN);
	assert_int_equal(sink_status().stranded, 0);
	end_run();
}

#define ECHO_LEN ((size_t)4 << 20) /* far more than the sockets of both directions hold */

/* Reads a little, and answers with the same before it reads on: it waits while nobody takes its answers. */
static ssize_t echo(void *arg)
{
	unsigned char bytes[PAGE];
	size_t len = 0;
	ssize_t ret;

	(void)arg;
	while ((ret = recv(run.peer, bytes, sizeof(bytes), 0)) > 0) {
		if (!pattern_is(bytes, len, (size_t)ret))
			return -EBADMSG;
		len += (size_t)ret;
		for (ssize_t at = 0, sent; at < ret; at += sent) {
			sent = send(run.peer, bytes + at, (size_t)(ret - at), MSG_NOSIGNAL);
			if (sent < 0)
				return -errno;
		}
	}
	shutdown(run.peer, SHUT_WR);
	return ret < 0 ? -errno : (ssize_t)len;
}

static void a_peer_that_answers_while_it_is_sent_to_gets_everything(void **state)
{
	struct worker peer;

	begin(*state, 0);
	assert_int_equal(fcntl(run.peer, F_SETFL, 0), 0);
	worker_start(&peer, echo, NULL);
	worker_start(&run.worker, go, NULL);
	give_source(0, ECHO_LEN);
	close(run.source_far);
	assert_int_equal(worker_join(&run.worker), 0);
	assert_int_equal(worker_join(&peer), ECHO_LEN);
	assert_int_equal(sink_status().bytes, ECHO_LEN);
	end_run();
}

static void a_peer_that_leaves_with_bytes_unread_is_a_sink_that_failed(void **state)
{
	begin(*state, 0);
	start_and_send_all();
	close(run.peer);
	run.peer = -1;
	assert_int_equal(worker_join(&run.worker), -ECONNRESET);
	assert_int_equal(sink_status().error, -ECONNRESET);
	assert_int_equal(sink_status().bytes + sink_status().stranded, LEN);
	end_run();
}

static void a_peer_that_has_everything_and_is_silent_is_not_waited_for_long(void **state)
{
	const struct end *end = *state;
	int error;

	if (end->lane != USP_LANE_AUTO || (end->is_unix && end->drive != BY_RUN))
		return; /* it takes a second; the lane has no part in it, and how a pump is driven tells no family from another */
	begin(end, AN_HOUR);
	start_and_send_all();
	net_take(run.peer, 0, LEN);
	assert_int_equal(worker_join(&run.worker), 0);
	assert_int_equal(sink_status().bytes, LEN);
	assert_int_equal(take_rest(LEN, &error), 0);
	assert_int_equal(error, 0);
	end_run();
}

/* A UNIX socket's bytes are in the peer's hands, whether it looks at them or not. */
static void a_peer_that_takes_nothing_more_is_given_up(void **state)
{
	const struct end *end = *state;
	struct usp_sink_status status;
	int error;

	begin(end, 50 * MS);
	start_and_send_all();
	assert_int_equal(worker_join(&run.worker), end->is_unix ? 0 : -ETIMEDOUT);
	status = sink_status();
	assert_int_equal(status.bytes + status.stranded, LEN);
	assert_true(end->is_unix ? !status.stranded : status.stranded > 0);
	assert_true(take_rest(0, &error) >= status.bytes);
	assert_int_equal(error, end->is_unix ? 0 : ECONNRESET);
	end_run();
}

static void a_peer_that_never_stops_speaking_does_not_hold_the_end_up_for_ever(void **state)
{
	const struct end *end = *state;
	unsigned char bytes[PAGE] = {0};

	if (end->lane != USP_LANE_AUTO || end->drive > BY_STEPS)
		return; /* two seconds are enough for anybody to take what is there, and too long for thirty cases */
	begin(end, 2000 * MS);
	start_and_send_all();
	net_take(run.peer, 0, LEN);
	while (!run.worker.is_done)
		send(run.peer, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
	assert_int_equal(worker_join(&run.worker), 0);
	end_run();
}

static void a_stop_while_the_peer_has_not_ended_loses_nothing_that_it_has(void **state)
{
	int error;

	begin(*state, AN_HOUR);
	assert_int_equal(send(run.peer, "220 hello\r\n", 11, 0), 11);
	start_and_send_all();
	net_take(run.peer, 0, LEN);
	await_acknowledged_end();
	usp_pump_stop(run.pump);
	if (run.end->drive == BY_STEPS || run.end->drive == BY_TWO_STEPS) /* its loop has to be woken */
		assert_int_equal(send(run.peer, "?", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(worker_join(&run.worker), -ECANCELED);
	assert_int_equal(sink_status().bytes, LEN);
	assert_int_equal(sink_status().error, 0);
	assert_int_equal(take_rest(LEN, &error), 0);
	assert_int_equal(error, 0);
	end_run();
}

/* It is writable only when a third of its buffer is free, and that takes the peer longer than the sink may take nothing. */
static void a_sink_whose_peer_takes_bytes_all_the_time_is_not_slow(void **state)
{
	const struct end *end = *state;
	const uint64_t slow_ns = 1000 * MS;
	int error;
	size_t len = 0;

	if (end->lane != USP_LANE_AUTO || end->is_unix || end->drive == BY_RUN || end->drive == BY_TWO_STEPS)
		return;
	begin_with(end, &(struct usp_pump_params){.size = sizeof(struct usp_pump_params),
						  .flags = USP_PUMP_DETACH_SLOW |
							   (end->drive == BY_TURNS ? USP_PUMP_TURNS : 0),
						  .slow_ns = slow_ns});
	worker_start(&run.worker, go, NULL);
	give_source(0, LEN);
	give_source(LEN, LEN);
	give_source(2 * LEN, 6 * LEN);
	close(run.source_far);
	for (uint64_t until_ns = usp_sys_now_ns() + 3 * slow_ns; usp_sys_now_ns() < until_ns && !run.worker.is_done;
	     len += 1000) {
		net_take(run.peer, len, 1000);
		poll(NULL, 0, 20);
	}
	assert_false(run.worker.is_done);
	assert_int_equal(take_rest(len, &error), 8 * LEN - len);
	assert_int_equal(error, 0);
	assert_int_equal(worker_join(&run.worker), 0);
	end_run();
}

/* --- An aborted copy does not look whole ----------------------------------------------------------------------- */

/* Some bytes have arrived, and the source has not ended. */
static void start_and_pass_some(void)
{
	worker_start(&run.worker, go, NULL);
	give_source(0, 1000);
	net_take(run.peer, 0, 1000);
}

/* The peer of a UNIX socket cannot be told. */
static void assert_cut_short(void)
{
	int error;

	assert_int_equal(take_rest(1000, &error), 0);
	assert_int_equal(error, run.end->is_unix ? 0 : ECONNRESET);
}

static void a_source_that_fails_resets_the_sink(void **state)
{
	begin(*state, 0);
	start_and_pass_some();
	net_reset(run.source_far);
	assert_int_equal(worker_join(&run.worker), -ECONNRESET);
	assert_int_equal(sink_status().error, 0);
	assert_cut_short();
	end_run();
}

static void a_run_that_is_stopped_resets_the_sink(void **state)
{
	begin(*state, 0);
	start_and_pass_some();
	usp_pump_stop(run.pump);
	if (run.end->drive == BY_STEPS || run.end->drive == BY_TWO_STEPS)
		give_source(1000, 1);
	assert_int_equal(worker_join(&run.worker), -ECANCELED);
	assert_cut_short();
	close(run.source_far);
	end_run();
}

static void a_pump_that_is_freed_in_the_middle_leaves_a_sink_that_is_reset(void **state)
{
	const struct end *end = *state;
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	if (end->drive != BY_STEPS && end->drive != BY_TWO_STEPS)
		return; /* the others cannot be freed then */
	begin(end, 0);
	give_source(0, 1000);
	while (sink_status().bytes < 1000)
		assert_int_equal(usp_pump_step(run.pump, &wait), -EAGAIN);
	usp_pump_free(run.pump);
	run.pump = NULL;
	drop(&run.sink);
	net_take(run.peer, 0, 1000);
	assert_cut_short();
	close(run.source_far);
	close(run.peer);
}

/* What the first one left may be sent by another one. */
static void a_later_run_that_ends_well_takes_the_reset_back(void **state)
{
	const struct end *end = *state;
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	const struct usp_pump_params params = {
		.size = sizeof(params), .flags = USP_PUMP_COUNT, .count = 1000, .linger_ns = 50 * MS};
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	struct usp_file *zeros, *sink;
	int error;

	if (end->drive != BY_STEPS)
		return;
	begin(end, 0);
	assert_int_equal(usp_pump_step(run.pump, &wait), -EAGAIN);
	sink = usp_file_get(run.sink);
	usp_pump_free(run.pump);
	assert_int_equal(usp_open("zero:", &to_read, &zeros, NULL), 0);
	assert_int_equal(usp_pump_new(zeros, &params, &run.pump), 0);
	assert_int_equal(usp_pump_add_sink(run.pump, sink), 0);
	usp_file_put(zeros);
	usp_file_put(sink);
	worker_start(&run.worker, go, NULL);
	assert_int_equal(recv(run.peer, (char[1000]){0}, 1000, MSG_WAITALL), 1000);
	assert_int_equal(take_rest(0, &error), 0);
	assert_int_equal(error, 0);
	assert_int_equal(worker_join(&run.worker), 0);
	close(run.source_far);
	usp_pump_free(run.pump);
	drop(&run.sink); /* while the peer has not ended, or there is nothing left that could be reset */
	assert_int_equal(getsockopt(run.peer, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)}), 0);
	assert_int_equal(error, 0);
	close(run.peer);
}

static void a_sink_that_fails_resets_the_others(void **state)
{
	const struct end *end = *state;
	struct usp_file *full;
	int error;

	if (end->drive < BY_THREADS || end->lane == USP_LANE_KERNEL)
		return;
	begin(end, 0);
	full = net_file(open("/dev/full", O_WRONLY | O_CLOEXEC), USP_WRITE);
	assert_int_equal(usp_pump_add_sink(run.pump, full), 0);
	usp_file_put(full);
	worker_start(&run.worker, go, NULL);
	give_source(0, 1000);
	AWAIT(sink_status().bytes || run.worker.is_done);
	if (end->drive == BY_TWO_STEPS) /* its loop waits for the source alone */
		give_source(1000, 1);
	assert_int_equal(worker_join(&run.worker), -ENOSPC);
	assert_int_equal(sink_status().error, 0);
	take_rest(0, &error);
	assert_int_equal(error, end->is_unix ? 0 : ECONNRESET);
	close(run.source_far);
	end_run();
}

/* --- What is not ours --------------------------------------------------------------------------------------------- */

/* Neither its end nor a reset is told, and its input stays. */
static void a_socket_that_others_have_is_left_as_read_and_write_leave_it(void **state)
{
	const struct end *end = *state;
	struct usp_pump_params params;
	char banner[11];
	int fds[2], error;

	for (unsigned is_cut = 0; is_cut < 2; is_cut++) {
		if (end->is_unix)
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		else
			net_tcp_pair(fds, 0);
		run.peer = fds[1];
		assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0); /* or the kernel lane would not take it */
		assert_int_equal(usp_open_fd(dup(fds[0]), USP_WRITE, "shared", &run.sink), 0);
		params = params_of(end, 0);
		begin_pump(end, &params);
		assert_int_equal(send(run.peer, "220 hello\r\n", 11, 0), 11);
		worker_start(&run.worker, go, NULL);
		give_source(0, 1000);
		net_take(run.peer, 0, 1000);
		if (is_cut)
			net_reset(run.source_far);
		else
			close(run.source_far);
		assert_int_equal(worker_join(&run.worker), is_cut ? -ECONNRESET : 0);
		assert_int_equal(send(fds[0], "more", 4, MSG_NOSIGNAL), 4);
		assert_int_equal(recv(fds[0], banner, sizeof(banner), 0), 11);
		close(fds[0]);
		assert_int_equal(recv(run.peer, banner, 4, MSG_WAITALL), 4);
		assert_int_equal(take_rest(0, &error), 0);
		assert_int_equal(error, 0);
		end_run();
	}
}

/* --- The list ---------------------------------------------------------------------------------------------------- */

#define ENDS(f)                      \
	{                            \
		.name = #f, .run = f \
	}

static const struct {
	const char *name;
	void (*run)(void **state);
} end_tests[] = {
	ENDS(a_peer_that_speaks_first_and_reads_late_gets_everything),
	ENDS(a_peer_that_answers_while_it_is_sent_to_gets_everything),
	ENDS(a_peer_that_leaves_with_bytes_unread_is_a_sink_that_failed),
	ENDS(a_peer_that_has_everything_and_is_silent_is_not_waited_for_long),
	ENDS(a_peer_that_takes_nothing_more_is_given_up),
	ENDS(a_peer_that_never_stops_speaking_does_not_hold_the_end_up_for_ever),
	ENDS(a_stop_while_the_peer_has_not_ended_loses_nothing_that_it_has),
	ENDS(a_sink_whose_peer_takes_bytes_all_the_time_is_not_slow),
	ENDS(a_source_that_fails_resets_the_sink),
	ENDS(a_run_that_is_stopped_resets_the_sink),
	ENDS(a_pump_that_is_freed_in_the_middle_leaves_a_sink_that_is_reset),
	ENDS(a_later_run_that_ends_well_takes_the_reset_back),
	ENDS(a_sink_that_fails_resets_the_others),
	ENDS(a_socket_that_others_have_is_left_as_read_and_write_leave_it),
};

#define NR_ENDS (ARRAY_LEN(lane_names) * 2 * NR_DRIVES)

int main(void)
{
	static struct CMUnitTest tests[ARRAY_LEN(end_tests) * NR_ENDS];
	static struct end ends[ARRAY_LEN(tests)];

	for (unsigned i = 0; i < ARRAY_LEN(tests); i++) {
		struct end *end = &ends[i];

		end->drive = i % NR_DRIVES;
		end->is_unix = i / NR_DRIVES % 2;
		end->lane = i / NR_DRIVES / 2 % ARRAY_LEN(lane_names);
		snprintf(end->name, sizeof(end->name), "%s: %s, lane %s, by %s", end_tests[i / NR_ENDS].name,
			 end->is_unix ? "UNIX" : "TCP", lane_names[end->lane], drive_names[end->drive]);
		tests[i] = (struct CMUnitTest){
			.name = end->name,
			.test_func = end_tests[i / NR_ENDS].run,
			.setup_func = support_before,
			.teardown_func = support_after,
			.initial_state = end,
		};
	}
	if (getenv("USP_TEST_FILTER"))
		cmocka_set_test_filter(getenv("USP_TEST_FILTER")); /* some of the many: "*UNIX*" */
	return _cmocka_run_group_tests("ends", tests, ARRAY_LEN(tests), NULL, NULL);
}
