/* SPDX-License-Identifier: MIT */
/*
 * kpipe - kernel pipes as storage for bufs.
 *
 *   file --splice(2)--> [kernel pipe] --splice(2)--> file        the bytes never enter this process
 *                            ^
 *          struct usp_buf { ops = kpipe, store = the kernel pipe, offset, len }
 *
 * A kernel pipe has no random access: its first byte must leave before its second. So the kpipe counts
 * the bytes that it has given out (taken), and a buf's offset counts in the same measure. Bytes that a
 * consumer skipped are spliced to /dev/null just before the next byte is needed. A kpipe belongs to
 * exactly one buf; get makes a second one by tee(2).
 *
 * Drained kpipes wait in a pool (kpool). A kpipe that still holds data is destroyed.
 */
#include "lanes/kpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "lanes/kpool.h"
#include "mm/folio.h"
#include "splice/fd.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define KPIPE_LOOKS_MAX 64 /* splices into one kpipe before it is passed on */
#define KPIPE_ENOUGH ((size_t)128 << 10)

struct kpipe {
	struct usp_kpipe_ends ends;
	unsigned process; /* that made it; a child has a copy of this struct, and the same kernel pipe */
	size_t held;	  /* bytes in it */
	size_t taken;	  /* bytes that have left it since it was last empty in the pool */
};

static int kpipe_new(struct kpipe **ret_kp)
{
	struct kpipe *kp = usp_alloc(sizeof(*kp));
	int ret = kp ? usp_kpool_take(&kp->ends) : -ENOMEM;

	if (ret < 0) {
		usp_free(kp);
		return ret;
	}
	kp->process = usp_own_nr();
	*ret_kp = kp;
	return 0;
}

static void kpipe_put(struct kpipe *kp)
{
	if (kp->process != usp_own_nr())
		usp_kpool_close_inherited(&kp->ends);
	else
		usp_kpool_give(&kp->ends, !kp->held);
	usp_free(kp);
}

/* --- The kind of buf ------------------------------------------------------------------------------ */

static bool kpipe_is_short(ssize_t ret)
{
	return ret == -EMFILE || ret == -ENFILE;
}

/* Drop without /dev/null, if no descriptor is left: read a piece, and discard it. */
static ssize_t kpipe_skip(struct kpipe *kp, size_t len)
{
	unsigned char bytes[USP_PAGE];

	return usp_sys_read(kp->ends.rd, bytes, usp_min(len, sizeof(bytes)));
}

/* Drop bytes until the kernel pipe begins at offset: 0 or -errno. -ESTALE in a child: the parent has the bytes. */
static int kpipe_skip_to(struct kpipe *kp, size_t offset)
{
	if (kp->process != usp_own_nr())
		return -ESTALE;
	while (kp->taken < offset) {
		ssize_t ret = usp_kpool_drop(&kp->ends, offset - kp->taken);

		if (kpipe_is_short(ret))
			ret = kpipe_skip(kp, offset - kp->taken);
		if (ret <= 0)
			return ret < 0 ? (int)ret : -EIO;
		kp->taken += (size_t)ret;
		kp->held -= (size_t)ret;
	}
	return 0;
}

static void kpipe_buf_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	kpipe_put(buf->store);
}

/* tee(2) into another kernel pipe. If that cannot take all bytes, refuse: the caller maps instead. */
static bool kpipe_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	struct kpipe *kp = buf->store, *twin;
	ssize_t ret;

	(void)pipe;
	if (kpipe_skip_to(kp, buf->offset) < 0 || kpipe_new(&twin) < 0)
		return false;
	ret = usp_sys_tee(kp->ends.rd, twin->ends.wr, copy->len, USP_SPLICE_NONBLOCK);
	twin->held = ret > 0 ? (size_t)ret : 0;
	if (twin->held != copy->len) {
		kpipe_put(twin);
		return false;
	}
	copy->store = twin;
	copy->offset = 0;
	return true;
}

