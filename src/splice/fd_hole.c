/* SPDX-License-Identifier: MIT */
/* fd_hole - find and make the holes of a regular file. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "splice/fd.h"

/* --- Finding ------------------------------------------------------------------------------------------- */

#define HOLE_CHECK_BYTES 16384
#define HOLE_CHECK_MAX ((int64_t)1 << 20)

/* Tell whether [pos, end) reads as zeros. */
static bool hole_reads_as_zeros(int fd, int64_t pos, int64_t end)
{
	unsigned char bytes[HOLE_CHECK_BYTES];

	while (pos < end) {
		const struct iovec iov = {.iov_base = bytes, .iov_len = usp_min(sizeof(bytes), (size_t)(end - pos))};
		ssize_t ret = usp_sys_readv(fd, &iov, 1, &pos);

		if (ret <= 0)
			return false;
		for (ssize_t i = 0; i < ret; i++) {
			if (bytes[i])
				return false;
		}
		pos += ret;
	}
	return true;
}

/* A server of FUSE may take anything for a hole. So one that it reports is read, a piece at a time. */
static void hole_doubt(struct usp_file *in, int64_t pos, struct usp_holes *holes)
{
	if (!holes->is_hole)
		return;
	if (!in->holes.trust)
		in->holes.trust = usp_sys_fs_type(in->fd) == FUSE_SUPER_MAGIC ? 2 : 1;
	if (in->holes.trust == 1)
		return;
	if (holes->end - pos > HOLE_CHECK_MAX)
		holes->end = pos + HOLE_CHECK_MAX;
	holes->is_hole = hole_reads_as_zeros(in->fd, pos, holes->end);
}

/* Ask the file system. An answer that cannot be true is data, which is what *ret_holes says before. */
static void hole_ask(int fd, int64_t pos, int64_t size, struct usp_holes *ret_holes)
{
	int64_t data = usp_sys_lseek(fd, pos, SEEK_DATA), end;

	if (data == -ENXIO)
		data = size;
	if (data < pos || data > size)
		return;
	end = data > pos ? data : usp_sys_lseek(fd, pos, SEEK_HOLE);
	if (end <= pos)
		return;
	ret_holes->is_hole = data > pos;
	ret_holes->end = end >= size && !ret_holes->is_hole ? INT64_MAX : end;
}

/*
 * SEEK_DATA and SEEK_HOLE move the offset of the description, which counts only where it is shared. A file
 * that has a block for each of its bytes is not asked: blocks that were only reserved are no holes.
 */
int usp_fd_find_hole(struct usp_file *in, int64_t pos, struct usp_holes *ret_holes)
{
	struct stat st;
	int ret = in->traits & USP_FILE_SHARED ? -EOPNOTSUPP : usp_sys_fstat(in->fd, &st);

	if (ret < 0)
		return ret;
	*ret_holes = (struct usp_holes){.end = INT64_MAX};
	if (pos < st.st_size && st.st_blocks < (st.st_size + 511) / 512) {
		hole_ask(in->fd, pos, st.st_size, ret_holes);
		hole_doubt(in, pos, ret_holes);
	}
	return 0;
}

/* --- Making -------------------------------------------------------------------------------------------- */

/* Return an error that a write would give, too; for all others write the zeros. */
static ssize_t hole_error(int error)
{
	return error == -EFBIG || error == -ENOSPC || error == -EDQUOT || error == -EIO ? error : -EOPNOTSUPP;
}

/*
 * Move the end of a file that appends. ftruncate(2) could cut off what another process has appended
 * meanwhile. A block at the end only adds.
 */
static int hole_append(int fd, int64_t len)
{
	struct stat st;
	int ret = usp_sys_fstat(fd, &st);

	return ret < 0 ? ret : usp_sys_fallocate(fd, 0, st.st_size + len - 1, 1);
}

/*
 * Punch what the file had there before the run. Behind that end there is nothing but what the run
 * writes, and the end itself moves with the next bytes, or when the run ends.
 */
static int hole_punch(struct usp_file *out, int64_t pos, int64_t len)
{
	struct usp_holes *holes = &out->holes;
	struct stat st;
	int64_t left;
	int ret = 0;

	if (!holes->is_sized) {
		ret = usp_sys_fstat(out->fd, &st);
		if (ret < 0)
			return ret;
		holes->old_size = st.st_size;
		holes->is_sized = true;
	}
	left = holes->old_size - pos;
	if (left > 0)
		ret = usp_sys_fallocate(out->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos,
					left < len ? left : len);
	if (ret == 0)
		holes->grown = pos + len;
	return ret;
}

ssize_t usp_fd_make_hole(struct usp_file *out, int64_t pos, size_t len)
{
	bool appends = atomic_load(usp_u32(&out->flags)) & USP_APPEND;
	int ret;

	if (out->traits & USP_FILE_SHARED || len > (size_t)(INT64_MAX - pos))
		return -EOPNOTSUPP;
	ret = appends ? hole_append(out->fd, (int64_t)len) : hole_punch(out, pos, (int64_t)len);
	return ret < 0 ? hole_error(ret) : (ssize_t)len;
}
