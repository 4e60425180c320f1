/* SPDX-License-Identifier: MIT */
/* probe_table - what was found on this machine, for people. */
#include "cli.h"
#include "probe.h"
#include "size.h"
#include "ways.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLE_NAME 29
#define TABLE_ANSWER 17
#define TABLE_COST 16
#define TABLE_KEY 31
#define TABLE_TEXT_MAX 160
#define TABLE_NAMES_MAX 3 /* objects that are named where several answer alike */

bool probe_has_colour(void)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_colour && no_colour[0]) && !(term && strcmp(term, "dumb") == 0);
}

/* Print a name that a user may have given, at least width columns wide. */
static void table_name(const char *name, int width)
{
	int len = (int)strlen(name);

	message_put(stdout, name);
	printf("%*s", len < width ? width - len : 1, "");
}

static void table_colour(enum usp_probe_answer answer, bool is_on)
{
	if (probe_has_colour() && probe_answer_colours[answer][0])
		fputs(is_on ? probe_answer_colours[answer] : "\033[0m", stdout);
}

/* Write "refused EINVAL", or the answer alone. */
static const char *table_answer(const struct usp_probe_cell *cell, char text[TABLE_TEXT_MAX])
{
	bool is_refused = cell->answer == USP_PROBE_REFUSED;

	snprintf(text, TABLE_TEXT_MAX, "%s%s%s", probe_answer_names[cell->answer], is_refused ? " " : "",
		 is_refused ? probe_error_name(cell->error) : "");
	return text;
}

/* --- The halves ---------------------------------------------------------------------------------------------- */

static void table_cost(const struct probe_machine *machine, const struct usp_probe_cell *cell)
{
	const struct usp_probe_cost *memory = &machine->result.memory;

	if (memory->bytes == 0)
		return;
	if (!cell || cell->cost.bytes == 0)
		printf("%*s", TABLE_COST, "");
	else
		printf("%6.0f ms %5.2fx ", probe_cpu_s_per_gib(&cell->cost) * 1e3,
		       probe_cpu_s_per_gib(&cell->cost) / probe_cpu_s_per_gib(memory));
}

static void table_half(const struct probe_machine *machine, const struct usp_probe_cell *cell)
{
	char text[TABLE_TEXT_MAX] = "-";

	if (cell) {
		table_answer(cell, text);
		table_colour(cell->answer, true);
	}
	printf("%-*s", TABLE_ANSWER, text);
	if (cell)
		table_colour(cell->answer, false);
	table_cost(machine, cell);
}

/* Tell whether a cell is the first of its object among those of the halves. */
static bool table_is_first(const struct probe_machine *machine, size_t index)
{
	const struct usp_probe_cell *cell = &machine->cells[index];
	size_t i = 0;

	if (cell->half > USP_PROBE_OUT_OF_PIPE)
		return false;
	while (strcmp(machine->cells[i].object, cell->object) != 0)
		i++;
	return i == index;
}

static void table_halves(const struct probe_machine *machine)
{
	int width = TABLE_ANSWER + (machine->result.memory.bytes ? TABLE_COST : 0);
	size_t i;

	printf("%-*s%-*s%s\n", TABLE_NAME, "", width, "into a pipe", "out of a pipe");
	for (i = 0; i < machine->nr_cells; i++) {
		const char *name = machine->cells[i].object;

		if (!table_is_first(machine, i))
			continue;
		table_name(name, TABLE_NAME);
		table_half(machine, probe_machine_base(machine, USP_PROBE_INTO_PIPE, name));
		table_half(machine, probe_machine_base(machine, USP_PROBE_OUT_OF_PIPE, name));
		putchar('\n');
	}
	if (machine->result.memory.bytes)
		printf("\nms: processor time of a GiB. x: times that of memcpy, which takes %.0f ms here.\n",
		       probe_cpu_s_per_gib(&machine->result.memory) * 1e3);
}

