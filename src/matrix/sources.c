/* SPDX-License-Identifier: MIT */
/* sources - how each kind of object brings bytes into a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/alias.h"
#include "matrix/inside.h"

#define SOURCE_FOREIGN_USER 65534 /* nobody */

ssize_t usp_matrix_splice(int in, size_t *pos_in, int out, size_t *pos_out, size_t len, unsigned flags)
{
	int64_t off_in = pos_in ? (int64_t)*pos_in : 0, off_out = pos_out ? (int64_t)*pos_out : 0;
	size_t done = 0;

	while (done < len) {
		ssize_t ret = usp_sys_splice(in, pos_in ? &off_in : NULL, out, pos_out ? &off_out : NULL, len - done,
					     flags | USP_SPLICE_NONBLOCK);

		if (ret < 0 && done == 0)
			return ret;
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	return (ssize_t)done;
}

/* Put references to pages of ours into a pipe, in the way that the controls found. */
static ssize_t source_put_pages(struct matrix_source *source, int pipe_wr, size_t len)
{
	const struct iovec iov = {.iov_base = source->bytes.window + source->pos, .iov_len = len};

	if (source->run->fills_by_vmsplice)
		return usp_sys_vmsplice(pipe_wr, &iov, 1, USP_SPLICE_NONBLOCK);
	return usp_matrix_splice(source->bytes.fd, &source->pos, pipe_wr, NULL, len, 0);
}

/* Go on to the next len bytes, and begin again behind the last ones. */
static int source_next(struct matrix_source *source, size_t len)
{
	source->pos = source->pos + 2 * len <= source->capacity ? source->pos + len : 0;
	return 0;
}

/* --- Files ------------------------------------------------------------------------------------------------- */

/* Enter, or leave, what another user may do. */
static int source_enter(const struct matrix_source *source)
{
	return source->trial->rights == MATRIX_FOREIGN ? usp_sys_set_file_user(SOURCE_FOREIGN_USER) : 0;
}

static void source_leave(const struct matrix_source *source)
{
	if (source->trial->rights == MATRIX_FOREIGN)
		usp_sys_restore_file_user();
}

/* Open the file once more, as the rights of the trial say. */
static int file_reopen(struct matrix_source *source)
{
	int ret = 0;

	if (source->trial->rights == MATRIX_OWN && !source->object->kind->is_direct) {
		source->fd = source->bytes.fd;
		return 0;
	}
	if (source->trial->rights != MATRIX_OWN)
		ret = usp_sys_fchmod(source->bytes.fd, 0444);
	if (ret == 0)
		ret = source_enter(source);
	if (ret < 0)
		return ret;
	ret = source->fd =
		usp_sys_reopen(source->bytes.fd, O_RDONLY | (source->object->kind->is_direct ? O_DIRECT : 0));
	source_leave(source);
	return ret < 0 ? ret : 0;
}

static int file_open(struct matrix_source *source)
{
	int ret = usp_matrix_bytes_file(usp_matrix_object_file(source->object), source->capacity, MATRIX_OLD,
					source->trial->state, &source->bytes);

	if (ret == 0 && source->object->kind->is_direct)
		usp_sys_drop_cache(source->bytes.fd, 0, source->capacity);
	return ret < 0 ? ret : file_reopen(source);
}

static ssize_t file_hop(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	ssize_t ret = source_enter(source);

	if (ret < 0)
		return ret;
	ret = usp_matrix_splice(source->fd, &source->pos, pipe_wr, NULL, len, flags);
	source_leave(source);
	return ret;
}

const struct matrix_source_ops usp_matrix_file_source = {
	.call = "splice",
	.open = file_open,
	.feed = source_next,
	.hop = file_hop,
};

/* --- Memory ------------------------------------------------------------------------------------------------ */

static int memory_open(struct matrix_source *source)
{
	return usp_matrix_bytes_memory(source->capacity, &source->bytes);
}

static ssize_t memory_write(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	(void)flags;
	return usp_sys_write(pipe_wr, source->bytes.window + source->pos, len);
}

static ssize_t memory_vmsplice(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	const struct iovec iov = {.iov_base = source->bytes.window + source->pos, .iov_len = len};

	return usp_sys_vmsplice(pipe_wr, &iov, 1, flags | USP_SPLICE_NONBLOCK);
}

const struct matrix_source_ops usp_matrix_write_source = {
	.call = "write",
	.open = memory_open,
	.feed = source_next,
	.hop = memory_write,
};

const struct matrix_source_ops usp_matrix_vmsplice_source = {
	.call = "vmsplice",
	.open = memory_open,
	.feed = source_next,
	.hop = memory_vmsplice,
};

/* --- The pages of the run ---------------------------------------------------------------------------------- */

static int pages_open(struct matrix_source *source)
{
	return usp_matrix_bytes_file(usp_sys_memfd("usplice-probe"), source->capacity, MATRIX_OLD, MATRIX_MAPPED,
				     &source->bytes);
}

static ssize_t pages_hop(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	(void)flags;
	return source_put_pages(source, pipe_wr, len);
}

static const struct matrix_source_ops pages_source = {
	.call = "splice",
	.open = pages_open,
	.feed = source_next,
	.hop = pages_hop,
};

const struct matrix_kind usp_matrix_pages_kind = {.name = "pages of the run", .source = &pages_source};

/* --- Pairs: pages of the run go into one end, and the hop takes them out of the other ------------------- */

static int fed_open(struct matrix_source *source)
{
	int pair[2] = {-1, -1}, ret = source->object->kind->make_pair(source->object->kind, pair);

	source->fd = pair[0];
	source->fed_fd = pair[1];
	if (ret == 0)
		ret = pages_open(source);
	return ret < 0 ? ret : usp_matrix_pipe(MATRIX_PIPE_DEFAULT, source->feeder);
}

/* Feed a pipe at once, and a socket through another pipe. What does not fit is left out. */
static int fed_feed(struct matrix_source *source, size_t len)
{
	bool is_pipe = source->object->kind->is_pipe;
	ssize_t ret = source_put_pages(source, is_pipe ? source->fed_fd : source->feeder[1], len);

	if (ret > 0 && !is_pipe)
		ret = usp_matrix_splice(source->feeder[0], NULL, source->fed_fd, NULL, len, 0);
	if (ret > 0 && !usp_alias_await(source->fd))
		ret = -ETIMEDOUT;
	return ret < 0 ? (int)ret : 0;
}

static ssize_t fed_hop(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	return usp_matrix_splice(source->fd, NULL, pipe_wr, NULL, len, flags);
}

const struct matrix_source_ops usp_matrix_fed_source = {
	.call = "splice",
	.open = fed_open,
	.feed = fed_feed,
	.hop = fed_hop,
};

/* A tee takes nothing away: feed the first one alone. */
static int tee_feed(struct matrix_source *source, size_t len)
{
	return usp_sys_bytes_readable(source->fd) > 0 ? 0 : fed_feed(source, len);
}

static ssize_t tee_hop(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	return usp_sys_tee(source->fd, pipe_wr, len, flags | USP_SPLICE_NONBLOCK);
}

const struct matrix_source_ops usp_matrix_tee_source = {
	.call = "tee",
	.open = fed_open,
	.feed = tee_feed,
	.hop = tee_hop,
};

/* The peer writes pieces of its own. */
static int piece_feed(struct matrix_source *source, size_t len)
{
	ssize_t ret = usp_sys_write(source->fed_fd, source->bytes.window, len);

	if (ret < 0)
		return (int)ret;
	return usp_alias_await(source->fd) ? 0 : -ETIMEDOUT;
}

const struct matrix_source_ops usp_matrix_piece_source = {
	.call = "splice",
	.open = fed_open,
	.feed = piece_feed,
	.hop = fed_hop,
};

/* --- Devices and files of the kernel ---------------------------------------------------------------------- */

static int device_open(struct matrix_source *source)
{
	source->fd = usp_sys_open(source->object->kind->path, O_RDONLY | O_NONBLOCK, 0);
	return source->fd < 0 ? source->fd : 0;
}

static ssize_t device_hop(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags)
{
	return usp_sys_splice(source->fd, NULL, pipe_wr, NULL, len, flags | USP_SPLICE_NONBLOCK);
}

const struct matrix_source_ops usp_matrix_device_source = {
	.call = "splice",
	.open = device_open,
	.hop = device_hop,
};

/* --- Any ----------------------------------------------------------------------------------------------------- */

int usp_matrix_source_open(struct matrix_source *source, const struct matrix_run *run,
			   const struct matrix_object *object, const struct matrix_trial *trial, size_t capacity)
{
	*source = (struct matrix_source){
		.run = run,
		.object = object,
		.trial = trial,
		.capacity = capacity,
		.bytes = {.fd = -1},
		.fd = -1,
		.fed_fd = -1,
		.feeder = {-1, -1},
	};
	return object->kind->source->open(source);
}

void usp_matrix_source_close(struct matrix_source *source)
{
	if (source->fd != source->bytes.fd)
		usp_sys_close(source->fd);
	usp_sys_close(source->fed_fd);
	usp_sys_close(source->feeder[0]);
	usp_sys_close(source->feeder[1]);
	usp_matrix_bytes_close(&source->bytes);
}
