/* SPDX-License-Identifier: MIT */
/* test_relay - what a relay does with the bytes and the ends of connections, on every lane, over TCP and UNIX sockets. */
#include "base/sys.h"
#include "relay/proxy.h"
#include "stage.h"

#define ROUTE_BYTES ((size_t)3 << 19)
#define LARGE_BYTES ((size_t)8 << 20)
#define REPLY_OFF 12345 /* of the pattern that goes back */
#define TRICKLE_NS STAGE_S
#define TRICKLE_BYTES 1000 /* at most, in that time */
#define REST_MS 250
#define NR_MESSAGES 200 /* enough for a relay to see that they are messages */

static const char *const lane_names[] = {"auto", "kernel", "user"};

/* --- Bytes ------------------------------------------------------------------------------------------------- */

struct route {
	bool is_unix_client, is_unix_target;
	unsigned nr_workers;
	enum usp_lane_choice lane;
};

static void route_open(const struct route *route, struct stage *stage, struct target *target)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .nr_workers = route->nr_workers, .lane = route->lane};

	target_open(target, route->is_unix_target);
	stage_open(stage, &params, route->is_unix_client, 1, target);
}

static void route_close(struct stage *stage, struct target *target)
{
	stage_close(stage);
	target_close(target);
}

/* The client sends len bytes and the target reply_len, both at once. */
static void exchange(const struct pair *pairs, unsigned nr_pairs, size_t len, size_t reply_len)
{
	struct talker talkers[2 * nr_pairs];

	for (unsigned i = 0; i < nr_pairs; i++) {
		talkers[2 * i] = (struct talker){.fd = pairs[i].client, .send_len = len, .take_off = REPLY_OFF};
		talkers[2 * i + 1] =
			(struct talker){.fd = pairs[i].target, .send_len = reply_len, .send_off = REPLY_OFF};
	}
	talk(talkers, 2 * nr_pairs);
	for (unsigned i = 0; i < 2 * nr_pairs; i++) {
		assert_int_equal(talkers[i].error, 0);
		assert_int_equal(talkers[i].nr_taken, i % 2 ? len : reply_len);
	}
}

static uint64_t hop_bytes(const struct usp_relay_hop *hop)
{
	return hop->bytes[USP_BY_REFERENCE] + hop->bytes[USP_COPIED] + hop->bytes[USP_UNKNOWN];
}

/* When all connections have ended, the counters say what was sent. */
static void assert_counted(const struct stage *stage, unsigned nr_accepted, uint64_t len, uint64_t reply_len)
{
	struct usp_relay_status status = {.size = sizeof(status)};

	AWAIT(stage_status(stage).nr_connections == 0);
	status = stage_status(stage);
	assert_int_equal(status.nr_accepted, nr_accepted);
	assert_int_equal(status.delivered[USP_TO_TARGET], len);
	assert_int_equal(status.delivered[USP_TO_CLIENT], reply_len);
	assert_int_equal(status.stranded, 0);
	assert_int_equal(status.nr_reset, 0);
	for (unsigned direction = 0; direction < 2; direction++) {
		for (unsigned hop = 0; hop < 2; hop++)
			assert_int_equal(hop_bytes(&status.hops[direction][hop]), direction ? reply_len : len);
	}
}

static void try_route(const struct route *route)
{
	struct stage stage;
	struct target target;
	struct pair pairs[2];

	print_message("# %s to %s, %u workers, lane %s\n", route->is_unix_client ? "unix" : "tcp",
		      route->is_unix_target ? "unix" : "tcp", route->nr_workers, lane_names[route->lane]);
	route_open(route, &stage, &target);
	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		pair_open(&pairs[i], &stage, &target);
	exchange(pairs, ARRAY_LEN(pairs), ROUTE_BYTES, ROUTE_BYTES - 7);
	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		pair_close(&pairs[i]);
	assert_counted(&stage, ARRAY_LEN(pairs), ARRAY_LEN(pairs) * ROUTE_BYTES, ARRAY_LEN(pairs) * (ROUTE_BYTES - 7));
	route_close(&stage, &target);
}

