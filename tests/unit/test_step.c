/* SPDX-License-Identifier: MIT */
/* test_step - a pump in pieces: what each step does, what it waits for, and how it ends. */
#include <sched.h>

#include "base/sys.h"
#include "net.h"
#include "pump/inside.h"
#include "steps.h"

#define ROOM (4 * PAGE) /* of the small pipe that is a sink */
#define PIECE ((size_t)100 << 10)
#define RATE ((uint64_t)4 << 20)
#define MS ((uint64_t)1000000)
#define HOUR (3600 * 1000 * MS)

static struct steps steps;
static struct usp_file *source_pipe[2], *sink_pipe[2];
static int source_far, sink_far; /* the other ends of sockets */

static void begin(struct usp_file *source, struct usp_file *sink, const struct usp_pump_params *params)
{
	steps = (struct steps){.source = source, .sink = sink};
	assert_int_equal(usp_pump_new(source, params, &steps.pump), 0);
	assert_int_equal(usp_pump_add_sink(steps.pump, sink), 0);
}

/* From a pipe to a small one. */
static void begin_pipes(const struct usp_pump_params *params)
{
	open_pipe(source_pipe, 16, 0);
	open_pipe(sink_pipe, 4, 0);
	begin(source_pipe[0], sink_pipe[1], params);
}

static void end_pipes(void)
{
	usp_pump_free(steps.pump);
	close_pipe(source_pipe);
	close_pipe(sink_pipe);
}

static void begin_sockets(const struct usp_pump_params *params)
{
	int from[2], to[2];

	net_tcp_pair(from, 0);
	net_tcp_pair(to, 0);
	source_far = from[0];
	sink_far = to[1];
	begin(net_file(from[1], USP_READ), net_file(to[0], USP_READ | USP_WRITE), params);
}

static void end_sockets(void)
{
	usp_pump_free(steps.pump);
	drop(&steps.source);
	drop(&steps.sink);
	close(source_far);
	close(sink_far);
}

static void send_bytes(uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	pattern_fill(bytes, off, len);
	assert_int_equal(send(source_far, bytes, len, MSG_NOSIGNAL), len);
	free(bytes);
}

static void await_events(int fd, short events)
{
	struct pollfd pollfd = {.fd = fd, .events = events};

	while (!(pollfd.revents & events))
		assert_int_equal(poll(&pollfd, 1, -1), 1);
}

static void assert_step_waits(unsigned side)
{
	struct usp_pump_wait wait = {.size = sizeof(wait), .side = 0};

	do
		assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
	while (!wait.file && wait.timeout_ns == 0);
	steps_check_wait(&steps, &wait);
	assert_int_equal(wait.side, side);
	assert_true(wait.events);
}

static struct usp_pump_status pump_status(void)
{
	struct usp_pump_status status = {.size = sizeof(status)};

	usp_pump_status(steps.pump, &status);
	return status;
}

static struct usp_sink_status sink_status(void)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	assert_int_equal(usp_pump_sink_status(steps.pump, 0, &status), 0);
	return status;
}

/* --- Waiting ------------------------------------------------------------------------------------------------ */

static void a_step_says_whom_it_waits_for(void **state)
{
	(void)state;
	begin_pipes(NULL);
	assert_step_waits(USP_READ);
	put_bytes(source_pipe[1], 0, ROOM + 100);
	assert_step_waits(USP_WRITE);
	take_bytes(sink_pipe[0], 0, ROOM);
	assert_step_waits(USP_READ);
	take_bytes(sink_pipe[0], ROOM, 100);
	assert_false(pump_status().is_done);
	drop(&source_pipe[1]);
	assert_int_equal(
		usp_pump_step(steps.pump, &(struct usp_pump_wait){.size = sizeof(struct usp_pump_wait), .fd = -1}), 0);
	assert_true(pump_status().is_done);
	assert_int_equal(
		usp_pump_step(steps.pump, &(struct usp_pump_wait){.size = sizeof(struct usp_pump_wait), .fd = -1}),
		-EINVAL); /* over */
	end_pipes();
}

