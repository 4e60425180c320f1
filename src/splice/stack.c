/* SPDX-License-Identifier: MIT */
/* stack - a file over a file: hooks that hand a call to the file below. */
#include <errno.h>

#include "base/compiler.h"
#include "splice/file.h"
#include "splice/pipe.h"
#include "splice/sock.h"
#include "splice/stack.h"

int usp_stack_new(const struct usp_file_ops *ops, struct usp_file *below, unsigned mode, const char *spec, void *priv,
		  struct usp_file **ret_file)
{
	int ret = mode & ~below->mode ? -EINVAL : usp_file_new(ops, mode, spec, priv, ret_file);

	if (ret < 0)
		return ret;
	(*ret_file)->below = below;
	(*ret_file)->traits = below->traits & (USP_FILE_SEEKABLE | USP_FILE_SHARED);
	(*ret_file)->pos = below->pos;
	return 0;
}

/* --- Bytes --------------------------------------------------------------------------------------------- */

typedef ssize_t stack_door(struct usp_file *file, const struct usp_iter *iter, int64_t *pos, unsigned flags);

/* An offset that others share has to move: then use the position of the file below, and follow it. */
static ssize_t stack_iter(struct usp_file *file, stack_door *door, const struct usp_iter *iter, int64_t *pos,
			  unsigned flags)
{
	struct usp_file *below = file->below;
	ssize_t ret;

	if (pos != &file->pos || !usp_file_shares_pos(below, &below->pos))
		return door(below, iter, pos, flags | USP_SPLICE_NONBLOCK);
	ret = door(below, iter, &below->pos, flags | USP_SPLICE_NONBLOCK);
	file->pos = below->pos;
	return ret;
}

ssize_t usp_stack_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	return stack_iter(in, usp_file_try_read_iter, to, pos, flags);
}

/*
 * Push references to what the pipe below has, as much as fits. The caller's write turn keeps a transfer out. A
 * second owner loses the flags of the first, as in tee.
 */
static ssize_t stack_push(struct usp_pipe *from, struct usp_pipe *pipe, size_t len)
{
	size_t done = 0, room, chunk;
	struct usp_buf buf, copy;

	while (done < len && usp_pipe_room(pipe, &room) && usp_pipe_peek(from, &buf, 1)) {
		chunk = usp_min(usp_min(buf.len, len - done), usp_min(room, usp_pipe_slot_bytes(pipe)));
		copy = buf;
		copy.len = chunk;
		copy.flags &= ~(USP_BUF_GIFT | USP_BUF_CAN_MERGE);
		if (!usp_buf_get(from, &buf, &copy))
			return done ? (ssize_t)done : -EFAULT;
		usp_pipe_push(pipe, &copy, 1);
		usp_pipe_advance(from, chunk);
		done += chunk;
	}
	return (ssize_t)done;
}

ssize_t usp_pipe_pull(struct usp_pipe *from, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = usp_pipe_take_read(from, flags, &len);

	if (ret <= 0)
		return ret;
	ret = stack_push(from, pipe, len);
	usp_pipe_end_read(from);
	return ret;
}

static ssize_t stack_pull_pipe(struct usp_file *below, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = usp_pipe_pull(usp_file_pipe(below), pipe, len,
				    usp_file_blocks(below, flags) ? flags : flags | USP_SPLICE_NONBLOCK);

	if (ret > 0)
		usp_file_account(below, USP_READ, USP_BY_REFERENCE, (size_t)ret, "references moved out of the pipe");
	return ret;
}

ssize_t usp_stack_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct usp_file *below = in->below;
	bool has_pos = in->traits & USP_FILE_SEEKABLE;
	int64_t *at = has_pos && !(pos == &in->pos && usp_file_shares_pos(below, &below->pos)) ? pos : &below->pos;
	ssize_t ret;

	if (usp_file_pipe(below))
		return stack_pull_pipe(below, pipe, len, flags);
	ret = usp_file_splice_read(below, at, pipe, len, flags);
	if (has_pos)
		*pos = *at;
	return ret;
}

ssize_t usp_stack_pull(struct usp_file *in, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = usp_pipe_begin_write(pipe, USP_SPLICE_NONBLOCK);

	if (ret < 0)
		return ret;
	ret = usp_stack_splice_read(in, &in->pos, pipe, len, flags);
	usp_pipe_end_write(pipe);
	return ret ? ret : usp_sock_end_error(in->below);
}

ssize_t usp_stack_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	return stack_iter(out, usp_file_try_write_iter, from, pos, flags);
}

/* --- Readiness, size, position --------------------------------------------------------------------------- */

unsigned usp_stack_poll(struct usp_file *file)
{
	return usp_file_poll(file->below);
}

int usp_stack_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	return usp_file_poll_fd(file->below, side, ret_events);
}

int64_t usp_stack_size(const struct usp_file *file)
{
	return usp_file_size(file->below);
}

int64_t usp_stack_seek(struct usp_file *file, int64_t off, int whence)
{
	struct usp_file *below = file->below;

	if (!usp_file_shares_pos(below, &below->pos))
		below->pos = file->pos;
	return usp_file_seek(below, off, whence);
}

/* --- The end ----------------------------------------------------------------------------------------------- */

int usp_stack_sync(struct usp_file *file)
{
	return usp_file_sync(file->below);
}

int usp_stack_shutdown(struct usp_file *file)
{
	return usp_file_shutdown(file->below);
}

int usp_stack_abort(struct usp_file *file)
{
	return usp_file_abort(file->below);
}

int usp_stack_release(struct usp_file *file)
{
	int ret = usp_file_close(file->below);

	usp_file_put(file->below);
	file->below = NULL;
	return ret;
}
