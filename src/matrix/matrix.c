/* SPDX-License-Identifier: MIT */
/*
 * matrix - the axes, the order of a run, and the door. For each object: the base cell of each half, then one axis
 * at a time. Files get every pair of rights and state. The routes from source to sink come last, because they are
 * compared with the base cells.
 */
#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "lanes/pieces.h"
#include "matrix/inside.h"
#include "splice/file.h"

static const char *const rights_names[MATRIX_NR_RIGHTS] = {"own", "read-only", "foreign"};
static const char *const state_names[MATRIX_NR_STATES] = {"clean", "dirty", "mapped"};

static const struct matrix_flag {
	unsigned flags;
	const char *name;
} matrix_flags[] = {
	{0, "none"},
	{USP_SPLICE_MOVE, "MOVE"},
	{USP_SPLICE_GIFT, "GIFT"},
	{USP_SPLICE_MORE, "MORE"},
};

static const char *flag_name(unsigned flags)
{
	unsigned i = 0;

	while (matrix_flags[i].flags != flags)
		i++;
	return matrix_flags[i].name;
}

/* --- Cells --------------------------------------------------------------------------------------------------- */

/* Without both controls only a refusal is sure. */
static struct matrix_verdict cell_check(const struct matrix_run *run, struct matrix_verdict verdict)
{
	if (verdict.answer == USP_PROBE_REFUSED || verdict.answer == USP_PROBE_UNDECIDABLE ||
	    (run->result.copies && run->result.aliases))
		return verdict;
	return (struct matrix_verdict){.answer = USP_PROBE_UNDECIDABLE, .reason = "a control of this run failed"};
}

static int cell_give(const struct matrix_run *run, struct usp_probe_cell *cell, struct matrix_verdict verdict)
{
	cell->size = sizeof(*cell);
	cell->answer = verdict.answer;
	if (cell->half != USP_PROBE_COMPOSED)
		cell->expected = verdict.answer;
	cell->error = verdict.error;
	cell->reason = verdict.reason;
	return run->take(cell, run->arg);
}

/* A page is never clean where pages are the only storage. */
static bool cell_is_impossible(const struct matrix_object *object, const struct matrix_trial *trial)
{
	return object->kind->is_file && object->base_state == MATRIX_DIRTY && trial->state == MATRIX_CLEAN;
}

static struct matrix_verdict cell_judge(const struct matrix_run *run, const struct matrix_object *object,
					enum usp_probe_half half, const struct matrix_trial *trial)
{
	if (cell_is_impossible(object, trial))
		return (struct matrix_verdict){.answer = USP_PROBE_UNDECIDABLE,
					       .reason = "the pages are the only storage, so they are never clean"};
	return cell_check(run, half == USP_PROBE_INTO_PIPE ? usp_matrix_judge_in(run, object, trial)
							   : usp_matrix_judge_out(run, object, trial));
}

static bool cell_is_moving(enum usp_probe_answer answer)
{
	return answer == USP_PROBE_BY_REFERENCE || answer == USP_PROBE_COPIED || answer == USP_PROBE_BY_DEVICE;
}

/* Try one cell of an object and hand it over. */
static int cell_run(struct matrix_run *run, struct matrix_object *object, enum usp_probe_half half,
		    const struct matrix_trial *trial, bool is_base)
{
	bool is_source = half == USP_PROBE_INTO_PIPE;
	struct matrix_verdict verdict = cell_judge(run, object, half, trial);
	struct usp_probe_cell cell = {
		.half = half,
		.object = object->name,
		.call = is_source ? object->kind->source->call : object->kind->sink->call,
		.flag = flag_name(trial->flags),
		.rights = object->kind->is_file && is_source ? rights_names[trial->rights] : NULL,
		.state = object->kind->is_file ? state_names[trial->state] : NULL,
		.len = trial->len,
		.is_base = is_base,
	};

	if (is_base)
		object->base[!is_source] = verdict;
	if (is_base && object->kind->is_asked)
		usp_matrix_ledger(object, is_source ? USP_READ : USP_WRITE, &cell.ledger);
	if (is_base && !run->params.no_cost && !verdict.error)
		cell.cost =
			is_source ? usp_matrix_cost_in(run, object, trial) : usp_matrix_cost_out(run, object, trial);
	return cell_give(run, &cell, verdict);
}

/* --- Axes ---------------------------------------------------------------------------------------------------- */

/* splice(2) and vmsplice(2) look at flags; read(2), write(2) and tee(2) have none that could matter. */
static bool axis_has_flag(const char *call, unsigned flags)
{
	if (call[0] == 's')
		return flags != USP_SPLICE_GIFT;
	return call[0] == 'v' && flags == USP_SPLICE_GIFT;
}

