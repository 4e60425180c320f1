/* SPDX-License-Identifier: MIT */
/* probe_compare - what differs between two runs of `usplice probe`: two kernels, or two machines. */
#ifndef USP_CLI_PROBE_COMPARE_H
#define USP_CLI_PROBE_COMPARE_H

#include <stdbool.h>

struct probe_comparison {
	const char *before, *after; /* files that `usplice probe --json` wrote; "-" is standard input, once */
	bool json, verbose;
};

/*
 * Print what differs, as lines or as JSON. As diff(1) does, return 0 if all answers are the same, 1 if one differs or a
 * cell is only in one of the files, and 2 after saying what is wrong with a file or with standard output. Costs do not
 * change the result.
 */
int probe_compare(const struct probe_comparison *comparison);

struct usp_part;

/* Tell of this comparison, as usp_part_at does of the parts of the library. */
void probe_compare_tell(struct usp_part *ret_part);

#endif
