/* SPDX-License-Identifier: MIT */
/*
 * test_fault_matrix - one cell of each kind of object of the matrix, with everything failing in turn. Nothing is left
 * behind, and the answer is that of a run without a fault, or none.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "end.h"
#include "fault.h"
#include "matrix/inside.h"
#include "support.h"

struct question {
	const char *object;
	enum matrix_rights rights;
	enum matrix_state state;
};

/* Only what the kernel was made to say may be told as a refusal. It refuses a cut length itself with O_DIRECT. */
static void check_verdict(struct matrix_verdict verdict, int64_t *truth)
{
	fault_check(verdict.reason != NULL);
	if (!fault_hit().has_fired)
		*truth = verdict.answer;
	else if (verdict.answer == USP_PROBE_REFUSED)
		fault_check(*truth == USP_PROBE_REFUSED || verdict.error == fault_hit().plan.error ||
			    (fault_hit().plan.cut != FAULT_NO_CUT && verdict.error == EINVAL));
	else if (verdict.answer != USP_PROBE_UNDECIDABLE)
		fault_check(verdict.answer == (enum usp_probe_answer) * truth);
}

static void run_cell(const void *arg)
{
	static const char *const dirs[] = {"/var/tmp"};
	const struct question *question = arg;
	const struct matrix_trial trial = {.len = PAGE, .rights = question->rights, .state = question->state};
	struct matrix_run run = {.fills_by_vmsplice = false};
	unsigned i = 0;

	run.objects = usp_matrix_objects(dirs, 1, &run.nr_objects);
	fault_check(run.objects != NULL);
	while (run.objects && i < run.nr_objects && strcmp(run.objects[i].name, question->object) != 0)
		i++;
	fault_check(i < run.nr_objects);
	if (!run.objects || i >= run.nr_objects)
		return;
	fault_arm();
	if (run.objects[i].kind->source)
		check_verdict(usp_matrix_judge_in(&run, &run.objects[i], &trial), &fault_notes[0]);
	if (run.objects[i].kind->sink)
		check_verdict(usp_matrix_judge_out(&run, &run.objects[i], &trial), &fault_notes[1]);
	if (run.objects[i].kind->in_dir && run.objects[i].kind->is_file) {
		check_verdict(usp_matrix_direct(&run.objects[i], PAGE, false), &fault_notes[2]);
		check_verdict(usp_matrix_direct(&run.objects[i], PAGE, true), &fault_notes[3]);
	}
	fault_disarm();
	usp_free(run.objects);
}

#define CELL(its_name, ...)                                                        \
	{                                                                          \
		.name = its_name, .run = run_cell, .arg = &(const struct question) \
		{                                                                  \
			__VA_ARGS__                                                \
		}                                                                  \
	}

static const struct fault_scenario scenarios[] = {
	CELL("a_file_on_a_disk", "file in /var/tmp", MATRIX_OWN, MATRIX_CLEAN),
	CELL("a_mapped_file_of_another_owner", "file in memory (memfd)", MATRIX_FOREIGN, MATRIX_MAPPED),
	CELL("a_file_with_o_direct", "O_DIRECT file in /var/tmp", MATRIX_OWN, MATRIX_CLEAN),
	CELL("a_file_of_huge_pages", "memfd of huge pages", MATRIX_OWN, MATRIX_CLEAN),
	CELL("memory_by_write", "memory, by write", MATRIX_OWN, MATRIX_CLEAN),
	CELL("memory_by_read", "memory, by read", MATRIX_OWN, MATRIX_CLEAN),
	CELL("memory_by_vmsplice", "memory, by vmsplice", MATRIX_OWN, MATRIX_CLEAN),
	CELL("a_pipe", "pipe", MATRIX_OWN, MATRIX_CLEAN),
	CELL("a_pipe_by_tee", "pipe, by tee", MATRIX_OWN, MATRIX_CLEAN),
	CELL("tcp", "TCP over loopback", MATRIX_OWN, MATRIX_CLEAN),
	CELL("tcp_with_written_pieces", "TCP, written pieces", MATRIX_OWN, MATRIX_CLEAN),
	CELL("udp", "UDP over loopback", MATRIX_OWN, MATRIX_CLEAN),
	CELL("unix_stream", "UNIX stream", MATRIX_OWN, MATRIX_CLEAN),
	CELL("a_terminal", "terminal (pty)", MATRIX_OWN, MATRIX_CLEAN),
	CELL("the_null_device", "/dev/null", MATRIX_OWN, MATRIX_CLEAN),
	CELL("a_text_of_the_kernel", "/proc/self/status", MATRIX_OWN, MATRIX_CLEAN),
};

int main(void)
{
	end_init(PAGE);
	return fault_main(scenarios, ARRAY_LEN(scenarios));
}