static void every_byte_arrives_both_ways_on_every_lane(void **state)
{
	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		for (unsigned i = 0; i < 8; i++)
			try_route(&(struct route){
				.is_unix_client = i & 1,
				.is_unix_target = i & 2,
				.nr_workers = i & 4 ? 2 : 1,
				.lane = lane,
			});
	}
}

/* --- Lanes ------------------------------------------------------------------------------------------------- */

static bool has_copied_in_memory(const struct stage *stage)
{
	struct usp_relay_status status = stage_status(stage);
	const char *reason = status.hops[USP_TO_TARGET][1].reason[USP_COPIED];

	return reason && strstr(reason, "sendmsg");
}

/* Large pieces one way and a lane that was asked for: nothing goes on the other one. */
static void a_lane_that_was_asked_for_is_kept(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_KERNEL; lane <= USP_LANE_USER; lane++) {
		route_open(&(struct route){.lane = lane}, &stage, &target);
		pair_open(&pair, &stage, &target);
		for (unsigned i = 0; i < 100; i++)
			pair_greet(&pair); /* small ones, which another flow would take to the user lane */
		exchange(&pair, 1, LARGE_BYTES, 0);
		AWAIT(stage_status(&stage).delivered[USP_TO_TARGET] == LARGE_BYTES + 100 * 100);
		assert_int_equal(stage_status(&stage).nr_lane_switches == 0, lane == USP_LANE_USER);
		assert_int_equal(has_copied_in_memory(&stage), lane == USP_LANE_USER);
		pair_close(&pair);
		route_close(&stage, &target);
	}
}

static void a_flow_of_large_pieces_goes_to_the_kernel_lane_and_comes_back(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;
	uint64_t off = 0;

	(void)state;
	route_open(&(struct route){.is_unix_client = true}, &stage, &target);
	pair_open(&pair, &stage, &target);
	for (; stage_status(&stage).nr_kernel_flows == 0; off += 128 << 10)
		pass_bytes(pair.client, pair.target, off, 128 << 10);
	for (; stage_status(&stage).nr_kernel_flows == 1; off++)
		pass_bytes(pair.client, pair.target, off, 1);
	assert_true(stage_status(&stage).nr_lane_switches >= 1); /* a flow that rests for a moment begins anew */
	exchange(&pair, 1, ROUTE_BYTES, ROUTE_BYTES);
	pair_close(&pair);
	assert_counted(&stage, 1, off + ROUTE_BYTES, ROUTE_BYTES);
	route_close(&stage, &target);
}

/* Nothing else comes, and the connection stays: what is below the low-water mark must not wait for more. */
static void the_tail_of_a_large_transfer_does_not_wait_for_more(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;
	uint64_t off = 0;

	(void)state;
	route_open(&(struct route){.lane = USP_LANE_AUTO}, &stage, &target);
	pair_open(&pair, &stage, &target);
	for (size_t tail = 1; tail < (512 << 10); tail *= 8) {
		for (unsigned i = 0; i < 64; i++, off += 256 << 10)
			pass_bytes(pair.client, pair.target, off, 256 << 10);
		pass_bytes(pair.client, pair.target, off, tail);
		off += tail;
	}
	exchange(&pair, 1, ROUTE_BYTES, ROUTE_BYTES);
	pair_close(&pair);
	assert_counted(&stage, 1, off + ROUTE_BYTES, ROUTE_BYTES);
	route_close(&stage, &target);
}

/* --- Ends --------------------------------------------------------------------------------------------------- */

static void each_lane(void (*run)(enum usp_lane_choice lane))
{
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		print_message("# lane %s\n", lane_names[lane]);
		run(lane);
	}
}

static void reply_after_the_end(enum usp_lane_choice lane)
{
	struct stage stage;
	struct target target;
	struct pair pair;
	struct talker talkers[2];

	route_open(&(struct route){.lane = lane}, &stage, &target);
	pair_open(&pair, &stage, &target);
	pass_bytes(pair.client, pair.target, 0, 1000);
	shutdown(pair.client, SHUT_WR);
	take_end(pair.target);
	talkers[0] = (struct talker){.fd = pair.client, .has_sent = true, .take_off = REPLY_OFF};
	talkers[1] =
		(struct talker){.fd = pair.target, .has_taken = true, .send_off = REPLY_OFF, .send_len = ROUTE_BYTES};
	talk(talkers, 2);
	assert_int_equal(talkers[0].nr_taken, ROUTE_BYTES);
	assert_int_equal(talkers[0].error, 0);
	pair_close(&pair);
	assert_counted(&stage, 1, 1000, ROUTE_BYTES);
	route_close(&stage, &target);
}

