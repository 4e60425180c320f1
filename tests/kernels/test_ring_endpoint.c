/* SPDX-License-Identifier: MIT */
/* test_ring_endpoint - "ring:" of the library, over the driver. For a guest that has loaded kmod/. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <usplice.h>

#include <cmocka.h>

#include "ring.h"

static struct usp_file *open_file(const char *spec, unsigned mode)
{
	struct usp_open_params params = {.size = sizeof(params), .mode = mode};
	struct usp_file *file;
	const char *why = NULL;
	int ret = usp_open(spec, &params, &file, &why);

	if (ret < 0)
		print_error("%s: %s (%s)\n", spec, strerror(-ret), why ? why : "");
	assert_int_equal(ret, 0);
	return file;
}

static void count_done(void *arg)
{
	++*(unsigned *)arg;
}

/* Copy a source to its end: 0 or -errno, and how its bytes went at both ends. */
static int copy_all(struct usp_file *source, struct usp_file *sink, enum usp_lane_choice lane, struct usp_hop hops[2])
{
	struct usp_pump_params params = {.size = sizeof(params), .lane = lane};
	struct usp_pump *pump;
	int ret;

	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	ret = usp_pump_run(pump);
	for (unsigned i = 0; i < 2; i++) {
		hops[i] = (struct usp_hop){.size = sizeof(hops[i])};
		assert_int_equal(usp_pump_hop(pump, i, &hops[i]), 0);
	}
	usp_pump_free(pump);
	return ret;
}

#define NR_SLOTS 16u

static unsigned char *memory_of(struct usp_file *ring)
{
	size_t len, slot_len;
	void *base;

	assert_int_equal(usp_ring_memory(ring, &base, &len, &slot_len), 0);
	assert_int_equal(slot_len, PAGE);
	assert_int_equal(len, NR_SLOTS * PAGE);
	return base;
}

/* --- As a source -------------------------------------------------------------------------------------- */

struct lender {
	struct usp_file *ring;
	uint64_t nr_pages;
};

/* Lend pages for as long as the source is read, each as soon as a gift is done with. */
static void *lend_pages(void *arg)
{
	struct lender *lender = arg;
	unsigned char *memory = memory_of(lender->ring);
	unsigned nr_done = 0;

	for (uint64_t nr = 0; nr < lender->nr_pages; nr++) {
		struct usp_gift *gift;
		unsigned char *slot = memory + nr % NR_SLOTS * PAGE;

		page_fill(slot, nr); /* in order, so the slot is back when NR_SLOTS later pages are wanted */
		if (usp_gift_new(slot, PAGE, count_done, &nr_done, &gift) < 0 ||
		    usp_ring_lend(lender->ring, gift, 0, PAGE) != PAGE)
			return (void *)1;
		usp_gift_put(gift);
		while (nr + 1 - nr_done >= NR_SLOTS) {
			int ret = usp_ring_reap(lender->ring, 0);

			if (ret <= 0 && ret != -ETIME)
				return (void *)2;
		}
	}
	if (usp_ring_end(lender->ring) < 0)
		return (void *)3;
	while (nr_done < lender->nr_pages) {
		int ret = usp_ring_reap(lender->ring, 0);

		if (ret <= 0 && ret != -ETIME)
			return (void *)4;
	}
	return NULL;
}

static void lend_to(enum usp_lane_choice lane, struct usp_hop hops[2])
{
	struct lender lender = {.ring = open_file("ring:/dev/usplice,slots=16", USP_READ), .nr_pages = 500};
	struct usp_file *sink = open_file("/tmp/got", USP_WRITE);
	struct usp_ring_stat stat = {.size = sizeof(stat)};
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, lend_pages, &lender), 0);
	assert_int_equal(copy_all(lender.ring, sink, lane, hops), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_null(result);
	assert_true(file_is_right("/tmp/got", lender.nr_pages));
	assert_int_equal(usp_ring_stat(lender.ring, &stat), 0);
	assert_int_equal(stat.lent_bytes, lender.nr_pages * PAGE);
	assert_int_equal(stat.freed_slots, lender.nr_pages);
	assert_int_equal(stat.nr_out, 0);
	usp_file_put(sink);
	usp_file_put(lender.ring);
	unlink("/tmp/got");
}

