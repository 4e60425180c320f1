/* SPDX-License-Identifier: MIT */
/* test_probe - what must be true of the probe's answers on any kernel, whichever they are. */
#include "net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "lanes/probe.h"

static void assert_answer(const struct usp_probe_result *result)
{
	assert_in_range(result->way, 0, USP_NR_WAYS - 1);
	assert_non_null(result->reason);
	assert_true(strlen(result->reason) > 10);
}

/* Probe both sides of a file twice: the answers are complete, and the same again. */
static void check_both_sides(const struct usp_file *file)
{
	static const unsigned sides[] = {USP_READ, USP_WRITE};

	for (unsigned i = 0; i < ARRAY_LEN(sides); i++) {
		struct usp_probe_result first = {.size = sizeof(first)}, again = {.size = sizeof(again)};

		usp_probe(file, sides[i], &first);
		assert_answer(&first);
		usp_probe(file, sides[i], &again);
		assert_int_equal(again.way, first.way);
		assert_ptr_equal(again.reason, first.reason);
	}
}

/* A file with 2 pages of pattern, whose name is gone. */
static int temporary_file(const char *folder)
{
	unsigned char bytes[2 * PAGE];
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/usplice-probe-XXXXXX", folder);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	return fd;
}

static void the_file_that_is_asked_about_is_not_touched(void **state)
{
	unsigned char bytes[2 * PAGE];
	struct usp_file *file;
	int fd = temporary_file("/tmp");

	(void)state;
	assert_int_equal(lseek(fd, 123, SEEK_SET), 123);
	file = net_file(fd, USP_READ | USP_WRITE);
	check_both_sides(file);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 123);
	assert_int_equal(lseek(fd, 0, SEEK_END), sizeof(bytes));
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_pattern(bytes, 0, sizeof(bytes));
	drop(&file);
}

static void every_kind_of_kernel_file_has_an_answer(void **state)
{
	struct usp_file *file;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	for (unsigned i = 0; i < 2; i++) {
		file = net_file(fds[i], USP_READ | USP_WRITE);
		check_both_sides(file);
		drop(&file);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	file = net_file(fds[0], USP_READ | USP_WRITE);
	check_both_sides(file);
	drop(&file);
	close(fds[1]);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	file = net_file(fds[0], USP_READ);
	check_both_sides(file);
	drop(&file);
	close(fds[1]);
}

/* The same experiment by hand, on the very file, must agree. */
static void the_answer_for_a_file_is_what_happens_to_that_file(void **state)
{
	static const char *const folders[] = {"/tmp", "/var/tmp", "/dev/shm"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(folders); i++) {
		struct usp_probe_result result = {.size = sizeof(result)};
		struct usp_file *file;
		unsigned char *window, byte;
		int fd, pipe[2];

		if (access(folders[i], W_OK) < 0)
			continue;
		fd = temporary_file(folders[i]);
		file = net_file(fd, USP_READ | USP_WRITE);
		usp_probe(file, USP_READ, &result);
		assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
		window = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(window, MAP_FAILED);
		assert_int_equal(splice(fd, &(off_t){0}, pipe[1], NULL, PAGE, 0), PAGE);
		window[0] ^= 0xff;
		assert_int_equal(read(pipe[0], &byte, 1), 1);
		if (result.way != USP_UNKNOWN)
			assert_int_equal(result.way, byte == window[0] ? USP_BY_REFERENCE : USP_COPIED);
		munmap(window, PAGE);
		close(pipe[0]);
		close(pipe[1]);
		drop(&file);
	}
}

/* A connection with TLS in the kernel looks like TCP, and its peer gets other bytes. MUST_HAVE_TLS: a guest has the driver. */
static void tls_in_the_kernel_is_unknown(void **state)
{
	static const unsigned sides[] = {USP_READ, USP_WRITE};
	int fds[2], ret;

	(void)state;
	net_tcp_pair(fds, 0);
	ret = setsockopt(fds[0], IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls"));
	assert_true(ret == 0 || !getenv("MUST_HAVE_TLS"));
	for (unsigned i = 0; i < 2; i++) {
		struct usp_probe_result result = {.size = sizeof(result)};
		struct usp_file *file = net_file(dup(fds[0]), USP_READ | USP_WRITE);

		usp_probe(file, sides[i], &result);
		if (ret == 0)
			assert_int_equal(result.way, USP_UNKNOWN);
		drop(&file);
	}
	close(fds[0]);
	close(fds[1]);
}

/* DAX_DIR: a directory of a guest on persistent memory. Other files, asked before and after, have their own answers. */
static void a_file_with_dax_is_copied(void **state)
{
	const char *folder = getenv("DAX_DIR");

	(void)state;
	for (unsigned i = 0; i < 3 && folder; i++) {
		struct usp_probe_result result = {.size = sizeof(result)};
		struct usp_file *file = net_file(temporary_file(i == 1 ? folder : "/var/tmp"), USP_READ | USP_WRITE);

		usp_probe(file, USP_READ, &result);
		assert_int_equal(result.way, i == 1 ? USP_COPIED : USP_BY_REFERENCE);
		drop(&file);
	}
}

static void the_null_device_drops(void **state)
{
	struct usp_probe_result result = {.size = sizeof(result)};
	struct usp_file *file = net_file(open("/dev/null", O_RDWR | O_CLOEXEC), USP_READ | USP_WRITE);

	(void)state;
	usp_probe(file, USP_WRITE, &result);
	assert_int_equal(result.way, USP_BY_REFERENCE);
	assert_string_equal(result.reason, "dropped, not read");
	drop(&file);
}

static void what_cannot_be_shown_is_unknown(void **state)
{
	struct usp_probe_result result = {.size = sizeof(result)};
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *file = net_file(open("/dev/zero", O_RDWR | O_CLOEXEC), USP_READ);

	(void)state;
	usp_probe(mock->file, USP_WRITE, &result);
	assert_int_equal(result.way, USP_UNKNOWN);
	assert_answer(&result);
	usp_probe(file, USP_READ, &result);
	assert_int_equal(result.way, USP_UNKNOWN);
	assert_answer(&result);
	drop(&file);
	file = net_file(temporary_file("/tmp"), USP_READ);
	atomic_store(usp_u32(&file->flags), USP_DIRECT);
	usp_probe(file, USP_READ, &result);
	assert_int_equal(result.way, USP_UNKNOWN);
	assert_answer(&result);
	drop(&file);
	mock_close(mock);
}

static ssize_t probe_run(void *arg)
{
	struct usp_probe_result result = {.size = sizeof(result)};

	usp_probe(arg, USP_WRITE, &result);
	return (ssize_t)result.way;
}

static void threads_that_ask_at_once_get_one_answer(void **state)
{
	struct worker workers[8];
	struct usp_file *file = net_file(temporary_file("/tmp"), USP_READ | USP_WRITE);
	ssize_t way;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		worker_start(&workers[i], probe_run, file);
	way = worker_join(&workers[0]);
	for (unsigned i = 1; i < ARRAY_LEN(workers); i++)
		assert_int_equal(worker_join(&workers[i]), way);
	drop(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(threads_that_ask_at_once_get_one_answer), /* first, while nothing is known yet */
		CASE(the_file_that_is_asked_about_is_not_touched),
		CASE(every_kind_of_kernel_file_has_an_answer),
		CASE(the_answer_for_a_file_is_what_happens_to_that_file),
		CASE(tls_in_the_kernel_is_unknown),
		CASE(a_file_with_dax_is_copied),
		CASE(the_null_device_drops),
		CASE(what_cannot_be_shown_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