/* Read the bytes of the kernel pipe into a folio: a copy, after which the bytes are addressable. */
static int kpipe_buf_map(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct kpipe *kp = buf->store;
	struct usp_folio *folio;
	size_t done = 0;
	ssize_t ret = kpipe_skip_to(kp, buf->offset);

	(void)pipe;
	if (ret < 0)
		return (int)ret;
	folio = usp_folio_new(buf->len);
	if (!folio)
		return -ENOMEM;
	while (done < buf->len) {
		ret = usp_sys_read(kp->ends.rd, folio->base + done, buf->len - done);
		if (ret <= 0) /* impossible: held bytes are there, and no other code reads this descriptor */
			break;
		done += (size_t)ret;
	}
	kp->held -= done;
	kp->taken += done;
	if (done < buf->len) {
		usp_folio_put(folio);
		return ret < 0 && !done ? (int)ret : -EIO;
	}
	kpipe_put(kp);
	*buf = (struct usp_buf){.ops = &usp_folio_buf_ops, .store = folio, .len = buf->len, .flags = buf->flags};
	return 0;
}

const struct usp_buf_ops usp_kpipe_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "kpipe",
	.release = kpipe_buf_release,
	.get = kpipe_buf_get,
	.map = kpipe_buf_map,
};

/* --- Into a kernel pipe ---------------------------------------------------------------------------- */

/*
 * splice(2) never passes an urgent byte in a stream. It gives -EAGAIN there, or 0 if the end has come,
 * too. recvmsg(2) passes it.
 */
static bool kpipe_is_stuck(const struct usp_file *in, ssize_t ret)
{
	return (ret == 0 || ret == -EAGAIN) && in->traits & USP_FILE_SOCKET && usp_sys_at_mark(in->fd) > 0;
}

/*
 * Fill a kpipe from a descriptor: bytes, 0 at the end of input, or -errno. Splice from a stream again
 * while it gives bytes, because one splice from a socket takes at most 17 fragments (H26). Stop at
 * KPIPE_ENOUGH: more comes while the sink takes these bytes, and a splice that finds none costs as
 * much as a small one. With MORE the sink is not waiting: take all that there is.
 */
static ssize_t kpipe_fill(struct kpipe *kp, struct usp_file *in, int64_t *pos, size_t len, unsigned flags)
{
	bool is_seekable = usp_file_has_pos(in), has_pos = is_seekable && !usp_file_shares_pos(in, pos);
	size_t done = 0, enough = flags & USP_SPLICE_MORE ? len : usp_min(len, KPIPE_ENOUGH);
	ssize_t ret = 0;

	for (unsigned i = 0; i < KPIPE_LOOKS_MAX && done < enough; i++) {
		ret = usp_sys_splice(in->fd, has_pos ? pos : NULL, kp->ends.wr, NULL, len - done,
				     (flags & USP_SPLICE_MOVE) | USP_SPLICE_NONBLOCK);
		if (ret <= 0)
			break;
		done += (size_t)ret;
		if (is_seekable)
			break;
	}
	kp->held += done;
	ret = usp_file_progress(in, USP_READ, done, ret);
	return kpipe_is_stuck(in, ret) ? -EOPNOTSUPP : ret;
}

/*
 * Check an end by a read: splice(2) stops at st_size, which may be too small. 0 at the end,
 * -EOPNOTSUPP if not, or -errno.
 */
static int kpipe_check_end(const struct usp_file *in, const int64_t *pos)
{
	int ret = usp_file_has_pos(in) ? usp_fd_peek(in, pos) : 0;

	return ret > 0 ? -EOPNOTSUPP : ret;
}

static void kpipe_account(struct usp_file *file, unsigned side, size_t len)
{
	const struct usp_side *of = usp_file_side(file, side);

	if (USP_FILE_HOOK(file, account)) {
		file->ops->account(file, side, len);
		return;
	}
	usp_file_account(file, side, of->lane_way, len,
			 of->lane_reason ? of->lane_reason : "the kernel was not probed for this file");
}

static bool kpipe_is_refusal(ssize_t ret)
{
	return ret == -EINVAL || ret == -ENOSYS || ret == -EPERM || ret == -EOPNOTSUPP;
}

/*
 * Tell whether to fall back to the file's own hooks: the kernel refuses this file, or no descriptor is
 * left for a kernel pipe. Only before a byte of this call has moved.
 */
static bool kpipe_may_fall_back(const struct usp_file *file, unsigned side, ssize_t ret)
{
	return (kpipe_is_refusal(ret) || kpipe_is_short(ret)) && !usp_file_side(file, side)->lane_is_forced;
}

