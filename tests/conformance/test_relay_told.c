/* SPDX-License-Identifier: MIT */
/* test_relay_told - what the program that runs a relay is told: why each connection ended, and how its target fares. */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "stage.h"

#define REPLY_LEN 70
#define GREET_LEN 100 /* pair_greet, both ways */

/* --- What was heard --------------------------------------------------------------------------------------- */

static struct {
	atomic_uint nr;
	bool refuses;
	struct usp_relay_ended ended;
	char target[STAGE_TEXT];
	struct sockaddr_storage peer, client;
} heard;

static bool hear_ended(void *arg, const struct usp_relay_ended *ended)
{
	assert_ptr_equal(arg, &heard);
	heard.ended = *ended;
	snprintf(heard.target, sizeof(heard.target), "%s", ended->target ? ended->target : "none");
	memcpy(&heard.peer, ended->peer, ended->peer->sa_family == AF_INET ? sizeof(struct sockaddr_in) : 2);
	memcpy(&heard.client, ended->client, ended->client->sa_family == AF_INET ? sizeof(struct sockaddr_in) : 2);
	atomic_fetch_add(&heard.nr, 1);
	return !heard.refuses;
}

static struct {
	atomic_uint nr_down, nr_up;
	int error;
	char target[STAGE_TEXT];
} changes;

static void hear_news(void *arg, const struct usp_relay_news *news)
{
	bool is_down = news->kind == USP_RELAY_TARGET_DOWN;

	assert_ptr_equal(arg, &heard);
	snprintf(changes.target, sizeof(changes.target), "%s", news->target);
	changes.error = is_down ? news->error : changes.error;
	atomic_fetch_add(is_down ? &changes.nr_down : &changes.nr_up, 1);
}

static struct usp_relay_params hearing(void)
{
	memset(&heard, 0, sizeof(heard));
	memset(&changes, 0, sizeof(changes));
	return (struct usp_relay_params){
		.size = sizeof(struct usp_relay_params),
		.ended = hear_ended,
		.told = hear_news,
		.told_arg = &heard,
	};
}

static void await_ended(enum usp_relay_why why)
{
	AWAIT(atomic_load(&heard.nr) == 1);
	assert_int_equal(heard.ended.why, why);
}

/* --- Connections ------------------------------------------------------------------------------------------- */

static uint64_t sum_of_ways(unsigned direction)
{
	uint64_t sum = 0;

	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		sum += heard.ended.ways[direction][way];
	return sum;
}

static void a_connection_that_had_its_end_is_told_of_with_its_bytes(void **state)
{
	struct usp_relay_params params;
	struct sockaddr_in client;
	socklen_t len = sizeof(client);
	struct target target;
	struct stage stage;
	struct pair pair;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		params = hearing();
		params.lane = i < 2 ? USP_LANE_AUTO : i == 2 ? USP_LANE_KERNEL : USP_LANE_USER;
		params.no_uring = i == 1;
		target_open(&target, false);
		stage_open(&stage, &params, false, 1, &target);
		pair_open(&pair, &stage, &target);
		assert_int_equal(getsockname(pair.client, (struct sockaddr *)&client, &len), 0);
		pass_bytes(pair.client, pair.target, 0, GREET_LEN);
		pass_bytes(pair.target, pair.client, 0, REPLY_LEN);
		assert_int_equal(atomic_load(&heard.nr), 0);
		pair_close(&pair);
		await_ended(USP_WHY_CLOSED);
		assert_int_equal(heard.ended.error, 0);
		assert_int_equal(heard.ended.listener, 0);
		assert_string_equal(heard.target, target.text);
		assert_int_equal(heard.ended.delivered[USP_TO_TARGET], GREET_LEN);
		assert_int_equal(heard.ended.delivered[USP_TO_CLIENT], REPLY_LEN);
		assert_int_equal(sum_of_ways(USP_TO_TARGET), GREET_LEN);
		assert_int_equal(sum_of_ways(USP_TO_CLIENT), REPLY_LEN);
		assert_int_equal(heard.ended.ways[USP_TO_TARGET][USP_COPIED],
				 params.lane == USP_LANE_KERNEL ? 0 : GREET_LEN);
		assert_true(heard.ended.duration_ns < 3600 * STAGE_S);
		assert_memory_equal(&heard.peer, &client, sizeof(client));
		assert_memory_equal(&heard.client, &client, sizeof(client));
		assert_int_equal(stage_status(&stage).nr_untold, 0);
		stage_close(&stage);
		target_close(&target);
	}
}

static void break_pair(int fd)
{
	const struct linger now = {.l_onoff = 1};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

static void the_side_that_broke_is_named(void **state)
{
	struct target target;
	struct stage stage;
	struct pair pair;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct usp_relay_params params = hearing();

		params.no_uring = i & 1;
		target_open(&target, false);
		stage_open(&stage, &params, false, 1, &target);
		pair_open(&pair, &stage, &target);
		AWAIT(stage_target(&stage, 0).nr_connected == 1);
		if (i & 4)
			pair_greet(&pair);
		break_pair(i & 2 ? pair.client : pair.target);
		await_ended(i & 2 ? USP_WHY_CLIENT_BROKE : USP_WHY_TARGET_BROKE);
		take_reset(i & 2 ? pair.target : pair.client);
		close(i & 2 ? pair.target : pair.client);
		stage_close(&stage);
		target_close(&target);
	}
}