/* Tell whether the reason of an undecidable base cell was not given before. */
static bool table_is_new_reason(const struct probe_machine *machine, size_t index)
{
	const char *reason = machine->cells[index].reason;
	size_t i;

	for (i = 0; i < index; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (cell->is_base && cell->answer == USP_PROBE_UNDECIDABLE && strcmp(cell->reason, reason) == 0)
			return false;
	}
	return true;
}

/* Say why some answers are none. */
static void table_undecided(const struct probe_machine *machine)
{
	unsigned nr = 0;
	const char *last = NULL;
	size_t i, j;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!cell->is_base || cell->answer != USP_PROBE_UNDECIDABLE || !table_is_new_reason(machine, i))
			continue;
		printf("%s  %s%s%s\n    ", nr++ ? "" : "\nUndecidable:\n", cell->reason, cell->error ? ": " : "",
		       cell->error ? probe_error_name(cell->error) : "");
		for (j = i; j < machine->nr_cells; j++) {
			const struct usp_probe_cell *other = &machine->cells[j];

			if (!other->is_base || other->answer != USP_PROBE_UNDECIDABLE ||
			    strcmp(other->reason, cell->reason) != 0 || (j > i && strcmp(other->object, last) == 0))
				continue;
			fputs(j > i ? "; " : "", stdout);
			message_put(stdout, other->object);
			last = other->object;
		}
		putchar('\n');
	}
}

/* --- What differs -------------------------------------------------------------------------------------------- */

static void table_add(char text[TABLE_TEXT_MAX], const char *before, const char *more)
{
	size_t len = strlen(text);

	snprintf(text + len, TABLE_TEXT_MAX - len, "%s%s%s", len ? ", " : "", before, more);
}

/* Name what a cell varies, beside the base cell: "MOVE", "foreign, dirty", "512 B". */
static const char *table_variation(const struct usp_probe_cell *cell, const struct usp_probe_cell *base,
				   char text[TABLE_TEXT_MAX])
{
	char size[SIZE_TEXT_MAX];

	text[0] = '\0';
	if (strcmp(cell->flag, base->flag) != 0)
		table_add(text, "", cell->flag);
	if (cell->rights && strcmp(cell->rights, base->rights) != 0)
		table_add(text, "", cell->rights);
	if (cell->state && strcmp(cell->state, base->state) != 0)
		table_add(text, "", cell->state);
	if (cell->len != base->len)
		table_add(text, "", size_format(size, (double)cell->len));
	return text;
}

static bool table_differs(const struct probe_machine *machine, const struct usp_probe_cell *cell)
{
	const struct usp_probe_cell *base =
		cell->half <= USP_PROBE_OUT_OF_PIPE ? probe_machine_base(machine, cell->half, cell->object) : NULL;

	return base && !cell->is_base && (cell->answer != base->answer || cell->error != base->error);
}

static bool table_is_alike(const struct probe_machine *machine, const struct usp_probe_cell *a,
			   const struct usp_probe_cell *b)
{
	return table_differs(machine, b) && a->answer == b->answer && a->error == b->error &&
	       strcmp(a->reason, b->reason) == 0;
}

/* Tell whether no cell before this one answers alike; with a text, none that varies or is called the same. */
static bool table_is_new(const struct probe_machine *machine, size_t first, size_t index, bool is_object)
{
	const struct usp_probe_cell *cell = &machine->cells[index];
	char text[TABLE_TEXT_MAX], other[TABLE_TEXT_MAX];
	size_t i;

	table_variation(cell, probe_machine_base(machine, cell->half, cell->object), text);
	for (i = first; i < index; i++) {
		const struct usp_probe_cell *before = &machine->cells[i];

		if (!table_is_alike(machine, cell, before))
			continue;
		table_variation(before, probe_machine_base(machine, before->half, before->object), other);
		if (is_object ? strcmp(before->object, cell->object) == 0 : strcmp(other, text) == 0)
			return false;
	}
	return true;
}

