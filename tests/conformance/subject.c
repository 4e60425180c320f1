/* SPDX-License-Identifier: MIT */
/* subject - the rows of the conformance table: how each endpoint is opened, fed and looked at. */
#include "subject.h"

#include "examples.h"
#include "rows.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <pty.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#define SUBJECT_ROOM (1u << 20) /* of sinks that have an end */
#define DATAGRAM_LEN 1000u

/* --- Files and paths ---------------------------------------------------------------------------------------- */

static char folder[32];

int subject_open_folder(void **state)
{
	(void)state;
	strcpy(folder, "/var/tmp/usplice-XXXXXX"); /* a disk, where O_DIRECT works */
	return mkdtemp(folder) ? 0 : -1;
}

int subject_close_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static const char *subject_path(struct subject *subject, const char *name)
{
	snprintf(subject->path, sizeof(subject->path), "%s/%s", folder, name);
	return subject->path;
}

static void subject_open_spec(struct subject *subject, unsigned mode, const char *spec)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = mode};
	const char *why = NULL;
	int ret = usp_open(spec, &params, &subject->file, &why);

	if (ret < 0)
		print_error("%s: %s: %s\n", spec, strerror(-ret), why ? why : "");
	assert_int_equal(ret, 0);
}

static void subject_open_fd(struct subject *subject, unsigned mode, int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, subject->row->name, &subject->file), 0);
}

static void store_pattern(const char *path, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsigned char *bytes = malloc(len);

	assert_true(fd >= 0);
	assert_non_null(bytes);
	pattern_fill(bytes, 0, len);
	assert_int_equal(write(fd, bytes, len), len);
	free(bytes);
	close(fd);
}

void subject_open_stored(struct subject *subject, unsigned mode, const char *options)
{
	char spec[80];

	snprintf(spec, sizeof(spec), "%s%s", subject->path, options);
	subject_open_spec(subject, mode, spec);
}

static void subject_open_stored_sink(struct subject *subject, const char *options)
{
	subject_path(subject, "sink");
	subject_open_stored(subject, USP_WRITE, options);
	subject->far_fd = open(subject->path, O_RDONLY | O_CLOEXEC);
	assert_true(subject->far_fd >= 0);
}

void regular_source(struct subject *subject, size_t len)
{
	store_pattern(subject_path(subject, "source"), len);
	subject_open_stored(subject, USP_READ, "");
}

static void regular_sink(struct subject *subject)
{
	subject_open_stored_sink(subject, "");
}

static void adopted_source(struct subject *subject, size_t len)
{
	store_pattern(subject_path(subject, "source"), len);
	subject_open_fd(subject, USP_READ, open(subject->path, O_RDONLY | O_CLOEXEC));
}

static void adopted_sink(struct subject *subject)
{
	subject_path(subject, "sink");
	subject_open_fd(subject, USP_WRITE, open(subject->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	subject->far_fd = open(subject->path, O_RDONLY | O_CLOEXEC);
}

static void direct_source(struct subject *subject, size_t len)
{
	store_pattern(subject_path(subject, "source"), len);
	subject_open_stored(subject, USP_READ, ",direct");
}

static void direct_sink(struct subject *subject)
{
	subject_open_stored_sink(subject, ",direct");
}

static void append_sink(struct subject *subject)
{
	subject_open_stored_sink(subject, ",append");
}

/* --- A page cache of ours ---------------------------------------------------------------------------------------- */

static void subject_open_cached(struct subject *subject, size_t len, const char *options)
{
	char spec[96];

	store_pattern(subject_path(subject, "source"), len);
	snprintf(spec, sizeof(spec), "cached:%s%s", subject->path, options);
	subject_open_spec(subject, USP_READ, spec);
}

static void cached_source(struct subject *subject, size_t len)
{
	subject_open_cached(subject, len, "");
}

static void small_cached_source(struct subject *subject, size_t len)
{
	subject_open_cached(subject, len, "\\,direct,budget=256k");
}

/* --- Block devices: loop devices, where this user may make them ------------------------------------------------ */

static void subject_open_loop(struct subject *subject, unsigned mode, size_t len)
{
	const struct loop_info64 info = {.lo_flags = LO_FLAGS_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), backing, loop = -1;
	char path[32];

	store_pattern(subject_path(subject, "disk"), (len + 511) / 512 * 512);
	backing = open(subject->path, O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "/dev/loop%d", control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE));
	if (control >= 0)
		loop = open(path, O_RDWR | O_CLOEXEC);
	if (loop >= 0 && (ioctl(loop, LOOP_SET_FD, backing) < 0 || ioctl(loop, LOOP_SET_STATUS64, &info) < 0)) {
		close(loop);
		loop = -1;
	}
	close(backing);
	if (control >= 0)
		close(control);
	if (loop < 0) {
		unlink(subject->path);
		skip();
	}
	subject->far_fd = loop;
	subject_open_spec(subject, mode, path);
}

static void block_source(struct subject *subject, size_t len)
{
	subject_open_loop(subject, USP_READ, len);
}

static void block_sink(struct subject *subject)
{
	subject_open_loop(subject, USP_WRITE, SUBJECT_ROOM);
}

/* --- Devices --------------------------------------------------------------------------------------------------- */

static void null_device_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_spec(subject, USP_READ, "/dev/null");
}

