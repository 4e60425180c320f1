/* SPDX-License-Identifier: MIT */
/* copy_run - run the pump of a copy, finish the sinks, and report the result. */
#include "atomic.h"
#include "cli.h"
#include "copy.h"
#include "copy_attributes.h"
#include "copy_blocks.h"
#include "copy_buffer.h"
#include "copy_digest.h"
#include "copy_framed.h"
#include "copy_progress.h"
#include "copy_rescue.h"
#include "copy_sources.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <usplice/framed.h>

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

/* Return why a hop is not by reference, or NULL. */
static const char *run_objection(const struct usp_hop *hop)
{
	return hop->reason[USP_COPIED]	  ? hop->reason[USP_COPIED]
	       : hop->reason[USP_UNKNOWN] ? hop->reason[USP_UNKNOWN]
					  : hop->reason[USP_REWRITTEN];
}

static void run_say_hop(const char *side, const char *spec, const struct usp_hop *hop)
{
	message_say("%s %s: %s: %s", side, spec, hop->reason[USP_COPIED] ? "would copy" : "may copy",
		    run_objection(hop));
}

/* Name the first hop that is in the way of --require-zero-copy. */
static bool run_say_objection(const struct copy *copy)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	unsigned i, nr_sources = usp_pump_nr_hops(copy->pump) - copy->request->nr_sinks;

	for (i = 0; usp_pump_hop(copy->pump, i, &hop) == 0; i++) {
		if (!run_objection(&hop))
			continue;
		if (i < nr_sources)
			run_say_hop("source", i == 0 ? copy->request->source : hop.from, &hop);
		else
			run_say_hop("sink", copy->sinks[i - nr_sources].spec, &hop);
		return true;
	}
	return false;
}

