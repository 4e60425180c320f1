/* SPDX-License-Identifier: MIT */
/* explain_ends - open the ends of a route so that nobody sees it: files without a name stand in for files. */
#include "cli.h"
#include "copy_framed.h"
#include "explain.h"
#include "host_port.h"
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <usplice/framed.h>
#include <usplice/spec.h>

/* --- Stand-ins -------------------------------------------------------------------------------------------------- */

/* Give the stand-in what a file on btrfs may have from chattr(1): with +C it shares no blocks. */
static void explain_copy_attributes(const char *path, int stand_in)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), wanted = 0, own = 0;

	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &wanted) == 0 && ioctl(stand_in, FS_IOC_GETFLAGS, &own) == 0 &&
	    (wanted ^ own) & FS_NOCOW_FL) {
		own ^= FS_NOCOW_FL;
		ioctl(stand_in, FS_IOC_SETFLAGS, &own);
	}
	if (fd >= 0)
		close(fd);
}

/* Return the folder of a path, with the slash behind it, to be freed; and where the name begins. */
static char *explain_split(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');

	*ret_name = slash ? slash + 1 : path;
	return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

/* Open a file without a name in a folder, on the file system of a file that it stands in for, if there is one. */
static struct usp_file *explain_open_unnamed(const char *folder, const struct stat *like, const char *name)
{
	struct usp_file *file = NULL;
	struct stat st;
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return NULL;
	if ((like && (fstat(fd, &st) < 0 || st.st_dev != like->st_dev)) ||
	    usp_open_fd(fd, USP_WRITE | USP_EXCLUSIVE, name, &file) < 0)
		close(fd);
	return file;
}

/*
 * Open a stand-in for a regular file, or for one that a copy would make. NULL if the path is neither, or if there
 * can be none. *ret_error: a copy could not write there.
 */
static struct usp_file *explain_stand_in(const char *path, const char *name, int *ret_error)
{
	char *real = realpath(path, NULL), *folder;
	struct usp_file *file = NULL;
	struct stat st, link;
	const char *last;

	*ret_error = 0;
	if (real ? stat(real, &st) < 0 || !S_ISREG(st.st_mode) : errno != ENOENT) {
		free(real);
		return NULL;
	}
	if (real && access(real, W_OK) < 0)
		*ret_error = errno;
	else if (!real && lstat(path, &link) == 0)
		*ret_error = ENOENT; /* a link that leads nowhere: a copy makes no file through it */
	folder = explain_split(real ? real : path, &last);
	if (folder && *ret_error == 0)
		file = explain_open_unnamed(folder, real ? &st : NULL, name);
	if (file && real)
		explain_copy_attributes(real, usp_file_fd(file));
	if (!file && !real && *ret_error == 0)
		*ret_error = errno;
	free(folder);
	free(real);
	return file;
}

/* Open a sink: the exit code. *ret_is_safe: a sample may be written to it. */
static int explain_open_sink(const char *text, struct usp_file **ret_file, bool *ret_is_safe)
{
	struct usp_spec *spec;
	const char *why;
	int error = 0, code;

	*ret_is_safe = true;
	if (usp_spec_parse(text, &spec, &why) == 0) {
		if (usp_spec_path(spec) && usp_spec_nr_options(spec) == 0)
			*ret_file = explain_stand_in(usp_spec_path(spec), text, &error);
		usp_spec_free(spec);
	}
	if (error) {
		message_say("sink %s: %s", text, strerror(error));
		return CLI_SINK;
	}
	if (*ret_file)
		return CLI_DONE;
	code = probe_open(text, USP_WRITE, true, ret_file);
	*ret_is_safe = code == CLI_DONE && (strcmp(usp_file_type(*ret_file), "null") == 0 ||
					    strcmp(usp_file_type(*ret_file), "memory") == 0);
	return code;
}

/* Tell whether the bytes of a regular file are stored. Those that the kernel makes may be there only once. */
static bool explain_is_stored(const struct usp_file *source)
{
	static const long generated[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, DEBUGFS_MAGIC, SECURITYFS_MAGIC};
	struct statfs fs;
	size_t i;

	if (fstatfs(usp_file_fd(source), &fs) < 0)
		return false;
	for (i = 0; i < sizeof(generated) / sizeof(generated[0]); i++) {
		if ((long)fs.f_type == generated[i])
			return false;
	}
	return true;
}

/* Tell whether bytes can be read from the source so that nobody misses them. */
static bool explain_can_read(const struct copy_request *request, const struct usp_file *source)
{
	static const char *const types[] = {"regular", "block", "cached", "memory", "zero", "null"};
	struct usp_spec *spec;
	const char *why;
	bool is_own = false;
	size_t i;

	if (usp_spec_parse(request->source, &spec, &why) == 0) {
		is_own = usp_spec_descriptor(spec, USP_READ) < 0;
		usp_spec_free(spec);
	}
	for (i = 0; is_own && i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(usp_file_type(source), types[i]) == 0)
			return usp_file_fd(source) < 0 || explain_is_stored(source);
	}
	return false;
}