static void null_device_sink(struct subject *subject)
{
	subject_open_spec(subject, USP_WRITE, "/dev/null");
}

static void zero_device_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_spec(subject, USP_READ, "/dev/zero");
}

static void zero_device_sink(struct subject *subject)
{
	subject_open_spec(subject, USP_WRITE, "/dev/zero");
}

/* A terminal that passes bytes as they are. */
static void subject_open_terminal(struct subject *subject, unsigned mode)
{
	struct termios raw;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	subject->far_fd = master;
	subject_open_fd(subject, mode, slave);
}

static void terminal_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_terminal(subject, USP_READ);
}

static void terminal_sink(struct subject *subject)
{
	subject_open_terminal(subject, USP_WRITE);
}

/* --- OS pipes ------------------------------------------------------------------------------------------------- */

static void subject_open_fifo(struct subject *subject, unsigned mode)
{
	assert_int_equal(mkfifo(subject_path(subject, "fifo"), 0600), 0);
	subject->far_fd = open(subject->path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* so that neither open waits */
	subject_open_stored(subject, mode, "");
	close(subject->far_fd);
	subject->far_fd = open(subject->path, (mode == USP_READ ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	assert_true(subject->far_fd >= 0);
}

void fifo_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_fifo(subject, USP_READ);
}

static void fifo_sink(struct subject *subject)
{
	subject_open_fifo(subject, USP_WRITE);
}

/* A command that does nothing: its end of the pipe is opened here again, when it has exited. */
static void subject_open_command(struct subject *subject, unsigned mode)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = mode, .may_run = true};
	siginfo_t info;
	char path[64];

	assert_int_equal(usp_open("exec:exit 0", &params, &subject->file, NULL), 0);
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", usp_file_fd(subject->file));
	subject->far_fd = open(path, (mode == USP_READ ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	assert_true(subject->far_fd >= 0);
}

static void command_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_command(subject, USP_READ);
}

static void command_sink(struct subject *subject)
{
	subject_open_command(subject, USP_WRITE);
}

static void os_pipe_source(struct subject *subject, size_t len)
{
	int fds[2];

	(void)len;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	subject->far_fd = fds[1];
	subject_open_fd(subject, USP_READ, fds[0]);
}

static void os_pipe_sink(struct subject *subject)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	subject->far_fd = fds[0];
	subject_open_fd(subject, USP_WRITE, fds[1]);
}

/* --- Connections -------------------------------------------------------------------------------------------------- */

/* Whoever opens tcp-listen: or unix-listen: waits for a client, so a thread does it. */
struct opening {
	struct subject *subject;
	char spec[80];
	unsigned mode;
};

static ssize_t subject_open_run(void *arg)
{
	struct opening *opening = arg;
	const struct usp_open_params params = {.size = sizeof(params), .mode = opening->mode};

	return usp_open(opening->spec, &params, &opening->subject->file, NULL);
}

static void await_client(struct opening *opening, int (*connect_client)(struct subject *subject, unsigned port),
			 unsigned port)
{
	struct worker worker;

	worker_start(&worker, subject_open_run, opening);
	while ((opening->subject->far_fd = connect_client(opening->subject, port)) < 0 && !worker.is_done)
		sched_yield();
	assert_int_equal(worker_join(&worker), 0);
	assert_true(opening->subject->far_fd >= 0);
}

static int tcp_client(struct subject *subject, unsigned port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)subject;
	if (net_connect(fd, port) == 0)
		return fd;
	close(fd);
	return -1;
}

