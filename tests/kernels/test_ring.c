/* SPDX-License-Identifier: MIT */
/* test_ring - /dev/usplice: its pages through every sink, its news, its ends. For a guest that has loaded kmod/. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

/* --- Rings, mappings, orders --- */

static void a_ring_without_slots_lends_nothing(void **state)
{
	struct usplice_setup setup = {.nr_slots = 4, .event_fd = -1};
	int fd = open("/dev/usplice", O_RDWR), fds[2];

	(void)state;
	make_pipe(fds);
	assert_int_equal(splice(fd, NULL, fds[1], NULL, PAGE, 0), -1);
	assert_int_equal(errno, ENXIO);
	assert_true(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_int_equal(errno, ENXIO);
	for (unsigned nr_slots = 0; nr_slots <= UINT_MAX / 2; nr_slots += UINT_MAX / 2) {
		struct usplice_setup wrong = {.nr_slots = nr_slots, .event_fd = -1};

		assert_int_equal(ioctl(fd, USPLICE_SETUP, &wrong), -1);
		assert_int_equal(errno, EINVAL);
	}
	setup.event_fd = fds[0];
	assert_int_equal(ioctl(fd, USPLICE_SETUP, &setup), -1);
	assert_int_equal(errno, EINVAL);
	setup.event_fd = -1;
	assert_int_equal(ioctl(fd, USPLICE_SETUP, &setup), 0);
	assert_int_equal(ioctl(fd, USPLICE_SETUP, &setup), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(ioctl(fd, FIONREAD, &setup), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), -1);
	assert_int_equal(errno, ESPIPE);
	close(fd);
	close(fds[0]);
	close(fds[1]);
}

static bool is_limited(void *arg)
{
	struct usplice_setup setup = {.nr_slots = 1, .event_fd = -1};
	int *fds = arg, nr = 0;

	if (setresuid(12345, 12345, 12345) < 0)
		return false;
	while (nr < 20 && ioctl(fds[nr], USPLICE_SETUP, &setup) == 0)
		nr++;
	if (nr != 16 || errno != EDQUOT)
		return false;
	return true;
}

static void a_user_has_a_limited_number_of_rings(void **state)
{
	int fds[20];

	(void)state;
	for (int round = 0; round < 2; round++) { /* what was closed does not count */
		for (int i = 0; i < 20; i++)
			assert_true((fds[i] = open("/dev/usplice", O_RDWR)) >= 0);
		other_join(other_start(is_limited, fds));
		for (int i = 0; i < 20; i++)
			close(fds[i]);
	}
}

static void mappings_are_shared_and_no_longer_than_the_ring(void **state)
{
	struct ring ring;
	int fds[2];
	struct iovec piece;

	(void)state;
	ring_open(&ring, 4, 0);
	assert_true(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ring.fd, 0) == MAP_FAILED);
	assert_int_equal(errno, EINVAL);
	assert_true(mmap(NULL, 5 * PAGE, PROT_READ, MAP_SHARED, ring.fd, 0) == MAP_FAILED);
	assert_true(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ring.fd, 4 * PAGE) == MAP_FAILED);
	for (unsigned i = 0; i < 4 * PAGE; i++)
		assert_int_equal(ring.memory[i], 0);
	page_fill(ring_slot(&ring, 1), 7);
	make_pipe(fds);
	piece = (struct iovec){ring_slot(&ring, 1), PAGE};
	assert_int_equal(vmsplice(fds[1], &piece, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(write(fds[1], piece.iov_base, PAGE), PAGE);
	read_all(fds[0], ring_slot(&ring, 2), PAGE);
	assert_true(page_is(ring_slot(&ring, 2), 7));
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

static void wrong_orders_are_refused_and_those_before_them_obeyed(void **state)
{
	struct usplice_order orders[] = {
		{.what = USPLICE_LEND, .slot = 0, .user_data = 1000, .len = 10},
		{.what = USPLICE_LEND, .slot = 1, .user_data = 1001, .len = 0},
	};
	struct ring ring;

	(void)state;
	ring_open(&ring, 4, 0);
	assert_int_equal(write(ring.fd, orders, sizeof(orders)), sizeof(orders[0]));
	assert_int_equal(write(ring.fd, orders, sizeof(orders[0]) - 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 0, 0, 10), -EBUSY);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 4, 0, 10), -EINVAL);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 1, 1, PAGE), -EINVAL);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 1, PAGE, 1), -EINVAL);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 1, UINT_MAX, 2), -EINVAL);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 1, 1, 0), -EINVAL);
	assert_int_equal(ring_order(&ring, 4, 1, 0, 0), -EINVAL);
	assert_int_equal(ring_order(&ring, 0, 1, 0, 0), -EINVAL);
	assert_int_equal(ring_order(&ring, USPLICE_CANCEL, 1, 0, 0), -EBUSY);
	assert_int_equal(write(ring.fd, ring_nowhere(), sizeof(orders)), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 1, 0, 0), 0);
	assert_int_equal(ring_stat(&ring).nr_out, 2);
	assert_int_equal(ring_order(&ring, USPLICE_CANCEL, 1, 0, 0), 0);
	assert_int_equal(ring_order(&ring, USPLICE_CANCEL, 0, 0, 0), 0);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 0, 0, 1), -EBUSY); /* until that is heard */
	ring_expect(&ring, USPLICE_CANCELLED, 1);
	ring_expect(&ring, USPLICE_CANCELLED, 0);
	assert_int_equal(ring_stat(&ring).nr_out, 0);
	ring_close(&ring);
}

