/* SPDX-License-Identifier: MIT */
/* route - one experiment: bytes go from a source through a pipe, they are changed, and what came out is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/alias.h"
#include "matrix/inside.h"

#define ROUTE_CHUNK ((size_t)16384)

/* --- Looking ----------------------------------------------------------------------------------------------- */

/* Add to what was seen: a letter stays as long as no other one comes. */
static char look_add(char seen, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		seen = seen == 0 || seen == bytes[i] ? bytes[i] : '?';
	return seen;
}

static char look_at_pipe(int pipe_rd, size_t len)
{
	char bytes[ROUTE_CHUNK], seen = 0;

	for (size_t at = 0; at < len;) {
		ssize_t ret =
			usp_alias_await(pipe_rd) ? usp_sys_read(pipe_rd, bytes, usp_min(len - at, sizeof(bytes))) : 0;

		if (ret <= 0)
			return 0;
		seen = look_add(seen, bytes, (size_t)ret);
		at += (size_t)ret;
	}
	return seen;
}

static char look_at_sink(struct matrix_sink *sink, size_t len)
{
	char bytes[ROUTE_CHUNK], seen = 0;

	for (size_t at = 0; at < len && sink->object->kind->sink->look;) {
		ssize_t ret = sink->object->kind->sink->look(sink, at, bytes, usp_min(len - at, sizeof(bytes)));

		if (ret <= 0)
			return 0;
		seen = look_add(seen, bytes, (size_t)ret);
		at += (size_t)ret;
	}
	return seen;
}

/* --- Devices ----------------------------------------------------------------------------------------------- */

/*
 * Tell whether the file lies on a device: 1, 0, or -errno. Files of btrfs have the number of none. So have those
 * of an overlay and of a network file system, where it cannot be known: -ENODEV.
 */
static int route_has_device(int fd)
{
	struct stat st;
	int ret = usp_sys_fstat(fd, &st);

	if (ret < 0 || usp_matrix_is_memory(fd) || usp_sys_is_dax(fd) > 0)
		return ret < 0 ? ret : 0;
	return major(st.st_dev) != 0 || usp_sys_fs_type(fd) == BTRFS_SUPER_MAGIC ? 1 : -ENODEV;
}

/* Whether the page cache has the page of an O_DIRECT file on a device. Of other objects it says nothing. */
enum route_cache { ROUTE_OTHER, ROUTE_UNCACHED, ROUTE_CACHED, ROUTE_UNTOLD };

static enum route_cache route_cache_of(const struct matrix_object *object, const struct matrix_bytes *bytes)
{
	int ret = object->kind->is_direct ? route_has_device(bytes->fd) : 0;

	if (ret == 0)
		return ROUTE_OTHER;
	if (ret > 0)
		ret = usp_sys_is_resident(bytes->fd, 0);
	return ret < 0 ? ROUTE_UNTOLD : ret ? ROUTE_CACHED : ROUTE_UNCACHED;
}

/* A hop that leaves no page in the cache has gone around it. A page that was there before says nothing of the hop. */
static bool route_went_around(enum route_cache before, enum route_cache after, struct matrix_outcome *outcome)
{
	if (after == ROUTE_UNTOLD || (after == ROUTE_CACHED && before != ROUTE_UNCACHED))
		outcome->is_stale = true;
	return after == ROUTE_UNCACHED;
}

/* --- The route --------------------------------------------------------------------------------------------- */

static void route_drain(struct matrix_sink *sink, const int pipe[2], const int control[2], size_t len, unsigned flags,
			struct matrix_outcome *outcome)
{
	const struct matrix_sink_ops *ops = sink->object->kind->sink;
	enum route_cache before = route_cache_of(sink->object, &sink->bytes);

	usp_sys_tee(pipe[0], control[1], len, USP_SPLICE_NONBLOCK);
	outcome->out = ops->hop(sink, pipe[0], len, flags);
	if (ops->flush && flags)
		ops->flush(sink);
	outcome->out_by_device = route_went_around(before, route_cache_of(sink->object, &sink->bytes), outcome);
}

static void route_send(struct matrix_source *source, struct matrix_sink *sink, const int pipes[2][2], size_t len,
		       const unsigned flags[2], struct matrix_outcome *outcome)
{
	enum route_cache before = route_cache_of(source->object, &source->bytes);

	outcome->in = source->object->kind->source->hop(source, pipes[0][1], len, flags[0]);
	outcome->in_by_device = route_went_around(before, route_cache_of(source->object, &source->bytes), outcome);
	if (outcome->in <= 0)
		return;
	if (sink)
		route_drain(sink, pipes[0], pipes[1], (size_t)outcome->in, flags[1], outcome);
	if (source->object->kind->fixed || usp_matrix_bytes_change(&source->bytes, MATRIX_NEW) < 0)
		return;
	if (!sink) {
		outcome->seen = look_at_pipe(pipes[0][0], (size_t)outcome->in);
	} else {
		outcome->control = look_at_pipe(pipes[1][0], (size_t)outcome->in);
		if (outcome->out > 0)
			outcome->seen = look_at_sink(sink, (size_t)outcome->out);
	}
}

/* Send bytes through a pipe, and into the sink unless that is NULL. Change them, and look. 0, or -errno. */
static int route_run(struct matrix_source *source, struct matrix_sink *sink, size_t len, unsigned in_flags,
		     unsigned out_flags, struct matrix_outcome *ret_outcome)
{
	const struct matrix_source_ops *ops = source->object->kind->source;
	const unsigned flags[2] = {in_flags, out_flags};
	int pipes[2][2] = {{-1, -1}, {-1, -1}};
	int ret = usp_matrix_pipe(len, pipes[0]);

	*ret_outcome = (struct matrix_outcome){.in = 0};
	if (ret == 0 && sink)
		ret = usp_matrix_pipe(len, pipes[1]);
	if (ret == 0 && ops->feed)
		ret = ops->feed(source, len);
	if (ret == 0)
		route_send(source, sink, pipes, len, flags, ret_outcome);
	for (unsigned i = 0; i < 2; i++) {
		usp_sys_close(pipes[i][0]);
		usp_sys_close(pipes[i][1]);
	}
	return ret;
}

int usp_matrix_try(const struct matrix_run *run, const struct matrix_object *from, const struct matrix_trial *in_trial,
		   const struct matrix_object *to, const struct matrix_trial *out_trial,
		   struct matrix_outcome *ret_outcome)
{
	struct matrix_source source;
	struct matrix_sink sink;
	size_t len = in_trial->len;
	int ret = usp_matrix_source_open(&source, run, from, in_trial, len);

	if (ret == 0 && to) {
		ret = usp_matrix_sink_open(&sink, to, out_trial, len);
		if (ret == 0)
			ret = route_run(&source, &sink, len, in_trial->flags, out_trial->flags, ret_outcome);
		usp_matrix_sink_close(&sink);
	} else if (ret == 0) {
		ret = route_run(&source, NULL, len, in_trial->flags, 0, ret_outcome);
	}
	usp_matrix_source_close(&source);
	return ret;
}