static void the_flags_of_files_come_back(void **state)
{
	(void)state;
	begin_pipes(NULL);
	assert_step_waits(USP_READ);
	drop(&source_pipe[1]);
	assert_int_equal(steps_poll(&steps), 0);
	assert_int_equal(usp_file_flags(steps.source) & USP_NONBLOCK, 0);
	assert_int_equal(usp_file_flags(steps.sink) & USP_NONBLOCK, 0);
	end_pipes();
}

/* The source's event comes while the step waits for the sink, and never again. */
static void what_came_while_a_step_waited_for_the_sink_is_not_forgotten(void **state)
{
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	source_far = fds[0];
	open_pipe(sink_pipe, 4, 0);
	begin(net_file(fds[1], USP_READ), sink_pipe[1],
	      &(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .lane = USP_LANE_USER});
	send_bytes(0, ROOM + 100);
	await_events(fds[1], POLLIN);
	while (pump_status().bytes < ROOM + 100)
		usp_pump_step(steps.pump, &(struct usp_pump_wait){.size = sizeof(struct usp_pump_wait), .fd = -1});
	assert_step_waits(USP_WRITE);
	send_bytes(ROOM + 100, 50);
	await_events(fds[1], POLLIN);
	take_bytes(sink_pipe[0], 0, ROOM);
	assert_step_waits(USP_READ);
	assert_int_equal(pump_status().bytes, ROOM + 150);
	take_bytes(sink_pipe[0], ROOM, 150);
	usp_pump_free(steps.pump);
	drop(&steps.source);
	close_pipe(sink_pipe);
	close(source_far);
}

/* Both came in one event, which an edge-triggered loop sees once. */
static void the_end_behind_a_short_read_is_found_by_looking(void **state)
{
	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		begin_sockets(&(struct usp_pump_params){
			.size = sizeof(struct usp_pump_params), .lane = lane, .flags = USP_PUMP_ADAPT_LANE});
		send_bytes(0, 100);
		shutdown(source_far, SHUT_WR);
		await_events(usp_file_fd(steps.source), POLLRDHUP);
		usp_pump_recheck(steps.pump);
		assert_int_equal(usp_pump_step(steps.pump,
					       &(struct usp_pump_wait){.size = sizeof(struct usp_pump_wait), .fd = -1}),
				 0);
		net_take(sink_far, 0, 100);
		end_sockets();
	}
}

static void the_end_goes_on_to_the_sink_and_no_further(void **state)
{
	(void)state;
	begin_sockets(NULL);
	send_bytes(0, 100);
	shutdown(source_far, SHUT_WR);
	assert_int_equal(steps_epoll(&steps), 0);
	net_take(sink_far, 0, 100);
	assert_int_equal(recv(sink_far, &(char){0}, 1, 0), 0);
	assert_int_equal(send(sink_far, "reply", 5, MSG_NOSIGNAL), 5); /* the other direction is open */
	await_events(usp_file_fd(steps.sink), POLLIN);
	end_sockets();
}

/* --- How much, how fast, how long ----------------------------------------------------------------------------- */

static void no_more_than_count_is_taken(void **state)
{
	(void)state;
	begin_pipes(&(struct usp_pump_params){
		.size = sizeof(struct usp_pump_params), .flags = USP_PUMP_COUNT, .count = 1000});
	put_bytes(source_pipe[1], 0, 600);
	assert_step_waits(USP_READ);
	put_bytes(source_pipe[1], 600, 900);
	assert_int_equal(steps_poll(&steps), 0);
	take_bytes(sink_pipe[0], 0, 1000);
	take_bytes(source_pipe[0], 1000, 500);
	end_pipes();
}

static void a_rate_is_kept_on_average(void **state)
{
	const size_t len = RATE / 2;
	unsigned char *bytes = malloc(len);
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *source;
	uint64_t ns;

	(void)state;
	assert_non_null(bytes);
	pattern_fill(bytes, 0, len);
	assert_int_equal(usp_open_memory(bytes, len, USP_READ, NULL, NULL, &source), 0);
	begin(source, sink->file, &(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .rate = RATE});
	ns = usp_sys_now_ns();
	assert_int_equal(steps_poll(&steps), 0);
	assert_true(usp_sys_now_ns() - ns >= 400 * MS); /* half a second, without what may go at once */
	assert_in_range(steps.nr_pauses, 5, 11); /* of 50 ms: not slower either, but for what the machine takes */
	assert_int_equal(sink->len, len);
	assert_pattern(sink->bytes, 0, len);
	usp_pump_free(steps.pump);
	drop(&source);
	mock_close(sink);
	free(bytes);
}

