/* SPDX-License-Identifier: MIT */
/*
 * copy_framed - frames between two copies: --framed, --frame and --unframe.
 *
 * The ends are the library's (usplice/framed.h). Here is which ends are framed, and what the two copies tell each other
 * before the first byte and behind the last one.
 */
#include "copy_framed.h"
#include "cli.h"
#include "copy.h"
#include "resume.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <usplice/framed.h>
#include <usplice/transform.h>

/* --- The options ------------------------------------------------------------------------------------------------- */

const char *copy_framed_parse_digest(const char *value, void *field)
{
	const char *why = NULL;
	char spec[64];
	int error = 0;

	*(const char **)field = value;
	if (strcmp(value, "none") == 0)
		return NULL;
	if (strpbrk(value, ",:") || snprintf(spec, sizeof(spec), "digest:%s", value) >= (int)sizeof(spec))
		return "is no digest";
	error = usp_transform_check(spec, &why);
	return error == -EOPNOTSUPP ? why
	       : error < 0	    ? "is none of sha256, sha512, blake2b, crc32c, xxh64, xxh3, xxh128 and none"
				    : NULL;
}

static bool framed_is_asked_for(const struct copy_request *request)
{
	return request->framed || request->frame || request->unframe;
}

static bool framed_has_digest(const struct copy_request *request)
{
	return !request->frame_digest || strcmp(request->frame_digest, "none") != 0;
}

const char *copy_framed_check(const struct copy_request *request)
{
	if (request->framed && (request->frame || request->unframe))
		return "--framed finds the end that is framed, so it excludes --frame and --unframe";
	if (request->frame_digest && !request->framed && !request->frame)
		return "--frame-digest is about what --framed or --frame sends";
	if (!framed_is_asked_for(request))
		return NULL;
	if (request->unframe && request->nr_sources > 1)
		return "--unframe takes one source";
	if (request->resume && !request->framed)
		return "--resume needs an answer of the other end, so it goes with --framed, and not with --frame or --unframe";
	if (request->resume && !framed_has_digest(request))
		return "--resume compares digests, so it excludes --frame-digest none";
	return NULL;
}

/* --- Which ends -------------------------------------------------------------------------------------------------- */

enum framed_kind { FRAMED_NEITHER, FRAMED_PIPE, FRAMED_SOCKET };

/* Tell what an end is, which need not be open: by its name, or by the descriptor or path that it has. */
static enum framed_kind framed_kind_of(const struct usp_spec *name, int number)
{
	static const char *const schemes[] = {"tcp", "tcp-listen", "unix", "unix-listen", "vsock", "vsock-listen"};
	const char *path = copy_path(name), *scheme = name ? usp_spec_scheme(name) : "";
	struct stat st = {.st_mode = 0};
	size_t i;

	if (number >= 0 ? fstat(number, &st) < 0 : !path || stat(path, &st) < 0)
		st.st_mode = 0;
	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strcmp(scheme, schemes[i]) == 0)
			return FRAMED_SOCKET;
	}
	return S_ISSOCK(st.st_mode) ? FRAMED_SOCKET : S_ISFIFO(st.st_mode) ? FRAMED_PIPE : FRAMED_NEITHER;
}

/* Mark the ends of a kind: how many there are. */
static unsigned framed_mark(struct copy *copy, enum framed_kind kind, bool sources, bool sinks)
{
	unsigned nr = 0, i;

	if (sources && !copy->sources && framed_kind_of(copy->source_name, copy->source_number) == kind) {
		copy->is_unframed = true;
		nr++;
	}
	for (i = 0; sinks && i < copy->request->nr_sinks; i++) {
		struct copy_sink *sink = &copy->sinks[i];

		if (framed_kind_of(sink->name, sink->number) == kind) {
			sink->is_framed = true;
			nr++;
		}
	}
	return nr;
}

