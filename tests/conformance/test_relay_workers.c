/* SPDX-License-Identifier: MIT */
/* test_relay_workers - how the threads of a relay share the clients, and whether they come round. */
#include <signal.h>

#include "base/compiler.h"
#include "relay/worker.h"
#include "stage.h"

#define CROWD 60
#define WORKERS 3
#define ROUNDS 20
#define DRAINS 400
#define MANY_WORKERS 8

/* --- Sharing ------------------------------------------------------------------------------------------------ */

static void open_stage(struct stage *stage, struct target *target, bool is_unix, unsigned nr_workers)
{
	target_open(target, is_unix);
	stage_open(stage, &(struct usp_relay_params){.size = sizeof(struct usp_relay_params), .nr_workers = nr_workers},
		   is_unix, 1, target);
}

/* All at once, so that whoever is awake accepts them. */
static void connect_crowd(const struct stage *stage, int *ret_clients)
{
	for (unsigned i = 0; i < CROWD; i++)
		ret_clients[i] = stage_connect(stage);
}

static void close_crowd(const int *fds)
{
	for (unsigned i = 0; i < CROWD; i++)
		close(fds[i]);
}

static void assert_shared_out(const struct usp_relay *relay)
{
	unsigned share = CROWD / WORKERS, nr_connections = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		unsigned nr = atomic_load(&relay->workers[i].counters.connections);

		assert_true(nr >= share - share / 4 && nr <= share + share / 4);
		nr_connections += nr;
	}
	assert_int_equal(nr_connections, CROWD);
}

static void a_crowd_is_shared_out_evenly(void **state)
{
	struct target target;
	struct stage stage;
	int clients[CROWD];

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		open_stage(&stage, &target, i % 2, WORKERS);
		connect_crowd(&stage, clients);
		AWAIT(stage_status(&stage).nr_connections == CROWD);
		assert_shared_out(stage.relay);
		close_crowd(clients);
		stage_close(&stage);
		target_close(&target);
	}
}

/* Who has gone makes room, and who comes gets it. */
static void clients_come_where_others_have_left(void **state)
{
	struct target target;
	struct stage stage;
	struct usp_worker *crowded;
	struct pair pairs[CROWD];

	(void)state;
	open_stage(&stage, &target, false, WORKERS);
	crowded = &stage.relay->workers[0];
	for (unsigned i = 0; i < CROWD; i++) {
		unsigned before = atomic_load(&crowded->counters.connections);

		pair_open(&pairs[i], &stage, &target);
		pair_greet(&pairs[i]);
		if (atomic_load(&crowded->counters.connections) == before)
			continue;
		pair_close(&pairs[i]); /* the first worker keeps none */
		AWAIT(atomic_load(&crowded->counters.connections) == 0);
		pairs[i] = (struct pair){-1, -1};
	}
	assert_true(stage_status(&stage).nr_connections < CROWD);
	for (unsigned i = 0; i < CROWD; i++) {
		if (pairs[i].client >= 0)
			pair_close(&pairs[i]);
	}
	stage_close(&stage);
	target_close(&target);
}

/* Each client says its number, and hears it from the target. */
static void serve_crowd(const struct target *target, const int *clients)
{
	int fds[CROWD];

	for (unsigned char i = 0; i < CROWD; i++)
		assert_int_equal(send(clients[i], &i, 1, 0), 1);
	for (unsigned i = 0; i < CROWD; i++) {
		unsigned char number;

		fds[i] = target_accept(target);
		assert_int_equal(recv(fds[i], &number, 1, 0), 1);
		assert_int_equal(send(fds[i], &number, 1, 0), 1);
	}
	for (unsigned i = 0; i < CROWD; i++) {
		unsigned char number;

		assert_int_equal(recv(clients[i], &number, 1, 0), 1);
		assert_int_equal(number, i);
	}
	close_crowd(fds);
}

static void a_drain_serves_who_is_handed_over_just_then(void **state)
{
	struct target target;
	struct stage stage;
	int clients[CROWD];

	(void)state;
	for (unsigned i = 0; i < DRAINS; i++) {
		open_stage(&stage, &target, i % 2, MANY_WORKERS);
		connect_crowd(&stage, clients);
		usp_relay_drain(stage.relay);
		serve_crowd(&target, clients);
		close_crowd(clients);
		stage_await_end(&stage);
		target_close(&target);
	}
}

