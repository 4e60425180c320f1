/* SPDX-License-Identifier: MIT */
/* test_relay_service - whom a relay connects its clients with, how many at a time, how fast, and until when. */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "stage.h"

#define RATE ((uint64_t)4 << 20)
#define RATE_BYTES ((size_t)2 << 20)
#define RATE_STEP (RATE / 20) /* what may go at once */
#define CHURN 1000
#define CHURN_CROWD 20
#define WAITING 8
#define AT_ONCE (30 * STAGE_S) /* what takes a millisecond, on a machine with much else to do */

/* --- Targets ------------------------------------------------------------------------------------------------ */

static void a_target_that_refuses_is_left_out(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .retry_after_ns = 3600 * STAGE_S};
	struct usp_relay_target_status dead = {.size = sizeof(dead)}, live = {.size = sizeof(live)};
	struct target targets[2];
	struct stage stage;

	(void)state;
	target_open_dead(&targets[0]);
	target_open(&targets[1], false);
	stage_open(&stage, &params, false, 2, targets);
	for (unsigned i = 0; i < 5; i++) /* in turn, if there were two */
		assert_goes_to(&stage, &targets[1]);
	dead = stage_target(&stage, 0);
	live = stage_target(&stage, 1);
	assert_string_equal(dead.name, targets[0].text);
	assert_int_equal(dead.nr_failed, 1);
	assert_int_equal(dead.nr_connected, 0);
	assert_int_equal(dead.last_error, -ECONNREFUSED);
	assert_true(dead.left_out_ns > 3000 * STAGE_S && dead.left_out_ns <= 3600 * STAGE_S);
	assert_int_equal(live.nr_connected, 5);
	assert_int_equal(live.nr_failed, 0);
	assert_int_equal(live.left_out_ns, 0);
	assert_int_equal(stage_status(&stage).nr_unserved, 0);
	stage_close(&stage);
	target_close(&targets[0]);
	target_close(&targets[1]);
}

static void a_target_that_was_left_out_comes_back(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .retry_after_ns = 100 * STAGE_MS};
	struct target targets[2];
	struct stage stage;

	(void)state;
	target_open_dead(&targets[0]);
	target_open(&targets[1], false);
	stage_open(&stage, &params, false, 2, targets);
	assert_goes_to(&stage, &targets[1]);
	target_revive(&targets[0]);
	AWAIT(stage_target(&stage, 0).left_out_ns == 0);
	assert_goes_to(&stage, &targets[1]); /* whose turn it is */
	assert_goes_to(&stage, &targets[0]);
	assert_int_equal(stage_target(&stage, 0).nr_connected, 1);
	stage_close(&stage);
	target_close(&targets[0]);
	target_close(&targets[1]);
}

static void a_client_that_nobody_takes_is_reset(void **state)
{
	struct target targets[2];
	struct stage stage;
	int fd;

	(void)state;
	target_open_dead(&targets[0]);
	target_open_dead(&targets[1]);
	stage_open(&stage, NULL, false, 2, targets);
	for (unsigned i = 1; i <= 3; i++) {
		fd = stage_connect(&stage);
		take_reset(fd);
		close(fd);
		AWAIT(stage_status(&stage).nr_unserved == i);
	}
	/* All are left out, and one is tried all the same: it may be well again. */
	assert_int_equal(stage_target(&stage, 0).nr_failed + stage_target(&stage, 1).nr_failed, 4);
	stage_close(&stage);
	stage_open(&stage, NULL, false, 0, NULL);
	fd = stage_connect(&stage);
	take_reset(fd);
	close(fd);
	stage_close(&stage);
	target_close(&targets[0]);
	target_close(&targets[1]);
}

static void a_target_that_does_not_answer_in_time_is_passed_over(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .connect_timeout_ns = 200 * STAGE_MS};
	struct target targets[2];
	struct stage stage;

	(void)state;
	target_open_jammed(&targets[0]);
	target_open(&targets[1], false);
	stage_open(&stage, &params, false, 2, targets);
	assert_goes_to(&stage, &targets[1]);
	assert_int_equal(stage_target(&stage, 0).nr_failed, 1);
	assert_int_equal(stage_target(&stage, 0).last_error, -ETIMEDOUT);
	stage_close(&stage);
	target_close(&targets[0]);
	target_close(&targets[1]);
}

