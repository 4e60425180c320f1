/* SPDX-License-Identifier: MIT */
/* test_relay_messages - small messages through a relay: carried by io_uring where it can be had, and the same without it. */
#include "event/uring.h"
#include "stage.h"

#define WARM_ROUNDS 20 /* after fewer messages nobody sets up a stream for them */
#define LARGEST 20000
#define BULK_BYTES ((size_t)8 << 20)
#define FLOOD_BYTES ((size_t)24 << 20) /* more than both sockets of a way hold */
#define REST_US 250000

/* One way of carrying them, over one kind of socket. */
struct carriage {
	bool no_uring, is_unix;
	unsigned nr_workers;
};

static const struct carriage carriages[] = {
	{.no_uring = false, .is_unix = false, .nr_workers = 1},
	{.no_uring = false, .is_unix = true, .nr_workers = 2},
	{.no_uring = true, .is_unix = false, .nr_workers = 2},
	{.no_uring = true, .is_unix = true, .nr_workers = 1},
};

struct scene {
	const struct carriage *carriage;
	struct stage stage;
	struct target target;
	struct pair pair;
	uint64_t off; /* how far the pair has come */
};

/* Has this machine a ring for us? */
static bool can_uring(void)
{
	struct usp_loop *loop;
	struct usp_uring *uring;
	bool can;

	assert_int_equal(usp_loop_new(&loop), 0);
	can = usp_uring_new(loop, &uring) == 0;
	if (can)
		usp_uring_free(uring);
	usp_loop_free(loop);
	return can;
}

static bool is_by_uring(const struct scene *scene, unsigned hop)
{
	struct usp_relay_status status = stage_status(&scene->stage);
	const char *reason = status.hops[USP_TO_TARGET][hop].reason[USP_COPIED];

	return reason && strstr(reason, "io_uring");
}

/* Messages of some length, there and back. */
static void ping(struct scene *scene, unsigned nr_rounds, size_t len)
{
	for (unsigned i = 0; i < nr_rounds; i++, scene->off += len) {
		pass_bytes(scene->pair.client, scene->pair.target, scene->off, len);
		pass_bytes(scene->pair.target, scene->pair.client, scene->off, len);
	}
}

/* Until they are carried as they should be: on a busy machine a connection may come to rest in between, and begin anew. */
static void warm_up(struct scene *scene)
{
	bool is_expected = !scene->carriage->no_uring && can_uring();

	do
		ping(scene, WARM_ROUNDS, 64);
	while (is_by_uring(scene, 0) != is_expected || is_by_uring(scene, 1) != is_expected);
}

static void scene_open(struct scene *scene, const struct carriage *carriage)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .nr_workers = carriage->nr_workers, .no_uring = carriage->no_uring};

	*scene = (struct scene){.carriage = carriage};
	target_open(&scene->target, carriage->is_unix);
	stage_open(&scene->stage, &params, carriage->is_unix, 1, &scene->target);
	pair_open(&scene->pair, &scene->stage, &scene->target);
	warm_up(scene);
}

static void scene_close(struct scene *scene)
{
	stage_close(&scene->stage);
	target_close(&scene->target);
}

static void each_carriage(void (*run)(struct scene *scene))
{
	for (unsigned i = 0; i < ARRAY_LEN(carriages); i++) {
		struct scene scene;

		print_message("# %s, %u workers, %s\n", carriages[i].is_unix ? "unix" : "tcp", carriages[i].nr_workers,
			      carriages[i].no_uring ? "recv and send" : "io_uring");
		scene_open(&scene, &carriages[i]);
		run(&scene);
		scene_close(&scene);
	}
}

/* --- Bytes ------------------------------------------------------------------------------------------- */

static void all_lengths(struct scene *scene)
{
	for (size_t len = 1; len < LARGEST; len += len / 7 + 1)
		ping(scene, 2, len);
	pair_close(&scene->pair);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	assert_int_equal(stage_status(&scene->stage).delivered[USP_TO_TARGET], scene->off);
	assert_int_equal(stage_status(&scene->stage).delivered[USP_TO_CLIENT], scene->off);
	assert_int_equal(stage_status(&scene->stage).stranded, 0);
}

static void messages_of_all_lengths_arrive_in_order(void **state)
{
	(void)state;
	each_carriage(all_lengths);
}

static void a_crowd(struct scene *scene)
{
	struct pair pairs[50];

	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		pair_open(&pairs[i], &scene->stage, &scene->target);
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
			pass_bytes(pairs[i].client, pairs[i].target, round * 977 + i, 100 + i);
		for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
			pass_bytes(pairs[i].target, pairs[i].client, round * 977 + i, 100 + i);
	}
	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		pair_close(&pairs[i]);
	pair_close(&scene->pair);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
}

static void many_connections_do_not_mix(void **state)
{
	(void)state;
	each_carriage(a_crowd);
}

