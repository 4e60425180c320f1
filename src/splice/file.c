/* SPDX-License-Identifier: MIT */
/* file - endpoint objects, and the doors through which every hook is called. */
#include "splice/file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "splice/hole.h"
#include "splice/iter.h"
#include "splice/pipe.h"

#define FILE_NAP_NS 1000000 /* before a file is asked again that was not ready, and says that it is */

/* --- Life ---------------------------------------------------------------------------------------- */

int usp_file_new(const struct usp_file_ops *ops, unsigned mode, const char *spec, void *priv,
		 struct usp_file **ret_file)
{
	const size_t least = offsetof(struct usp_file_ops, release) + sizeof(ops->release);
	struct usp_file *file;
	int ret = usp_sized_check(ops, sizeof(*ops), least);

	if (ret == 0 && mode & ~(USP_READ | USP_WRITE))
		ret = -EINVAL;
	if (ret < 0)
		return ret;
	file = usp_alloc(sizeof(*file) + strlen(spec) + 1);
	if (!file)
		return -ENOMEM;
	file->spec = memcpy(file + 1, spec, strlen(spec) + 1); /* one allocation: a relay has many files */
	file->ops = ops;
	file->mode = mode;
	file->priv = priv;
	file->fd = -1;
	atomic_init(usp_u32(&file->refs), 1);
	usp_file_side(file, USP_READ)->lane_way = usp_file_side(file, USP_WRITE)->lane_way = USP_UNKNOWN;
	*ret_file = file;
	return 0;
}

struct usp_file *usp_file_get(struct usp_file *file)
{
	atomic_fetch_add_explicit(usp_u32(&file->refs), 1, memory_order_relaxed);
	return file;
}

void usp_file_put(struct usp_file *file)
{
	if (!file || atomic_fetch_sub_explicit(usp_u32(&file->refs), 1, memory_order_acq_rel) != 1)
		return;
	usp_file_close(file);
	usp_free(file);
}

const char *usp_file_spec(const struct usp_file *file)
{
	return file->spec;
}

const char *usp_file_type(const struct usp_file *file)
{
	return file->ops->name;
}

int usp_file_fd(const struct usp_file *file)
{
	return file->fd >= 0 ? file->fd : -ENXIO;
}

unsigned usp_file_flags(const struct usp_file *file)
{
	return atomic_load(usp_u32(&file->flags));
}

int usp_file_set_flags(struct usp_file *file, unsigned flags)
{
	unsigned fixed = USP_APPEND | USP_DIRECT, old = atomic_load(usp_u32(&file->flags));
	unsigned may = USP_NONBLOCK | (usp_file_pipe(file) && file->mode & USP_WRITE ? USP_PACKET : 0);

	if ((flags & ~may) != (old & fixed))
		return -EINVAL;
	atomic_store(usp_u32(&file->flags), flags);
	return 0;
}

void usp_file_unread(struct usp_file *source, uint64_t len)
{
	int64_t pos;

	while (source->below && source->traits & USP_FILE_OBSERVES)
		source = source->below;
	pos = source->pos;
	if (len && usp_file_shares_pos(source, &source->pos) && usp_file_seek(source, 0, SEEK_CUR) == pos)
		usp_file_seek(source, -(int64_t)len, SEEK_CUR);
}

int64_t usp_file_size(const struct usp_file *file)
{
	int64_t (*get_size)(const struct usp_file *) = USP_FILE_HOOK(file, get_size);
	struct stat st;
	int ret;

	if (get_size)
		return get_size(file);
	ret = !file->mode ? -EBADF : file->fd < 0 ? -EINVAL : usp_sys_fstat(file->fd, &st);
	if (ret < 0)
		return ret;
	return S_ISBLK(st.st_mode) ? usp_sys_block_size(file->fd) : S_ISREG(st.st_mode) ? st.st_size : -EINVAL;
}

/* Move or ask for the offset of the description; file->pos follows. */
static int64_t file_seek_shared(struct usp_file *file, int64_t off, int whence)
{
	int64_t pos = usp_sys_lseek(file->fd, off, whence);

	if (pos >= 0)
		file->pos = pos;
	return pos;
}

int64_t usp_file_seek(struct usp_file *file, int64_t off, int whence)
{
	int64_t (*seek)(struct usp_file *, int64_t, int) = USP_FILE_HOOK(file, seek);
	bool shares_offset;
	int64_t base;

	if (!(file->traits & USP_FILE_SEEKABLE))
		return file->mode ? -ESPIPE : -EBADF;
	if (seek) {
		base = seek(file, off, whence);
		file->pos = base < 0 ? file->pos : base;
		return base;
	}
	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return -EINVAL;
	shares_offset = file->fd >= 0 && usp_file_shares_pos(file, &file->pos);
	if (shares_offset && whence != SEEK_END)
		return file_seek_shared(file, off, whence);
	base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? file->pos : usp_file_size(file);
	if (base < 0)
		return base;
	if (off > INT64_MAX - base || base + off < 0)
		return -EINVAL;
	if (shares_offset)
		return file_seek_shared(file, base + off, SEEK_SET);
	file->pos = base + off;
	return file->pos;
}

