/* SPDX-License-Identifier: MIT */
/* copy_both_judge - what became of the two ways of --both: messages, notes for the report, and the exit code. */
#include "cli.h"
#include "copy_both.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint64_t judge_delivered(const struct both_way *way)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	usp_pump_sink_status(way->copy.pump, 0, &status);
	return status.bytes;
}

/* Say that the source of a way failed, after so many bytes: an exit code. */
static int judge_source(struct both *both, int index, int error)
{
	struct both_way *way = &both->ways[index];
	struct usp_pump_status status = {.size = sizeof(status)};
	char text[COPY_ERROR_MAX];

	usp_pump_status(way->copy.pump, &status);
	way->copy.source_error = error;
	copy_note_sink(&way->sink, -ECANCELED, "the source failed");
	copy_run_error_text(&way->copy, &both->ends[index].command, error, text);
	message_say("source %s: at byte %llu: %s", both->ends[index].text, (unsigned long long)status.bytes, text);
	return CLI_SOURCE;
}

/* The same of its sink. */
static int judge_sink(struct both *both, int index, int error)
{
	struct both_way *way = &both->ways[index];
	char text[COPY_ERROR_MAX];

	copy_run_error_text(&way->copy, &both->ends[!index].command, error, text);
	copy_note_sink(&way->sink, error, text);
	if (both->request->quiet && error == -EPIPE && both->ends[!index].kind == BOTH_STANDARD)
		return CLI_SINK; /* no news: a filter whose reader has gone */
	message_say("sink %s: at byte %llu: %s", both->ends[!index].text, (unsigned long long)judge_delivered(way),
		    text);
	return CLI_SINK;
}

/* Judge a way that was stopped: by a time-out, by a signal, or because the other one failed. */
static int judge_stopped(struct both *both, int index)
{
	struct both_way *way = &both->ways[index];
	bool is_first = index == 0 || both->ways[0].result != -ECANCELED;

	if (both->time_out < 0 && is_first)
		return way->wait.file && way->wait.side == USP_WRITE ? judge_sink(both, index, both->time_out)
								     : judge_source(both, index, both->time_out);
	copy_note_sink(&way->sink, -ECANCELED,
		       both->time_out < 0		      ? "a time-out"
		       : watch_signo(&both->whole.watch) != 0 ? "stopped by a signal"
							      : "the other way failed");
	return CLI_DONE;
}

/* Judge one way: an exit code. */
static int judge_way(struct both *both, int index)
{
	struct both_way *way = &both->ways[index];
	struct usp_pump_error failed = {.size = sizeof(failed)};
	struct usp_sink_status status = {.size = sizeof(status)};

	usp_pump_error(way->copy.pump, &failed);
	usp_pump_sink_status(way->copy.pump, 0, &status);
	if (way->result == 0 && way->close_error < 0)
		return judge_sink(both, index, way->close_error);
	if (way->is_given_up && way->result == 0 && status.stranded > 0)
		return judge_sink(both, index, -ETIMEDOUT);
	if (way->result == 0)
		return CLI_DONE;
	if (way->result == -ECANCELED)
		return judge_stopped(both, index);
	return failed.side == USP_WRITE ? judge_sink(both, index, failed.error)
					: judge_source(both, index, failed.error ? failed.error : way->result);
}

static int judge_signal(const struct both *both, int signo)
{
	message_say("stopped by signal %d (%s)", signo, strsignal(signo));
	for (int i = 0; i < 2; i++)
		message_say("sink %s: got %llu bytes", both->ends[!i].text,
			    (unsigned long long)judge_delivered(&both->ways[i]));
	return CLI_SIGNAL + signo;
}

int both_judge(struct both *both)
{
	int first = both->first_failed == 1, code, other, signo = watch_signo(&both->whole.watch);
	bool was_stopped = both->ways[0].result == -ECANCELED || both->ways[1].result == -ECANCELED;

	code = judge_way(both, first);
	other = judge_way(both, !first);
	if (code == CLI_DONE)
		code = other;
	return signo != 0 && was_stopped ? judge_signal(both, signo) : code;
}