static void a_source_that_gives_nothing_for_too_long_times_out(void **state)
{
	uint64_t ns;

	(void)state;
	begin_pipes(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .idle_ns = 60 * MS});
	put_bytes(source_pipe[1], 0, 100);
	ns = usp_sys_now_ns();
	assert_int_equal(steps_poll(&steps), -ETIMEDOUT);
	assert_true(usp_sys_now_ns() - ns >= 60 * MS);
	assert_int_equal(pump_status().source_error, -ETIMEDOUT);
	assert_int_equal(sink_status().error, 0);
	assert_int_equal(sink_status().bytes, 100);
	end_pipes();
}

static void a_sink_that_takes_nothing_for_too_long_times_out(void **state)
{
	(void)state;
	begin_pipes(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .idle_ns = 60 * MS});
	put_bytes(source_pipe[1], 0, ROOM + 100);
	assert_int_equal(steps_poll(&steps), -ETIMEDOUT);
	assert_int_equal(pump_status().source_error, 0);
	assert_int_equal(sink_status().error, -ETIMEDOUT);
	assert_int_equal(sink_status().stranded, 100);
	end_pipes();
}

/* As if so much time had passed since the last step, whatever the machine has to do. */
static void pass_time(uint64_t len_ns)
{
	steps.pump->limits.begun_ns -= len_ns;
	steps.pump->limits.progress_ns -= len_ns;
	for (unsigned i = 0; i < steps.pump->nr_sinks; i++)
		steps.pump->sinks[i].progress_ns -= len_ns;
}

/* Whatever moves does not count as idle. */
static void traffic_puts_the_idle_time_off(void **state)
{
	(void)state;
	begin_pipes(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .idle_ns = HOUR});
	assert_step_waits(USP_READ);
	for (uint64_t off = 0; off < 3; off++) {
		pass_time(HOUR * 2 / 3);
		assert_step_waits(USP_READ);
		put_bytes(source_pipe[1], off, 1);
		assert_step_waits(USP_READ);
		take_bytes(sink_pipe[0], off, 1);
	}
	pass_time(HOUR);
	assert_int_equal(steps_poll(&steps), -ETIMEDOUT);
	end_pipes();
}

/* Who waits because of a limit waits for nobody. */
static void a_pause_of_a_limited_rate_is_no_idle_time(void **state)
{
	const struct usp_pump_params params = {
		.size = sizeof(params), .rate = RATE, .idle_ns = HOUR, .total_ns = 6 * HOUR};
	const struct usp_open_params mode = {.size = sizeof(mode), .mode = USP_READ};
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct usp_file *source;

	(void)state;
	assert_int_equal(usp_open("zero:", &mode, &source, NULL), 0);
	begin(source, sink->file, &params);
	for (unsigned i = 0; i < 5; i++) {
		do
			assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
		while (wait.timeout_ns == 0);
		assert_null(wait.file);
		pass_time(HOUR);
	}
	pass_time(HOUR);
	assert_int_equal(steps_poll(&steps), -ETIMEDOUT);
	usp_pump_free(steps.pump);
	drop(&source);
	mock_close(sink);
}

/* All has gone into the socket, and nothing comes: but the peer takes what is queued. */
static void what_the_peer_of_a_sink_takes_puts_the_idle_time_off(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .idle_ns = HOUR};
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	for (unsigned is_unix = 0; is_unix < 2; is_unix++) {
		int from[2], to[2], before;

		net_tcp_pair(from, 0);
		net_tcp_pair(to, PAGE);
		if (is_unix) {
			close(to[0]);
			close(to[1]);
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to), 0);
		}
		source_far = from[0];
		sink_far = to[1];
		begin(net_file(from[1], USP_READ), net_file(to[0], USP_READ | USP_WRITE), &params);
		send_bytes(0, 10 * PAGE);
		while (pump_status().bytes < 10 * PAGE)
			assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
		pass_time(HOUR);
		before = usp_sys_bytes_unsent(to[0]);
		net_take(sink_far, 0, 10 * PAGE);
		while (usp_sys_bytes_unsent(to[0]) == before)
			sched_yield(); /* until that is acknowledged */
		assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
		pass_time(HOUR);
		assert_int_equal(usp_pump_step(steps.pump, &wait), -ETIMEDOUT);
		assert_int_equal(pump_status().source_error, -ETIMEDOUT);
		end_sockets();
	}
}

