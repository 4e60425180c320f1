/* SPDX-License-Identifier: MIT */
/* test_relay_broken - one side of a relayed connection breaks: what it had said before arrives, and only then the other is reset. */
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "base/compiler.h"
#include "stage.h"

#define NR_ROUNDS 12 /* of what two threads may do in this or that order */
#define UPLOAD_BYTES ((size_t)24 << 20)
#define ANSWER_BYTES ((size_t)100 << 10)
#define LARGE_BYTES ((size_t)3 << 20)

/* Every way in which a relay carries bytes. */
static const struct way {
	const char *name;
	enum usp_lane_choice lane;
	bool no_uring;
} ways[] = {
	{"auto", USP_LANE_AUTO, false},
	{"auto, no ring", USP_LANE_AUTO, true},
	{"kernel", USP_LANE_KERNEL, true},
	{"user", USP_LANE_USER, true},
};

struct scene {
	struct stage stage;
	struct target target;
	bool is_unix_client, is_unix_target;
};

static void scene_open(struct scene *scene, const struct way *way)
{
	const struct usp_relay_params params = {.size = sizeof(params), .lane = way->lane, .no_uring = way->no_uring};

	target_open(&scene->target, scene->is_unix_target);
	stage_open(&scene->stage, &params, scene->is_unix_client, 1, &scene->target);
}

static void scene_close(struct scene *scene)
{
	stage_close(&scene->stage);
	target_close(&scene->target);
}

/* Each way and each combination of sockets. */
static void each_scene(void (*run)(struct scene *scene))
{
	for (unsigned i = 0; i < 4 * usp_array_len(ways); i++) {
		const struct way *way = &ways[i / 4];
		struct scene scene = {.is_unix_client = i & 1, .is_unix_target = i & 2};

		print_message("# %s, %s to %s\n", way->name, i & 1 ? "UNIX" : "TCP", i & 2 ? "UNIX" : "TCP");
		scene_open(&scene, way);
		run(&scene);
		AWAIT(stage_status(&scene.stage).nr_connections == 0);
		scene_close(&scene);
	}
}

static void assert_all_counted(const struct scene *scene, unsigned nr_reset)
{
	struct usp_relay_status status;

	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	status = stage_status(&scene->stage);
	assert_int_equal(status.nr_reset, nr_reset);
	for (unsigned direction = 0; direction < 2; direction++) {
		const uint64_t *in = status.hops[direction][0].bytes;
		uint64_t taken = in[USP_BY_REFERENCE] + in[USP_COPIED] + in[USP_UNKNOWN];

		assert_true(taken >= status.delivered[direction]);
		status.stranded -= taken - status.delivered[direction];
	}
	assert_int_equal(status.stranded, 0);
}

/* --- A client that sends all before it reads ------------------------------------------------------------ */

struct pusher {
	struct worker worker;
	int fd;
	size_t answer_len;
	int last; /* 0: there was an end behind the answer; ECONNRESET, which a send may have been told */
};

static ssize_t pusher_run(void *arg)
{
	struct pusher *pusher = arg;
	unsigned char bytes[64 << 10] = {0};
	ssize_t ret = 1;

	for (size_t len = 0; len < UPLOAD_BYTES && ret > 0; len += sizeof(bytes))
		ret = send(pusher->fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
	pusher->last = ret < 0 && errno == ECONNRESET ? ECONNRESET : 0;
	while ((ret = recv(pusher->fd, bytes, sizeof(bytes), 0)) > 0) {
		if (!pattern_is(bytes, pusher->answer_len, (size_t)ret))
			return -EIO;
		pusher->answer_len += (size_t)ret;
	}
	if (ret < 0)
		pusher->last = errno;
	return 0;
}

static void send_pattern(int fd, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	pattern_fill(bytes, 0, len);
	for (size_t done = 0; done < len;) {
		ssize_t ret = send(fd, bytes + done, len - done, MSG_NOSIGNAL);

		assert_true(ret > 0);
		done += (size_t)ret;
	}
	free(bytes);
}

/* What is not acknowledged is lost when its sender closes with something unread. */
static void await_acknowledged(int fd)
{
	int left = 0;

	AWAIT(ioctl(fd, SIOCOUTQ, &left) == 0 && left == 0);
}

static void await_input(int fd)
{
	struct pollfd input = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&input, 1, -1), 1);
}

