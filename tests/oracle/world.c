/* SPDX-License-Identifier: MIT */
/* world - opening what a script speaks of, doing its steps, and looking at what they did. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define SETTLE_NS 2000000000 /* more than the time for which the kernel holds back the tail of a stream */
#define FILE_MAX 100000
#define VMSPLICE_SEGS_MAX 1100

/* --- The objects --------------------------------------------------------------------------------------------------- */

static const struct object_kind kinds[] = {
	{.letter = 'A', .type = OBJECT_PIPE},
	{.letter = 'B', .type = OBJECT_PIPE},
	{.letter = 'C', .type = OBJECT_PIPE},
	{.letter = 'D', .type = OBJECT_PIPE},
	{.letter = 'F', .type = OBJECT_FILE, .open_flags = O_RDWR, .len = FILE_MAX},
	{.letter = 'G', .type = OBJECT_FILE, .open_flags = O_RDWR},
	{.letter = 'H', .type = OBJECT_FILE, .open_flags = O_RDWR | O_APPEND, .len = 5000},
	{.letter = 'I', .type = OBJECT_FILE, .open_flags = O_RDONLY, .len = 5000},
	{.letter = 'J', .type = OBJECT_FILE, .open_flags = O_WRONLY, .len = 5000},
	{.letter = 'K', .type = OBJECT_FILE, .open_flags = O_RDWR, .len = 5000, .is_sealed = true},
	{.letter = 'O', .type = OBJECT_FILE, .open_flags = O_RDWR, .len = 20000, .is_hole = true},
	{.letter = 'N', .type = OBJECT_PATH, .open_flags = O_RDWR, .path = "/dev/null"},
	{.letter = 'Z', .type = OBJECT_PATH, .open_flags = O_RDWR, .path = "/dev/zero"},
	{.letter = '0', .type = OBJECT_PATH, .open_flags = O_RDWR, .path = "/dev/full"},
	{.letter = '1', .type = OBJECT_PATH, .open_flags = O_RDONLY, .path = "/proc/version"},
	{.letter = '2', .type = OBJECT_PATH, .open_flags = O_RDONLY, .path = "/proc/sys/kernel/ostype"},
	{.letter = '3', .type = OBJECT_PATH, .open_flags = O_RDONLY, .path = "/proc/self/limits"},
	{.letter = '4', .type = OBJECT_FIFO, .open_flags = O_RDWR},
	{.letter = 'U', .peer = 'V', .type = OBJECT_UNIX, .open_flags = O_RDWR},
	{.letter = 'V', .peer = 'U', .type = OBJECT_PEER},
	{.letter = 'T', .peer = 'W', .type = OBJECT_TCP, .open_flags = O_RDWR},
	{.letter = 'W', .peer = 'T', .type = OBJECT_PEER},
	{.letter = 'X', .peer = 'Y', .type = OBJECT_DGRAM, .open_flags = O_RDWR},
	{.letter = 'Y', .peer = 'X', .type = OBJECT_PEER},
	{.letter = 'Q', .peer = 'R', .type = OBJECT_SEQPACKET, .open_flags = O_RDWR},
	{.letter = 'R', .peer = 'Q', .type = OBJECT_PEER},
	{.letter = 'E', .peer = 'L', .type = OBJECT_UDP, .open_flags = O_RDWR},
	{.letter = 'L', .peer = 'E', .type = OBJECT_PEER},
	{.letter = 'S', .type = OBJECT_LONELY, .open_flags = O_RDWR},
	{.letter = 'P', .peer = 'M', .type = OBJECT_TTY, .open_flags = O_RDWR},
	{.letter = 'M', .peer = 'P', .type = OBJECT_PEER},
};

static const struct object_kind *kind_of(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i].letter == letter)
			return &kinds[i];
	}
	fail_msg("no object '%c'", letter);
	return NULL;
}

