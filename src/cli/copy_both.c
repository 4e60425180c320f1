/* SPDX-License-Identifier: MIT */
/* copy_both - `usplice copy --both`: two endpoints, and the bytes that go from each to the other. */
#include "copy_both.h"
#include "cli.h"
#include "copy_progress.h"
#include "report.h"
#include "size.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- Options ------------------------------------------------------------------------------------------------- */

/* Tell whether an option asks for positions, which streams do not have. */
static bool both_wants_positions(const struct copy_request *request)
{
	return request->skip >= 0 || request->count >= 0 || request->seek >= 0 || request->size >= 0 ||
	       request->append || request->resume || request->atomic || request->sync || request->no_clobber ||
	       request->overwrite || request->preserve || request->drop_cache || request->stop_at_size ||
	       request->sparse != USP_SPARSE_AUTO;
}

/* Tell whether an option asks to look at the bytes, or to change them. */
static bool both_wants_bytes(const struct copy_request *request)
{
	return stages_are_asked_for(&request->stages) || request->digests.nr > 0 || request->verify_file ||
	       request->verify_written || request->verify_blocks || request->write_blocks || request->on_read_error ||
	       request->snapshot || request->framed || request->frame || request->unframe || request->frame_digest ||
	       request->buffer || request->buffer_file;
}

const char *copy_both_check(const struct copy_request *request)
{
	if (!request->both)
		return request->grace_ns > 0 ? "--grace is for --both" : NULL;
	if (request->nr_sinks != 1)
		return "--both takes two endpoints";
	if (both_wants_positions(request))
		return "--both copies all of two streams, so it excludes options for files, parts of them and their size";
	if (both_wants_bytes(request))
		return "--both passes the bytes on as they are, so it excludes digests, stages, frames, buffers, "
		       "--on-read-error and --snapshot";
	if (request->slow_ns > 0 || request->continue_on_error)
		return "--both has one sink for each way, so it excludes --on-slow and --on-error continue";
	return NULL;
}

/* --- Progress ------------------------------------------------------------------------------------------------- */

static const char *both_name(const struct both_end *end)
{
	return end->kind == BOTH_STANDARD ? "standard output" : end->text;
}

static uint64_t both_delivered(const struct both_way *way)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	if (way->copy.pump)
		usp_pump_sink_status(way->copy.pump, 0, &status);
	return status.bytes;
}

/* Tell what each end has got: memory for free(3), or NULL. */
static char *both_shares(const struct both *both)
{
	char size[2][SIZE_TEXT_MAX], *text;
	int len = asprintf(&text, "%s +%s, %s +%s", both_name(&both->ends[1]),
			   size_format(size[0], (double)both_delivered(&both->ways[0])), both_name(&both->ends[0]),
			   size_format(size[1], (double)both_delivered(&both->ways[1])));

	return len < 0 ? NULL : text;
}

/* Two that talk may be silent, so nothing is called stalled. shares is for free(3). */
static struct progress_view both_look(struct both *both, char **ret_shares)
{
	struct progress_view view = {
		.bytes = both_delivered(&both->ways[0]) + both_delivered(&both->ways[1]),
		.total = -1,
	};

	*ret_shares = both_shares(both);
	view.lags = *ret_shares;
	progress_measure(&both->whole.progress, view.bytes);
	return view;
}

static void both_on_tick(void *arg, const struct usp_pump *pump)
{
	struct both *both = arg;
	char *shares;
	struct progress_view view = both_look(both, &shares);

	(void)pump;
	if (!both->is_silent)
		progress_draw(&both->whole.progress, &view);
	free(shares);
}

static void both_on_status(void *arg, const struct usp_pump *pump)
{
	struct both *both = arg;
	const char *opening = both->whole.opening;
	struct progress_view view;
	char *shares;

	if (pump) {
		view = both_look(both, &shares);
		progress_say(&both->whole.progress, &view);
		free(shares);
	} else if (opening) {
		message_say("opening %s", opening);
	} else {
		message_say("no bytes are moving now");
	}
}

static void both_on_kill(void *arg)
{
	(void)arg; /* there is nothing to remove */
}

/* --- The report ----------------------------------------------------------------------------------------------- */

static void both_put_report(FILE *out, const void *arg)
{
	const struct both *both = arg;

	fprintf(out, "{\"bytes\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"both\":[",
		(unsigned long long)(both_delivered(&both->ways[0]) + both_delivered(&both->ways[1])),
		both->whole.seconds, both->whole.cpu_seconds);
	for (int i = 0; i < 2; i++) {
		fputs(i > 0 ? "," : "", out);
		report_put(out, &both->ways[i].copy);
	}
	fputs("]}", out);
}

