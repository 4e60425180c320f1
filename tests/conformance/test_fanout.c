/* SPDX-License-Identifier: MIT */
/* test_fanout - one source, many sinks: nothing is lost where a neighbour is slow, dead or reset, and a run can be stopped. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "peer.h"

#define FAN_MAX 8
#define FAN_LEN ((8 << 20) + 333)     /* more than a branch holds on any lane, and an odd number */
#define SHORT_LEN 300000u	      /* fits into a branch, so that the source can end while a sink is stuck */
#define BOUND_BYTES ((size_t)6 << 20) /* the pipes of a pump and what fits into the sinks' */
#define STEP_MS 5		      /* until a loop around steps sees a stop */
#define SLOW_NS ((uint64_t)100000000) /* at first: longer where a healthy sink looks slow, because the machine is */
#define SLOW_MAX_NS (300 * SLOW_NS)

static const char *const lane_names[] = {
	[USP_LANE_AUTO] = "auto",
	[USP_LANE_KERNEL] = "kernel",
	[USP_LANE_USER] = "user",
};

/* --- A run: peers[i] is sink i ------------------------------------------------------------------------------ */

struct fan {
	struct usp_pump *pump;
	struct usp_file *source;
	struct peer peers[FAN_MAX];
	unsigned nr_peers;
	bool is_stepped; /* by an event loop, and not by threads */
	uint64_t slow_ns;
	struct worker worker;
};

/* A stuck sink, one of several kinds, and how it is run. */
struct stuck {
	unsigned kind;
	enum usp_lane_choice lane;
	bool is_stepped;
};

/* Not on the stack: threads of a test that fails may still look at it. */
static struct fan *fan;

static int fan_before(void **state)
{
	const struct stuck *stuck = *state;

	fan = calloc(1, sizeof(*fan));
	if (!fan)
		return -1;
	fan->is_stepped = stuck->is_stepped;
	return support_before(state);
}

static int fan_after(void **state)
{
	free(fan);
	return support_after(state);
}

static void fan_open(enum usp_lane_choice lane, unsigned flags, struct usp_file *source)
{
	const struct usp_pump_params params = {
		.size = sizeof(params), .lane = lane, .flags = flags, .slow_ns = fan->slow_ns};

	fan->source = source;
	assert_int_equal(usp_pump_new(source, &params, &fan->pump), 0);
}

/* The first len bytes of the stream, from a file that is never the reason to wait. */
static void fan_open_file(enum usp_lane_choice lane, unsigned flags, size_t len)
{
	const struct usp_pump_params params = {
		.size = sizeof(params),
		.lane = lane,
		.flags = flags | USP_PUMP_COUNT,
		.count = (int64_t)len,
		.slow_ns = fan->slow_ns,
	};

	fan->source = net_file(stream_reopen(stream.tmpfs_fd, O_RDONLY), USP_READ);
	assert_int_equal(usp_pump_new(fan->source, &params, &fan->pump), 0);
}

static void fan_add_peer(unsigned kind)
{
	struct peer *peer = &fan->peers[fan->nr_peers++];

	peer_open_sink(peer, &peer_kinds[kind], stream.len);
	assert_int_equal(usp_pump_add_sink(fan->pump, peer->file), 0);
}

static size_t fan_add_held_peer(unsigned kind)
{
	struct peer *peer = &fan->peers[fan->nr_peers++];
	size_t room = peer_open_held_sink(peer, &peer_kinds[kind], stream.len);

	assert_int_equal(usp_pump_add_sink(fan->pump, peer->file), 0);
	return room;
}

static void fan_add_healthy_peers(void)
{
	fan_add_peer(PEER_TMPFS);
	fan_add_peer(PEER_FIFO);
	fan_add_peer(PEER_TCP);
}

