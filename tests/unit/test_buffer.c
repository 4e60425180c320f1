/* SPDX-License-Identifier: MIT */
/* test_buffer - a stage that reads ahead: its marks, its memory, its file, its errors and its ends. */
#include "late.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <usplice/transform.h>

#include "base/compiler.h"
#include "splice/ahead.h"
#include "transforms/buffer.h"

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)
#define GOT_MAX (16 * MIB)

static unsigned char got[GOT_MAX];

static struct usp_file *open_buffer(const char *spec, struct usp_file *below, int64_t length)
{
	const struct usp_transform_params params = {.size = sizeof(params),
						    .flags = length >= 0 ? USP_TRANSFORM_LENGTH : 0,
						    .length = length >= 0 ? length : 0};
	struct usp_file *stage;

	assert_int_equal(usp_transform_open(spec, usp_file_get(below), &params, &stage, NULL), 0);
	return stage;
}

static struct usp_buffer_status status_of(const struct usp_file *stage)
{
	struct usp_buffer_status status = {.size = sizeof(status)};

	assert_int_equal(usp_buffer_status(stage, &status), 0);
	return status;
}

/* Wait until the buffer holds so many bytes. */
static void await_bytes(const struct usp_file *stage, uint64_t bytes)
{
	while (status_of(stage).bytes != bytes)
		poll(NULL, 0, 1);
}

/* Let the buffer begin, and see that it gives nothing yet. */
static void begin(struct usp_file *stage)
{
	char byte;

	assert_int_equal(usp_file_set_flags(stage, USP_NONBLOCK), 0);
	assert_int_equal(usp_read(stage, &byte, 1), -EAGAIN);
}

/* Read until there is no more for now, at the end, or after an error: that result. */
static ssize_t read_some(struct usp_file *stage, size_t *len)
{
	ssize_t ret;

	while ((ret = usp_read(stage, got + *len, usp_min(GOT_MAX - *len, 64 * KIB + 7))) > 0)
		*len += (size_t)ret;
	return ret;
}

/* A pipe of the system, written at one end, and a file that reads the other one. */
static struct usp_file *open_stream(int *ret_fd)
{
	struct usp_file *file;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, MIB) > 0);
	assert_int_equal(usp_open_fd(fds[0], USP_READ | USP_EXCLUSIVE, "stream", &file), 0);
	*ret_fd = fds[1];
	return file;
}

static void write_pattern(int fd, uint64_t off, size_t len)
{
	unsigned char bytes[4096];

	while (len) {
		size_t part = usp_min(len, sizeof(bytes));

		pattern_fill(bytes, off, part);
		assert_int_equal(write(fd, bytes, part), part);
		off += part;
		len -= part;
	}
}

/* --- Marks --------------------------------------------------------------------------------------------------- */

static void nothing_is_given_before_it_is_filled_to_start(void **state)
{
	size_t len = 0;
	int fd;
	struct usp_file *below = open_stream(&fd), *stage = open_buffer("buffer:1M,start=50%", below, -1);

	(void)state;
	begin(stage);
	write_pattern(fd, 0, 512 * KIB - 1);
	await_bytes(stage, 512 * KIB - 1);
	assert_true(status_of(stage).is_paused);
	assert_int_equal(usp_file_poll(stage), 0);
	assert_int_equal(read_some(stage, &len), -EAGAIN);
	write_pattern(fd, 512 * KIB - 1, 1);
	await_bytes(stage, 512 * KIB);
	assert_int_equal(usp_file_poll(stage), POLLIN);
	assert_int_equal(read_some(stage, &len), -EAGAIN);
	assert_int_equal(len, 512 * KIB);
	assert_pattern(got, 0, len);
	assert_int_equal(status_of(stage).nr_empty, 1);
	write_pattern(fd, len, 1000);
	await_bytes(stage, 1000);
	assert_int_equal(read_some(stage, &len), -EAGAIN); /* it ran empty: until start again */
	close(fd);
	while (usp_file_poll(stage) != POLLIN)
		poll(NULL, 0, 1);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(len, 512 * KIB + 1000);
	assert_pattern(got, 0, len);
	drop(&stage);
	drop(&below);
}

static void it_pauses_at_low(void **state)
{
	int fd;
	struct usp_file *below = open_stream(&fd), *stage = open_buffer("buffer:1M,start=50%,low=25%", below, -1);

	(void)state;
	begin(stage);
	write_pattern(fd, 0, 512 * KIB);
	await_bytes(stage, 512 * KIB);
	assert_int_equal(usp_read(stage, got, 256 * KIB), 256 * KIB);
	assert_int_equal(usp_read(stage, got, 1), -EAGAIN);
	assert_true(status_of(stage).is_paused);
	close(fd);
	drop(&stage);
	drop(&below);
}

