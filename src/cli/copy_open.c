/* SPDX-License-Identifier: MIT */
/*
 * copy_open - open the endpoints of a copy, and the file of its report.
 *
 * The order keeps data safe. First, open what needs no new file and what no other process notices.
 * Then copy_check compares what was found, such as a source that is also a sink, and refuses what
 * cannot be done. Only then wait for peers and make files. Cut old files to nothing only when all
 * else is in place.
 */
#include "atomic.h"
#include "cli.h"
#include "copy.h"
#include "copy_blocks.h"
#include "copy_framed.h"
#include "copy_guard.h"
#include "copy_rescue.h"
#include "copy_sources.h"
#include "host_port.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The rounds of opening, by what a sink that is not open yet may need. */
enum open_round { OPEN_LOOK, OPEN_MAKE, OPEN_PEERS };

/* --- Opening ------------------------------------------------------------------------------------------ */

/* Fill in the stat of an endpoint: all zero for other things than descriptors and existing paths. */
static void open_look(const struct usp_spec *name, struct usp_file *file, struct stat *ret_object)
{
	const char *path = copy_path(name);
	int error;

	if (file)
		error = fstat(usp_file_fd(file), ret_object);
	else
		error = path ? stat(path, ret_object) : -1;
	if (error < 0)
		memset(ret_object, 0, sizeof(*ret_object));
}

/* Tell whether the kernel chooses the port. */
static bool open_has_free_port(const struct usp_spec *name)
{
	const char *address = name ? usp_spec_address(name) : "", *colon = strrchr(address, ':');
	const char *port = colon ? colon + 1 : address;

	return *port && port[strspn(port, "0")] == '\0';
}

void copy_note_door(void *arg, const char *address)
{
	struct copy_door *door = arg;

	if (door->address[0] == '\0')
		snprintf(door->address, COPY_ADDRESS_MAX, "%s", address);
	if (open_has_free_port(door->name))
		message_say("%s %s: listening at %s", door->side, door->text, address);
}

static int open_source(struct copy *copy, enum open_round round)
{
	struct copy_door door = {"source", copy->request->source, copy->source_name, copy->source_address};
	const struct usp_open_params params = {
		.size = sizeof(params),
		.mode = USP_READ | copy_framed_mode(copy, NULL),
		.no_peer = round == OPEN_LOOK,
		.listening = copy_note_door,
		.listening_arg = &door,
		.may_run = true,
		.exited = copy_command_exited,
		.exited_arg = &copy->source_command,
	};
	const char *why = NULL;
	int error;

	if (copy->source)
		return CLI_DONE;
	if (copy->sources)
		return round == OPEN_LOOK ? copy_sources_look(copy) : copy_sources_open(copy);
	copy->opening = copy->request->source;
	error = copy_open_spec(copy, NULL, &params, &copy->source, &why);
	open_look(copy->source_name, copy->source, &copy->source_object);
	if (error < 0 && !(error == -EINPROGRESS && params.no_peer))
		return copy_source_failed(copy, error, why);
	return copy_rescue_open(copy);
}

/* Return the permissions for a new file, as cp(1) would set them, below the umask. */
static mode_t open_mode(const struct copy *copy)
{
	return S_ISREG(copy->source_object.st_mode) ? copy->source_object.st_mode & 0777 : 0666;
}

/* Refuse a file that somebody made while this copy was about to. */
static int open_exists(const struct copy_sink *sink)
{
	return copy_usage("sink", sink->spec, "exists by now, and --no-clobber keeps it");
}

