/* SPDX-License-Identifier: MIT */
/* test_relay_idle - what makes a connection idle: that its peers neither say nor take anything, whatever the relay does. */
#include <poll.h>

#include "base/sys.h"
#include "stage.h"

#define IDLE_NS (400 * STAGE_MS)
#define IDLE_MAX_NS (8 * STAGE_S)
#define PIECE_BYTES ((size_t)40 << 10) /* enough to be told to the sender */
#define RECEIVE_BYTES (32 << 10)       /* buffer of the peer that takes, which the kernel doubles */
#define NR_PAUSES 5		       /* of two fifths of the idle time */
#define NR_PIECES_TCP 9		       /* more than the peer's system holds: the relay's has the rest */
#define NR_PIECES_UNIX 5	       /* what a UNIX socket holds */

struct slow {
	bool is_unix, no_uring;
	unsigned direction;
	struct stage stage;
	struct target target;
	struct pair pair;
};

static void slow_open(struct slow *slow, uint64_t idle_ns)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .idle_timeout_ns = idle_ns, .no_uring = slow->no_uring};
	const int bytes = RECEIVE_BYTES;

	target_open(&slow->target, slow->is_unix);
	if (!slow->is_unix)
		setsockopt(slow->target.listener, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	stage_open(&slow->stage, &params, slow->is_unix, 1, &slow->target);
	if (slow->is_unix) {
		pair_open(&slow->pair, &slow->stage, &slow->target);
		return;
	}
	slow->pair.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(slow->pair.client, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	stage_connect_fd(&slow->stage, slow->pair.client);
	slow->pair.target = target_accept(&slow->target);
}

static void slow_close(struct slow *slow)
{
	pair_close(&slow->pair);
	stage_close(&slow->stage);
	target_close(&slow->target);
}

/* Pause, take a piece, and so on. False if a pause became so long that we might have looked idle. */
static bool take_slowly(int fd, uint64_t idle_ns)
{
	uint64_t before_ns = usp_sys_now_ns();

	for (unsigned i = 0; i < NR_PAUSES; i++) {
		poll(NULL, 0, (int)(idle_ns * 2 / 5 / STAGE_MS));
		if (usp_sys_now_ns() - before_ns > idle_ns * 3 / 5)
			return false;
		net_take(fd, i * PIECE_BYTES, PIECE_BYTES);
		before_ns = usp_sys_now_ns();
	}
	return true;
}

static void send_pieces(int fd, unsigned nr)
{
	unsigned char bytes[PIECE_BYTES];

	for (unsigned i = 0; i < nr; i++) {
		pattern_fill(bytes, i * PIECE_BYTES, PIECE_BYTES);
		assert_int_equal(send(fd, bytes, PIECE_BYTES, MSG_NOSIGNAL), PIECE_BYTES);
	}
}

/* The kernel has all pieces. False if that took so long that the connection was idle before. */
static bool is_delivered(const struct slow *slow, unsigned nr)
{
	AWAIT(stage_status(&slow->stage).delivered[slow->direction] == nr * PIECE_BYTES ||
	      stage_status(&slow->stage).nr_idle_closed);
	return !stage_status(&slow->stage).nr_idle_closed;
}

/* False if we were so slow that the peer might have looked idle. */
static bool try_slowly(struct slow *slow, uint64_t idle_ns)
{
	unsigned nr = slow->is_unix ? NR_PIECES_UNIX : NR_PIECES_TCP;
	int from, to;
	bool was_fast;

	slow_open(slow, idle_ns);
	from = slow->direction == USP_TO_CLIENT ? slow->pair.target : slow->pair.client;
	to = slow->direction == USP_TO_CLIENT ? slow->pair.client : slow->pair.target;
	send_pieces(from, nr);
	was_fast = is_delivered(slow, nr) && take_slowly(to, idle_ns);
	if (was_fast) {
		net_take(to, NR_PAUSES * PIECE_BYTES, (nr - NR_PAUSES) * PIECE_BYTES);
		assert_int_equal(stage_status(&slow->stage).nr_idle_closed, 0);
		AWAIT(stage_status(&slow->stage).nr_idle_closed == 1); /* now nothing moves */
	}
	slow_close(slow);
	return was_fast;
}

/* The time from what a peer took last, somewhat after the relay moved something, until it was idle. */
static uint64_t time_until_idle(uint64_t idle_ns)
{
	struct slow slow = {.direction = USP_TO_CLIENT};
	uint64_t taken_ns, len_ns;

	slow_open(&slow, idle_ns);
	send_pieces(slow.pair.target, NR_PIECES_TCP);
	taken_ns = usp_sys_now_ns() - 2 * idle_ns;
	if (is_delivered(&slow, NR_PIECES_TCP)) {
		poll(NULL, 0, (int)(idle_ns / 5 / STAGE_MS));
		net_take(slow.pair.client, 0, PIECE_BYTES);
		taken_ns = usp_sys_now_ns();
	}
	AWAIT(stage_status(&slow.stage).nr_idle_closed == 1);
	len_ns = usp_sys_now_ns() - taken_ns;
	slow_close(&slow);
	return len_ns;
}

/* A machine that is too slow for one idle time is not for a longer one. */
static void a_peer_that_takes_no_more_is_idle_from_then_on(void **state)
{
	uint64_t idle_ns = STAGE_S, len_ns;

	(void)state;
	while ((len_ns = time_until_idle(idle_ns)) > idle_ns + idle_ns / 2 && idle_ns < IDLE_MAX_NS)
		idle_ns *= 2;
	assert_true(len_ns <= idle_ns + idle_ns / 2);
}

static void try_each(bool is_unix)
{
	for (unsigned i = 0; i < 4; i++) {
		struct slow slow = {.is_unix = is_unix, .no_uring = i & 1, .direction = i / 2};
		uint64_t idle_ns = IDLE_NS;

		while (!try_slowly(&slow, idle_ns))
			idle_ns *= 2;
	}
}

static void a_peer_that_takes_what_the_kernel_has_is_not_idle(void **state)
{
	(void)state;
	try_each(false);
}

static void a_peer_that_takes_what_its_unix_socket_has_is_not_idle(void **state)
{
	(void)state;
	try_each(true);
}

/* Two bytes a second, so that the relay waits for longer than makes a connection idle. */
static void who_is_held_back_by_a_rate_is_not_idle(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .idle_timeout_ns = IDLE_NS / 2, .rate = 2};
	struct stage stage;
	struct target target;
	struct pair pair;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	pass_bytes(pair.client, pair.target, 0, 4);
	assert_int_equal(stage_status(&stage).nr_idle_closed, 0);
	AWAIT(stage_status(&stage).nr_idle_closed == 1);
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_peer_that_takes_what_the_kernel_has_is_not_idle),
		CASE(a_peer_that_takes_what_its_unix_socket_has_is_not_idle),
		CASE(a_peer_that_takes_no_more_is_idle_from_then_on),
		CASE(who_is_held_back_by_a_rate_is_not_idle),
	};

	return cmocka_run_group_tests_name("relay_idle", tests, stage_open_folder, stage_close_folder);
}