static void the_reply_comes_after_the_client_has_ended(void **state)
{
	(void)state;
	each_lane(reply_after_the_end);
}

static void reset_of_either(enum usp_lane_choice lane)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	route_open(&(struct route){.lane = lane}, &stage, &target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	net_reset(pair.client);
	take_reset(pair.target);
	close(pair.target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	net_reset(pair.target);
	take_reset(pair.client);
	close(pair.client);
	AWAIT(stage_status(&stage).nr_connections == 0);
	assert_int_equal(stage_status(&stage).nr_reset, 2);
	route_close(&stage, &target);
}

static void a_reset_of_one_side_resets_the_other(void **state)
{
	(void)state;
	each_lane(reset_of_either);
}

/* The client's end came first: what comes back later can still break. */
static void a_reset_behind_an_end_is_not_taken_for_an_end(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	route_open(&(struct route){.nr_workers = 1}, &stage, &target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	shutdown(pair.client, SHUT_WR);
	take_end(pair.target);
	net_reset(pair.target);
	take_reset(pair.client);
	close(pair.client);
	route_close(&stage, &target);
}

/* A UNIX socket knows no reset of one that has read everything: its peer sees the end. */
static void a_unix_client_that_breaks_ends_the_connection(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	route_open(&(struct route){.is_unix_client = true}, &stage, &target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	close(pair.client);
	take_end(pair.target);
	/* Now the relay learns that nobody takes the reply. */
	for (uint64_t off = 0; send(pair.target, &(char){0}, 1, MSG_NOSIGNAL) == 1; off++)
		sched_yield();
	assert_true(errno == ECONNRESET || errno == EPIPE);
	close(pair.target);
	AWAIT(stage_status(&stage).nr_connections == 0);
	route_close(&stage, &target);
}

/* Longer than it takes a relay to give back what a connection does not need that rests. */
static void rest(const struct pair *pair)
{
	struct pollfd fds[] = {{.fd = pair->client, .events = POLLIN}, {.fd = pair->target, .events = POLLIN}};

	assert_int_equal(poll(fds, ARRAY_LEN(fds), REST_MS), 0);
}

static void rest_in_between(enum usp_lane_choice lane)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	route_open(&(struct route){.lane = lane}, &stage, &target);
	pair_open(&pair, &stage, &target);
	rest(&pair);
	pair_greet(&pair);
	rest(&pair);
	pair_greet(&pair);
	shutdown(pair.client, SHUT_WR);
	take_end(pair.target);
	assert_int_equal(poll(&(struct pollfd){.fd = pair.client, .events = POLLIN}, 1, REST_MS), 0);
	pass_bytes(pair.target, pair.client, 0, 1000);
	shutdown(pair.target, SHUT_WR);
	take_end(pair.client);
	pair_close(&pair);
	assert_counted(&stage, 1, 2 * 100, 2 * 200 + 1000);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	rest(&pair);
	net_reset(pair.target);
	take_reset(pair.client);
	close(pair.client);
	route_close(&stage, &target);
}

static void a_connection_that_rested_goes_on_and_ends_as_any_other(void **state)
{
	(void)state;
	each_lane(rest_in_between);
}

/* What the relay holds for a client that breaks is counted. */
static void bytes_for_a_client_that_broke_are_counted_as_stranded(void **state)
{
	struct usp_relay_status status = {.size = sizeof(status)};
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	route_open(&(struct route){.lane = USP_LANE_KERNEL}, &stage, &target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	stage_jam(&stage, pair.target, USP_TO_CLIENT);
	net_reset(pair.client);
	AWAIT(stage_status(&stage).nr_connections == 0);
	status = stage_status(&stage);
	assert_int_equal(status.nr_reset, 1);
	assert_true(status.stranded > 0);
	assert_int_equal(hop_bytes(&status.hops[USP_TO_CLIENT][0]), status.delivered[USP_TO_CLIENT] + status.stranded);
	close(pair.target);
	route_close(&stage, &target);
}

/* --- Slow and strange peers --------------------------------------------------------------------------------- */

static uint64_t relay_cpu_ns(const struct stage *stage)
{
	struct timespec time;
	clockid_t clock;

	assert_int_equal(pthread_getcpuclockid(stage->worker.thread, &clock), 0);
	assert_int_equal(clock_gettime(clock, &time), 0);
	return (uint64_t)time.tv_sec * STAGE_S + (uint64_t)time.tv_nsec;
}

/* How often the relay has gone to sleep. */
static unsigned long relay_sleeps(const struct stage *stage)
{
	char text[128];
	unsigned long nr = 0;
	FILE *file;

	snprintf(text, sizeof(text), "/proc/self/task/%d/status", atomic_load(&stage->worker.tid));
	file = fopen(text, "re");
	assert_non_null(file);
	while (fgets(text, sizeof(text), file) && sscanf(text, "voluntary_ctxt_switches: %lu", &nr) != 1)
		;
	fclose(file);
	return nr;
}

/* A byte each millisecond, for a second. */
static size_t trickle(const struct pair *pair, size_t off)
{
	uint64_t until_ns = usp_sys_now_ns() + TRICKLE_NS;
	struct pollfd pollfd = {.fd = pair->client, .events = POLLIN};
	unsigned char byte;

	for (; usp_sys_now_ns() < until_ns; off++) {
		byte = pattern_at(off);
		assert_int_equal(send(pair->client, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT), 1);
		assert_int_equal(poll(&pollfd, 1, 1), 0); /* nothing comes back meanwhile */
	}
	return off;
}

static void stalled_reader(enum usp_lane_choice lane)
{
	struct stage stage;
	struct target target;
	struct pair pair;
	unsigned long nr_sleeps;
	uint64_t cpu_ns;
	size_t len;

	route_open(&(struct route){.lane = lane}, &stage, &target);
	pair_open(&pair, &stage, &target);
	len = stage_jam(&stage, pair.client, USP_TO_TARGET);
	nr_sleeps = relay_sleeps(&stage);
	cpu_ns = relay_cpu_ns(&stage);
	len = trickle(&pair, len);
	cpu_ns = relay_cpu_ns(&stage) - cpu_ns;
	nr_sleeps = relay_sleeps(&stage) - nr_sleeps;
	print_message("# a trickle of a second woke the relay %lu times and took %llu us of processor time\n",
		      nr_sleeps, (unsigned long long)cpu_ns / 1000);
	assert_true(cpu_ns < TRICKLE_NS / 100);
	assert_true(nr_sleeps < TRICKLE_BYTES / 4);
	shutdown(pair.client, SHUT_WR);
	net_take(pair.target, 0, len);
	take_end(pair.target);
	pair_close(&pair);
	assert_counted(&stage, 1, len, 0);
	route_close(&stage, &target);
}

static void a_trickle_into_a_stalled_reader_costs_nothing(void **state)
{
	(void)state;
	each_lane(stalled_reader);
}

static void send_pattern(int fd, uint64_t off, size_t len)
{
	unsigned char bytes[4096];

	assert_true(len <= sizeof(bytes));
	pattern_fill(bytes, off, len);
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

/* An urgent byte is no part of the stream: it is left out, between others and in front of the end. */
static void pass_urgent_bytes(const struct stage *stage, struct pair *pair, uint64_t off)
{
	uint64_t cpu_ns;

	send_pattern(pair->client, off, 1000);
	assert_int_equal(send(pair->client, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
	send_pattern(pair->client, off + 1000, 1000);
	net_take(pair->target, off, 2000);
	cpu_ns = relay_cpu_ns(stage);
	assert_int_equal(send(pair->client, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
	send_pattern(pair->client, off + 2000, 1000);
	assert_int_equal(shutdown(pair->client, SHUT_WR), 0);
	net_take(pair->target, off + 2000, 1000);
	take_end(pair->target);
	assert_true(relay_cpu_ns(stage) - cpu_ns < STAGE_S / 10);
	pair_close(pair);
	assert_counted(stage, 1, off + 3000, 0);
}

static void urgent_bytes_are_left_out_and_nothing_else(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;
	uint64_t off;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		route_open(&(struct route){.lane = i == 2 ? USP_LANE_USER : USP_LANE_AUTO}, &stage, &target);
		pair_open(&pair, &stage, &target);
		for (off = 0; i == 1 && stage_status(&stage).nr_kernel_flows == 0; off += 128 << 10)
			pass_bytes(pair.client, pair.target, off, 128 << 10);
		for (; i == 3 && off < NR_MESSAGES * 100; off += 100)
			pass_bytes(pair.client, pair.target, off, 100);
		pass_urgent_bytes(&stage, &pair, off);
		route_close(&stage, &target);
	}
}

/* The kernel cannot splice past one, and may say so before there is anything behind it. */
static void an_urgent_byte_on_the_kernel_lane_breaks_a_connection_that_has_to_stay_there(void **state)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	route_open(&(struct route){.lane = USP_LANE_KERNEL}, &stage, &target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	assert_int_equal(send(pair.client, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
	if (send(pair.client, "behind", 6, MSG_NOSIGNAL) < 0)
		assert_true(errno == ECONNRESET || errno == EPIPE);
	take_reset(pair.target);
	pair_close(&pair);
	assert_int_equal(stage_status(&stage).nr_reset, 1);
	route_close(&stage, &target);
}

/* --- PROXY headers ------------------------------------------------------------------------------------------- */

#define HEADER_V1 "PROXY TCP4 192.0.2.1 198.51.100.7 1111 80\r\n"
#define HEADER_V2 "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\x04\x57\0\x50"

static void send_text(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static void take_text(int fd, const char *text, size_t len)
{
	char taken[256];

	assert_true(len <= sizeof(taken));
	assert_int_equal(recv(fd, taken, len, MSG_WAITALL), len);
	assert_memory_equal(taken, text, len);
}

static void a_header_that_is_accepted_is_taken_out(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .proxy_accept = true};
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	for (unsigned version = 1; version <= 2; version++) {
		const char *header = version == 1 ? HEADER_V1 : HEADER_V2;
		size_t len = version == 1 ? sizeof(HEADER_V1) - 1 : sizeof(HEADER_V2) - 1;

		pair.client = stage_connect(&stage);
		for (size_t i = 0; i < len - 1; i++)
			send_text(pair.client, header + i, 1);
		assert_false(target_is_asked(&target));
		send_text(pair.client, header + len - 1, 1);
		pair.target = target_accept(&target);
		pair_greet(&pair);
		pair_close(&pair);
	}
	AWAIT(stage_status(&stage).nr_connections == 0);
	assert_int_equal(stage_status(&stage).nr_unserved, 0);
	stage_close(&stage);
	target_close(&target);
}

static void a_client_without_a_header_is_reset(void **state)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .proxy_accept = true, .connect_timeout_ns = 3600 * STAGE_S};
	struct stage stage;
	struct target target;
	int fd;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	fd = stage_connect(&stage);
	send_text(fd, "GET / HTTP/1.0\r\n\r\n", 18);
	take_reset(fd);
	close(fd);
	fd = stage_connect(&stage); /* one that leaves in the middle */
	send_text(fd, "PROXY TCP4", 10);
	close(fd);
	AWAIT(stage_status(&stage).nr_unserved == 2);
	assert_false(target_is_asked(&target));
	stage_close(&stage);
	target_close(&target);
}

static void a_client_that_says_too_little_for_too_long_is_reset(void **state)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .proxy_accept = true, .connect_timeout_ns = 100 * STAGE_MS};
	struct stage stage;
	struct target target;
	int fd;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	fd = stage_connect(&stage);
	send(fd, "PROXY TCP4", 10, MSG_NOSIGNAL); /* which comes too late if we are slow, and that is too little, too */
	take_reset(fd);
	close(fd);
	assert_int_equal(stage_status(&stage).nr_unserved, 1);
	assert_false(target_is_asked(&target));
	stage_close(&stage);
	target_close(&target);
}

/* What the target gets first, when the relay is told to send a header. */
static void assert_gets_header(const struct usp_relay_params *params, const char *sent, size_t sent_len,
			       const char *taken, size_t taken_len)
{
	struct stage stage;
	struct target target;
	struct pair pair;

	target_open(&target, false);
	stage_open(&stage, params, false, 1, &target);
	pair.client = stage_connect(&stage);
	send_text(pair.client, sent, sent_len);
	pair.target = target_accept(&target);
	take_text(pair.target, taken, taken_len);
	pair_greet(&pair);
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
}

static void a_header_is_passed_on_in_the_other_version(void **state)
{
	(void)state;
	assert_gets_header(
		&(struct usp_relay_params){
			.size = sizeof(struct usp_relay_params), .proxy_accept = true, .proxy_send = 2},
		HEADER_V1 "hello", sizeof(HEADER_V1 "hello") - 1, HEADER_V2 "hello", sizeof(HEADER_V2 "hello") - 1);
	assert_gets_header(
		&(struct usp_relay_params){
			.size = sizeof(struct usp_relay_params), .proxy_accept = true, .proxy_send = 1},
		HEADER_V2 "hello", sizeof(HEADER_V2 "hello") - 1, HEADER_V1 "hello", sizeof(HEADER_V1 "hello") - 1);
}

static unsigned local_port(int fd)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	return ntohs(address.sin_port);
}

static void target_is_told(bool is_for_both)
{
	const struct usp_relay_params params = {.size = sizeof(params), .proxy_send = 1};
	struct stage stage;
	struct target target;
	struct pair pair;
	char header[128];

	target_open(&target, false);
	if (is_for_both)
		stage_open_for_both(&stage, &params, &target);
	else
		stage_open(&stage, &params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	snprintf(header, sizeof(header), "PROXY TCP4 127.0.0.1 127.0.0.1 %u %s\r\n", local_port(pair.client),
		 strrchr(stage.address, ':') + 1);
	take_text(pair.target, header, strlen(header));
	exchange(&pair, 1, ROUTE_BYTES, ROUTE_BYTES);
	pair_close(&pair);
	assert_counted(&stage, 1, ROUTE_BYTES, ROUTE_BYTES); /* the header is the relay's own */
	stage_close(&stage);
	target_close(&target);
}

static void a_target_is_told_who_the_client_is(void **state)
{
	(void)state;
	target_is_told(false);
}

static void a_client_by_ipv4_is_one_at_a_listener_for_both(void **state)
{
	(void)state;
	target_is_told(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_byte_arrives_both_ways_on_every_lane),
		CASE(a_lane_that_was_asked_for_is_kept),
		CASE(a_flow_of_large_pieces_goes_to_the_kernel_lane_and_comes_back),
		CASE(the_tail_of_a_large_transfer_does_not_wait_for_more),
		CASE(the_reply_comes_after_the_client_has_ended),
		CASE(a_reset_of_one_side_resets_the_other),
		CASE(a_reset_behind_an_end_is_not_taken_for_an_end),
		CASE(a_unix_client_that_breaks_ends_the_connection),
		CASE(a_connection_that_rested_goes_on_and_ends_as_any_other),
		CASE(bytes_for_a_client_that_broke_are_counted_as_stranded),
		CASE(a_trickle_into_a_stalled_reader_costs_nothing),
		CASE(urgent_bytes_are_left_out_and_nothing_else),
		CASE(an_urgent_byte_on_the_kernel_lane_breaks_a_connection_that_has_to_stay_there),
		CASE(a_header_that_is_accepted_is_taken_out),
		CASE(a_client_without_a_header_is_reset),
		CASE(a_client_that_says_too_little_for_too_long_is_reset),
		CASE(a_header_is_passed_on_in_the_other_version),
		CASE(a_target_is_told_who_the_client_is),
		CASE(a_client_by_ipv4_is_one_at_a_listener_for_both),
	};

	return cmocka_run_group_tests_name("relay", tests, stage_open_folder, stage_close_folder);
}