/*
 * The hook of the file's own, to fall back to: that of its table, or the copying helper where the table names the kernel's. NULL:
 * there is none.
 */
static ssize_t (*kpipe_own_read(const struct usp_file *in))(struct usp_file *, int64_t *, struct usp_pipe *, size_t,
							    unsigned)
{
	if (in->ops->splice_read != usp_kernel_splice_read)
		return in->ops->splice_read;
	return in->ops->read_iter ? usp_copy_splice_read : NULL;
}

/* Tell whether a kernel pipe has a slot for more. Each piece of a page takes one, so it can be full with few bytes. */
static bool kpipe_has_room(const struct kpipe *kp)
{
	struct pollfd fd = {.fd = kp->ends.wr, .events = POLLOUT};

	return kp->held < kp->ends.capacity && usp_sys_poll(&fd, 1, 0) > 0;
}

/*
 * Put more into the kernel pipe that was pushed last in this turn, so that a producer with a long turn needs few of
 * them. True with the result, or false if there is none with room.
 */
static bool kpipe_append(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags,
			 ssize_t *ret_result)
{
	unsigned nr = usp_pipe_nr_pushed(pipe);
	struct usp_buf last = {.ops = NULL};
	struct kpipe *kp;
	size_t room;

	if (nr)
		last = usp_pipe_peek_pushed(pipe, nr - 1);
	if (last.ops != &usp_kpipe_buf_ops)
		return false;
	kp = last.store;
	room = usp_min(kp->ends.capacity, usp_pipe_slot_bytes(pipe));
	if (last.len >= room)
		return false;
	*ret_result = kpipe_fill(kp, in, pos, usp_min(len, room - last.len), flags);
	if (*ret_result == -EAGAIN)
		return kpipe_has_room(kp);
	if (*ret_result > 0) {
		usp_pipe_grow_pushed(pipe, (size_t)*ret_result);
		kpipe_account(in, USP_READ, (size_t)*ret_result);
	}
	return true;
}

ssize_t usp_kernel_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct kpipe *kp;
	ssize_t ret = 0;

	if (flags & USP_SPLICE_MORE && kpipe_append(in, pos, pipe, len, flags, &ret))
		return ret;
	ret = in->fd < 0 ? -EINVAL : kpipe_new(&kp);
	if (ret == 0) {
		len = usp_min(usp_min(len, kp->ends.capacity), usp_pipe_slot_bytes(pipe));
		do
			ret = kpipe_fill(kp, in, pos, len, flags);
		while (ret == -EAGAIN && (ret = usp_file_await(in, USP_READ, flags)) == 0);
		if (ret > 0) {
			struct usp_buf buf = {.ops = &usp_kpipe_buf_ops, .store = kp, .len = (size_t)ret};

			usp_pipe_push(pipe, &buf, 1);
			kpipe_account(in, USP_READ, (size_t)ret);
			return ret;
		}
		kpipe_put(kp);
		if (ret == 0)
			ret = kpipe_check_end(in, pos);
	}
	if (ret < 0 && kpipe_may_fall_back(in, USP_READ, ret) && kpipe_own_read(in)) {
		usp_file_side(in, USP_READ)->lane = NULL;
		ret = kpipe_own_read(in)(in, pos, pipe, len, flags);
	}
	return ret;
}

/* --- Out of a kernel pipe -------------------------------------------------------------------------- */

/* Splice the first buf, a kpipe, to a descriptor: bytes or -errno. The caller holds the read turn. */
static ssize_t kpipe_give(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_file *out, int64_t *pos,
			  size_t len, unsigned flags)
{
	struct kpipe *kp = buf->store;
	bool is_seekable = out->traits & USP_FILE_SEEKABLE, has_pos = is_seekable && !usp_file_shares_pos(out, pos);
	struct usp_sigpipe_guard guard;
	int64_t at = *pos;
	ssize_t ret = kpipe_skip_to(kp, buf->offset);

	if (ret < 0)
		return ret;
	if (out->traits & USP_FILE_TAKES)
		flags |= USP_SPLICE_MOVE;
	len = usp_min(len, buf->len);
	if (out->io_bytes)
		len = usp_min(len, out->io_bytes);
	if (out->fd < 0) {
		ret = usp_kpool_drop(&kp->ends, len); /* a sink without a descriptor is here only if it drops */
	} else {
		if (out->traits & USP_FILE_SIGPIPE)
			usp_sigpipe_begin(&guard);
		ret = usp_sys_splice(kp->ends.rd, NULL, out->fd, has_pos ? &at : NULL, len,
				     (flags & (USP_SPLICE_MOVE | USP_SPLICE_MORE)) | USP_SPLICE_NONBLOCK);
		if (out->traits & USP_FILE_SIGPIPE)
			usp_sigpipe_end(&guard);
	}
	if (ret > 0) {
		kp->held -= (size_t)ret;
		kp->taken += (size_t)ret;
		if (is_seekable)
			*pos += ret; /* the kernel does not count what /dev/null drops */
		usp_pipe_advance(pipe, (size_t)ret);
		kpipe_account(out, USP_WRITE, (size_t)ret);
	}
	return ret;
}

