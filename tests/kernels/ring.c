/* SPDX-License-Identifier: MIT */
/* ring - what the tests of /dev/usplice share. */
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void ring_open(struct ring *ring, unsigned nr_slots, unsigned timeout_ms)
{
	struct usplice_setup setup = {.nr_slots = nr_slots, .event_fd = -1, .timeout_ms = timeout_ms};

	ring->fd = open("/dev/usplice", O_RDWR | O_CLOEXEC);
	assert_true(ring->fd >= 0);
	assert_int_equal(ioctl(ring->fd, USPLICE_SETUP, &setup), 0);
	ring->nr_slots = nr_slots;
	ring->memory = mmap(NULL, (size_t)nr_slots * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	assert_true(ring->memory != MAP_FAILED);
}

void ring_close(struct ring *ring)
{
	munmap(ring->memory, (size_t)ring->nr_slots * PAGE);
	close(ring->fd);
}

char *ring_slot(const struct ring *ring, unsigned slot)
{
	return ring->memory + (size_t)slot * PAGE;
}

struct usplice_stat ring_stat(const struct ring *ring)
{
	struct usplice_stat stat;

	assert_int_equal(ioctl(ring->fd, USPLICE_STAT, &stat), 0);
	return stat;
}

int ring_order(const struct ring *ring, unsigned what, unsigned slot, unsigned offset, unsigned len)
{
	struct usplice_order order = {
		.user_data = slot + 1000, .what = what, .slot = slot, .offset = offset, .len = len};
	ssize_t ret = write(ring->fd, &order, sizeof(order));

	return ret < 0 ? -errno : ret == sizeof(order) ? 0 : -EIO;
}

void ring_lend(const struct ring *ring, unsigned slot)
{
	assert_int_equal(ring_order(ring, USPLICE_LEND, slot, 0, PAGE), 0);
}

struct usplice_news ring_news(const struct ring *ring)
{
	struct usplice_news news;

	assert_int_equal(read(ring->fd, &news, sizeof(news)), sizeof(news));
	assert_int_equal(news.user_data, news.slot + 1000);
	return news;
}

void ring_expect(const struct ring *ring, unsigned flags, unsigned slot)
{
	struct usplice_news news = ring_news(ring);

	assert_int_equal(news.flags, flags);
	assert_int_equal(news.slot, slot);
}

bool ring_has_news(const struct ring *ring)
{
	struct pollfd poll_fd = {.fd = ring->fd, .events = POLLPRI};

	return poll(&poll_fd, 1, 0) == 1;
}

void *ring_nowhere(void)
{
	void *memory = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static uint64_t page_word(uint64_t nr, unsigned i)
{
	return (nr + 1) * 0x9e3779b97f4a7c15u + i;
}

void page_fill(void *page, uint64_t nr)
{
	uint64_t *words = page;

	for (unsigned i = 0; i < PAGE / 8; i++)
		words[i] = page_word(nr, i);
}

bool page_is(const void *page, uint64_t nr)
{
	const uint64_t *words = page;

	for (unsigned i = 0; i < PAGE / 8; i++) {
		if (words[i] != page_word(nr, i))
			return false;
	}
	return true;
}

void make_pipe(int fds[2])
{
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
}

void make_unix(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* fds[0] reads, as in a pipe. */
void make_tcp(int fds[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&address, len), 0);
	fds[0] = accept(listening, NULL, NULL);
	assert_true(fds[0] >= 0);
	close(listening);
}

void nudge_network(void)
{
	FILE *file = fopen("/proc/sys/net/core/skb_defer_max", "w");

	if (file) {
		fputs("0", file);
		fclose(file);
	}
}

void splice_all(int in, int out, size_t len, unsigned flags)
{
	while (len) {
		ssize_t ret = splice(in, NULL, out, NULL, len, flags);

		if (ret <= 0)
			print_error("splice of %zu bytes: %zd, %s\n", len, ret, strerror(errno));
		assert_true(ret > 0);
		len -= (size_t)ret;
	}
}

void read_all(int fd, void *to, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t ret = read(fd, (char *)to + done, len - done);

		assert_true(ret > 0);
		done += (size_t)ret;
	}
}

size_t bytes_in(int pipe)
{
	int len = -1;

	assert_int_equal(ioctl(pipe, FIONREAD, &len), 0);
	return (size_t)len;
}

pid_t other_start(bool (*check)(void *arg), void *arg)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(check(arg) ? 0 : 1);
	return pid;
}

