/* SPDX-License-Identifier: MIT */
/* test_ring_figures - how fast memory goes into a pipe and on: lent by a ring, by vmsplice(2), by write(2). Prints ratios. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

#define NR_PAGES 16u /* that a pipe holds */
#define NR_CALLS 60u
#define NR_ROUNDS 3u

#define NR_SLOTS 256u

static struct ring ring;
static unsigned unused[NR_SLOTS], nr_lent; /* the first NR_SLOTS - nr_lent of unused are the program's */
static int fds[2];
static char *memory;

/* Each puts NR_PAGES pages into the pipe. */
static void put_written(void)
{
	assert_int_equal(write(fds[1], memory, NR_PAGES * PAGE), NR_PAGES * PAGE);
}

static void put_vmspliced(void)
{
	struct iovec piece = {memory, NR_PAGES * PAGE};

	assert_int_equal(vmsplice(fds[1], &piece, 1, 0), NR_PAGES * PAGE);
}

/* Wait until this many slots are lent at most: what vmsplice(2) cannot tell. */
static void wait_for_slots(unsigned nr_most)
{
	struct usplice_news news[NR_SLOTS];

	while (nr_lent > nr_most) {
		ssize_t ret = read(ring.fd, news, sizeof(news));

		assert_true(ret > 0);
		for (ssize_t i = 0; i < ret / (ssize_t)sizeof(news[0]); i++) {
			if (news[i].flags == USPLICE_FREE)
				unused[NR_SLOTS - nr_lent--] = news[i].slot;
		}
	}
}

static void put_lent(void)
{
	struct usplice_order orders[NR_PAGES];

	wait_for_slots(NR_SLOTS - NR_PAGES);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		unsigned slot = unused[NR_SLOTS - 1 - nr_lent++];

		orders[i] = (struct usplice_order){.what = USPLICE_LEND, .slot = slot, .len = PAGE};
	}
	assert_int_equal(write(ring.fd, orders, sizeof(orders)), sizeof(orders));
	assert_int_equal(splice(ring.fd, NULL, fds[1], NULL, NR_PAGES * PAGE, 0), NR_PAGES * PAGE);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double measure(void (*put)(void), int out)
{
	double start = now();

	for (unsigned i = 0; i < NR_CALLS; i++) {
		put();
		splice_all(fds[0], out, NR_PAGES * PAGE, 0);
	}
	wait_for_slots(0);
	return now() - start;
}

static bool read_to_the_end(void *arg)
{
	static char buffer[256 << 10];
	int *ends = arg;
	ssize_t ret;

	close(ends[1]); /* else the end would never come */
	do
		ret = read(ends[0], buffer, sizeof(buffer));
	while (ret > 0);
	return ret == 0;
}

/* The best of some rounds in turns: other work on the machine makes a round slower, never faster. */
static void compare(const char *where, int out)
{
	void (*const puts[])(void) = {put_written, put_vmspliced, put_lent};
	double best[3] = {1e9, 1e9, 1e9};

	for (unsigned round = 0; round < NR_ROUNDS; round++) {
		for (unsigned i = 0; i < 3; i++) {
			double seconds = measure(puts[i], out);

			if (seconds < best[i])
				best[i] = seconds;
		}
	}
	print_message("# figure pages of memory, %s, vmsplice as fast as write: %.2f x\n", where, best[0] / best[1]);
	print_message("# figure pages of memory, %s, a ring as fast as write: %.2f x\n", where, best[0] / best[2]);
}

static void pages_are_dropped_behind_a_pipe(void **state)
{
	int out = open("/dev/null", O_WRONLY);

	(void)state;
	assert_true(out >= 0);
	compare("to /dev/null", out);
	close(out);
}

static void pages_are_sent_over_loopback(void **state)
{
	int ends[2];
	pid_t reader;

	(void)state;
	nudge_network();
	make_tcp(ends);
	reader = other_start(read_to_the_end, ends);
	close(ends[0]);
	compare("to TCP over loopback", ends[1]);
	close(ends[1]);
	other_join(reader);
}

static int set_up(void **state)
{
	(void)state;
	ring_open(&ring, NR_SLOTS, 0);
	for (unsigned slot = 0; slot < NR_SLOTS; slot++)
		unused[slot] = slot;
	make_pipe(fds);
	memory = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	memset(memory, 1, NR_PAGES * PAGE);
	memset(ring.memory, 1, NR_SLOTS * PAGE);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	munmap(memory, NR_PAGES * PAGE);
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pages_are_dropped_behind_a_pipe, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pages_are_sent_over_loopback, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