static int axis_flags(struct matrix_run *run, struct matrix_object *object, enum usp_probe_half half,
		      const struct matrix_trial *base)
{
	const char *call = half == USP_PROBE_INTO_PIPE ? object->kind->source->call : object->kind->sink->call;
	int ret = 0;

	for (unsigned i = 1; i < usp_array_len(matrix_flags) && ret == 0; i++) {
		struct matrix_trial trial = *base;

		trial.flags = matrix_flags[i].flags;
		if (axis_has_flag(call, trial.flags))
			ret = cell_run(run, object, half, &trial, false);
	}
	return ret;
}

static int axis_sizes(struct matrix_run *run, struct matrix_object *object, enum usp_probe_half half,
		      const struct matrix_trial *base)
{
	static const size_t lens[] = {512, 16384, USP_PIECE_MAX, MATRIX_LARGE / 2, MATRIX_LARGE};
	int ret = 0;

	for (unsigned i = 0; i < usp_array_len(lens) && ret == 0; i++) {
		struct matrix_trial trial = *base;

		trial.len = lens[i];
		if (trial.len <= object->kind->max_len && trial.len != base->len &&
		    (trial.len == USP_PIECE_MAX) <= object->kind->is_written)
			ret = cell_run(run, object, half, &trial, false);
	}
	return ret;
}

/* All pairs of rights and state for a source, all states for a sink. */
static int axis_files(struct matrix_run *run, struct matrix_object *object, enum usp_probe_half half,
		      const struct matrix_trial *base)
{
	unsigned nr_rights = half == USP_PROBE_INTO_PIPE ? MATRIX_NR_RIGHTS : 1;
	int ret = 0;

	for (unsigned i = 0; i < nr_rights * MATRIX_NR_STATES && ret == 0; i++) {
		struct matrix_trial trial = *base;

		trial.rights = i / MATRIX_NR_STATES;
		trial.state = i % MATRIX_NR_STATES;
		if (trial.rights != base->rights || trial.state != base->state)
			ret = cell_run(run, object, half, &trial, false);
	}
	return ret;
}

static int matrix_half(struct matrix_run *run, struct matrix_object *object, enum usp_probe_half half)
{
	const struct matrix_trial base = {.len = MATRIX_PAGE, .state = object->base_state};
	int ret = cell_run(run, object, half, &base, true);

	if (ret == 0)
		ret = axis_flags(run, object, half, &base);
	if (ret == 0)
		ret = axis_sizes(run, object, half, &base);
	if (ret == 0 && object->kind->is_file)
		ret = axis_files(run, object, half, &base);
	return ret;
}

/* --- File to file -------------------------------------------------------------------------------------------- */

static int matrix_direct(const struct matrix_run *run, const struct matrix_object *object, bool is_clone)
{
	static const size_t lens[] = {MATRIX_PAGE, MATRIX_LARGE};
	const char *call = is_clone ? "FICLONE" : "copy_file_range";
	char peer[MATRIX_NAME_MAX + 32];
	int ret = 0;

	snprintf(peer, sizeof(peer), "%s (%s)", object->name, call);
	for (unsigned i = 0; i < usp_array_len(lens) && ret == 0; i++) {
		struct usp_probe_cell cell = {
			.half = USP_PROBE_DIRECT,
			.object = object->name,
			.peer = peer,
			.call = call,
			.flag = "none",
			.rights = rights_names[MATRIX_OWN],
			.state = state_names[object->base_state],
			.len = lens[i],
			.is_base = i == 0,
		};

		ret = cell_give(run, &cell, cell_check(run, usp_matrix_direct(object, lens[i], is_clone)));
	}
	return ret;
}

/* --- The caller's files -------------------------------------------------------------------------------------- */

static int matrix_ask(const struct matrix_run *run, const struct usp_file *file, unsigned side)
{
	static const enum usp_probe_answer answers[USP_NR_WAYS] = {
		[USP_BY_REFERENCE] = USP_PROBE_BY_REFERENCE,
		[USP_COPIED] = USP_PROBE_COPIED,
		[USP_UNKNOWN] = USP_PROBE_UNDECIDABLE,
	};
	struct usp_probe_result result = {.size = sizeof(result)};
	struct usp_probe_cell cell = {
		.half = side == USP_READ ? USP_PROBE_INTO_PIPE : USP_PROBE_OUT_OF_PIPE,
		.object = usp_file_spec(file),
		.call = "splice",
		.flag = "none",
		.is_base = true,
	};

	usp_probe(file, side, &result);
	return cell_give(run, &cell, (struct matrix_verdict){.answer = answers[result.way], .reason = result.reason});
}

static int matrix_ask_all(const struct matrix_run *run)
{
	int ret = 0;

	for (unsigned i = 0; i < run->params.nr_files && ret == 0; i++) {
		const struct usp_file *file = run->params.files[i];

		if (file->mode & USP_READ)
			ret = matrix_ask(run, file, USP_READ);
		if (ret == 0 && file->mode & USP_WRITE)
			ret = matrix_ask(run, file, USP_WRITE);
	}
	return ret;
}

/* --- Whole routes -------------------------------------------------------------------------------------------- */

