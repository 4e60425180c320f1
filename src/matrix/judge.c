/* SPDX-License-Identifier: MIT */
/* judge - what an experiment says of one half, and when it says nothing. */
#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/pieces.h"
#include "matrix/inside.h"

#define JUDGE_TRIES 8

static const char stale_reason[] = "the page cache does not tell how the bytes went";
static const struct matrix_object judge_pages = {.kind = &usp_matrix_pages_kind, .name = "pages of the run"};

static struct matrix_verdict judge_say(enum usp_probe_answer answer, const char *reason)
{
	return (struct matrix_verdict){.answer = answer, .reason = reason};
}

/* Errors of a moment, or of a shortage, say nothing about the kernel. */
static bool judge_is_passing(int error)
{
	static const int passing[] = {EAGAIN, EINTR,  EMFILE, ENFILE, ENOMEM,	ENOBUFS,
				      ENOSPC, EDQUOT, EFBIG,  EIO,    ETIMEDOUT};

	for (unsigned i = 0; i < usp_array_len(passing); i++) {
		if (passing[i] == error)
			return true;
	}
	return false;
}

struct matrix_verdict usp_matrix_failed(int error, bool is_hop)
{
	struct matrix_verdict verdict = {.answer = USP_PROBE_UNDECIDABLE, .error = error};

	if (!is_hop) {
		verdict.reason = "the object of the experiment cannot be made here";
	} else if (judge_is_passing(error)) {
		verdict.reason = "the call failed for a reason of the moment";
	} else {
		verdict.answer = USP_PROBE_REFUSED;
		verdict.reason = "the kernel refuses the call";
	}
	return verdict;
}

/* The experiment did not come to the hop. Root could do some of it. */
static struct matrix_verdict judge_unmade(const struct matrix_trial *trial, int error)
{
	struct matrix_verdict verdict = usp_matrix_failed(error, false);

	if (error == EPERM && trial->rights == MATRIX_FOREIGN)
		verdict.reason = "only root can make a file of another owner";
	else if (error == EPERM && trial->len > MATRIX_PIPE_DEFAULT)
		verdict.reason = "this user may not have a pipe for so many bytes";
	return verdict;
}

/* Some pages stay in the cache for a moment after a file was written out: try until there was none before the hop. */
static int judge_try(const struct matrix_run *run, const struct matrix_object *from,
		     const struct matrix_trial *in_trial, const struct matrix_object *to,
		     const struct matrix_trial *out_trial, struct matrix_outcome *ret_outcome)
{
	int ret = usp_matrix_try(run, from, in_trial, to, out_trial, ret_outcome);

	for (unsigned i = 1; i < JUDGE_TRIES && ret == 0 && ret_outcome->is_stale; i++)
		ret = usp_matrix_try(run, from, in_trial, to, out_trial, ret_outcome);
	return ret;
}

/* --- Into a pipe ------------------------------------------------------------------------------------------- */

/* What comes out of a socket is old, also if it was copied on the way into it. */
static struct matrix_verdict judge_fed(const struct matrix_run *run, const struct matrix_object *object,
				       const struct matrix_trial *trial)
{
	const struct matrix_trial out = {.len = trial->len, .state = object->base_state};
	struct matrix_outcome outcome;

	if (object->kind->sink &&
	    (usp_matrix_try(run, &judge_pages, &out, object, &out, &outcome) < 0 || outcome.seen != MATRIX_NEW))
		return judge_say(USP_PROBE_UNDECIDABLE,
				 "bytes are copied on their way into it, so nothing that comes out can be changed");
	return judge_say(USP_PROBE_COPIED, "the old bytes came out of the pipe after the source had changed");
}

static struct matrix_verdict judge_seen_in(const struct matrix_run *run, const struct matrix_object *object,
					   const struct matrix_trial *trial, char seen)
{
	if (seen == MATRIX_NEW)
		return judge_say(USP_PROBE_BY_REFERENCE, "a change of the source showed in the pipe");
	if (seen == MATRIX_OLD && object->kind->make_pair)
		return judge_fed(run, object, trial);
	if (seen == MATRIX_OLD)
		return judge_say(USP_PROBE_COPIED, "the old bytes came out of the pipe after the source had changed");
	return judge_say(USP_PROBE_UNDECIDABLE, seen ? "a part went by reference, and a part was copied"
						     : "nothing came out after the change");
}

/* The peer has written pieces: their charge says whether they lie in pages. */
static struct matrix_verdict judge_piece(const struct matrix_object *object, size_t len)
{
	int pair[2] = {-1, -1}, ret = object->kind->make_pair(object->kind, pair);

	if (ret == 0)
		ret = usp_piece_is_pages(pair, len);
	usp_sys_close(pair[0]);
	usp_sys_close(pair[1]);
	if (ret == 1)
		return judge_say(USP_PROBE_BY_REFERENCE, "the piece is charged byte by byte, so it lies in pages");
	if (ret == 0)
		return judge_say(USP_PROBE_COPIED,
				 "the piece is charged as a buffer, and splice copies out of buffers");
	return judge_say(USP_PROBE_UNDECIDABLE, "the socket does not tell what the piece is charged");
}