static void a_full_buffer_does_not_read_on_before_it_is_down_to_refill(void **state)
{
	size_t len = 0;
	int fd;
	struct usp_file *below = open_stream(&fd), *stage = open_buffer("buffer:256k,start=100%,refill=50%", below, -1);

	(void)state;
	begin(stage);
	write_pattern(fd, 0, 700 * KIB);
	while (!status_of(stage).nr_full)
		poll(NULL, 0, 1);
	assert_int_equal(status_of(stage).bytes, 256 * KIB);
	for (len = 0; len < 128 * KIB - KIB; len += KIB)
		assert_int_equal(usp_read(stage, got + len, KIB), KIB);
	assert_int_equal(status_of(stage).bytes, 129 * KIB); /* the source has more, and is not asked */
	assert_int_equal(usp_read(stage, got + len, KIB), KIB);
	len += KIB;
	await_bytes(stage, 256 * KIB);
	close(fd);
	assert_int_equal(usp_file_set_flags(stage, 0), 0);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(len, 700 * KIB);
	assert_pattern(got, 0, len);
	drop(&stage);
	drop(&below);
}

/* --- Memory -------------------------------------------------------------------------------------------------- */

static void short_reads_take_no_more_memory_than_their_bytes(void **state)
{
	struct usp_usage usage = {.size = sizeof(usage)};
	size_t len = 0;
	int fd;
	struct usp_file *below = open_stream(&fd), *stage = open_buffer("buffer:1M,start=90%", below, -1);

	(void)state;
	begin(stage);
	for (unsigned i = 0; i < 3000; i++) {
		write_pattern(fd, i, 1);
		await_bytes(stage, i + 1);
	}
	usp_trim(&usage);
	assert_true(usage.folio_bytes <= 256 * KIB);
	close(fd);
	assert_int_equal(usp_file_set_flags(stage, 0), 0);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(len, 3000);
	assert_pattern(got, 0, len);
	drop(&stage);
	drop(&below);
}

static void what_is_lent_goes_on_as_it_is_and_small_pieces_are_put_together(void **state)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *end[2], *out[2], *stage;
	struct usp_buf bufs[2], first, seen;

	(void)state;
	open_pipe(end, 16, 0);
	open_pipe(out, 16, 0);
	inject(end[1], folio_buf(0, 4096, 0));
	inject(end[1], folio_buf(4096, 100, 0));
	assert_int_equal(peek_bufs(end[0], bufs, 2), 2);
	first = bufs[0];
	stage = open_buffer("buffer:64k", end[0], -1);
	drop(&end[1]);
	assert_int_equal(usp_splice(stage, NULL, out[1], NULL, 4096, 0), 4096);
	assert_int_equal(peek_bufs(out[0], &seen, 1), 1);
	assert_ptr_equal(seen.store, first.store);
	assert_int_equal(usp_splice(stage, NULL, out[1], NULL, 4096, 0), 100);
	assert_int_equal(usp_splice(stage, NULL, out[1], NULL, 4096, 0), 0);
	take_bytes(out[0], 0, 4196);
	usp_file_hop(stage, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 4096);
	assert_int_equal(hop.bytes[USP_COPIED], 100);
	drop(&stage);
	close_pipe(end);
	close_pipe(out);
}

static void more_memory_than_there_is_is_refused(void **state)
{
	struct usp_file *end[2], *stage;
	const char *why = NULL;

	(void)state;
	open_pipe(end, 16, 0);
	assert_int_equal(usp_transform_open("buffer:1000T", end[0], NULL, &stage, &why), -ENOMEM);
	assert_non_null(why);
	close_pipe(end);
}

/* --- Packets ------------------------------------------------------------------------------------------------- */