/* Choose for --framed: sockets, or without one pipes, if only one side has them. */
static int framed_choose_any(struct copy *copy)
{
	if (framed_mark(copy, FRAMED_SOCKET, true, true) > 0)
		return CLI_DONE;
	if (framed_mark(copy, FRAMED_PIPE, true, false) > 0 && framed_mark(copy, FRAMED_PIPE, false, true) > 0) {
		message_say(
			"copy: --framed: both ends are pipes: say --frame for what is written, or --unframe for what is read");
		return CLI_USAGE;
	}
	if (copy->is_unframed || framed_mark(copy, FRAMED_PIPE, false, true) > 0)
		return CLI_DONE;
	message_say("copy: --framed: neither end is a socket or a pipe");
	return CLI_USAGE;
}

/* Check what is about the digest of sinks: that of a source is its sender's choice, and is known only when it comes. */
static int framed_check_digest(const struct copy *copy)
{
	const struct copy_request *request = copy->request;
	bool has_sink = false;
	unsigned i;

	for (i = 0; i < request->nr_sinks; i++)
		has_sink |= copy->sinks[i].is_framed;
	if (!has_sink && request->frame_digest) {
		message_say("copy: --frame-digest: no sink is framed: the sender chooses the digest");
		return CLI_USAGE;
	}
	if (has_sink && request->lane == USP_LANE_KERNEL && framed_has_digest(request)) {
		message_say(
			"copy: the digest of a framed stream needs the bytes in this process, so --lane kernel needs --frame-digest none");
		return CLI_USAGE;
	}
	return CLI_DONE;
}

static int framed_choose(struct copy *copy)
{
	const struct copy_request *request = copy->request;

	if (request->framed)
		return framed_choose_any(copy);
	if (request->frame &&
	    framed_mark(copy, FRAMED_SOCKET, false, true) + framed_mark(copy, FRAMED_PIPE, false, true) == 0) {
		message_say("copy: --frame: no sink is a socket or a pipe");
		return CLI_USAGE;
	}
	if (request->unframe &&
	    framed_mark(copy, FRAMED_SOCKET, true, false) + framed_mark(copy, FRAMED_PIPE, true, false) == 0) {
		message_say("copy: --unframe: the source is no socket and no pipe");
		return CLI_USAGE;
	}
	return CLI_DONE;
}

int copy_framed_choose(struct copy *copy)
{
	int code = framed_choose(copy);

	return code == CLI_DONE && framed_is_asked_for(copy->request) ? framed_check_digest(copy) : code;
}

/* Tell whether there is a way back: "-" is one descriptor for each direction. */
static bool framed_is_two_way(const struct usp_spec *name, int number)
{
	return framed_kind_of(name, number) == FRAMED_SOCKET && strcmp(usp_spec_scheme(name), "-") != 0;
}

unsigned copy_framed_mode(const struct copy *copy, const struct copy_sink *sink)
{
	if (sink)
		return sink->is_framed && framed_is_two_way(sink->name, sink->number) ? USP_READ : 0;
	return copy->is_unframed && framed_is_two_way(copy->source_name, copy->source_number) ? USP_WRITE : 0;
}

/* --- Opening ------------------------------------------------------------------------------------------------------- */

/* Say what the other end, or the path to it, did wrong before the first byte. */
static int framed_sink_failed(struct copy *copy, struct copy_sink *sink, int error)
{
	const char *why = usp_framed_failure(sink->file);

	if (!why)
		return copy_sink_failed(copy, sink, error, NULL);
	copy_note_sink(sink, error, why);
	message_say("sink %s: %s", sink->spec, why);
	return CLI_SINK;
}

/* Return the limit of a wait for the other end: that of the run, which has not begun. */
static uint64_t framed_timeout_ns(const struct copy_request *request)
{
	if (request->idle_ns > 0 && (request->total_ns == 0 || request->idle_ns < request->total_ns))
		return request->idle_ns;
	return request->total_ns;
}

