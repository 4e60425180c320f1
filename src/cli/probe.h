/* SPDX-License-Identifier: MIT */
/* probe - what `usplice probe` is asked, and the objects that it asks about. */
#ifndef USP_CLI_PROBE_H
#define USP_CLI_PROBE_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <usplice/probe.h>

#define PROBE_DIRS_MAX 16

struct probe_request {
	const char *dirs[PROBE_DIRS_MAX];
	unsigned nr_dirs;
	bool has_dirs;	/* they are the user's */
	bool lacks_dir; /* one that was asked for can have no file */
	bool json, verbose, no_cost, compare, help;
	const char *html;	   /* where the page goes, or NULL */
	const char *source, *sink; /* specs, or NULL; with compare, the names of two files */
};

/*
 * Open an end without changing it: no file is made or cut, and a file on a disk is not even opened to be written,
 * unless must_write is set. A pipe stands in for a FIFO. CLI_DONE, or another exit code after saying why.
 */
int probe_open(const char *spec, unsigned mode, bool must_write, struct usp_file **ret_file);

/* What a run found on this machine: the matrix, and what the ledger uses in its base cells. */
struct probe_machine {
	time_t when;
	struct usp_probe_cell *cells; /* with names of their own */
	size_t nr_cells, max_cells;
	struct usp_probe_matrix_result result;
};

/*
 * Ask about this machine: 0, or -errno. It is to be freed also after a failure. A directory that can have no file is named
 * on standard error, and taken out of the request.
 */
int probe_machine_ask(struct probe_request *request, struct probe_machine *ret_machine);
void probe_machine_free(struct probe_machine *machine);

/* Find the base cell of an object in one half; NULL if there is none. */
const struct usp_probe_cell *probe_machine_base(const struct probe_machine *machine, enum usp_probe_half half,
						const char *object);

/* Tell whether a cell is a route that was run as a whole and did not do as its halves say. */
bool probe_is_differing(const struct usp_probe_cell *cell);

/* Count the routes that were run as a whole and decided, and those of them that did as their halves say. */
void probe_machine_routes(const struct probe_machine *machine, unsigned *ret_checked, unsigned *ret_agreed);

/* Write all that was found as JSON, with a line feed at the end. */
void probe_write_json(FILE *stream, const struct probe_machine *machine);

/* Print it for people on standard output; with is_verbose every cell and its reason. */
void probe_print_machine(const struct probe_machine *machine, bool is_verbose);

extern const char *const probe_answer_names[USP_NR_PROBE_ANSWERS];
extern const char *const probe_answer_colours[USP_NR_PROBE_ANSWERS]; /* "" for none */
extern const char *const probe_half_names[];

/* Return the name of an errno value, such as "EINVAL"; "errno" for one that no hop gives. */
const char *probe_error_name(int error);

/* Tell whether standard output is a terminal that shows colours, and NO_COLOR does not forbid them. */
bool probe_has_colour(void);

/* Seconds of the processor for a GiB, and GiB in a second; cost->bytes must not be 0. */
double probe_cpu_s_per_gib(const struct usp_probe_cost *cost);
double probe_gib_per_s(const struct usp_probe_cost *cost);

#endif
