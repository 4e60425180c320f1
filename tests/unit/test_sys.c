/* SPDX-License-Identifier: MIT */
/* test_sys - what the door to the kernel adds to the system calls. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/sys.h"

#define HUGE ((size_t)2 << 20)

static void memory_for_huge_pages_is_aligned_to_them(void **state)
{
	static const size_t lens[] = {HUGE, 3 * HUGE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		unsigned char *base = usp_sys_map_anon(lens[i]);

		assert_non_null(base);
		assert_int_equal((uintptr_t)base % HUGE, 0);
		base[0] = base[lens[i] - 1] = 1;
		usp_sys_unmap(base, lens[i]);
	}
}

static void memory_of_any_other_length_can_be_mapped(void **state)
{
	unsigned char *base = usp_sys_map_anon(PAGE);

	(void)state;
	assert_non_null(base);
	base[PAGE - 1] = 1;
	usp_sys_unmap(base, PAGE);
	assert_null(usp_sys_map_anon(0));
	assert_null(usp_sys_map_anon(SIZE_MAX - HUGE + 1));
}

static bool sigpipe_is_pending(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGPIPE) == 1;
}

static bool sigpipe_is_blocked(void)
{
	sigset_t mask;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	return sigismember(&mask, SIGPIPE) == 1;
}

static void write_to_a_broken_pipe(void)
{
	int fds[2];

	assert_int_equal(usp_sys_pipe(fds, 0), 0);
	usp_sys_close(fds[0]);
	assert_int_equal(usp_sys_write(fds[1], "x", 1), -EPIPE);
	usp_sys_close(fds[1]);
}

static void a_guarded_sigpipe_is_discarded(void **state)
{
	struct usp_sigpipe_guard guard;

	(void)state;
	assert_false(sigpipe_is_blocked()); /* so an unguarded one would kill this program */
	usp_sigpipe_begin(&guard);
	write_to_a_broken_pipe();
	assert_true(sigpipe_is_pending());
	usp_sigpipe_end(&guard);
	assert_false(sigpipe_is_pending());
	assert_false(sigpipe_is_blocked());
}

static void a_sigpipe_that_was_pending_before_stays_pending(void **state)
{
	struct usp_sigpipe_guard guard;
	sigset_t sigpipe;
	int sig;

	(void)state;
	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, NULL);
	raise(SIGPIPE);
	usp_sigpipe_begin(&guard);
	write_to_a_broken_pipe();
	usp_sigpipe_end(&guard);
	assert_true(sigpipe_is_pending());
	assert_true(sigpipe_is_blocked());
	sigwait(&sigpipe, &sig);
	pthread_sigmask(SIG_UNBLOCK, &sigpipe, NULL);
}