/* Say why the pump did not begin, and leave no trace. */
static int run_not_begun(const struct copy *copy, int error)
{
	copy_undo(copy);
	if (error == -USP_EWOULDCOPY && run_say_objection(copy))
		return CLI_WOULD_COPY;
	if (error == -EOPNOTSUPP && copy->request->lane == USP_LANE_KERNEL) {
		message_say("--lane kernel: splice(2) cannot carry the bytes of %s to %s", copy->request->source,
			    copy->request->nr_sinks == 1 ? copy->sinks[0].spec : "all sinks");
		return CLI_USAGE;
	}
	message_say("%s", strerror(-error));
	return CLI_FAILED;
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

/* --- The destinations ------------------------------------------------------------------------------------ */

/* Note a failure after the bytes that the sink got. */
static void run_sink_failed(struct copy_sink *sink, uint64_t bytes, int error, const char *why)
{
	copy_note_sink(sink, error, why);
	message_say("sink %s: at byte %lld: %s", sink->spec, (long long)sink->start + (long long)bytes, sink->error);
}

/* Tell whether -q hides an error: a filter whose reader has gone. The exit code still tells. */
static bool run_is_no_news(const struct copy *copy, const struct copy_sink *sink, int error)
{
	return copy->request->quiet && error == -EPIPE && strcmp(sink->spec, "-") == 0;
}

static void run_tell_sink(const struct copy *copy, struct copy_sink *sink, const struct usp_sink_status *status)
{
	const char *told = usp_framed_failure(sink->file);
	char why[COPY_ERROR_MAX];

	if (status->error == -EPIPE && copy_command_is(sink->file))
		usp_file_close(sink->file); /* it tells how the command ended */
	if (told)
		snprintf(why, sizeof(why), "%s", told);
	else
		copy_run_error_text(copy, &sink->command, status->error, why);
	if (run_is_no_news(copy, sink, status->error))
		copy_note_sink(sink, status->error, why);
	else
		run_sink_failed(sink, status->bytes, status->error, why);
}

static void run_sync(struct copy_sink *sink, uint64_t bytes)
{
	int error = usp_file_sync(sink->file);

	if (error < 0)
		run_sink_failed(sink, bytes, error, strerror(-error));
}

static void run_read_back(struct copy *copy, struct copy_sink *sink, uint64_t bytes)
{
	char text[COPY_ERROR_MAX];
	int error = copy_digest_read_back(copy, sink, bytes, text);

	if (error < 0)
		run_sink_failed(sink, bytes, error, text);
}

/* Give what --preserve names, and bring that to the storage, too. */
static void run_give_attributes(struct copy *copy, struct copy_sink *sink, uint64_t bytes)
{
	if (copy->request->preserve && copy_attributes_give(copy, sink) && (copy->request->sync || sink->atomic))
		run_sync(sink, bytes);
}

/* Give the file a name now: a file without one cannot get it after it is closed. */
static void run_link(struct copy_sink *sink, uint64_t bytes)
{
	int error = atomic_link(sink->atomic, usp_file_fd(sink->file));

	if (error < 0)
		run_sink_failed(sink, bytes, error, strerror(-error));
}

/*
 * Wait until the command of a sink has exited. A signal, or --timeout, ends the wait, and then the command: the file is
 * closed without being whole.
 */
static void run_await_command(struct copy *copy, struct copy_sink *sink, uint64_t bytes)
{
	const struct copy_request *request = copy->request;
	uint64_t total_ns = request->total_ns, gone_ns = (uint64_t)((progress_now() - copy->started) * 1e9);
	uint64_t left_ns = total_ns > gone_ns ? total_ns - gone_ns : 0;
	char text[COPY_ERROR_MAX];
	int error = copy_command_await(sink->file, &copy->watch, total_ns > 0 ? (int64_t)left_ns : -1);

	if (error == 0)
		return;
	usp_file_abort(sink->file);
	if (error == -EINTR) {
		copy->was_interrupted = true;
		copy_note_sink(sink, -ECANCELED, "stopped by a signal");
		return;
	}
	if (error == -ETIMEDOUT)
		snprintf(text, sizeof(text), "its command had not exited after %g s", (double)total_ns / 1e9);
	else if (!copy_command_text(&sink->command, error, text, sizeof(text)))
		snprintf(text, sizeof(text), "%s", strerror(-error));
	run_sink_failed(sink, bytes, error, text);
}

/*
 * Close a sink. A late failure counts, too: network file systems report at close that the bytes did
 * not fit. That a peer did not take the rest of a copy that had ended before is no news.
 */
static void run_close_sink(struct copy_sink *sink, uint64_t bytes, bool is_whole)
{
	int error = usp_file_close(sink->file);

	if (error < 0 && (is_whole || error != -ETIMEDOUT))
		run_sink_failed(sink, bytes, error, strerror(-error));
}

static void run_commit(struct copy_sink *sink, uint64_t bytes, bool keeps_old)
{
	int error = atomic_commit(sink->atomic, keeps_old);

	sink->atomic = NULL;
	if (error < 0)
		run_sink_failed(sink, bytes, error, strerror(-error));
}

static void run_cut_late(struct copy_sink *sink, uint64_t bytes)
{
	int64_t end = sink->start + (int64_t)bytes;

	if (ftruncate(usp_file_fd(sink->file), end) < 0)
		run_sink_failed(sink, bytes, -errno, strerror(errno));
}

/*
 * Finish a sink. One that has everything is synced, closed and put in place; one that was cut short
 * is only closed. False if this sink failed, now or before.
 */
static bool run_finish_sink(struct copy *copy, struct copy_sink *sink, unsigned index, bool is_whole)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	if (usp_pump_sink_status(copy->pump, index, &status) < 0)
		return false;
	if (status.error < 0 && status.error != -ECANCELED)
		run_tell_sink(copy, sink, &status);
	if (sink->is_cut_late && (is_whole || status.bytes > 0)) /* a run that never began leaves the old file */
		run_cut_late(sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' && copy_command_is(sink->file))
		run_await_command(copy, sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' &&
	    (copy->request->sync || sink->atomic || copy->request->verify_written))
		run_sync(sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' && copy->request->verify_written)
		run_read_back(copy, sink, status.bytes);
	if (is_whole && sink->error[0] == '\0')
		run_give_attributes(copy, sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' && sink->atomic)
		run_link(sink, status.bytes);
	if (sink->error[0] == '\0')
		run_close_sink(sink, status.bytes, is_whole);
	if (is_whole && sink->error[0] == '\0' && sink->atomic)
		run_commit(sink, status.bytes, copy->request->no_clobber);
	return sink->error[0] == '\0';
}

static void run_say_interrupted(const struct copy *copy, int signo)
{
	unsigned i;

	message_say("stopped by signal %d (%s)", signo, strsignal(signo));
	for (i = 0; i < copy->request->nr_sinks; i++) {
		struct usp_sink_status status = {.size = sizeof(status)};

		if (usp_pump_sink_status(copy->pump, i, &status) == 0)
			message_say("sink %s: got %llu bytes", copy->sinks[i].spec, (unsigned long long)status.bytes);
	}
}

/*
 * Mark sinks that failed only because the run did, so that the report does not show their bytes as
 * complete.
 */
static void run_mark_cut_short(struct copy *copy, int code)
{
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks; i++) {
		struct copy_sink *sink = &copy->sinks[i];

		if (sink->error[0] == '\0')
			copy_note_sink(sink, -ECANCELED,
				       code > CLI_SIGNAL    ? "stopped by a signal"
				       : code == CLI_SOURCE ? "the source failed"
				       : code == CLI_SINK   ? "another sink failed"
							    : "the copy failed");
	}
}

/* Tell whether the other sinks may go on after a sink failed like this. */
static bool run_goes_on(const struct copy_request *request, int error)
{
	return request->continue_on_error || (error == -ETIMEDOUT && request->slow_ns > 0);
}

/*
 * Tell whether a run is whole: every sink got everything, except for sinks that the others can do
 * without.
 */
static bool run_is_whole(const struct copy *copy, int result, const struct usp_pump_status *status)
{
	int first_error = 0;
	unsigned i;

	if (result == 0)
		return true;
	if (result == -ECANCELED || status->source_error < 0)
		return false;
	for (i = 0; i < copy->request->nr_sinks; i++) {
		struct usp_sink_status sink = {.size = sizeof(sink)};

		if (usp_pump_sink_status(copy->pump, i, &sink) < 0 || sink.error == 0)
			continue;
		if (!run_goes_on(copy->request, sink.error))
			return false;
		first_error = first_error < 0 ? first_error : sink.error;
	}
	return result == first_error;
}

/* Tell whether a run whose source has ended moved fewer bytes than --stop-at-size wants. bytes: of the pump. */
static bool run_is_short(const struct copy *copy, uint64_t bytes)
{
	if (stages_encode(&copy->request->stages))
		bytes = copy_digest_input(copy, bytes) - (uint64_t)copy->source_start;
	return copy->wants_count && bytes < (uint64_t)copy->count;
}

static const char *run_short_text(const struct copy *copy)
{
	return copy->request->size >= 0 && copy->wants_count ? "it ended before all bytes of --size had come"
							     : "it became shorter while it was read";
}

static int run_judge_source(struct copy *copy, const struct usp_pump_status *status, bool is_whole)
{
	char text[COPY_ERROR_MAX];
	const char *source;
	long long at;

	if (status->source_error == -ECANCELED)
		return CLI_DONE;
	if (status->source_error == 0) {
		if (!is_whole || copy_digest_are_known(copy))
			return CLI_DONE;
		copy->source_error = -EBADMSG;
		copy_note_source(copy, "its digest is not known");
		message_say("source %s: its digest is not known", copy->request->source); /* no success without it */
		return CLI_SOURCE;
	}
	copy->source_error = status->source_error;
	if (usp_framed_failure(copy->source)) {
		source = copy_sources_place(copy, (int64_t)copy_digest_input(copy, status->bytes), &at);
		message_say("source %s: at byte %lld: %s", source, at, usp_framed_failure(copy->source));
		return CLI_SOURCE;
	}
	if (copy_digest_say_damaged(copy, status->source_error) ||
	    (status->source_error == -EBADMSG && copy_digest_say_wrong(copy, status->bytes)))
		return CLI_SOURCE;
	if (status->source_error == -EBADMSG && copy_blocks_say_wrong(copy, status->bytes))
		return CLI_SOURCE;
	copy_run_error_text(copy, &copy->source_command, status->source_error, text);
	source = copy_sources_place(copy, (int64_t)copy_digest_input(copy, status->bytes), &at);
	copy_note_source(
		copy, "%s%s",
		status->source_error == -USP_EWOULDCOPY ? "there is more, and it would be copied"
		: status->source_error == -ENODATA	? run_short_text(copy)
							: text,
		status->source_error == -EOPNOTSUPP ? " (there is more, which the kernel's splice does not give)" : "");
	message_say("source %s: at byte %lld: %s", source, at, copy->source_why);
	return CLI_SOURCE;
}

/*
 * Tell whether splice(2) refused the source at its first byte, with a forced lane. Then the kernel
 * cannot splice that kind of object, or a filter of system calls forbids it. A sink that splice(2)
 * refuses is found before the run begins.
 */
static bool run_is_refused_by_kernel(const struct copy *copy, const struct usp_pump_status *status)
{
	int error = status->source_error;

	return (copy->request->lane == USP_LANE_KERNEL || copy->request->require_zero_copy) && status->bytes == 0 &&
	       (error == -EINVAL || error == -ENOSYS || error == -EPERM);
}

static int run_refused_by_kernel(const struct copy *copy)
{
	const char *source = copy->source_spec;

	copy_undo(copy);
	if (copy->request->lane == USP_LANE_KERNEL) {
		message_say("--lane kernel: splice(2) does not serve %s", source);
		return CLI_USAGE;
	}
	message_say("source %s: would copy: splice(2) does not serve it", source);
	return CLI_WOULD_COPY;
}

/* Finish what can be finished, and say what failed: an exit code. */
static int run_judge(struct copy *copy, int result)
{
	int code, signo;
	struct usp_pump_status status = {.size = sizeof(status)};
	bool is_whole;
	unsigned i;

	usp_pump_status(copy->pump, &status);
	if (!status.is_done)
		return run_not_begun(copy, result);
	if (run_is_refused_by_kernel(copy, &status))
		return run_refused_by_kernel(copy);
	is_whole = run_is_whole(copy, result, &status);
	if (is_whole && run_is_short(copy, status.bytes)) {
		status.source_error = -ENODATA;
		is_whole = false;
	}
	code = run_judge_source(copy, &status, is_whole);
	if (!is_whole)
		copy_framed_give_up(copy, "another sink failed");
	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (!run_finish_sink(copy, &copy->sinks[i], i, is_whole) && code == CLI_DONE)
			code = CLI_SINK;
	}
	if (copy->lacks_owner && code == CLI_DONE)
		code = CLI_SINK;
	signo = watch_signo(&copy->watch); /* only now: it may have come while bytes were read back */
	if (signo != 0 && (result == -ECANCELED || copy->was_interrupted)) {
		run_say_interrupted(copy, signo);
		code = CLI_SIGNAL + signo;
	} else if (code == CLI_DONE && result < 0) {
		message_say("%s", strerror(-result));
		code = CLI_FAILED;
	}
	if (!is_whole)
		run_mark_cut_short(copy, code);
	if (code == CLI_DONE)
		code = copy_blocks_commit(copy);
	return copy_rescue_say(copy) == CLI_DONE || code != CLI_DONE ? code : CLI_SOURCE;
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
		return run_not_begun(copy, error);
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
	code = run_judge(copy, error);
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