static int unix_client(struct subject *subject, unsigned port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)port;
	memcpy(address.sun_path, subject->path, strlen(subject->path) + 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void subject_open_tcp(struct subject *subject, unsigned mode)
{
	unsigned port;
	int listener = net_bound(SOCK_STREAM, &port);
	char spec[40];

	assert_int_equal(listen(listener, 1), 0);
	snprintf(spec, sizeof(spec), "tcp:127.0.0.1:%u", port);
	subject_open_spec(subject, mode, spec);
	subject->far_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
}

void tcp_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_tcp(subject, USP_READ);
}

static void tcp_sink(struct subject *subject)
{
	subject_open_tcp(subject, USP_WRITE);
}

static void subject_open_tcp_listen(struct subject *subject, unsigned mode)
{
	struct opening opening = {.subject = subject, .mode = mode};
	unsigned port = net_free_port(SOCK_STREAM);

	snprintf(opening.spec, sizeof(opening.spec), "tcp-listen:127.0.0.1:%u", port);
	await_client(&opening, tcp_client, port);
}

static void tcp_listen_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_tcp_listen(subject, USP_READ);
}

static void tcp_listen_sink(struct subject *subject)
{
	subject_open_tcp_listen(subject, USP_WRITE);
}

static void subject_open_unix(struct subject *subject, unsigned mode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char spec[80];

	subject_path(subject, "socket");
	memcpy(address.sun_path, subject->path, strlen(subject->path) + 1);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	snprintf(spec, sizeof(spec), "unix:%s", subject->path);
	subject_open_spec(subject, mode, spec);
	subject->far_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
}

static void unix_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_unix(subject, USP_READ);
}

static void unix_sink(struct subject *subject)
{
	subject_open_unix(subject, USP_WRITE);
}

static void subject_open_unix_listen(struct subject *subject, unsigned mode)
{
	struct opening opening = {.subject = subject, .mode = mode};

	snprintf(opening.spec, sizeof(opening.spec), "unix-listen:%s", subject_path(subject, "socket"));
	await_client(&opening, unix_client, 0);
}

static void unix_listen_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_unix_listen(subject, USP_READ);
}

static void unix_listen_sink(struct subject *subject)
{
	subject_open_unix_listen(subject, USP_WRITE);
}

static void subject_open_socketpair(struct subject *subject, unsigned mode)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	subject->far_fd = fds[1];
	subject_open_fd(subject, mode, fds[0]);
}

static void socketpair_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_socketpair(subject, USP_READ);
}

static void socketpair_sink(struct subject *subject)
{
	subject_open_socketpair(subject, USP_WRITE);
}

/* --- Datagrams ---------------------------------------------------------------------------------------------------- */

static void udp_listen_source(struct subject *subject, size_t len)
{
	unsigned port = net_free_port(SOCK_DGRAM);
	char spec[40];

	(void)len;
	snprintf(spec, sizeof(spec), "udp-listen:127.0.0.1:%u", port);
	subject_open_spec(subject, USP_READ, spec);
	subject->far_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(net_connect(subject->far_fd, port), 0);
}

/* The peer learns our port only now. */
static void udp_source(struct subject *subject, size_t len)
{
	struct sockaddr_in own;
	socklen_t own_len = sizeof(own);
	unsigned port;
	char spec[40];

	(void)len;
	subject->far_fd = net_bound(SOCK_DGRAM, &port);
	snprintf(spec, sizeof(spec), "udp:127.0.0.1:%u", port);
	subject_open_spec(subject, USP_READ, spec);
	assert_int_equal(getsockname(usp_file_fd(subject->file), (struct sockaddr *)&own, &own_len), 0);
	assert_int_equal(connect(subject->far_fd, (struct sockaddr *)&own, own_len), 0);
}

static void udp_sink(struct subject *subject)
{
	unsigned port;
	char spec[60];

	subject->far_fd = net_bound(SOCK_DGRAM, &port);
	snprintf(spec, sizeof(spec), "udp:127.0.0.1:%u,datagram=%u,eof", port, DATAGRAM_LEN);
	subject_open_spec(subject, USP_WRITE, spec);
}

/* --- Memory and what needs none ------------------------------------------------------------------------------------- */

static void count_done(void *arg)
{
	struct subject *subject = arg;

	subject->nr_done++;
}