/* Look at the object that a spec names, by its path or descriptor, or that a cache is over; st_mode is 0 if there is none. */
static struct stat explain_look(const char *text, unsigned side)
{
	struct stat st = {.st_mode = 0};
	struct usp_spec *spec;
	const char *why;

	if (usp_spec_parse(text, &spec, &why) < 0)
		return st;
	if (strcmp(usp_spec_scheme(spec), "cached") == 0)
		st = explain_look(usp_spec_address(spec), side);
	else if ((usp_spec_path(spec) ? stat(usp_spec_path(spec), &st) : fstat(usp_spec_descriptor(spec, side), &st)) <
		 0)
		st.st_mode = 0;
	usp_spec_free(spec);
	return st;
}

/* Tell whether two paths where nothing is yet name one new file. */
static bool explain_is_same_name(const char *a, const char *b)
{
	const char *names[] = {a, b};
	struct stat folders[2];
	int i;

	for (i = 0; i < 2; i++) {
		char *folder = explain_split(names[i], &names[i]);

		if (!folder || stat(folder, &folders[i]) < 0)
			folders[i].st_ino = 0;
		free(folder);
	}
	return folders[0].st_ino && folders[0].st_ino == folders[1].st_ino && folders[0].st_dev == folders[1].st_dev &&
	       strcmp(names[0], names[1]) == 0;
}

/* Tell whether two sinks are one object, or one new file. */
static bool explain_is_same_sink(const char *a, const char *b)
{
	struct stat of_a = explain_look(a, USP_WRITE), of_b = explain_look(b, USP_WRITE);
	struct usp_spec *specs[2] = {NULL, NULL};
	const char *why;
	bool is_same = usp_copy_is_same(&of_a, &of_b);

	if (of_a.st_mode == 0 && of_b.st_mode == 0 && usp_spec_parse(a, &specs[0], &why) == 0 &&
	    usp_spec_parse(b, &specs[1], &why) == 0 && usp_spec_path(specs[0]) && usp_spec_path(specs[1]))
		is_same = explain_is_same_name(usp_spec_path(specs[0]), usp_spec_path(specs[1]));
	usp_spec_free(specs[0]);
	usp_spec_free(specs[1]);
	return is_same;
}

/* Refuse what a copy refuses: an object that is both source and sink, or two sinks. */
static int explain_check_same(const struct copy_request *request)
{
	struct stat source = explain_look(request->source, USP_READ), sink;
	unsigned i, j;

	for (i = 0; i < request->nr_sinks; i++) {
		sink = explain_look(request->sinks[i], USP_WRITE);
		if (usp_copy_is_same(&source, &sink))
			return copy_usage("sink", request->sinks[i], "is the same file as the source");
		for (j = 0; j < i; j++) {
			if (explain_is_same_sink(request->sinks[j], request->sinks[i]))
				return copy_usage("sink", request->sinks[i], "is given twice");
		}
	}
	return CLI_DONE;
}

