/* SPDX-License-Identifier: MIT */
/* fd - the hooks of endpoints that are plain descriptors. */
#include "splice/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "splice/file.h"

/* No device asks for more than a page with O_DIRECT. What the kernel refuses all the same goes buffered. */
#define FD_DIRECT_ALIGN 4096u
#define FD_DIRECT_SEGS_MAX 64

int usp_fd_access(unsigned mode)
{
	if (mode == (USP_READ | USP_WRITE))
		return O_RDWR;
	return mode == USP_WRITE ? O_WRONLY : O_RDONLY;
}

int usp_fd_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, const char *name, unsigned traits,
		    struct usp_file **ret_file)
{
	struct usp_file *file;
	int ret = usp_file_new(ops, mode, name, NULL, &file);

	if (ret < 0)
		return ret;
	file->fd = fd;
	file->traits = traits;
	*ret_file = file;
	return 0;
}

void usp_fd_find_pos(struct usp_file *file)
{
	int64_t pos = usp_sys_lseek(file->fd, 0, SEEK_CUR);

	if (pos < 0)
		return;
	file->traits |= USP_FILE_SEEKABLE;
	file->pos = pos;
}

int usp_fd_set_nonblock(int fd)
{
	int flags = usp_sys_get_flags(fd);

	if (flags < 0)
		return flags;
	return flags & O_NONBLOCK ? 0 : usp_sys_set_flags(fd, flags | O_NONBLOCK);
}

int usp_fd_unshare(int fd)
{
	int flags = usp_sys_get_flags(fd), own, ret;

	if (flags < 0)
		return flags;
	own = usp_sys_reopen(fd, (flags & (O_ACCMODE | O_DIRECT)) | O_NONBLOCK | O_NOCTTY);
	if (own < 0)
		return own;
	ret = usp_sys_replace(own, fd);
	if (ret < 0)
		usp_sys_close(own);
	return ret < 0 ? ret : 0;
}

/* --- One call ------------------------------------------------------------------------------------ */

/* Cut an iter to what one system call takes: no empty segments in front, and at most IOV_MAX. */
static struct usp_iter fd_clamp(const struct usp_iter *iter)
{
	struct usp_iter clamped = *iter;

	while (clamped.nr_segs && clamped.iov->iov_len == 0) {
		clamped.iov++;
		clamped.nr_segs--;
	}
	clamped.nr_segs = (unsigned)usp_min(clamped.nr_segs, IOV_MAX);
	return clamped;
}

/* NULL (the descriptor's own offset) for a stream, for a shared offset, and for appending: others may move the end. */
static const int64_t *fd_offset(const struct usp_file *file, unsigned side, const int64_t *pos)
{
	if (!(file->traits & USP_FILE_SEEKABLE) || usp_file_shares_pos(file, pos))
		return NULL;
	return side == USP_WRITE && atomic_load(usp_u32(&file->flags)) & USP_APPEND ? NULL : pos;
}

static ssize_t fd_write_guarded(int fd, const struct usp_iter *iter)
{
	struct usp_sigpipe_guard guard;
	ssize_t ret;

	usp_sigpipe_begin(&guard);
	ret = usp_sys_writev(fd, iter->iov, iter->nr_segs, NULL);
	usp_sigpipe_end(&guard);
	return ret;
}

static ssize_t fd_call(struct usp_file *file, unsigned side, const struct usp_iter *iter, const int64_t *pos)
{
	const int64_t *offset = fd_offset(file, side, pos);

	if (side == USP_READ)
		return usp_sys_readv(file->fd, iter->iov, iter->nr_segs, offset);
	if (file->traits & USP_FILE_SIGPIPE)
		return fd_write_guarded(file->fd, iter);
	return usp_sys_writev(file->fd, iter->iov, iter->nr_segs, offset);
}

int usp_fd_peek(const struct usp_file *file, const int64_t *pos)
{
	int64_t at = usp_file_shares_pos(file, pos) ? usp_sys_lseek(file->fd, 0, SEEK_CUR) : *pos;
	unsigned char byte;

	return (int)usp_sys_readv(file->fd, &(struct iovec){.iov_base = &byte, .iov_len = 1}, 1, &at);
}

/* --- O_DIRECT -------------------------------------------------------------------------------------
 * Whole blocks of aligned memory go directly. The rest, most often the tail of a file, goes through
 * the page cache: the flag is cleared for that call. A flag that others share stays set, and the
 * kernel gives its error.
 */

/* Copy the leading part of iter that may go directly to segs; the number of segments. */
static unsigned fd_cut_aligned(const struct usp_iter *iter, int64_t pos, struct iovec segs[FD_DIRECT_SEGS_MAX])
{
	unsigned nr_segs = 0;

	if (pos % FD_DIRECT_ALIGN)
		return 0;
	while (nr_segs < iter->nr_segs && nr_segs < FD_DIRECT_SEGS_MAX) {
		const struct iovec *seg = &iter->iov[nr_segs];
		size_t len = seg->iov_len - seg->iov_len % FD_DIRECT_ALIGN;

		if (len == 0 || (uintptr_t)seg->iov_base % FD_DIRECT_ALIGN)
			break;
		segs[nr_segs++] = (struct iovec){.iov_base = seg->iov_base, .iov_len = len};
		if (len < seg->iov_len)
			break;
	}
	return nr_segs;
}

