/* SPDX-License-Identifier: MIT */
/*
 * test_ring_mapped - pages that /dev/usplice lent, and that a reader has mapped (TCP_ZEROCOPY_RECEIVE): a mapping is a use of the page, so
 * the page must not be told to be free before it is gone. For a guest that has loaded kmod/.
 */
#include <linux/types.h>

#include <linux/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

#define TCP_LEVEL 6
#define WINDOW (16 * PAGE)

/* Bytes of a connection, some of them mapped and the others to be read. */
struct window {
	int fd;
	char *memory;
	size_t mapped_len; /* pages at the beginning of memory */
	size_t read_len;   /* bytes that have to be read before more can be mapped */
};

static bool window_open(struct window *window, int fd)
{
	void *memory = mmap(NULL, WINDOW, PROT_READ, MAP_SHARED, fd, 0);

	*window = (struct window){.fd = fd, .memory = memory};
	return memory != MAP_FAILED;
}

/* Wait for bytes, and map what can be mapped over what was mapped before. False at an error. */
static bool window_receive(struct window *window)
{
	struct tcp_zerocopy_receive receive = {.address = (uintptr_t)window->memory, .length = WINDOW};
	struct pollfd poll_fd = {.fd = window->fd, .events = POLLIN};
	socklen_t len = sizeof(receive);

	if (poll(&poll_fd, 1, -1) != 1)
		return false;
	if (getsockopt(window->fd, TCP_LEVEL, TCP_ZEROCOPY_RECEIVE, &receive, &len) < 0 || receive.err)
		return false;
	window->mapped_len = receive.length;
	window->read_len = receive.recv_skip_hint;
	return true;
}

/* Let go of what is mapped. */
static bool window_drop(struct window *window)
{
	window->mapped_len = 0;
	return madvise(window->memory, WINDOW, MADV_DONTNEED) == 0;
}

/* Send pages 0 to nr_pages - 1 of a stream through slots of that number, in one go: none of them crosses the end of a segment. */
static void send_pages(struct ring *ring, int pipe[2], int out, unsigned nr_pages)
{
	for (unsigned slot = 0; slot < nr_pages; slot++) {
		page_fill(ring_slot(ring, slot), slot);
		ring_lend(ring, slot);
	}
	splice_all(ring->fd, pipe[1], nr_pages * PAGE, 0);
	splice_all(pipe[0], out, nr_pages * PAGE, 0);
}

static void mapped_pages_are_not_free(void **state)
{
	enum { NR = 4 };
	struct window window;
	struct ring ring;
	int fds[2], tcp[2], len = NR * PAGE;

	(void)state;
	nudge_network();
	ring_open(&ring, NR, 50);
	make_pipe(fds);
	make_tcp(tcp);
	assert_int_equal(setsockopt(tcp[0], SOL_SOCKET, SO_RCVLOWAT, &len, sizeof(len)), 0);
	send_pages(&ring, fds, tcp[1], NR);
	assert_true(window_open(&window, tcp[0]));
	assert_true(window_receive(&window));
	assert_int_equal(window.mapped_len, NR * PAGE);
	for (unsigned slot = 0; slot < NR;
	     slot++) /* the kernel has looked many times by now, and the socket is empty */
		ring_expect(&ring, USPLICE_LATE, slot);
	assert_false(ring_has_news(&ring));
	for (unsigned slot = 0; slot < NR; slot++)
		assert_true(page_is(window.memory + slot * PAGE, slot));
	page_fill(ring_slot(&ring, 2), 1000); /* forbidden, and it shows that these are the ring's pages */
	assert_true(page_is(window.memory + 2 * PAGE, 1000));

	assert_int_equal(munmap(window.memory + PAGE, PAGE), 0);
	ring_expect(&ring, USPLICE_FREE, 1); /* and only that */
	assert_int_equal(ring_stat(&ring).freed_slots, 1);
	close(tcp[0]); /* a mapping holds the connection's file */
	close(tcp[1]);
	assert_int_equal(ring_stat(&ring).freed_slots, 1);
	munmap(window.memory, WINDOW);
	for (unsigned nr = 0; nr < NR - 1; nr++)
		assert_int_equal(ring_news(&ring).flags, USPLICE_FREE);
	assert_int_equal(ring_stat(&ring).nr_out, 0);
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

static bool page_arrives(int fd, uint64_t nr)
{
	static char page[PAGE];

	for (size_t done = 0; done < PAGE;) {
		ssize_t ret = read(fd, page + done, PAGE - done);

		if (ret <= 0)
			return false;
		done += (size_t)ret;
	}
	return page_is(page, nr);
}

/* Look at every mapped page twice: the owner, another process, overwrites what it believes to be free. */
static bool pages_stay(const struct window *window, uint64_t nr)
{
	size_t nr_pages = window->mapped_len / PAGE;

	for (size_t i = 0; i < 2 * nr_pages; i++) {
		if (page_is(window->memory + i % nr_pages * PAGE, nr + i % nr_pages))
			continue;
		fprintf(stderr, "page %llu was changed while it was mapped\n", (unsigned long long)(nr + i % nr_pages));
		return false;
	}
	return true;
}

static bool mapped_stream_is_right(void *arg)
{
	struct stream *stream = arg;
	uint64_t nr = 0, nr_mapped = 0;
	struct window window;

	if (!window_open(&window, stream->fd))
		return false;
	while (nr < stream->nr_pages) {
		if (!window_receive(&window) || !pages_stay(&window, nr))
			return false;
		nr += window.mapped_len / PAGE;
		nr_mapped += window.mapped_len / PAGE;
		if (!window_drop(&window))
			return false;
		for (size_t len = 0; len < window.read_len; len += PAGE) { /* a page that two segments share */
			if (!page_arrives(stream->fd, nr++))
				return false;
		}
	}
	printf("# %llu of %llu pages were mapped by the reader\n", (unsigned long long)nr_mapped,
	       (unsigned long long)nr);
	fflush(stdout);
	return nr_mapped > nr / 2;
}

static void two_thousand_pages_that_the_reader_maps(void **state)
{
	(void)state;
	stream_over(make_tcp, mapped_stream_is_right, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mapped_pages_are_not_free),
		cmocka_unit_test(two_thousand_pages_that_the_reader_maps),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
