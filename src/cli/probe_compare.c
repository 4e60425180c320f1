/* SPDX-License-Identifier: MIT */
/* probe_compare - pair the cells of two runs, and print what differs. */
#include "probe_compare.h"
#include "cli.h"
#include "json.h"
#include "probe_load.h"
#include "size.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice.h>

#define COMPARE_COST_FACTOR 2.0 /* costs of two runs of one machine differ by less, mostly */

/* Exit codes as those of diff(1). */
enum compare_exit {
	COMPARE_SAME = CLI_DONE,
	COMPARE_DIFFERENT = 1,
	COMPARE_TROUBLE = CLI_USAGE,
};

struct compare {
	const struct probe_comparison *request;
	struct probe_run runs[2]; /* before, after */
	size_t nr_both, nr_changed, nr_costs, nr_only[2];
};

static const char *const compare_sides[] = {"before", "after"};

/* --- Pairs ---------------------------------------------------------------------------------------------------- */

static int compare_texts(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

/* Order two cells by what identifies them: 0 if they are the same cell. */
static int compare_keys(const struct probe_cell *a, const struct probe_cell *b)
{
	const char *const texts[][2] = {
		{a->half, b->half}, {a->object, b->object}, {a->peer, b->peer},	  {a->call, b->call},
		{a->flag, b->flag}, {a->rights, b->rights}, {a->state, b->state},
	};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int order = compare_texts(texts[i][0], texts[i][1]);

		if (order != 0)
			return order;
	}
	return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* Order cells for qsort(3). What a file has twice stays in its order. */
static int compare_places(const void *a, const void *b)
{
	const struct probe_cell *one = *(struct probe_cell *const *)a, *other = *(struct probe_cell *const *)b;
	int order = compare_keys(one, other);

	return order != 0 ? order : (one->index > other->index) - (one->index < other->index);
}

/* List the cells of a run in the order of their keys. The caller frees the list. NULL without memory. */
static struct probe_cell **compare_sort(struct probe_run *run)
{
	struct probe_cell **list = malloc((run->nr_cells + 1) * sizeof(struct probe_cell *));
	size_t i;

	for (i = 0; list && i < run->nr_cells; i++)
		list[i] = &run->cells[i];
	if (list)
		qsort(list, run->nr_cells, sizeof(struct probe_cell *), compare_places);
	return list;
}

/* Make the same cells of both lists partners. The n-th of a key belongs to the n-th of the other run. */
static void compare_pair(struct compare *compare, struct probe_cell **before, struct probe_cell **after)
{
	size_t i = 0, j = 0;

	while (i < compare->runs[0].nr_cells && j < compare->runs[1].nr_cells) {
		int order = compare_keys(before[i], after[j]);

		if (order == 0) {
			before[i]->partner = after[j];
			after[j]->partner = before[i];
			compare->nr_both++;
		}
		i += order <= 0;
		j += order >= 0;
	}
}

/* --- What differs --------------------------------------------------------------------------------------------- */

/* A choice of cells that is printed as one list. */
typedef bool compare_choice(const struct probe_cell *cell);

static bool compare_is_alone(const struct probe_cell *cell)
{
	return !cell->partner;
}

static bool compare_is_changed(const struct probe_cell *cell)
{
	const struct probe_cell *after = cell->partner;

	return after && (strcmp(cell->answer, after->answer) != 0 || compare_texts(cell->error, after->error) != 0);
}

static bool compare_costs_otherwise(const struct probe_cell *cell)
{
	double a = cell->cost, b = cell->partner ? cell->partner->cost : -1;

	return a >= 0 && b >= 0 && (a > COMPARE_COST_FACTOR * b || b > COMPARE_COST_FACTOR * a);
}

static size_t compare_count(const struct probe_run *run, compare_choice *is_chosen)
{
	size_t i, sum = 0;

	for (i = 0; i < run->nr_cells; i++)
		sum += is_chosen(&run->cells[i]);
	return sum;
}

static int compare_find(struct compare *compare)
{
	struct probe_cell **before = compare_sort(&compare->runs[0]), **after = compare_sort(&compare->runs[1]);
	int error = before && after ? 0 : -ENOMEM;

	if (error == 0)
		compare_pair(compare, before, after);
	free(before);
	free(after);
	compare->nr_changed = compare_count(&compare->runs[0], compare_is_changed);
	compare->nr_costs = compare_count(&compare->runs[0], compare_costs_otherwise);
	compare->nr_only[0] = compare_count(&compare->runs[0], compare_is_alone);
	compare->nr_only[1] = compare_count(&compare->runs[1], compare_is_alone);
	return error;
}

static bool compare_is_same(const struct compare *compare)
{
	return compare->nr_changed + compare->nr_only[0] + compare->nr_only[1] == 0;
}

/* --- In words ------------------------------------------------------------------------------------------------- */

static void compare_say_run(const struct probe_run *run, const char *side)
{
	printf("%s: ", side);
	message_put(stdout, run->name);
	fputs(": Linux ", stdout);
	message_put(stdout, run->kernel);
	fputs(", ", stdout);
	message_put(stdout, run->machine);
	fputs(", ", stdout);
	message_put(stdout, run->time);
	fputs(run->is_root ? ", root\n" : ", an ordinary user\n", stdout);
	if (!run->controls_hold)
		printf("%s: a control failed, so no answer of this run counts\n", side);
}

/* Name a cell: "file in /tmp -> pipe (splice, own, clean, 4.0 KiB)". */
static void compare_say_cell(const struct probe_cell *cell)
{
	const char *const words[] = {strcmp(cell->flag, "none") == 0 ? NULL : cell->flag, cell->rights, cell->state};
	char size[SIZE_TEXT_MAX];
	bool is_out = strcmp(cell->half, "out of a pipe") == 0;
	size_t i;

	fputs("  ", stdout);
	message_put(stdout, is_out ? "pipe" : cell->object);
	fputs(" -> ", stdout);
	message_put(stdout, is_out ? cell->object : cell->peer ? cell->peer : "pipe");
	fputs(" (", stdout);
	message_put(stdout, cell->call);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i]) {
			fputs(", ", stdout);
			message_put(stdout, words[i]);
		}
	}
	if (cell->bytes > 0)
		printf(", %s", size_format(size, (double)cell->bytes));
	putchar(')');
}