/* The target has read a byte of the upload, answers, and closes: with or without an end before. */
static void answer_early(struct scene *scene, size_t len, bool has_end)
{
	struct pusher pusher = {.answer_len = 0};
	struct pair pair;

	pair_open(&pair, &scene->stage, &scene->target);
	pusher.fd = pair.client;
	worker_start(&pusher.worker, pusher_run, &pusher);
	await_input(pair.target);
	send_pattern(pair.target, len);
	if (!scene->is_unix_target)
		await_acknowledged(pair.target);
	if (has_end)
		shutdown(pair.target, SHUT_WR);
	close(pair.target);
	assert_int_equal(worker_join(&pusher.worker), 0);
	assert_int_equal(pusher.answer_len, len);
	/* A UNIX client cannot be reset; and the end of a UNIX target that left something unread may come as an error. */
	if (!has_end && !scene->is_unix_client)
		assert_int_equal(pusher.last, ECONNRESET);
	if (has_end && !scene->is_unix_target)
		assert_int_equal(pusher.last, 0);
	close(pair.client);
}

static void answer_and_close(struct scene *scene)
{
	for (unsigned i = 0; i < NR_ROUNDS; i++)
		answer_early(scene, ANSWER_BYTES, false);
	assert_all_counted(scene, NR_ROUNDS);
}

static void an_early_answer_arrives_before_the_reset(void **state)
{
	(void)state;
	each_scene(answer_and_close);
}

static void answer_end_and_close(struct scene *scene)
{
	for (unsigned i = 0; i < NR_ROUNDS; i++)
		answer_early(scene, ANSWER_BYTES, true);
	assert_all_counted(scene, NR_ROUNDS);
}

static void an_early_answer_that_has_an_end_has_one_for_the_client(void **state)
{
	(void)state;
	each_scene(answer_end_and_close);
}

/* --- Clients that break --------------------------------------------------------------------------------- */

/* The client sends a lot, leaves an answer unread, and closes: the target takes it late. */
static void client_leaves(struct scene *scene)
{
	struct pair pair;
	int nr_unread = 0;

	pair_open(&pair, &scene->stage, &scene->target);
	pass_bytes(pair.client, pair.target, 0, 100);
	assert_int_equal(send(pair.target, "unread", 6, MSG_NOSIGNAL), 6);
	AWAIT(ioctl(pair.client, FIONREAD, &nr_unread) == 0 && nr_unread == 6);
	send_pattern(pair.client, ANSWER_BYTES);
	if (!scene->is_unix_client)
		await_acknowledged(pair.client);
	close(pair.client);
	net_take(pair.target, 0, ANSWER_BYTES);
	if (scene->is_unix_target)
		take_end(pair.target);
	else
		take_reset(pair.target);
	close(pair.target);
}

static void leave_with_an_answer_unread(struct scene *scene)
{
	for (unsigned i = 0; i < NR_ROUNDS; i++)
		client_leaves(scene);
	assert_all_counted(scene, NR_ROUNDS);
}

static void what_a_client_sent_before_it_broke_arrives_before_the_reset(void **state)
{
	(void)state;
	each_scene(leave_with_an_answer_unread);
}

/* --- What is told to one direction, and is true for both ------------------------------------------------- */

