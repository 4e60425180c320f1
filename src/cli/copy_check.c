/* SPDX-License-Identifier: MIT */
/*
 * copy_check - refuse what cannot be done as requested, while nothing is changed yet.
 *
 * At this point nothing has been made, connected or cut. A sink is in one of three states: open;
 * NULL with a peer, which makes it a stream; or NULL without a peer, which will be a new regular
 * file.
 */
#include "atomic.h"
#include "cli.h"
#include "copy.h"
#include "copy_size.h"
#include "copy_sources.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- The same object twice ---------------------------------------------------------------------------- */

bool copy_is_same_socket(const struct stat *a, const struct stat *b)
{
	return S_ISSOCK(a->st_mode) && S_ISSOCK(b->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool copy_is_spoken_into(const struct copy_sink *sink, const struct stat *errors)
{
	return usp_copy_is_same(errors, &sink->object) || copy_is_same_socket(errors, &sink->object);
}

bool copy_speaks_into_data(const struct copy *copy)
{
	struct stat errors;
	unsigned i;

	for (i = 0; fstat(STDERR_FILENO, &errors) == 0 && i < copy->request->nr_sinks; i++) {
		if (copy_is_spoken_into(&copy->sinks[i], &errors))
			return true;
	}
	return false;
}

/* Tell whether two sinks are one descriptor. One descriptor is one sink, of whatever kind. */
static bool check_is_same_number(const struct copy_sink *a, const struct copy_sink *b)
{
	return a->number >= 0 && a->number == b->number;
}

static bool check_is_same_sink(const struct copy_sink *a, const struct copy_sink *b)
{
	if (a->atomic && b->atomic)
		return atomic_is_same(a->atomic, b->atomic);
	return usp_copy_is_same(&a->object, &b->object) || copy_is_same_socket(&a->object, &b->object) ||
	       check_is_same_number(a, b);
}

int copy_check_same(struct copy *copy)
{
	unsigned i, j;
	struct stat report;

	if (copy->report_fd < 0 || fstat(copy->report_fd, &report) < 0)
		report = (struct stat){.st_mode = 0};
	if (copy_sources_find(copy, &report))
		return copy_usage("source", copy_sources_find(copy, &report), "is also the file of the report");
	for (i = 0; i < copy->request->nr_sinks; i++) {
		const struct copy_sink *sink = &copy->sinks[i];

		if (copy_sources_find(copy, &sink->object))
			return copy_usage("sink", sink->spec, "is the same file as the source");
		if (usp_copy_is_same(&report, &sink->object))
			return copy_usage("sink", sink->spec, "is also the file of the report");
		for (j = 0; j < i; j++) {
			if (check_is_same_sink(&copy->sinks[j], sink))
				return copy_usage("sink", sink->spec, "is given twice");
		}
	}
	return CLI_DONE;
}

/* --- Options that cannot be honoured ------------------------------------------------------------------ */

static int check_seek(const struct copy_sink *sink)
{
	if (sink->file && usp_file_flags(sink->file) & USP_APPEND)
		return copy_usage("sink", sink->spec, "appends, so --seek is not possible");
	if (sink->has_peer || (sink->file && usp_file_seek(sink->file, 0, SEEK_CUR) == -ESPIPE))
		return copy_usage("sink", sink->spec, "has no positions, so --seek is not possible");
	return CLI_DONE;
}

/* Check --resume. A new file is empty, and so it matches any source. */
static int check_resume(const struct copy *copy)
{
	const struct copy_sink *sink = &copy->sinks[0];

	if (copy->is_unframed && (copy->request->skip > 0 || copy->request->count >= 0))
		return copy_usage("source", copy->request->source,
				  "is continued as a whole, so --resume excludes --skip and --count");
	if (copy->is_unframed && (copy->request->digests.nr > 0 || sink->is_inherited || sink->is_framed))
		return copy_usage(
			"source", copy->request->source,
			"comes in frames, so --resume is possible only into a file that the command opens, and without digests");
	if (!copy->is_unframed && !S_ISREG(copy->source_object.st_mode))
		return copy_usage("source", copy->request->source,
				  "is not a regular file, so --resume is not possible");
	if (!sink->is_framed && (sink->has_peer || (sink->file && !S_ISREG(sink->object.st_mode))))
		return copy_usage("sink", sink->spec, "is not a regular file, so --resume is not possible");
	return CLI_DONE;
}

/* Check --verify-written. A new file is a regular one. */
static int check_read_back(const struct copy_sink *sink)
{
	if (sink->has_peer || (sink->file && !S_ISREG(sink->object.st_mode) && !S_ISBLK(sink->object.st_mode)))
		return copy_usage("sink", sink->spec,
				  "is no regular file and no block device, so --verify-written is not possible");
	return CLI_DONE;
}

/*
 * Tell whether a sink can be given up when it is slow. A write to a disk cannot be taken back, and
 * what has no descriptor is never slow.
 */
static bool check_may_be_slow(const struct copy_sink *sink)
{
	mode_t type = sink->object.st_mode & S_IFMT;

	return sink->has_peer || (sink->file && type != 0 && type != S_IFREG && type != S_IFBLK);
}

static int check_slow(const struct copy *copy)
{
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (check_may_be_slow(&copy->sinks[i]))
			return CLI_DONE;
	}
	return copy_usage("option", "--on-slow", "a file is never given up, and there is no other sink");
}

/* Tell whether this has a page cache. A new file is a regular one. */
static bool check_is_cached(const struct copy_sink *sink)
{
	return !sink->has_peer && (!sink->file || S_ISREG(sink->object.st_mode) || S_ISBLK(sink->object.st_mode));
}

static int check_drop_cache(const struct copy *copy)
{
	unsigned i;

	if (S_ISREG(copy->source_object.st_mode) || S_ISBLK(copy->source_object.st_mode))
		return CLI_DONE;
	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (check_is_cached(&copy->sinks[i]))
			return CLI_DONE;
	}
	return copy_usage("option", "--drop-cache", "neither the source nor a sink is a file or a block device");
}