/* A page that was spliced in must come out by reference: else pages of pieces say nothing. */
static struct matrix_verdict judge_written(const struct matrix_run *run, const struct matrix_object *object,
					   const struct matrix_trial *trial)
{
	const struct matrix_trial page = {.len = MATRIX_PAGE};
	struct matrix_kind kind = *object->kind;
	const struct matrix_object fed = {.kind = &kind};
	struct matrix_outcome outcome;

	kind.source = &usp_matrix_fed_source;
	if (usp_matrix_try(run, &fed, &page, NULL, NULL, &outcome) < 0 || outcome.seen != MATRIX_NEW)
		return judge_say(USP_PROBE_UNDECIDABLE, "no page that was spliced into it came out by reference");
	return judge_piece(object, trial->len);
}

struct matrix_verdict usp_matrix_judge_in(const struct matrix_run *run, const struct matrix_object *object,
					  const struct matrix_trial *trial)
{
	struct matrix_outcome outcome;
	int ret = judge_try(run, object, trial, NULL, NULL, &outcome);

	if (ret < 0)
		return judge_unmade(trial, -ret);
	if (outcome.in < 0)
		return usp_matrix_failed((int)-outcome.in, true);
	if (outcome.in_by_device)
		return judge_say(USP_PROBE_BY_DEVICE, "the page cache stayed empty, so the device filled the pages");
	if (outcome.is_stale)
		return judge_say(USP_PROBE_UNDECIDABLE, stale_reason);
	if (object->kind->fixed)
		return judge_say(USP_PROBE_UNDECIDABLE, object->kind->fixed);
	if ((size_t)outcome.in < trial->len)
		return judge_say(USP_PROBE_UNDECIDABLE, "it gave fewer bytes than it was asked for");
	if (object->kind->is_written)
		return judge_written(run, object, trial);
	return judge_seen_in(run, object, trial, outcome.seen);
}

/* --- Out of a pipe ------------------------------------------------------------------------------------------ */

static struct matrix_verdict judge_seen_out(char seen)
{
	if (seen == MATRIX_NEW)
		return judge_say(USP_PROBE_BY_REFERENCE, "a change of the page showed behind the sink");
	if (seen == MATRIX_OLD)
		return judge_say(USP_PROBE_COPIED, "the sink kept the old bytes after the page had changed");
	return judge_say(USP_PROBE_UNDECIDABLE, seen == '?' ? "a part went by reference, and a part was copied"
							    : "nothing came out after the change");
}

struct matrix_verdict usp_matrix_judge_out(const struct matrix_run *run, const struct matrix_object *object,
					   const struct matrix_trial *trial)
{
	const struct matrix_trial in = {.len = trial->len};
	struct matrix_outcome outcome;
	int ret = judge_try(run, &judge_pages, &in, object, trial, &outcome);

	if (ret < 0 || outcome.in < 0)
		return judge_unmade(trial, ret < 0 ? -ret : (int)-outcome.in);
	if ((size_t)outcome.in < trial->len)
		return judge_say(USP_PROBE_UNDECIDABLE, "the pages of the experiment did not all enter the pipe");
	if (outcome.out < 0)
		return usp_matrix_failed((int)-outcome.out, true);
	if ((size_t)outcome.out < trial->len)
		return judge_say(USP_PROBE_UNDECIDABLE, "it took fewer bytes than it was given");
	if (!object->kind->sink->look)
		return judge_say(USP_PROBE_BY_REFERENCE, "dropped, not read");
	if (outcome.out_by_device)
		return judge_say(USP_PROBE_BY_DEVICE, "the page cache stayed empty, so the device read the pages");
	if (outcome.is_stale)
		return judge_say(USP_PROBE_UNDECIDABLE, stale_reason);
	if (outcome.control != MATRIX_NEW)
		return judge_say(USP_PROBE_UNDECIDABLE,
				 "the page of the experiment did not enter the pipe by reference");
	return judge_seen_out(outcome.seen);
}

/* --- Controls ------------------------------------------------------------------------------------------------ */

/* Send pages of the run into a pipe and through tee: true if the change shows behind both. */
static bool judge_pages_alias(struct matrix_run *run, bool by_vmsplice)
{
	static const struct matrix_kind tee = {
		.make_pair = usp_matrix_make_pipe, .source = &usp_matrix_tee_source, .max_len = MATRIX_PAGE};
	const struct matrix_object object = {.kind = &tee};
	const struct matrix_trial page = {.len = MATRIX_PAGE};
	struct matrix_outcome outcome;

	run->fills_by_vmsplice = by_vmsplice;
	return usp_matrix_try(run, &object, &page, NULL, NULL, &outcome) == 0 && outcome.seen == MATRIX_NEW;
}

void usp_matrix_controls(struct matrix_run *run)
{
	static const struct matrix_kind write = {.source = &usp_matrix_write_source};
	const struct matrix_object object = {.kind = &write};
	const struct matrix_trial page = {.len = MATRIX_PAGE};
	struct matrix_outcome outcome;

	run->result.copies =
		usp_matrix_try(run, &object, &page, NULL, NULL, &outcome) == 0 && outcome.seen == MATRIX_OLD;
	run->result.aliases = judge_pages_alias(run, false) || judge_pages_alias(run, true);
}