/* Only objects whose bytes can be changed and seen take part, and halves that are decided. */
static bool route_is_source(const struct matrix_object *object)
{
	const struct matrix_kind *kind = object->kind;

	return kind->source && !kind->fixed && !kind->is_written && cell_is_moving(object->base[0].answer);
}

static bool route_is_sink(const struct matrix_object *object)
{
	return object->kind->sink && object->kind->sink->look && cell_is_moving(object->base[1].answer);
}

static struct matrix_verdict route_judge(const struct matrix_run *run, const struct matrix_object *source,
					 const struct matrix_object *sink)
{
	const struct matrix_trial in = {.len = MATRIX_PAGE, .state = MATRIX_DIRTY};
	const struct matrix_trial out = {.len = MATRIX_PAGE, .state = MATRIX_DIRTY};
	struct matrix_outcome outcome;
	int ret = usp_matrix_try(run, source, &in, sink, &out, &outcome);

	if (ret < 0 || outcome.in < 0 || outcome.out < 0)
		return usp_matrix_failed(ret < 0	  ? -ret
					 : outcome.in < 0 ? (int)-outcome.in
							  : (int)-outcome.out,
					 ret == 0);
	if (outcome.seen == MATRIX_NEW)
		return (struct matrix_verdict){.answer = USP_PROBE_BY_REFERENCE,
					       .reason = "a change of the source showed behind the sink"};
	if (outcome.seen == MATRIX_OLD)
		return (struct matrix_verdict){.answer = USP_PROBE_COPIED,
					       .reason = "the sink kept the old bytes after the source had changed"};
	return (struct matrix_verdict){.answer = USP_PROBE_UNDECIDABLE, .reason = "nothing came out after the change"};
}

/* Run a route as a whole. A device moves bytes to other memory, so an alias sees a copy. */
static int route_compare(const struct matrix_run *run, const struct matrix_object *source,
			 const struct matrix_object *sink)
{
	bool is_reference =
		source->base[0].answer == USP_PROBE_BY_REFERENCE && sink->base[1].answer == USP_PROBE_BY_REFERENCE;
	struct usp_probe_cell cell = {
		.half = USP_PROBE_COMPOSED,
		.object = source->name,
		.peer = sink->name,
		.call = source->kind->source->call,
		.flag = "none",
		.len = MATRIX_PAGE,
		.expected = is_reference ? USP_PROBE_BY_REFERENCE : USP_PROBE_COPIED,
	};

	return cell_give(run, &cell, route_judge(run, source, sink));
}

static int matrix_compose(const struct matrix_run *run)
{
	int ret = 0;

	for (unsigned i = 0; i < run->nr_objects; i++) {
		for (unsigned j = 0; j < run->nr_objects && ret == 0; j++) {
			if (route_is_source(&run->objects[i]) && route_is_sink(&run->objects[j]))
				ret = route_compare(run, &run->objects[i], &run->objects[j]);
		}
	}
	return ret;
}

/* --- The door ------------------------------------------------------------------------------------------------ */

static int matrix_objects(struct matrix_run *run)
{
	int ret = 0;

	for (unsigned i = 0; i < run->nr_objects && ret == 0; i++) {
		struct matrix_object *object = &run->objects[i];

		if (object->kind->source)
			ret = matrix_half(run, object, USP_PROBE_INTO_PIPE);
		if (ret == 0 && object->kind->sink)
			ret = matrix_half(run, object, USP_PROBE_OUT_OF_PIPE);
	}
	for (unsigned i = 0; i < 2 * run->nr_objects && ret == 0; i++) {
		const struct matrix_object *object = &run->objects[i / 2];

		if (object->kind->in_dir && object->kind->is_file)
			ret = matrix_direct(run, object, i % 2);
	}
	return ret;
}

static int matrix_run(struct matrix_run *run)
{
	int ret;

	usp_matrix_controls(run);
	if (!run->params.no_cost)
		usp_matrix_cost_begin(run);
	ret = matrix_objects(run);
	if (ret == 0)
		ret = matrix_ask_all(run);
	if (ret == 0 && run->result.copies && run->result.aliases)
		ret = matrix_compose(run);
	return ret;
}

int usp_probe_matrix(const struct usp_probe_matrix_params *params,
		     int (*take)(const struct usp_probe_cell *cell, void *arg), void *arg,
		     struct usp_probe_matrix_result *ret_result)
{
	struct matrix_run run = {.take = take, .arg = arg};
	struct usp_sigpipe_guard guard;
	int ret = params ? usp_sized_take(&run.params, sizeof(run.params), params) : 0;

	if (ret < 0)
		return ret;
	run.objects = usp_matrix_objects(run.params.dirs, run.params.nr_dirs, &run.nr_objects);
	if (!run.objects)
		return -ENOMEM;
	usp_sigpipe_begin(&guard); /* files are written, which may exceed RLIMIT_FSIZE */
	ret = matrix_run(&run);
	usp_sigpipe_end(&guard);
	usp_free(run.objects);
	if (ret == 0)
		usp_sized_give(ret_result, &run.result, sizeof(run.result));
	return ret;
}
