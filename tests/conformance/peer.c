/* SPDX-License-Identifier: MIT */
/* peer - the two ends of a route that carries the stream. */
#include "peer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PEER_DRAIN_LEN ((size_t)256 << 10)
#define PEER_HELD_BUFFER 4096

/* --- The other side of a stream, in a thread of its own -------------------------------------------------- */

static ssize_t peer_give(struct peer *peer, const void *base, size_t len)
{
	return peer->far_file ? usp_write(peer->far_file, base, len) : write(peer->far_fd, base, len);
}

static ssize_t peer_take(struct peer *peer, void *base, size_t len)
{
	return peer->far_file ? usp_read(peer->far_file, base, len) : read(peer->far_fd, base, len);
}

static void peer_close_far(struct peer *peer)
{
	drop(&peer->far_file);
	if (peer->far_fd >= 0)
		close(peer->far_fd);
	peer->far_fd = -1;
}

/* Only here SIGPIPE is blocked: the library has to see to it by itself. */
static void *peer_feed(void *arg)
{
	struct peer *peer = arg;
	size_t done = 0;
	sigset_t pipe_only;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
	while (done < peer->len) {
		ssize_t ret = peer_give(peer, stream.base + done, peer->len - done);

		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	if (!peer->is_held)
		peer_close_far(peer);
	return NULL;
}

static void *peer_drain(void *arg)
{
	unsigned char *buffer = malloc(PEER_DRAIN_LEN);
	struct peer *peer = arg;
	struct stream_hash hash;
	ssize_t ret;

	stream_hash_begin(&hash);
	while (buffer && (ret = peer_take(peer, buffer, PEER_DRAIN_LEN)) > 0)
		stream_hash_add(&hash, buffer, (size_t)ret);
	peer->nr_arrived = hash.len;
	stream_hash_end(&hash, peer->digest);
	peer_close_far(peer);
	free(buffer);
	return NULL;
}

static void peer_start(struct peer *peer, void *(*run)(void *arg))
{
	assert_int_equal(pthread_create(&peer->thread, NULL, run, peer), 0);
	peer->has_thread = true;
}

static void peer_open_fd(struct peer *peer, int fd, unsigned mode)
{
	assert_true(fd >= 0);
	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, "peer", &peer->file), 0);
}

/* One end of a stream is the pump's and the other one ours. */
static void peer_open_stream(struct peer *peer, int near, int far, unsigned mode)
{
	peer_open_fd(peer, near, mode);
	peer->far_fd = far;
	if (mode == USP_READ)
		peer_start(peer, peer_feed);
	else if (!peer->is_held)
		peer_start(peer, peer_drain);
}

/* --- The kinds ------------------------------------------------------------------------------------------ */

static void tmpfs_open_source(struct peer *peer)
{
	peer_open_fd(peer, stream_reopen(stream.tmpfs_fd, O_RDONLY), USP_READ);
}

static void disk_open_source(struct peer *peer)
{
	peer_open_fd(peer, stream_reopen(stream.disk_fd, O_RDONLY), USP_READ);
}

static void tmpfs_open_sink(struct peer *peer)
{
	peer->far_fd = stream_tmpfs_file();
	peer_open_fd(peer, stream_reopen(peer->far_fd, O_WRONLY), USP_WRITE);
}

static void disk_open_sink(struct peer *peer)
{
	peer->far_fd = stream_disk_file();
	peer_open_fd(peer, stream_reopen(peer->far_fd, O_WRONLY), USP_WRITE);
}

static void fifo_open_source(struct peer *peer)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	peer_open_stream(peer, fds[0], fds[1], USP_READ);
}

static void fifo_open_sink(struct peer *peer)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	peer_open_stream(peer, fds[1], fds[0], USP_WRITE);
}

static void tcp_open(struct peer *peer, unsigned mode)
{
	const int buffer = PEER_HELD_BUFFER;
	int fds[2];

	net_tcp_pair(fds, peer->is_held ? buffer : 0);
	if (peer->is_held)
		assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)), 0);
	peer_open_stream(peer, fds[0], fds[1], mode);
}

static void tcp_open_source(struct peer *peer)
{
	tcp_open(peer, USP_READ);
}

static void tcp_open_sink(struct peer *peer)
{
	tcp_open(peer, USP_WRITE);
}

static void unix_open(struct peer *peer, unsigned mode)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer_open_stream(peer, fds[0], fds[1], mode);
}

static void unix_open_source(struct peer *peer)
{
	unix_open(peer, USP_READ);
}

static void unix_open_sink(struct peer *peer)
{
	unix_open(peer, USP_WRITE);
}

static void memory_open_source(struct peer *peer)
{
	assert_int_equal(usp_open_memory((void *)stream.base, peer->len, USP_READ, NULL, NULL, &peer->file), 0);
}

