/* SPDX-License-Identifier: MIT */
/*
 * token_cells - hops of splice(2) for a second opinion on the probe, which shares no idea with it.
 *
 * Each cell puts bytes with a token into a source, and says "@count TOKEN". Whoever runs the machine stops it,
 * counts how often the token is in its memory, and sends a line. The cell then moves the bytes over one hop,
 * where they rest, and asks again. One token more means that they were copied. tools/test-kernels does that
 * with an emulator. Only system calls: nothing of the library is used.
 *
 * Where the kernel has kprobes, "@copied N" says how many bytes functions that copy took
 * during the hop.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define TOKEN_LEN 16
#define PIECE_MAX 65536

static unsigned nr_token;
static int pipe_a[2], pipe_b[2];

/* Compute a byte of a token. The whole token is only where a cell writes it. */
static unsigned char token_at(unsigned token, unsigned i)
{
	uint64_t x = (uint64_t)token * 0x9e3779b97f4a7c15u + (i + 1) * 0xd1b54a32d192ed03u;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	return (unsigned char)(x >> 56);
}

/* --- Bytes that the kernel copies ------------------------------------------------------------------------- */

#define TRACING "/sys/kernel/tracing/"

/*
 * Functions that copy, with the number of bytes: what they return, or an argument. Those of lib/iov_iter.c, which
 * they call, are not traced. Some copies are inlined: so a sum of 0 proves nothing.
 */
static const char *const copiers[] = {
	"r:usplice/write_pipe pipe_write bytes=$retval:s64",
	"r:usplice/write_file generic_perform_write bytes=$retval:s64",
	"r:usplice/send_mptcp mptcp_sendmsg bytes=$retval:s32",
	"p:usplice/from_skb skb_copy_datagram_iter bytes=$arg4:s32",
	"p:usplice/to_skb skb_copy_datagram_from_iter bytes=$arg4:s32",
	"p:usplice/out_of_skb skb_copy_bits bytes=$arg4:s32",
};

static bool has_kprobes;

static bool write_text(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | flags);
	bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return is_written;
}

/* Count for this process alone. A function that this kernel lacks, or has inlined, is left out. */
static void begin_kprobes(void)
{
	char text[128];

	for (unsigned i = 0; i < sizeof(copiers) / sizeof(copiers[0]); i++) {
		if (!write_text(TRACING "kprobe_events", O_APPEND, copiers[i]))
			printf("no kprobe: %s: %s\n", copiers[i], strerror(errno));
	}
	snprintf(text, sizeof(text), "common_pid==%d", getpid());
	has_kprobes = write_text(TRACING "events/usplice/filter", 0, text) &&
		      write_text(TRACING "events/usplice/enable", 0, "1");
}

/* Forget what was copied before the hop. */
static void begin_hop(void)
{
	if (has_kprobes) {
		close(open(TRACING "trace", O_WRONLY | O_TRUNC));
		write_text(TRACING "tracing_on", 0, "1");
	}
}

/* Say how many bytes the hop copied. */
static void end_hop(void)
{
	long long sum = 0, bytes;
	char line[512];
	FILE *trace;

	if (!has_kprobes)
		return;
	write_text(TRACING "tracing_on", 0, "0");
	trace = fopen(TRACING "trace", "r");
	while (trace && fgets(line, sizeof(line), trace)) {
		const char *text = strstr(line, "bytes=");

		if (text && sscanf(text, "bytes=%lld", &bytes) == 1 && bytes > 0)
			sum += bytes;
	}
	if (trace)
		fclose(trace);
	printf("@copied %lld\n", sum);
}

/* --- Tokens ------------------------------------------------------------------------------------------------ */

static void say_token(void)
{
	for (unsigned i = 0; i < TOKEN_LEN; i++)
		printf("%02x", token_at(nr_token, i));
	putchar('\n');
}

/* Ask for the number of tokens in memory, and wait for the line that says that it was taken. */
static void count(void)
{
	char line[16];

	printf("@count ");
	say_token();
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
}

