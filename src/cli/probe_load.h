/* SPDX-License-Identifier: MIT */
/* probe_load - a file that `usplice probe --json` wrote, checked and as structs. */
#ifndef USP_CLI_PROBE_LOAD_H
#define USP_CLI_PROBE_LOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One cell. The texts belong to the run. */
struct probe_cell {
	const char *half, *object, *call, *flag, *answer, *reason;
	const char *peer, *rights, *state, *error; /* NULL where they have no meaning */
	int64_t bytes;
	double cost;  /* processor time in terms of memcpy of its own run; negative if it was not measured */
	size_t index; /* its place in the file */
	struct probe_cell *partner; /* the same cell of another run, or NULL; for the comparison */
};

struct probe_run {
	const char *name; /* of the file */
	const char *version, *kernel, *machine, *time;
	bool is_root, controls_hold;
	double memcpy_cost; /* processor time in s/GiB; 0 if it was not measured */
	struct probe_cell *cells;
	size_t nr_cells;
	json_t *json;
};

/*
 * Read and check a file; "-" is standard input. Keys that are not known are left alone. Returns 0, or -1 after saying
 * what is wrong, with the line. Free the run with probe_unload in both cases.
 */
int probe_load(const char *name, struct probe_run *ret_run);
void probe_unload(struct probe_run *run);

#endif