static void a_client_that_found_no_target_is_told_of_with_the_error(void **state)
{
	struct usp_relay_params params = hearing();
	struct target target;
	struct stage stage;
	int fd;

	(void)state;
	target_open_dead(&target);
	stage_open(&stage, &params, false, 1, &target);
	fd = stage_connect(&stage);
	take_reset(fd);
	await_ended(USP_WHY_NO_TARGET);
	assert_int_equal(heard.ended.error, -ECONNREFUSED);
	close(fd);
	stage_close(&stage);
	target_close(&target);
}

static void idle_connections_and_stopped_ones_are_told_of(void **state)
{
	struct usp_relay_params params = hearing();
	struct target target;
	struct stage stage;
	struct pair pair;

	(void)state;
	target_open(&target, true);
	params.idle_timeout_ns = 50 * STAGE_MS;
	stage_open(&stage, &params, true, 1, &target);
	pair_open(&pair, &stage, &target);
	await_ended(USP_WHY_IDLE);
	assert_int_equal(heard.peer.ss_family, AF_UNIX);
	pair_close(&pair);
	stage_close(&stage);

	params = hearing();
	stage_open(&stage, &params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	stage_close(&stage);
	await_ended(USP_WHY_STOPPED);
	pair_close(&pair);
	target_close(&target);
}

static void the_client_that_a_header_names_is_told_beside_the_peer(void **state)
{
	static const char header[] = "PROXY TCP4 192.0.2.1 198.51.100.7 1111 80\r\n";
	struct usp_relay_params params = hearing();
	const struct sockaddr_in *client = (const struct sockaddr_in *)&heard.client;
	struct target target;
	struct stage stage;
	int fd;

	(void)state;
	target_open(&target, false);
	params.proxy_accept = true;
	stage_open(&stage, &params, false, 1, &target);
	fd = stage_connect(&stage);
	assert_int_equal(write(fd, header, sizeof(header) - 1), sizeof(header) - 1);
	close(target_accept(&target));
	take_end(fd);
	close(fd);
	await_ended(USP_WHY_CLOSED);
	assert_int_equal(client->sin_addr.s_addr, htonl(0xc0000201));
	assert_int_equal(((struct sockaddr_in *)&heard.peer)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));

	atomic_store(&heard.nr, 0);
	fd = stage_connect(&stage);
	assert_int_equal(write(fd, "nonsense\n", 9), 9);
	take_reset(fd);
	close(fd);
	await_ended(USP_WHY_NO_HEADER);
	assert_memory_equal(&heard.client, &heard.peer, sizeof(struct sockaddr_in));
	stage_close(&stage);
	target_close(&target);
}

static void what_the_caller_cannot_take_is_counted(void **state)
{
	struct usp_relay_params params = hearing();
	struct target target;
	struct stage stage;
	struct pair pair;

	(void)state;
	target_open(&target, false);
	heard.refuses = true;
	stage_open(&stage, &params, false, 1, &target);
	for (unsigned i = 0; i < 3; i++) {
		pair_open(&pair, &stage, &target);
		pair_close(&pair);
	}
	AWAIT(stage_status(&stage).nr_connections == 0);
	assert_int_equal(stage_status(&stage).nr_untold, 3);
	stage_close(&stage);
	target_close(&target);
}

/* --- Targets ----------------------------------------------------------------------------------------------- */

static void a_target_that_goes_and_comes_is_told_of_once_each(void **state)
{
	struct usp_relay_params params = hearing();
	struct target target;
	struct stage stage;
	int fd;

	(void)state;
	params.retry_after_ns = 1;
	target_open_dead(&target);
	stage_open(&stage, &params, false, 1, &target);
	for (unsigned i = 0; i < 5; i++) {
		fd = stage_connect(&stage);
		take_reset(fd);
		close(fd);
	}
	AWAIT(atomic_load(&heard.nr) == 5);
	assert_int_equal(atomic_load(&changes.nr_down), 1);
	assert_int_equal(atomic_load(&changes.nr_up), 0);
	assert_int_equal(changes.error, -ECONNREFUSED);
	assert_string_equal(changes.target, target.text);
	target_revive(&target);
	for (unsigned i = 0; i < 3; i++)
		assert_goes_to(&stage, &target);
	assert_int_equal(atomic_load(&changes.nr_up), 1);
	assert_int_equal(atomic_load(&changes.nr_down), 1);
	stage_close(&stage);
	target_close(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_connection_that_had_its_end_is_told_of_with_its_bytes),
		CASE(the_side_that_broke_is_named),
		CASE(a_client_that_found_no_target_is_told_of_with_the_error),
		CASE(idle_connections_and_stopped_ones_are_told_of),
		CASE(the_client_that_a_header_names_is_told_beside_the_peer),
		CASE(what_the_caller_cannot_take_is_counted),
		CASE(a_target_that_goes_and_comes_is_told_of_once_each),
	};

	return cmocka_run_group_tests(tests, stage_open_folder, stage_close_folder);
}