/* Count before the hop, which comes next. */
static void count_before(void)
{
	count();
	begin_hop();
}

/* Write len bytes with the token at an offset, and leave no other token behind. */
static bool put(int fd, size_t len, size_t at)
{
	static unsigned char bytes[PIECE_MAX];
	size_t done = 0;

	memset(bytes, '.', len);
	for (unsigned i = 0; i < TOKEN_LEN; i++)
		bytes[at + i] = token_at(nr_token, i);
	while (done < len) {
		ssize_t ret = write(fd, bytes + done, len - done);

		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	explicit_bzero(bytes, len);
	return done == len;
}

/* --- Objects ------------------------------------------------------------------------------------------------ */

static int open_file(const char *folder, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/token-cell", folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | flags, 0600);
	unlink(path);
	return fd;
}

/* A file with a page that has the token, as it is after it was written out. */
static int open_page(const char *folder)
{
	int fd = strcmp(folder, "memfd") == 0 ? memfd_create("token", 0) : open_file(folder, 0);

	if (fd < 0 || !put(fd, 4096, 100))
		return -1;
	fsync(fd);
	sync();
	return fd;
}

static bool connect_pair(int protocol, int pair[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *sockaddr = (struct sockaddr *)&address;
	int listener = socket(AF_INET, SOCK_STREAM, protocol);
	socklen_t len = sizeof(address);

	pair[1] = socket(AF_INET, SOCK_STREAM, protocol);
	if (listener < 0 || pair[1] < 0 || bind(listener, sockaddr, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, sockaddr, &len) < 0 || connect(pair[1], sockaddr, len) < 0)
		return false;
	pair[0] = accept(listener, NULL, NULL);
	close(listener);
	return pair[0] >= 0;
}

static bool make_pair(const char *kind, int pair[2])
{
	if (strcmp(kind, "TCP socket") == 0)
		return connect_pair(0, pair);
	if (strcmp(kind, "MPTCP socket") == 0)
		return connect_pair(IPPROTO_MPTCP, pair);
	if (strcmp(kind, "UNIX socket") == 0)
		return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
	return pipe(pair) == 0;
}

static void await(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	poll(&ready, 1, 2000);
	usleep(20000); /* the rest of a piece */
}

/* --- Cells --------------------------------------------------------------------------------------------------- */

/* Begin a cell, named as print_probe names the kind and side, with what is special about it. */
static void begin(const char *kind, const char *side, const char *what)
{
	nr_token++;
	printf("@cell %s as a %s\t%s\n", kind, side, what);
}

static void end(bool is_moved)
{
	char bytes[4096];

	if (is_moved)
		count(); /* at once: what follows may overwrite memory that the hop has freed */
	else
		printf("@refused %s\n", strerror(errno));
	end_hop();
	for (unsigned i = 0; i < 2; i++) {
		int fd = i ? pipe_b[0] : pipe_a[0];

		while (read(fd, bytes, sizeof(bytes)) > 0)
			;
	}
}

static void file_as_source(const char *kind, const char *folder)
{
	off_t off = 0;
	int fd;

	begin(kind, "source", "page");
	fd = open_page(folder);
	count_before();
	end(splice(fd, &off, pipe_a[1], NULL, 4096, 0) == 4096);
	close(fd);
}

/* A page of a memfd goes through a pipe into the sink, where it rests. */
static void page_into(const char *kind, int fd, int flags)
{
	off_t off = 0;
	int page;

	begin(kind, "sink", "page");
	page = open_page("memfd");
	if (splice(page, &off, pipe_a[1], NULL, 4096, 0) == 4096) {
		count_before();
		end(splice(pipe_a[0], NULL, fd, NULL, 4096, flags) == 4096);
	}
	close(page);
}

static void file_as_sink(const char *kind, const char *folder)
{
	int fd = open_file(folder, 0);

	if (fd >= 0)
		page_into(kind, fd, 0);
	close(fd);
}

static void pair_as_sink(const char *kind)
{
	int pair[2];

	if (!make_pair(kind, pair))
		return;
	page_into(kind, pair[1], 0);
	close(pair[0]);
	close(pair[1]);
}

/* A piece rests in the pair; then it is spliced out of it into a pipe. The token stands at an offset of it. */
static void piece_from(const char *kind, size_t len, size_t at)
{
	char what[64];
	size_t done = 0;
	int pair[2];

	if (!make_pair(kind, pair))
		return;
	snprintf(what, sizeof(what), "piece of %zu, at %zu", len, at);
	begin(kind, "source", what);
	fcntl(pair[1], F_SETPIPE_SZ, 1 << 20);
	if (put(pair[1], len, at)) {
		await(pair[0]);
		count_before();
		while (done < len) {
			ssize_t ret = splice(pair[0], NULL, pipe_a[1], NULL, len - done, SPLICE_F_NONBLOCK);

			if (ret <= 0)
				break;
			done += (size_t)ret;
		}
		end(done > at + TOKEN_LEN);
	}
	close(pair[0]);
	close(pair[1]);
}

/* A page that was spliced into the pair is spliced out of it. */
static void page_from(const char *kind)
{
	off_t off = 0;
	int pair[2], page;

	if (!make_pair(kind, pair))
		return;
	begin(kind, "source", "spliced page");
	page = open_page("memfd");
	if (splice(page, &off, pipe_b[1], NULL, 4096, 0) == 4096 &&
	    splice(pipe_b[0], NULL, pair[1], NULL, 4096, 0) == 4096) {
		await(pair[0]);
		count_before();
		end(splice(pair[0], NULL, pipe_a[1], NULL, 4096, SPLICE_F_NONBLOCK) > 100 + TOKEN_LEN);
	}
	close(page);
	close(pair[0]);
	close(pair[1]);
}

static void memory_as_source(unsigned flags, const char *what)
{
	unsigned char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = {.iov_base = memory, .iov_len = 4096};

	begin("memory", "source", what);
	for (unsigned i = 0; i < TOKEN_LEN; i++)
		memory[100 + i] = token_at(nr_token, i);
	count_before();
	end(vmsplice(pipe_a[1], &iov, 1, flags) == 4096);
	munmap(memory, 4096);
}

/* The two controls: a write into a pipe must copy, and a second reference by tee must not. */
static void controls(void)
{
	unsigned char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	begin("control", "copy", "write into a pipe");
	for (unsigned i = 0; i < TOKEN_LEN; i++)
		memory[100 + i] = token_at(nr_token, i);
	count_before();
	end(write(pipe_a[1], memory, 4096) == 4096);
	munmap(memory, 4096);
	begin("control", "reference", "tee");
	if (put(pipe_a[1], 4096, 100)) {
		count_before();
		end(tee(pipe_a[0], pipe_b[1], 4096, 0) == 4096);
	}
}

int main(void)
{
	static const char *const pairs[] = {"pipe", "TCP socket", "MPTCP socket", "UNIX socket"};
	static const size_t lens[] = {512, 3000, 4096, 65536 - 4096};

	if (pipe2(pipe_a, O_NONBLOCK) < 0 || pipe2(pipe_b, O_NONBLOCK) < 0)
		return 1;
	fcntl(pipe_a[1], F_SETPIPE_SZ, 1 << 20);
	begin_kprobes();
	controls();
	file_as_source("file on tmpfs", "memfd");
	file_as_source("file on a disk", "/var/tmp");
	file_as_sink("file on tmpfs", "/tmp");
	file_as_sink("file on a disk", "/var/tmp");
	memory_as_source(0, "vmsplice");
	memory_as_source(SPLICE_F_GIFT, "vmsplice, GIFT");
	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		pair_as_sink(pairs[i]);
		page_from(pairs[i]);
		for (unsigned j = 0; j < sizeof(lens) / sizeof(lens[0]); j++)
			piece_from(pairs[i], lens[j], lens[j] - 100);
	}
	printf("@cells done\n");
	return 0;
}
