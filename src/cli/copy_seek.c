/* SPDX-License-Identifier: MIT */
/* copy_seek - bring the open endpoints of a copy to where it begins. The last step is to cut old files. */
#include "cli.h"
#include "copy.h"
#include "copy_framed.h"
#include "copy_size.h"
#include "resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SEEK_LINK_MAX 64

/* --- What was inherited ------------------------------------------------------------------------------- */

/*
 * Return a descriptor to read what an inherited sink has: its own if it is readable, whose offset
 * stays; else one of a second description. -1 with errno.
 */
static int seek_readable(const struct copy_sink *sink)
{
	int fd = usp_file_fd(sink->file), flags = fcntl(fd, F_GETFL);
	char path[SEEK_LINK_MAX];

	if (flags >= 0 && (flags & O_ACCMODE) == O_RDWR)
		return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
}

static int seek_reopen(struct copy *copy, struct copy_sink *sink, struct usp_file **ret_file)
{
	int fd = seek_readable(sink), error;

	if (fd < 0)
		return copy_sink_failed(copy, sink, -errno, NULL);
	error = usp_open_fd(fd, USP_READ, sink->spec, ret_file);
	if (error < 0) {
		close(fd);
		return copy_sink_failed(copy, sink, error, NULL);
	}
	return CLI_DONE;
}

/* --- Where it begins --------------------------------------------------------------------------------- */

/*
 * Append. A file that the command opened appends already. An offset that others share is moved to
 * the end for all of them.
 */
static int seek_append(struct copy *copy, struct copy_sink *sink)
{
	int64_t at = sink->object.st_size;

	if (!(usp_file_flags(sink->file) & USP_APPEND))
		at = usp_file_seek(sink->file, 0, SEEK_END);
	if (at < 0)
		return copy_sink_failed(copy, sink, (int)at, NULL);
	sink->start = at;
	return CLI_DONE;
}

static int seek_sink(struct copy *copy, struct copy_sink *sink)
{
	int64_t at;

	if (S_ISREG(sink->object.st_mode) && (copy->request->append || usp_file_flags(sink->file) & USP_APPEND))
		return seek_append(copy, sink);
	at = usp_file_seek(sink->file, copy->request->seek > 0 ? copy->request->seek : 0, SEEK_CUR);
	if (copy->request->seek >= 0 && at < 0)
		return copy_sink_failed(copy, sink, (int)at, NULL);
	sink->start = at > 0 ? at : 0;
	return CLI_DONE;
}

int copy_discard(struct copy *copy, struct usp_file *source, const struct usp_pump_params *params)
{
	const struct usp_open_params open_params = {.size = sizeof(open_params), .mode = USP_WRITE};
	struct usp_pump *pump = NULL;
	struct usp_file *null;
	int error = usp_open("null:", &open_params, &null, NULL);

	if (error < 0)
		return error;
	error = usp_pump_new(source, params, &pump);
	if (error == 0)
		error = usp_pump_add_sink(pump, null);
	if (error == 0) {
		watch_set_pump(&copy->watch, pump);
		error = usp_pump_run(pump);
		watch_set_pump(&copy->watch, NULL);
	}
	usp_pump_free(pump);
	usp_file_put(null);
	return error == -ECANCELED ? -EINTR : error;
}

/* See copy.h. What is thrown away goes through memory where the rest does, and is probed only where the rest is. */
int copy_skip(struct copy *copy, unsigned run_flags)
{
	const struct usp_pump_params params = {
		.size = sizeof(params),
		.lane = copy->request->lane == USP_LANE_USER ? USP_LANE_USER : USP_LANE_AUTO,
		.flags = USP_PUMP_COUNT | (run_flags & (USP_PUMP_SNAPSHOT | USP_PUMP_NO_PROBE)),
		.count = copy->to_skip,
	};
	int error = copy_discard(copy, copy->source, &params);

	usp_file_hop(copy->source, USP_READ, &copy->skipped);
	return error < 0 ? copy_source_failed(copy, error, NULL) : CLI_DONE;
}

static int seek_skip(struct copy *copy)
{
	int64_t skip = stages_decode(&copy->request->stages) ? 0 : copy->request->skip; /* of what comes out */
	int64_t at = usp_file_seek(copy->source, skip > 0 ? skip : 0, SEEK_CUR);

	if (at < 0 && at != -ESPIPE)
		return copy_source_failed(copy, (int)at, NULL);
	copy->to_skip = at < 0 && skip > 0 ? skip : 0;
	copy->source_start = at >= 0 ? at : copy->to_skip;
	return CLI_DONE;
}