/* An event loop around the steps. A stop wakes nobody here, so it looks now and then. */
static int fan_step(void)
{
	struct usp_pump_wait waits[FAN_MAX + 1] = {{.size = sizeof(waits[0])}};
	struct pollfd fds[FAN_MAX + 1];
	int ret;

	while ((ret = usp_pump_step(fan->pump, waits)) == -EAGAIN) {
		unsigned nr = usp_pump_waits(fan->pump, waits, ARRAY_LEN(waits));
		int timeout_ms = STEP_MS;

		assert_in_range(nr, 1, ARRAY_LEN(waits));
		for (unsigned i = 0; i < nr; i++) {
			fds[i] = (struct pollfd){.fd = waits[i].fd, .events = waits[i].events};
			if (waits[i].timeout_ns >= 0 && waits[i].timeout_ns / 1000000 < timeout_ms)
				timeout_ms = (int)(waits[i].timeout_ns / 1000000);
		}
		poll(fds, nr, timeout_ms); /* a signal is for the next step */
	}
	return ret;
}

static int fan_go(void)
{
	return fan->is_stepped ? fan_step() : usp_pump_run(fan->pump);
}

static ssize_t fan_run(void *arg)
{
	(void)arg;
	return fan_go();
}

static void fan_start(void)
{
	worker_start(&fan->worker, fan_run, NULL);
}

static struct usp_sink_status fan_sink(unsigned index)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	assert_int_equal(usp_pump_sink_status(fan->pump, index, &status), 0);
	return status;
}

static struct usp_pump_status fan_status(void)
{
	struct usp_pump_status status = {.size = sizeof(status)};

	usp_pump_status(fan->pump, &status);
	return status;
}

/* The run goes on in its own threads until a sink has so many bytes. */
static void fan_await_bytes(unsigned index, uint64_t bytes)
{
	while (fan_sink(index).bytes < bytes)
		sched_yield();
}

/* --- What must be true behind every run ----------------------------------------------------------------------- */

static uint64_t hop_sum(const struct usp_hop *hop)
{
	return hop->bytes[USP_BY_REFERENCE] + hop->bytes[USP_COPIED] + hop->bytes[USP_UNKNOWN];
}

/* The ledger of each hop, and the sum of the route, agree with what was taken and delivered. */
static void fan_check_ledger(void)
{
	struct usp_route_total total = {.size = sizeof(total)};
	uint64_t delivered = 0, lost;
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_pump_hop(fan->pump, 0, &hop);
	assert_int_equal(hop_sum(&hop), fan_status().bytes);
	for (unsigned i = 0; i < fan->nr_peers; i++) {
		assert_int_equal(usp_pump_hop(fan->pump, 1 + i, &hop), 0);
		lost = hop_sum(&hop) - fan_sink(i).bytes; /* sent, and not acknowledged when the connection was reset */
		assert_true(lost == 0 || lost <= fan_sink(i).stranded);
		assert_true(lost == 0 || strcmp(usp_file_type(fan->peers[i].file), "tcp") == 0);
		delivered += fan_sink(i).bytes;
	}
	usp_pump_total(fan->pump, &total);
	assert_int_equal(total.by_reference + total.copied + total.unknown, delivered);
}

/* A connection that lacks something. */
static bool fan_is_reset(unsigned index)
{
	bool is_whole = fan_status().source_error == 0 && fan_sink(index).error == 0 && fan_sink(index).stranded == 0;

	return !is_whole && strcmp(usp_file_type(fan->peers[index].file), "tcp") == 0;
}

static void fan_check_stranded(void)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < fan->nr_peers; i++) {
		struct usp_sink_status sink = fan_sink(i);

		assert_true(sink.bytes + sink.stranded <= fan_status().bytes);
		assert_true(sink.error || sink.stranded == 0 || fan_is_reset(i));
		most = sink.stranded > most ? sink.stranded : most;
	}
	assert_int_equal(fan_status().stranded, most);
}

