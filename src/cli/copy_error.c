/* SPDX-License-Identifier: MIT */
/* copy_error - say why an endpoint cannot be used, and choose the exit code. */
#include "cli.h"
#include "copy.h"
#include "standard.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <usplice/framed.h>

#define ERROR_PATH_MAX 100 /* two of them fit into the message */

/* Tell whether the text of an error needs the sentence, because it says little by itself. */
static bool error_needs_why(int error)
{
	return error == -EINVAL || error == -EHOSTUNREACH || error == -EBADF || error == -ENXIO || error == -ESTALE ||
	       error == -EBADMSG || error == -ENOKEY;
}

static void error_text(char text[COPY_ERROR_MAX], int error, const char *why)
{
	if (!why)
		snprintf(text, COPY_ERROR_MAX, "%s", strerror(-error));
	else if (error_needs_why(error))
		snprintf(text, COPY_ERROR_MAX, "%s", why);
	else
		snprintf(text, COPY_ERROR_MAX, "%s (%s)", strerror(-error), why);
}

/* Return the exit code of the signal that interrupted, after saying so, or 0. */
static int error_is_signal(const struct copy *copy, int error)
{
	int signo = watch_signo(&copy->watch);

	if (error != -EINTR || signo == 0)
		return 0;
	message_say("stopped by signal %d (%s) before anything was copied", signo, strsignal(signo));
	return CLI_SIGNAL + signo;
}

/* Choose the exit code: a spec that does not parse is the caller's mistake, and not the endpoint's. */
static int error_blame(int error, const char *why, int side)
{
	return error == -EINVAL && why ? CLI_USAGE : side;
}

/* Tell whether a shell takes a name as it is. */
static bool error_is_plain(const char *name)
{
	return name && name[0] != '-' && strlen(name) < ERROR_PATH_MAX &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:@%+,=-")] == '\0';
}

/* Suggest an archive: a directory cannot be a source, but tar(1) writes all that is in it. */
static void error_tar(const struct copy *copy, char text[COPY_ERROR_MAX])
{
	const char *folder = copy_path(copy->source_name), *sink = copy->request->sinks[0];

	if (folder)
		snprintf(text, COPY_ERROR_MAX, "%s (to copy all that is in it: tar -c %s | usplice copy - %s)",
			 strerror(EISDIR), error_is_plain(folder) ? folder : "DIRECTORY",
			 error_is_plain(sink) ? sink : "SINK");
}

/* Compose what an error of the source means. What came in frames, or a command, says it best. */
static void error_source_text(const struct copy *copy, int error, const char *why, char text[COPY_ERROR_MAX])
{
	const char *told = copy->source ? usp_framed_failure(copy->source) : NULL;

	if (told)
		snprintf(text, COPY_ERROR_MAX, "%s", told);
	else if (why || !copy_command_text(&copy->source_command, error, text, COPY_ERROR_MAX))
		error_text(text, error, why);
	if (error == -EISDIR)
		error_tar(copy, text);
}

int copy_source_failed(struct copy *copy, int error, const char *why)
{
	int code = error_is_signal(copy, error);
	char text[COPY_ERROR_MAX];

	if (code != 0)
		return code;
	if (error == -EBADF && strcmp(copy->source_spec, "-") == 0)
		why = standard_was_closed(STDIN_FILENO) ? "standard input is closed"
							: "standard input is not open for reading";
	copy->source_error = error;
	error_source_text(copy, error, why, text);
	copy_note_source(copy, "%s", text);
	message_say("source %s: %s", copy->source_spec, text);
	return error_blame(error, why, CLI_SOURCE);
}

/*
 * Suggest a name in a directory: the directory cannot be a sink, but a file in it with the source's
 * name can.
 */
static void error_name_in_folder(const struct copy *copy, struct copy_sink *sink)
{
	const char *folder = copy_path(sink->name), *source = copy_path(copy->source_name);
	const char *name = "NAME", *slash;

	if (!folder || strlen(folder) >= ERROR_PATH_MAX)
		return;
	if (source && strlen(source) < ERROR_PATH_MAX) {
		slash = strrchr(source, '/');
		name = slash ? slash + 1 : source;
	}
	snprintf(sink->error, COPY_ERROR_MAX, "%s (to put it there, write %s%s%s)", strerror(EISDIR), folder,
		 folder[strlen(folder) - 1] == '/' ? "" : "/", name);
}

int copy_sink_failed(struct copy *copy, struct copy_sink *sink, int error, const char *why)
{
	int code = error_is_signal(copy, error);

	if (code != 0)
		return code;
	if (error == -EBADF && strcmp(sink->spec, "-") == 0)
		why = standard_was_closed(STDOUT_FILENO) ? "standard output is closed"
							 : "standard output is not open for writing";
	sink->code = error;
	error_text(sink->error, error, why);
	if (error == -EISDIR)
		error_name_in_folder(copy, sink);
	message_say("sink %s: %s", sink->spec, sink->error);
	return error_blame(error, why, CLI_SINK);
}

void copy_run_error_text(const struct copy *copy, const struct copy_command *command, int error,
			 char text[COPY_ERROR_MAX])
{
	const struct copy_request *request = copy->request;

	if (copy_command_text(command, error, text, COPY_ERROR_MAX))
		return;
	if (error == -ETIMEDOUT && request->slow_ns > 0)
		snprintf(text, COPY_ERROR_MAX, "took nothing for %g s and was detached",
			 (double)request->slow_ns / 1e9);
	else if (error == -ETIMEDOUT && request->total_ns > 0 && copy->seconds >= (double)request->total_ns / 1e9)
		snprintf(text, COPY_ERROR_MAX, "the copy was not done after %g s", (double)request->total_ns / 1e9);
	else if (error == -ETIMEDOUT && request->idle_ns > 0 && copy->seconds >= (double)request->idle_ns / 1e9)
		snprintf(text, COPY_ERROR_MAX, "nothing moved for %g s", (double)request->idle_ns / 1e9);
	else if (error == -ECONNREFUSED) /* connections are made by now: the answer to a datagram */
		snprintf(text, COPY_ERROR_MAX, "nobody takes datagrams there, so at least one was lost");
	else
		snprintf(text, COPY_ERROR_MAX, "%s",
			 error == -ESTALE ? "it is another file now than when the copy began" : strerror(-error));
}

void copy_note_source(struct copy *copy, const char *format, ...)
{
	va_list args;

	if (copy->source_why[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(copy->source_why, sizeof(copy->source_why), format, args);
	va_end(args);
}

void copy_note_sink(struct copy_sink *sink, int error, const char *why)
{
	sink->code = error;
	snprintf(sink->error, COPY_ERROR_MAX, "%s", why);
}

int copy_usage(const char *side, const char *spec, const char *why)
{
	message_say("%s %s: %s", side, spec, why);
	return CLI_USAGE;
}