static int framed_open_sink(struct copy *copy, struct copy_sink *sink, int64_t expected)
{
	bool has_answer = copy_framed_mode(copy, sink) != 0;
	const struct usp_framed_params params = {
		.size = sizeof(params),
		.flags = (has_answer ? USP_FRAMED_ANSWER : 0) | (copy->request->resume ? USP_FRAMED_RESUME : 0),
		.digest = copy->request->frame_digest,
		.expected = expected,
		.timeout_ns = framed_timeout_ns(copy->request),
	};
	const char *why = NULL;
	int error;

	if (!sink->is_framed)
		return CLI_DONE;
	if (copy->request->resume && !has_answer)
		return copy_usage("sink", sink->spec, "gives no answer, so --resume is not possible");
	error = usp_framed_open(sink->file, USP_WRITE, &params, &sink->file, &why);
	return error < 0 ? copy_sink_failed(copy, sink, error, why) : CLI_DONE;
}

int copy_framed_open_source(struct copy *copy)
{
	const struct usp_framed_params params = {.size = sizeof(params),
						 .timeout_ns = framed_timeout_ns(copy->request)};
	unsigned flags;
	bool was_interruptible;
	int error;

	if (!copy->is_unframed)
		return CLI_DONE;
	if (copy->request->count >= 0 || copy->request->stop_at_size)
		return copy_usage(
			"source", copy->request->source,
			"comes in frames, up to its end mark, which --count and --stop-at-size would leave out");
	error = usp_framed_open(copy->source, USP_READ, &params, &copy->source, NULL);
	if (error < 0)
		return copy_source_failed(copy, error, NULL);
	was_interruptible = watch_set_interruptible(&copy->watch, true);
	error = usp_framed_begin(copy->source, &flags, &copy->expected);
	watch_set_interruptible(&copy->watch, was_interruptible);
	if (error < 0)
		return copy_source_failed(copy, error, NULL);
	if (copy->request->resume && !(flags & USP_FRAMED_RESUME)) {
		copy_note_source(copy, "the sender does not resume: it needs --resume, too");
		message_say("source %s: %s", copy->source_spec, copy->source_why);
		return CLI_SOURCE;
	}
	/* A receiver that does not resume has nothing. */
	error = !copy->request->resume && flags & USP_FRAMED_RESUME ? usp_framed_offer(copy->source) : 0;
	return error < 0 ? copy_source_failed(copy, error, NULL) : CLI_DONE;
}

int copy_framed_open_sinks(struct copy *copy, int64_t expected)
{
	int code = CLI_DONE;
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks && code == CLI_DONE; i++)
		code = framed_open_sink(copy, &copy->sinks[i], expected);
	return code;
}

/* --- Going on behind what the receiver has --------------------------------------------------------------------------- */

bool copy_framed_resumes(const struct copy *copy)
{
	return copy->request->resume && (copy->is_unframed || copy->sinks[0].is_framed);
}

/* The receiver: tell what the sink has, and go on behind it. */
static int framed_offer(struct copy *copy)
{
	struct copy_sink *sink = &copy->sinks[0];
	int64_t have;
	enum resume_result result = resume_see(sink->file, 0, -1, copy->source, &copy->watch, &have);
	int error;

	if (result == RESUME_STOPPED)
		return copy_source_failed(copy, -EINTR, NULL);
	if (result != RESUME_SAME)
		return copy_sink_failed(copy, sink, (int)have, NULL);
	error = usp_framed_offer(copy->source);
	if (error < 0)
		return copy_source_failed(copy, error, NULL);
	usp_file_seek(sink->file, have, SEEK_SET); /* for a file that appends this changes nothing */
	sink->start = have;
	copy->resumed = have;
	return CLI_DONE;
}

/* What the receiver has cannot be continued: tell both people. */
static int framed_refuse(struct copy *copy, struct copy_sink *sink, const char *why)
{
	copy_note_sink(sink, -EEXIST, why);
	message_say("sink %s: %s", sink->spec, why);
	usp_framed_fail(sink->file, why);
	(void)copy;
	return CLI_SINK;
}