/* Sinks [first, ...) have len bytes and no error. */
static void fan_check_healthy(unsigned first, size_t len)
{
	for (unsigned i = first; i < fan->nr_peers; i++) {
		assert_int_equal(fan_sink(i).error, 0);
		assert_int_equal(fan_sink(i).bytes + (fan_is_reset(i) ? fan_sink(i).stranded : 0), len);
	}
}

/* Drop everything: each peer must have got exactly what the pump says that it delivered, but the dead one, who had to die. */
static void fan_close(struct peer *dead)
{
	uint64_t delivered[FAN_MAX], sent[FAN_MAX];
	bool is_reset[FAN_MAX];
	struct usp_hop hop = {.size = sizeof(hop)};

	assert_true(fan_status().is_done);
	fan_check_ledger();
	fan_check_stranded();
	for (unsigned i = 0; i < fan->nr_peers; i++) {
		delivered[i] = fan_sink(i).bytes;
		assert_int_equal(usp_pump_hop(fan->pump, 1 + i, &hop), 0);
		sent[i] = hop_sum(&hop);
		is_reset[i] = fan_is_reset(i);
	}
	usp_pump_free(fan->pump);
	drop(&fan->source);
	for (unsigned i = 0; i < fan->nr_peers; i++) {
		if (&fan->peers[i] == dead)
			peer_close_dead_sink(dead);
		else if (is_reset[i])
			assert_true(peer_close_cut_sink(&fan->peers[i], delivered[i], sent[i]));
		else
			assert_true(peer_close_sink(&fan->peers[i], delivered[i]));
	}
}

/* --- Every sink gets every byte -------------------------------------------------------------------------------- */

struct mix {
	unsigned nr_sinks;
	enum usp_lane_choice lane;
	unsigned source; /* kind */
	bool is_stepped;
	struct peer from;
};

static void every_sink_gets_every_byte(void **state)
{
	struct mix *mix = *state;
	unsigned nr_kinds = mix->lane == USP_LANE_KERNEL ? NR_PEER_KERNEL_KINDS : NR_PEER_KINDS;

	fan = calloc(1, sizeof(*fan));
	assert_non_null(fan);
	fan->is_stepped = mix->is_stepped;
	peer_open_source(&mix->from, &peer_kinds[mix->source], stream.len);
	fan_open(mix->lane, 0, usp_file_get(mix->from.file));
	for (unsigned i = 0; i < mix->nr_sinks; i++)
		fan_add_peer((mix->nr_sinks + i * 2) % nr_kinds); /* other kinds with every number of sinks */
	assert_int_equal(fan_go(), 0);
	assert_int_equal(fan_status().bytes, stream.len);
	fan_check_healthy(0, stream.len);
	fan_close(NULL);
	peer_close_source(&mix->from);
	free(fan);
}

/* --- Slow --------------------------------------------------------------------------------------------------------- */

static void a_slow_sink_holds_the_others_back_and_nothing_is_lost(void **state)
{
	const struct stuck *stuck = *state;

	fan_open_file(stuck->lane, 0, stream.len);
	fan_add_held_peer(stuck->kind);
	fan_add_healthy_peers();
	fan_start();
	fan_await_bytes(1, SHORT_LEN);
	assert_false(fan_status().is_done);
	assert_true(fan_status().bytes < BOUND_BYTES); /* whatever the length of the source */
	peer_let_go(&fan->peers[0]);
	assert_int_equal(worker_join(&fan->worker), 0);
	fan_check_healthy(0, stream.len);
	fan_close(NULL);
}

static bool fan_looks_slow(unsigned first)
{
	for (unsigned i = first; i < fan->nr_peers; i++) {
		if (fan_sink(i).error == -ETIMEDOUT)
			return true;
	}
	return false;
}