static void new_targets_are_for_new_connections(void **state)
{
	struct target targets[2];
	struct stage stage;
	struct pair old;
	const char *texts[2], *why = NULL;
	unsigned failed = 7;

	(void)state;
	target_open(&targets[0], false);
	target_open(&targets[1], true);
	stage_open(&stage, NULL, false, 1, &targets[0]);
	pair_open(&old, &stage, &targets[0]);
	pair_greet(&old);
	texts[0] = targets[1].text;
	texts[1] = "127.0.0.1:99999";
	assert_int_equal(usp_relay_set_targets(stage.relay, texts, 2, &failed, &why), -EINVAL);
	assert_int_equal(failed, 1);
	assert_non_null(why);
	assert_goes_to(&stage, &targets[0]); /* nothing has changed */
	assert_int_equal(usp_relay_set_targets(stage.relay, texts, 1, NULL, NULL), 0);
	assert_goes_to(&stage, &targets[1]);
	pair_greet(&old);
	assert_int_equal(stage_status(&stage).nr_targets, 1);
	pair_close(&old);
	stage_close(&stage);
	target_close(&targets[0]);
	target_close(&targets[1]);
}

/* --- How many -------------------------------------------------------------------------------------------------- */

static void the_next_client_waits_for_a_place(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .connections_max = 1};
	struct pair pairs[2];
	struct target target;
	struct stage stage;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	pair_open(&pairs[0], &stage, &target);
	pairs[1].client = stage_connect(&stage);
	for (unsigned i = 0; i < 100; i++)
		pair_greet(&pairs[0]);
	assert_false(target_is_asked(&target));
	assert_int_equal(stage_status(&stage).nr_connections, 1);
	pair_close(&pairs[0]);
	pairs[1].target = target_accept(&target);
	pair_greet(&pairs[1]);
	assert_int_equal(stage_status(&stage).nr_accepted, 2);
	pair_close(&pairs[1]);
	stage_close(&stage);
	target_close(&target);
}

/* The kernel has room for one in the queue, and says EAGAIN to all others. */
static void clients_of_a_unix_target_wait_while_its_queue_is_full(void **state)
{
	struct target target;
	struct stage stage;
	int clients[8];

	(void)state;
	target_open(&target, true);
	assert_int_equal(listen(target.listener, 0), 0);
	stage_open(&stage, NULL, false, 1, &target);
	for (unsigned i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = stage_connect(&stage);
	for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
		int fd = target_accept(&target);

		assert_int_equal(send(fd, "x", 1, 0), 1);
		close(fd);
	}
	for (unsigned i = 0; i < ARRAY_LEN(clients); i++) {
		char byte;

		assert_int_equal(recv(clients[i], &byte, 1, 0), 1);
		close(clients[i]);
	}
	assert_int_equal(stage_status(&stage).nr_unserved, 0);
	stage_close(&stage);
	target_close(&target);
}