/* Two ends of something that keeps packets apart: a pipe, for type 0, or sockets. */
static void open_packets(int type, int ret_fds[2])
{
	int room = 4 * MIB;

	if (!type) {
		assert_int_equal(pipe2(ret_fds, O_CLOEXEC | O_DIRECT | O_NONBLOCK), 0);
		return;
	}
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds), 0);
	setsockopt(ret_fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

/* Send as many packets as there is room for, len bytes each. */
static void send_packets(int fd, size_t len, uint64_t *put)
{
	unsigned char bytes[60000];

	do
		pattern_fill(bytes, *put, len);
	while (write(fd, bytes, len) == (ssize_t)len && (*put += len) < GOT_MAX);
}

static void packets_go_through(const char *spec, int type, size_t packet_len)
{
	struct usp_file *below, *stage;
	ssize_t ret = -EAGAIN;
	uint64_t put = 0;
	size_t len = 0;
	int fds[2];

	open_packets(type, fds);
	assert_int_equal(usp_open_fd(fds[0], USP_READ | USP_EXCLUSIVE, "packets", &below), 0);
	stage = open_buffer(spec, below, -1);
	begin(stage);
	for (unsigned round = 0; ret == -EAGAIN && len < 3 * MIB; round++) {
		send_packets(fds[1], packet_len, &put);
		if (round % 4 == 3)
			ret = read_some(stage, &len);
		sched_yield();
	}
	assert_int_equal(ret, -EAGAIN);
	assert_pattern(got, 0, len);
	close(fds[1]);
	drop(&stage);
	drop(&below);
}

/* However full the buffer is, a packet has room, or waits. */
static void packets_are_neither_cut_nor_refused(void **state)
{
	static const char *const specs[] = {"buffer:64k", "buffer:1M,start=100%", "buffer:300000",
					    "buffer:64k,file-size=1M,file=.", "buffer:2M,file-size=1500000,file=."};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		packets_go_through(specs[i], 0, 3001);
		packets_go_through(specs[i], SOCK_DGRAM, 1472);
		packets_go_through(specs[i], SOCK_DGRAM, 60000);
		packets_go_through(specs[i], SOCK_SEQPACKET, 16001);
	}
}

/* --- The file ------------------------------------------------------------------------------------------------ */

/* Bursts at random on both sides, all through a file; the source gives by reference, or is copied. */
static void bytes_go_through_the_file_in_order(void **state)
{
	uint32_t random = 3;

	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		bool is_lent = round % 2;
		uint64_t put = 0;
		size_t len = 0;
		int fd = -1;
		struct usp_file *end[2] = {NULL, NULL}, *below, *stage;

		if (is_lent)
			open_pipe(end, 16, USP_NONBLOCK);
		below = is_lent ? usp_file_get(end[0]) : open_stream(&fd);
		if (fd >= 0)
			assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		stage = open_buffer(round < 2 ? "buffer:64k,file-size=1M,file=."
					      : "buffer:256k,start=60%,low=30%,file-size=3M,file=.",
				    below, -1);
		begin(stage);
		while (put < 12 * MIB) {
			unsigned char bytes[16 * KIB];
			ssize_t ret = 0;

			random = random * 1664525 + 1013904223;
			for (unsigned i = 0; i < random >> 24; i++) {
				size_t want = usp_min(1 + random % sizeof(bytes), 12 * MIB - put);

				pattern_fill(bytes, put, want);
				ret = is_lent ? usp_write(end[1], bytes, want) : write(fd, bytes, want);
				put += ret > 0 ? (uint64_t)ret : 0;
				if (ret <= 0 || put == 12 * MIB)
					break;
			}
			if (ret <= 0 || random >> 31)
				read_some(stage, &len);
		}
		if (is_lent)
			drop(&end[1]);
		else
			close(fd);
		assert_int_equal(usp_file_set_flags(stage, 0), 0);
		assert_int_equal(read_some(stage, &len), 0);
		assert_int_equal(len, 12 * MIB);
		assert_pattern(got, 0, len);
		assert_true(status_of(stage).file_most > 0);
		assert_int_equal(status_of(stage).bytes, 0);
		drop(&stage);
		drop(&below);
		close_pipe(end);
	}
}

/* The file may not grow beyond a limit, as if its disk were full. */
static void a_file_that_cannot_grow_makes_the_buffer_smaller(void **state)
{
	struct rlimit old, small;
	size_t len = 0;
	int fd;
	struct usp_file *below = open_stream(&fd),
			*stage = open_buffer("buffer:128k,start=100%,file-size=100M,file=.", below, -1);

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){.rlim_cur = 300 * KIB, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	begin(stage);
	write_pattern(fd, 0, 900 * KIB);
	while (!status_of(stage).nr_full)
		poll(NULL, 0, 1);
	assert_int_equal(status_of(stage).file_error, -EFBIG);
	assert_int_equal(status_of(stage).capacity, 428 * KIB);
	assert_false(status_of(stage).is_paused);
	close(fd);
	assert_int_equal(usp_file_set_flags(stage, 0), 0);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(len, 900 * KIB);
	assert_pattern(got, 0, len);
	drop(&stage);
	drop(&below);
}

