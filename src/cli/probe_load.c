/* SPDX-License-Identifier: MIT */
/* probe_load - read the JSON of `usplice probe`, and say where it is not what it should be. */
#include "probe_load.h"
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_BYTES_MAX ((size_t)64 << 20) /* a run has some hundred KiB: what is so long is no run */
#define LOAD_DEPTH_OF_CELLS 2		  /* of the commas between them: in the object of the run, in the array */

static const char *const load_halves[] = {"into a pipe", "out of a pipe", "direct", NULL};
static const char *const load_answers[] = {"by reference", "copied", "refused", "by the device", "undecidable", NULL};

/* --- The file ------------------------------------------------------------------------------------------------- */

/* Read all of in into *ret_text, which the caller frees. 0 or -errno. */
static int load_stream(FILE *in, char **ret_text, size_t *ret_len)
{
	FILE *out = open_memstream(ret_text, ret_len);
	char piece[4096];
	size_t len, sum = 0;
	int error = 0;

	if (!out)
		return -ENOMEM;
	while (error == 0 && (len = fread(piece, 1, sizeof(piece), in)) > 0) {
		sum += len;
		if (sum > LOAD_BYTES_MAX)
			error = -EFBIG;
		else if (fwrite(piece, 1, len, out) < len)
			error = -ENOMEM;
	}
	if (error == 0 && ferror(in))
		error = -errno;
	return fclose(out) == 0 ? error : -ENOMEM;
}

static int load_file(const char *name, char **ret_text, size_t *ret_len)
{
	bool is_standard = strcmp(name, "-") == 0;
	FILE *in = is_standard ? stdin : fopen(name, "re");
	int error = in ? load_stream(in, ret_text, ret_len) : -errno;

	if (in && !is_standard)
		fclose(in);
	if (error == 0)
		return 0;
	message_say("%s: %s", name, strerror(-error));
	return -1;
}

/*
 * Find the line of element number index of the array "cells", in a text that is valid JSON. A jansson value does not
 * know where it came from.
 */
static int load_line_of_cell(const char *text, size_t index)
{
	bool is_cells = false, is_string = false;
	const char *key = "";
	int line = 1, depth = 0;

	for (; *text != '\0'; text++) {
		line += *text == '\n';
		if (is_string && *text == '\\')
			text++;
		else if (*text == '"') {
			is_string = !is_string;
			key = is_string && depth == 1 ? text : key;
		} else if (!is_string && strchr("[{", *text))
			is_cells = depth++ == 1 ? strncmp(key, "\"cells\"", 7) == 0 : is_cells;
		else if (!is_string && strchr("]}", *text))
			depth--;
		else if (!is_string && *text == ',' && is_cells && depth == LOAD_DEPTH_OF_CELLS && index > 0)
			index--;
		if (!is_string && is_cells && depth > LOAD_DEPTH_OF_CELLS && index == 0)
			return line;
	}
	return 1;
}

/* --- Values --------------------------------------------------------------------------------------------------- */

/* Find a text. False if there is none, or if it is null without may_be_null. */
static bool load_text(const json_t *object, const char *key, bool may_be_null, const char **ret_text)
{
	const json_t *value = json_object_get(object, key);

	*ret_text = json_string_value(value);
	return *ret_text || (may_be_null && json_is_null(value));
}

/* Find a text that is one of the words. */
static bool load_word(const json_t *object, const char *key, const char *const *words, const char **ret_text)
{
	if (!load_text(object, key, false, ret_text))
		return false;
	while (*words && strcmp(*words, *ret_text) != 0)
		words++;
	return *words;
}

static bool load_flag(const json_t *object, const char *key, bool *ret_flag)
{
	const json_t *value = json_object_get(object, key);

	*ret_flag = json_is_true(value);
	return json_is_boolean(value);
}

/* Find the processor time of a cost, which may be null: then it is negative. */
static bool load_cost(const json_t *object, const char *key, double *ret_cost)
{
	const json_t *cost = json_object_get(object, key), *number = json_object_get(cost, "cpu_s_per_gib");

	*ret_cost = json_is_null(cost) ? -1 : json_number_value(number);
	return json_is_null(cost) || (json_is_number(number) && *ret_cost >= 0);
}

/* --- Cells ---------------------------------------------------------------------------------------------------- */

