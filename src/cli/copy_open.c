/* SPDX-License-Identifier: MIT */
/*
 * copy_open - opens the endpoints of a copy, and sees that none of them is there twice.
 *
 * The order is what keeps data safe: everything is opened without touching a byte, then what was opened is compared (is the
 * source also a destination?), and only when all is in its place are old files cut to nothing.
 */
#include "atomic.h"
#include "cli.h"
#include "copy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPEN_LINK_MAX 64

/* --- Opening ------------------------------------------------------------------------------------------ */

/* All zero for what has no descriptor. */
static void open_look(struct usp_file *file, struct stat *ret_object)
{
	int fd = usp_file_fd(file);

	if (fd < 0 || fstat(fd, ret_object) < 0)
		memset(ret_object, 0, sizeof(*ret_object));
}

static int open_source(struct copy *copy)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	const char *why = NULL;
	int error;

	copy->opening = copy->request->source;
	error = usp_open(copy->request->source, &params, &copy->source, &why);
	if (error < 0)
		return copy_source_failed(copy, error, why);
	open_look(copy->source, &copy->source_object);
	return CLI_DONE;
}

/* A new file gets the permissions that cp(1) would give it, below the umask. */
static mode_t open_mode(const struct copy *copy)
{
	return S_ISREG(copy->source_object.st_mode) ? copy->source_object.st_mode & 0777 : 0666;
}

static int open_atomic(struct copy *copy, struct copy_sink *sink)
{
	const char *why = NULL;
	struct stat old;
	int fd, error;

	error = atomic_open(sink->spec, open_mode(copy), &sink->atomic, &fd, &old, &why);
	if (error < 0)
		return copy_sink_failed(copy, sink, error, why);
	error = usp_open_fd(fd, USP_WRITE | USP_EXCLUSIVE, sink->spec, &sink->file);
	if (error < 0) {
		close(fd);
		return copy_sink_failed(copy, sink, error, NULL);
	}
	sink->object = old;
	return CLI_DONE;
}

/* First without making it: that tells whether it is ours to remove when the copy does not even begin. */
static int open_sink(struct copy *copy, struct copy_sink *sink)
{
	struct usp_open_params params = {
		.size = sizeof(params), .mode = USP_WRITE, .no_create = true, .keep_bytes = true};
	const char *why = NULL;
	int error;

	copy->opening = sink->spec;
	if (copy->request->atomic)
		return open_atomic(copy, sink);
	error = usp_open(sink->spec, &params, &sink->file, &why);
	if (error == -ENOENT && !why) {
		params.no_create = false;
		params.creat_mode = (int)(open_mode(copy) | S_IFREG); /* not 0, which would mean 0666 */
		error = usp_open(sink->spec, &params, &sink->file, &why);
		sink->is_new = error == 0;
	}
	if (error < 0)
		return copy_sink_failed(copy, sink, error, why);
	open_look(sink->file, &sink->object);
	return CLI_DONE;
}

/* --- The same object twice ---------------------------------------------------------------------------- */

static bool open_is_same(const struct stat *a, const struct stat *b)
{
	if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT))
		return false;
	if (S_ISBLK(a->st_mode))
		return a->st_rdev == b->st_rdev;
	return (S_ISREG(a->st_mode) || S_ISFIFO(a->st_mode)) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool open_is_same_sink(const struct copy_sink *a, const struct copy_sink *b)
{
	if (a->atomic && b->atomic)
		return atomic_is_same(a->atomic, b->atomic);
	return open_is_same(&a->object, &b->object);
}

static int open_check_same(struct copy *copy)
{
	unsigned i, j;
	struct stat report;

	if (copy->report_fd < 0 || fstat(copy->report_fd, &report) < 0)
		report = (struct stat){.st_mode = 0};
	if (open_is_same(&copy->source_object, &report))
		return copy_usage("source", copy->request->source, "is also the file of the report");
	for (i = 0; i < copy->request->nr_sinks; i++) {
		const struct copy_sink *sink = &copy->sinks[i];

		if (open_is_same(&copy->source_object, &sink->object))
			return copy_usage("sink", sink->spec, "is the same file as the source");
		if (open_is_same(&report, &sink->object))
			return copy_usage("sink", sink->spec, "is also the file of the report");
		for (j = 0; j < i; j++) {
			if (open_is_same_sink(&copy->sinks[j], sink))
				return copy_usage("sink", sink->spec, "is given twice");
		}
	}
	return CLI_DONE;
}

/* --- All of it -------------------------------------------------------------------------------------- */

static int open_all(struct copy *copy)
{
	int code = open_source(copy);
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks && code == CLI_DONE; i++)
		code = open_sink(copy, &copy->sinks[i]);
	copy->opening = NULL;
	return code == CLI_DONE ? open_check_same(copy) : code;
}

/* A file that was made and will not be written is taken away again. */
static void open_remove_new(const struct copy_sink *sink)
{
	char link[OPEN_LINK_MAX], path[4096];
	struct stat there;
	ssize_t len;

	if (!sink->is_new || !sink->file || !S_ISREG(sink->object.st_mode))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", usp_file_fd(sink->file));
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return;
	path[len] = '\0';
	if (lstat(path, &there) == 0 && open_is_same(&there, &sink->object) && there.st_size == 0)
		unlink(path);
}

void copy_remove_new(const struct copy *copy)
{
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks; i++)
		open_remove_new(&copy->sinks[i]);
}

int copy_open(struct copy *copy)
{
	int code = open_all(copy);

	if (code == CLI_DONE)
		code = copy_place(copy);
	if (code != CLI_DONE)
		copy_remove_new(copy);
	return code;
}