static void the_file_has_no_name(void **state)
{
	struct usp_file *end[2], *stage;
	char path[] = "./buffer-XXXXXX";
	const char *why = NULL;
	char spec[100];

	(void)state;
	open_pipe(end, 16, 0);
	close(mkstemp(path));
	snprintf(spec, sizeof(spec), "buffer:64k,file-size=1M,file=%s", path);
	assert_int_equal(usp_transform_open(spec, end[0], NULL, &stage, &why), -EEXIST);
	assert_int_equal(unlink(path), 0);
	stage = open_buffer(spec, end[0], -1);
	assert_int_equal(access(path, F_OK), -1);
	drop(&stage);
	close_pipe(end);
	open_pipe(end, 16, 0);
	assert_int_equal(usp_transform_open("buffer:64k,file-size=1M,file=/nowhere/at/all", end[0], NULL, &stage, &why),
			 -ENOENT);
	close_pipe(end);
}

/* --- Ends ---------------------------------------------------------------------------------------------------- */

static void an_error_comes_behind_all_bytes_before_it(void **state)
{
	static const ssize_t script[] = {1000, MOCK_ALL, -EIO};
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *stage;
	size_t len = 0;

	(void)state;
	mock_script(mock, ARRAY_LEN(script), script);
	stage = open_buffer("buffer:64k,start=100%", mock->file, -1);
	assert_int_equal(read_some(stage, &len), -EIO);
	assert_true(len > 1000);
	assert_pattern(got, 0, len);
	assert_int_equal(usp_read(stage, got, 1), -EIO);
	drop(&stage);
	mock_close(mock);
}

static void no_more_is_read_than_the_length_says(void **state)
{
	size_t len = 0;
	int fd, left;
	struct usp_file *below = open_stream(&fd), *stage = open_buffer("buffer:64k", below, 100000);
	int twin = dup(usp_file_fd(below));

	(void)state;
	write_pattern(fd, 0, 100010);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(len, 100000);
	assert_int_equal(ioctl(twin, FIONREAD, &left), 0);
	assert_int_equal(left, 10);
	close(twin);
	close(fd);
	drop(&stage);
	drop(&below);
}

/* A file of len bytes whose offset others share: the file, and their descriptor. */
static struct usp_file *open_shared(size_t len, int *ret_twin)
{
	char path[] = "./buffer-XXXXXX";
	struct usp_file *file;
	int fd = mkstemp(path);

	unlink(path);
	write_pattern(fd, 0, len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	*ret_twin = dup(fd);
	assert_int_equal(usp_open_fd(fd, USP_READ, "shared", &file), 0);
	return file;
}

/* Read just so much. */
static void read_all(struct usp_file *stage, size_t off, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t ret = usp_read(stage, got + off + done, len - done);

		assert_true(ret > 0);
		done += (size_t)ret;
	}
}

/* What is read ahead of an offset that others share is not taken from them: they see it where the reader is. */
static void a_shared_offset_follows_what_is_given(void **state)
{
	static const char *const specs[] = {"buffer:1M", "buffer:64k,file-size=1M,file=."};
	struct usp_file *below, *stage;
	int twin;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		below = open_shared(300000, &twin);
		assert_int_equal(lseek(twin, 100, SEEK_SET), 100);
		stage = open_buffer(specs[i], below, -1);
		read_all(stage, 0, 1000);
		await_bytes(stage, 300000 - 1100);
		assert_int_equal(lseek(twin, 0, SEEK_CUR), 1100);
		usp_buffer_halt(stage);
		read_all(stage, 1000, 100000); /* a new thread goes on with what is there */
		assert_int_equal(lseek(twin, 0, SEEK_CUR), 101100);
		assert_pattern(got, 100, 101000);
		drop(&stage);
		assert_int_equal(lseek(twin, 0, SEEK_CUR), 101100);
		close(twin);
		drop(&below);
	}
}

static void a_shared_offset_that_others_moved_is_left_alone(void **state)
{
	struct usp_file *below, *stage;
	int twin;

	(void)state;
	below = open_shared(300000, &twin);
	stage = open_buffer("buffer:1M", below, -1);
	read_all(stage, 0, 1000);
	assert_int_equal(lseek(twin, 7, SEEK_SET), 7);
	read_all(stage, 1000, 1000);
	assert_int_equal(lseek(twin, 0, SEEK_CUR), 7);
	assert_pattern(got, 0, 2000);
	drop(&stage);
	assert_int_equal(lseek(twin, 0, SEEK_CUR), 7);
	close(twin);
	drop(&below);
}