/* A target in a process of its own, which sends back what it gets: its descriptors are not ours. */
static pid_t echo_begin(const struct target *target)
{
	pid_t pid = fork();
	char bytes[4096];
	ssize_t len;
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	while ((fd = accept4(target->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (fork()) {
			close(fd);
			continue;
		}
		while ((len = recv(fd, bytes, sizeof(bytes), 0)) > 0)
			send(fd, bytes, (size_t)len, MSG_NOSIGNAL);
		break;
	}
	_exit(0);
}

static void echo_end(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* No descriptors but nr more, from now on. */
static struct rlimit limit_fds(unsigned nr)
{
	int lowest = dup(STDIN_FILENO);
	struct rlimit limit, old;

	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = (struct rlimit){.rlim_cur = (rlim_t)lowest + nr, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return old;
}

/* Through a relay that has no descriptors left, nor can it make kernel pipes; then there are some again. */
static void without_descriptors_old_connections_go_on_and_new_ones_wait(void **state)
{
	const struct usp_relay_params params = {.size = sizeof(params), .connect_timeout_ns = 3600 * STAGE_S};
	struct talker talker = {.send_len = 1 << 20};
	int waiting[WAITING];
	struct target target;
	struct stage stage;
	struct rlimit old;
	pid_t echo;
	int fd;

	(void)state;
	target_open(&target, false);
	echo = echo_begin(&target);
	stage_open(&stage, &params, true, 1, &target);
	fd = stage_connect(&stage);
	pass_bytes(fd, fd, 0, 100);
	for (unsigned i = 0; i < WAITING; i++)
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	old = limit_fds(1);
	for (unsigned i = 0; i < WAITING; i++)
		stage_connect_fd(&stage, waiting[i]);
	AWAIT(stage_status(&stage).nr_accept_pauses > 1);
	talker.fd = fd;
	talk(&talker, 1);
	assert_int_equal(talker.nr_taken, talker.send_len);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned i = 0; i < WAITING; i++) {
		pass_bytes(waiting[i], waiting[i], i, 100);
		close(waiting[i]);
	}
	close(fd);
	assert_int_equal(stage_status(&stage).nr_accepted, WAITING + 1);
	assert_int_equal(stage_status(&stage).nr_unserved, 0);
	stage_close(&stage);
	echo_end(echo);
	target_close(&target);
}

/* --- How fast --------------------------------------------------------------------------------------------------- */

/* Send through nr_pairs connections at once, and take the time. */
static uint64_t send_timed(const struct usp_relay_params *params, unsigned nr_pairs)
{
	struct talker talkers[2 * nr_pairs];
	struct pair pairs[nr_pairs];
	struct target target;
	struct stage stage;
	uint64_t since_ns;

	target_open(&target, false);
	stage_open(&stage, params, false, 1, &target);
	for (unsigned i = 0; i < nr_pairs; i++) {
		pair_open(&pairs[i], &stage, &target);
		talkers[2 * i] = (struct talker){.fd = pairs[i].client, .send_len = RATE_BYTES};
		talkers[2 * i + 1] = (struct talker){.fd = pairs[i].target};
	}
	since_ns = usp_sys_now_ns();
	talk(talkers, 2 * nr_pairs);
	since_ns = usp_sys_now_ns() - since_ns;
	for (unsigned i = 0; i < nr_pairs; i++) {
		assert_int_equal(talkers[2 * i + 1].nr_taken, RATE_BYTES);
		pair_close(&pairs[i]);
	}
	stage_close(&stage);
	target_close(&target);
	return since_ns;
}

/* Not faster, but for what may go at once at either end. */
static void assert_lasts(uint64_t ns, unsigned nr_pairs, uint64_t len)
{
	uint64_t least = (len - 2 * nr_pairs * RATE_STEP) * STAGE_S / RATE;

	print_message("# %llu ms, at least %llu\n", (unsigned long long)(ns / STAGE_MS),
		      (unsigned long long)(least / STAGE_MS));
	assert_true(ns >= least);
}

static void each_connection_keeps_to_its_rate(void **state)
{
	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++)
		assert_lasts(send_timed(&(struct usp_relay_params){.size = sizeof(struct usp_relay_params),
								   .rate = RATE,
								   .lane = lane},
					2),
			     1, RATE_BYTES);
}

static void all_connections_together_keep_to_the_total_rate(void **state)
{
	(void)state;
	for (unsigned nr_workers = 1; nr_workers <= 2; nr_workers++)
		assert_lasts(send_timed(&(struct usp_relay_params){.size = sizeof(struct usp_relay_params),
								   .rate_total = RATE,
								   .nr_workers = nr_workers},
					2),
			     2, 2 * RATE_BYTES);
}

/* --- Until when -------------------------------------------------------------------------------------------------- */

/* Say something again and again for twice as long as makes a connection idle. When the last word was said; how long none was. */
static uint64_t keep_talking(const struct pair *pair, uint64_t idle_ns, uint64_t *ret_silence_ns)
{
	uint64_t begun_ns = usp_sys_now_ns(), said_ns = begun_ns, now_ns;
	char word = 'w';

	*ret_silence_ns = 0;
	do {
		now_ns = usp_sys_now_ns();
		*ret_silence_ns = usp_max(*ret_silence_ns, now_ns - said_ns);
		said_ns = now_ns;
	} while (said_ns - begun_ns < 2 * idle_ns && send(pair->client, &word, 1, MSG_NOSIGNAL) == 1 &&
		 recv(pair->target, &word, 1, 0) == 1);
	return said_ns;
}

/* False if we were so slow that it might have looked idle while we talked. */
static bool is_reset_behind_the_last_word(const struct usp_relay_params *params)
{
	uint64_t said_ns, silence_ns;
	struct target target;
	struct stage stage;
	struct pair pair;
	bool was_fast;

	target_open(&target, false);
	stage_open(&stage, params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	said_ns = keep_talking(&pair, params->idle_timeout_ns, &silence_ns);
	was_fast = silence_ns < params->idle_timeout_ns / 2;
	take_reset(pair.client);
	if (was_fast) {
		assert_true(usp_sys_now_ns() - said_ns > params->idle_timeout_ns / 2);
		take_reset(pair.target);
		assert_int_equal(stage_status(&stage).nr_idle_closed, 1);
		assert_int_equal(stage_status(&stage).nr_reset, 0);
	}
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
	return was_fast;
}

static void a_connection_without_traffic_is_reset(void **state)
{
	struct usp_relay_params params = {.size = sizeof(params), .idle_timeout_ns = 500 * STAGE_MS};

	(void)state;
	while (!is_reset_behind_the_last_word(&params))
		params.idle_timeout_ns *= 2;
}

/* The client is there before the relay runs, and so before it can have been idle. */
static void the_relay_ends_when_it_was_idle_for_long_enough(void **state)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .exit_idle_ns = 300 * STAGE_MS, .nr_workers = 2};
	struct target target;
	struct stage stage;
	struct pair pair;
	uint64_t since_ns;

	(void)state;
	target_open(&target, false);
	stage_prepare(&stage, &params, 1, &target);
	pair.client = stage_connect(&stage);
	stage_start(&stage);
	pair.target = target_accept(&target);
	for (since_ns = usp_sys_now_ns(); usp_sys_now_ns() - since_ns < 2 * params.exit_idle_ns;)
		pair_greet(&pair);
	since_ns = usp_sys_now_ns();
	pair_close(&pair);
	stage_await_end(&stage);
	assert_true(usp_sys_now_ns() - since_ns >= params.exit_idle_ns / 2);
	target_close(&target);
}

static void a_drain_waits_for_the_connections(void **state)
{
	struct target target;
	struct stage stage;
	struct pair pairs[4];

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &(struct usp_relay_params){.size = sizeof(struct usp_relay_params), .nr_workers = 2}, false,
		   1, &target);
	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++)
		pair_open(&pairs[i], &stage, &target);
	usp_relay_drain(stage.relay);
	assert_true(stage_status(&stage).is_draining);
	for (unsigned i = 0; i < ARRAY_LEN(pairs); i++) {
		for (unsigned j = i; j < ARRAY_LEN(pairs); j++)
			pair_greet(&pairs[j]);
		assert_false(stage.worker.is_done);
		pair_close(&pairs[i]);
	}
	stage_await_end(&stage);
	target_close(&target);
}