/* The pipes of all workers become one that is full, whose read side is returned. */
static int stop_handover(struct usp_relay *relay, int ret_old_fds[WORKERS])
{
	int full[2];

	assert_int_equal(pipe2(full, O_NONBLOCK | O_CLOEXEC), 0);
	while (write(full[1], "", 1) == 1)
		;
	for (unsigned i = 0; i < WORKERS; i++) {
		ret_old_fds[i] = fcntl(relay->workers[i].handover.fds[1], F_DUPFD_CLOEXEC, 0);
		assert_true(dup3(full[1], relay->workers[i].handover.fds[1], O_CLOEXEC) >= 0);
	}
	close(full[1]);
	return full[0];
}

static void start_handover(struct usp_relay *relay, const int old_fds[WORKERS], int full_fd)
{
	close(full_fd);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_true(dup3(old_fds[i], relay->workers[i].handover.fds[1], O_CLOEXEC) >= 0);
		close(old_fds[i]);
	}
}

static void who_cannot_be_handed_over_is_served_where_he_is(void **state)
{
	struct target target;
	struct stage stage;
	int clients[CROWD], old_fds[WORKERS], full_fd;

	(void)state;
	open_stage(&stage, &target, false, WORKERS);
	full_fd = stop_handover(stage.relay, old_fds);
	connect_crowd(&stage, clients);
	serve_crowd(&target, clients);
	start_handover(stage.relay, old_fds, full_fd);
	close_crowd(clients);
	AWAIT(stage_status(&stage).nr_connections == 0);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(atomic_load(&stage.relay->workers[i].counters.connections), 0);
	assert_goes_to(&stage, &target);
	stage_close(&stage);
	target_close(&target);
}

/* Around each test descriptors are counted: those on their way from one worker to another, too. */
static void a_stop_closes_who_is_handed_over_just_then(void **state)
{
	struct target target;
	struct stage stage;
	int clients[CROWD];

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		open_stage(&stage, &target, i % 2, MANY_WORKERS);
		connect_crowd(&stage, clients);
		stage_close(&stage);
		for (unsigned j = 0; j < CROWD; j++)
			assert_true(recv(clients[j], &(char){0}, 1, 0) <= 0);
		close_crowd(clients);
		target_close(&target);
	}
}

/* --- Watchdogs ---------------------------------------------------------------------------------------------- */

static int hold_fds[2]; /* a worker that reads from it hangs */

static void hold(int signo)
{
	char byte;

	(void)signo;
	assert_true(read(hold_fds[0], &byte, 1) == 1);
}

static void a_worker_that_hangs_does_not_come_round(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .nr_workers = 2};
	struct sigaction old;
	struct target target;
	struct stage stage;

	(void)state;
	assert_int_equal(pipe2(hold_fds, O_CLOEXEC), 0);
	assert_int_equal(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = hold}, &old), 0);
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	assert_goes_to(&stage, &target);
	for (unsigned i = 0; i < 3; i++)
		AWAIT(usp_relay_is_turning(stage.relay));
	assert_int_equal(pthread_kill(stage.worker.thread, SIGUSR1), 0);
	AWAIT(!usp_relay_is_turning(stage.relay));
	for (unsigned i = 0; i < 100; i++)
		assert_false(usp_relay_is_turning(stage.relay));
	assert_int_equal(write(hold_fds[1], "", 1), 1);
	AWAIT(usp_relay_is_turning(stage.relay));
	assert_goes_to(&stage, &target);
	stage_close(&stage);
	target_close(&target);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	close(hold_fds[0]);
	close(hold_fds[1]);
}

static void workers_that_have_ended_are_not_missed(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .nr_workers = 2};
	struct target target;
	struct stage stage;
	struct pair pair;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	usp_relay_drain(stage.relay); /* one of them has a connection, and the other one has nothing to do any more */
	for (unsigned i = 0; i < 10; i++)
		AWAIT(usp_relay_is_turning(stage.relay));
	pair_greet(&pair);
	pair_close(&pair);
	stage_await_end(&stage);
	target_close(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_crowd_is_shared_out_evenly),
		CASE(clients_come_where_others_have_left),
		CASE(a_drain_serves_who_is_handed_over_just_then),
		CASE(who_cannot_be_handed_over_is_served_where_he_is),
		CASE(a_stop_closes_who_is_handed_over_just_then),
		CASE(a_worker_that_hangs_does_not_come_round),
		CASE(workers_that_have_ended_are_not_missed),
	};

	return cmocka_run_group_tests_name("relay workers", tests, stage_open_folder, stage_close_folder);
}