/* A ring belongs to the program that opens it. This one fills none, and looks at none. */
static int check_rings(const struct copy *copy)
{
	unsigned i;

	if (copy->source && usp_ring_memory(copy->source, NULL, NULL, NULL) == 0)
		return copy_usage("source", copy->request->source, "is " COPY_RING_WHY);
	for (i = 0; i < copy->request->nr_sinks; i++) {
		const struct copy_sink *sink = &copy->sinks[i];

		if (sink->file && usp_ring_memory(sink->file, NULL, NULL, NULL) == 0 &&
		    !usp_spec_option(sink->name, "drop"))
			return copy_usage("sink", sink->spec, "is a new ring, whose pages no program takes: add ,drop");
	}
	return CLI_DONE;
}

int copy_check_options(struct copy *copy)
{
	const struct copy_request *request = copy->request;
	int code = check_rings(copy);
	unsigned i;

	if (code == CLI_DONE && request->slow_ns > 0)
		code = check_slow(copy);

	for (i = 0; i < request->nr_sinks && code == CLI_DONE; i++) {
		if (request->seek >= 0)
			code = check_seek(&copy->sinks[i]);
		if (request->verify_written && code == CLI_DONE)
			code = check_read_back(&copy->sinks[i]);
	}
	if (code == CLI_DONE && request->preserve &&
	    (!S_ISREG(copy->source_object.st_mode) || !copy->source || usp_file_fd(copy->source) < 0))
		code = copy_usage("source", request->source, "is not a regular file, so it has nothing to preserve");
	if (code == CLI_DONE)
		code = copy_size_check_source(copy);
	if (code == CLI_DONE && request->drop_cache)
		code = check_drop_cache(copy);
	return code == CLI_DONE && request->resume ? check_resume(copy) : code;
}