/* Tell in words and in JSON what was asked for: the exit code. */
static int both_report(struct both *both, int code)
{
	const struct copy_request *request = both->request;
	struct copy *whole = &both->whole;
	char *shares = NULL;
	struct progress_view view;

	if (whole->progress.is_on && both->ways[0].copy.pump) {
		view = both_look(both, &shares);
		view.is_last = true;
		progress_draw(&whole->progress, &view);
		free(shares);
	}
	for (int i = 0; i < 2; i++) {
		snprintf(both->ways[i].copy.source_address, COPY_ADDRESS_MAX, "%s", both->ends[i].address);
		snprintf(both->ways[i].sink.address, COPY_ADDRESS_MAX, "%s", both->ends[!i].address);
		both->ways[i].copy.cpu_seconds = whole->cpu_seconds;
		if (request->verbose && both->ways[i].copy.pump)
			report_say(&both->ways[i].copy);
	}
	if ((request->json && report_write(STDERR_FILENO, "standard error", both_put_report, both) < 0) ||
	    (whole->report_fd >= 0 && report_write(whole->report_fd, request->report, both_put_report, both) < 0))
		code = code == CLI_DONE ? CLI_FAILED : code;
	return code;
}

/* --- From begin to end ----------------------------------------------------------------------------------------- */

static double both_cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Make a way the copy that it is. */
static void both_init_way(struct both *both, int index)
{
	struct both_way *way = &both->ways[index];

	way->request = *both->request;
	way->request.source = both->ends[index].text;
	way->sink = (struct copy_sink){.spec = both->ends[!index].text, .was = -1};
	way->request.sinks = (char *const *)&way->sink.spec;
	way->copy = (struct copy){
		.request = &way->request,
		.source_spec = way->request.source,
		.source_was = -1,
		.count = -1,
		.total = -1,
		.sinks = &way->sink,
		.list_fd = -1,
		.report_fd = -1,
		.skipped.size = sizeof(struct usp_hop),
	};
}

/* Say why the run did not begin: an exit code. */
static int both_not_begun(const struct both *both, int error)
{
	if (error == -USP_EWOULDCOPY)
		message_say("--require-zero-copy: the bytes of one way, or of both, may be copied");
	else if (error == -EOPNOTSUPP)
		message_say("--lane kernel: splice(2) cannot carry the bytes between %s and %s", both->ends[0].text,
			    both->ends[1].text);
	else
		message_say("%s", strerror(-error));
	return error == -USP_EWOULDCOPY ? CLI_WOULD_COPY : error == -EOPNOTSUPP ? CLI_USAGE : CLI_FAILED;
}

static int both_transfer(struct both *both)
{
	double cpu_seconds = both_cpu_seconds();
	int error;

	for (int i = 0; i < 2; i++) {
		both->ways[i].sink.object = both->ends[!i].out_object;
		both->is_silent = both->is_silent || copy_speaks_into_data(&both->ways[i].copy);
	}
	if (both->is_silent)
		message_hold();
	progress_start(&both->whole.progress, both->whole.progress.is_on, &both->request->style);
	error = both_run(both);
	message_release();
	if (both->whole.progress.is_on)
		progress_erase(&both->whole.progress);
	both->whole.seconds = progress_now() - both->whole.started;
	both->whole.cpu_seconds = both_cpu_seconds() - cpu_seconds;
	return error < 0 ? both_not_begun(both, error) : both_judge(both);
}

static int both_all(struct both *both)
{
	int code = both_open(both);

	if (code == CLI_DONE)
		code = both_transfer(both);
	if (code == CLI_USAGE || code == CLI_WOULD_COPY) {
		copy_remove_report(&both->whole);
		return code;
	}
	return both_report(both, code);
}

static void both_close(struct both *both)
{
	for (int i = 0; i < 2; i++) {
		usp_pump_free(both->ways[i].copy.pump);
		usp_file_put(both->ends[i].in);
		usp_file_put(both->ends[i].out);
		usp_spec_free(both->ends[i].name);
	}
	if (both->whole.report_fd >= 0)
		close(both->whole.report_fd);
}

int copy_both_main(const struct copy_request *request)
{
	struct both both = {
		.request = request,
		.first_failed = -1,
		.ends = {{.text = request->source}, {.text = request->sinks[0]}},
		.whole =
			{
				.request = request,
				.source_was = -1,
				.report_fd = -1,
				.watch = {.status = both_on_status, .kill = both_on_kill, .arg = &both},
			},
	};
	int code, error;

	copy_command_prepare();
	both_init_way(&both, 0);
	both_init_way(&both, 1);
	progress_start(&both.whole.progress,
		       copy_wants_progress(&both.ways[0].copy) && copy_wants_progress(&both.ways[1].copy),
		       &request->style);
	both.whole.watch.tick = both.whole.progress.is_on ? both_on_tick : NULL;
	error = watch_start(&both.whole.watch);
	if (error < 0 && both.whole.progress.is_on)
		message_say("no progress is shown, because no thread can be had: %s", strerror(-error));
	code = both_all(&both);
	both_close(&both);
	watch_end(&both.whole.watch);
	return code;
}
