/* SPDX-License-Identifier: MIT */
/* test_exec - commands as files: their bytes, how they end, and what else the program has. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static volatile sig_atomic_t nr_heard;

static void hear(int signo)
{
	(void)signo;
	nr_heard++;
}

/* What the library told of a command. */
struct told {
	unsigned nr;
	int status;
};

static void note_exit(void *arg, int status)
{
	struct told *told = arg;

	told->nr++;
	told->status = status;
}

static struct usp_file *run(const char *spec, unsigned mode, struct told *told)
{
	const struct usp_open_params params = {
		.size = sizeof(params),
		.mode = mode,
		.may_run = true,
		.exited = told ? note_exit : NULL,
		.exited_arg = told,
	};
	struct usp_file *file;

	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	return file;
}

static void a_command_needs_leave(void **state)
{
	struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *file;
	const char *why = NULL;

	(void)state;
	assert_int_equal(usp_open("exec:true", &params, &file, &why), -EPERM);
	assert_non_null(why);
	assert_int_equal(usp_copy("exec:true", "null:", NULL, NULL), -EPERM);
	params.may_run = true;
	assert_int_equal(usp_open("exec:", &params, &file, &why), -EINVAL);
	params.no_peer = true;
	assert_int_equal(usp_open("exec:true", &params, &file, &why), -EINPROGRESS);
}

static void a_program_of_before_runs_no_command(void **state)
{
	struct usp_open_params params = {.mode = USP_READ, .may_run = true};
	struct usp_file *file;

	(void)state;
	params.size = offsetof(struct usp_open_params, may_run);
	assert_int_equal(usp_open("exec:true", &params, &file, NULL), -EPERM);
}

static void its_output_ends_when_it_has_exited(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:printf text; exec >&-; exit 0", USP_READ, &told);
	char text[16];

	(void)state;
	assert_int_equal(usp_read(file, text, sizeof(text)), 4);
	assert_memory_equal(text, "text", 4);
	assert_int_equal(usp_read(file, text, sizeof(text)), 0);
	assert_int_equal(told.nr, 1);
	assert_int_equal(told.status, 0);
	assert_int_equal(usp_read(file, text, sizeof(text)), 0);
	assert_int_equal(usp_file_close(file), 0);
	assert_int_equal(told.nr, 1);
	usp_file_put(file);
}

static void a_failure_takes_the_place_of_the_end(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:printf text; exit 3", USP_READ, &told);
	char text[16];

	(void)state;
	assert_int_equal(usp_read(file, text, sizeof(text)), 4);
	assert_int_equal(usp_read(file, text, sizeof(text)), -USP_ECOMMAND);
	assert_int_equal(usp_read(file, text, sizeof(text)), -USP_ECOMMAND);
	assert_true(WIFEXITED(told.status) && WEXITSTATUS(told.status) == 3);
	usp_file_put(file);
	assert_int_equal(told.nr, 1);
}

static void splice_gives_the_failure_too(void **state)
{
	struct usp_file *file = run("exec:printf text; exec >&-; kill -9 $$", USP_READ, NULL), *ends[2];

	(void)state;
	assert_int_equal(usp_pipe_open(NULL, ends), 0);
	assert_int_equal(usp_splice(file, NULL, ends[1], NULL, 100, 0), 4);
	assert_int_equal(usp_splice(file, NULL, ends[1], NULL, 100, 0), -USP_ECOMMAND);
	usp_file_put(file);
	usp_file_put(ends[0]);
	usp_file_put(ends[1]);
}

/* It has no output any more, but goes on until it is told to stop. */
static void between_its_output_and_its_end_there_is_a_wait(void **state)
{
	struct usp_file *file;
	char spec[64], text[4];
	int fds[2];
	short events = 0;
	struct pollfd end = {.events = POLLIN};

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	snprintf(spec, sizeof(spec), "exec:exec >&-; read x </proc/%d/fd/%d; exit 0", getpid(), fds[0]);
	file = run(spec, USP_READ, NULL);
	usp_file_set_flags(file, USP_NONBLOCK);
	do {
		end.fd = usp_file_poll_fd(file, USP_READ, &events);
		assert_int_equal(events, POLLIN);
		assert_int_equal(poll(&end, 1, 60000), 1);
		assert_int_equal(usp_read(file, text, sizeof(text)), -EAGAIN);
	} while (end.fd == usp_file_poll_fd(file, USP_READ, &events));
	end.fd = usp_file_poll_fd(file, USP_READ, &events);
	assert_int_equal(poll(&end, 1, 0), 0);
	assert_int_equal(write(fds[1], "x\n", 2), 2);
	assert_int_equal(poll(&end, 1, 60000), 1);
	assert_int_equal(usp_read(file, text, sizeof(text)), 0);
	usp_file_put(file);
	close(fds[0]);
	close(fds[1]);
}

static void closing_a_sink_tells_how_it_ended(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:cat >/dev/null; exit 7", USP_WRITE, &told);

	(void)state;
	assert_int_equal(usp_write(file, "text", 4), 4);
	assert_int_equal(usp_file_shutdown(file), 0);
	assert_int_equal(usp_file_close(file), -USP_ECOMMAND);
	assert_int_equal(told.nr, 1);
	assert_int_equal(WEXITSTATUS(told.status), 7);
	usp_file_put(file);
}

/* A handler that is called often, as by a timer, does not end a command. */
static void signals_do_not_end_the_wait_of_close(void **state)
{
	struct sigaction mine = {.sa_handler = hear}, old;
	const struct itimerval often = {.it_interval = {.tv_usec = 1000}, .it_value = {.tv_usec = 1000}};
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:cat >/dev/null; sleep 0.1; exit 7", USP_WRITE, &told);

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &mine, &old), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(usp_file_close(file), -USP_ECOMMAND);
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0}}, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(WEXITSTATUS(told.status), 7);
	usp_file_put(file);
}