static void traffic_does_not_put_the_total_time_off(void **state)
{
	const struct usp_open_params mode = {.size = sizeof(mode), .mode = USP_READ};
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct usp_file *source;
	uint64_t ns = usp_sys_now_ns();

	(void)state;
	assert_int_equal(usp_open("zero:", &mode, &source, NULL), 0);
	begin(source, sink->file,
	      &(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .total_ns = 60 * MS});
	assert_int_equal(steps_poll(&steps), -ETIMEDOUT);
	assert_true(usp_sys_now_ns() - ns >= 60 * MS);
	assert_true(pump_status().bytes > 0);
	usp_pump_free(steps.pump);
	drop(&source);
	mock_close(sink);
}

static void a_stop_ends_it_at_the_next_step(void **state)
{
	(void)state;
	begin_pipes(NULL);
	put_bytes(source_pipe[1], 0, ROOM + 100);
	assert_step_waits(USP_WRITE);
	usp_pump_stop(steps.pump);
	assert_int_equal(
		usp_pump_step(steps.pump, &(struct usp_pump_wait){.size = sizeof(struct usp_pump_wait), .fd = -1}),
		-ECANCELED);
	assert_int_equal(sink_status().stranded, 100);
	end_pipes();
}

static void a_pump_without_a_sink_has_no_steps(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	open_pipe(source_pipe, 16, 0);
	assert_int_equal(usp_pump_new(source_pipe[0], NULL, &steps.pump), 0);
	assert_int_equal(usp_pump_waits(steps.pump, &wait, 1), 0);
	assert_int_equal(usp_pump_step(steps.pump, &wait), -EINVAL);
	usp_pump_free(steps.pump);
	close_pipe(source_pipe);
}

/* --- Several sinks ------------------------------------------------------------------------------------------------ */

static struct usp_file *second_pipe[2];

static void begin_two(const struct usp_pump_params *params)
{
	open_pipe(second_pipe, 4, 0);
	begin_pipes(params);
	assert_int_equal(usp_pump_add_sink(steps.pump, second_pipe[1]), 0);
}

static void end_two(void)
{
	end_pipes();
	close_pipe(second_pipe);
}

/* Step, and look whether it waits for the source, the first sink, the second one: a bit each. The shortest time of all. */
static int64_t assert_two_wait(unsigned expected)
{
	const struct usp_file *files[] = {source_pipe[0], sink_pipe[1], second_pipe[1]};
	struct usp_pump_wait wait = {.size = sizeof(wait)}, waits[3] = {{.size = sizeof(waits[0])}};
	int64_t timeout_ns = -1;
	unsigned nr, found = 0;

	assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
	assert_int_equal(usp_pump_waits(steps.pump, NULL, 0), usp_pump_waits(steps.pump, waits, 3));
	nr = usp_pump_waits(steps.pump, waits, 3);
	assert_true(nr >= 1 && nr <= 3);
	assert_ptr_equal(wait.file, waits[0].file);
	for (unsigned i = 0; i < nr; i++) {
		for (unsigned j = 0; j < 3; j++) {
			if (waits[i].file == files[j])
				found |= 1u << j;
		}
		assert_int_equal(waits[i].side, waits[i].file == files[0] ? USP_READ : USP_WRITE);
		if (waits[i].timeout_ns >= 0 && (timeout_ns < 0 || waits[i].timeout_ns < timeout_ns))
			timeout_ns = waits[i].timeout_ns;
	}
	assert_int_equal(found, expected);
	return timeout_ns;
}

