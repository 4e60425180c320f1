/* SPDX-License-Identifier: MIT */
/* test_relay_gone - clients that go away before a target has taken them, and how TCP asks whether peers are still there. */
#include <fcntl.h>
#include <sys/resource.h>

#include "base/compiler.h"
#include "stage.h"

#define PATIENCE_NS (3600 * STAGE_S) /* of the relay: only what is heard of can end a connection */

static struct usp_relay_params patient_params(bool no_uring)
{
	return (struct usp_relay_params){.size = sizeof(struct usp_relay_params),
					 .connect_timeout_ns = PATIENCE_NS,
					 .retry_after_ns = PATIENCE_NS,
					 .no_uring = no_uring};
}

/* A UNIX target whose queue is full: it holds one, and there is one. */
static void target_open_full(struct target *target)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	target_open(target, true);
	assert_int_equal(listen(target->listener, 0), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", target->text + strlen("unix:"));
	target->spare_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(target->spare_fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

/* Take the one who is in the way. */
static void target_make_room(struct target *target)
{
	close(target_accept(target));
}

/* --- Clients that go away -------------------------------------------------------------------------------- */

struct wait {
	bool is_unix_client, is_unix_target, no_uring;
	struct stage stage;
	struct target target;
	int client;
};

/* A client whose target is being tried, for ever if need be. */
static void wait_open(struct wait *wait)
{
	const struct usp_relay_params params = patient_params(wait->no_uring);

	if (wait->is_unix_target)
		target_open_full(&wait->target);
	else
		target_open_jammed(&wait->target);
	stage_open(&wait->stage, &params, wait->is_unix_client, 1, &wait->target);
	wait->client = stage_connect(&wait->stage);
	AWAIT(stage_status(&wait->stage).nr_connections == 1);
}

static void wait_close(struct wait *wait)
{
	stage_close(&wait->stage);
	target_close(&wait->target);
}

static void each_wait(void (*run)(struct wait *wait))
{
	for (unsigned i = 0; i < 8; i++) {
		struct wait wait = {.is_unix_client = i & 1, .is_unix_target = i & 2, .no_uring = i & 4};

		wait_open(&wait);
		run(&wait);
		wait_close(&wait);
	}
}

/* The close of a UNIX client looks like no other thing that it does. */
static void client_goes(struct wait *wait)
{
	if (wait->is_unix_client)
		close(wait->client);
	else
		net_reset(wait->client);
	AWAIT(stage_status(&wait->stage).nr_connections == 0);
	assert_int_equal(stage_status(&wait->stage).nr_reset, 1);
	assert_int_equal(stage_status(&wait->stage).nr_unserved, 0);
	assert_int_equal(stage_target(&wait->stage, 0).nr_failed, 0);
}

static void a_client_that_breaks_while_its_target_is_tried_is_let_go(void **state)
{
	(void)state;
	each_wait(client_goes);
}

/* What it said, and its end, are for the target as soon as that has room. */
static void client_ends(struct wait *wait)
{
	int fd;

	assert_int_equal(send(wait->client, "question", 8, MSG_NOSIGNAL), 8);
	shutdown(wait->client, SHUT_WR);
	poll(NULL, 0, 150); /* by then it is looked at */
	target_make_room(&wait->target);
	fd = target_accept(&wait->target);
	assert_int_equal(recv(fd, (char[16]){0}, 16, MSG_WAITALL), 8);
	assert_int_equal(send(fd, "answer", 6, MSG_NOSIGNAL), 6);
	close(fd);
	assert_int_equal(recv(wait->client, (char[16]){0}, 16, MSG_WAITALL), 6);
	close(wait->client);
	AWAIT(stage_status(&wait->stage).nr_connections == 0);
	assert_int_equal(stage_status(&wait->stage).nr_reset, 0);
}

static void a_client_that_ends_its_side_while_its_target_is_tried_is_served(void **state)
{
	(void)state;
	each_wait(client_ends);
}

/* It has gone, but not without a word. */
static void a_unix_client_that_said_something_and_closed_is_heard(void **state)
{
	struct wait wait = {.is_unix_client = true, .is_unix_target = true};
	int fd;

	(void)state;
	wait_open(&wait);
	assert_int_equal(send(wait.client, "word", 4, MSG_NOSIGNAL), 4);
	close(wait.client);
	poll(NULL, 0, 150);
	target_make_room(&wait.target);
	fd = target_accept(&wait.target);
	assert_int_equal(recv(fd, (char[16]){0}, 16, MSG_WAITALL), 4);
	close(fd);
	AWAIT(stage_status(&wait.stage).nr_connections == 0);
	wait_close(&wait);
}

/* Descriptors: one for the client, none for its target. */
static void a_client_that_breaks_while_descriptors_are_short_is_let_go(void **state)
{
	const struct usp_relay_params params = patient_params(false);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};
	struct rlimit limit, old;
	struct target target;
	struct stage stage;
	int lowest;

	(void)state;
	target_open(&target, false);
	stage_open(&stage, &params, false, 1, &target);
	lowest = dup(STDIN_FILENO);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = (struct rlimit){.rlim_cur = (rlim_t)lowest + 1, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	stage_connect_fd(&stage, client);
	AWAIT(stage_status(&stage).nr_accept_pauses > 0);
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	assert_int_equal(dup3(nothing, client, O_CLOEXEC), client); /* the descriptor stays taken */
	AWAIT(stage_status(&stage).nr_connections == 0);
	assert_int_equal(stage_status(&stage).nr_reset, 1);
	assert_false(target_is_asked(&target));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(client);
	close(nothing);
	stage_close(&stage);
	target_close(&target);
}

static void a_client_that_goes_before_its_header_is_let_go(void **state)
{
	struct usp_relay_params params = patient_params(false);

	(void)state;
	params.proxy_accept = true;
	for (unsigned i = 0; i < 4; i++) {
		struct target target;
		struct stage stage;
		int client;

		target_open(&target, false);
		stage_open(&stage, &params, i & 1, 1, &target);
		client = stage_connect(&stage);
		assert_int_equal(send(client, "PROXY TCP4", 10, MSG_NOSIGNAL), 10);
		AWAIT(stage_status(&stage).nr_connections == 1);
		if (i & 2)
			net_reset(client);
		else
			close(client);
		AWAIT(stage_status(&stage).nr_connections == 0);
		assert_int_equal(stage_status(&stage).nr_unserved, 1);
		stage_close(&stage);
		target_close(&target);
	}
}

/* --- Keepalive ------------------------------------------------------------------------------------------- */

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* The relay's sockets are in this process: those that are connected to the port of a peer. */
static int relay_end_of(int peer_fd)
{
	struct sockaddr_in own, peer;
	socklen_t len = sizeof(own);

	assert_int_equal(getsockname(peer_fd, (struct sockaddr *)&own, &len), 0);
	for (int fd = 3; fd < 256; fd++) {
		len = sizeof(peer);
		if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
		    peer.sin_port == own.sin_port && fd != peer_fd)
			return fd;
	}
	return -1;
}

static void assert_keepalive(const struct usp_relay_params *params, int is_on, int idle_s, int interval_s, int probes,
			     int user_ms)
{
	struct target target;
	struct stage stage;
	struct pair pair;

	target_open(&target, false);
	stage_open(&stage, params, false, 1, &target);
	pair_open(&pair, &stage, &target);
	pair_greet(&pair);
	for (unsigned i = 0; i < 2; i++) {
		int fd = relay_end_of(i ? pair.target : pair.client);

		assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), is_on);
		if (is_on) {
			assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle_s);
			assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), interval_s);
			assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), probes);
		}
		assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), user_ms);
	}
	pair_close(&pair);
	stage_close(&stage);
	target_close(&target);
}

