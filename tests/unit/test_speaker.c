/* SPDX-License-Identifier: MIT */
/* test_speaker - lines that a thread writes to standard error: order, a reader that does not read, and what is lost. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/speaker.h"
#include "support.h"

#define LINE "line %05u of those that somebody may read\n"
#define LINE_ROOM 64
#define NR_MANY 4000 /* more than the queue and the pipe hold */

/* What the test reads, the standard error that it took away, and the whole text that was read. */
static int reader, kept;
static char text[NR_MANY * LINE_ROOM];
static size_t text_len;

/* Standard error is a pipe, in which there is room for a page. */
static int take_stderr(void **state)
{
	int fds[2];

	(void)state;
	text_len = 0;
	kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	reader = fds[0];
	return 0;
}

static int give_stderr_back(void **state)
{
	(void)state;
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(reader);
	return 0;
}

static void say(unsigned number)
{
	char line[LINE_ROOM];
	int len = snprintf(line, sizeof(line), LINE, number);

	assert_true(speaker_say(line, (size_t)len));
}

/* Read until a text has come. */
static void read_until(const char *wanted)
{
	while (!strstr(text, wanted)) {
		ssize_t len = read(reader, text + text_len, sizeof(text) - 1 - text_len);

		assert_true(len > 0);
		text_len += (size_t)len;
		text[text_len] = '\0';
	}
}

static void nobody_speaks_before_the_start_and_after_the_end(void **state)
{
	(void)state;
	text[0] = '\0';
	assert_false(speaker_say("too early\n", 10));
	assert_int_equal(speaker_start(), 0);
	say(1);
	speaker_end();
	assert_false(speaker_say("too late\n", 9));
	read_until("line 00001");
	assert_null(strstr(text, "too"));
}

static void lines_come_in_their_order_and_whole(void **state)
{
	char line[LINE_ROOM];
	const char *at = text;

	(void)state;
	text[0] = '\0';
	assert_int_equal(speaker_start(), 0);
	for (unsigned i = 0; i < 1000; i++)
		say(i);
	read_until("line 00999 of those that somebody may read\n");
	for (unsigned i = 0; i < 1000; i++) {
		int len = snprintf(line, sizeof(line), LINE, i);

		assert_memory_equal(at, line, (size_t)len);
		at += len;
	}
	speaker_end();
}

static void what_does_not_fit_is_lost_and_counted_and_nobody_waits(void **state)
{
	unsigned nr_lost = 0, nr_read = 0;
	const char *lost;

	(void)state;
	text[0] = '\0';
	assert_int_equal(speaker_start(), 0);
	for (unsigned i = 0; i < NR_MANY; i++)
		say(i);
	read_until("lines are lost here");
	lost = strstr(text, "usplice: ");
	assert_int_equal(sscanf(lost, "usplice: %u lines are lost here", &nr_lost), 1);
	for (const char *at = text; at < lost; at = strchr(at, '\n') + 1)
		nr_read++;
	assert_int_equal(nr_read + nr_lost, NR_MANY);
	assert_true(nr_lost > 0);
	say(77777);
	read_until("line 77777");
	speaker_end();
}

/* In a process of its own, since its speaker is stuck for good. */
static void the_end_does_not_wait_for_ever_for_somebody_to_read(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid) {
		bool is_stuck = false;

		if (speaker_start() == 0) {
			for (unsigned i = 0; i < NR_MANY; i++)
				speaker_say(LINE, sizeof(LINE) - 1);
			speaker_end();
			is_stuck = speaker_say("nobody waits for this\n", 22);
		}
		_exit(is_stuck ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_speaks_before_the_start_and_after_the_end, take_stderr,
						give_stderr_back),
		cmocka_unit_test_setup_teardown(lines_come_in_their_order_and_whole, take_stderr, give_stderr_back),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_lost_and_counted_and_nobody_waits, take_stderr,
						give_stderr_back),
		cmocka_unit_test_setup_teardown(the_end_does_not_wait_for_ever_for_somebody_to_read, take_stderr,
						give_stderr_back),
	};

	return cmocka_run_group_tests_name("speaker", tests, NULL, NULL);
}
