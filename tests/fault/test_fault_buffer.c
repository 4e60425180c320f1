/* SPDX-License-Identifier: MIT */
/*
 * test_fault_buffer - copies through a buffer, with everything failing in turn: what comes out is what went in, up to where an
 * error ends it. A file that cannot be written makes the buffer smaller, and is no error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "base/compiler.h"
#include "fault.h"
#include "support.h"

#define BYTES ((size_t)300001)

/* What a scenario copies through which buffer. */
struct route {
	const char *spec;
	bool is_stream; /* the source is a pipe of the system, else a file */
	bool is_piped;	/* the sink is one, else memory */
};

static unsigned char bytes[BYTES], got[BYTES + 1];

static int wide_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 || fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) < 0)
		abort();
	return 0;
}

/* Open a source that has all of the bytes. */
static int route_open_source(const struct route *route, struct usp_file **ret_file)
{
	int fds[2] = {-1, -1}, ret;

	if (route->is_stream)
		wide_pipe(fds);
	else
		fds[0] = fds[1] = memfd_create("source", MFD_CLOEXEC);
	if (write(fds[1], bytes, BYTES) != (ssize_t)BYTES)
		abort();
	if (route->is_stream)
		close(fds[1]);
	else
		lseek(fds[0], 0, SEEK_SET);
	ret = usp_open_fd(fds[0], USP_READ | USP_EXCLUSIVE, "source", ret_file);
	if (ret < 0)
		close(fds[0]);
	return ret;
}

/* Open a sink; *ret_fd is where its bytes come out, or -1 for memory. */
static int route_open_sink(const struct route *route, int *ret_fd, struct usp_file **ret_file)
{
	int fds[2], ret;

	*ret_fd = -1;
	if (!route->is_piped)
		return usp_open_memory(got, sizeof(got), USP_WRITE, NULL, NULL, ret_file);
	wide_pipe(fds);
	*ret_fd = fds[0];
	ret = usp_open_fd(fds[1], USP_WRITE | USP_EXCLUSIVE, "sink", ret_file);
	if (ret < 0)
		close(fds[1]);
	return ret;
}

/* Lay the buffer over *file, which becomes it. */
static int route_lay(const struct route *route, struct usp_file **file)
{
	return usp_transform_open(route->spec, *file, NULL, file, NULL);
}

/* Return how much the sink has got. */
static size_t route_len(const struct usp_file *sink, int fd)
{
	size_t len = 0;
	ssize_t ret;

	if (fd < 0)
		return sink ? (size_t)sink->pos : 0;
	while ((ret = read(fd, got + len, sizeof(got) - len)) > 0)
		len += (size_t)ret;
	return len;
}

static void route_run(const void *arg)
{
	const struct route *route = arg;
	struct usp_file *source = NULL, *sink = NULL;
	struct fault_hit hit;
	size_t len;
	int fd = -1, ret;

	pattern_fill(bytes, 0, BYTES);
	fault_arm();
	ret = route_open_source(route, &source);
	if (ret == 0)
		ret = route_open_sink(route, &fd, &sink);
	if (ret == 0)
		ret = route_lay(route, &source);
	if (ret == 0)
		ret = usp_copy_files(source, sink, NULL, NULL);
	fault_disarm();
	hit = fault_hit();
	len = route_len(sink, fd);
	usp_file_put(source);
	usp_file_put(sink);
	if (fd >= 0)
		close(fd);
	fault_check(ret == 0 || hit.has_fired);
	fault_check(ret == 0 || !fault_is_transient(&hit.plan));
	fault_check(ret == 0 || route->is_piped || hit.plan.call != FAULT_usp_sys_writev);
	fault_check(ret == 0 ? len == BYTES : len <= BYTES);
	fault_check(memcmp(got, bytes, len) == 0);
}

static const struct route through_file = {.spec = "buffer:64k,start=100%,file-size=1M,file=.", .is_stream = true},
			  file_through_file = {.spec = "buffer:64k,start=100%,file-size=1M,file=."},
			  in_memory = {.spec = "buffer:512k,start=50%,low=20%", .is_stream = true},
			  by_reference = {.spec = "buffer:4M,start=1%", .is_stream = true, .is_piped = true};

static const struct fault_scenario scenarios[] = {
	{.name = "stream_through_file", .run = route_run, .arg = &through_file},
	{.name = "file_through_file", .run = route_run, .arg = &file_through_file},
	{.name = "in_memory", .run = route_run, .arg = &in_memory},
	{.name = "by_reference", .run = route_run, .arg = &by_reference},
};

int main(void)
{
	return fault_main(scenarios, usp_array_len(scenarios));
}