/* The sender: compare what the receiver has with the source. */
static int framed_ask(struct copy *copy)
{
	struct copy_sink *sink = &copy->sinks[0];
	bool was_interruptible = watch_set_interruptible(&copy->watch, true);
	enum resume_result result;
	char text[COPY_ERROR_MAX];
	int64_t have, seen;
	int error = usp_framed_ask(sink->file, &have);

	watch_set_interruptible(&copy->watch, was_interruptible);
	if (error < 0)
		return framed_sink_failed(copy, sink, error);
	result = resume_see(copy->source, copy->source_start,
			    copy->count >= 0 && copy->count < have ? copy->count : have, sink->file, &copy->watch,
			    &seen);
	if (result == RESUME_STOPPED)
		return copy_source_failed(copy, -EINTR, NULL);
	if (result != RESUME_SAME)
		return copy_source_failed(copy, (int)seen, NULL);
	if (seen < have) {
		snprintf(text, sizeof(text), "the receiver has more than the %lld bytes that would be there",
			 (long long)seen);
		return framed_refuse(copy, sink, text);
	}
	if (usp_framed_agree(sink->file) < 0)
		return framed_refuse(copy, sink,
				     "what the receiver has differs from the source, so it cannot be continued");
	copy->source_start = usp_file_seek(copy->source, copy->source_start + have, SEEK_SET);
	copy->resumed = have;
	if (copy->count >= 0)
		copy->count -= have;
	return CLI_DONE;
}

int copy_framed_resume(struct copy *copy)
{
	return copy->is_unframed ? framed_offer(copy) : framed_ask(copy);
}

/* --- How it went ----------------------------------------------------------------------------------------------------- */

/* Return why the source failed, or NULL. */
static const char *framed_source_why(const struct copy *copy)
{
	const char *why = copy->source ? usp_framed_failure(copy->source) : NULL;

	return why ? why : copy->source_why[0] != '\0' ? copy->source_why : NULL;
}

void copy_framed_give_up(const struct copy *copy, const char *other)
{
	const char *why = framed_source_why(copy);
	char text[USP_FRAMED_WHY_MAX];
	unsigned i;

	if (watch_signo(&copy->watch) != 0)
		other = "it was stopped by a signal";
	snprintf(text, sizeof(text), "%s%.*s", why ? "its source failed: " : "", COPY_ERROR_MAX, why ? why : other);
	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (copy->sinks[i].is_framed && copy->sinks[i].file)
			usp_framed_fail(copy->sinks[i].file, text);
	}
}

/* Compose why this copy failed. */
static void framed_reason(const struct copy *copy, int code, char text[COPY_ERROR_MAX])
{
	const char *why = framed_source_why(copy);
	unsigned i;

	snprintf(text, COPY_ERROR_MAX, "%s", code > CLI_SIGNAL ? "stopped by a signal" : why ? why : "the copy failed");
	if (code > CLI_SIGNAL || why)
		return;
	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (copy->sinks[i].error[0] != '\0' && copy->sinks[i].code != -ECANCELED) {
			snprintf(text, COPY_ERROR_MAX, "%.*s: %.*s", COPY_ERROR_MAX / 2 - 2, copy->sinks[i].spec,
				 COPY_ERROR_MAX / 2 - 2, copy->sinks[i].error);
			return;
		}
	}
}

void copy_framed_answer(const struct copy *copy, int code)
{
	char text[COPY_ERROR_MAX];
	int error;

	if (!copy->is_unframed || !copy->source)
		return;
	framed_reason(copy, code, text);
	error = usp_framed_answer(copy->source, code == CLI_DONE ? NULL : text);
	if (error < 0 && code == CLI_DONE)
		message_say("source %s: all bytes came, but the sender could not be told: %s", copy->source_spec,
			    strerror(-error));
}