/* Fill in a cell. NULL, or the key of the value that is not as it should be. */
static const char *load_cell(const struct probe_run *run, const json_t *json, struct probe_cell *cell)
{
	const json_t *bytes = json_object_get(json, "bytes");

	if (!load_word(json, "half", load_halves, &cell->half))
		return "half";
	if (!load_text(json, "object", false, &cell->object))
		return "object";
	if (!load_text(json, "peer", true, &cell->peer))
		return "peer";
	if (!load_text(json, "call", false, &cell->call))
		return "call";
	if (!load_text(json, "flag", false, &cell->flag))
		return "flag";
	if (!load_text(json, "rights", true, &cell->rights))
		return "rights";
	if (!load_text(json, "state", true, &cell->state))
		return "state";
	cell->bytes = json_integer_value(bytes);
	if (!json_is_integer(bytes) || cell->bytes < 0)
		return "bytes";
	if (!load_word(json, "answer", load_answers, &cell->answer))
		return "answer";
	if (!load_text(json, "errno", true, &cell->error))
		return "errno";
	if (!load_text(json, "reason", false, &cell->reason))
		return "reason";
	if (!load_cost(json, "cost", &cell->cost))
		return "cost";
	if (cell->cost >= 0)
		cell->cost = run->memcpy_cost > 0 ? cell->cost / run->memcpy_cost : -1;
	return isfinite(cell->cost) ? NULL : "cost";
}

static int load_cells(struct probe_run *run, const json_t *cells, const char *text)
{
	size_t i;

	run->cells = calloc(json_array_size(cells) + 1, sizeof(*run->cells));
	if (!run->cells) {
		message_say("%s: %s", run->name, strerror(ENOMEM));
		return -1;
	}
	for (i = 0; i < json_array_size(cells); i++) {
		struct probe_cell *cell = &run->cells[i];
		const char *key = load_cell(run, json_array_get(cells, i), cell);

		if (key) {
			message_say("%s:%d: cell %zu: '%s' is missing, or is nothing that this version knows",
				    run->name, load_line_of_cell(text, i), i + 1, key);
			return -1;
		}
		cell->index = i;
	}
	run->nr_cells = i;
	return 0;
}

/* --- The run -------------------------------------------------------------------------------------------------- */

/* Fill in what stands beside the cells. NULL, or the key of the value that is not as it should be. */
static const char *load_head(struct probe_run *run)
{
	const json_t *system = json_object_get(run->json, "system"), *controls = json_object_get(run->json, "controls");
	bool copies, aliases;

	if (!load_text(system, "kernel", false, &run->kernel) || !load_text(system, "machine", false, &run->machine))
		return "system";
	if (!load_text(run->json, "time", false, &run->time))
		return "time";
	if (!load_flag(run->json, "root", &run->is_root))
		return "root";
	if (!load_cost(run->json, "memcpy", &run->memcpy_cost))
		return "memcpy";
	if (!load_flag(controls, "copies", &copies) || !load_flag(controls, "aliases", &aliases))
		return "controls";
	run->controls_hold = copies && aliases;
	return json_array_size(json_object_get(run->json, "cells")) > 0 ? NULL : "cells";
}

static int load_run(struct probe_run *run, const char *text)
{
	const char *key;

	if (!load_text(run->json, "usplice", false, &run->version)) {
		message_say("%s:1: this JSON is not of usplice probe --json about a machine", run->name);
		return -1;
	}
	key = load_head(run);
	if (key) {
		message_say("%s:1: '%s' is missing, or is nothing that this version knows", run->name, key);
		return -1;
	}
	return load_cells(run, json_object_get(run->json, "cells"), text);
}

int probe_load(const char *name, struct probe_run *ret_run)
{
	json_error_t error;
	char *text = NULL;
	size_t len = 0;
	int result = -1;

	*ret_run = (struct probe_run){.name = name};
	if (load_file(name, &text, &len) == 0) {
		ret_run->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
		if (ret_run->json)
			result = load_run(ret_run, text);
		else
			message_say("%s:%d: this is no JSON: %s", name, error.line, error.text);
	}
	free(text);
	return result;
}

void probe_unload(struct probe_run *run)
{
	free(run->cells);
	json_decref(run->json);
}