/* Both directions are busy when the target resets: the client may get what it will, and never an end. */
static void reset_while_busy(struct scene *scene)
{
	for (unsigned i = 0; i < 2 * NR_ROUNDS && !scene->is_unix_target && !scene->is_unix_client; i++) {
		struct pusher pusher = {.answer_len = 0};
		struct pair pair;

		pair_open(&pair, &scene->stage, &scene->target);
		pusher.fd = pair.client;
		worker_start(&pusher.worker, pusher_run, &pusher);
		await_input(pair.target);
		send_pattern(pair.target, 1000 * i);
		net_reset(pair.target);
		assert_int_equal(worker_join(&pusher.worker), 0);
		assert_int_equal(pusher.last, ECONNRESET);
		close(pair.client);
	}
}

static void a_reset_is_never_taken_for_an_end(void **state)
{
	(void)state;
	each_scene(reset_while_busy);
}

/* The target has ended and breaks later: the client, who sends nothing, hears of it. */
static void break_behind_an_end(struct scene *scene)
{
	struct pair pair;

	if (scene->is_unix_target || scene->is_unix_client)
		return;
	pair_open(&pair, &scene->stage, &scene->target);
	pass_bytes(pair.client, pair.target, 0, 100);
	shutdown(pair.target, SHUT_WR);
	take_end(pair.client);
	net_reset(pair.target);
	while (send(pair.client, "x", 1, MSG_NOSIGNAL) == 1)
		poll(NULL, 0, 10);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	close(pair.client);
}

static void a_reset_behind_an_end_reaches_who_still_sends(void **state)
{
	(void)state;
	each_scene(break_behind_an_end);
}

/* The same, and nothing moves any more. */
static void break_in_silence(struct scene *scene)
{
	struct pair pair;

	if (scene->is_unix_target)
		return;
	pair_open(&pair, &scene->stage, &scene->target);
	pass_bytes(pair.client, pair.target, 0, 100);
	shutdown(pair.target, SHUT_WR);
	take_end(pair.client);
	net_reset(pair.target);
	AWAIT(stage_status(&scene->stage).nr_connections == 0);
	assert_all_counted(scene, 1);
	close(pair.client);
}

static void a_reset_behind_an_end_ends_a_connection_on_which_nothing_moves(void **state)
{
	(void)state;
	each_scene(break_in_silence);
}

/* --- Sides that live on ---------------------------------------------------------------------------------- */

/* A UNIX target takes no more, and has a lot to say after that. */
static void shut_reading(struct scene *scene)
{
	struct pusher pusher = {.answer_len = 0};
	unsigned char bytes[4096];
	struct pair pair;

	if (!scene->is_unix_target)
		return;
	pair_open(&pair, &scene->stage, &scene->target);
	pusher.fd = pair.client;
	worker_start(&pusher.worker, pusher_run, &pusher);
	await_input(pair.target);
	shutdown(pair.target, SHUT_RD);
	while (recv(pair.target, &bytes, sizeof(bytes), 0) > 0) /* no event tells of it while the queue is full */
		;
	AWAIT(stage_status(&scene->stage).nr_reset == 1);
	send_pattern(pair.target, LARGE_BYTES);
	shutdown(pair.target, SHUT_WR);
	assert_int_equal(worker_join(&pusher.worker), 0);
	assert_int_equal(pusher.answer_len, LARGE_BYTES);
	assert_int_equal(pusher.last, 0);
	close(pair.client);
	close(pair.target);
	assert_all_counted(scene, 1);
}

static void a_side_that_shuts_its_reading_goes_on_to_speak(void **state)
{
	(void)state;
	each_scene(shut_reading);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_early_answer_arrives_before_the_reset),
		CASE(an_early_answer_that_has_an_end_has_one_for_the_client),
		CASE(what_a_client_sent_before_it_broke_arrives_before_the_reset),
		CASE(a_reset_is_never_taken_for_an_end),
		CASE(a_reset_behind_an_end_reaches_who_still_sends),
		CASE(a_reset_behind_an_end_ends_a_connection_on_which_nothing_moves),
		CASE(a_side_that_shuts_its_reading_goes_on_to_speak),
	};

	return cmocka_run_group_tests_name("relay_broken", tests, stage_open_folder, stage_close_folder);
}
