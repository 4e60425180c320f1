/* SPDX-License-Identifier: MIT */
/* copy_finish - finish the sinks of a copy: sync, read back, attributes, name, close. */
#include "atomic.h"
#include "cli.h"
#include "copy.h"
#include "copy_attributes.h"
#include "copy_digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <usplice/framed.h>

/* Note a failure after the bytes that the sink got. */
static void finish_failed(struct copy_sink *sink, uint64_t bytes, int error, const char *why)
{
	copy_note_sink(sink, error, why);
	message_say("sink %s: at byte %lld: %s", sink->spec, (long long)sink->start + (long long)bytes, sink->error);
}

/* Tell whether -q hides an error: a filter whose reader has gone. The exit code still tells. */
static bool finish_is_no_news(const struct copy *copy, const struct copy_sink *sink, int error)
{
	return copy->request->quiet && error == -EPIPE && strcmp(sink->spec, "-") == 0;
}

static void finish_tell(const struct copy *copy, struct copy_sink *sink, const struct usp_sink_status *status)
{
	const char *told = usp_framed_failure(sink->file);
	char why[COPY_ERROR_MAX];

	if (status->error == -EPIPE && copy_command_is(sink->file))
		usp_file_close(sink->file); /* it tells how the command ended */
	if (told)
		snprintf(why, sizeof(why), "%s", told);
	else
		copy_run_error_text(copy, &sink->command, status->error, why);
	if (finish_is_no_news(copy, sink, status->error))
		copy_note_sink(sink, status->error, why);
	else
		finish_failed(sink, status->bytes, status->error, why);
}

static void finish_sync(struct copy_sink *sink, uint64_t bytes)
{
	int error = usp_file_sync(sink->file);

	if (error < 0)
		finish_failed(sink, bytes, error, strerror(-error));
}

static void finish_read_back(struct copy *copy, struct copy_sink *sink, uint64_t bytes)
{
	char text[COPY_ERROR_MAX];
	int error = copy_digest_read_back(copy, sink, bytes, text);

	if (error < 0)
		finish_failed(sink, bytes, error, text);
}

/* Give what --preserve names, and bring that to the storage, too. */
static void finish_attributes(struct copy *copy, struct copy_sink *sink, uint64_t bytes)
{
	if (copy->request->preserve && copy_attributes_give(copy, sink) && (copy->request->sync || sink->atomic))
		finish_sync(sink, bytes);
}

/* Give the file a name now: a file without one cannot get it after it is closed. */
static void finish_link(struct copy_sink *sink, uint64_t bytes)
{
	int error = atomic_link(sink->atomic, usp_file_fd(sink->file));

	if (error < 0)
		finish_failed(sink, bytes, error, strerror(-error));
}

/*
 * Wait until the command of a sink has exited. A signal, or --timeout, ends the wait, and then the command: the file is
 * closed without being whole.
 */
static void finish_await_command(struct copy *copy, struct copy_sink *sink, uint64_t bytes)
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
	finish_failed(sink, bytes, error, text);
}

/*
 * Close a sink. A late failure counts, too: network file systems report at close that the bytes did
 * not fit. That a peer did not take the rest of a copy that had ended before is no news.
 */
static void finish_close(struct copy_sink *sink, uint64_t bytes, bool is_whole)
{
	int error = usp_file_close(sink->file);

	if (error < 0 && (is_whole || error != -ETIMEDOUT))
		finish_failed(sink, bytes, error, strerror(-error));
}

static void finish_commit(struct copy_sink *sink, uint64_t bytes, bool keeps_old)
{
	int error = atomic_commit(sink->atomic, keeps_old);

	sink->atomic = NULL;
	if (error < 0)
		finish_failed(sink, bytes, error, strerror(-error));
}

static void finish_cut_late(struct copy_sink *sink, uint64_t bytes)
{
	int64_t end = sink->start + (int64_t)bytes;

	if (ftruncate(usp_file_fd(sink->file), end) < 0)
		finish_failed(sink, bytes, -errno, strerror(errno));
}

bool copy_finish_sink(struct copy *copy, struct copy_sink *sink, unsigned index, bool is_whole)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	if (usp_pump_sink_status(copy->pump, index, &status) < 0)
		return false;
	if (status.error < 0 && status.error != -ECANCELED)
		finish_tell(copy, sink, &status);
	if (sink->is_cut_late && (is_whole || status.bytes > 0)) /* a run that never began leaves the old file */
		finish_cut_late(sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' && copy_command_is(sink->file))
		finish_await_command(copy, sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' &&
	    (copy->request->sync || sink->atomic || copy->request->verify_written))
		finish_sync(sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' && copy->request->verify_written)
		finish_read_back(copy, sink, status.bytes);
	if (is_whole && sink->error[0] == '\0')
		finish_attributes(copy, sink, status.bytes);
	if (is_whole && sink->error[0] == '\0' && sink->atomic)
		finish_link(sink, status.bytes);
	if (sink->error[0] == '\0')
		finish_close(sink, status.bytes, is_whole);
	if (is_whole && sink->error[0] == '\0' && sink->atomic)
		finish_commit(sink, status.bytes, copy->request->no_clobber);
	return sink->error[0] == '\0';
}