static void gifts_of_a_ring_go_by_reference(void **state)
{
	struct usp_hop hops[2];

	(void)state;
	lend_to(USP_LANE_AUTO, hops);
	assert_string_equal(hops[0].lane, "kernel");
	assert_int_equal(hops[0].bytes[USP_BY_REFERENCE], 500 * PAGE);
	assert_int_equal(hops[0].expected, USP_BY_REFERENCE);
}

static void gifts_of_a_ring_come_out_on_the_user_lane(void **state)
{
	struct usp_hop hops[2];

	(void)state;
	lend_to(USP_LANE_USER, hops);
	assert_int_equal(hops[1].bytes[USP_COPIED], 500 * PAGE);
}

static void wrong_lends_are_refused(void **state)
{
	struct usp_file *ring = open_file("ring:/dev/usplice,slots=16", USP_READ),
			*other = open_file("null:", USP_READ);
	unsigned char *memory = memory_of(ring);
	struct usp_gift *gift, *wrong;
	unsigned nr_done = 0;

	(void)state;
	assert_int_equal(usp_gift_new(memory + PAGE, 3 * PAGE, count_done, &nr_done, &gift), 0);
	assert_int_equal(usp_gift_new(memory + PAGE, NR_SLOTS * PAGE, count_done, &nr_done, &wrong), 0);
	assert_int_equal(usp_ring_lend(other, gift, 0, 1), -EINVAL);
	assert_int_equal(usp_ring_lend(ring, gift, 1, 3 * PAGE), -EINVAL);
	assert_int_equal(usp_ring_lend(ring, wrong, 0, NR_SLOTS * PAGE), -EINVAL);
	assert_int_equal(usp_ring_lend(ring, wrong, PAGE, PAGE), PAGE);		/* slot 2 */
	assert_int_equal(usp_ring_lend(ring, gift, 100, 2 * PAGE), PAGE - 100); /* up to slot 2 */
	assert_int_equal(usp_ring_lend(ring, gift, PAGE, 1), -EBUSY);
	assert_int_equal(usp_ring_offer(ring, 0, NULL, NULL), -EBADF);
	assert_int_equal(usp_ring_memory(other, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(usp_ring_reap(ring, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_ring_end(ring), 0);
	assert_int_equal(usp_ring_lend(ring, gift, 2 * PAGE, 1), -EPIPE);
	usp_gift_put(gift);
	usp_gift_put(wrong);
	assert_int_equal(nr_done, 0);
	usp_file_put(other);
	usp_file_put(ring); /* with all that is out */
	assert_int_equal(nr_done, 2);
}

/* --- As a sink ---------------------------------------------------------------------------------------- */

struct filled {
	struct usp_file *ring;
	uint64_t nr_pages, ways[USP_NR_WAYS];
	bool is_wrong;
};

static void look_and_offer(void *arg, void *base, size_t len, enum usp_way way)
{
	struct filled *filled = arg;

	filled->is_wrong |= len != PAGE || !page_is(base, filled->nr_pages++);
	filled->ways[way]++;
	filled->is_wrong |= usp_ring_offer(filled->ring, (size_t)((unsigned char *)base - memory_of(filled->ring)),
					   look_and_offer, filled) < 0;
}

static void *reap_pages(void *arg)
{
	struct filled *filled = arg;

	while (filled->nr_pages < 500 && usp_ring_reap(filled->ring, 0) > 0)
		;
	return NULL;
}

static void fill_from(const char *spec, enum usp_lane_choice lane, struct filled *ret_filled, struct usp_hop hops[2])
{
	struct usp_file *source = open_file(spec, USP_READ);
	pthread_t thread;

	*ret_filled = (struct filled){.ring = open_file("ring:/dev/usplice,slots=16", USP_WRITE)};
	for (size_t off = 0; off < NR_SLOTS * PAGE; off += PAGE)
		assert_int_equal(usp_ring_offer(ret_filled->ring, off, look_and_offer, ret_filled), 0);
	assert_int_equal(pthread_create(&thread, NULL, reap_pages, ret_filled), 0);
	assert_int_equal(copy_all(source, ret_filled->ring, lane, hops), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(ret_filled->is_wrong);
	assert_int_equal(ret_filled->nr_pages, 500);
	usp_file_put(source);
	usp_file_put(ret_filled->ring);
}

static void the_account_of_a_sink_is_what_the_driver_counted(void **state)
{
	struct usp_hop hops[2];
	struct filled filled;

	(void)state;
	make_pages("/tmp/pages", 500); /* on tmpfs, whose pages cannot be taken */
	fill_from("/tmp/pages", USP_LANE_AUTO, &filled, hops);
	assert_int_equal(filled.ways[USP_COPIED], 500);
	assert_string_equal(hops[1].lane, "kernel");
	assert_int_equal(hops[1].bytes[USP_COPIED], 500 * PAGE);
	assert_int_equal(hops[1].bytes[USP_BY_REFERENCE], 0);
	fill_from("/tmp/pages", USP_LANE_USER, &filled, hops);
	assert_int_equal(hops[1].bytes[USP_COPIED], 500 * PAGE); /* into pages, which were taken */
	assert_int_equal(filled.ways[USP_BY_REFERENCE], 500);
	unlink("/tmp/pages");
}

static bool write_pages(void *arg)
{
	char page[PAGE];

	for (uint64_t nr = 0; nr < 500; nr++) {
		page_fill(page, nr);
		if (write(*(int *)arg, page, PAGE) != PAGE)
			return false;
	}
	return true;
}

static void pages_of_a_pipe_are_taken(void **state)
{
	char spec[16];
	struct usp_hop hops[2];
	struct filled filled;
	int fds[2];
	pid_t pid;

	(void)state;
	make_pipe(fds);
	pid = other_start(write_pages, &fds[1]);
	close(fds[1]);
	snprintf(spec, sizeof(spec), "fd:%d", fds[0]);
	fill_from(spec, USP_LANE_AUTO, &filled, hops);
	other_join(pid);
	assert_int_equal(hops[1].bytes[USP_BY_REFERENCE], 500 * PAGE);
}

/* --- The command -------------------------------------------------------------------------------------- */

static void the_command_copies_into_a_ring_that_drops(void **state)
{
	char text[4096];

	(void)state;
	make_pages("/tmp/pages", 500);
	assert_int_equal(
		run("dd if=/tmp/pages bs=4096 2>/dev/null | $USPLICE copy --json - ring:/dev/usplice,drop,slots=4 2>&1",
		    text, sizeof(text)),
		0);
	assert_non_null(strstr(text, "2048000"));
	assert_non_null(strstr(text, "the driver took the pages"));
	assert_int_equal(run("$USPLICE copy /tmp/pages ring:/dev/usplice 2>&1", text, sizeof(text)), 2);
	assert_non_null(strstr(text, "add ,drop"));
	assert_int_equal(run("$USPLICE copy ring: /tmp/out 2>&1", text, sizeof(text)), 2);
	assert_non_null(strstr(text, "fd:N"));
	assert_int_equal(run("$USPLICE copy /dev/usplice /tmp/out 2>&1", text, sizeof(text)), 2);
	assert_non_null(strstr(text, "write ring: and its path"));
	assert_int_equal(run("$USPLICE copy /tmp/pages ring:/dev/usplice,drop,slots=1000000 2>&1", text, sizeof(text)),
			 2);
	assert_non_null(strstr(text, "max_slots"));
	assert_int_equal(run("$USPLICE list endpoints", text, sizeof(text)), 0);
	assert_null(strstr(text, "MISSING"));
	unlink("/tmp/pages");
}

/* A program makes a ring and fills it; the command, its child, carries the bytes away. */
static void the_command_reads_the_ring_of_a_program(void **state)
{
	struct lender lender = {.ring = open_file("ring:/dev/usplice,slots=16", USP_READ), .nr_pages = 500};
	int fd = fcntl(usp_file_fd(lender.ring), F_DUPFD, 100);
	char command[128], text[4096];
	pthread_t thread;
	void *result;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, lend_pages, &lender), 0);
	snprintf(command, sizeof(command), "$USPLICE copy --json fd:%d /tmp/got 2>&1", fd);
	assert_int_equal(run(command, text, sizeof(text)), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_null(result);
	assert_true(file_is_right("/tmp/got", lender.nr_pages));
	assert_non_null(strstr(text, "lends the pages of the ring"));
	close(fd);
	usp_file_put(lender.ring);
	unlink("/tmp/got");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gifts_of_a_ring_go_by_reference),
		cmocka_unit_test(gifts_of_a_ring_come_out_on_the_user_lane),
		cmocka_unit_test(wrong_lends_are_refused),
		cmocka_unit_test(the_account_of_a_sink_is_what_the_driver_counted),
		cmocka_unit_test(pages_of_a_pipe_are_taken),
		cmocka_unit_test(the_command_copies_into_a_ring_that_drops),
		cmocka_unit_test(the_command_reads_the_ring_of_a_program),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
