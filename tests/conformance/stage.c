/* SPDX-License-Identifier: MIT */
/* stage - a relay that runs in a thread, between clients and targets that belong to the test. */
#include "stage.h"

#define STAGE_BACKLOG 256
#define TALK_CHUNK (64 << 10)
#define JAM_BYTES ((uint64_t)512 << 10) /* more than comes in the time that a relay needs to pass it on */
#define JAM_MS 100

static char stage_folder[] = "/tmp/usplice-relay-XXXXXX";
static unsigned stage_nr_paths;

int stage_open_folder(void **state)
{
	(void)state;
	return mkdtemp(stage_folder) ? 0 : -1;
}

/* Fails if a socket was left in it. */
int stage_close_folder(void **state)
{
	(void)state;
	return rmdir(stage_folder);
}

/* --- Addresses -------------------------------------------------------------------------------------------- */

struct stage_address {
	struct sockaddr_storage storage;
	socklen_t len;
};

static struct stage_address stage_parse(const char *text)
{
	struct stage_address parsed = {.len = sizeof(struct sockaddr_in)};
	struct sockaddr_un *path = (struct sockaddr_un *)&parsed.storage;
	struct sockaddr_in *port = (struct sockaddr_in *)&parsed.storage;

	if (strncmp(text, "unix:", 5) == 0) {
		path->sun_family = AF_UNIX;
		snprintf(path->sun_path, sizeof(path->sun_path), "%s", text + 5);
		parsed.len = sizeof(*path);
		return parsed;
	}
	port->sin_family = AF_INET;
	port->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	port->sin_port = htons((uint16_t)atoi(strrchr(text, ':') + 1));
	return parsed;
}

static void stage_new_path(char text[STAGE_TEXT])
{
	snprintf(text, STAGE_TEXT, "unix:%s/%u", stage_folder, stage_nr_paths++);
}

static int stage_socket(const struct stage_address *address)
{
	int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (address->storage.ss_family == AF_INET)
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
	return fd;
}

static int stage_connect_to(const char *text)
{
	struct stage_address address = stage_parse(text);
	int fd = stage_socket(&address);

	assert_int_equal(connect(fd, (struct sockaddr *)&address.storage, address.len), 0);
	return fd;
}

/* --- Targets ---------------------------------------------------------------------------------------------- */

/* A socket that has an address and does not listen there: nobody else can either. */
static int target_bind(struct target *target)
{
	struct stage_address address = stage_parse(target->text);
	int fd = stage_socket(&address);

	assert_int_equal(bind(fd, (struct sockaddr *)&address.storage, address.len), 0);
	if (address.storage.ss_family == AF_UNIX)
		return fd;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address.storage, &address.len), 0);
	snprintf(target->text, sizeof(target->text), "127.0.0.1:%u",
		 ntohs(((struct sockaddr_in *)&address.storage)->sin_port));
	return fd;
}

static void target_listen(struct target *target, int backlog)
{
	target->listener = target->spare_fd;
	target->spare_fd = -1;
	assert_int_equal(listen(target->listener, backlog), 0);
}

static void target_open_at(struct target *target, bool is_unix)
{
	*target = (struct target){.listener = -1, .text = "127.0.0.1:0"};
	if (is_unix)
		stage_new_path(target->text);
	target->spare_fd = target_bind(target);
}

void target_open_dead(struct target *target)
{
	target_open_at(target, false);
}

void target_revive(struct target *target)
{
	target_listen(target, STAGE_BACKLOG);
}

void target_open(struct target *target, bool is_unix)
{
	target_open_at(target, is_unix);
	target_listen(target, STAGE_BACKLOG);
}

/* A queue for nobody has room for one, and then the kernel ignores who knocks. */
void target_open_jammed(struct target *target)
{
	target_open_at(target, false);
	target_listen(target, 0);
	target->spare_fd = stage_connect_to(target->text);
}

void target_close(struct target *target)
{
	if (target->listener >= 0)
		close(target->listener);
	if (target->spare_fd >= 0)
		close(target->spare_fd);
	if (strncmp(target->text, "unix:", 5) == 0)
		assert_int_equal(unlink(target->text + 5), 0);
}

