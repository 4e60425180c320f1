/* SPDX-License-Identifier: MIT */
/* copy_run - a copy from begin to end: run the pump, and report the result. */
#include "atomic.h"
#include "cli.h"
#include "copy.h"
#include "copy_blocks.h"
#include "copy_buffer.h"
#include "copy_digest.h"
#include "copy_framed.h"
#include "copy_progress.h"
#include "copy_sources.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- The pump ------------------------------------------------------------------------------------------ */

/* Without a report the way of the bytes is not looked for: that would take longer than to copy a small file. */
static bool run_has_report(const struct copy *copy)
{
	return copy->request->json || copy->report_fd >= 0 || copy->request->verbose;
}

/* Return what the pump reads: the source, or the highest stage over it. */
static struct usp_file *run_source(const struct copy *copy)
{
	return copy->stage ? copy->stage : copy_blocks_top(copy);
}

static struct usp_pump_params run_params(const struct copy *copy)
{
	const struct copy_request *request = copy->request;

	/* A stage has its own length, and sees the end. */

	return (struct usp_pump_params){
		.size = sizeof(struct usp_pump_params),
		.lane = request->lane,
		.flags = USP_PUMP_WIDEN_FIFOS | (request->snapshot ? USP_PUMP_SNAPSHOT : 0) |
			 (request->require_zero_copy ? USP_PUMP_REQUIRE_ZERO_COPY : 0) |
			 (request->continue_on_error ? USP_PUMP_CONTINUE_ON_ERROR : 0) |
			 (request->slow_ns > 0 ? USP_PUMP_DETACH_SLOW : 0) | (request->no_batch ? 0 : USP_PUMP_BATCH) |
			 (copy->count < 0 || copy->stage_counts ? 0 : USP_PUMP_COUNT) |
			 (run_has_report(copy) ? 0 : USP_PUMP_NO_PROBE) |
			 (request->drop_cache ? USP_PUMP_DROP_CACHE : 0) |
			 (request->idle_ns > 0 || request->total_ns > 0 ? USP_PUMP_TURNS : 0),
		.count = copy->count < 0 || copy->stage_counts ? 0 : copy->count,
		.rate = request->rate,
		.slow_ns = request->slow_ns,
		.linger_ns = request->linger_ns,
		.idle_ns = request->idle_ns,
		.total_ns = request->total_ns,
		.sparse = request->sparse,
	};
}

static int run_new_pump(struct copy *copy)
{
	struct usp_pump_params params = run_params(copy);
	int error = usp_pump_new(run_source(copy), &params, &copy->pump);
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks && error == 0; i++)
		error = usp_pump_add_sink(copy->pump, copy->sinks[i].file);
	return error;
}

static double run_cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/*
 * Move the offset of standard error behind the data. After 2>FILE it has its own offset in FILE,
 * and messages must not overwrite the data.
 */
static void run_speak_behind_data(const struct copy *copy)
{
	off_t at = lseek(STDERR_FILENO, 0, SEEK_CUR);
	struct stat errors;
	unsigned i;

	if (fstat(STDERR_FILENO, &errors) < 0)
		return;
	for (i = 0; i < copy->request->nr_sinks && at >= 0; i++) {
		const struct copy_sink *sink = &copy->sinks[i];
		struct usp_sink_status status = {.size = sizeof(status)};
		off_t end;

		if (!copy_is_spoken_into(sink, &errors) || usp_pump_sink_status(copy->pump, i, &status) < 0)
			continue;
		end = sink->start + (off_t)status.bytes;
		if (at < end)
			at = lseek(STDERR_FILENO, end, SEEK_SET);
	}
}

static int run_pump(struct copy *copy)
{
	int error;

	copy->is_silent = copy_speaks_into_data(copy);
	if (copy->is_silent)
		message_hold();
	progress_start(&copy->progress, copy->progress.is_on, &copy->request->style);
	watch_set_pump(&copy->watch, copy->pump);
	error = usp_pump_run(copy->pump);
	watch_set_pump(&copy->watch, NULL);
	if (copy->is_silent)
		run_speak_behind_data(copy);
	message_release();
	return error;
}

static int run_transfer(struct copy *copy)
{
	int code = copy_digest_open(copy), error;
	double cpu_seconds;

	if (code != CLI_DONE) {
		copy_undo(copy);
		return code;
	}
	error = run_new_pump(copy);
	if (error == 0 && copy->to_skip > 0)
		error = usp_pump_check(copy->pump); /* refused means untouched */
	if (error < 0)
		return copy_not_begun(copy, error);
	code = copy->to_skip > 0 ? copy_skip(copy, run_params(copy).flags) : CLI_DONE;
	if (code != CLI_DONE) {
		copy_undo(copy);
		return code;
	}
	cpu_seconds = run_cpu_seconds();
	copy->started = progress_now();
	error = run_pump(copy);
	if (copy->progress.is_on)
		progress_erase(&copy->progress);
	copy->seconds = progress_now() - copy->started;
	code = copy_judge(copy, error);
	copy->seconds = progress_now() - copy->started;
	copy->cpu_seconds = run_cpu_seconds() - cpu_seconds;
	return code;
}