static void a_drain_does_not_wait_for_ever(void **state)
{
	const struct usp_relay_params params = {
		.size = sizeof(params), .drain_timeout_ns = 200 * STAGE_MS, .nr_workers = 2};
	struct target target;
	struct stage stage;
	struct pair pair;
	uint64_t since_ns;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	since_ns = usp_sys_now_ns();
	usp_relay_drain(stage.relay);
	take_reset(pair.client);
	take_reset(pair.target);
	assert_true(usp_sys_now_ns() - since_ns >= params.drain_timeout_ns / 2); /* it may have begun a little before */
	pair_close(&pair);
	stage_await_end(&stage);
	target_close(&target);
}

/* Also with bytes on their way to somebody who takes nothing. */
static void a_stop_resets_what_is_there(void **state)
{
	struct target target;
	struct stage stage;
	struct pair pair;
	uint64_t since_ns;

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		target_open(&target, false);
		stage_open(&stage,
			   &(struct usp_relay_params){
				   .size = sizeof(struct usp_relay_params), .lane = lane, .nr_workers = 2},
			   false, 1, &target);
		pair_open(&pair, &stage, &target);
		pair_greet(&pair);
		stage_jam(&stage, pair.target, USP_TO_CLIENT);
		since_ns = usp_sys_now_ns();
		stage_close(&stage);
		assert_true(usp_sys_now_ns() - since_ns < AT_ONCE);
		take_reset(pair.target);
		pair_close(&pair);
		target_close(&target);
	}
}

static void a_client_that_takes_nothing_holds_nobody_up(void **state)
{
	struct pair stalled, other;
	struct target target;
	struct stage stage;
	uint64_t since_ns, begun_ns;

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		target_open(&target, false);
		stage_open(&stage, &(struct usp_relay_params){.size = sizeof(struct usp_relay_params), .lane = lane},
			   false, 1, &target);
		pair_open(&stalled, &stage, &target);
		pair_open(&other, &stage, &target);
		stage_jam(&stage, stalled.target, USP_TO_CLIENT);
		since_ns = usp_sys_now_ns();
		do { /* for longer than it takes the relay to see that one of them is still */
			begun_ns = usp_sys_now_ns();
			pair_greet(&other);
			assert_true(usp_sys_now_ns() - begun_ns < AT_ONCE);
		} while (begun_ns - since_ns < 300 * STAGE_MS);
		pair_close(&stalled);
		pair_close(&other);
		stage_close(&stage);
		target_close(&target);
	}
}