static void news_that_could_not_be_read_stays(void **state)
{
	struct usplice_news news[2];
	struct ring ring;

	(void)state;
	ring_open(&ring, 2, 0);
	for (unsigned slot = 0; slot < 2; slot++) {
		ring_lend(&ring, slot);
		assert_int_equal(ring_order(&ring, USPLICE_CANCEL, slot, 0, 0), 0);
	}
	assert_int_equal(read(ring.fd, news, sizeof(news[0]) - 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(read(ring.fd, ring_nowhere(), sizeof(news)), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(ring_stat(&ring).nr_out, 2);
	assert_int_equal(read(ring.fd, news, sizeof(news)), sizeof(news));
	assert_int_equal(news[0].slot, 0);
	assert_int_equal(news[1].slot, 1);
	assert_int_equal(fcntl(ring.fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(ring.fd, news, sizeof(news)), -1);
	assert_int_equal(errno, EAGAIN);
	ring_close(&ring);
}

static void poll_and_the_eventfd_tell_what_can_be_done(void **state)
{
	struct usplice_setup setup = {.nr_slots = 2, .event_fd = eventfd(0, EFD_NONBLOCK)};
	struct ring ring = {.fd = open("/dev/usplice", O_RDWR)};
	struct pollfd poll_fd = {.fd = ring.fd, .events = POLLIN | POLLOUT | POLLPRI};
	uint64_t count;

	(void)state;
	assert_int_equal(ioctl(ring.fd, USPLICE_SETUP, &setup), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	ring_lend(&ring, 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_int_equal(poll_fd.revents, POLLIN);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 1, 0, 0), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_int_equal(poll_fd.revents, POLLIN | POLLOUT);
	assert_int_equal(read(setup.event_fd, &count, sizeof(count)), -1);
	assert_int_equal(ring_order(&ring, USPLICE_CANCEL, 0, 0, 0), 0);
	assert_int_equal(ring_order(&ring, USPLICE_CANCEL, 1, 0, 0), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_int_equal(poll_fd.revents, POLLPRI);
	assert_int_equal(read(setup.event_fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	ring_expect(&ring, USPLICE_CANCELLED, 0);
	ring_expect(&ring, USPLICE_CANCELLED, 1);
	assert_int_equal(ioctl(ring.fd, USPLICE_END), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_int_equal(poll_fd.revents, POLLIN | POLLPRI);
	close(setup.event_fd);
	close(ring.fd);
}

/* --- Lending --- */

static void a_page_is_free_when_the_last_byte_has_left_the_pipe(void **state)
{
	char got[PAGE];
	struct ring ring;
	int fds[2];

	(void)state;
	ring_open(&ring, 2, 0);
	make_pipe(fds);
	page_fill(ring_slot(&ring, 1), 5);
	ring_lend(&ring, 1);
	splice_all(ring.fd, fds[1], PAGE, 0);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 1, 0, 1), -EBUSY);
	read_all(fds[0], got, 100);
	assert_false(ring_has_news(&ring));
	read_all(fds[0], got + 100, PAGE - 100);
	ring_expect(&ring, USPLICE_FREE, 1);
	assert_true(page_is(got, 5));
	assert_int_equal(ring_stat(&ring).lent_bytes, PAGE);
	assert_int_equal(ring_stat(&ring).freed_slots, 1);
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

static void a_part_of_a_page_goes_in_parts(void **state)
{
	char got[PAGE];
	struct ring ring;
	int fds[2];

	(void)state;
	ring_open(&ring, 2, 0);
	make_pipe(fds);
	page_fill(ring_slot(&ring, 0), 5);
	page_fill(ring_slot(&ring, 1), 6);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 0, 96, 1000), 0);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 1, PAGE - 3, 3), 0);
	assert_int_equal(splice(ring.fd, NULL, fds[1], NULL, 600, 0), 600);
	read_all(fds[0], got, 600);
	assert_false(ring_has_news(&ring)); /* some bytes are still to be lent */
	assert_int_equal(ring_order(&ring, USPLICE_CANCEL, 0, 0, 0), -EBUSY);
	assert_int_equal(splice(ring.fd, NULL, fds[1], NULL, PAGE, 0), 403);
	read_all(fds[0], got + 600, 403);
	ring_expect(&ring, USPLICE_FREE, 0);
	ring_expect(&ring, USPLICE_FREE, 1);
	assert_memory_equal(got, ring_slot(&ring, 0) + 96, 1000);
	assert_memory_equal(got + 1000, ring_slot(&ring, 1) + PAGE - 3, 3);
	assert_int_equal(splice(ring.fd, NULL, fds[1], NULL, PAGE, SPLICE_F_NONBLOCK), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(ioctl(ring.fd, USPLICE_END), 0);
	assert_int_equal(splice(ring.fd, NULL, fds[1], NULL, PAGE, 0), 0);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 0, 0, 1), -EPIPE);
	assert_int_equal(read(ring.fd, got, PAGE), 0); /* no more news either */
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

static void both_copies_of_a_tee_hold_the_page(void **state)
{
	char got[PAGE];
	struct ring ring;
	int fds[2], copy[2], third[2];

	(void)state;
	ring_open(&ring, 1, 0);
	make_pipe(fds);
	make_pipe(copy);
	make_pipe(third);
	page_fill(ring.memory, 9);
	ring_lend(&ring, 0);
	splice_all(ring.fd, fds[1], PAGE, 0);
	assert_int_equal(tee(fds[0], copy[1], PAGE, 0), PAGE);
	read_all(fds[0], got, PAGE);
	assert_true(page_is(got, 9));
	assert_false(ring_has_news(&ring));
	splice_all(copy[0], third[1], 1000, 0); /* a part, into another pipe */
	read_all(copy[0], got + 1000, PAGE - 1000);
	assert_false(ring_has_news(&ring));
	read_all(third[0], got, 1000);
	assert_true(page_is(got, 9));
	ring_expect(&ring, USPLICE_FREE, 0);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(copy[i]);
		close(third[i]);
	}
	ring_close(&ring);
}

static void a_late_page_is_told_and_not_given_back(void **state)
{
	struct usplice_news news;
	char got[PAGE];
	struct ring ring;
	int fds[2];

	(void)state;
	ring_open(&ring, 1, 20);
	make_pipe(fds);
	page_fill(ring.memory, 3);
	ring_lend(&ring, 0);
	splice_all(ring.fd, fds[1], PAGE, 0);
	news = ring_news(&ring);
	assert_int_equal(news.flags, USPLICE_LATE);
	assert_int_equal(news.refs, 1);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 0, 0, 1), -EBUSY);
	assert_int_equal(ring_stat(&ring).late_slots, 1);
	assert_int_equal(ring_stat(&ring).nr_out, 1);
	read_all(fds[0], got, PAGE);
	assert_true(page_is(got, 3));
	ring_expect(&ring, USPLICE_FREE, 0);
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

/* --- Thousands of pages, each reused as soon as it is told to be free --- */

static void five_thousand_pages_over_a_pipe(void **state)
{
	(void)state;
	stream_over(make_pipe, stream_is_right, 5000);
}

static void five_thousand_pages_over_tcp(void **state)
{
	(void)state;
	stream_over(make_tcp, stream_is_right, 5000);
}

static void five_thousand_pages_over_unix(void **state)
{
	(void)state;
	stream_over(make_unix, stream_is_right, 5000);
}

static void file_gets_the_bytes(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | flags, 0600);
	struct stream stream = {.nr_pages = 500};

	assert_true(fd >= 0);
	stream_send(fd, stream.nr_pages);
	assert_int_equal(fsync(fd), 0);
	close(fd);
	stream.fd = open(path, O_RDONLY);
	assert_true(stream_is_right(&stream));
	close(stream.fd);
	unlink(path);
}

static void files_get_the_bytes(void **state)
{
	(void)state;
	file_gets_the_bytes("/tmp/ring", 0);
	file_gets_the_bytes("/var/tmp/ring", 0);
	file_gets_the_bytes("/var/tmp/ring", O_DIRECT);
}

/* A socket has released the buf, and its peer has not read: the page must not be told to be free, however long that takes. */
static void unread_pages_in_a_socket_are_not_free(void **state)
{
	void (*const makes[])(int fds[2]) = {make_tcp, make_unix};
	char got[PAGE];

	(void)state;
	nudge_network();
	for (unsigned i = 0; i < 2; i++) {
		struct ring ring;
		int fds[2], out[2];

		ring_open(&ring, 1, 50);
		make_pipe(fds);
		makes[i](out);
		page_fill(ring.memory, i);
		ring_lend(&ring, 0);
		splice_all(ring.fd, fds[1], PAGE, 0);
		splice_all(fds[0], out[1], PAGE, 0);
		ring_expect(&ring, USPLICE_LATE, 0); /* looked at many times by now */
		assert_false(ring_has_news(&ring));
		read_all(out[0], got, PAGE);
		assert_true(page_is(got, i));
		ring_expect(&ring, USPLICE_FREE, 0);
		for (int end = 0; end < 2; end++) {
			close(fds[end]);
			close(out[end]);
		}
		ring_close(&ring);
	}
}

/* --- Waiting and its end --- */

struct block {
	int in, out;
};

static bool splice_waits(void *arg)
{
	struct block *block = arg;

	return splice(block->in, NULL, block->out, NULL, PAGE, SPLICE_F_MOVE) == PAGE;
}

static void a_splice_waits_for_an_order(void **state)
{
	struct block block;
	struct ring ring;
	int fds[2];
	pid_t pid;

	(void)state;
	ring_open(&ring, 2, 0);
	make_pipe(fds);
	block = (struct block){ring.fd, fds[1]};
	pid = other_start(splice_waits, &block);
	while (!task_sleeps(pid))
		usleep(1000);
	ring_lend(&ring, 0);
	other_join(pid);
	block = (struct block){fds[0], ring.fd};
	pid = other_start(splice_waits, &block);
	while (!task_sleeps(pid))
		usleep(1000);
	assert_int_equal(bytes_in(fds[0]), PAGE);
	assert_int_equal(ring_order(&ring, USPLICE_RECEIVE, 1, 0, 0), 0);
	other_join(pid);
	ring_expect(&ring, USPLICE_COPIED, 1); /* the page of a ring is lent, not given */
	ring_expect(&ring, USPLICE_FREE, 0);   /* when the pipe has released it */
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

static bool pipe_reads(void *arg)
{
	static char got[PAGE];

	return read(*(int *)arg, got, 1) == 1;
}

/* A splice that waits for orders does not keep the pipe locked, else the page that is in it would never come back. */
static void a_waiting_splice_lets_the_pipe_be_read(void **state)
{
	struct block block;
	struct ring ring;
	int fds[2];
	pid_t pid;

	(void)state;
	ring_open(&ring, 2, 0);
	make_pipe(fds);
	assert_int_equal(ring_order(&ring, USPLICE_LEND, 0, 0, 1), 0);
	splice_all(ring.fd, fds[1], 1, 0);
	block = (struct block){ring.fd, fds[1]};
	pid = other_start(splice_waits, &block);
	while (!task_sleeps(pid))
		usleep(1000);
	other_join(other_start(pipe_reads, &fds[0]));
	ring_expect(&ring, USPLICE_FREE, 0);
	ring_lend(&ring, 0);
	other_join(pid);
	close(fds[0]);
	close(fds[1]);
	ring_close(&ring);
}

/* Send pages until it is killed, or until the ring has no more orders: then it waits in a splice. */
static bool send_until_killed(void *arg)
{
	int out = *(int *)arg, fds[2];
	struct ring ring;

	ring_open(&ring, 32, 0);
	make_pipe(fds);
	for (uint64_t nr = 0; nr < UINT32_MAX; nr++) {
		struct usplice_news news = {.slot = nr % 32};
		unsigned slot;

		if (nr >= 32) {
			do
				news = ring_news(&ring);
			while (news.flags == USPLICE_LATE); /* it is not ours yet */
		}
		slot = news.slot;
		page_fill(ring_slot(&ring, slot), nr);
		ring_lend(&ring, slot);
		splice_all(ring.fd, fds[1], PAGE, 0);
		splice_all(fds[0], out, PAGE, 0);
	}
	return false;
}

static void bytes_stay_right_when_the_owner_is_killed(void **state)
{
	static char page[PAGE];

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		void (*const makes[])(int fds[2]) = {make_pipe, make_tcp, make_unix};
		uint64_t nr = 0;
		size_t done = 0;
		ssize_t ret;
		int fds[2];
		pid_t pid;

		makes[round % 3](fds);
		pid = other_start(send_until_killed, &fds[1]);
		close(fds[1]);
		while (nr < round * 2) {
			read_all(fds[0], page, PAGE);
			assert_true(page_is(page, nr++));
		}
		if (round % 2) {
			while (!task_sleeps(pid)) /* in a splice to the full sink, or in a read of news */
				usleep(1000);
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while ((ret = read(fds[0], page + done, PAGE - done)) > 0) {
			done = (done + (size_t)ret) % PAGE;
			if (done == 0)
				assert_true(page_is(page, nr++));
		}
		close(fds[0]);
	}
}

static void waiting_splices_can_be_killed(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		bool reads = round % 2;
		struct block block;
		struct ring ring;
		int fds[2];
		pid_t pid;

		ring_open(&ring, 1, 0);
		make_pipe(fds);
		assert_int_equal(write(fds[1], "bytes", 5), 5);
		block = reads ? (struct block){ring.fd, fds[1]} : (struct block){fds[0], ring.fd};
		pid = other_start(splice_waits, &block);
		while (!task_sleeps(pid))
			usleep(1000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(bytes_in(fds[0]), 5);
		close(fds[0]);
		close(fds[1]);
		ring_close(&ring);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_without_slots_lends_nothing),
		cmocka_unit_test(a_user_has_a_limited_number_of_rings),
		cmocka_unit_test(mappings_are_shared_and_no_longer_than_the_ring),
		cmocka_unit_test(wrong_orders_are_refused_and_those_before_them_obeyed),
		cmocka_unit_test(news_that_could_not_be_read_stays),
		cmocka_unit_test(poll_and_the_eventfd_tell_what_can_be_done),
		cmocka_unit_test(a_page_is_free_when_the_last_byte_has_left_the_pipe),
		cmocka_unit_test(a_part_of_a_page_goes_in_parts),
		cmocka_unit_test(both_copies_of_a_tee_hold_the_page),
		cmocka_unit_test(a_late_page_is_told_and_not_given_back),
		cmocka_unit_test(unread_pages_in_a_socket_are_not_free),
		cmocka_unit_test(files_get_the_bytes),
		cmocka_unit_test(five_thousand_pages_over_a_pipe),
		cmocka_unit_test(five_thousand_pages_over_tcp),
		cmocka_unit_test(five_thousand_pages_over_unix),
		cmocka_unit_test(a_splice_waits_for_an_order),
		cmocka_unit_test(a_waiting_splice_lets_the_pipe_be_read),
		cmocka_unit_test(bytes_stay_right_when_the_owner_is_killed),
		cmocka_unit_test(waiting_splices_can_be_killed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