static void steps_with_two_sinks_say_all_that_they_wait_for(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	begin_two(NULL);
	assert_true(assert_two_wait(1) < 0);
	put_bytes(source_pipe[1], 0, 2 * ROOM);
	assert_two_wait(1 | 2 | 4); /* what the sinks did not take is in their pipes, and there is room in these */
	take_bytes(sink_pipe[0], 0, ROOM);
	assert_two_wait(1 | 4);
	take_bytes(sink_pipe[0], ROOM, ROOM);
	drop(&source_pipe[1]);
	assert_two_wait(4); /* the first one has had everything and its end */
	take_bytes(second_pipe[0], 0, ROOM);
	while (usp_pump_step(steps.pump, &wait) == -EAGAIN)
		;
	assert_int_equal(usp_pump_waits(steps.pump, &wait, 1), 0);
	take_bytes(second_pipe[0], ROOM, ROOM);
	assert_int_equal(sink_status().bytes, 2 * ROOM);
	end_two();
}

static void a_source_that_gives_two_sinks_nothing_times_out(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	begin_two(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .idle_ns = HOUR});
	assert_in_range(assert_two_wait(1), 1, HOUR);
	pass_time(HOUR);
	assert_int_equal(usp_pump_step(steps.pump, &wait), -ETIMEDOUT);
	assert_int_equal(pump_status().source_error, -ETIMEDOUT);
	assert_int_equal(sink_status().error, 0);
	end_two();
}

/* The other one has had everything. */
static void one_of_two_sinks_that_takes_nothing_times_out(void **state)
{
	struct usp_sink_status second = {.size = sizeof(second)};

	(void)state;
	for (unsigned i = 0; i < 2; i++) { /* by steps, and by a run that blocks */
		struct usp_pump_wait wait = {.size = sizeof(wait)};

		begin_two(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params),
						    .flags = USP_PUMP_COUNT | USP_PUMP_TURNS,
						    .count = ROOM + 100,
						    .idle_ns = i == 0 ? HOUR : 60 * MS});
		put_bytes(source_pipe[1], 0, ROOM + 100);
		assert_int_equal(usp_pipe_resize(sink_pipe[1], 2 * ROOM), 2 * ROOM);
		if (i == 0) {
			assert_in_range(assert_two_wait(4), 1, HOUR);
			pass_time(HOUR);
			assert_int_equal(usp_pump_step(steps.pump, &wait), -ETIMEDOUT);
		} else {
			assert_int_equal(usp_pump_run(steps.pump), -ETIMEDOUT);
		}
		assert_int_equal(sink_status().error, 0);
		assert_int_equal(sink_status().bytes, ROOM + 100);
		assert_int_equal(usp_pump_sink_status(steps.pump, 1, &second), 0);
		assert_int_equal(second.error, -ETIMEDOUT);
		assert_int_equal(second.bytes, ROOM);
		assert_int_equal(second.stranded, 100);
		end_two();
	}
}

static void the_total_time_of_a_run_with_two_sinks_is_kept(void **state)
{
	uint64_t from_ns = usp_sys_now_ns();

	(void)state;
	begin_two(&(struct usp_pump_params){
		.size = sizeof(struct usp_pump_params), .flags = USP_PUMP_TURNS, .total_ns = 60 * MS});
	assert_int_equal(usp_pump_run(steps.pump), -ETIMEDOUT);
	assert_true(usp_sys_now_ns() - from_ns >= 60 * MS);
	assert_int_equal(pump_status().source_error, -ETIMEDOUT);
	end_two();
}

/* --- What a failed sink leaves ----------------------------------------------------------------------------------- */

static size_t salvage(struct usp_file *to)
{
	size_t len = 0;
	ssize_t ret;

	while ((ret = usp_pump_salvage(steps.pump, 0, to)) > 0)
		len += (size_t)ret;
	assert_int_equal(ret, 0);
	return len;
}

