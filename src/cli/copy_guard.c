/* SPDX-License-Identifier: MIT */
/*
 * copy_guard - old files that a copy would overwrite: refuse, ask, or say so.
 *
 * `usplice copy *.log` has one source, and takes all other names for sinks. One old file as a sink is
 * what cp(1) does, too. Several are often a mistake.
 */
#include "copy_guard.h"
#include "cli.h"
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GUARD_NR_NAMED 3 /* names in one line */

const char *copy_guard_check(const struct copy_request *request)
{
	if (request->no_clobber && request->overwrite)
		return "--no-clobber and --overwrite exclude each other";
	if (request->no_clobber && (request->append || request->resume || request->seek >= 0))
		return "--no-clobber is for new files, so it excludes --append, --resume and --seek";
	return NULL;
}

/* --- What is there ------------------------------------------------------------------------------------- */

/* Tell whether a sink is a regular file that was there before. What another process opened is its affair. */
static bool guard_is_old(const struct copy_sink *sink)
{
	return S_ISREG(sink->object.st_mode) && !sink->is_inherited;
}

/* Tell whether a sink is an old file whose bytes will be lost. */
static bool guard_is_overwritten(const struct copy_sink *sink)
{
	return guard_is_old(sink) && sink->object.st_size > 0 &&
	       !(sink->file && usp_file_flags(sink->file) & USP_APPEND);
}

static bool guard_keeps_bytes(const struct copy_request *request)
{
	return request->append || request->resume || request->seek >= 0;
}

static unsigned guard_count(const struct copy *copy)
{
	unsigned i, nr = 0;

	for (i = 0; i < copy->request->nr_sinks; i++)
		nr += guard_is_overwritten(&copy->sinks[i]);
	return nr;
}

/* Name the files: "a and b", "a, b and c", "a, b, c and 5 more". NULL without memory; the caller frees it. */
static char *guard_name_files(const struct copy *copy, unsigned nr)
{
	unsigned i, nr_named = 0, nr_to_name = nr > GUARD_NR_NAMED ? GUARD_NR_NAMED : nr;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	for (i = 0; out && nr_named < nr_to_name; i++) {
		if (!guard_is_overwritten(&copy->sinks[i]))
			continue;
		if (nr_named > 0)
			fputs(nr_named + 1 == nr ? " and " : ", ", out);
		message_put(out, copy->sinks[i].spec);
		nr_named++;
	}
	if (out && nr > nr_named)
		fprintf(out, " and %u more", nr - nr_named);
	return out && fclose(out) == 0 ? text : NULL;
}

/* --- The question --------------------------------------------------------------------------------------- */

/* Read a line, and tell in *ret_is_yes whether it begins with y: 0 or -errno. The end of input is a no. */
static int guard_read_answer(int terminal, bool *ret_is_yes)
{
	char letter = '\0', first = '\0';

	while (letter != '\n') {
		ssize_t got = read(terminal, &letter, 1);

		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		first = first == '\0' ? letter : first;
	}
	*ret_is_yes = first == 'y' || first == 'Y';
	return 0;
}

static int guard_ask(struct copy *copy, const char *names, int terminal)
{
	bool is_yes = false;
	int error = dprintf(terminal, "usplice: overwrite %s? [y/N] ", names) < 0 ? -errno : 0;

	if (error == 0)
		error = guard_read_answer(terminal, &is_yes);
	if (error == -EINTR)
		return copy_source_failed(copy, error, NULL);
	if (error == 0 && is_yes)
		return CLI_DONE;
	message_say("copy: nothing was written");
	return CLI_USAGE;
}

/* Return the terminal if there is somebody to ask, or -1. */
static int guard_open_terminal(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO) ? open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
}

/* Say what happens, where nobody can be asked, and where a line on standard error is not in the way. */
static void guard_say(const struct copy *copy, const char *names)
{
	const struct copy_request *request = copy->request;

	if (request->quiet || request->json || copy_speaks_into_data(copy))
		return;
	if (request->is_cat)
		message_say("%s will be overwritten (--no-clobber refuses, --overwrite is silent)", names);
	else
		message_say("only %s is read; %s will be overwritten (--no-clobber refuses, --overwrite is silent)",
			    request->source, names);
}

static int guard_ask_or_say(struct copy *copy, unsigned nr)
{
	int terminal = guard_open_terminal(), code = CLI_DONE;
	char *names = guard_name_files(copy, nr);

	if (terminal >= 0)
		code = guard_ask(copy, names ? names : "several files", terminal);
	else
		guard_say(copy, names ? names : "several files");
	if (terminal >= 0)
		close(terminal);
	free(names);
	return code;
}

/* --- The decision --------------------------------------------------------------------------------------- */

static int guard_refuse(const struct copy *copy)
{
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks; i++) {
		if (guard_is_old(&copy->sinks[i]))
			return copy_usage("sink", copy->sinks[i].spec, "exists, and --no-clobber keeps it");
	}
	return CLI_DONE;
}

int copy_guard(struct copy *copy)
{
	const struct copy_request *request = copy->request;
	unsigned nr;

	if (request->no_clobber)
		return guard_refuse(copy);
	if (request->overwrite || guard_keeps_bytes(request))
		return CLI_DONE;
	nr = guard_count(copy);
	return nr > 1 ? guard_ask_or_say(copy, nr) : CLI_DONE;
}