static int open_atomic(struct copy *copy, struct copy_sink *sink)
{
	const char *why = NULL;
	struct stat old;
	int fd, error = 0;

	if (!sink->name)
		error = usp_spec_parse(sink->spec, &sink->name, &why);
	if (error == 0)
		error = atomic_open(sink->name, open_mode(copy), &sink->atomic, &fd, &old, &why);
	if (error < 0)
		return copy_sink_failed(copy, sink, error, why);
	if (copy->request->no_clobber && S_ISREG(old.st_mode)) {
		close(fd);
		return open_exists(sink);
	}
	error = usp_open_fd(fd, USP_WRITE | USP_EXCLUSIVE, sink->spec, &sink->file);
	if (error < 0) {
		close(fd);
		return copy_sink_failed(copy, sink, error, NULL);
	}
	sink->object = old;
	return CLI_DONE;
}

static struct usp_open_params open_sink_params(const struct copy *copy, const struct copy_sink *sink,
					       enum open_round round)
{
	return (struct usp_open_params){
		.size = sizeof(struct usp_open_params),
		.mode = USP_WRITE | copy_framed_mode(copy, sink) |
			(copy->request->resume && !sink->is_inherited && !sink->is_framed ? USP_READ : 0),
		.creat_mode = (int)(open_mode(copy) | S_IFREG), /* not 0, which would mean 0666 */
		.no_create = round != OPEN_MAKE,
		.keep_bytes = true,
		.append = copy->request->append,
		.must_create = copy->request->no_clobber && round == OPEN_MAKE,
		.no_peer = round != OPEN_PEERS,
	};
}

/* Tell whether a sink is left to a later round. */
static bool open_is_later(struct copy_sink *sink, enum open_round round, int error, const char *why)
{
	if (error == -EINPROGRESS && round != OPEN_PEERS)
		sink->has_peer = true;
	return (sink->has_peer && round != OPEN_PEERS) || (error == -ENOENT && !why && round == OPEN_LOOK);
}

static int open_named(struct copy *copy, struct copy_sink *sink, enum open_round round)
{
	struct usp_open_params params = open_sink_params(copy, sink, round);
	struct copy_door door = {"sink", sink->spec, sink->name, sink->address};
	const char *why = NULL;
	int error;

	params.listening = copy_note_door;
	params.listening_arg = &door;
	params.may_run = true;
	params.exited = copy_command_exited;
	params.exited_arg = &sink->command;
	copy->opening = sink->spec;
	error = copy_open_spec(copy, sink, &params, &sink->file, &why);
	if (error == -EPERM && copy->request->resume) { /* it may be open for appending only (chattr +a) */
		params.append = true;
		error = copy_open_spec(copy, sink, &params, &sink->file, &why);
	}
	open_look(sink->name, sink->file, &sink->object);
	sink->is_new = error == 0 && round == OPEN_MAKE;
	if (error == 0)
		error = usp_file_abort(sink->file); /* until the run has begun, an end is not the end of the data */
	if (error == -EEXIST && params.must_create)
		return open_exists(sink);
	if (error < 0 && !open_is_later(sink, round, error, why))
		return copy_sink_failed(copy, sink, error, why);
	return CLI_DONE;
}

static int open_sink(struct copy *copy, struct copy_sink *sink, enum open_round round)
{
	if (sink->file || sink->has_peer != (round == OPEN_PEERS))
		return CLI_DONE;
	if (!copy->request->atomic)
		return open_named(copy, sink, round);
	if (round == OPEN_MAKE)
		return open_atomic(copy, sink);
	open_look(sink->name, NULL, &sink->object);
	return CLI_DONE;
}

/* --- The report --------------------------------------------------------------------------------------- */

int copy_open_report(struct copy *copy, bool may_make)
{
	const char *path = copy->request->report;
	const int flags = O_WRONLY | O_NOCTTY | O_CLOEXEC;

	if (!path || copy->report_fd >= 0)
		return CLI_DONE;
	copy->report_fd = open(path, flags);
	if (copy->report_fd < 0 && errno == ENOENT && may_make) {
		copy->report_fd =
			open(path, flags | O_CREAT | O_EXCL, 0666); /* not through a link that leads nowhere */
		copy->report_is_new = copy->report_fd >= 0;
	}
	if (copy->report_fd >= 0 || (errno == ENOENT && !may_make))
		return CLI_DONE;
	message_say("report %s: %s", path,
		    errno == EEXIST ? "it is a symbolic link that leads nowhere" : strerror(errno));
	return CLI_FAILED;
}