static ssize_t fd_call_buffered(struct usp_file *file, unsigned side, const struct usp_iter *iter, const int64_t *pos)
{
	int flags;
	ssize_t ret;

	if (file->traits & USP_FILE_SHARED)
		return fd_call(file, side, iter, pos);
	flags = usp_sys_get_flags(file->fd);
	if (flags < 0)
		return flags;
	ret = usp_sys_set_flags(file->fd, flags & ~O_DIRECT);
	if (ret < 0)
		return ret;
	ret = fd_call(file, side, iter, pos);
	usp_sys_set_flags(file->fd, flags);
	return ret;
}

static ssize_t fd_call_direct(struct usp_file *file, unsigned side, const struct usp_iter *iter, const int64_t *pos)
{
	int64_t at = usp_file_shares_pos(file, pos) ? usp_sys_lseek(file->fd, 0, SEEK_CUR) : *pos;
	struct iovec segs[FD_DIRECT_SEGS_MAX], head;
	struct usp_iter part = {.iov = segs, .nr_segs = fd_cut_aligned(iter, at, segs)};
	size_t past = (size_t)(at % FD_DIRECT_ALIGN);

	if (part.nr_segs) {
		ssize_t ret = fd_call(file, side, &part, pos);

		if (ret != -EINVAL)
			return ret;
	}
	if (past == 0 || iter->nr_segs == 0)
		return fd_call_buffered(file, side, iter, pos);
	/* Only up to the next block, so that what follows can go directly again. */
	head = (struct iovec){
		.iov_base = iter->iov->iov_base,
		.iov_len = usp_min(iter->iov->iov_len, FD_DIRECT_ALIGN - past),
	};
	return fd_call_buffered(file, side, &(struct usp_iter){.iov = &head, .nr_segs = 1}, pos);
}

static bool fd_knows_pos(const struct usp_file *file, unsigned side, const int64_t *pos)
{
	return fd_offset(file, side, pos) || usp_file_shares_pos(file, pos);
}

/* --- The hooks ------------------------------------------------------------------------------------ */

static ssize_t fd_iter(struct usp_file *file, unsigned side, const struct usp_iter *iter, int64_t *pos)
{
	struct usp_iter clamped = fd_clamp(iter);
	ssize_t ret;

	if (atomic_load(usp_u32(&file->flags)) & USP_DIRECT)
		ret = fd_call_direct(file, side, &clamped, pos);
	else
		ret = fd_call(file, side, &clamped, pos);
	if (ret > 0 && file->traits & USP_FILE_SEEKABLE)
		*pos = fd_knows_pos(file, side, pos) ? *pos + ret : usp_sys_lseek(file->fd, 0, SEEK_CUR);
	return ret;
}

ssize_t usp_fd_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	(void)flags;
	return fd_iter(in, USP_READ, to, pos);
}

/*
 * Some files have positions for reading only: most of /proc and some of tracefs (seq_file) refuse
 * pwrite(2) with ESPIPE. Move the offset of the description, which is not shared, and write there, as
 * dd(1) does. Then take over the resulting offset.
 */
static ssize_t fd_write_in_order(struct usp_file *out, const struct usp_iter *from, int64_t *pos)
{
	struct usp_iter clamped = fd_clamp(from);
	int64_t at = usp_sys_lseek(out->fd, *pos, SEEK_SET);
	ssize_t ret = at < 0 ? (ssize_t)at : usp_sys_writev(out->fd, clamped.iov, clamped.nr_segs, NULL);

	if (ret > 0)
		*pos = usp_sys_lseek(out->fd, 0, SEEK_CUR);
	return ret;
}

ssize_t usp_fd_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	ssize_t ret = fd_iter(out, USP_WRITE, from, pos);

	(void)flags;
	if (ret == -ESPIPE && pos == &out->pos && fd_offset(out, USP_WRITE, pos))
		return fd_write_in_order(out, from, pos);
	return ret;
}

/* An error on the descriptor counts as ready: the read or write itself returns it. */
static int fd_is_ready(int fd, short events)
{
	struct pollfd ready = {.fd = fd, .events = events};
	int ret = usp_sys_poll(&ready, 1, 0);

	return ret == 0 ? -EAGAIN : ret;
}

ssize_t usp_fd_polled_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	int ret = fd_is_ready(in->fd, POLLIN);

	return ret < 0 ? ret : usp_fd_read_iter(in, to, pos, flags);
}

ssize_t usp_fd_polled_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct usp_iter iter = fd_clamp(from);
	struct iovec head;
	int ret = fd_is_ready(out->fd, POLLOUT);

	if (ret < 0)
		return ret;
	if (iter.nr_segs == 0)
		return 0;
	head = (struct iovec){.iov_base = iter.iov->iov_base, .iov_len = usp_min(iter.iov->iov_len, PIPE_BUF)};
	iter = (struct usp_iter){.iov = &head, .nr_segs = 1, .count = head.iov_len};
	return usp_fd_write_iter(out, &iter, pos, flags);
}

/* -EINVAL: the object has no storage. -EROFS: nothing can be written, so nothing is left to sync. */
int usp_fd_sync(struct usp_file *file)
{
	int ret = usp_sys_fsync(file->fd);

	return ret == -EINVAL || ret == -EROFS ? 0 : ret;
}

int usp_fd_release(struct usp_file *file)
{
	return usp_sys_close(file->fd);
}