static int seek_resume_failed(struct copy *copy, struct copy_sink *sink, enum resume_result result, int64_t at)
{
	char text[COPY_ERROR_MAX];

	if (result == RESUME_STOPPED)
		return copy_source_failed(copy, -EINTR, NULL);
	if (result == RESUME_SOURCE_FAILED)
		return copy_source_failed(copy, (int)at, NULL);
	if (result == RESUME_SINK_FAILED)
		return copy_sink_failed(copy, sink, (int)at, NULL);
	if (result == RESUME_LONGER) {
		snprintf(text, sizeof(text), "has more than the %lld bytes that would be there", (long long)at);
		copy_note_sink(sink, -EEXIST, text);
		message_say("sink %s: %s", sink->spec, sink->error);
		return CLI_SINK;
	}
	copy_note_sink(sink, -EEXIST, "differs from the source, so it cannot be continued");
	message_say("sink %s: at byte %lld: %s", sink->spec, (long long)at, sink->error);
	return CLI_SINK;
}

/* Go on behind what the sink has, if it equals the beginning of the source. */
static int seek_resume(struct copy *copy)
{
	struct copy_sink *sink = &copy->sinks[0];
	struct usp_file *written = sink->file;
	enum resume_result result;
	int code = CLI_DONE;
	int64_t have;

	if (sink->is_inherited)
		code = seek_reopen(copy, sink, &written);
	if (code != CLI_DONE)
		return code;
	result = resume_compare(copy->source, copy->source_start, written, copy->count, &copy->watch, &have);
	if (written != sink->file)
		usp_file_put(written);
	if (result != RESUME_SAME)
		return seek_resume_failed(copy, sink, result, have);
	copy->source_start = usp_file_seek(copy->source, copy->source_start + have, SEEK_SET);
	usp_file_seek(sink->file, have, SEEK_SET); /* for a file that appends this changes nothing */
	sink->start = have;
	copy->resumed = have;
	if (copy->count >= 0)
		copy->count -= have;
	return CLI_DONE;
}

/* --- The last step -------------------------------------------------------------------------------------- */

/*
 * Cut an old file. An inherited file was cut, or not, by the process that opened it. Where the pump
 * may refuse the run, the file is cut after the run, behind the new bytes.
 */
static int seek_truncate(struct copy *copy, struct copy_sink *sink)
{
	const struct copy_request *request = copy->request;

	if (request->append || request->resume || request->seek >= 0 || sink->atomic || sink->is_inherited)
		return CLI_DONE;
	/* A size of 0 may be wrong. */
	if (!S_ISREG(sink->object.st_mode) || sink->is_new || usp_file_flags(sink->file) & USP_APPEND)
		return CLI_DONE;
	sink->is_cut_late = request->require_zero_copy || request->lane == USP_LANE_KERNEL;
	if (!sink->is_cut_late && ftruncate(usp_file_fd(sink->file), 0) < 0)
		return copy_sink_failed(copy, sink, -errno, NULL);
	return CLI_DONE;
}

int copy_seek(struct copy *copy)
{
	int code = CLI_DONE;
	unsigned i;

	if (copy->source_number != COPY_NO_NUMBER)
		copy->source_was = usp_file_seek(copy->source, 0, SEEK_CUR);
	for (i = 0; i < copy->request->nr_sinks && code == CLI_DONE; i++) {
		if (copy->sinks[i].is_inherited)
			copy->sinks[i].was = usp_file_seek(copy->sinks[i].file, 0, SEEK_CUR);
		code = seek_sink(copy, &copy->sinks[i]);
	}
	if (code == CLI_DONE)
		code = seek_skip(copy);
	if (code == CLI_DONE) {
		copy_size_stop(copy);
		code = copy_framed_open_sinks(copy, copy_size_total(copy));
	}
	if (code == CLI_DONE)
		code = copy_size_check_room(copy);
	if (code == CLI_DONE && copy->request->resume)
		code = copy_framed_resumes(copy) ? copy_framed_resume(copy) : seek_resume(copy);
	for (i = 0; i < copy->request->nr_sinks && code == CLI_DONE; i++)
		code = seek_truncate(copy, &copy->sinks[i]);
	if (code == CLI_DONE)
		copy->total = copy_size_total(copy);
	return code;
}