/* Print the variations, or the objects, of all cells that answer as the first one does. */
static void table_list(const struct probe_machine *machine, size_t first, bool is_object)
{
	char text[TABLE_TEXT_MAX];
	unsigned nr = 0, nr_shown = 0;
	size_t i;

	for (i = first; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!table_is_alike(machine, &machine->cells[first], cell) ||
		    !table_is_new(machine, first, i, is_object))
			continue;
		if (is_object && nr++ >= TABLE_NAMES_MAX)
			continue;
		fputs(nr_shown++ ? "; " : "", stdout);
		table_variation(cell, probe_machine_base(machine, cell->half, cell->object), text);
		message_put(stdout, is_object ? cell->object : text);
	}
	if (nr > TABLE_NAMES_MAX)
		printf("; and %u more", nr - TABLE_NAMES_MAX);
}

static bool table_has_before(const struct probe_machine *machine, size_t index)
{
	size_t i;

	for (i = 0; i < index; i++) {
		if (table_is_alike(machine, &machine->cells[index], &machine->cells[i]))
			return true;
	}
	return false;
}

/* One paragraph for each answer that is not that of the base cell. */
static void table_differences(const struct probe_machine *machine)
{
	char text[TABLE_TEXT_MAX];
	unsigned nr = 0;
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!table_differs(machine, cell) || table_has_before(machine, i))
			continue;
		fputs(nr++ ? "" : "\nOther answers than in the table:\n", stdout);
		fputs("  ", stdout);
		table_list(machine, i, false);
		printf(": %s\n    %s\n    ", table_answer(cell, text), cell->reason);
		table_list(machine, i, true);
		putchar('\n');
	}
	printf("%s", nr ? "All others are the same for each flag, right, state and length that was tried.\n"
			: "\nThe same for each flag, right, state and length that was tried.\n");
}

/* --- File to file -------------------------------------------------------------------------------------------- */

static void table_direct(const struct probe_machine *machine)
{
	char text[TABLE_TEXT_MAX];
	unsigned nr = 0;
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (cell->half != USP_PROBE_DIRECT || !cell->is_base)
			continue;
		fputs(nr++ ? "" : "\nFrom file to file in a directory, without a pipe:\n", stdout);
		fputs("  ", stdout);
		table_name(cell->peer, TABLE_NAME + 10);
		table_colour(cell->answer, true);
		fputs(table_answer(cell, text), stdout);
		table_colour(cell->answer, false);
		putchar('\n');
	}
}

/* --- Routes -------------------------------------------------------------------------------------------------- */

/* What two halves make of a route. A copy on either side is one of the route. */
static char table_letter(enum usp_probe_answer in, enum usp_probe_answer out, enum usp_probe_answer *ret_colour)
{
	static const struct {
		enum usp_probe_answer answer;
		char letter;
	} order[] = {
		{USP_PROBE_REFUSED, '-'},   {USP_PROBE_COPIED, 'C'},	   {USP_PROBE_UNDECIDABLE, '?'},
		{USP_PROBE_BY_DEVICE, 'D'}, {USP_PROBE_BY_REFERENCE, 'R'},
	};
	size_t i = 0;

	while (order[i].answer != in && order[i].answer != out)
		i++;
	*ret_colour = order[i].answer;
	return order[i].letter;
}

/* Print a line of the sinks' letters, or what a source makes with each sink. */
static void table_row(const struct probe_machine *machine, const struct usp_probe_cell *source)
{
	char name = 'a';
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *sink = &machine->cells[i];
		enum usp_probe_answer answer;
		char letter;

		if (sink->half != USP_PROBE_OUT_OF_PIPE || !sink->is_base)
			continue;
		if (!source) {
			printf(" %c", name);
		} else {
			letter = table_letter(source->answer, sink->answer, &answer);
			putchar(' ');
			table_colour(answer, true);
			putchar(letter);
			table_colour(answer, false);
		}
		name = name == 'z' ? 'A' : (char)(name + 1);
	}
	putchar('\n');
}