/* --- Waiting ------------------------------------------------------------------------------------- */

bool usp_file_blocks(const struct usp_file *file, unsigned flags)
{
	if (atomic_load_explicit(usp_u32(&file->flags), memory_order_relaxed) & USP_NONBLOCK)
		return false;
	return file->traits & USP_FILE_SOCKET || !(flags & USP_SPLICE_NONBLOCK);
}

int usp_file_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	int (*poll_fd)(struct usp_file *, unsigned, short *) = USP_FILE_HOOK(file, poll_fd);

	if (side != USP_READ && side != USP_WRITE)
		return -EINVAL;
	if (poll_fd)
		return poll_fd(file, side, ret_events);
	if (file->fd < 0 || !(file->traits & USP_FILE_POLLABLE))
		return -EPERM;
	*ret_events = side == USP_READ ? POLLIN : POLLOUT;
	return file->fd;
}

int usp_file_wait(struct usp_file *file, unsigned side)
{
	struct pollfd fd = {.events = side == USP_READ ? POLLIN : POLLOUT};
	int64_t timeout_ns = 0;
	int ret;

	fd.fd = usp_file_poll_fd(file, side, &fd.events);
	if (fd.fd == -EPERM && file->fd < 0 && USP_FILE_HOOK(file, poll_fd)) { /* it has become ready meanwhile */
		ret = usp_sys_poll(&fd, 0, FILE_NAP_NS);
		return ret < 0 ? ret : 0;
	}
	if (fd.fd == -EPERM)
		fd.fd = file->fd;
	if (fd.fd < 0)
		return -EAGAIN;		    /* nothing to wait on: keep the hook's result */
	if (file->traits & USP_FILE_SOCKET) /* each time: others may change it */
		timeout_ns = usp_sys_socket_timeout(file->fd, side == USP_READ ? SO_RCVTIMEO : SO_SNDTIMEO);
	ret = usp_sys_poll(&fd, 1, timeout_ns > 0 ? timeout_ns : -1);
	return ret < 0 ? ret : ret == 0 ? -EAGAIN : fd.revents & POLLNVAL ? -EBADF : 0;
}

int usp_file_await(struct usp_file *file, unsigned side, unsigned flags)
{
	return usp_file_blocks(file, flags) ? usp_file_wait(file, side) : -EAGAIN;
}

/* Ask what poll_fd says for one side; the answer as if the side had a descriptor of its own. */
static unsigned file_poll_side(struct usp_file *file, unsigned side)
{
	unsigned bit = side == USP_READ ? POLLIN : POLLOUT;
	struct pollfd fd = {.events = 0};

	if (!(file->mode & side))
		return 0;
	fd.fd = usp_file_poll_fd(file, side, &fd.events);
	if (fd.fd < 0)
		return fd.fd == -EPERM ? bit : POLLERR;
	if (usp_sys_poll(&fd, 1, 0) < 0)
		return 0;
	return (fd.revents & fd.events ? bit : 0) | ((unsigned)fd.revents & (POLLERR | POLLHUP));
}

unsigned usp_file_poll(struct usp_file *file)
{
	struct pollfd fd = {.fd = file->fd, .events = POLLIN | POLLOUT};
	unsigned always = (file->mode & USP_READ ? POLLIN : 0) | (file->mode & USP_WRITE ? POLLOUT : 0);

	if (file->ops->poll)
		return file->ops->poll(file);
	if (USP_FILE_HOOK(file, poll_fd))
		return file_poll_side(file, USP_READ) | file_poll_side(file, USP_WRITE);
	if (file->fd < 0 || !(file->traits & USP_FILE_POLLABLE))
		return always;
	return usp_sys_poll(&fd, 1, 0) < 0 ? 0 : (unsigned)fd.revents;
}

unsigned usp_blocked_side(struct usp_file *in, struct usp_file *out)
{
	unsigned in_bits = usp_file_poll(in), out_bits = usp_file_poll(out), side = 0;

	if (!(in_bits & (POLLIN | POLLHUP | POLLERR)))
		side |= USP_READ;
	if (!(out_bits & (POLLOUT | POLLERR)))
		side |= USP_WRITE;
	return side;
}

/* --- Errors behind progress ----------------------------------------------------------------------- */