/* A stage between them takes the bytes: what was not given goes back at the end. */
static void what_was_not_given_goes_back(void **state)
{
	const struct usp_transform_params params = {.size = sizeof(params)};
	struct usp_file *below, *digest, *stage;
	int twin;

	(void)state;
	below = open_shared(300000, &twin);
	assert_int_equal(usp_transform_open("digest:crc32c", usp_file_get(below), &params, &digest, NULL), 0);
	stage = open_buffer("buffer:1M", digest, -1);
	read_all(stage, 0, 1000);
	await_bytes(stage, 300000 - 1000);
	drop(&stage);
	assert_int_equal(lseek(twin, 0, SEEK_CUR), 1000);
	close(twin);
	drop(&digest);
	drop(&below);
}

static void bytes_that_come_later_are_waited_for(void **state)
{
	struct late_source source;
	struct usp_file *stage;
	size_t len = 0;

	(void)state;
	late_source_open(&source, 32);
	stage = open_buffer("buffer:64k,file-size=1M,file=.", source.file, -1);
	begin(stage);
	for (unsigned i = 0; i < source.nr; i++)
		late_arrive(source.pages[i]);
	assert_int_equal(usp_file_set_flags(stage, 0), 0);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(len, source.nr * PAGE);
	assert_pattern(got, 0, len);
	drop(&stage);
	late_source_close(&source);
}

/* A source that gives more whenever the caller lets go of the lock, and a thread that takes it before the caller goes on. */
static struct {
	int fd; /* -1: nothing more */
	uint64_t off;
	size_t left;
} feed = {.fd = -1};

void __real_usp_ahead_unlock(struct usp_ahead *ahead);
void __wrap_usp_ahead_unlock(struct usp_ahead *ahead);

#define FEED_YIELDS 100000 /* more would not find more */

static int feed_unread(void)
{
	int unread = 0;

	assert_int_equal(ioctl(feed.fd, FIONREAD, &unread), 0);
	return unread;
}

/* Tell whether the thread has taken what it can, and waits. */
static bool feed_is_taken(struct usp_ahead *ahead)
{
	bool is_taken;

	usp_ahead_lock(ahead);
	is_taken = ahead->must_wake &&
		   (!feed_unread() || !ahead->level.is_taking || usp_ahead_room(ahead) < ahead->wake_len);
	__real_usp_ahead_unlock(ahead);
	return is_taken;
}

void __wrap_usp_ahead_unlock(struct usp_ahead *ahead)
{
	size_t len = usp_min(feed.left, 20 * KIB);

	__real_usp_ahead_unlock(ahead);
	if (feed.fd < 0 || !ahead->has_thread || feed_unread())
		return;
	write_pattern(feed.fd, feed.off, len);
	feed.off += len;
	feed.left -= len;
	for (unsigned i = 0; i < FEED_YIELDS && feed.left && !feed_is_taken(ahead); i++)
		sched_yield();
	if (feed.left)
		return;
	close(feed.fd);
	feed.fd = -1;
}

#define ODD_PIECE ((size_t)3001) /* fits into no folio a whole number of times */

/* Read all of a stage in small pieces, through a pipe if there is one: what comes behind the last byte. */
static ssize_t read_in_pieces(struct usp_file *stage, struct usp_file *const end[2], size_t *len)
{
	ssize_t ret;

	do {
		ret = end[1] ? usp_splice(stage, NULL, end[1], NULL, ODD_PIECE, 0) : (ssize_t)ODD_PIECE;
		if (ret > 0)
			ret = usp_read(end[1] ? end[0] : stage, got + *len, (size_t)ret);
		*len += ret > 0 ? (size_t)ret : 0;
	} while (ret > 0 || ret == -EAGAIN);
	return ret;
}

static void bytes_keep_their_order_whatever_the_thread_does_meanwhile(void **state)
{
	static const char *const specs[] = {"buffer:64k", "buffer:256k,start=50%,refill=25%",
					    "buffer:64k,file-size=1M,file=."};
	size_t all = 900 * KIB + 77;

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_LEN(specs); i++) {
		struct usp_file *end[2] = {NULL}, *below, *stage;
		size_t len = 0;
		int fds[2];

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		assert_int_equal(usp_open_fd(fds[0], USP_READ, "stream", &below), 0);
		feed.fd = fds[1];
		feed.off = 0;
		feed.left = all;
		stage = open_buffer(specs[i / 2], below, -1);
		assert_int_equal(usp_file_set_flags(stage, USP_NONBLOCK), 0); /* each try feeds it */
		if (i % 2)
			open_pipe(end, 16, 0);
		assert_int_equal(read_in_pieces(stage, end, &len), 0);
		assert_int_equal(len, all);
		assert_pattern(got, 0, len);
		close_pipe(end);
		drop(&stage);
		drop(&below);
	}
}

