/* SPDX-License-Identifier: MIT */
/* copy_size - how many bytes a copy will have, as far as that is known before the first one moves. */
#include "copy_size.h"
#include "cli.h"
#include "copy.h"
#include "copy_sources.h"

#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>

/* --- What the source has --------------------------------------------------------------------------------- */

/* Tell whether a size of 0 is no size: a file of /proc or /sys, whose file system has no blocks. */
static bool size_is_unknown(const struct copy *copy)
{
	struct statvfs fs;
	int fd = usp_file_fd(copy->source);

	return fd < 0 || fstatvfs(fd, &fs) < 0 || fs.f_blocks == 0;
}

/*
 * Return the bytes from the position of the only source to its end, or -1 for a stream and for files that do not
 * know.
 */
static int64_t size_of_source(const struct copy *copy)
{
	int64_t at, end;

	if (!copy->source || !(S_ISREG(copy->source_object.st_mode) || S_ISBLK(copy->source_object.st_mode)))
		return -1;
	at = usp_file_seek(copy->source, 0, SEEK_CUR);
	end = usp_file_size(copy->source);
	if (at < 0 || end < 0 || (end == 0 && size_is_unknown(copy)))
		return -1;
	return end > at ? end - at : 0;
}

/* Return the same of all sources, less what --skip reads and throws away. */
static int64_t size_left(const struct copy *copy)
{
	int64_t total = copy->sources ? copy_sources_total(copy) : -1;

	if (!copy->sources)
		return size_of_source(copy);
	return total < 0 ? -1 : total > copy->to_skip ? total - copy->to_skip : 0;
}

/* Return what will come of a source whose bytes no stage rewrites, at most count. -1: not known. */
static int64_t size_to_come(const struct copy *copy)
{
	int64_t left = size_left(copy), seen = copy->resumed + copy->to_skip;

	if (stages_are_asked_for(&copy->request->stages))
		return -1;
	if (left < 0 && copy->expected > seen)
		left = copy->expected - seen; /* a framed source has told it */
	return left >= 0 && copy->count >= 0 && copy->count < left ? copy->count : left;
}

int64_t copy_size_total(const struct copy *copy)
{
	int64_t come = size_to_come(copy);

	if (copy->request->size >= 0)
		return copy->request->size;
	if (stages_encode(&copy->request->stages))
		return -1;
	return come < 0 ? copy->count : come;
}

/* --- Stopping there ------------------------------------------------------------------------------------- */

const char *copy_size_check(const struct copy_request *request)
{
	if (request->stop_at_size && request->size < 0 && request->nr_sources > 1)
		return "--stop-at-size takes one source, or --size";
	if (request->stop_at_size && request->size < 0 && stages_decode(&request->stages))
		return "--stop-at-size does not know how many bytes come out of --decrypt and --decompress: give --size";
	return NULL;
}

int copy_size_check_source(const struct copy *copy)
{
	if (!copy->request->stop_at_size || copy->request->size >= 0 || size_left(copy) >= 0)
		return CLI_DONE;
	return copy_usage("source", copy->source_spec, "does not tell its size, so --stop-at-size needs --size");
}

void copy_size_stop(struct copy *copy)
{
	int64_t size = copy->request->size >= 0 ? copy->request->size : size_left(copy);

	if (copy->request->stop_at_size && size >= 0 && (copy->count < 0 || size < copy->count)) {
		copy->count = size;
		copy->wants_count = true;
	}
}

/* --- Room for it ---------------------------------------------------------------------------------------- */

static int size_check_sink(const struct copy *copy, struct copy_sink *sink, int64_t come)
{
	int64_t size = S_ISBLK(sink->object.st_mode) ? usp_file_size(sink->file) : -1, room = size - sink->start;
	char text[COPY_ERROR_MAX];

	if (size < 0 || come <= room)
		return CLI_DONE;
	snprintf(text, sizeof(text), "has room for %lld bytes, and %lld would come", (long long)(room > 0 ? room : 0),
		 (long long)come);
	message_say("sink %s: %s", sink->spec, text);
	if (copy->request->continue_on_error)
		return CLI_DONE;
	copy_note_sink(sink, -ENOSPC, text);
	return CLI_SINK;
}

int copy_size_check_room(struct copy *copy)
{
	int64_t come = size_to_come(copy);
	int code = CLI_DONE;
	unsigned i;

	for (i = 0; come >= 0 && i < copy->request->nr_sinks && code == CLI_DONE; i++)
		code = size_check_sink(copy, &copy->sinks[i], come);
	return code;
}
