/* SPDX-License-Identifier: MIT */
/* probe_json - what was found on this machine, as JSON. */
#include "json.h"
#include "probe.h"
#include "ways.h"

#include <sys/utsname.h>
#include <unistd.h>

static void json_member(FILE *stream, const char *name, const char *text)
{
	fprintf(stream, "\"%s\":", name);
	json_put(stream, text);
}

static void json_cost(FILE *stream, const char *name, const struct usp_probe_cost *cost)
{
	fprintf(stream, "\"%s\":", name);
	if (cost->bytes == 0)
		fputs("null", stream);
	else
		fprintf(stream, "{\"cpu_s_per_gib\":%.5f,\"gib_per_s\":%.3f}", probe_cpu_s_per_gib(cost),
			probe_gib_per_s(cost));
}

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

static void json_head(FILE *stream, const struct probe_machine *machine)
{
	struct utsname system;
	char when[32] = "";
	struct tm tm;

	uname(&system);
	gmtime_r(&machine->when, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	fputc('{', stream);
	json_member(stream, "usplice", usp_version());
	fputs(",\"system\":{", stream);
	json_member(stream, "kernel", system.release);
	fputc(',', stream);
	json_member(stream, "machine", system.machine);
	fprintf(stream, ",\"cpus\":%ld},", sysconf(_SC_NPROCESSORS_ONLN));
	json_member(stream, "time", when);
	fprintf(stream, ",\"root\":%s,\n", json_bool(geteuid() == 0));
	json_cost(stream, "memcpy", &machine->result.memory);
	fprintf(stream, ",\"controls\":{\"copies\":%s,\"aliases\":%s}", json_bool(machine->result.copies),
		json_bool(machine->result.aliases));
}

/* --- What the ledger uses ------------------------------------------------------------------------------------ */

/* Print what the ledger uses for one side of an object. cell may be NULL. */
static void json_ledger(FILE *stream, const char *name, const struct usp_probe_cell *cell)
{
	fprintf(stream, ",\"%s\":", name);
	if (!cell || !cell->ledger.size) {
		fputs("null", stream);
		return;
	}
	fputc('{', stream);
	json_member(stream, "way", ways_names[cell->ledger.way]);
	fputc(',', stream);
	json_member(stream, "reason", cell->ledger.reason);
	fputc('}', stream);
}

/* Tell whether a cell is the first of its object for which the ledger was asked. */
static bool json_is_first(const struct probe_machine *machine, const struct usp_probe_cell *cell)
{
	const struct usp_probe_cell *in = probe_machine_base(machine, USP_PROBE_INTO_PIPE, cell->object);

	return cell->is_base && cell->ledger.size && (cell == in || !in || !in->ledger.size);
}

static void json_objects(FILE *stream, const struct probe_machine *machine)
{
	bool is_next = false;
	size_t i;

	fputs(",\n\"objects\":[", stream);
	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!json_is_first(machine, cell))
			continue;
		fputs(is_next ? ",\n{" : "{", stream);
		is_next = true;
		json_member(stream, "object", cell->object);
		json_ledger(stream, "into_pipe", probe_machine_base(machine, USP_PROBE_INTO_PIPE, cell->object));
		json_ledger(stream, "out_of_pipe", probe_machine_base(machine, USP_PROBE_OUT_OF_PIPE, cell->object));
		fputc('}', stream);
	}
	fputc(']', stream);
}

/* --- The matrix ---------------------------------------------------------------------------------------------- */

static void json_cell(FILE *stream, const struct usp_probe_cell *cell)
{
	fputc('{', stream);
	json_member(stream, "half", probe_half_names[cell->half]);
	fputc(',', stream);
	json_member(stream, "object", cell->object);
	fputc(',', stream);
	json_member(stream, "peer", cell->peer);
	fputc(',', stream);
	json_member(stream, "call", cell->call);
	fputc(',', stream);
	json_member(stream, "flag", cell->flag);
	fputc(',', stream);
	json_member(stream, "rights", cell->rights);
	fputc(',', stream);
	json_member(stream, "state", cell->state);
	fprintf(stream, ",\"bytes\":%zu,", cell->len);
	json_member(stream, "answer", probe_answer_names[cell->answer]);
	fputc(',', stream);
	json_member(stream, "errno", cell->error ? probe_error_name(cell->error) : NULL);
	fputc(',', stream);
	json_member(stream, "reason", cell->reason);
	fprintf(stream, ",\"base\":%s,", json_bool(cell->is_base));
	json_cost(stream, "cost", &cell->cost);
	fputc('}', stream);
}

static void json_cells(FILE *stream, const struct probe_machine *machine)
{
	bool is_first = true;
	size_t i;

	fputs(",\n\"cells\":[", stream);
	for (i = 0; i < machine->nr_cells; i++) {
		if (machine->cells[i].half == USP_PROBE_COMPOSED)
			continue;
		fputs(is_first ? "" : ",\n", stream);
		json_cell(stream, &machine->cells[i]);
		is_first = false;
	}
	fputc(']', stream);
}

static void json_composed(FILE *stream, const struct probe_machine *machine)
{
	unsigned checked, agreed;
	bool is_first = true;
	size_t i;

	probe_machine_routes(machine, &checked, &agreed);
	fprintf(stream, ",\n\"composed\":{\"checked\":%u,\"agreed\":%u,\"differing\":[", checked, agreed);
	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (!probe_is_differing(cell))
			continue;
		fputs(is_first ? "{" : ",\n{", stream);
		json_member(stream, "source", cell->object);
		fputc(',', stream);
		json_member(stream, "sink", cell->peer);
		fputc(',', stream);
		json_member(stream, "expected", probe_answer_names[cell->expected]);
		fputc(',', stream);
		json_member(stream, "found", probe_answer_names[cell->answer]);
		fputc('}', stream);
		is_first = false;
	}
	fputs("]}", stream);
}

void probe_write_json(FILE *stream, const struct probe_machine *machine)
{
	json_head(stream, machine);
	json_objects(stream, machine);
	json_cells(stream, machine);
	json_composed(stream, machine);
	fputs("}\n", stream);
}