/* The target reads nothing until the client has sent all that goes in, so buffers run short and sends get stuck. */
static void a_flood(struct scene *scene)
{
	struct talker talkers[2] = {
		{.fd = scene->pair.client, .send_off = scene->off, .send_len = FLOOD_BYTES, .take_off = 5},
		{.fd = scene->pair.target, .take_off = scene->off, .send_off = 5, .send_len = FLOOD_BYTES / 2},
	};

	for (unsigned i = 0; i < 1000; i++) {
		struct pollfd fd = {.fd = scene->pair.client, .events = POLLOUT};
		unsigned char bytes[100];

		if (poll(&fd, 1, 0) == 0)
			break;
		pattern_fill(bytes, talkers[0].send_off, sizeof(bytes));
		assert_int_equal(send(scene->pair.client, bytes, sizeof(bytes), 0), sizeof(bytes));
		talkers[0].send_off += sizeof(bytes);
		talkers[0].send_len -= sizeof(bytes);
	}
	talk(talkers, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(talkers[i].error, 0);
	assert_int_equal(talkers[1].nr_taken, FLOOD_BYTES);
	assert_int_equal(talkers[0].nr_taken, FLOOD_BYTES / 2);
	pair_close(&scene->pair);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
}

static void messages_that_become_a_flood_arrive_in_order(void **state)
{
	(void)state;
	each_carriage(a_flood);
}

static void small_large_small(struct scene *scene)
{
	for (unsigned i = 0; i < 3; i++) {
		for (size_t done = 0; done < BULK_BYTES; done += 64 << 10, scene->off += 64 << 10)
			pass_bytes(scene->pair.client, scene->pair.target, scene->off, 64 << 10);
		warm_up(scene);
	}
	pair_close(&scene->pair);
}

static void a_flow_changes_between_messages_and_large_pieces(void **state)
{
	(void)state;
	each_carriage(small_large_small);
}

static void a_rest(struct scene *scene)
{
	for (unsigned i = 0; i < 3; i++) {
		usleep(REST_US); /* that is what it is about: the relay puts it away after a tenth of a second */
		ping(scene, WARM_ROUNDS, 1000);
	}
	pair_close(&scene->pair);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	assert_int_equal(stage_status(&scene->stage).delivered[USP_TO_TARGET], scene->off);
}

static void messages_go_on_after_a_rest(void **state)
{
	(void)state;
	each_carriage(a_rest);
}

/* --- Ends --------------------------------------------------------------------------------------------- */

static void an_end(struct scene *scene)
{
	shutdown(scene->pair.client, SHUT_WR);
	take_end(scene->pair.target);
	for (unsigned i = 0; i < WARM_ROUNDS; i++, scene->off += 500)
		pass_bytes(scene->pair.target, scene->pair.client, scene->off, 500);
	shutdown(scene->pair.target, SHUT_WR);
	take_end(scene->pair.client);
	pair_close(&scene->pair);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	assert_int_equal(stage_status(&scene->stage).nr_reset, 0);
}

static void the_end_behind_messages_is_carried_and_replies_still_come(void **state)
{
	(void)state;
	each_carriage(an_end);
}

static bool is_broken(int fd)
{
	struct pollfd look = {.fd = fd};

	return poll(&look, 1, 0) == 1 && look.revents & POLLERR;
}

/* The ring has heard the end, and does not listen to that side any more. A UNIX socket knows no reset. */
static void a_late_break(struct scene *scene)
{
	shutdown(scene->pair.client, SHUT_WR);
	take_end(scene->pair.target);
	if (!scene->carriage->is_unix) {
		net_reset(scene->pair.client);
		AWAIT(is_broken(scene->pair.target));
		close(scene->pair.target);
	} else {
		pair_close(&scene->pair);
	}
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
}

static void a_side_that_breaks_behind_its_end_resets_the_other(void **state)
{
	(void)state;
	each_carriage(a_late_break);
}

/* A UNIX socket knows no reset: its peer sees the end of what was read. */
static void a_break(struct scene *scene)
{
	struct pair other;

	if (!scene->carriage->is_unix) {
		net_reset(scene->pair.client);
		take_reset(scene->pair.target);
		close(scene->pair.target);
	} else {
		pair_close(&scene->pair);
	}
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	pair_open(&other, &scene->stage, &scene->target);
	pair_greet(&other);
	pair_close(&other);
}

static void a_side_that_breaks_resets_the_other_and_no_one_else(void **state)
{
	(void)state;
	each_carriage(a_break);
}

/* The relay holds pieces that the target does not take when the client goes. */
static void a_stuck_send(struct scene *scene)
{
	struct pollfd fd = {.fd = scene->pair.client, .events = POLLOUT};
	unsigned char bytes[4096] = {0};
	struct pair other;

	while (poll(&fd, 1, 50) > 0)
		assert_true(send(fd.fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
	if (scene->carriage->is_unix)
		close(scene->pair.client);
	else
		net_reset(scene->pair.client);
	close(scene->pair.target);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	pair_open(&other, &scene->stage, &scene->target);
	pair_greet(&other);
	pair_close(&other);
}

static void a_send_that_is_stuck_does_not_outlive_its_connection(void **state)
{
	(void)state;
	each_carriage(a_stuck_send);
}

static void a_stop(struct scene *scene)
{
	usp_relay_stop(scene->stage.relay);
	if (!scene->carriage->is_unix) {
		take_reset(scene->pair.client);
		take_reset(scene->pair.target);
	}
	pair_close(&scene->pair);
}

static void a_stop_ends_streams_at_once(void **state)
{
	(void)state;
	each_carriage(a_stop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(messages_of_all_lengths_arrive_in_order),
		CASE(many_connections_do_not_mix),
		CASE(messages_that_become_a_flood_arrive_in_order),
		CASE(a_flow_changes_between_messages_and_large_pieces),
		CASE(messages_go_on_after_a_rest),
		CASE(the_end_behind_messages_is_carried_and_replies_still_come),
		CASE(a_side_that_breaks_resets_the_other_and_no_one_else),
		CASE(a_side_that_breaks_behind_its_end_resets_the_other),
		CASE(a_send_that_is_stuck_does_not_outlive_its_connection),
		CASE(a_stop_ends_streams_at_once),
	};

	return cmocka_run_group_tests_name("relay messages", tests, stage_open_folder, stage_close_folder);
}
