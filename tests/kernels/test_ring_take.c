/* SPDX-License-Identifier: MIT */
/* test_ring_take - splices into /dev/usplice: which pages it takes over, and which it copies. For a guest that has loaded kmod/. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

static struct ring ring;
static int fds[2];
static char page[PAGE];

static int open_both(void **state)
{
	(void)state;
	ring_open(&ring, 4, 0);
	make_pipe(fds);
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
	return 0;
}

/* Splice a page, number nr of a stream, out of the pipe into a slot, which must come back with it. */
static void take(unsigned slot, unsigned flags, uint64_t nr, unsigned expected)
{
	struct usplice_news news;

	memset(ring_slot(&ring, slot), 0x55, PAGE); /* the old page is mapped */
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, slot, 0, 0), 0);
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, PAGE, flags), PAGE);
	news = ring_news(&ring);
	assert_int_equal(news.flags, expected);
	assert_int_equal(news.slot, slot);
	assert_int_equal(news.len, PAGE);
	assert_true(page_is(ring_slot(&ring, slot), nr));
}

static void written_pages_are_taken_if_they_may_move(void **state)
{
	(void)state;
	for (unsigned nr = 0; nr < 100; nr++) {
		bool moves = nr % 3;

		page_fill(page, nr);
		assert_int_equal(write(fds[1], page, PAGE), PAGE);
		take(nr % 4, moves ? SPLICE_F_MOVE : 0, nr, moves ? USPLICE_TAKEN : USPLICE_COPIED);
	}
	assert_int_equal(ring_stat(&ring).taken_bytes, 66 * PAGE);
	assert_int_equal(ring_stat(&ring).copied_bytes, 34 * PAGE);
}

static void a_page_that_was_taken_can_be_lent(void **state)
{
	(void)state;
	page_fill(page, 1);
	assert_int_equal(write(fds[1], page, PAGE), PAGE);
	take(2, SPLICE_F_MOVE, 1, USPLICE_TAKEN);
	ring_lend(&ring, 2);
	splice_all(ring.fd, fds[1], PAGE, 0);
	memset(page, 0, PAGE);
	read_all(fds[0], page, PAGE);
	assert_true(page_is(page, 1));
	ring_expect(&ring, USPLICE_FREE, 2);
}

static void memory_of_programs_is_copied(void **state)
{
	static char memory[2 * PAGE] __attribute__((aligned(PAGE)));
	struct iovec pieces[2] = {{memory, PAGE}, {memory + PAGE, PAGE}};

	(void)state;
	page_fill(memory, 1);
	page_fill(memory + PAGE, 2);
	assert_int_equal(vmsplice(fds[1], &pieces[0], 1, 0), PAGE);
	take(0, SPLICE_F_MOVE, 1, USPLICE_COPIED);
	assert_int_equal(vmsplice(fds[1], &pieces[1], 1, SPLICE_F_GIFT), PAGE);
	take(1, SPLICE_F_MOVE, 2, USPLICE_COPIED);
}

static void what_another_pipe_has_too_is_copied(void **state)
{
	int copy[2];

	(void)state;
	make_pipe(copy);
	page_fill(page, 1);
	assert_int_equal(write(copy[1], page, PAGE), PAGE);
	assert_int_equal(tee(copy[0], fds[1], PAGE, 0), PAGE);
	take(0, SPLICE_F_MOVE, 1, USPLICE_COPIED);
	memset(ring_slot(&ring, 0), 0, PAGE);
	read_all(copy[0], page, PAGE);
	assert_true(page_is(page, 1));
	close(copy[0]);
	close(copy[1]);
}

static void what_another_ring_lends_is_copied(void **state)
{
	struct ring other;

	(void)state;
	ring_open(&other, 1, 0);
	page_fill(other.memory, 4);
	ring_lend(&other, 0);
	splice_all(other.fd, fds[1], PAGE, 0);
	take(0, SPLICE_F_MOVE, 4, USPLICE_COPIED);
	ring_expect(&other, USPLICE_FREE, 0);
	ring_close(&other);
}