static void compare_say_answer(const struct probe_cell *cell)
{
	fputs(cell->answer, stdout);
	if (cell->error) {
		fputs(" (", stdout);
		message_put(stdout, cell->error);
		putchar(')');
	}
}

static void compare_say_reason(const struct probe_cell *cell, const char *side)
{
	printf("    %s: ", side);
	message_put(stdout, cell->reason);
	putchar('\n');
}

static void compare_say_changes(const struct compare *compare)
{
	const struct probe_run *run = &compare->runs[0];
	size_t i;

	if (compare->nr_changed)
		puts("\nAnswers that differ, before -> after:");
	for (i = 0; i < run->nr_cells; i++) {
		const struct probe_cell *cell = &run->cells[i];

		if (!compare_is_changed(cell))
			continue;
		compare_say_cell(cell);
		fputs(": ", stdout);
		compare_say_answer(cell);
		fputs(" -> ", stdout);
		compare_say_answer(cell->partner);
		putchar('\n');
		if (compare->request->verbose) {
			compare_say_reason(cell, compare_sides[0]);
			compare_say_reason(cell->partner, compare_sides[1]);
		}
	}
}

static void compare_say_only(const struct compare *compare, int side)
{
	const struct probe_run *run = &compare->runs[side];
	size_t i;

	if (compare->nr_only[side])
		printf("\nOnly %s:\n", compare_sides[side]);
	for (i = 0; i < run->nr_cells; i++) {
		const struct probe_cell *cell = &run->cells[i];

		if (!compare_is_alone(cell))
			continue;
		compare_say_cell(cell);
		fputs(": ", stdout);
		compare_say_answer(cell);
		putchar('\n');
		if (compare->request->verbose)
			compare_say_reason(cell, compare_sides[side]);
	}
}

static void compare_say_costs(const struct compare *compare)
{
	const struct probe_run *run = &compare->runs[0];
	size_t i;

	if (compare->nr_costs)
		printf("\nCosts that differ by more than %.1f times, each in terms of memcpy of its own run:\n",
		       COMPARE_COST_FACTOR);
	for (i = 0; i < run->nr_cells; i++) {
		const struct probe_cell *cell = &run->cells[i];

		if (!compare_costs_otherwise(cell))
			continue;
		compare_say_cell(cell);
		printf(": %.3g -> %.3g\n", cell->cost, cell->partner->cost);
	}
}

static void compare_say(const struct compare *compare)
{
	int side;

	for (side = 0; side < 2; side++)
		compare_say_run(&compare->runs[side], compare_sides[side]);
	compare_say_changes(compare);
	for (side = 0; side < 2; side++)
		compare_say_only(compare, side);
	compare_say_costs(compare);
	printf("\n%s: cells in both %zu, answers that differ %zu, only before %zu, only after %zu, costs that differ %zu\n",
	       compare_is_same(compare) ? "The same answers" : "Different answers", compare->nr_both,
	       compare->nr_changed, compare->nr_only[0], compare->nr_only[1], compare->nr_costs);
}

/* --- As JSON -------------------------------------------------------------------------------------------------- */

