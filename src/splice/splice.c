/* SPDX-License-Identifier: MIT */
/* splice - dispatch by the kinds of the two files, the checks in the kernel's order, and the positions (S1-S26). */
#include <errno.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "splice/file.h"
#include "splice/pipe.h"

static bool file_is_nonblock(const struct usp_file *file)
{
	return atomic_load(usp_u32(&file->flags)) & USP_NONBLOCK;
}

/* The checks of S8, then the sink's hook. */
static ssize_t splice_pipe_to_file(struct usp_file *in, struct usp_file *out, int64_t *off_out, size_t len,
				   unsigned flags)
{
	int64_t *pos = off_out ? off_out : &out->pos;
	ssize_t ret;

	if (off_out && !(out->traits & USP_FILE_SEEKABLE))
		return -EINVAL;
	if (atomic_load(usp_u32(&out->flags)) & USP_APPEND)
		return -EINVAL;
	ret = usp_file_verify_area(*pos, len);
	if (ret < 0)
		return ret;
	if (file_is_nonblock(in))
		flags |= USP_SPLICE_NONBLOCK;
	return usp_file_splice_write(usp_file_pipe(in), out, pos, len, flags);
}

/* S9: report a broken or full pipe before the source's hook is called. */
static ssize_t splice_file_to_pipe(struct usp_file *in, int64_t *off_in, struct usp_file *out, size_t len,
				   unsigned flags)
{
	struct usp_pipe *pipe = usp_file_pipe(out);
	int64_t *pos = off_in ? off_in : &in->pos;
	ssize_t ret;

	if (off_in && !(in->traits & USP_FILE_SEEKABLE))
		return -EINVAL;
	ret = usp_file_verify_area(*pos, len);
	if (ret < 0)
		return ret;
	if (file_is_nonblock(out))
		flags |= USP_SPLICE_NONBLOCK;
	ret = usp_pipe_begin_write(pipe, flags);
	if (ret < 0)
		return ret;
	ret = usp_file_splice_read(in, pos, pipe, len, flags);
	usp_pipe_end_write(pipe);
	return ret;
}

static ssize_t splice_pipe_to_pipe(struct usp_file *in, struct usp_file *out, size_t len, unsigned flags, bool is_move)
{
	if (file_is_nonblock(in) || file_is_nonblock(out))
		flags |= USP_SPLICE_NONBLOCK;
	return usp_pipe_transfer(usp_file_pipe(in), usp_file_pipe(out), usp_min(len, USP_MAX_RW_COUNT), flags, is_move);
}

ssize_t usp_splice(struct usp_file *in, int64_t *off_in, struct usp_file *out, int64_t *off_out, size_t len,
		   unsigned flags)
{
	struct usp_pipe *ipipe, *opipe;

	if (len == 0)
		return 0;
	if (flags & ~USP_SPLICE_ALL)
		return -EINVAL;
	ipipe = usp_file_pipe(in);
	opipe = usp_file_pipe(out);
	if ((ipipe && off_in) || (opipe && off_out))
		return -ESPIPE;
	if (!(in->mode & USP_READ) || !(out->mode & USP_WRITE))
		return -EBADF;
	if (ipipe && opipe)
		return ipipe == opipe ? -EINVAL : splice_pipe_to_pipe(in, out, len, flags, true);
	if (ipipe)
		return splice_pipe_to_file(in, out, off_out, len, flags);
	if (opipe)
		return splice_file_to_pipe(in, off_in, out, len, flags);
	return -EINVAL;
}

/* tee checks the flags first, unlike splice (T9). */
ssize_t usp_tee(struct usp_file *in, struct usp_file *out, size_t len, unsigned flags)
{
	struct usp_pipe *ipipe = usp_file_pipe(in), *opipe = usp_file_pipe(out);

	if (flags & ~USP_SPLICE_ALL)
		return -EINVAL;
	if (len == 0)
		return 0;
	if (!(in->mode & USP_READ) || !(out->mode & USP_WRITE))
		return -EBADF;
	if (!ipipe || !opipe || ipipe == opipe)
		return -EINVAL;
	return splice_pipe_to_pipe(in, out, len, flags, false);
}