static void a_slow_sink_is_detached_and_the_others_go_on(void **state)
{
	const struct stuck *stuck = *state;
	size_t room;

	for (uint64_t slow_ns = SLOW_NS;; slow_ns *= 4) {
		fan->slow_ns = slow_ns;
		fan_open_file(stuck->lane, USP_PUMP_DETACH_SLOW, stream.len);
		room = fan_add_held_peer(stuck->kind);
		fan_add_healthy_peers();
		assert_int_equal(fan_go(), -ETIMEDOUT);
		if (!fan_looks_slow(1) || slow_ns > SLOW_MAX_NS)
			break;
		fan_close(NULL);
		*fan = (struct fan){.is_stepped = stuck->is_stepped};
	}
	assert_int_equal(fan_sink(0).error, -ETIMEDOUT);
	assert_true(fan_sink(0).stranded > 0);
	if (stuck->kind == PEER_FIFO)
		assert_int_equal(fan_sink(0).bytes, room);
	fan_check_healthy(1, stream.len);
	fan_close(NULL);
}

/* --- Dead --------------------------------------------------------------------------------------------------------- */

static bool is_dead_error(int error)
{
	return error == -EPIPE || error == -ECONNRESET;
}

static void a_sink_that_was_dead_before_gets_nothing_and_the_others_everything(void **state)
{
	const struct stuck *stuck = *state;

	fan_open_file(stuck->lane, USP_PUMP_CONTINUE_ON_ERROR, SHORT_LEN);
	fan_add_held_peer(PEER_FIFO);
	fan_add_healthy_peers();
	peer_die(&fan->peers[0]);
	assert_int_equal(fan_go(), -EPIPE);
	assert_int_equal(fan_status().bytes, SHORT_LEN);
	assert_int_equal(fan_sink(0).error, -EPIPE);
	assert_int_equal(fan_sink(0).bytes, 0);
	fan_check_healthy(1, SHORT_LEN);
	fan_close(&fan->peers[0]);
}

static void what_was_on_the_way_to_a_sink_that_dies_is_stranded(void **state)
{
	const struct stuck *stuck = *state;
	size_t room;

	fan_open_file(stuck->lane, USP_PUMP_CONTINUE_ON_ERROR, SHORT_LEN);
	room = fan_add_held_peer(stuck->kind);
	fan_add_healthy_peers();
	fan_start();
	fan_await_bytes(0, room ? room : 1);
	fan_await_bytes(1, SHORT_LEN);
	peer_die(&fan->peers[0]);
	assert_true(is_dead_error((int)worker_join(&fan->worker)));
	assert_true(is_dead_error(fan_sink(0).error));
	if (stuck->kind == PEER_FIFO)
		assert_int_equal(fan_sink(0).bytes, room);
	assert_int_equal(fan_sink(0).bytes + fan_sink(0).stranded, SHORT_LEN);
	assert_int_equal(fan_status().stranded, fan_sink(0).stranded);
	fan_check_healthy(1, SHORT_LEN);
	fan_close(&fan->peers[0]);
}

static void the_only_sink_dies_and_the_rest_is_stranded(void **state)
{
	const struct stuck *stuck = *state;
	size_t room;

	fan_open_file(stuck->lane, 0, SHORT_LEN);
	room = fan_add_held_peer(stuck->kind);
	fan_start();
	fan_await_bytes(0, room ? room : 1);
	peer_die(&fan->peers[0]);
	assert_true(is_dead_error((int)worker_join(&fan->worker)));
	assert_true(is_dead_error(fan_sink(0).error));
	assert_int_equal(fan_sink(0).bytes + fan_sink(0).stranded, fan_status().bytes);
	fan_close(&fan->peers[0]);
}

/* Without CONTINUE_ON_ERROR. What the source gave until then, the others get. */
static void a_dead_sink_ends_the_run_and_the_others_have_a_prefix(void **state)
{
	const struct stuck *stuck = *state;

	fan_open_file(stuck->lane, 0, stream.len);
	fan_add_held_peer(stuck->kind);
	fan_add_healthy_peers();
	fan_start();
	fan_await_bytes(1, 1);
	peer_die(&fan->peers[0]);
	assert_true(is_dead_error((int)worker_join(&fan->worker)));
	assert_int_equal(fan_status().source_error, 0);
	fan_check_healthy(1, fan_status().bytes);
	fan_close(&fan->peers[0]);
}