/* The same bytes in both worlds; write-only and read-only files are a second opening of the same object. */
static int open_file(struct object *object, const struct object_kind *kind)
{
	static unsigned char bytes[FILE_MAX];
	char path[64];
	int fd = memfd_create("oracle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0 && kind->len <= FILE_MAX);
	if (!bytes[1])
		pattern_fill(bytes, 1000, FILE_MAX);
	if (kind->is_hole)
		assert_int_equal(ftruncate(fd, (off_t)kind->len), 0);
	else
		assert_int_equal(write(fd, bytes, kind->len), kind->len);
	if (kind->is_sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	object->spy_fd = fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, kind->open_flags | O_CLOEXEC);
}

static int open_tcp_pair(int *ret_peer)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(address);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(*ret_peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	return fd;
}

/* Each connected to the other one. */
static int open_udp_pair(int *ret_peer)
{
	struct sockaddr_in addresses[2];
	int fds[2];

	for (unsigned i = 0; i < 2; i++) {
		socklen_t len = sizeof(addresses[i]);

		addresses[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
		fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&addresses[i], len), 0);
		assert_int_equal(getsockname(fds[i], (struct sockaddr *)&addresses[i], &len), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(connect(fds[i], (struct sockaddr *)&addresses[!i], sizeof(addresses[0])), 0);
	*ret_peer = fds[1];
	return fds[0];
}

static int open_unix_pair(int type, int *ret_peer)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
	*ret_peer = fds[1];
	return fds[0];
}

static int open_terminal(int *ret_master)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios raw;

	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	*ret_master = master;
	return slave;
}

/* By its name, which is gone at once. */
static int open_fifo(void)
{
	char dir[] = "/tmp/oracle-XXXXXX", path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	unlink(path);
	rmdir(dir);
	return fd;
}

/* A descriptor of the kind, and of its peer where it has one. */
static int open_kind(struct object *object, const struct object_kind *kind, int *ret_peer)
{
	/* clang-format off */
	switch (kind->type) {
	case OBJECT_FILE: return open_file(object, kind);
	case OBJECT_PATH: return open(kind->path, kind->open_flags | O_CLOEXEC);
	case OBJECT_FIFO: return open_fifo();
	case OBJECT_UNIX: return open_unix_pair(SOCK_STREAM, ret_peer);
	case OBJECT_TCP: return open_tcp_pair(ret_peer);
	case OBJECT_DGRAM: return open_unix_pair(SOCK_DGRAM, ret_peer);
	case OBJECT_SEQPACKET: return open_unix_pair(SOCK_SEQPACKET, ret_peer);
	case OBJECT_UDP: return open_udp_pair(ret_peer);
	case OBJECT_LONELY: return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case OBJECT_TTY: return open_terminal(ret_peer);
	default: return -1;
	}
	/* clang-format on */
}

static void object_init(struct object *object, const struct object_kind *kind)
{
	*object = (struct object){.kind = kind, .spy_fd = -1};
	for (unsigned i = 0; i < 2; i++)
		object->end[i].fd = object->held[i].fd = -1;
}

static void world_open_object(struct world *world, char letter)
{
	const struct object_kind *kind = kind_of(letter);
	struct object *object = &world->objects[(int)letter];
	int fd, peer_fd = -1;

	if (object->kind)
		return;
	if (kind->type == OBJECT_PEER) {
		world_open_object(world, kind->peer);
		return;
	}
	object_init(object, kind);
	if (kind->type == OBJECT_PIPE) {
		world->backend->open_pipe(object->end);
		return;
	}
	fd = open_kind(object, kind, &peer_fd);
	assert_true(fd >= 0);
	assert_true(world->backend->adopt(&object->end[0], fd, kind->open_flags));
	if (kind->type >= OBJECT_UNIX)
		assert_int_equal(world->backend->set_nonblock(&object->end[0], true), 0);
	if (!kind->peer)
		return;
	object_init(&world->objects[(int)kind->peer], kind_of(kind->peer));
	world->objects[(int)kind->peer].end[0] = (struct handle){.fd = peer_fd};
	assert_int_equal(fcntl(peer_fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
}

void world_open(struct world *world, const struct backend *backend, const char *letters)
{
	*world = (struct world){.backend = backend};
	for (; *letters; letters++)
		world_open_object(world, *letters);
}

void world_close(struct world *world)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct object *object = &world->objects[(int)kinds[i].letter];

		if (!object->kind)
			continue;
		for (unsigned end = 0; end < 2; end++) {
			world->backend->close(&object->end[end]);
			world->backend->close(&object->held[end]);
		}
		if (object->spy_fd >= 0)
			close(object->spy_fd);
	}
}

/* --- Steps --------------------------------------------------------------------------------------------------------- */

static bool handle_is_open(const struct handle *handle)
{
	return handle->fd >= 0 || handle->file;
}

static struct handle *object_writer(struct object *object)
{
	return &object->end[object->kind->type == OBJECT_PIPE];
}

/* The end that a step on one object uses. */
static struct handle *step_end(struct object *object, const struct step *step)
{
	if (strchr("wqvVgpkofy", step->op))
		return object_writer(object);
	if (step->op == 'D')
		return &object->end[step->len & 1];
	if (step->op == 'L')
		return &object->held[step->len & 1];
	return &object->end[0];
}

