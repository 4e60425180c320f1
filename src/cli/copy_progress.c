/* SPDX-License-Identifier: MIT */
/* copy_progress - what the line of progress says of a copy. */
#include "copy_progress.h"
#include "cli.h"
#include "copy.h"
#include "copy_buffer.h"
#include "size.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_SLOW_RATE 65536 /* below it, pauses are what --limit-rate asks for */

bool copy_wants_progress(const struct copy *copy)
{
	const struct copy_request *request = copy->request;
	unsigned i;

	if (request->quiet || request->progress)
		return !request->quiet;
	if (!isatty(STDERR_FILENO) || request->json)
		return false;
	for (i = 0; i < request->nr_sinks; i++) {
		if (strcmp(request->sinks[i], "-") == 0 && isatty(STDOUT_FILENO))
			return false;
	}
	return strcmp(request->source, "-") != 0 || !isatty(STDIN_FILENO);
}

/* Return how many bytes all sinks have that have not failed; the most that one got if all have failed. */
static uint64_t progress_delivered(const struct usp_pump *pump, unsigned nr_sinks)
{
	uint64_t least = UINT64_MAX, most = 0;
	unsigned i;

	for (i = 0; i < nr_sinks; i++) {
		struct usp_sink_status status = {.size = sizeof(status)};

		if (usp_pump_sink_status(pump, i, &status) < 0)
			continue;
		if ((status.error == 0 || status.error == -ECANCELED) && status.bytes < least)
			least = status.bytes;
		most = status.bytes > most ? status.bytes : most;
	}
	return least < UINT64_MAX ? least : most;
}

/* Return what a sink lacks of the bytes that were taken from the source. A sink that failed waits for nothing. */
static uint64_t progress_lag(const struct usp_pump *pump, unsigned index, uint64_t taken)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	if (usp_pump_sink_status(pump, index, &status) < 0 || status.error < 0 || status.bytes > taken)
		return 0;
	return taken - status.bytes;
}

/* Return whom everything waits for: the sink that lacks most, or the source if all have what it gave. */
static const char *progress_culprit(const struct copy *copy, const struct usp_pump *pump, uint64_t taken)
{
	const char *name = NULL;
	uint64_t most = 0, lag;
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks; i++) {
		lag = progress_lag(pump, i, taken);
		if (lag <= most)
			continue;
		most = lag;
		name = copy->sinks[i].spec;
	}
	if (name)
		return strcmp(name, "-") == 0 ? "standard output" : name;
	return strcmp(copy->request->source, "-") == 0 ? "standard input" : copy->request->source;
}

/* Tell what each of several sinks lacks: memory for free(3), or NULL if none lacks anything. */
static char *progress_lags(const struct copy *copy, const struct usp_pump *pump, uint64_t taken)
{
	char size[SIZE_TEXT_MAX], *text = NULL;
	size_t len;
	FILE *out = copy->request->nr_sinks > 1 ? open_memstream(&text, &len) : NULL;
	unsigned i;

	if (!out)
		return NULL;
	for (i = 0; i < copy->request->nr_sinks; i++) {
		uint64_t lag = progress_lag(pump, i, taken);

		if (lag > 0)
			fprintf(out, "%s%s -%s", ftell(out) > 0 ? ", " : "", copy->sinks[i].spec,
				size_format(size, (double)lag));
	}
	if (fclose(out) == 0 && len > 0)
		return text;
	free(text);
	return NULL;
}

/* Texts of a view, for free(3). */
struct progress_texts {
	char *lags, *buffer;
};

static void progress_free(struct progress_texts *texts)
{
	free(texts->lags);
	free(texts->buffer);
}

/* Measure, and tell what there is to tell. */
static struct progress_view progress_look(struct copy *copy, const struct usp_pump *pump,
					  struct progress_texts *ret_texts)
{
	struct usp_pump_status status = {.size = sizeof(status)};
	struct progress_view view = {.total = copy->total};
	int is_paused;
	double still;

	usp_pump_status(pump, &status);
	view.bytes = progress_delivered(pump, status.nr_sinks);
	still = progress_measure(&copy->progress, view.bytes);
	ret_texts->lags = progress_lags(copy, pump, status.bytes);
	ret_texts->buffer = copy_buffer_fill(copy, &is_paused);
	view.lags = ret_texts->lags;
	view.buffer = ret_texts->buffer;
	if (still >= PROGRESS_STALLED_S && !is_paused &&
	    (copy->request->rate == 0 || copy->request->rate >= COPY_SLOW_RATE))
		view.stalled = progress_culprit(copy, pump, status.bytes);
	return view;
}

void copy_on_tick(void *arg, const struct usp_pump *pump)
{
	struct copy *copy = arg;
	struct progress_texts texts;
	struct progress_view view = progress_look(copy, pump, &texts);

	if (!copy->is_silent)
		progress_draw(&copy->progress, &view);
	progress_free(&texts);
}

static void progress_say_sinks(const struct copy *copy, const struct usp_pump *pump)
{
	unsigned i;

	for (i = 0; copy->request->nr_sinks > 1 && i < copy->request->nr_sinks; i++) {
		struct usp_sink_status status = {.size = sizeof(status)};

		if (usp_pump_sink_status(pump, i, &status) == 0)
			message_say("sink %s: %llu bytes%s%s", copy->sinks[i].spec, (unsigned long long)status.bytes,
				    status.error < 0 ? ", failed: " : "",
				    status.error < 0 ? strerror(-status.error) : "");
	}
}

void copy_on_status(void *arg, const struct usp_pump *pump)
{
	struct copy *copy = arg;
	const char *opening = copy->opening;
	struct progress_texts texts;
	struct progress_view view;

	if (pump) {
		view = progress_look(copy, pump, &texts);
		progress_say(&copy->progress, &view);
		progress_say_sinks(copy, pump);
		progress_free(&texts);
	} else if (opening) {
		message_say("opening %s", opening);
	} else {
		message_say("no bytes are moving now");
	}
}

void copy_progress_end(struct copy *copy, bool is_whole)
{
	struct usp_pump_status status = {.size = sizeof(status)};
	struct progress_view view = {.is_last = true};

	if (!copy->pump || !copy->progress.is_on)
		return;
	usp_pump_status(copy->pump, &status);
	view.bytes = progress_delivered(copy->pump, status.nr_sinks);
	view.total = is_whole ? (int64_t)view.bytes : copy->total;
	if (status.is_done)
		progress_draw(&copy->progress, &view);
}