static void a_child_leaves_it_to_its_parent(void **state)
{
	size_t len = 0;
	int fd, status;
	struct usp_file *below = open_stream(&fd), *stage = open_buffer("buffer:64k", below, -1);
	pid_t child;

	(void)state;
	begin(stage);
	write_pattern(fd, 0, 5000);
	await_bytes(stage, 5000);
	child = fork();
	if (child == 0)
		end_child(usp_read(stage, got, 1) == -ESTALE ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(fd);
	assert_int_equal(usp_file_set_flags(stage, 0), 0);
	assert_int_equal(read_some(stage, &len), 0);
	assert_int_equal(len, 5000);
	drop(&stage);
	drop(&below);
}

/* A pump ends, and another one goes on with what the buffer still has. */
static void pumps_follow_each_other(void **state)
{
	struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_COUNT, .count = 100000};
	struct usp_file *sink, *stage;
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);

	(void)state;
	mock->size = 1000000;
	stage = open_buffer("buffer:256k,start=50%", mock->file, -1);
	assert_int_equal(usp_open_memory(got, 1000000, USP_WRITE, NULL, NULL, &sink), 0);
	assert_int_equal(usp_copy_files(stage, sink, &params, NULL), 0);
	params.flags = 0;
	params.count = 0;
	assert_int_equal(usp_copy_files(stage, sink, &params, NULL), 0);
	assert_pattern(got, 0, 1000000);
	drop(&sink);
	drop(&stage);
	mock_close(mock);
}

/* --- How it is written --------------------------------------------------------------------------------------- */

static void what_does_not_parse_is_refused(void **state)
{
	static const char *const wrong[] = {"",
					    "x",
					    "1k",
					    "1M,",
					    "1M,start",
					    "1M,start=101%",
					    "1M,low=0x",
					    "1M,low=10%",
					    "1M,start=",
					    "1M,refill=0%",
					    "1M,start=10%,low=10%",
					    "1M,file=x",
					    "1M,file-size=1M",
					    "1M,file-size=1k,file=x",
					    "1M,file-size=1M,file=",
					    "9E",
					    "1M,size=3"};
	static const char *const right[] = {"64k", "1.5M,start=80%,low=20%,refill=90%", "1M,start=80",
					    "1G,file-size=1T,file=a,b=c"};
	const char *why;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		char spec[64];

		snprintf(spec, sizeof(spec), "buffer:%s", wrong[i]);
		assert_int_equal(usp_transform_check(spec, &why), -EINVAL);
		assert_non_null(why);
	}
	for (unsigned i = 0; i < ARRAY_LEN(right); i++) {
		char spec[64];

		snprintf(spec, sizeof(spec), "buffer:%s", right[i]);
		assert_int_equal(usp_transform_check(spec, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_is_given_before_it_is_filled_to_start),
		CASE(it_pauses_at_low),
		CASE(a_full_buffer_does_not_read_on_before_it_is_down_to_refill),
		CASE(short_reads_take_no_more_memory_than_their_bytes),
		CASE(what_is_lent_goes_on_as_it_is_and_small_pieces_are_put_together),
		CASE(more_memory_than_there_is_is_refused),
		CASE(packets_are_neither_cut_nor_refused),
		CASE(bytes_go_through_the_file_in_order),
		CASE(a_file_that_cannot_grow_makes_the_buffer_smaller),
		CASE(the_file_has_no_name),
		CASE(an_error_comes_behind_all_bytes_before_it),
		CASE(no_more_is_read_than_the_length_says),
		CASE(a_shared_offset_follows_what_is_given),
		CASE(a_shared_offset_that_others_moved_is_left_alone),
		CASE(what_was_not_given_goes_back),
		CASE(bytes_that_come_later_are_waited_for),
		CASE(bytes_keep_their_order_whatever_the_thread_does_meanwhile),
		CASE(a_child_leaves_it_to_its_parent),
		CASE(pumps_follow_each_other),
		CASE(what_does_not_parse_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
