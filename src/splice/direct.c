/* SPDX-License-Identifier: MIT */
/*
 * direct - sendfile between any two files, in chunks through a pipe. The source is set back to what a
 * short sink took (H19-H23).
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define DIRECT_PIPE_BYTES ((size_t)1 << 20)   /* kernel pipes are widest at 1 MiB, and fastest */
#define DIRECT_USER_BYTES ((size_t)256 << 10) /* so that copies stay in the cache */

/* H24, in the order of the kernel. The caller handles the special cases of pipes. */
static int direct_check(const struct usp_file *in, int64_t pos_in, const struct usp_file *out, const int64_t *off_out,
			int64_t pos_out, size_t len)
{
	int ret;

	if (!(in->mode & USP_READ))
		return -EBADF;
	ret = usp_file_verify_area(pos_in, len);
	if (ret < 0)
		return ret;
	if (!(out->mode & USP_WRITE))
		return -EBADF;
	if (off_out && !(out->traits & USP_FILE_SEEKABLE))
		return -EINVAL;
	if (atomic_load(usp_u32(&out->flags)) & USP_APPEND || !(in->traits & USP_FILE_SEEKABLE))
		return -EINVAL;
	return usp_file_verify_area(pos_out, usp_min(len, USP_MAX_RW_COUNT));
}

static ssize_t direct_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = usp_pipe_begin_write(pipe, flags | USP_SPLICE_NONBLOCK); /* empty, so there is room */

	if (ret < 0)
		return ret;
	ret = usp_file_splice_read(
		in, pos, pipe, usp_min(len, usp_file_side(in, USP_READ)->lane ? DIRECT_PIPE_BYTES : DIRECT_USER_BYTES),
		flags);
	usp_pipe_end_write(pipe);
	return ret;
}

/* Write a chunk out, until a call moves nothing. Returns the bytes, or that call's error if there are none. */
static ssize_t direct_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	size_t done = 0;
	ssize_t ret = 0;

	while (done < len) {
		ret = usp_file_splice_write(pipe, out, pos, usp_file_offer(out, len - done), flags);
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	return done ? (ssize_t)done : ret;
}

static void direct_drain(struct usp_pipe *pipe)
{
	if (usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK) <= 0)
		return;
	usp_pipe_advance(pipe, usp_pipe_len(pipe));
	usp_pipe_end_read(pipe);
}

/* Set the source back: bytes that the sink did not take count as not read. */
static void direct_rewind(struct usp_file *in, int64_t *pos, int64_t len)
{
	if (usp_file_shares_pos(in, pos))
		usp_file_seek(in, -len, SEEK_CUR);
	else
		*pos -= len;
}

static ssize_t direct_run(struct usp_file *in, int64_t *pos_in, struct usp_file *out, int64_t *pos_out, size_t len,
			  unsigned flags, struct usp_pipe *pipe)
{
	size_t done = 0;
	ssize_t ret = 0;

	while (done < len) {
		ssize_t nr_read;

		nr_read = ret = direct_read(in, pos_in, pipe, len - done, flags);
		if (ret <= 0)
			break;
		ret = direct_write(pipe, out, pos_out, (size_t)nr_read, flags);
		if (ret < nr_read) {
			direct_rewind(in, pos_in, nr_read - (ret > 0 ? ret : 0));
			direct_drain(pipe);
			done += ret > 0 ? (size_t)ret : 0;
			break;
		}
		done += (size_t)ret;
	}
	return done ? (ssize_t)done : ret;
}

/* Use the caller's pipe, or make one in *ret_own. -EINVAL if ends are not one pipe; -EBUSY if it is not empty. */
static int direct_pipe(struct usp_file *const ends[2], struct usp_pipe **ret_pipe, struct usp_pipe **ret_own)
{
	struct usp_pipe_params params = {.size = sizeof(params),
					 .nr_slots = 16,
					 .slot_bytes = DIRECT_PIPE_BYTES,
					 .max_bytes = DIRECT_PIPE_BYTES};
	int ret;

	if (!ends) {
		ret = usp_pipe_new(&params, ret_own);
		if (ret == 0)
			*ret_pipe = *ret_own;
		return ret;
	}
	*ret_pipe = usp_file_pipe(ends[0]);
	if (!*ret_pipe || *ret_pipe != usp_file_pipe(ends[1]) || !(ends[0]->mode & USP_READ) ||
	    !(ends[1]->mode & USP_WRITE))
		return -EINVAL;
	return usp_pipe_len(*ret_pipe) ? -EBUSY : 0;
}

ssize_t usp_splice_direct(struct usp_file *in, int64_t *off_in, struct usp_file *out, int64_t *off_out, size_t len,
			  unsigned flags, struct usp_file *const pipe[2])
{
	int64_t *pos_in = off_in ? off_in : &in->pos, *pos_out = off_out ? off_out : &out->pos;
	struct usp_pipe *through = NULL, *own = NULL;
	ssize_t ret;

	if (flags & ~USP_SPLICE_ALL)
		return -EINVAL;
	if (off_in && in->mode & USP_READ && !(in->traits & USP_FILE_SEEKABLE))
		return -ESPIPE; /* first of all, where usp_splice says -EINVAL (H24) */
	if (usp_file_pipe(out) && !usp_file_pipe(in))
		return usp_splice(in, off_in, out, off_out, len, flags); /* one pass, as sendfile to a pipe does */
	ret = direct_check(in, *pos_in, out, off_out, *pos_out, len);
	if (ret < 0 || len == 0)
		return ret;
	ret = direct_pipe(pipe, &through, &own);
	if (ret < 0)
		return ret;
	ret = direct_run(in, pos_in, out, pos_out, usp_min(len, USP_MAX_RW_COUNT), flags, through);
	usp_pipe_free(own);
	return ret;
}
