/* SPDX-License-Identifier: MIT */
/*
 * copy_both_open - open the two endpoints of --both.
 *
 * Each is opened once, to be read and written; only standard input and output are two files. First everything is checked,
 * and opened that no other process notices. Then come those that wait for a client, those that connect, and commands last.
 */
#include "cli.h"
#include "copy_both.h"
#include "host_port.h"
#include "standard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char open_one_way[] =
	"does not go both ways: --both takes -, tcp:, tcp-listen:, unix:, unix-listen:, exec:, "
	"a terminal, and fd:N of a stream socket or a terminal";

/* In which round an endpoint is opened. */
enum both_round { BOTH_LOCAL, BOTH_LISTENING, BOTH_CONNECTING, BOTH_RUNNING, BOTH_NR_ROUNDS };

static enum both_round open_round(const struct both_end *end)
{
	const char *scheme = end->name ? usp_spec_scheme(end->name) : "-";

	if (strcmp(scheme, "exec") == 0)
		return BOTH_RUNNING;
	if (strcmp(scheme, "tcp") == 0 || strcmp(scheme, "unix") == 0)
		return BOTH_CONNECTING;
	return strcmp(scheme, "tcp-listen") == 0 || strcmp(scheme, "unix-listen") == 0 ? BOTH_LISTENING : BOTH_LOCAL;
}

/* --- Messages ------------------------------------------------------------------------------------------------ */

/* Say that an end cannot be used, as of a copy from the first to the second: an exit code. */
static int open_failed(struct both *both, struct both_end *end, int error, const char *why)
{
	struct both_way *way = &both->ways[0];

	if (error == -EINTR && watch_signo(&both->whole.watch) != 0) {
		message_say("stopped by signal %d (%s) before anything was copied", watch_signo(&both->whole.watch),
			    strsignal(watch_signo(&both->whole.watch)));
		return CLI_SIGNAL + watch_signo(&both->whole.watch);
	}
	if (end == &both->ends[0])
		return copy_source_failed(&way->copy, error, why);
	return copy_sink_failed(&way->copy, &way->sink, error, why);
}

static int open_refuse(const struct both *both, const struct both_end *end, const char *why)
{
	return copy_usage(end == &both->ends[0] ? "source" : "sink", end->text, why);
}

/* --- What it is ---------------------------------------------------------------------------------------------- */

static bool open_is_stream_socket(int fd)
{
	int type = 0, listens = 1;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens;
}

/* Find out what a local end is. False for one that has one direction. What cannot be found out shows when it is opened. */
static bool open_find_kind(struct both_end *end)
{
	int number = usp_spec_descriptor(end->name, USP_READ | USP_WRITE);
	const char *path = usp_spec_path(end->name);

	end->kind = BOTH_STREAM;
	if (strcmp(usp_spec_scheme(end->name), "-") == 0) {
		end->kind = BOTH_STANDARD;
	} else if (number >= 0 && fstat(number, &end->in_object) == 0) {
		end->kind = isatty(number) ? BOTH_TERMINAL : BOTH_STREAM;
		return end->kind == BOTH_TERMINAL || open_is_stream_socket(number);
	} else if (path) {
		end->kind = BOTH_TERMINAL;
		return stat(path, &end->in_object) < 0 || S_ISCHR(end->in_object.st_mode);
	} else if (open_round(end) == BOTH_LOCAL) {
		return number != -ENXIO;
	}
	return true;
}

/* --- Opening ------------------------------------------------------------------------------------------------- */

static int open_file(struct both_end *end, unsigned mode, bool no_peer, struct copy_door *door,
		     struct usp_file **ret_file, const char **ret_why)
{
	const struct usp_open_params params = {
		.size = sizeof(params),
		.mode = mode,
		.no_create = true,
		.keep_bytes = true,
		.no_peer = no_peer,
		.listening = copy_note_door,
		.listening_arg = door,
		.may_run = true,
		.exited = copy_command_exited,
		.exited_arg = &end->command,
	};
	int number = usp_spec_descriptor(end->name, mode), error;

	if (number == STDERR_FILENO) /* for messages, too */
		error = copy_open_twin(number, &params, ret_file, ret_why);
	else
		error = usp_open(end->text, &params, ret_file, ret_why);
	if (error == 0) /* for both pumps: one of them ends before the other */
		usp_file_set_flags(*ret_file, usp_file_flags(*ret_file) | USP_NONBLOCK);
	return error;
}