static void all_sinks_die_and_the_run_ends(void **state)
{
	const struct stuck *stuck = *state;

	fan_open_file(stuck->lane, USP_PUMP_CONTINUE_ON_ERROR, stream.len);
	for (unsigned i = 0; i < 3; i++)
		fan_add_held_peer(PEER_FIFO);
	for (unsigned i = 0; i < 3; i++)
		peer_die(&fan->peers[i]);
	assert_int_equal(fan_go(), -EPIPE);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(fan_sink(i).error, -EPIPE);
		assert_int_equal(fan_sink(i).bytes, 0);
		peer_close_dead_sink(&fan->peers[i]);
	}
	assert_true(fan_status().bytes < stream.len);
	fan_check_ledger();
	fan_check_stranded();
	usp_pump_free(fan->pump);
	drop(&fan->source);
}

/* --- Stopped ------------------------------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Stop the run, which is stuck: it must end before it could time out anywhere, and nothing may have vanished. */
static void fan_stop_and_check(void (*stop)(void))
{
	uint64_t begin = now_ns();

	stop();
	assert_int_equal(worker_join(&fan->worker), -ECANCELED);
	assert_true(now_ns() - begin < 20000000000);
	for (unsigned i = 0; i < fan->nr_peers; i++) {
		assert_true(fan_sink(i).error == -ECANCELED || fan_sink(i).error == 0);
		assert_int_equal(fan_sink(i).bytes + fan_sink(i).stranded, fan_status().bytes);
	}
	fan_close(NULL);
}

static void stop_from_this_thread(void)
{
	usp_pump_stop(fan->pump);
}

static void on_signal(int number)
{
	(void)number;
	usp_pump_stop(fan->pump);
}

/* The handler runs in the thread that runs the pump, in the middle of what it is doing. */
static void stop_from_a_handler(void)
{
	const struct sigaction action = {.sa_handler = on_signal}, old = {.sa_handler = SIG_DFL};

	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(pthread_kill(fan->worker.thread, SIGUSR1), 0);
	while (!fan->worker.is_done)
		sched_yield();
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
}

static void start_with_a_stuck_sink(const struct stuck *stuck, bool has_neighbours)
{
	size_t room;

	fan_open_file(stuck->lane, 0, stream.len);
	room = fan_add_held_peer(stuck->kind);
	if (has_neighbours)
		fan_add_healthy_peers();
	fan_start();
	fan_await_bytes(0, room ? room : 1);
	if (has_neighbours)
		fan_await_bytes(1, SHORT_LEN);
	worker_await_sleep(&fan->worker);
}

static void a_run_with_its_only_sink_stuck_is_stopped(void **state)
{
	start_with_a_stuck_sink(*state, false);
	fan_stop_and_check(stop_from_this_thread);
}

static void a_run_with_one_sink_stuck_is_stopped(void **state)
{
	start_with_a_stuck_sink(*state, true);
	fan_stop_and_check(stop_from_this_thread);
}

static void a_run_with_its_only_sink_stuck_is_stopped_by_a_signal(void **state)
{
	start_with_a_stuck_sink(*state, false);
	fan_stop_and_check(stop_from_a_handler);
}

static void a_run_with_one_sink_stuck_is_stopped_by_a_signal(void **state)
{
	start_with_a_stuck_sink(*state, true);
	fan_stop_and_check(stop_from_a_handler);
}