static void a_stop_before_the_run_ends_it_at_once(void **state)
{
	struct usp_relay *relay;

	(void)state;
	assert_int_equal(usp_relay_new(NULL, &relay), 0);
	assert_int_equal(usp_relay_run(relay), -EINVAL); /* it listens nowhere */
	assert_int_equal(usp_relay_listen(relay, "127.0.0.1:0", NULL), 0);
	usp_relay_stop(relay);
	assert_int_equal(usp_relay_run(relay), 0);
	assert_int_equal(usp_relay_run(relay), -EINVAL); /* once */
	usp_relay_free(relay);
}

/* --- Coming and going ---------------------------------------------------------------------------------------------- */

static void clients_that_leave_at_once_leave_nothing(void **state)
{
	struct target target;
	struct stage stage;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &(struct usp_relay_params){.size = sizeof(struct usp_relay_params), .nr_workers = 2}, false,
		   1, &target);
	for (unsigned i = 0; i < 50; i++) {
		int fd = stage_connect(&stage);

		if (i % 2)
			net_reset(fd);
		else
			close(fd);
		close(target_accept(&target));
	}
	AWAIT(stage_status(&stage).nr_accepted == 50 && stage_status(&stage).nr_connections == 0);
	assert_goes_to(&stage, &target);
	stage_close(&stage);
	target_close(&target);
}

static void churn(const struct stage *stage, const struct target *target, unsigned round)
{
	struct pair pairs[CHURN_CROWD];

	for (unsigned i = 0; i < CHURN_CROWD; i++)
		pairs[i].client = stage_connect(stage);
	for (unsigned i = 0; i < CHURN_CROWD; i++)
		pairs[i].target = target_accept(target); /* of any of them */
	for (unsigned i = 0; i < CHURN_CROWD; i++)
		assert_int_equal(send(pairs[i].client, "x", 1, MSG_NOSIGNAL), 1);
	for (unsigned i = 0; i < CHURN_CROWD; i++) {
		assert_int_equal(recv(pairs[i].target, &(char){0}, 1, 0), 1);
		if ((i + round) % 3)
			net_reset(pairs[i].target);
		else
			close(pairs[i].target);
	}
	for (unsigned i = 0; i < CHURN_CROWD; i++)
		net_reset(pairs[i].client);
}

static void churn_many(bool is_unix)
{
	struct usp_relay_status status = {.size = sizeof(status)};
	struct target target;
	struct stage stage;

	target_open(&target, is_unix);
	stage_open(&stage, &(struct usp_relay_params){.size = sizeof(struct usp_relay_params), .nr_workers = 2},
		   is_unix, 1, &target);
	for (unsigned i = 0; i < CHURN / CHURN_CROWD; i++)
		churn(&stage, &target, i);
	AWAIT(stage_status(&stage).nr_connections == 0);
	status = stage_status(&stage);
	assert_int_equal(status.nr_accepted, CHURN);
	assert_int_equal(status.nr_unserved, 0);
	assert_int_equal(status.delivered[USP_TO_TARGET], CHURN);
	stage_close(&stage);
	target_close(&target);
}

static void thousands_of_connections_leave_nothing_behind(void **state)
{
	(void)state;
	churn_many(false);
	churn_many(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_target_that_refuses_is_left_out),
		CASE(a_target_that_was_left_out_comes_back),
		CASE(a_client_that_nobody_takes_is_reset),
		CASE(a_target_that_does_not_answer_in_time_is_passed_over),
		CASE(new_targets_are_for_new_connections),
		CASE(the_next_client_waits_for_a_place),
		CASE(clients_of_a_unix_target_wait_while_its_queue_is_full),
		CASE(without_descriptors_old_connections_go_on_and_new_ones_wait),
		CASE(each_connection_keeps_to_its_rate),
		CASE(all_connections_together_keep_to_the_total_rate),
		CASE(a_connection_without_traffic_is_reset),
		CASE(the_relay_ends_when_it_was_idle_for_long_enough),
		CASE(a_drain_waits_for_the_connections),
		CASE(a_drain_does_not_wait_for_ever),
		CASE(a_stop_resets_what_is_there),
		CASE(a_client_that_takes_nothing_holds_nobody_up),
		CASE(a_stop_before_the_run_ends_it_at_once),
		CASE(clients_that_leave_at_once_leave_nothing),
		CASE(thousands_of_connections_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("relay service", tests, stage_open_folder, stage_close_folder);
}