static void open_note_object(const struct usp_file *file, struct stat *ret_object)
{
	if (usp_file_fd(file) < 0 || fstat(usp_file_fd(file), ret_object) < 0)
		*ret_object = (struct stat){.st_mode = 0};
}

/* Open an end, or only check it: an exit code. */
static int open_end(struct both *both, struct both_end *end, bool no_peer)
{
	bool is_two = end->kind == BOTH_STANDARD;
	struct copy_door door = {end == &both->ends[0] ? "source" : "sink", end->text, end->name, end->address};
	const char *why = NULL;
	int error;

	both->whole.opening = end->text;
	error = open_file(end, is_two ? USP_READ : USP_READ | USP_WRITE, no_peer, &door, &end->in, &why);
	if (error == 0 && is_two)
		error = open_file(end, USP_WRITE, no_peer, &door, &end->out, &why);
	else if (error == 0)
		end->out = usp_file_get(end->in);
	both->whole.opening = NULL;
	if (error == -EINPROGRESS && no_peer)
		return CLI_DONE;
	if (error == -EBADF && is_two && end->in)
		return open_refuse(both, end,
				   standard_was_closed(STDOUT_FILENO) ? "standard output is closed"
								      : "standard output is not open for writing");
	if (error < 0)
		return open_failed(both, end, error, why);
	if (end->kind == BOTH_TERMINAL && !isatty(usp_file_fd(end->in)))
		return open_refuse(both, end, open_one_way);
	usp_file_abort(end->out); /* until it has run, an end is not the end of the data */
	open_note_object(end->in, &end->in_object);
	open_note_object(end->out, &end->out_object);
	return CLI_DONE;
}

/* --- Twice ---------------------------------------------------------------------------------------------------- */

static bool open_is_same_terminal(const struct stat *a, const struct stat *b)
{
	return S_ISCHR(a->st_mode) && S_ISCHR(b->st_mode) && a->st_rdev == b->st_rdev;
}

/* Tell whether what is read from one end is what is written to the other one: the bytes would go in a circle. */
static bool open_is_circle(const struct stat *in, const struct stat *out)
{
	return usp_copy_is_same(in, out) || copy_is_same_socket(in, out) || open_is_same_terminal(in, out);
}

static int open_check_same(const struct both *both)
{
	const struct both_end *a = &both->ends[0], *b = &both->ends[1];
	struct stat report;

	if (a->kind == BOTH_STANDARD && b->kind == BOTH_STANDARD)
		return open_refuse(both, b, "is given twice");
	if (open_is_circle(&a->in_object, &b->out_object) || open_is_circle(&b->in_object, &a->out_object))
		return open_refuse(both, b, "is the same as the other end");
	if (both->whole.report_fd < 0 || fstat(both->whole.report_fd, &report) < 0)
		return CLI_DONE;
	for (int i = 0; i < 2; i++) {
		if (usp_copy_is_same(&report, &both->ends[i].in_object) ||
		    usp_copy_is_same(&report, &both->ends[i].out_object))
			return open_refuse(both, &both->ends[i], "is also the file of the report");
	}
	return CLI_DONE;
}

/* --- All of it ------------------------------------------------------------------------------------------------ */

/* Check an end, and open it if no other process notices that. */
static int open_look(struct both *both, struct both_end *end)
{
	const char *why = NULL;
	int error = usp_spec_parse(end->text, &end->name, &why);

	if (error < 0)
		return open_failed(both, end, error, why);
	if (!open_find_kind(end))
		return open_refuse(both, end, open_one_way);
	return open_end(both, end, true);
}

int both_open(struct both *both)
{
	char *const second[] = {(char *)both->ends[1].text};
	int code = host_port_check(both->ends[0].text, second, 1);

	for (int i = 0; i < 2 && code == CLI_DONE; i++)
		code = open_look(both, &both->ends[i]);
	if (code == CLI_DONE)
		code = open_check_same(both);
	if (code == CLI_DONE)
		code = copy_open_report(&both->whole, true);
	if (code == CLI_DONE)
		code = open_check_same(both);
	for (int round = BOTH_LISTENING; round < BOTH_NR_ROUNDS; round++) {
		for (int i = 0; i < 2 && code == CLI_DONE; i++) {
			if ((int)open_round(&both->ends[i]) == round)
				code = open_end(both, &both->ends[i], false);
		}
	}
	return code == CLI_DONE ? open_check_same(both) : code;
}
