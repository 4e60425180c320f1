/* SPDX-License-Identifier: MIT */
/*
 * test_invariants - the checks of builds with -Dinvariants=true do bite: a ring with one thing wrong ends the process at
 * the next step. Other builds have no checks, and skip this.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "splice/pipe.h"
#include "support.h"

#ifdef USP_INVARIANTS

/* In a process of its own: break something in a pipe with two entries, and ask for the next step. True if that ended it. */
static bool is_caught(void (*spoil)(struct usp_pipe *pipe))
{
	const struct rlimit no_core = {0, 0};
	struct usp_file *end[2];
	int status;
	pid_t pid;

	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, PAGE);
	put_bytes(end[1], PAGE, 100);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL); /* and not the test runner's idea of it */
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		if (spoil)
			spoil(usp_file_pipe(end[0]));
		usp_pipe_begin_write(usp_file_pipe(end[1]), USP_SPLICE_NONBLOCK);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close_pipe(end);
	assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
		    (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
	return WIFSIGNALED(status);
}

static struct usp_buf *slot(struct usp_pipe *pipe, unsigned index)
{
	return usp_pipe_slot(pipe, pipe->tail + index);
}

static void lose_a_byte(struct usp_pipe *pipe)
{
	pipe->nr_bytes--;
}

static void lose_an_entry(struct usp_pipe *pipe)
{
	slot(pipe, 0)->ops = NULL;
}

static void leave_an_entry_behind(struct usp_pipe *pipe)
{
	pipe->head--;
	pipe->nr_bytes -= 100;
}

static void reach_beyond_the_folio(struct usp_pipe *pipe)
{
	slot(pipe, 1)->offset = PAGE - 1;
}

static void let_a_packet_grow(struct usp_pipe *pipe)
{
	slot(pipe, 1)->flags |= USP_BUF_PACKET;
}

static void let_what_was_not_written_grow(struct usp_pipe *pipe)
{
	slot(pipe, 1)->ops = &usp_folio_buf_ops;
}

static void share_without_a_reference(struct usp_pipe *pipe)
{
	slot(pipe, 1)->store = slot(pipe, 0)->store;
	slot(pipe, 1)->flags = 0;
}

static void let_two_entries_grow_in_one_folio(struct usp_pipe *pipe)
{
	slot(pipe, 1)->store = slot(pipe, 0)->store;
	usp_folio_get(slot(pipe, 0)->store);
}

static void exceed_the_bytes(struct usp_pipe *pipe)
{
	pipe->max_bytes = 10;
}

static void a_good_ring_passes(void **state)
{
	(void)state;
	assert_false(is_caught(NULL));
}

static void a_spoiled_ring_is_caught(void **state)
{
	static void (*const spoils[])(struct usp_pipe *) = {
		lose_a_byte,
		lose_an_entry,
		leave_an_entry_behind,
		reach_beyond_the_folio,
		let_a_packet_grow,
		let_what_was_not_written_grow,
		share_without_a_reference,
		let_two_entries_grow_in_one_folio,
		exceed_the_bytes,
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(spoils); i++) {
		if (!is_caught(spoils[i]))
			fail_msg("number %u was not caught", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_good_ring_passes),
		CASE(a_spoiled_ring_is_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
	printf("built without -Dinvariants=true: skipped\n");
	return 77;
}

#endif