/* --- Leaving no trace --------------------------------------------------------------------------------- */

/* Remove a file that this run made and did not write. */
static void open_remove(const char *path, const struct stat *made)
{
	struct stat there;

	if (lstat(path, &there) == 0 && usp_copy_is_same(&there, made) && there.st_size == 0)
		unlink(path);
}

void copy_undo(const struct copy *copy)
{
	unsigned i;

	if (copy->source_was >= 0)
		usp_file_seek(copy->source, copy->source_was, SEEK_SET);
	for (i = 0; i < copy->request->nr_sinks; i++) {
		const struct copy_sink *sink = &copy->sinks[i];

		if (sink->was >= 0)
			usp_file_seek(sink->file, sink->was, SEEK_SET);
		if (sink->is_new && copy_path(sink->name))
			open_remove(copy_path(sink->name), &sink->object);
	}
}

void copy_remove_report(const struct copy *copy)
{
	struct stat made;

	if (copy->report_is_new && fstat(copy->report_fd, &made) == 0)
		open_remove(copy->request->report, &made);
}

/* --- All of it -------------------------------------------------------------------------------------- */

/*
 * Open in the first round. After a failure look at the others, too: the report must not be written
 * over one of them.
 */
static int open_look_at_all(struct copy *copy)
{
	int code = open_source(copy, OPEN_LOOK);
	unsigned i;

	for (i = 0; i < copy->request->nr_sinks; i++) {
		int sink_code = open_sink(copy, &copy->sinks[i], OPEN_LOOK);

		if (code == CLI_DONE || sink_code == CLI_USAGE)
			code = sink_code;
	}
	return code;
}

static int open_rest(struct copy *copy)
{
	int code = open_source(copy, OPEN_PEERS);
	enum open_round round;
	unsigned i;

	for (round = OPEN_MAKE; round <= OPEN_PEERS; round++) {
		for (i = 0; i < copy->request->nr_sinks && code == CLI_DONE; i++)
			code = open_sink(copy, &copy->sinks[i], round);
	}
	return code;
}

/*
 * Open everything. The report is made after the last check that can refuse the copy, also for a
 * copy that failed.
 */
static int open_all(struct copy *copy)
{
	int report = copy_open_report(copy, false), code = report == CLI_DONE ? open_look_at_all(copy) : report, guard;

	if (report != CLI_DONE || code == CLI_USAGE)
		return code;
	if (copy_check_same(copy) != CLI_DONE || (code == CLI_DONE && copy_check_options(copy) != CLI_DONE))
		return CLI_USAGE;
	guard = code == CLI_DONE ? copy_guard(copy) : CLI_DONE;
	if (guard != CLI_DONE)
		return guard;
	report = copy_open_report(copy, true);
	if (code == CLI_DONE)
		code = report == CLI_DONE ? open_rest(copy) : report;
	copy->opening = NULL;
	return code == CLI_DONE ? copy_check_same(copy) : code;
}

int copy_open(struct copy *copy)
{
	const struct copy_request *request = copy->request;
	int code = host_port_check(request->source, request->sinks, request->nr_sinks);

	if (code == CLI_DONE)
		code = copy_framed_choose(copy);
	if (code != CLI_DONE)
		return code;
	code = open_all(copy);
	if (code == CLI_DONE)
		code = copy_framed_open_source(copy);
	if (code == CLI_DONE)
		code = copy_blocks_open(copy);
	if (code == CLI_DONE)
		code = copy_seek(copy);
	if (code != CLI_DONE)
		copy_undo(copy);
	return code;
}
