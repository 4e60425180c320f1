/* SPDX-License-Identifier: MIT */
/* probe_objects - the kinds of objects of this machine: one of each, without names, over loopback. */
#include "cli.h"
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <usplice/spec.h>

#define OBJECTS_MAX (PROBE_DIRS_MAX + 16)

#ifndef IPPROTO_MPTCP /* newer than the oldest supported headers */
#define IPPROTO_MPTCP 262
#endif

/* Give the object a descriptor for reading, for writing, or for both. Closes what cannot be used. */
static void object_take(struct probe_object *object, int fd, unsigned mode)
{
	struct usp_file *file;

	if (fd < 0)
		return;
	if (usp_open_fd(fd, mode | USP_EXCLUSIVE, object->name, &file) < 0) {
		close(fd);
		return;
	}
	if (mode & USP_READ)
		object->files[0] = file;
	if (mode & USP_WRITE)
		object->files[1] = mode & USP_READ ? usp_file_get(file) : file;
}

/* Some file systems know no file without a name: unlink it at once. */
static int object_open_scratch(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char path[4096];

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR) ||
	    snprintf(path, sizeof(path), "%s/.usplice-probe-XXXXXX", dir) >= (int)sizeof(path))
		return fd;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static void object_make_file(struct probe_object *object, const char *dir)
{
	snprintf(object->name, sizeof(object->name), "file in %s", dir);
	object_take(object, object_open_scratch(dir), USP_READ | USP_WRITE);
}

static void object_make_memory_file(struct probe_object *object, const char *unused)
{
	(void)unused;
	strcpy(object->name, "file in memory (memfd)");
	object_take(object, memfd_create("usplice-probe", MFD_CLOEXEC), USP_READ | USP_WRITE);
}

static void object_make_pipe(struct probe_object *object, const char *unused)
{
	int fds[2];

	(void)unused;
	strcpy(object->name, "pipe");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	object_take(object, fds[0], USP_READ);
	object_take(object, fds[1], USP_WRITE);
}

static void object_make_unix(struct probe_object *object, const char *unused)
{
	int fds[2];

	(void)unused;
	strcpy(object->name, "UNIX stream");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	object_take(object, fds[0], USP_READ);
	object_take(object, fds[1], USP_WRITE);
}

/* Connect two sockets over loopback. A connection is complete before it is accepted. */
static void object_connect(struct probe_object *object, int protocol)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *sockaddr = (struct sockaddr *)&address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	int near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	const struct timeval patience = {.tv_sec = 1};
	const struct linger reset = {.l_onoff = 1}; /* no port is kept after the end */
	socklen_t len = sizeof(address);

	setsockopt(near, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	setsockopt(near, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (listener >= 0 && near >= 0 && bind(listener, sockaddr, len) == 0 && listen(listener, 1) == 0 &&
	    getsockname(listener, sockaddr, &len) == 0 && connect(near, sockaddr, len) == 0) {
		object_take(object, accept4(listener, NULL, NULL, SOCK_CLOEXEC), USP_READ);
		object_take(object, near, USP_WRITE);
		near = -1;
	}
	if (near >= 0)
		close(near);
	if (listener >= 0)
		close(listener);
}

static void object_make_tcp(struct probe_object *object, const char *unused)
{
	(void)unused;
	strcpy(object->name, "TCP over loopback");
	object_connect(object, 0);
}

static void object_make_mptcp(struct probe_object *object, const char *unused)
{
	(void)unused;
	strcpy(object->name, "MPTCP over loopback");
	object_connect(object, IPPROTO_MPTCP);
}

static void object_make_device(struct probe_object *object, const char *path)
{
	snprintf(object->name, sizeof(object->name), "%s", path);
	object_take(object, open(path, O_RDONLY | O_CLOEXEC), USP_READ);
	object_take(object, open(path, O_WRONLY | O_CLOEXEC), USP_WRITE);
}

static void object_make_text(struct probe_object *object, const char *path)
{
	snprintf(object->name, sizeof(object->name), "%s", path);
	object_take(object, open(path, O_RDONLY | O_CLOEXEC), USP_READ);
}

static const struct object_kind {
	void (*make)(struct probe_object *object, const char *path);
	const char *path;
} object_kinds[] = {
	{object_make_memory_file, NULL},   {object_make_pipe, NULL},
	{object_make_tcp, NULL},	   {object_make_mptcp, NULL},
	{object_make_unix, NULL},	   {object_make_device, "/dev/null"},
	{object_make_device, "/dev/zero"}, {object_make_text, "/proc/self/status"},
};

static void objects_add(struct probe_object *objects, int *nr_objects, const struct object_kind *kind)
{
	struct probe_object *object = &objects[*nr_objects];

	kind->make(object, kind->path);
	*nr_objects += object->files[0] || object->files[1];
}

/* Make a file in each directory. Those that can have none are named, and taken out of the request. */
static void objects_add_files(struct probe_request *request, struct probe_object *objects, int *nr_objects)
{
	unsigned nr_dirs = 0, i;

	for (i = 0; i < request->nr_dirs; i++) {
		int before = *nr_objects;

		objects_add(objects, nr_objects, &(struct object_kind){object_make_file, request->dirs[i]});
		if (*nr_objects > before) {
			request->dirs[nr_dirs++] = request->dirs[i];
			continue;
		}
		message_say("no file can be made in %s: %s", request->dirs[i], strerror(errno));
		request->lacks_dir = request->has_dirs;
	}
	request->nr_dirs = nr_dirs;
}

int probe_objects_make(struct probe_request *request, struct probe_object **ret_objects)
{
	struct probe_object *objects = calloc(OBJECTS_MAX, sizeof(*objects));
	int nr_objects = 0;
	size_t i;

	if (!objects)
		return -ENOMEM;
	objects_add_files(request, objects, &nr_objects);
	for (i = 0; i < sizeof(object_kinds) / sizeof(object_kinds[0]); i++)
		objects_add(objects, &nr_objects, &object_kinds[i]);
	*ret_objects = objects;
	return nr_objects;
}

void probe_objects_free(struct probe_object *objects, int nr_objects)
{
	for (int i = 0; i < nr_objects; i++) {
		usp_file_put(objects[i].files[0]);
		usp_file_put(objects[i].files[1]);
	}
	free(objects);
}

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