static void subject_open_memory(struct subject *subject, unsigned mode, size_t len)
{
	subject->memory = calloc(1, len);
	assert_non_null(subject->memory);
	if (mode == USP_READ)
		pattern_fill(subject->memory, 0, len);
	assert_int_equal(usp_open_memory(subject->memory, len, mode, count_done, subject, &subject->file), 0);
}

static void memory_source(struct subject *subject, size_t len)
{
	subject_open_memory(subject, USP_READ, len);
}

static void memory_sink(struct subject *subject)
{
	subject_open_memory(subject, USP_WRITE, SUBJECT_ROOM);
}

/* Written, so that it has something to read: a store of our own is both. */
static void store_source(struct subject *subject, size_t len)
{
	subject_open_spec(subject, USP_READ | USP_WRITE, "mem:");
	put_bytes(subject->file, 0, len);
	assert_int_equal(usp_file_seek(subject->file, 0, SEEK_SET), 0);
}

static void store_sink(struct subject *subject)
{
	subject_open_spec(subject, USP_READ | USP_WRITE, "mem:");
}

static void null_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_spec(subject, USP_READ, "null:");
}

static void null_sink(struct subject *subject)
{
	subject_open_spec(subject, USP_WRITE, "null:");
}

static void zero_source(struct subject *subject, size_t len)
{
	(void)len;
	subject_open_spec(subject, USP_READ, "zero:");
}

static void zero_fill(unsigned char *bytes, uint64_t off, size_t len)
{
	(void)off;
	memset(bytes, 0, len);
}

static void zero_sink(struct subject *subject)
{
	subject_open_spec(subject, USP_WRITE, "zero:");
}

void pipe_source(struct subject *subject, size_t len)
{
	struct usp_file *ends[2];

	(void)len;
	open_pipe(ends, 16, 0);
	subject->file = ends[0];
	subject->far_file = ends[1];
}

static void pipe_sink(struct subject *subject)
{
	struct usp_file *ends[2];

	open_pipe(ends, 16, 0);
	subject->file = ends[1];
	subject->far_file = ends[0];
}

/* --- The table ------------------------------------------------------------------------------------------------------ */

#define ROW_FILE (ROW_SEEKABLE | ROW_KERNEL)
#define ROW_CONNECTION (ROW_STREAM | ROW_KERNEL)