ssize_t usp_file_progress(struct usp_file *file, unsigned side, size_t done, ssize_t ret)
{
	if (!done)
		return ret;
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		atomic_store(usp_int(&usp_file_side(file, side)->late_error), (int)ret);
	return (ssize_t)done;
}

static int file_take_error(struct usp_file *file, unsigned side)
{
	atomic_int *error = usp_int(&usp_file_side(file, side)->late_error);

	return atomic_load_explicit(error, memory_order_relaxed) ? atomic_exchange(error, 0) : 0;
}

/* The table of a closed file: no hook can be called any more. */
static const struct usp_file_ops file_closed_ops = {.size = sizeof(struct usp_file_ops), .name = "closed"};

int usp_file_close(struct usp_file *file)
{
	int error = file_take_error(file, USP_WRITE), ret;

	ret = file->ops->release ? file->ops->release(file) : 0;
	file->ops = &file_closed_ops;
	file->mode = 0;
	file->traits = 0;
	file->fd = -1;
	return error < 0 ? error : ret;
}

int usp_file_sync(struct usp_file *file)
{
	int ret = file->mode ? file_take_error(file, USP_WRITE) : -EBADF;

	return ret < 0 || !file->ops->sync ? ret : file->ops->sync(file);
}

int usp_file_shutdown(struct usp_file *file)
{
	int ret = file->mode ? file_take_error(file, USP_WRITE) : -EBADF;

	return ret < 0 || !file->ops->shutdown ? ret : file->ops->shutdown(file);
}

int usp_file_abort(struct usp_file *file)
{
	int (*hook)(struct usp_file *) = USP_FILE_HOOK(file, abort);

	return !file->mode ? -EBADF : hook ? hook(file) : 0;
}

/* --- The doors ----------------------------------------------------------------------------------- */

int usp_file_verify_area(int64_t pos, size_t len)
{
	if (len > SSIZE_MAX || pos < 0 || pos > INT64_MAX - (int64_t)len)
		return -EINVAL;
	return 0;
}

size_t usp_file_offer(const struct usp_file *out, size_t len)
{
	return out->traits & USP_FILE_DATAGRAM ? usp_min(len, out->io_bytes) : len;
}

int usp_file_next(struct usp_file *file)
{
	int (*next)(struct usp_file *) = USP_FILE_HOOK(file, next),
				    (*end)(struct usp_file *) = USP_FILE_HOOK(file, end);
	int ret = next ? next(file) : 0;

	return ret == 0 && end ? end(file) : ret;
}

/* Tell whether reading has come to an end. A peer that left input unread ends with a reset: the hook end judges that. */
static bool file_is_end(const struct usp_file *in, ssize_t ret)
{
	return ret == 0 || (ret == -ECONNRESET && USP_FILE_HOOK(in, end));
}

/* A hook that returns more than it was given has already corrupted something: -EIO, and count nothing. */
static ssize_t file_check_result(ssize_t ret, size_t len)
{
	return ret > 0 && (size_t)ret > len ? -EIO : ret;
}

ssize_t usp_file_try_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	ssize_t ret;

	if (!(in->mode & USP_READ))
		return -EBADF;
	if (!in->ops->read_iter)
		return -EINVAL;
	ret = file_take_error(in, USP_READ);
	if (ret < 0)
		return ret;
	do
		ret = file_check_result(in->ops->read_iter(in, to, pos, flags), to->count);
	while (to->count && file_is_end(in, ret) && (ret = usp_file_next(in)) > 0);
	return ret;
}

ssize_t usp_file_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	ssize_t ret;

	do
		ret = usp_file_try_read_iter(in, to, pos, flags);
	while (ret == -EAGAIN && (ret = usp_file_await(in, USP_READ, flags)) == 0);
	return ret;
}

ssize_t usp_file_try_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	ssize_t ret;

	if (!(out->mode & USP_WRITE))
		return -EBADF;
	if (!out->ops->write_iter)
		return -EINVAL;
	ret = file_take_error(out, USP_WRITE);
	return ret < 0 ? ret : file_check_result(out->ops->write_iter(out, from, pos, flags), from->count);
}

ssize_t usp_file_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	ssize_t ret;

	do
		ret = usp_file_try_write_iter(out, from, pos, flags);
	while (ret == -EAGAIN && (ret = usp_file_await(out, USP_WRITE, flags)) == 0);
	return ret;
}

/*
 * Make three numbers equal: what a splice_read hook returned, what it pushed, and how far it moved the
 * position (C17). The ring decides: its bytes will be delivered, whatever the hook returned.
 */
static ssize_t file_reconcile_read(struct usp_file *in, int64_t start, int64_t *pos, size_t pushed, ssize_t ret)
{
	if (pushed == 0 && ret > 0)
		ret = -EIO;
	else if (pushed > 0)
		ret = usp_file_progress(in, USP_READ, pushed, ret);
	if (usp_file_has_pos(in))
		*pos = start + (ret > 0 ? ret : 0);
	return ret;
}

