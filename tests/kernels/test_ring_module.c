/* SPDX-License-Identifier: MIT */
/* test_ring_module - kmod/ cannot be unloaded from under its pages, and can when they are back. RING_MODULE names the file of the module. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring.h"

static int unload(void)
{
	return syscall(SYS_delete_module, "usplice", O_NONBLOCK) < 0 ? -errno : 0;
}

static void load(void)
{
	int fd = open(getenv("RING_MODULE"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_finit_module, fd, "", 0), 0);
	close(fd);
	for (unsigned i = 0; access("/dev/usplice", R_OK) < 0; i++) {
		assert_true(i < 30000);
		usleep(1000);
	}
}

/* A reference goes when the task that dropped it is back in user space, a mapping when its process is gone. */
static void unload_soon(void)
{
	int ret = unload();

	for (unsigned i = 0; ret == -EAGAIN && i < 30000; i++) {
		usleep(1000);
		ret = unload();
	}
	assert_int_equal(ret, 0);
}

static void pages_in_a_pipe_keep_the_module(void **state)
{
	static char page[PAGE];
	struct ring ring;
	int fds[2];

	(void)state;
	for (unsigned round = 0; round < 10; round++) {
		ring_open(&ring, 4, 0);
		make_pipe(fds);
		for (unsigned slot = 0; slot < 4; slot++) {
			page_fill(ring_slot(&ring, slot), slot);
			ring_lend(&ring, slot);
		}
		assert_int_equal(splice(ring.fd, NULL, fds[1], NULL, 4 * PAGE, 0), 4 * PAGE);
		ring_close(&ring); /* no descriptor, no mapping: only the pipe has the pages */
		assert_int_equal(unload(), -EAGAIN);
		for (unsigned nr = 0; nr < 3; nr++) {
			read_all(fds[0], page, PAGE);
			assert_true(page_is(page, nr));
			assert_int_equal(unload(), -EAGAIN);
		}
		close(fds[0]); /* with a page in it */
		close(fds[1]);
		unload_soon();
		load();
	}
}

static void pages_in_a_socket_do_not_need_the_module(void **state)
{
	void (*const makes[])(int fds[2]) = {make_tcp, make_unix};
	static char page[PAGE];
	struct ring ring;
	int fds[2], out[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		ring_open(&ring, 1, 0);
		make_pipe(fds);
		makes[i](out);
		page_fill(ring.memory, i);
		ring_lend(&ring, 0);
		splice_all(ring.fd, fds[1], PAGE, 0);
		splice_all(fds[0], out[1], PAGE, 0);
		ring_close(&ring);
		close(fds[0]);
		close(fds[1]);
		unload_soon();
		read_all(out[0], page, PAGE); /* the socket has a reference to the page */
		assert_true(page_is(page, i));
		close(out[0]);
		close(out[1]);
		load();
	}
}

static void a_mapping_keeps_the_module(void **state)
{
	struct ring ring;

	(void)state;
	ring_open(&ring, 2, 0);
	page_fill(ring.memory, 1);
	close(ring.fd);
	assert_int_equal(unload(), -EAGAIN);
	assert_true(page_is(ring.memory, 1));
	munmap(ring.memory, 2 * PAGE);
	unload_soon();
	load();
}

/* Behind all other tests: no warning, no bad page, no lock-up. Modules of others and unsigned ones (4096, 8192) are no fault. */
static void the_kernel_has_seen_no_fault(void **state)
{
	FILE *file = fopen("/proc/sys/kernel/tainted", "r");
	unsigned long tainted = ~0ul;

	(void)state;
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &tainted), 1);
	fclose(file);
	assert_int_equal(tainted & ~(4096ul | 8192ul), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_in_a_pipe_keep_the_module),
		cmocka_unit_test(pages_in_a_socket_do_not_need_the_module),
		cmocka_unit_test(a_mapping_keeps_the_module),
		cmocka_unit_test(the_kernel_has_seen_no_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