/* To add an endpoint: one row here, and above how it is opened. */
const struct row rows[] = {
	{"a path", "regular", ROW_FILE, regular_source, regular_sink, NULL},
	{"a file that was inherited", "regular", ROW_FILE, adopted_source, adopted_sink, NULL},
	{"a file with direct", "regular", ROW_SEEKABLE, direct_source, direct_sink, NULL},
	{"a file with append", "regular", ROW_APPENDS, NULL, append_sink, NULL},
	{"cached:", "cached", ROW_SEEKABLE, cached_source, NULL, NULL},
	{"cached: with direct and a small budget", "cached", ROW_SEEKABLE, small_cached_source, NULL, NULL},
	{"a block device", "block", ROW_FILE, block_source, block_sink, NULL},
	{"/dev/null", "chardev", ROW_SEEKABLE | ROW_EMPTY, null_device_source, NULL, NULL},
	{"/dev/null", "chardev", ROW_FILE | ROW_DROPS, NULL, null_device_sink, NULL},
	{"/dev/zero", "chardev", ROW_SEEKABLE | ROW_ENDLESS, zero_device_source, NULL, zero_fill},
	{"/dev/zero", "chardev", ROW_FILE | ROW_DROPS, NULL, zero_device_sink, NULL},
	{"a terminal", "chardev", ROW_STREAM | ROW_HANGUP, terminal_source, terminal_sink, NULL},
	{"a FIFO", "fifo", ROW_CONNECTION, fifo_source, fifo_sink, NULL},
	{"an OS pipe", "fifo", ROW_CONNECTION, os_pipe_source, os_pipe_sink, NULL},
	{"a command", "exec", ROW_CONNECTION, command_source, command_sink, NULL},
	{"tcp:", "tcp", ROW_CONNECTION, tcp_source, tcp_sink, NULL},
	{"tcp-listen:", "tcp_listen", ROW_CONNECTION, tcp_listen_source, tcp_listen_sink, NULL},
	{"unix:", "unix", ROW_CONNECTION, unix_source, unix_sink, NULL},
	{"unix-listen:", "unix_listen", ROW_CONNECTION, unix_listen_source, unix_listen_sink, NULL},
	{"a socket that was inherited", "socket", ROW_CONNECTION, socketpair_source, socketpair_sink, NULL},
	{"udp:", "udp", ROW_STREAM | ROW_DATAGRAM, udp_source, udp_sink, NULL},
	{"udp-listen:", "udp_listen", ROW_STREAM | ROW_DATAGRAM, udp_listen_source, NULL, NULL},
	{"null:", "null", ROW_EMPTY, null_source, NULL, NULL},
	{"null:", "null", ROW_KERNEL | ROW_DROPS, NULL, null_sink, NULL},
	{"zero:", "zero", ROW_SEEKABLE | ROW_ENDLESS, zero_source, NULL, zero_fill},
	{"zero:", "zero", ROW_FILE | ROW_DROPS, NULL, zero_sink, NULL},
	{"mem:", "memory", ROW_SEEKABLE, store_source, store_sink, NULL},
	{"memory of the caller", "memory", ROW_SEEKABLE, memory_source, memory_sink, NULL},
	{"a pipe of ours", NULL, ROW_STREAM | ROW_PIPE, pipe_source, pipe_sink, NULL},
	{"a digest over a file", NULL, 0, file_digest_source, NULL, NULL},
	{"checksums of blocks over a file", NULL, 0, file_sums_source, NULL, NULL},
	{"a digest over a FIFO", NULL, ROW_STREAM, fifo_digest_source, NULL, NULL},
	{"a digest over a pipe of ours", NULL, ROW_STREAM, pipe_digest_source, NULL, NULL},
	{"blocks: over a file", NULL, 0, blocks_source, NULL, NULL},
	{"compressed and decompressed", NULL, 0, compressed_source, NULL, NULL},
	{"decompressed with positions", NULL, ROW_SEEKABLE, seekable_source, NULL, NULL},
	{"encrypted and decrypted", NULL, 0, encrypted_source, NULL, NULL},
	{"a buffer over a file", NULL, ROW_AHEAD, file_buffer_source, NULL, NULL},
	{"a buffer with a file, over a file", NULL, ROW_AHEAD, file_buffer_file_source, NULL, NULL},
	{"a buffer over a FIFO", NULL, ROW_STREAM | ROW_AHEAD, fifo_buffer_source, NULL, NULL},
	{"a buffer of kernel pipes over a FIFO", NULL, ROW_STREAM | ROW_AHEAD, fifo_kernel_buffer_source, NULL, NULL},
	{"a buffer over tcp:", NULL, ROW_STREAM | ROW_AHEAD, tcp_buffer_source, NULL, NULL},
	{"a buffer of kernel pipes over tcp:", NULL, ROW_STREAM | ROW_AHEAD, tcp_kernel_buffer_source, NULL, NULL},
	{"a buffer over a pipe of ours", NULL, ROW_STREAM | ROW_AHEAD, pipe_buffer_source, NULL, NULL},
	{"a digest over a buffer", NULL, ROW_STREAM | ROW_AHEAD, buffer_digest_source, NULL, NULL},
	{"frames", NULL, ROW_STREAM, frames_source, frames_sink, NULL},
	{"frames without a digest", NULL, ROW_STREAM, bare_frames_source, NULL, NULL},
	{"frames without a digest", NULL, ROW_CONNECTION, NULL, bare_frames_sink, NULL},
	{"a buffer over frames", NULL, ROW_STREAM | ROW_AHEAD, frames_buffer_source, NULL, NULL},
	{"examples/upper over a file", NULL, 0, file_upper_source, NULL, upper_fill},
	{"examples/upper over a FIFO", NULL, ROW_STREAM, fifo_upper_source, NULL, upper_fill},
	{"examples/upper over a pipe of ours", NULL, ROW_STREAM, pipe_upper_source, NULL, upper_fill},
	{"examples/masked", NULL, ROW_SEEKABLE, masked_source, NULL, masked_fill},
	{"examples/slice", NULL, ROW_SEEKABLE, slice_source, NULL, NULL},
	{"examples/numbers", NULL, ROW_WHOLE, numbers_source, NULL, counter_fill},
	{"examples/packet", NULL, ROW_ENDLESS | ROW_SPLICED, device_source, NULL, packet_fill},
	{"examples/numbers", NULL, ROW_DROPS | ROW_SPLICED, NULL, numbers_sink, NULL},
	{"examples/keep", NULL, ROW_SPLICED, NULL, kept_sink, NULL},
	{"examples/credit", NULL, ROW_STREAM, NULL, granted_sink, NULL},
};
const unsigned nr_rows = ARRAY_LEN(rows);