/* Write "key":"text" or "key":null. */
static void compare_json_text(const char *key, const char *text, const char *end)
{
	printf("\"%s\":", key);
	json_put(stdout, text);
	fputs(end, stdout);
}

static void compare_json_run(const struct probe_run *run, const char *side)
{
	printf("\"%s\":{", side);
	compare_json_text("file", run->name, ",");
	compare_json_text("usplice", run->version, ",");
	compare_json_text("kernel", run->kernel, ",");
	compare_json_text("machine", run->machine, ",");
	compare_json_text("time", run->time, ",");
	printf("\"root\":%s,\"controls\":%s}", run->is_root ? "true" : "false", run->controls_hold ? "true" : "false");
}

static void compare_json_key(const struct probe_cell *cell)
{
	compare_json_text("half", cell->half, ",");
	compare_json_text("object", cell->object, ",");
	compare_json_text("peer", cell->peer, ",");
	compare_json_text("call", cell->call, ",");
	compare_json_text("flag", cell->flag, ",");
	compare_json_text("rights", cell->rights, ",");
	compare_json_text("state", cell->state, ",");
	printf("\"bytes\":%lld", (long long)cell->bytes);
}

static void compare_json_answer(const struct probe_cell *cell)
{
	compare_json_text("answer", cell->answer, ",");
	compare_json_text("errno", cell->error, ",");
	compare_json_text("reason", cell->reason, "");
}

static void compare_json_change(const struct probe_cell *cell)
{
	compare_json_key(cell);
	fputs(",\"before\":{", stdout);
	compare_json_answer(cell);
	fputs("},\"after\":{", stdout);
	compare_json_answer(cell->partner);
	putchar('}');
}

static void compare_json_only(const struct probe_cell *cell)
{
	compare_json_key(cell);
	putchar(',');
	compare_json_answer(cell);
}

static void compare_json_cost(const struct probe_cell *cell)
{
	compare_json_key(cell);
	printf(",\"before\":%.6g,\"after\":%.6g", cell->cost, cell->partner->cost);
}

/* Write an array of the chosen cells, one on each line. */
static void compare_json_list(const char *key, const struct probe_run *run, compare_choice *is_chosen,
			      void (*write)(const struct probe_cell *cell))
{
	const char *start = "\n{";
	size_t i;

	printf(",\n\"%s\":[", key);
	for (i = 0; i < run->nr_cells; i++) {
		if (!is_chosen(&run->cells[i]))
			continue;
		fputs(start, stdout);
		write(&run->cells[i]);
		putchar('}');
		start = ",\n{";
	}
	putchar(']');
}

static void compare_json(const struct compare *compare)
{
	const struct probe_run *runs = compare->runs;

	printf("{\"same\":%s,\"cells_in_both\":%zu,\n", compare_is_same(compare) ? "true" : "false", compare->nr_both);
	compare_json_run(&runs[0], compare_sides[0]);
	fputs(",\n", stdout);
	compare_json_run(&runs[1], compare_sides[1]);
	compare_json_list("changed", &runs[0], compare_is_changed, compare_json_change);
	compare_json_list("only_before", &runs[0], compare_is_alone, compare_json_only);
	compare_json_list("only_after", &runs[1], compare_is_alone, compare_json_only);
	compare_json_list("costs", &runs[0], compare_costs_otherwise, compare_json_cost);
	puts("}");
}

/* --- All of it ------------------------------------------------------------------------------------------------ */

/* Read both files, so that one run tells what is wrong with each of them. */
static int compare_load(struct compare *compare)
{
	int before = probe_load(compare->request->before, &compare->runs[0]);
	int after = probe_load(compare->request->after, &compare->runs[1]);

	if (before < 0 || after < 0)
		return COMPARE_TROUBLE;
	if (compare_find(compare) < 0) {
		message_say("%s", strerror(ENOMEM));
		return COMPARE_TROUBLE;
	}
	return COMPARE_SAME;
}

int probe_compare(const struct probe_comparison *comparison)
{
	struct compare compare = {.request = comparison};
	int result = compare_load(&compare);

	if (result == COMPARE_SAME) {
		if (comparison->json)
			compare_json(&compare);
		else
			compare_say(&compare);
		result = compare_is_same(&compare) ? COMPARE_SAME : COMPARE_DIFFERENT;
		if (message_close_stdout() != CLI_DONE)
			result = COMPARE_TROUBLE;
	}
	probe_unload(&compare.runs[0]);
	probe_unload(&compare.runs[1]);
	return result;
}

void probe_compare_tell(struct usp_part *ret_part)
{
	*ret_part = (struct usp_part){
		.kind = USP_PART_FEATURE,
		.name = "probe_compare",
		.form = "probe --compare",
		.summary = "what differs between two runs of usplice probe",
		.library = "libjansson.so.4",
		.version = JANSSON_VERSION,
	};
}