/* Make a file of one page, and splice it into a pipe from the cache. */
static int splice_file(const char *path, uint64_t nr, int to)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	loff_t at = 0;

	assert_true(fd >= 0);
	page_fill(page, nr);
	assert_int_equal(write(fd, page, PAGE), PAGE);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(splice(fd, &at, to, NULL, PAGE, 0), PAGE);
	return fd;
}

/*
 * A page that was just read has a reference more, in a list of its processor, and cannot be stolen. The kernel empties these lists when it
 * fails to drop a page from a cache: here one that a pipe holds.
 */
static void drain_lists(void)
{
	int other[2], fd;

	make_pipe(other);
	fd = splice_file("/var/tmp/other", 1, other[1]);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
	close(other[0]);
	close(other[1]);
	unlink("/var/tmp/other");
}

static void a_clean_page_of_a_disk_is_taken_and_the_file_keeps_its_bytes(void **state)
{
	int fd = splice_file("/var/tmp/taken", 5, fds[1]);

	(void)state;
	drain_lists();
	take(0, SPLICE_F_MOVE, 5, USPLICE_TAKEN);
	memset(ring_slot(&ring, 0), 0, PAGE);
	assert_int_equal(pread(fd, page, PAGE, 0), PAGE);
	assert_true(page_is(page, 5));
	close(fd);
	unlink("/var/tmp/taken");
}

static void a_page_of_a_file_in_memory_is_copied(void **state)
{
	int fd = splice_file("/tmp/copied", 6, fds[1]);

	(void)state;
	take(0, SPLICE_F_MOVE, 6, USPLICE_COPIED);
	memset(ring_slot(&ring, 0), 0, PAGE);
	assert_int_equal(pread(fd, page, PAGE, 0), PAGE);
	assert_true(page_is(page, 6));
	close(fd);
	unlink("/tmp/copied");
}

static void pieces_fill_a_slot_together(void **state)
{
	struct usplice_news news;

	(void)state;
	page_fill(page, 7);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_DIRECT), 0); /* packets: bufs of their own */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(write(fds[1], page + i * 1000, 1000), 1000);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 3, 0, 0), 0);
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, 16 * PAGE, SPLICE_F_MOVE), 4000);
	news = ring_news(&ring);
	assert_int_equal(news.flags, USPLICE_COPIED);
	assert_int_equal(news.len, 4000);
	assert_memory_equal(ring_slot(&ring, 3), page, 4000);
}

static void what_finds_no_slot_stays_in_the_pipe(void **state)
{
	(void)state;
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, PAGE, SPLICE_F_NONBLOCK), -1);
	assert_int_equal(errno, EAGAIN);
	page_fill(page, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(write(fds[1], page, PAGE), PAGE);
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, 3 * PAGE, SPLICE_F_NONBLOCK), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(bytes_in(fds[0]), 3 * PAGE);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 0, 0, 0), 0);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 1, 0, 0), 0);
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, 3 * PAGE, SPLICE_F_MOVE), 2 * PAGE);
	assert_int_equal(bytes_in(fds[0]), PAGE);
	ring_expect(&ring, USPLICE_TAKEN, 0);
	ring_expect(&ring, USPLICE_TAKEN, 1);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 2, 0, 0), 0);
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, 100, SPLICE_F_MOVE), 100);
	ring_expect(&ring, USPLICE_COPIED, 2);
	assert_int_equal(bytes_in(fds[0]), PAGE - 100);
	assert_int_equal(ioctl(ring.fd, USPLICE_END), 0);
	assert_int_equal(splice(fds[0], NULL, ring.fd, NULL, PAGE, 0), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(bytes_in(fds[0]), PAGE - 100);
}

/* --- Slots are lent, filled and looked at by several threads at once --- */

#define NR_ROUNDS 1000u

static atomic_bool is_over;

/* A program that looks at all slots all the time: faults and swaps meet. */
static void *look_at_slots(void *arg)
{
	unsigned long sum = 0;

	(void)arg;
	while (!is_over) {
		for (unsigned slot = 0; slot < ring.nr_slots; slot++)
			sum += (unsigned char)ring_slot(&ring, slot)[slot];
	}
	return (void *)sum;
}

