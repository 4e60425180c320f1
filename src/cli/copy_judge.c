/* SPDX-License-Identifier: MIT */
/* copy_judge - what became of a copy: messages, notes for the report, and the exit code. */
#include "cli.h"
#include "copy.h"
#include "copy_blocks.h"
#include "copy_digest.h"
#include "copy_framed.h"
#include "copy_rescue.h"
#include "copy_sources.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <usplice/framed.h>

/* --- A copy that did not begin --------------------------------------------------------------------------- */

/* Return why a hop is not by reference, or NULL. */
static const char *judge_objection(const struct usp_hop *hop)
{
	return hop->reason[USP_COPIED]	  ? hop->reason[USP_COPIED]
	       : hop->reason[USP_UNKNOWN] ? hop->reason[USP_UNKNOWN]
					  : hop->reason[USP_REWRITTEN];
}

static void judge_say_hop(const char *side, const char *spec, const struct usp_hop *hop)
{
	message_say("%s %s: %s: %s", side, spec, hop->reason[USP_COPIED] ? "would copy" : "may copy",
		    judge_objection(hop));
}

/* Name the first hop that is in the way of --require-zero-copy. */
static bool judge_say_objection(const struct copy *copy)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	unsigned i, nr_sources = usp_pump_nr_hops(copy->pump) - copy->request->nr_sinks;

	for (i = 0; usp_pump_hop(copy->pump, i, &hop) == 0; i++) {
		if (!judge_objection(&hop))
			continue;
		if (i < nr_sources)
			judge_say_hop("source", i == 0 ? copy->request->source : hop.from, &hop);
		else
			judge_say_hop("sink", copy->sinks[i - nr_sources].spec, &hop);
		return true;
	}
	return false;
}

int copy_not_begun(const struct copy *copy, int error)
{
	copy_undo(copy);
	if (error == -USP_EWOULDCOPY && judge_say_objection(copy))
		return CLI_WOULD_COPY;
	if (error == -EOPNOTSUPP && copy->request->lane == USP_LANE_KERNEL) {
		message_say("--lane kernel: splice(2) cannot carry the bytes of %s to %s", copy->request->source,
			    copy->request->nr_sinks == 1 ? copy->sinks[0].spec : "all sinks");
		return CLI_USAGE;
	}
	message_say("%s", strerror(-error));
	return CLI_FAILED;
}

/*
 * Tell whether splice(2) refused the source at its first byte, with a forced lane. Then the kernel
 * cannot splice that kind of object, or a filter of system calls forbids it. A sink that splice(2)
 * refuses is found before the run begins.
 */
static bool judge_is_refused_by_kernel(const struct copy *copy, const struct usp_pump_status *status)
{
	int error = status->source_error;

	return (copy->request->lane == USP_LANE_KERNEL || copy->request->require_zero_copy) && status->bytes == 0 &&
	       (error == -EINVAL || error == -ENOSYS || error == -EPERM);
}

static int judge_refused_by_kernel(const struct copy *copy)
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

/* --- The sinks ------------------------------------------------------------------------------------------- */

/* Tell whether the other sinks may go on after a sink failed like this. */
static bool judge_goes_on(const struct copy_request *request, int error)
{
	return request->continue_on_error || (error == -ETIMEDOUT && request->slow_ns > 0);
}

/*
 * Tell whether a run is whole: every sink got everything, except for sinks that the others can do
 * without.
 */
static bool judge_is_whole(const struct copy *copy, int result, const struct usp_pump_status *status)
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
		if (!judge_goes_on(copy->request, sink.error))
			return false;
		first_error = first_error < 0 ? first_error : sink.error;
	}
	return result == first_error;
}

static void judge_say_interrupted(const struct copy *copy, int signo)
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
static void judge_mark_cut_short(struct copy *copy, int code)
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

/* --- The source ------------------------------------------------------------------------------------------ */

/* Tell whether a run whose source has ended moved fewer bytes than --stop-at-size wants. bytes: of the pump. */
static bool judge_is_short(const struct copy *copy, uint64_t bytes)
{
	if (stages_encode(&copy->request->stages))
		bytes = copy_digest_input(copy, bytes) - (uint64_t)copy->source_start;
	return copy->wants_count && bytes < (uint64_t)copy->count;
}

static const char *judge_short_text(const struct copy *copy)
{
	return copy->request->size >= 0 && copy->wants_count ? "it ended before all bytes of --size had come"
							     : "it became shorter while it was read";
}

static int judge_source(struct copy *copy, const struct usp_pump_status *status, bool is_whole)
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
		: status->source_error == -ENODATA	? judge_short_text(copy)
							: text,
		status->source_error == -EOPNOTSUPP ? " (there is more, which the kernel's splice does not give)" : "");
	message_say("source %s: at byte %lld: %s", source, at, copy->source_why);
	return CLI_SOURCE;
}

/* --- The run --------------------------------------------------------------------------------------------- */

int copy_judge(struct copy *copy, int result)
{
	int code, signo;
	struct usp_pump_status status = {.size = sizeof(status)};
	bool is_whole;
	unsigned i;

	usp_pump_status(copy->pump, &status);
	if (!status.is_done)
		return copy_not_begun(copy, result);
	if (judge_is_refused_by_kernel(copy, &status))
		return judge_refused_by_kernel(copy);
	is_whole = judge_is_whole(copy, result, &status);
	if (is_whole && judge_is_short(copy, status.bytes)) {
		status.source_error = -ENODATA;
		is_whole = false;
	}
	code = judge_source(copy, &status, is_whole);
	if (!is_whole)
		copy_framed_give_up(copy, "another sink failed");
	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (!copy_finish_sink(copy, &copy->sinks[i], i, is_whole) && code == CLI_DONE)
			code = CLI_SINK;
	}
	if (copy->lacks_owner && code == CLI_DONE)
		code = CLI_SINK;
	signo = watch_signo(&copy->watch); /* only now: it may have come while bytes were read back */
	if (signo != 0 && (result == -ECANCELED || copy->was_interrupted)) {
		judge_say_interrupted(copy, signo);
		code = CLI_SIGNAL + signo;
	} else if (code == CLI_DONE && result < 0) {
		message_say("%s", strerror(-result));
		code = CLI_FAILED;
	}
	if (!is_whole)
		judge_mark_cut_short(copy, code);
	if (code == CLI_DONE)
		code = copy_blocks_commit(copy);
	return copy_rescue_say(copy) == CLI_DONE || code != CLI_DONE ? code : CLI_SOURCE;
}