/* A source with SHORT_LEN bytes, and then nothing for ever. */
static void start_with_a_stuck_source(const struct stuck *stuck, bool has_neighbours, struct peer *from)
{
	peer_open_held_source(from, &peer_kinds[stuck->kind], SHORT_LEN);
	fan_open(stuck->lane, 0, usp_file_get(from->file));
	fan_add_peer(PEER_TMPFS);
	if (has_neighbours) {
		fan_add_peer(PEER_FIFO);
		fan_add_peer(PEER_TCP);
	}
	fan_start();
	for (unsigned i = 0; i < fan->nr_peers; i++)
		fan_await_bytes(i, SHORT_LEN);
	worker_await_sleep(&fan->worker);
}

static void a_run_with_its_source_stuck_is_stopped(void **state)
{
	for (unsigned has_neighbours = 0; has_neighbours < 2; has_neighbours++) {
		struct peer from;

		start_with_a_stuck_source(*state, has_neighbours, &from);
		assert_int_equal(fan_status().bytes, SHORT_LEN);
		fan_stop_and_check(stop_from_this_thread);
		peer_close_source(&from);
		*fan = (struct fan){.is_stepped = fan->is_stepped};
	}
}

static void a_run_with_its_source_stuck_is_stopped_by_a_signal(void **state)
{
	for (unsigned has_neighbours = 0; has_neighbours < 2; has_neighbours++) {
		struct peer from;

		start_with_a_stuck_source(*state, has_neighbours, &from);
		fan_stop_and_check(stop_from_a_handler);
		peer_close_source(&from);
		*fan = (struct fan){.is_stepped = fan->is_stepped};
	}
}

static void a_run_that_was_stopped_before_takes_nothing(void **state)
{
	const struct stuck *stuck = *state;

	fan_open_file(stuck->lane, 0, stream.len);
	fan_add_healthy_peers();
	usp_pump_stop(fan->pump);
	assert_int_equal(fan_go(), -ECANCELED);
	assert_int_equal(fan_status().bytes, 0);
	fan_close(NULL);
}

/* --- The list ----------------------------------------------------------------------------------------------------- */

#define NR_STUCK_KINDS 8

/* With threads, and then in steps. */
static struct stuck stucks[2 * NR_STUCK_KINDS] = {
	{.kind = PEER_FIFO, .lane = USP_LANE_KERNEL}, {.kind = PEER_FIFO, .lane = USP_LANE_USER},
	{.kind = PEER_TCP, .lane = USP_LANE_KERNEL},  {.kind = PEER_TCP, .lane = USP_LANE_USER},
	{.kind = PEER_UNIX, .lane = USP_LANE_KERNEL}, {.kind = PEER_UNIX, .lane = USP_LANE_USER},
	{.kind = PEER_PIPE, .lane = USP_LANE_AUTO},   {.kind = PEER_PIPE, .lane = USP_LANE_USER},
};

#define STUCK(f) .name = #f, .run = f

static const struct {
	const char *name;
	void (*run)(void **state);
} stuck_tests[] = {
	{STUCK(a_slow_sink_holds_the_others_back_and_nothing_is_lost)},
	{STUCK(a_slow_sink_is_detached_and_the_others_go_on)},
	{STUCK(a_sink_that_was_dead_before_gets_nothing_and_the_others_everything)},
	{STUCK(what_was_on_the_way_to_a_sink_that_dies_is_stranded)},
	{STUCK(the_only_sink_dies_and_the_rest_is_stranded)},
	{STUCK(a_dead_sink_ends_the_run_and_the_others_have_a_prefix)},
	{STUCK(all_sinks_die_and_the_run_ends)},
	{STUCK(a_run_with_its_only_sink_stuck_is_stopped)},
	{STUCK(a_run_with_one_sink_stuck_is_stopped)},
	{STUCK(a_run_with_its_only_sink_stuck_is_stopped_by_a_signal)},
	{STUCK(a_run_with_one_sink_stuck_is_stopped_by_a_signal)},
	{STUCK(a_run_with_its_source_stuck_is_stopped)},
	{STUCK(a_run_with_its_source_stuck_is_stopped_by_a_signal)},
	{STUCK(a_run_that_was_stopped_before_takes_nothing)},
};