/* --- The other side ---------------------------------------------------------------------------------------------------- */

void subject_feed(struct subject *subject, uint64_t off, size_t len)
{
	size_t part = subject->row->traits & ROW_DATAGRAM ? DATAGRAM_LEN : len;

	if (subject->far_file) {
		put_bytes(subject->far_file, off, len);
		return;
	}
	for (size_t done = 0; done < len; done += part) {
		unsigned char *bytes;

		part = part < len - done ? part : len - done;
		bytes = malloc(part);
		assert_non_null(bytes);
		pattern_fill(bytes, off + done, part);
		assert_int_equal(write(subject->far_fd, bytes, part), part);
		free(bytes);
	}
}

void subject_end(struct subject *subject)
{
	if (subject->row->traits & ROW_DATAGRAM) {
		assert_int_equal(send(subject->far_fd, NULL, 0, 0), 0);
		return;
	}
	if (subject->far_file && subject->far_file->mode & USP_WRITE)
		assert_int_equal(usp_file_shutdown(subject->far_file), 0); /* frames have an end mark */
	drop(&subject->far_file);
	if (subject->far_fd >= 0)
		close(subject->far_fd);
	subject->far_fd = -1;
}

static size_t subject_take_part(struct subject *subject, unsigned char *base, uint64_t off, size_t len)
{
	ssize_t ret;

	if (subject->far_file)
		ret = usp_read(subject->far_file, base, len);
	else if (subject->row->traits & ROW_STREAM)
		ret = read(subject->far_fd, base, len);
	else
		ret = pread(subject->far_fd, base, len, (off_t)off);
	assert_true(ret > 0);
	return (size_t)ret;
}

/* A store is read by a file of its own position: its own. */
static void subject_take_stored(struct subject *subject, unsigned char *base, uint64_t off, size_t len)
{
	int64_t pos = usp_file_seek(subject->file, 0, SEEK_CUR);

	assert_int_equal(usp_file_seek(subject->file, (int64_t)off, SEEK_SET), off);
	assert_int_equal(usp_read(subject->file, base, len), len);
	assert_int_equal(usp_file_seek(subject->file, pos, SEEK_SET), pos);
}

void subject_take(struct subject *subject, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len + 1);

	assert_non_null(bytes);
	if (subject->row->traits & ROW_DROPS)
		pattern_fill(bytes, off, len);
	else if (subject->memory)
		memcpy(bytes, subject->memory + off, len);
	else if (subject->is_kept)
		keep_take(bytes, off, len);
	else if (subject->far_fd < 0 && !subject->far_file)
		subject_take_stored(subject, bytes, off, len);
	else
		for (size_t done = 0; done < len;)
			done += subject_take_part(subject, bytes + done, off + done, len - done);
	assert_pattern(bytes, off, len);
	free(bytes);
}

void subject_take_end(struct subject *subject)
{
	char byte;

	if (subject->far_file)
		assert_int_equal(usp_read(subject->far_file, &byte, 1), 0);
	else
		assert_int_equal(read(subject->far_fd, &byte, 1), 0);
}

/* --- Life ---------------------------------------------------------------------------------------------------------------- */

void subject_open_source(struct subject *subject, const struct row *row, size_t len, bool ends)
{
	*subject = (struct subject){.row = row, .far_fd = -1};
	row->open_source(subject, len);
	if (row->traits & ROW_STREAM) {
		if (len)
			subject_feed(subject, 0, len);
		if (ends)
			subject_end(subject);
	}
}

void subject_open_sink(struct subject *subject, const struct row *row)
{
	*subject = (struct subject){.row = row, .far_fd = -1};
	row->open_sink(subject);
}

void subject_close(struct subject *subject)
{
	drop(&subject->file);
	drop(&subject->far_file);
	if (subject->far_fd >= 0)
		close(subject->far_fd);
	if (subject->path[0])
		unlink(subject->path); /* a socket may have gone already */
	if (subject->memory)
		assert_int_equal(subject->nr_done, 1);
	free(subject->memory);
	keep_forget();
}