/* The kernel checks the sink before it looks for bytes: -EAGAIN from the empty pipe means that the sink is fine. */
bool usp_kpipe_is_refused(struct usp_file *sink)
{
	int64_t at = sink->pos;
	struct usp_sigpipe_guard guard;
	struct kpipe *kp;
	ssize_t ret;

	if (sink->fd < 0 || kpipe_new(&kp) < 0)
		return false;
	usp_sigpipe_begin(&guard);
	ret = usp_sys_splice(kp->ends.rd, NULL, sink->fd, sink->traits & USP_FILE_SEEKABLE ? &at : NULL, 1,
			     USP_SPLICE_NONBLOCK);
	usp_sigpipe_end(&guard);
	kpipe_put(kp);
	return kpipe_is_refusal(ret);
}

/* Count the bytes at the front that are in memory of this process, not in a kernel pipe. */
static size_t kpipe_mapped_run(struct usp_pipe *pipe, size_t len)
{
	struct usp_buf bufs[16];
	unsigned nr = usp_pipe_peek(pipe, bufs, usp_array_len(bufs));
	size_t run = 0;

	for (unsigned i = 0; i < nr && bufs[i].ops != &usp_kpipe_buf_ops; i++)
		run += bufs[i].len;
	return usp_min(run, len);
}

/* Do one step with the read turn: bytes, 0 if the pipe is empty or begins with *ret_run bytes in memory, or -errno. */
static ssize_t kpipe_write_step(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags,
				size_t *ret_run)
{
	struct usp_buf buf;
	ssize_t ret;

	*ret_run = kpipe_mapped_run(pipe, len);
	if (*ret_run || !usp_pipe_peek(pipe, &buf, 1) || buf.ops != &usp_kpipe_buf_ops)
		return 0; /* the last case: an empty entry, just pushed */
	do
		ret = kpipe_give(pipe, &buf, out, pos, len, flags);
	while (ret == -EAGAIN && (ret = usp_file_await(out, USP_WRITE, flags)) == 0);
	return ret;
}

/* The same for a sink. */
static ssize_t (*kpipe_own_write(const struct usp_file *out))(struct usp_pipe *, struct usp_file *, int64_t *, size_t,
							      unsigned)
{
	if (out->ops->splice_write != usp_kernel_splice_write)
		return out->ops->splice_write;
	return out->ops->write_iter ? usp_iter_splice_write : NULL;
}

ssize_t usp_kernel_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	size_t done = 0, run = 0;
	ssize_t ret = usp_pipe_take_read(pipe, flags, &len);

	if (ret <= 0)
		return ret;
	while (done < len) {
		ret = kpipe_write_step(pipe, out, pos, len - done, flags, &run);
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	usp_pipe_end_read(pipe);
	if (done || (ret == 0 && !run))
		return usp_file_progress(out, USP_WRITE, done, ret);
	if (ret < 0) {
		if (!kpipe_may_fall_back(out, USP_WRITE, ret))
			return ret;
		usp_file_side(out, USP_WRITE)->lane = NULL;
		run = len;
	}
	return kpipe_own_write(out) ? kpipe_own_write(out)(pipe, out, pos, run, flags) : -EINVAL;
}

const struct usp_lane usp_kernel_lane = {
	.size = sizeof(struct usp_lane),
	.name = "kernel",
	.splice_read = usp_kernel_splice_read,
	.splice_write = usp_kernel_splice_write,
};
