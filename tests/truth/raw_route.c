/* SPDX-License-Identifier: MIT */
/*
 * raw_route SOURCE SINK - find out by system calls alone where bytes are copied on the way from SOURCE to SINK.
 *
 * SOURCE is file:FOLDER, direct:FOLDER, memfd, pipe, fifo:FOLDER, tcp, unix, udp or zero; SINK is one of these, or
 * null. Nothing of the library is used. Each experiment moves a page full of one letter. Then it changes the page and
 * looks at what comes out at the end: the new letter only if the end refers to the page. It prints a line for each:
 *
 *	source WORD	the splice from SOURCE into a pipe
 *	sink WORD	the splice from a pipe into SINK
 *	route WORD	both, one after the other
 *	range WORD	copy_file_range from SOURCE to SINK
 *	send WORD	MSG_ZEROCOPY from memory into SINK
 *
 * WORD is "reference", "copied", "refused" (the kernel does not do this), or "undecided".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_LEN 4096
#define OLD_LETTER 'o'
#define NEW_LETTER 'n'
#define PATIENCE_MS 10000

/*
 * One end. Bytes enter by in and leave by out; both may be the same file. page is the descriptor by which the page
 * is changed that out gives, or -1.
 */
struct end {
	const char *kind;
	int in, out, page;
	bool has_pos; /* a regular file: read at offset 0 */
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void write_page(int fd, char letter)
{
	char bytes[PAGE_LEN];

	memset(bytes, letter, sizeof(bytes));
	if (pwrite(fd, bytes, sizeof(bytes), 0) != PAGE_LEN)
		fail("pwrite");
}

/* A page in memory that has been written out, so that a change of it happens in place. */
static int new_page(void)
{
	int fd = memfd_create("raw-route", MFD_CLOEXEC);

	if (fd < 0)
		fail("memfd_create");
	write_page(fd, OLD_LETTER);
	return fd;
}

/* --- Making ends ----------------------------------------------------------------------------------------- */

static void open_file(struct end *end, const char *folder, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/raw-route-XXXXXX", folder);
	end->page = mkostemp(path, O_CLOEXEC);
	if (end->page < 0)
		fail(folder);
	end->in = open(path, O_RDWR | O_CLOEXEC | flags);
	unlink(path);
	if (end->in < 0)
		fail("open");
	end->out = end->in;
	end->has_pos = true;
}

static void open_memfd(struct end *end)
{
	end->in = end->out = end->page = memfd_create("raw-route", MFD_CLOEXEC);
	end->has_pos = true;
}

static void open_fifo(struct end *end, const char *folder)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/raw-route-fifo-%d", folder, (int)getpid());
	if (mkfifo(path, 0600) < 0)
		fail("mkfifo");
	end->out = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	end->in = open(path, O_WRONLY | O_CLOEXEC);
	unlink(path);
}

static void connect_ends(struct end *end, int type)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *sockaddr = (struct sockaddr *)&address;
	int listener = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(address);

	end->in = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (bind(listener, sockaddr, len) < 0 || (type == SOCK_STREAM && listen(listener, 1) < 0) ||
	    getsockname(listener, sockaddr, &len) < 0 || connect(end->in, sockaddr, len) < 0)
		fail("loopback");
	end->out = listener;
	if (type != SOCK_STREAM)
		return;
	end->out = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
}

static void open_pair(struct end *end, bool is_pipe)
{
	int pair[2];

	if ((is_pipe ? pipe2(pair, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) < 0)
		fail("pair");
	end->out = pair[0];
	end->in = pair[1];
}

static bool is_kind(const char *kind, const char *name)
{
	return strncmp(kind, name, strlen(name)) == 0;
}

static struct end open_end(const char *kind)
{
	struct end end = {.kind = kind, .in = -1, .out = -1, .page = -1};

	if (is_kind(kind, "file:"))
		open_file(&end, kind + strlen("file:"), 0);
	else if (is_kind(kind, "direct:"))
		open_file(&end, kind + strlen("direct:"), O_DIRECT);
	else if (is_kind(kind, "fifo:"))
		open_fifo(&end, kind + strlen("fifo:"));
	else if (is_kind(kind, "memfd"))
		open_memfd(&end);
	else if (is_kind(kind, "pipe") || is_kind(kind, "unix"))
		open_pair(&end, is_kind(kind, "pipe"));
	else if (is_kind(kind, "tcp") || is_kind(kind, "udp"))
		connect_ends(&end, is_kind(kind, "tcp") ? SOCK_STREAM : SOCK_DGRAM);
	else if (is_kind(kind, "zero") || is_kind(kind, "null"))
		end.in = end.out = open(is_kind(kind, "zero") ? "/dev/zero" : "/dev/null", O_RDWR | O_CLOEXEC);
	if (end.in < 0 || end.out < 0)
		fail(kind);
	return end;
}

static void close_end(struct end *end)
{
	close(end->in);
	if (end->out != end->in)
		close(end->out);
	if (end->page >= 0 && end->page != end->in)
		close(end->page);
}

/* --- Moving a page ---------------------------------------------------------------------------------------- */

static bool await(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, PATIENCE_MS) == 1;
}