static void what_a_failed_sink_left_can_be_delivered_elsewhere(void **state)
{
	struct mock *bad = mock_open(&mock_copy_ops, USP_WRITE, 0), *good = mock_open(&mock_copy_ops, USP_WRITE, 0);

	(void)state;
	SCRIPT(bad, 700, -EIO, -EIO);
	open_pipe(source_pipe, 16, 0);
	begin(source_pipe[0], bad->file,
	      &(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .flags = USP_PUMP_KEEP_STRANDED});
	put_bytes(source_pipe[1], 0, 2 * PAGE);
	assert_int_equal(usp_pump_salvage(steps.pump, 0, good->file), -EINVAL); /* not while it runs */
	assert_int_equal(steps_poll(&steps), -EIO);
	assert_int_equal(sink_status().bytes, 700);
	assert_int_equal(sink_status().stranded, 2 * PAGE - 700);
	assert_int_equal(usp_pump_salvage(steps.pump, 1, good->file), -EINVAL);
	assert_int_equal(salvage(good->file), 2 * PAGE - 700);
	assert_int_equal(sink_status().stranded, 0);
	assert_int_equal(good->len, 2 * PAGE - 700);
	assert_pattern(good->bytes, 700, good->len);
	usp_pump_free(steps.pump);
	close_pipe(source_pipe);
	mock_close(bad);
	mock_close(good);
}

/* On both lanes: what is in kernel pipes is delivered, too. */
static void what_a_broken_connection_left_goes_to_a_pipe(void **state)
{
	struct usp_file *rest[2];
	size_t taken = 0, sent, lost, len;

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_KERNEL; lane <= USP_LANE_USER; lane++) {
		begin_sockets(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params),
							.lane = lane,
							.flags = USP_PUMP_KEEP_STRANDED | USP_PUMP_ADAPT_LANE});
		for (taken = 0; steps.nr_waits[1] == 0; taken += PIECE) {
			struct usp_pump_wait wait = {.size = sizeof(wait)};

			send_bytes(taken, PIECE);
			while (pump_status().bytes < taken + PIECE && steps.nr_waits[1] == 0) {
				assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
				steps_check_wait(&steps, &wait);
			}
		}
		taken = pump_status().bytes;
		sent = sink_status().bytes;
		net_reset(sink_far);
		sink_far = -1;
		assert_true(steps_poll(&steps) < 0);
		len = sink_status().bytes;
		lost = sent - len; /* not acknowledged */
		assert_true(len < sent);
		assert_int_equal(sink_status().stranded, taken - len);
		assert_true(taken > sent);
		assert_int_equal(
			usp_pipe_open(&(struct usp_pipe_params){.size = sizeof(struct usp_pipe_params), .nr_slots = 64},
				      rest),
			0);
		assert_int_equal(salvage(rest[1]), taken - sent);
		take_bytes(rest[0], sent, taken - sent);
		assert_int_equal(sink_status().stranded, lost);
		close_pipe(rest);
		end_sockets();
	}
}

/* --- Lanes -------------------------------------------------------------------------------------------------------- */

/* Send len bytes, step until they are through, and take them. */
static uint64_t carry(uint64_t off, size_t len)
{
	send_bytes(off, len);
	while (sink_status().bytes < off + len) {
		int ret = usp_pump_step(steps.pump,
					&(struct usp_pump_wait){.size = sizeof(struct usp_pump_wait), .fd = -1});

		assert_int_equal(ret, -EAGAIN);
		sched_yield();
	}
	net_take(sink_far, off, len);
	return off + len;
}

static void large_pieces_take_the_kernel_lane_and_small_ones_leave_it(void **state)
{
	uint64_t off = 0;

	(void)state;
	begin_sockets(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .flags = USP_PUMP_ADAPT_LANE});
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 10; i++)
			off = carry(off, 10);
		assert_string_equal(usp_pump_lane(steps.pump), "user");
		while (strcmp(usp_pump_lane(steps.pump), "kernel")) {
			assert_true(off < 100 * PIECE);
			off = carry(off, PIECE);
		}
		for (unsigned i = 0; i < 10; i++) /* not at once: a fast sink makes small pieces of a large transfer */
			off = carry(off, 10);
		assert_string_equal(usp_pump_lane(steps.pump), "kernel");
		for (unsigned i = 0; i < 100; i++)
			off = carry(off, 10);
	}
	assert_string_equal(usp_pump_lane(steps.pump), "user");
	shutdown(source_far, SHUT_WR);
	assert_int_equal(steps_epoll(&steps), 0);
	assert_int_equal(pump_status().bytes, off);
	end_sockets();
}