void other_join(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Whether the process sleeps, interruptibly, in a call. */
bool task_sleeps(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'S';
}

int run(const char *command, char *ret_text, size_t len)
{
	FILE *output = popen(command, "r");
	size_t done;
	int status;

	assert_non_null(output);
	done = fread(ret_text, 1, len - 1, output);
	ret_text[done] = 0;
	status = pclose(output);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- A stream of pages --- */

void make_pages(const char *path, uint64_t nr_pages)
{
	FILE *file = fopen(path, "w");
	char page[PAGE];

	assert_non_null(file);
	for (uint64_t nr = 0; nr < nr_pages; nr++) {
		page_fill(page, nr);
		assert_int_equal(fwrite(page, PAGE, 1, file), 1);
	}
	assert_int_equal(fclose(file), 0);
}

bool file_is_right(const char *path, uint64_t nr_pages)
{
	FILE *file = fopen(path, "r");
	char page[PAGE];
	uint64_t nr = 0;

	while (file && fread(page, PAGE, 1, file) == 1 && page_is(page, nr))
		nr++;
	if (file)
		fclose(file);
	return nr == nr_pages;
}

bool stream_is_right(void *arg)
{
	struct stream *stream = arg;
	static char page[PAGE];

	for (uint64_t nr = 0; nr < stream->nr_pages; nr++) {
		for (size_t done = 0; done < PAGE;) {
			ssize_t ret = read(stream->fd, page + done, PAGE - done);

			if (ret <= 0)
				return false;
			done += (size_t)ret;
		}
		if (!page_is(page, nr)) {
			fprintf(stderr, "page %llu was changed before it was read\n", (unsigned long long)nr);
			return false;
		}
	}
	return true;
}

void stream_send(int out, uint64_t nr_pages)
{
	struct usplice_news news;
	struct ring ring;
	uint64_t sent = 0, late = 0, back = 0;
	unsigned unused = 64;
	int fds[2];

	ring_open(&ring, 64, 0);
	make_pipe(fds);
	while (back < nr_pages) {
		if (sent < nr_pages && unused) {
			page_fill(ring_slot(&ring, --unused), sent++);
			ring_lend(&ring, unused);
			splice_all(ring.fd, fds[1], PAGE, 0);
			splice_all(fds[0], out, PAGE, 0);
			continue;
		}
		news = ring_news(&ring);
		late += news.flags == USPLICE_LATE;
		if (news.flags != USPLICE_FREE)
			continue;
		back++;
		memset(ring_slot(&ring, news.slot), 0xee, PAGE); /* at once */
		if (sent < nr_pages) {
			page_fill(ring_slot(&ring, news.slot), sent++);
			ring_lend(&ring, news.slot);
			splice_all(ring.fd, fds[1], PAGE, 0);
			splice_all(fds[0], out, PAGE, 0);
		}
	}
	assert_int_equal(ring_stat(&ring).freed_slots, nr_pages);
	assert_int_equal(ring_stat(&ring).nr_out, 0);
	if (late)
		print_message("# %llu of %llu pages were late\n", (unsigned long long)late,
			      (unsigned long long)nr_pages);
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

void stream_over(void (*make)(int fds[2]), bool (*is_right)(void *stream), uint64_t nr_pages)
{
	struct stream stream = {.nr_pages = nr_pages};
	int fds[2];
	pid_t reader;

	nudge_network();
	make(fds);
	stream.fd = fds[0];
	reader = other_start(is_right, &stream);
	close(fds[0]);
	stream_send(fds[1], nr_pages);
	close(fds[1]);
	other_join(reader);
}