static void memory_open_sink(struct peer *peer)
{
	void *base = mmap(NULL, peer->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(base != MAP_FAILED);
	peer->memory = base;
	assert_int_equal(usp_open_memory(base, peer->len, USP_WRITE, NULL, NULL, &peer->file), 0);
}

static void pipe_open_source(struct peer *peer)
{
	struct usp_file *ends[2];

	assert_int_equal(usp_pipe_open(NULL, ends), 0);
	peer->file = ends[0];
	peer->far_file = ends[1];
	peer_start(peer, peer_feed);
}

static void pipe_open_sink(struct peer *peer)
{
	const struct usp_pipe_params small = {.size = sizeof(small), .nr_slots = 4, .slot_bytes = PAGE};
	struct usp_file *ends[2];

	assert_int_equal(usp_pipe_open(peer->is_held ? &small : NULL, ends), 0);
	peer->file = ends[1];
	peer->far_file = ends[0];
	if (!peer->is_held)
		peer_start(peer, peer_drain);
}

const struct peer_kind peer_kinds[NR_PEER_KINDS] = {
	[PEER_TMPFS] = {"file on tmpfs", true, tmpfs_open_source, tmpfs_open_sink},
	[PEER_DISK] = {"file on disk", true, disk_open_source, disk_open_sink},
	[PEER_FIFO] = {"OS pipe", true, fifo_open_source, fifo_open_sink},
	[PEER_TCP] = {"TCP", true, tcp_open_source, tcp_open_sink},
	[PEER_UNIX] = {"UNIX", true, unix_open_source, unix_open_sink},
	[PEER_MEMORY] = {"memory", false, memory_open_source, memory_open_sink},
	[PEER_PIPE] = {"usplice pipe", false, pipe_open_source, pipe_open_sink},
};

/* --- Life ------------------------------------------------------------------------------------------------ */

void peer_open_source(struct peer *peer, const struct peer_kind *kind, size_t len)
{
	*peer = (struct peer){.len = len, .far_fd = -1};
	kind->open_source(peer);
}

void peer_open_sink(struct peer *peer, const struct peer_kind *kind, size_t len)
{
	*peer = (struct peer){.len = len, .far_fd = -1};
	kind->open_sink(peer);
}

void peer_open_held_source(struct peer *peer, const struct peer_kind *kind, size_t len)
{
	*peer = (struct peer){.len = len, .far_fd = -1, .is_held = true};
	kind->open_source(peer);
}

/* How much an OS pipe holds is asked, how much a connection holds nobody knows. */
size_t peer_open_held_sink(struct peer *peer, const struct peer_kind *kind, size_t len)
{
	int room;

	*peer = (struct peer){.len = len, .far_fd = -1, .is_held = true};
	kind->open_sink(peer);
	room = peer->far_file ? (int)usp_pipe_capacity(peer->far_file) : fcntl(peer->far_fd, F_GETPIPE_SZ);
	return room > 0 ? (size_t)room : 0;
}

void peer_let_go(struct peer *peer)
{
	peer->is_held = false;
	peer_start(peer, peer_drain);
}

void peer_die(struct peer *peer)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (peer->far_fd >= 0)
		setsockopt(peer->far_fd, SOL_SOCKET, SO_LINGER, &linger,
			   sizeof(linger)); /* refused by what is no socket */
	peer_close_far(peer);
}

static void peer_close_file(struct peer *peer)
{
	drop(&peer->file);
	if (peer->has_thread)
		pthread_join(peer->thread, NULL);
	peer->has_thread = false;
}

void peer_close_source(struct peer *peer)
{
	peer_close_file(peer);
	peer_close_far(peer);
}

/* Memory does not say how much was written, but no stream ends with a zero. */
static size_t peer_memory_len(const struct peer *peer)
{
	size_t len = peer->len;

	while (len && !peer->memory[len - 1])
		len--;
	return len;
}

static void peer_hash_bytes(struct peer *peer, const void *base, size_t len)
{
	struct stream_hash hash;

	stream_hash_begin(&hash);
	stream_hash_add(&hash, base, len);
	stream_hash_end(&hash, peer->digest);
	peer->nr_arrived = len;
}

/* What has come to a file or to memory is looked at when it is all there. */
static void peer_hash_storage(struct peer *peer)
{
	struct stat st;
	void *base;

	if (peer->memory) {
		peer_hash_bytes(peer, peer->memory, peer_memory_len(peer));
		munmap(peer->memory, peer->len);
		return;
	}
	assert_int_equal(fstat(peer->far_fd, &st), 0);
	if (st.st_size == 0)
		return;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, peer->far_fd, 0);
	assert_true(base != MAP_FAILED);
	peer_hash_bytes(peer, base, (size_t)st.st_size);
	munmap(base, (size_t)st.st_size);
}

/* Before its far end is closed: the bytes have been counted and hashed. */
static void peer_end_sink(struct peer *peer)
{
	bool has_storage = !peer->has_thread && !peer->is_held;

	if (peer->is_held)
		peer_let_go(peer);
	peer_close_file(peer);
	if (has_storage)
		peer_hash_storage(peer);
	peer_close_far(peer);
}

bool peer_close_sink(struct peer *peer, size_t len)
{
	peer_end_sink(peer);
	if (peer->nr_arrived == len && (len == 0 || stream_has_digest(len, peer->digest)))
		return true;
	print_error("%zu bytes arrived, %zu were sent%s\n", peer->nr_arrived, len,
		    peer->nr_arrived == len ? ", and they differ" : "");
	return false;
}

bool peer_close_cut_sink(struct peer *peer, size_t len, size_t sent)
{
	peer_end_sink(peer);
	return peer->nr_arrived >= len && peer->nr_arrived <= sent &&
	       (peer->nr_arrived == 0 || stream_has_digest(peer->nr_arrived, peer->digest));
}

void peer_close_dead_sink(struct peer *peer)
{
	peer_close_file(peer);
}