/* --- The watch's hooks -------------------------------------------------------------------------------------- */

static void run_on_kill(void *arg)
{
	(void)arg;
	atomic_remove_all();
}

/* --- From begin to end -------------------------------------------------------------------------------------- */

/* Run the copy. After a refusal nothing is changed: all files are as before. */
static int run_all(struct copy *copy)
{
	int code = copy_open(copy);

	if (code == CLI_DONE)
		code = run_transfer(copy);
	if (code == CLI_USAGE || code == CLI_WOULD_COPY) {
		copy_remove_report(copy);
		return code;
	}
	copy_progress_end(copy, code == CLI_DONE);
	copy_buffer_say_trouble(copy);
	if (copy->request->verbose && copy->pump)
		report_say(copy);
	if (copy->pump)
		report_say_lost(copy);
	if (copy->request->drop_cache && !copy->request->quiet && copy->pump)
		report_say_caches(copy);
	if (!copy->request->json)
		copy_digest_say(copy);
	if ((copy->request->json && report_write_json(copy, STDERR_FILENO, "standard error") < 0) ||
	    (copy->report_fd >= 0 && report_write_json(copy, copy->report_fd, copy->request->report) < 0))
		code = code == CLI_DONE ? CLI_FAILED : code;
	return code;
}

static void run_close(struct copy *copy)
{
	unsigned i;

	usp_pump_free(copy->pump);
	usp_file_put(copy->stage);
	copy_blocks_close(copy);
	usp_file_put(copy->source);
	copy_sources_fini(copy);
	for (i = 0; i < copy->request->nr_sinks; i++) {
		atomic_discard(copy->sinks[i].atomic);
		usp_file_put(copy->sinks[i].file);
		usp_spec_free(copy->sinks[i].name);
	}
	usp_spec_free(copy->source_name);
	if (copy->report_fd >= 0)
		close(copy->report_fd);
	free(copy->sinks);
}

/* Parse the specs. Those that do not parse are refused when they are opened. */
static void run_parse_names(struct copy *copy)
{
	unsigned i;

	if (copy->sources || usp_spec_parse(copy->request->source, &copy->source_name, NULL) < 0)
		copy->source_name = NULL;
	copy->source_number = copy_inherited(copy->source_name, USP_READ);
	for (i = 0; i < copy->request->nr_sinks; i++) {
		struct copy_sink *sink = &copy->sinks[i];

		sink->spec = copy->request->sinks[i];
		if (usp_spec_parse(sink->spec, &sink->name, NULL) < 0)
			sink->name = NULL;
		sink->number = copy_inherited(sink->name, USP_WRITE);
		sink->is_inherited = sink->number != COPY_NO_NUMBER;
		sink->was = -1;
	}
}

int copy_main(const struct copy_request *request)
{
	struct copy copy = {
		.request = request,
		.source_spec = request->source,
		.count = request->count,
		.source_was = -1,
		.total = -1,
		.expected = -1,
		.sinks = calloc(request->nr_sinks, sizeof(struct copy_sink)),
		.watch = {.status = copy_on_status, .kill = run_on_kill},
		.list_fd = -1,
		.report_fd = -1,
		.skipped.size = sizeof(copy.skipped),
		.skipped_stages = {{.size = sizeof(struct usp_hop)}, {.size = sizeof(struct usp_hop)}},
	};
	int code, error;

	if (!copy.sinks || copy_sources_init(&copy) < 0) {
		free(copy.sinks);
		message_say("out of memory");
		return CLI_FAILED;
	}
	copy_command_prepare();
	run_parse_names(&copy);
	progress_start(&copy.progress, copy_wants_progress(&copy), &request->style);
	copy.watch.tick = copy.progress.is_on ? copy_on_tick : NULL;
	copy.watch.arg = &copy;
	error = watch_start(&copy.watch);
	if (error < 0 && copy.progress.is_on)
		message_say("no progress is shown, because no thread can be had: %s", strerror(-error));
	code = run_all(&copy);
	copy_framed_answer(&copy, code);
	copy_framed_give_up(&copy, "the copy did not begin"); /* the others are closed by now */
	run_close(&copy);
	watch_end(&copy.watch);
	return code;
}