/* In a process of its own, which the signal would kill. */
static void a_guarded_write_beyond_the_limit_of_a_file_raises_no_signal(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit limit = {0, 0};
		struct usp_sigpipe_guard guard;
		int fd = usp_sys_memfd("test");
		ssize_t written;

		setrlimit(RLIMIT_FSIZE, &limit);
		signal(SIGXFSZ, SIG_DFL);
		usp_sigpipe_begin(&guard);
		written = usp_sys_write(fd, "x", 1);
		usp_sigpipe_end(&guard);
		_exit(written == -EFBIG ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void sending_to_a_closed_socket_raises_no_signal(void **state)
{
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	const struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	usp_sys_close(fds[1]);
	assert_int_equal(usp_sys_sendmsg(fds[0], &msg, 0), -EPIPE);
	usp_sys_close(fds[0]);
}

static void every_descriptor_is_closed_on_exec(void **state)
{
	int fds[6], flags;

	(void)state;
	fds[0] = usp_sys_open("/dev/null", O_RDONLY, 0);
	fds[1] = usp_sys_reopen(fds[0], O_RDONLY);
	fds[2] = usp_sys_socket(AF_UNIX, SOCK_STREAM, 0);
	fds[3] = usp_sys_eventfd();
	assert_int_equal(usp_sys_pipe(fds + 4, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		flags = fcntl(fds[i], F_GETFD);
		assert_true(flags >= 0 && flags & FD_CLOEXEC);
		usp_sys_close(fds[i]);
	}
}

static void a_closed_standard_descriptor_becomes_dev_null(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		struct stat st;

		usp_sys_close(STDIN_FILENO);
		end_child(fstat(STDIN_FILENO, &st) == 0 && st.st_rdev == makedev(1, 3) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void an_eventfd_is_readable_exactly_while_it_is_set(void **state)
{
	struct pollfd fd = {.fd = usp_sys_eventfd(), .events = POLLIN};

	(void)state;
	assert_int_equal(usp_sys_poll(&fd, 1, 0), 0);
	usp_sys_eventfd_set(fd.fd, true);
	usp_sys_eventfd_set(fd.fd, true);
	assert_int_equal(usp_sys_poll(&fd, 1, 0), 1);
	usp_sys_eventfd_set(fd.fd, false);
	assert_int_equal(usp_sys_poll(&fd, 1, 0), 0);
	errno = E2BIG; /* as in a signal handler: not ours to change */
	usp_sys_eventfd_set(fd.fd, false);
	assert_int_equal(errno, E2BIG);
	usp_sys_close(fd.fd);
}

static void replacing_a_descriptor_keeps_its_number(void **state)
{
	int null = usp_sys_open("/dev/null", O_RDWR, 0), zero = usp_sys_open("/dev/zero", O_RDWR, 0);
	struct stat st;

	(void)state;
	assert_int_equal(usp_sys_replace(zero, null), null);
	assert_int_equal(usp_sys_fstat(null, &st), 0);
	assert_int_equal(st.st_rdev, makedev(1, 5));
	assert_int_equal(usp_sys_fstat(zero, &st), -EBADF);
	usp_sys_close(null);
}

static void on_signal(int sig)
{
	(void)sig;
}

static ssize_t open_fifo(void *arg)
{
	return usp_sys_open_waiting(arg, O_RDONLY);
}

static void a_signal_ends_the_wait_for_the_other_side_of_a_fifo(void **state)
{
	const struct sigaction action = {.sa_handler = on_signal};
	char dir[] = "/tmp/usplice-test-XXXXXX", path[64];
	struct worker worker;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	sigaction(SIGUSR1, &action, NULL);
	worker_start(&worker, open_fifo, path);
	worker_await_sleep(&worker);
	pthread_kill(worker.thread, SIGUSR1);
	assert_int_equal(worker_join(&worker), -EINTR);
	unlink(path);
	rmdir(dir);
}

static void a_pipe_size_beyond_the_kernels_type_is_refused(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(usp_sys_pipe(fds, 0), 0);
	assert_int_equal(usp_sys_set_pipe_size(fds[0], SIZE_MAX), -EINVAL);
	assert_int_equal(usp_sys_set_pipe_size(fds[0], 8 * PAGE), 8 * PAGE);
	assert_int_equal(usp_sys_get_pipe_size(fds[1]), 8 * PAGE);
	usp_sys_close(fds[0]);
	usp_sys_close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(memory_for_huge_pages_is_aligned_to_them),
		CASE(memory_of_any_other_length_can_be_mapped),
		CASE(a_guarded_sigpipe_is_discarded),
		CASE(a_sigpipe_that_was_pending_before_stays_pending),
		CASE(a_guarded_write_beyond_the_limit_of_a_file_raises_no_signal),
		CASE(sending_to_a_closed_socket_raises_no_signal),
		CASE(every_descriptor_is_closed_on_exec),
		CASE(a_closed_standard_descriptor_becomes_dev_null),
		CASE(an_eventfd_is_readable_exactly_while_it_is_set),
		CASE(replacing_a_descriptor_keeps_its_number),
		CASE(a_signal_ends_the_wait_for_the_other_side_of_a_fifo),
		CASE(a_pipe_size_beyond_the_kernels_type_is_refused),
	};

	return cmocka_run_group_tests_name("sys", tests, NULL, NULL);
}