static void a_lane_that_was_asked_for_does_not_adapt(void **state)
{
	uint64_t off;

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_KERNEL; lane <= USP_LANE_USER; lane++) {
		begin_sockets(&(struct usp_pump_params){
			.size = sizeof(struct usp_pump_params), .lane = lane, .flags = USP_PUMP_ADAPT_LANE});
		off = 0;
		for (unsigned i = 0; i < 100; i++)
			off = carry(off, 10);
		for (unsigned i = 0; i < 10; i++)
			off = carry(off, PIECE);
		assert_string_equal(usp_pump_lane(steps.pump), lane == USP_LANE_KERNEL ? "kernel" : "user");
		end_sockets();
	}
}

/* --- The low-water mark of bulk flows --------------------------------------------------------------------------------- */

#define LARGE ((size_t)256 << 10)
#define PACE_MS 8 /* a sixteenth of what a flow has to show itself for, and more */

static int low_water_mark(void)
{
	int mark = -1;

	assert_int_equal(
		getsockopt(usp_file_fd(steps.source), SOL_SOCKET, SO_RCVLOWAT, &mark, &(socklen_t){sizeof(mark)}), 0);
	return mark;
}

/* As if a piece had come every few milliseconds, whatever the machine has to do. */
static void keep_pace(void)
{
	struct usp_rcvlowat *rcvlowat = &steps.pump->adapt.rcvlowat;

	if (rcvlowat->since_ns)
		rcvlowat->since_ns = usp_sys_now_ns() - (rcvlowat->shown / LARGE + 1) * PACE_MS * MS;
}

/* As carry, and waits for what the step said. */
static uint64_t carry_waiting(uint64_t off, size_t len, struct usp_pump_wait *wait)
{
	send_bytes(off, len);
	while (sink_status().bytes < off + len) {
		struct pollfd pollfd = {.fd = wait->fd, .events = wait->events};

		assert_true(poll(&pollfd, 1, steps_timeout(wait)) >= 0);
		keep_pace();
		assert_int_equal(usp_pump_step(steps.pump, wait), -EAGAIN);
	}
	net_take(sink_far, off, len);
	return off + len;
}

static uint64_t begin_bulk(struct usp_pump_wait *wait)
{
	uint64_t off = 0;

	begin_sockets(&(struct usp_pump_params){.size = sizeof(struct usp_pump_params), .flags = USP_PUMP_ADAPT_LANE});
	assert_int_equal(usp_pump_step(steps.pump, wait), -EAGAIN);
	while (low_water_mark() == 1)
		off = carry_waiting(off, LARGE, wait);
	return off;
}

static void a_flow_of_large_pieces_gets_a_low_water_mark_and_a_time_to_look(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	assert_true(begin_bulk(&wait) >= 16 * LARGE);
	assert_int_equal(wait.side, USP_READ);
	assert_true(wait.timeout_ns > 0 && wait.timeout_ns <= 50 * (int64_t)MS);
	end_sockets();
}

static void what_stays_below_the_mark_is_fetched_in_time_and_ends_it(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	uint64_t off, shown;

	(void)state;
	off = carry_waiting(begin_bulk(&wait), 1000, &wait);
	assert_int_equal(low_water_mark(), 1);
	assert_true(wait.timeout_ns < 0);
	for (shown = off; low_water_mark() == 1;)
		off = carry_waiting(off, LARGE, &wait);
	assert_true(off - shown >= 32 * LARGE); /* it was late once: more has to be shown */
	end_sockets();
}

static void silence_ends_the_mark(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	begin_bulk(&wait);
	assert_int_equal(poll(NULL, 0, steps_timeout(&wait)), 0);
	assert_int_equal(usp_pump_step(steps.pump, &wait), -EAGAIN);
	assert_int_equal(low_water_mark(), 1);
	assert_true(wait.timeout_ns < 0);
	end_sockets();
}

static void the_end_comes_through_below_the_mark_and_the_socket_is_as_before(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	uint64_t off;
	int fd;

	(void)state;
	off = begin_bulk(&wait);
	fd = usp_file_fd(steps.source);
	send_bytes(off, 100);
	shutdown(source_far, SHUT_WR);
	await_events(fd, POLLIN); /* without a time-out */
	usp_pump_recheck(steps.pump);
	assert_int_equal(steps_poll(&steps), 0);
	net_take(sink_far, off, 100);
	assert_int_equal(low_water_mark(), 1);
	end_sockets();
}