int target_accept(const struct target *target)
{
	int fd = accept4(target->listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

bool target_is_asked(const struct target *target)
{
	struct pollfd pollfd = {.fd = target->listener, .events = POLLIN};

	return poll(&pollfd, 1, 0) == 1;
}

/* --- The relay --------------------------------------------------------------------------------------------- */

static ssize_t stage_run(void *arg)
{
	struct stage *stage = arg;

	return usp_relay_run(stage->relay);
}

/* At stage->address, which then has the port. */
static void stage_listen(struct stage *stage, const struct usp_relay_params *params, unsigned nr_targets,
			 const struct target *targets)
{
	const char *texts[nr_targets + 1];

	for (unsigned i = 0; i < nr_targets; i++)
		texts[i] = targets[i].text;
	assert_int_equal(usp_relay_new(params, &stage->relay), 0);
	assert_int_equal(usp_relay_listen(stage->relay, stage->address, NULL), 0);
	assert_true(usp_relay_address(stage->relay, 0, stage->address, sizeof(stage->address)) > 0);
	assert_int_equal(usp_relay_set_targets(stage->relay, texts, nr_targets, NULL, NULL), 0);
}

void stage_prepare(struct stage *stage, const struct usp_relay_params *params, unsigned nr_targets,
		   const struct target *targets)
{
	snprintf(stage->address, sizeof(stage->address), "127.0.0.1:0");
	stage_listen(stage, params, nr_targets, targets);
}

void stage_start(struct stage *stage)
{
	worker_start(&stage->worker, stage_run, stage);
}

void stage_open(struct stage *stage, const struct usp_relay_params *params, bool is_unix, unsigned nr_targets,
		const struct target *targets)
{
	snprintf(stage->address, sizeof(stage->address), "127.0.0.1:0");
	if (is_unix)
		stage_new_path(stage->address);
	stage_listen(stage, params, nr_targets, targets);
	stage_start(stage);
}

void stage_open_for_both(struct stage *stage, const struct usp_relay_params *params, const struct target *target)
{
	char port[STAGE_TEXT];

	snprintf(stage->address, sizeof(stage->address), "[::]:0");
	stage_listen(stage, params, 1, target);
	stage_start(stage);
	snprintf(port, sizeof(port), "%s", strrchr(stage->address, ':'));
	snprintf(stage->address, sizeof(stage->address), "127.0.0.1%.6s", port);
}

void stage_await_end(struct stage *stage)
{
	struct usp_relay_status status = {.size = sizeof(status)};

	assert_int_equal(worker_join(&stage->worker), 0);
	status = stage_status(stage);
	assert_int_equal(status.nr_connections, 0);
	assert_int_equal(status.nr_kernel_flows, 0);
	for (unsigned i = 0; i < status.nr_targets; i++)
		assert_int_equal(stage_target(stage, i).nr_connections, 0);
	usp_relay_free(stage->relay);
}

void stage_close(struct stage *stage)
{
	usp_relay_stop(stage->relay);
	stage_await_end(stage);
}

struct usp_relay_status stage_status(const struct stage *stage)
{
	struct usp_relay_status status = {.size = sizeof(status)};

	usp_relay_status(stage->relay, &status);
	return status;
}

struct usp_relay_target_status stage_target(const struct stage *stage, unsigned index)
{
	struct usp_relay_target_status status = {.size = sizeof(status)};

	assert_int_equal(usp_relay_target_status(stage->relay, index, &status), 0);
	return status;
}

int stage_connect(const struct stage *stage)
{
	return stage_connect_to(stage->address);
}

void stage_connect_fd(const struct stage *stage, int fd)
{
	struct stage_address address = stage_parse(stage->address);

	assert_int_equal(connect(fd, (struct sockaddr *)&address.storage, address.len), 0);
}

/* --- Connections ------------------------------------------------------------------------------------------- */

void pair_open(struct pair *pair, const struct stage *stage, const struct target *target)
{
	pair->client = stage_connect(stage);
	pair->target = target_accept(target);
}

void pair_close(struct pair *pair)
{
	close(pair->client);
	close(pair->target);
}

void pass_bytes(int from, int to, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	pattern_fill(bytes, off, len);
	assert_int_equal(send(from, bytes, len, MSG_NOSIGNAL), len);
	free(bytes);
	net_take(to, off, len);
}

void pair_greet(const struct pair *pair)
{
	pass_bytes(pair->client, pair->target, 11, 100);
	pass_bytes(pair->target, pair->client, 17, 200);
}

void assert_goes_to(const struct stage *stage, const struct target *target)
{
	struct pair pair;

	pair_open(&pair, stage, target);
	pair_greet(&pair);
	pair_close(&pair);
}

void take_end(int fd)
{
	assert_int_equal(recv(fd, &(char){0}, 1, 0), 0);
}

void take_reset(int fd)
{
	assert_int_equal(recv(fd, &(char){0}, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* It is behind, and in all that time it moved nothing. */
static bool stage_is_jammed(const struct stage *stage, unsigned direction, uint64_t len)
{
	uint64_t delivered = stage_status(stage).delivered[direction];

	if (len < delivered + JAM_BYTES)
		return false;
	poll(NULL, 0, JAM_MS);
	return stage_status(stage).delivered[direction] == delivered;
}

size_t stage_jam(const struct stage *stage, int fd, unsigned direction)
{
	uint64_t before = stage_status(stage).delivered[direction];
	unsigned char bytes[PAGE];
	size_t len = 0;

	while (!stage_is_jammed(stage, direction, before + len)) {
		pattern_fill(bytes, len, sizeof(bytes));
		assert_int_equal(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
		len += sizeof(bytes);
	}
	return len;
}

/* --- Talkers ------------------------------------------------------------------------------------------------ */

static void talker_fail(struct talker *talker)
{
	talker->error = errno;
	talker->has_sent = talker->has_taken = true;
}

static void talker_send(struct talker *talker)
{
	unsigned char bytes[TALK_CHUNK];
	size_t left = talker->send_len - talker->nr_sent, len = left < sizeof(bytes) ? left : sizeof(bytes);
	ssize_t ret;

	pattern_fill(bytes, talker->send_off + talker->nr_sent, len);
	ret = len ? send(talker->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	if (ret < 0 && errno != EAGAIN)
		talker_fail(talker);
	talker->nr_sent += ret > 0 ? (size_t)ret : 0;
	if (ret < 0 || talker->nr_sent < talker->send_len)
		return;
	assert_int_equal(shutdown(talker->fd, SHUT_WR), 0);
	talker->has_sent = true;
}

static void talker_take(struct talker *talker)
{
	unsigned char bytes[TALK_CHUNK];
	ssize_t ret = recv(talker->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (ret < 0 && errno != EAGAIN)
		talker_fail(talker);
	if (ret == 0)
		talker->has_taken = true;
	if (ret <= 0)
		return;
	assert_pattern(bytes, talker->take_off + talker->nr_taken, (size_t)ret);
	talker->nr_taken += (size_t)ret;
}

void talk(struct talker *talkers, unsigned nr_talkers)
{
	struct pollfd fds[nr_talkers];
	unsigned nr_left;

	for (;;) {
		nr_left = 0;
		for (unsigned i = 0; i < nr_talkers; i++) {
			struct talker *talker = &talkers[i];
			bool is_done = talker->has_sent && talker->has_taken;

			fds[i] = (struct pollfd){
				.fd = is_done ? -1 : talker->fd,
				.events = (talker->has_sent ? 0 : POLLOUT) | (talker->has_taken ? 0 : POLLIN),
			};
			nr_left += !is_done;
		}
		if (!nr_left)
			return;
		assert_true(poll(fds, nr_talkers, -1) > 0);
		for (unsigned i = 0; i < nr_talkers; i++) {
			if (fds[i].revents & (POLLOUT | POLLERR) && !talkers[i].has_sent)
				talker_send(&talkers[i]);
			if (fds[i].revents & (POLLIN | POLLHUP | POLLERR) && !talkers[i].has_taken)
				talker_take(&talkers[i]);
		}
	}
}