bool world_can(struct world *world, const struct step *step)
{
	struct object *object = &world->objects[(int)step->from];

	if (strchr("ln", step->op))
		return true;
	if (!handle_is_open(step_end(object, step)))
		return false;
	if (step->to && !handle_is_open(object_writer(&world->objects[(int)step->to])))
		return false;
	if (step->op == 'k' && step->len == 0 && object->kind->type == OBJECT_PEER)
		return false;
	return !strchr("wriqvub", step->op) || step->len < WORLD_BYTES_MAX || (ssize_t)step->len < 0;
}

static ssize_t run_vmsplice(struct world *world, const struct step *step, const struct handle *end, unsigned char *base)
{
	struct iovec iov[VMSPLICE_SEGS_MAX] = {{.iov_base = base + (step->has_off_in ? step->off_in : 0)}};

	iov[0].iov_len = step->len;
	if (step->op != 'V')
		return world->backend->vmsplice(end, iov, 1, step->flags);
	for (size_t i = 0; i < step->len; i++)
		iov[i] = (struct iovec){.iov_base = base + i, .iov_len = 1};
	return world->backend->vmsplice(end, iov, (unsigned)step->len, step->flags);
}

static ssize_t run_splice(struct world *world, struct step *step, const struct handle *in, const struct handle *out)
{
	return world->backend->splice(in, step->has_off_in ? &step->off_in : NULL, out,
				      step->has_off_out ? &step->off_out : NULL, step->len, step->flags);
}

static ssize_t run_until_blocked(struct world *world, const struct step *step, const struct handle *end,
				 unsigned char *bytes)
{
	uint64_t limit = world_now_ns() + SETTLE_NS;
	bool is_full;
	ssize_t ret;

	if (step->op == 'c') {
		while (world->backend->read(end, bytes, WORLD_BYTES_MAX) > 0)
			;
		return 0;
	}
	do { /* asked before the write, because what arrives behind it makes room */
		is_full = !tcp_is_under_way(end->file ? usp_file_fd(end->file) : end->fd) || world_now_ns() > limit;
		ret = world->backend->write(end, bytes, PAGE);
	} while (ret > 0 || !is_full);
	return 0;
}

/* A held end is a second reference: closing the first must not be seen. */
static ssize_t run_hold(struct world *world, const struct step *step, struct object *object)
{
	struct handle *held = &object->held[step->len & 1];

	world->backend->close(held);
	if (step->op == 'D')
		*held = world->backend->hold(&object->end[step->len & 1]);
	return 0;
}

static ssize_t set_timeouts(const struct handle *end, size_t ms)
{
	const struct timeval value = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
	int fd = end->file ? usp_file_fd(end->file) : end->fd;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof(value)) < 0)
		return -errno;
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof(value)) < 0 ? -errno : 0;
}

ssize_t world_run(struct world *world, struct step *step, unsigned char *bytes, unsigned char *constant)
{
	const struct backend *backend = world->backend;
	struct object *object = &world->objects[(int)step->from];
	struct handle *end = step_end(object, step);
	struct handle *out = step->to ? object_writer(&world->objects[(int)step->to]) : NULL;

	/* clang-format off */
	switch (step->op) {
	case 'w': case 'i': return backend->write(end, bytes, step->len);
	case 'r': case 'q': return backend->read(end, bytes, step->len);
	case 's': case 'f': return run_splice(world, step, end, out);
	case 't': return backend->tee(end, out, step->len, step->flags);
	case 'v': case 'V': return run_vmsplice(world, step, end, constant);
	case 'u': return run_vmsplice(world, step, end, bytes);
	case 'd': return backend->sendfile(end, step->has_off_in ? &step->off_in : NULL, out, step->len);
	case 'e': return backend->seek(end, (int64_t)step->len, SEEK_SET);
	case 'z': return backend->set_size(end, step->len);
	case 'g': return backend->get_size(end);
	case 'p': return backend->set_packet(end, step->len);
	case 'j': case 'k': return backend->set_nonblock(end, step->len);
	case 'x': case 'y': backend->close(end); return 0;
	case 'b': return send(end->fd, bytes, step->len, MSG_OOB) < 0 ? -errno : (ssize_t)step->len;
	case 'm': return set_timeouts(end, step->len);
	case 'h': return shutdown(end->fd, SHUT_WR) < 0 ? -errno : 0;
	case 'o': case 'c': return run_until_blocked(world, step, end, bytes);
	case 'D': case 'L': return run_hold(world, step, object);
	default: return -ENOSYS;
	}
	/* clang-format on */
}

/* --- Arrival ------------------------------------------------------------------------------------------------------- */