static void sync_waits_for_a_sink_that_was_shut_down(void **state)
{
	struct usp_file *file = run("exec:cat >/dev/null; exit 7", USP_WRITE, NULL);
	struct pollfd end;

	(void)state;
	assert_int_equal(usp_write(file, "text", 4), 4);
	assert_int_equal(usp_file_sync(file), 0); /* it may still be written */
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	assert_int_equal(usp_file_shutdown(file), 0);
	assert_true(usp_write(file, "text", 4) < 0);
	while (usp_file_sync(file) == -EAGAIN) {
		end.fd = usp_file_poll_fd(file, USP_WRITE, &end.events);
		assert_int_equal(poll(&end, 1, 60000), 1);
	}
	assert_int_equal(usp_file_sync(file), -USP_ECOMMAND);
	assert_int_equal(usp_file_set_flags(file, 0), 0);
	assert_int_equal(usp_file_sync(file), -USP_ECOMMAND);
	usp_file_put(file);
}

static void a_sink_that_lacks_something_is_ended(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:exec cat >/dev/null", USP_WRITE, &told);

	(void)state;
	assert_int_equal(usp_write(file, "text", 4), 4);
	assert_int_equal(usp_file_abort(file), 0);
	assert_int_equal(usp_file_close(file), 0);
	assert_int_equal(told.status, -1);
	usp_file_put(file);
}

static void a_source_that_is_not_read_to_the_end_is_ended(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:exec sleep 1000", USP_READ, &told);

	(void)state;
	assert_int_equal(usp_file_close(file), 0);
	assert_int_equal(told.status, -1);
	usp_file_put(file);
}

static void both_directions_have_their_own_end(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:tr a-z A-Z", USP_READ | USP_WRITE, &told);
	char text[16];

	(void)state;
	assert_int_equal(usp_write(file, "text", 4), 4);
	assert_int_equal(usp_file_shutdown(file), 0);
	assert_int_equal(usp_read(file, text, sizeof(text)), 4);
	assert_memory_equal(text, "TEXT", 4);
	assert_int_equal(usp_read(file, text, sizeof(text)), 0);
	assert_int_equal(usp_file_close(file), 0);
	assert_int_equal(told.nr, 1);
	usp_file_put(file);
}

static void writing_to_one_that_has_gone_is_an_error(void **state)
{
	struct usp_file *file = run("exec:exit 0", USP_WRITE, NULL);
	ssize_t ret;

	(void)state;
	do
		ret = usp_write(file, "text", 4);
	while (ret > 0);
	assert_int_equal(ret, -EPIPE);
	usp_file_put(file);
}

/* A child of the program, and its handler, keep what is theirs. */
static void other_children_are_left_to_the_program(void **state)
{
	struct sigaction mine = {.sa_handler = hear, .sa_flags = SA_RESTART}, old;
	struct usp_file *file;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(sigaction(SIGCHLD, &mine, &old), 0);
	child = fork();
	if (child == 0)
		_exit(42);
	file = run("exec:true", USP_WRITE, NULL);
	assert_int_equal(usp_file_close(file), 0);
	usp_file_put(file);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_true(nr_heard > 0);
	sigaction(SIGCHLD, &old, NULL);
}

static void a_status_that_the_program_took_is_not_known(void **state)
{
	struct usp_file *file = run("exec:exit 3", USP_WRITE, NULL);

	(void)state;
	assert_true(waitpid(-1, NULL, 0) > 0);
	assert_int_equal(usp_file_close(file), -ECHILD);
	usp_file_put(file);
}

static void a_fork_leaves_the_command_to_its_parent(void **state)
{
	struct usp_file *file = run("exec:cat", USP_READ | USP_WRITE, NULL);
	char text[16];
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		usp_file_put(file);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(usp_write(file, "text", 4), 4);
	assert_int_equal(usp_read(file, text, sizeof(text)), 4);
	assert_int_equal(usp_file_shutdown(file), 0);
	assert_int_equal(usp_read(file, text, sizeof(text)), 0);
	assert_int_equal(usp_file_close(file), 0);
	usp_file_put(file);
}

/* A command that is stopped, as by the terminal, ends all the same. */
static void a_stopped_command_can_be_ended(void **state)
{
	struct told told = {.nr = 0};
	struct usp_file *file = run("exec:kill -STOP $$; exec sleep 1000", USP_READ, &told);

	(void)state;
	usp_file_put(file);
	assert_int_equal(told.status, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_needs_leave),
		cmocka_unit_test(a_program_of_before_runs_no_command),
		cmocka_unit_test(its_output_ends_when_it_has_exited),
		cmocka_unit_test(a_failure_takes_the_place_of_the_end),
		cmocka_unit_test(splice_gives_the_failure_too),
		cmocka_unit_test(between_its_output_and_its_end_there_is_a_wait),
		cmocka_unit_test(closing_a_sink_tells_how_it_ended),
		cmocka_unit_test(signals_do_not_end_the_wait_of_close),
		cmocka_unit_test(sync_waits_for_a_sink_that_was_shut_down),
		cmocka_unit_test(a_sink_that_lacks_something_is_ended),
		cmocka_unit_test(a_source_that_is_not_read_to_the_end_is_ended),
		cmocka_unit_test(both_directions_have_their_own_end),
		cmocka_unit_test(writing_to_one_that_has_gone_is_an_error),
		cmocka_unit_test(other_children_are_left_to_the_program),
		cmocka_unit_test(a_status_that_the_program_took_is_not_known),
		cmocka_unit_test(a_fork_leaves_the_command_to_its_parent),
		cmocka_unit_test(a_stopped_command_can_be_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