/* Splice the page, in as many steps as it takes. 0, or the error of the first step. */
static int splice_page(int in, bool in_has_pos, int out, bool out_has_pos)
{
	off_t from = 0, to = 0;
	size_t done = 0;

	while (done < PAGE_LEN) {
		ssize_t ret = splice(in, in_has_pos ? &from : NULL, out, out_has_pos ? &to : NULL, PAGE_LEN - done, 0);

		if (ret < 0 && !done && (errno == EINVAL || errno == EOPNOTSUPP))
			return errno;
		if (ret <= 0)
			fail("splice");
		done += (size_t)ret;
	}
	return 0;
}

/* Read the first letter that the end gives, and see whether it is the letter of after the change. */
static const char *judge(int fd, bool has_pos)
{
	char letter = 0;
	ssize_t ret = has_pos ? pread(fd, &letter, 1, 0) : await(fd) ? read(fd, &letter, 1) : -1;

	if (ret != 1)
		fail("the page did not arrive");
	return letter == NEW_LETTER ? "reference" : letter == OLD_LETTER ? "copied" : "undecided";
}

/* Bring a page to where the source gives it. Return the descriptor to change it by, or -1. */
static int load_source(const struct end *source)
{
	int page, pipe_fds[2];

	if (source->has_pos) {
		write_page(source->page, OLD_LETTER);
		fsync(source->page);
		return dup(source->page);
	}
	if (is_kind(source->kind, "zero"))
		return -1;
	page = new_page();
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		fail("pipe");
	if (splice_page(page, true, pipe_fds[1], false) || splice_page(pipe_fds[0], false, source->in, false) ||
	    !await(source->out))
		fail("cannot fill the source");
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return page;
}

static const char *look_at_sink(const struct end *sink)
{
	return sink->has_pos ? judge(sink->page, true) : judge(sink->out, false);
}

/* --- Experiments ------------------------------------------------------------------------------------------- */

/* Splice from the source, or else from a page of our own, and on into the sink, if there is one. */
static const char *try_splices(const char *source_kind, const char *sink_kind)
{
	struct end source = open_end(source_kind), sink = open_end(sink_kind ? sink_kind : "pipe"), middle;
	const char *word = "undecided";
	int page;

	middle = open_end("pipe");
	page = load_source(&source);
	if (splice_page(source.out, source.has_pos, middle.in, false) ||
	    (sink_kind && splice_page(middle.out, false, sink.in, sink.has_pos)))
		word = "refused";
	else if (page >= 0 && !(sink_kind && is_kind(sink_kind, "null"))) {
		write_page(page, NEW_LETTER);
		word = sink_kind ? look_at_sink(&sink) : judge(middle.out, false);
	}
	close(page);
	close_end(&source);
	close_end(&sink);
	close_end(&middle);
	return word;
}

/* A file system that shares blocks copies a page when it is changed: only the map of the blocks tells. */
static bool shares_blocks(int fd)
{
	union {
		struct fiemap map; /* with extents behind it */
		unsigned char room[sizeof(struct fiemap) + 8 * sizeof(struct fiemap_extent)];
	} of = {.map = {.fm_length = PAGE_LEN, .fm_flags = FIEMAP_FLAG_SYNC, .fm_extent_count = 8}};

	if (ioctl(fd, FS_IOC_FIEMAP, &of.map) < 0)
		return errno != EOPNOTSUPP;
	for (unsigned i = 0; i < of.map.fm_mapped_extents; i++)
		if (of.map.fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED)
			return true;
	return false;
}

static const char *try_range(const char *source_kind, const char *sink_kind)
{
	struct end source = open_end(source_kind), sink = open_end(sink_kind);
	const char *word = "refused";
	off_t from = 0, to = 0;

	if (source.has_pos && sink.has_pos) {
		close(load_source(&source));
		if (copy_file_range(source.in, &from, sink.in, &to, PAGE_LEN, 0) == PAGE_LEN) {
			write_page(source.page, NEW_LETTER);
			word = shares_blocks(sink.page) ? "undecided" : look_at_sink(&sink);
		}
	}
	close_end(&source);
	close_end(&sink);
	return word;
}

static const char *try_send(const char *sink_kind)
{
	struct end sink = open_end(sink_kind);
	const char *word = "refused";
	char *memory = mmap(NULL, PAGE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int one = 1;

	memset(memory, OLD_LETTER, PAGE_LEN);
	if (setsockopt(sink.in, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) == 0 &&
	    send(sink.in, memory, PAGE_LEN, MSG_ZEROCOPY) == PAGE_LEN) {
		memset(memory, NEW_LETTER, PAGE_LEN);
		word = look_at_sink(&sink);
	}
	munmap(memory, PAGE_LEN);
	close_end(&sink);
	return word;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: raw_route SOURCE SINK\n");
		return 2;
	}
	printf("source %s\n", try_splices(argv[1], NULL));
	printf("sink %s\n", try_splices("memfd", argv[2]));
	printf("route %s\n", try_splices(argv[1], argv[2]));
	printf("range %s\n", try_range(argv[1], argv[2]));
	printf("send %s\n", try_send(argv[2]));
	return 0;
}