/* Return the lane that replaces the hooks of a file. One whose side is that of the file below calls the door of that. */
static const struct usp_lane *file_lane(const struct usp_file *file, unsigned side)
{
	return file->traits & USP_FILE_SIDE_BELOW ? NULL : usp_file_side(file, side)->lane;
}

/* As usp_file_next, but wait for the judgement of the end if the file blocks. */
static int file_await_next(struct usp_file *in, unsigned flags)
{
	int ret;

	do
		ret = usp_file_next(in);
	while (ret == -EAGAIN && (ret = usp_file_await(in, USP_READ, flags)) == 0);
	return ret;
}

/* Call the hook of the lane that the file is on now. */
static ssize_t file_splice_read_once(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
				     unsigned flags)
{
	const struct usp_lane *lane = file_lane(in, USP_READ);
	ssize_t (*hook)(struct usp_file *, int64_t *, struct usp_pipe *, size_t, unsigned) =
		lane ? lane->splice_read : in->ops->splice_read;
	size_t before = pipe->turn_bytes; /* only the holder of the write turn changes it */
	int64_t start = *pos;
	ssize_t ret;

	if (hook && usp_hole_is_next(in, pos, &len))
		ret = usp_hole_push(in, pipe, len);
	else
		ret = hook ? hook(in, pos, pipe, len, flags) : -EINVAL;
	return file_reconcile_read(in, start, pos, pipe->turn_bytes - before, ret);
}

ssize_t usp_file_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret;

	if (!(in->mode & USP_READ))
		return -EBADF;
	if (len == 0)
		return 0;
	ret = file_take_error(in, USP_READ);
	if (ret < 0)
		return ret;
	len = usp_min(len, USP_MAX_RW_COUNT);
	do
		ret = file_splice_read_once(in, pos, pipe, len, flags);
	while (file_is_end(in, ret) && (ret = file_await_next(in, flags)) > 0);
	return ret;
}

ssize_t usp_file_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	const struct usp_lane *lane = file_lane(out, USP_WRITE);
	ssize_t (*hook)(struct usp_pipe *, struct usp_file *, int64_t *, size_t, unsigned);
	ssize_t ret;

	if (!(out->mode & USP_WRITE))
		return -EBADF;
	if (len == 0)
		return 0;
	hook = lane ? lane->splice_write : out->ops->splice_write;
	if (!hook)
		return -EINVAL;
	ret = file_take_error(out, USP_WRITE);
	if (ret < 0)
		return ret;
	len = usp_min(len, USP_MAX_RW_COUNT);
	ret = usp_hole_splice_write(pipe, out, pos, &len, flags);
	if (ret)
		return ret;
	return file_check_result(hook(pipe, out, pos, len, flags), len);
}

/* --- read and write ------------------------------------------------------------------------------ */

ssize_t usp_readv(struct usp_file *file, const struct iovec *iov, unsigned nr_segs)
{
	struct iovec cut[USP_ITER_SEGS_MAX];
	struct usp_iter to;
	int ret = usp_iter_import(iov, nr_segs, cut, &to);

	if (ret < 0)
		return ret;
	return usp_file_read_iter(file, &to, &file->pos, 0);
}

ssize_t usp_writev(struct usp_file *file, const struct iovec *iov, unsigned nr_segs)
{
	struct iovec cut[USP_ITER_SEGS_MAX];
	struct usp_iter from;
	int ret = usp_iter_import(iov, nr_segs, cut, &from);

	if (ret < 0)
		return ret;
	return usp_file_write_iter(file, &from, &file->pos, 0);
}

ssize_t usp_read(struct usp_file *file, void *base, size_t len)
{
	return usp_readv(file, &(struct iovec){.iov_base = base, .iov_len = len}, 1);
}

ssize_t usp_pread(struct usp_file *file, void *base, size_t len, int64_t off)
{
	const struct iovec iov = {.iov_base = base, .iov_len = usp_min(len, USP_MAX_RW_COUNT)};
	const struct usp_iter to = {.iov = &iov, .nr_segs = 1, .count = iov.iov_len};
	int ret = file->traits & USP_FILE_SEEKABLE ? usp_file_verify_area(off, to.count)
		  : file->mode			   ? -ESPIPE
						   : -EBADF;

	return ret < 0 ? ret : usp_file_read_iter(file, &to, &off, 0);
}

ssize_t usp_write(struct usp_file *file, const void *base, size_t len)
{
	return usp_writev(file, &(struct iovec){.iov_base = (void *)base, .iov_len = len}, 1);
}