#define NR_MIX_SOURCES 5
#define NR_WAYS_MIXES (FAN_MAX * ARRAY_LEN(lane_names) * NR_MIX_SOURCES)
#define NR_MIXES (2 * NR_WAYS_MIXES) /* with threads, and in steps */
#define NR_STUCK_TESTS (ARRAY_LEN(stuck_tests) * ARRAY_LEN(stucks))

static unsigned add_mixes(struct CMUnitTest *tests, struct mix *mixes)
{
	static const unsigned sources[NR_MIX_SOURCES] = {PEER_TMPFS, PEER_FIFO, PEER_TCP, PEER_MEMORY, PEER_PIPE};
	unsigned nr_tests = 0;

	for (unsigned i = 0; i < NR_MIXES; i++) {
		struct mix *mix = &mixes[i];
		char *name;

		mix->nr_sinks = i % FAN_MAX + 1;
		mix->lane = i / FAN_MAX % ARRAY_LEN(lane_names);
		mix->source = sources[i % NR_WAYS_MIXES / FAN_MAX / ARRAY_LEN(lane_names)];
		mix->is_stepped = i >= NR_WAYS_MIXES;
		if (mix->lane == USP_LANE_KERNEL && !peer_kinds[mix->source].has_kernel_lane)
			continue;
		if (asprintf(&name, "every_sink_gets_every_byte: %s to %u sinks, lane %s%s",
			     peer_kinds[mix->source].name, mix->nr_sinks, lane_names[mix->lane],
			     mix->is_stepped ? ", in steps" : "") < 0)
			abort();
		tests[nr_tests++] = (struct CMUnitTest){
			.name = name,
			.test_func = every_sink_gets_every_byte,
			.setup_func = support_before,
			.teardown_func = support_after,
			.initial_state = mix,
		};
	}
	return nr_tests;
}

static unsigned add_stuck_tests(struct CMUnitTest *tests)
{
	for (unsigned i = 0; i < NR_STUCK_KINDS; i++) {
		stucks[NR_STUCK_KINDS + i] = stucks[i];
		stucks[NR_STUCK_KINDS + i].is_stepped = true;
	}
	for (unsigned i = 0; i < NR_STUCK_TESTS; i++) {
		const struct stuck *stuck = &stucks[i % ARRAY_LEN(stucks)];
		char *name;

		if (asprintf(&name, "%s: %s, lane %s%s", stuck_tests[i / ARRAY_LEN(stucks)].name,
			     peer_kinds[stuck->kind].name, lane_names[stuck->lane],
			     stuck->is_stepped ? ", in steps" : "") < 0)
			abort();
		tests[i] = (struct CMUnitTest){
			.name = name,
			.test_func = stuck_tests[i / ARRAY_LEN(stucks)].run,
			.setup_func = fan_before,
			.teardown_func = fan_after,
			.initial_state = (void *)stuck,
		};
	}
	return NR_STUCK_TESTS;
}

int main(void)
{
	static struct CMUnitTest tests[NR_MIXES + NR_STUCK_TESTS];
	static struct mix mixes[NR_MIXES];
	unsigned nr_tests;
	int ret;

	if (stream_open(FAN_LEN) < 0)
		return 1;
	nr_tests = add_mixes(tests, mixes);
	nr_tests += add_stuck_tests(tests + nr_tests);
	if (getenv("USP_TEST_FILTER"))
		cmocka_set_test_filter(getenv("USP_TEST_FILTER")); /* some of the many: "*TCP*" */
	ret = _cmocka_run_group_tests("fanout", tests, nr_tests, NULL, NULL);
	stream_close();
	for (unsigned i = 0; i < nr_tests; i++)
		free((char *)tests[i].name);
	return ret;
}