static void both_sides_are_asked_whether_they_are_there(void **state)
{
	struct usp_relay_params params = {.size = sizeof(params)};

	(void)state;
	assert_keepalive(&params, 1, 60, 10, 6, 0);
	params.keepalive_ns = 1500 * STAGE_MS;
	params.keepalive_interval_ns = 3 * STAGE_S;
	params.keepalive_probes = 4;
	params.user_timeout_ns = 7 * STAGE_S + 1;
	assert_keepalive(&params, 1, 2, 3, 4, 7001);
	params.no_keepalive = true;
	assert_keepalive(&params, 0, 0, 0, 0, 7001);
}

/* What the relay does to a listener that was handed to it, and that has these options already. */
static void assert_passed(const struct usp_relay_params *params, int was_on, int is_on, int idle_s)
{
	struct usp_relay *relay;
	unsigned port;
	int fd = net_bound(SOCK_STREAM, &port), own_s = 77;

	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &was_on, sizeof(was_on)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &own_s, sizeof(own_s)), 0);
	assert_int_equal(usp_relay_new(params, &relay), 0);
	assert_int_equal(usp_relay_listen_fd(relay, fd), 0);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), is_on);
	assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle_s);
	usp_relay_free(relay);
}

static void what_was_chosen_for_a_passed_listener_stays_unless_more_is_asked_for(void **state)
{
	const struct usp_relay_params plain = {.size = sizeof(plain)};
	const struct usp_relay_params chosen = {.size = sizeof(chosen), .keepalive_ns = 5 * STAGE_S};
	const struct usp_relay_params off = {.size = sizeof(off), .no_keepalive = true};

	(void)state;
	assert_passed(&plain, 1, 1, 77);
	assert_passed(&plain, 0, 1, 60);
	assert_passed(&chosen, 1, 1, 5);
	assert_passed(&off, 0, 0, 77);
	assert_passed(&off, 1, 1, 77);
}

static void times_that_the_kernel_does_not_take_are_refused(void **state)
{
	const struct usp_relay_params wrong[] = {
		{.size = sizeof(wrong[0]), .keepalive_ns = 32768 * STAGE_S},
		{.size = sizeof(wrong[0]), .keepalive_interval_ns = 32767 * STAGE_S + 1},
		{.size = sizeof(wrong[0]), .keepalive_probes = 128},
		{.size = sizeof(wrong[0]), .user_timeout_ns = (uint64_t)1 << 62},
	};
	struct usp_relay *relay;

	(void)state;
	for (unsigned i = 0; i < usp_array_len(wrong); i++)
		assert_int_equal(usp_relay_new(&wrong[i], &relay), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_client_that_breaks_while_its_target_is_tried_is_let_go),
		CASE(a_client_that_ends_its_side_while_its_target_is_tried_is_served),
		CASE(a_unix_client_that_said_something_and_closed_is_heard),
		CASE(a_client_that_breaks_while_descriptors_are_short_is_let_go),
		CASE(a_client_that_goes_before_its_header_is_let_go),
		CASE(both_sides_are_asked_whether_they_are_there),
		CASE(what_was_chosen_for_a_passed_listener_stays_unless_more_is_asked_for),
		CASE(times_that_the_kernel_does_not_take_are_refused),
	};

	return cmocka_run_group_tests_name("relay_gone", tests, stage_open_folder, stage_close_folder);
}