/* --- Frames ----------------------------------------------------------------------------------------------------- */

/* Note what an end is named by, as a copy does. */
static void explain_name(const char *text, unsigned side, struct usp_spec **ret_name, int *ret_number)
{
	const char *why;

	if (usp_spec_parse(text, ret_name, &why) < 0)
		*ret_name = NULL;
	*ret_number = copy_inherited(*ret_name, side);
}

/* Find the ends that a copy would frame: an exit code. Those of a source are its sender's. */
static int explain_choose_framed(struct explanation *explanation)
{
	const struct copy_request *request = &explanation->request->copy;
	struct copy copy = {.request = request, .sinks = calloc(request->nr_sinks, sizeof(copy.sinks[0]))};
	int code = copy.sinks ? CLI_DONE : CLI_FAILED;
	unsigned i;

	explain_name(request->source, USP_READ, &copy.source_name, &copy.source_number);
	for (i = 0; i < request->nr_sinks && code == CLI_DONE; i++)
		explain_name(request->sinks[i], USP_WRITE, &copy.sinks[i].name, &copy.sinks[i].number);
	if (code == CLI_DONE)
		code = copy_framed_choose(&copy);
	if (code == CLI_DONE && copy.is_unframed)
		code = copy_usage(
			"source", request->source,
			"comes in frames, whose digest the sender chooses: how they travel is known when they come");
	for (i = 0; copy.sinks && i < request->nr_sinks; i++) {
		explanation->is_framed[i] = copy.sinks[i].is_framed;
		usp_spec_free(copy.sinks[i].name);
	}
	usp_spec_free(copy.source_name);
	free(copy.sinks);
	return code;
}

/* Put frames over a sink: an exit code. Nothing is asked of its peer. */
static int explain_put_frames(const struct explanation *explanation, unsigned index)
{
	const struct copy_request *request = &explanation->request->copy;
	const struct usp_framed_params params = {
		.size = sizeof(params), .digest = request->frame_digest, .expected = -1};
	struct usp_file **sink = &explanation->sinks[index];
	const char *why = NULL;
	int error = explanation->is_framed[index] ? usp_framed_open(*sink, USP_WRITE, &params, sink, &why) : 0;

	if (error == 0)
		return CLI_DONE;
	message_say("sink %s: %s", request->sinks[index], why ? why : strerror(-error));
	return CLI_SINK;
}

/* --- Both ends -------------------------------------------------------------------------------------------------- */

int explain_check_ends(struct explanation *explanation)
{
	const struct copy_request *request = &explanation->request->copy;
	int code = host_port_check(request->source, request->sinks, request->nr_sinks);

	if (code == CLI_DONE)
		code = explain_choose_framed(explanation);
	return code == CLI_DONE ? explain_check_same(request) : code;
}

int explain_open(struct explanation *explanation)
{
	const struct copy_request *request = &explanation->request->copy;
	bool is_safe, all_safe = true;
	int code = probe_open(request->source, USP_READ, false, &explanation->source);
	unsigned i;

	for (i = 0; i < request->nr_sinks && code == CLI_DONE; i++) {
		code = explain_open_sink(request->sinks[i], &explanation->sinks[i], &is_safe);
		all_safe = all_safe && is_safe;
		if (code == CLI_DONE)
			code = explain_put_frames(explanation, i);
	}
	if (code != CLI_DONE)
		return code;
	if (explanation->request->sample == 0)
		explanation->why_no_sample = "none was asked for";
	else if (strcmp(usp_file_type(explanation->source), "regular") == 0 && usp_file_size(explanation->source) <= 0)
		explanation->why_no_sample = "the source is empty, or does not tell its size";
	else if (!explain_can_read(request, explanation->source))
		explanation->why_no_sample = "what is read from this source is missing afterwards";
	else if (!all_safe)
		explanation->why_no_sample = "a sink would take the bytes for the real ones";
	return CLI_DONE;
}
