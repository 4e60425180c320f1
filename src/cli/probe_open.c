/* SPDX-License-Identifier: MIT */
/* probe_open - open one end that `usplice probe` is asked about, without a trace. */
#include "cli.h"
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <usplice/spec.h>

/* Return the exit code for an end that cannot be opened. */
static int probe_side(unsigned mode)
{
	return mode == USP_READ ? CLI_SOURCE : CLI_SINK;
}

/* Tell what a spec names on a disk: the type bits of its path, or 0. */
static mode_t probe_path_type(const struct usp_spec *spec)
{
	struct stat st;

	if (strcmp(usp_spec_scheme(spec), "exec") == 0)
		return S_IFIFO; /* the command is connected by a pipe, and is not run */
	return usp_spec_path(spec) && stat(usp_spec_path(spec), &st) == 0 ? st.st_mode & S_IFMT : 0;
}

/* A pipe without a name stands in for a FIFO: to open one wakes, or ends, whoever waits at its other end. */
static struct usp_file *probe_open_fifo(const char *text, unsigned mode)
{
	struct usp_file *file = NULL;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0) {
		message_say("no pipe to stand in for %s: %s", text, strerror(errno));
		return NULL;
	}
	if (usp_open_fd(fds[mode == USP_WRITE], mode | USP_EXCLUSIVE, text, &file) < 0)
		close(fds[mode == USP_WRITE]);
	close(fds[mode != USP_WRITE]);
	return file;
}

/*
 * Open what is not a FIFO. A file on a disk is only read, even if it is asked about as a sink. The exit code, after
 * saying why not: as for a copy, a spec that does not parse is the mistake of the user.
 */
static int probe_open_spec(const char *text, unsigned mode, struct usp_file **ret_file)
{
	const struct usp_open_params params = {
		.size = sizeof(params), .mode = mode, .no_create = true, .keep_bytes = true};
	const char *why = NULL;
	int error = usp_open(text, &params, ret_file, &why);

	if (error == 0)
		return CLI_DONE;
	message_say("%s %s: %s%s%s", mode == USP_READ ? "source" : "sink", text, strerror(-error), why ? ": " : "",
		    why ? why : "");
	return error == -EINVAL && why ? CLI_USAGE : probe_side(mode);
}

/* Open a duplicate: the answer may have to go to that very descriptor. NULL if it cannot be used. */
static struct usp_file *probe_open_number(int number, const char *text, unsigned mode)
{
	int fd = fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	struct usp_file *file = NULL;

	if (fd >= 0 && usp_open_fd(fd, mode, text, &file) < 0)
		close(fd);
	return file;
}

int probe_open(const char *text, unsigned mode, bool must_write, struct usp_file **ret_file)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	struct usp_file *file = NULL;
	struct usp_spec *spec;
	const char *why;
	mode_t type;
	int number;

	if (usp_spec_parse(text, &spec, &why) < 0)
		return probe_open_spec(text, mode, ret_file);
	type = probe_path_type(spec);
	if (strstr(usp_spec_scheme(spec), "-listen")) {
		message_say("%s waits for a client; ask about a connection instead", text);
		usp_spec_free(spec);
		return probe_side(mode);
	}
	number = usp_spec_descriptor(spec, mode);
	usp_spec_free(spec);
	if (type == S_IFIFO)
		file = probe_open_fifo(text, mode);
	else if (number >= 0)
		file = probe_open_number(number, text, mode);
	else if (mode == USP_WRITE && !must_write && (type == S_IFREG || type == S_IFBLK))
		usp_open(text, &to_read, &file, NULL);
	if (!file)
		return type == S_IFIFO ? probe_side(mode) : probe_open_spec(text, mode, ret_file);
	*ret_file = file;
	return CLI_DONE;
}