static void a_pump_that_is_freed_takes_its_mark_along(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	(void)state;
	begin_bulk(&wait);
	usp_pump_free(steps.pump);
	steps.pump = NULL;
	assert_int_equal(low_water_mark(), 1);
	end_sockets();
}

/* As if a wake-up had brought so much. */
static void bring(size_t len, uint64_t total, struct usp_pump_wait *wait)
{
	for (uint64_t done = 0; done < total; done += len) {
		keep_pace();
		atomic_fetch_add(&steps.pump->bytes, len);
		usp_rcvlowat_adapt(steps.pump, wait);
	}
}

static void a_flow_that_finds_more_anyway_needs_no_mark(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	unsigned nr_marks = 0;

	(void)state;
	begin_bulk(&wait);
	bring(2 * LARGE, 40 * 2 * LARGE, &wait); /* long enough to see that it does no good */
	assert_int_equal(low_water_mark(), 1);
	for (unsigned i = 0; i < 10; i++) { /* nor does it get another one */
		bring(2 * LARGE, 16 * 2 * LARGE, &wait);
		nr_marks += low_water_mark() != 1;
	}
	assert_int_equal(nr_marks, 0);
	for (unsigned i = 0; i < 10 && low_water_mark() == 1; i++) /* but as soon as before, when pieces are smaller */
		bring(LARGE / 2, 16 * LARGE, &wait);
	assert_int_equal(low_water_mark(), LARGE);
	bring(LARGE, 200 * LARGE, &wait);
	assert_int_equal(low_water_mark(), LARGE); /* it has what it asks for, and keeps it */
	end_sockets();
}

/* Where the kernel would splice no further. */
static void an_urgent_byte_is_left_out_on_the_kernel_lane(void **state)
{
	(void)state;
	begin_sockets(NULL);
	send_bytes(0, 100);
	assert_int_equal(send(source_far, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
	send_bytes(100, 100);
	shutdown(source_far, SHUT_WR);
	assert_int_equal(steps_poll(&steps), 0);
	net_take(sink_far, 0, 200);
	assert_int_equal(recv(sink_far, &(char){0}, 1, 0), 0);
	end_sockets();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_step_says_whom_it_waits_for),
		CASE(the_flags_of_files_come_back),
		CASE(what_came_while_a_step_waited_for_the_sink_is_not_forgotten),
		CASE(the_end_behind_a_short_read_is_found_by_looking),
		CASE(the_end_goes_on_to_the_sink_and_no_further),
		CASE(no_more_than_count_is_taken),
		CASE(a_rate_is_kept_on_average),
		CASE(a_source_that_gives_nothing_for_too_long_times_out),
		CASE(a_sink_that_takes_nothing_for_too_long_times_out),
		CASE(traffic_puts_the_idle_time_off),
		CASE(a_pause_of_a_limited_rate_is_no_idle_time),
		CASE(what_the_peer_of_a_sink_takes_puts_the_idle_time_off),
		CASE(traffic_does_not_put_the_total_time_off),
		CASE(a_stop_ends_it_at_the_next_step),
		CASE(a_pump_without_a_sink_has_no_steps),
		CASE(steps_with_two_sinks_say_all_that_they_wait_for),
		CASE(a_source_that_gives_two_sinks_nothing_times_out),
		CASE(one_of_two_sinks_that_takes_nothing_times_out),
		CASE(the_total_time_of_a_run_with_two_sinks_is_kept),
		CASE(what_a_failed_sink_left_can_be_delivered_elsewhere),
		CASE(what_a_broken_connection_left_goes_to_a_pipe),
		CASE(large_pieces_take_the_kernel_lane_and_small_ones_leave_it),
		CASE(a_lane_that_was_asked_for_does_not_adapt),
		CASE(a_flow_of_large_pieces_gets_a_low_water_mark_and_a_time_to_look),
		CASE(what_stays_below_the_mark_is_fetched_in_time_and_ends_it),
		CASE(silence_ends_the_mark),
		CASE(the_end_comes_through_below_the_mark_and_the_socket_is_as_before),
		CASE(a_pump_that_is_freed_takes_its_mark_along),
		CASE(a_flow_that_finds_more_anyway_needs_no_mark),
		CASE(an_urgent_byte_is_left_out_on_the_kernel_lane),
	};

	return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