static void table_key(const struct probe_machine *machine)
{
	char name = 'a';
	unsigned nr = 0;
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *sink = &machine->cells[i];

		if (sink->half != USP_PROBE_OUT_OF_PIPE || !sink->is_base)
			continue;
		printf("%s%c ", nr % 3 == 0 ? "\n  " : "", name);
		table_name(sink->object, ++nr % 3 == 0 ? 0 : TABLE_KEY - 2);
		name = name == 'z' ? 'A' : (char)(name + 1);
	}
	putchar('\n');
}

static void table_routes(const struct probe_machine *machine)
{
	size_t i;

	printf("\nRoutes from source to sink, as both halves make them:\n"
	       "R by reference, C copied, D by the device, - refused, ? undecidable\n\n%-*s",
	       TABLE_NAME, "");
	table_row(machine, NULL);
	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *source = &machine->cells[i];

		if (source->half != USP_PROBE_INTO_PIPE || !source->is_base)
			continue;
		table_name(source->object, TABLE_NAME);
		table_row(machine, source);
	}
	table_key(machine);
}

/* --- Checks -------------------------------------------------------------------------------------------------- */

static void table_checks(const struct probe_machine *machine)
{
	const struct usp_probe_matrix_result *result = &machine->result;
	unsigned checked, agreed;
	size_t i;

	probe_machine_routes(machine, &checked, &agreed);
	printf("\nControls: a write %s, a page of the run %s.%s\n",
	       result->copies ? "was copied" : "WAS NOT SEEN TO BE COPIED",
	       result->aliases ? "went by reference" : "DID NOT GO BY REFERENCE",
	       result->copies && result->aliases ? "" : " So nothing is decided.");
	printf("Routes that were run as a whole: %u; as their halves say: %u.\n", checked, agreed);
	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!probe_is_differing(cell))
			continue;
		fputs("  ", stdout);
		message_put(stdout, cell->object);
		fputs(" to ", stdout);
		message_put(stdout, cell->peer);
		printf(": %s, and the halves say %s\n", probe_answer_names[cell->answer],
		       probe_answer_names[cell->expected]);
	}
}

static bool table_contradicts(enum usp_way way, enum usp_probe_answer answer)
{
	return (way == USP_BY_REFERENCE && answer == USP_PROBE_COPIED) ||
	       (way == USP_COPIED && answer == USP_PROBE_BY_REFERENCE);
}

/* The ledger has its own experiments: say where they found another thing. */
static void table_ledger(const struct probe_machine *machine)
{
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!cell->is_base || !cell->ledger.size || !table_contradicts(cell->ledger.way, cell->answer))
			continue;
		message_put(stdout, cell->object);
		printf(", %s: %s, but reports of usplice say %s\n", probe_half_names[cell->half],
		       probe_answer_names[cell->answer], ways_names[cell->ledger.way]);
	}
}

/* --- Every cell ---------------------------------------------------------------------------------------------- */

static void table_cell(const struct usp_probe_cell *cell)
{
	char text[TABLE_TEXT_MAX], size[SIZE_TEXT_MAX];

	printf("    %s: %s", probe_half_names[cell->half], cell->call);
	printf(", %s", strcmp(cell->flag, "none") == 0 ? "no flag" : cell->flag);
	if (cell->rights)
		printf(", %s", cell->rights);
	if (cell->state)
		printf(", %s", cell->state);
	printf(", %s: %s: %s\n", size_format(size, (double)cell->len), table_answer(cell, text), cell->reason);
}

static void table_cells(const struct probe_machine *machine)
{
	const char *object = "";
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (cell->half == USP_PROBE_COMPOSED)
			continue;
		if (strcmp(object, cell->object) != 0) {
			putchar('\n');
			message_put(stdout, cell->object);
			putchar('\n');
		}
		object = cell->object;
		table_cell(cell);
	}
}

void probe_print_machine(const struct probe_machine *machine, bool is_verbose)
{
	table_halves(machine);
	table_undecided(machine);
	table_differences(machine);
	table_direct(machine);
	table_routes(machine);
	table_checks(machine);
	table_ledger(machine);
	if (is_verbose)
		table_cells(machine);
}