/* A step that slept in a call on this object has ended, most likely with what arrived. */
static bool sleeper_took_it(const struct world *world, const struct object *to)
{
	return to->kind->letter == world->sleeper_from && *world->sleeper_is_done;
}

static bool has_arrived(struct world *world, const struct object *from, const struct object *to)
{
	struct pollfd fd = {.fd = to->end[0].fd, .events = POLLIN | POLLRDHUP};

	if (!handle_is_open(&to->end[0]) || from->is_blind || to->is_blind)
		return true;
	if (to->kind->letter == world->sleeper_from && from->sent > to->taken)
		return sleeper_took_it(world, to);
	if (handle_is_open(&from->end[0]))
		return world->backend->bytes(&to->end[0]) == (int64_t)(from->sent - to->taken);
	if (to->end[0].file)
		fd.fd = usp_file_fd(to->end[0].file);
	return poll(&fd, 1, 0) == 0 || fd.revents & (POLLHUP | POLLRDHUP | POLLERR);
}

uint64_t world_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A datagram on the loopback is there when the softirq has run, which most often is at once. */
static void await_datagram(const struct world *world, const struct object *sender)
{
	const struct object *receiver = &world->objects[(int)sender->kind->peer];
	struct pollfd fd = {.events = POLLIN};
	uint64_t end = world_now_ns() + SETTLE_NS;

	if (!receiver->kind || (sender->kind->type != OBJECT_UDP && receiver->kind->type != OBJECT_UDP))
		return;
	fd.fd = receiver->end[0].file ? usp_file_fd(receiver->end[0].file) : receiver->end[0].fd;
	while (handle_is_open(&receiver->end[0]) && !sleeper_took_it(world, receiver) && world_now_ns() < end &&
	       poll(&fd, 1, 10) == 0)
		;
}

static void await_arrival(struct world *world, struct object *object)
{
	struct object *peer = &world->objects[(int)object->kind->peer];
	uint64_t end = world_now_ns() + SETTLE_NS;

	if (object->kind->type != OBJECT_TCP && object->kind->type != OBJECT_TTY && peer->kind->type != OBJECT_TCP &&
	    peer->kind->type != OBJECT_TTY)
		return;
	while ((!has_arrived(world, object, peer) || !has_arrived(world, peer, object)) && world_now_ns() < end)
		sched_yield();
}

void world_settle(struct world *world, const struct step *step, ssize_t moved)
{
	struct object *from = &world->objects[(int)step->from], *to = &world->objects[(int)step->to];

	if (strchr("ln", step->op))
		return;
	if (strchr("ocb", step->op)) {
		from->is_blind = true;
		if (from->kind->peer)
			world->objects[(int)from->kind->peer].is_blind = true;
	}
	if (moved > 0 && strchr("rsd", step->op))
		from->taken += (uint64_t)moved;
	if (moved > 0 && strchr("wb", step->op))
		from->sent += (uint64_t)moved;
	if (moved > 0 && strchr("sd", step->op))
		to->sent += (uint64_t)moved;
	if (step->op == 'w' ? moved >= 0 : moved > 0 && step->to)
		await_datagram(world, step->to ? to : from);
	if (from->kind->peer)
		await_arrival(world, from);
	if (step->to && to->kind->peer)
		await_arrival(world, to);
}

/* --- Looking ------------------------------------------------------------------------------------------------------- */

/* How much a socket takes before it is full depends on how the bytes lie in it, which is nobody's business. */
static unsigned view_bits(enum object_type type, unsigned bits)
{
	return type >= OBJECT_UNIX ? bits & ~(unsigned)(POLLOUT | POLLWRNORM) : bits;
}

void world_look(struct world *world, char letter, bool takes_locks, struct view *ret_view)
{
	struct object *object = &world->objects[(int)letter];
	enum object_type type = object->kind->type;
	struct handle *any = handle_is_open(&object->end[0]) ? &object->end[0] : &object->end[1];
	struct stat st;

	*ret_view = (struct view){.bytes = -1};
	if (!handle_is_open(any) || object->is_blind)
		return;
	if (type == OBJECT_FILE) {
		ret_view->pos = world->backend->seek(any, 0, SEEK_CUR);
		ret_view->len = fstat(object->spy_fd, &st) == 0 ? st.st_size : -errno;
	}
	if (type == OBJECT_FILE || type == OBJECT_PATH)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (handle_is_open(&object->end[i]))
			ret_view->bits[i] = view_bits(type, world->backend->poll(&object->end[i]));
	}
	if (type == OBJECT_PIPE && takes_locks)
		ret_view->capacity = world->backend->get_size(any);
	if (takes_locks && type != OBJECT_LONELY)
		ret_view->bytes = world->backend->bytes(any);
}