/* Feeds the pipe with pages to be taken. */
static void *write_pages(void *arg)
{
	char out[PAGE];

	(void)arg;
	for (uint64_t nr = 0; nr < NR_ROUNDS; nr++) {
		page_fill(out, nr);
		if (write(fds[1], out, PAGE) != PAGE)
			return (void *)1;
	}
	return NULL;
}

static void *splice_into_ring(void *arg)
{
	(void)arg;
	for (size_t done = 0; done < (size_t)NR_ROUNDS * PAGE;) {
		ssize_t ret = splice(fds[0], NULL, ring.fd, NULL, 16 * PAGE, SPLICE_F_MOVE);

		if (ret <= 0)
			return (void *)1;
		done += (size_t)ret;
	}
	return NULL;
}

static int second[2];

static void *splice_out_of_ring(void *arg)
{
	(void)arg;
	for (size_t done = 0; done < (size_t)NR_ROUNDS * PAGE;) {
		ssize_t ret = splice(ring.fd, NULL, second[1], NULL, 3000, 0);

		if (ret <= 0)
			return (void *)1;
		done += (size_t)ret;
	}
	return NULL;
}

static void *read_pages(void *arg)
{
	(void)arg;
	for (uint64_t nr = 0; nr < NR_ROUNDS; nr++) {
		static char got[PAGE];

		for (size_t done = 0; done < PAGE;) {
			ssize_t ret = read(second[0], got + done, PAGE - done);

			if (ret <= 0)
				return (void *)1;
			done += (size_t)ret;
		}
		if (!page_is(got, nr))
			return (void *)2;
	}
	return NULL;
}

/* What is taken is lent again: every page goes through the ring in order, while the mapping is looked at. */
static void pages_go_through_the_ring_while_others_look(void **state)
{
	void *(*const works[])(void *arg) = {write_pages, splice_into_ring, splice_out_of_ring, read_pages};
	pthread_t threads[4], looker;
	unsigned nr_lent = 0;
	void *result;

	(void)state;
	make_pipe(second);
	is_over = false;
	for (unsigned slot = 0; slot < ring.nr_slots; slot++)
		assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, slot, 0, 0), 0);
	assert_int_equal(pthread_create(&looker, NULL, look_at_slots, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, works[i], NULL), 0);
	for (unsigned nr_free = 0; nr_free < NR_ROUNDS;) {
		struct usplice_news news = ring_news(&ring);

		if (news.flags == USPLICE_FREE) {
			nr_free++;
			assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, news.slot, 0, 0), 0);
		} else if (news.flags != USPLICE_LATE) {
			assert_true(page_is(ring_slot(&ring, news.slot), nr_lent++));
			ring_lend(&ring, news.slot);
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	is_over = true;
	pthread_join(looker, NULL);
	assert_int_equal(ring_stat(&ring).taken_bytes, NR_ROUNDS * PAGE);
	close(second[0]);
	close(second[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written_pages_are_taken_if_they_may_move, open_both, close_both),
		cmocka_unit_test_setup_teardown(a_page_that_was_taken_can_be_lent, open_both, close_both),
		cmocka_unit_test_setup_teardown(memory_of_programs_is_copied, open_both, close_both),
		cmocka_unit_test_setup_teardown(what_another_pipe_has_too_is_copied, open_both, close_both),
		cmocka_unit_test_setup_teardown(what_another_ring_lends_is_copied, open_both, close_both),
		cmocka_unit_test_setup_teardown(a_clean_page_of_a_disk_is_taken_and_the_file_keeps_its_bytes, open_both,
						close_both),
		cmocka_unit_test_setup_teardown(a_page_of_a_file_in_memory_is_copied, open_both, close_both),
		cmocka_unit_test_setup_teardown(pieces_fill_a_slot_together, open_both, close_both),
		cmocka_unit_test_setup_teardown(what_finds_no_slot_stays_in_the_pipe, open_both, close_both),
		cmocka_unit_test_setup_teardown(pages_go_through_the_ring_while_others_look, open_both, close_both),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
