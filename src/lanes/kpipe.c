/* SPDX-License-Identifier: MIT */
/*
 * kpipe - kernel pipes as storage for bufs.
 *
 *   file --splice(2)--> [kernel pipe] --splice(2)--> file        the bytes never enter this process
 *                            ^
 *          struct usp_buf { ops = kpipe, store = the kernel pipe, offset, len }
 *
 * A kernel pipe has no random access: its first byte must leave before its second. So the kpipe remembers how many bytes it
 * has given out (taken), a buf's offset counts in the same measure, and what a consumer skipped is spliced to /dev/null just
 * before the next byte is needed. A kpipe belongs to exactly one buf; get makes a second one by tee(2).
 *
 * Drained kpipes wait in a pool, because making one and widening it costs 8 us; a kpipe that still holds data is destroyed.
 * Per user, the kernel allows only so many pipe pages: past pipe-user-pages-soft a new pipe has two pages and widening it is
 * EPERM. Then we work with what there is, and ask for less from then on (size halves, and doubles again after successes).
 */
#include "lanes/kpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "splice/fd.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define KPIPE_BYTES_WANTED ((size_t)1 << 20) /* pipe-max-size of an unprivileged user; see bench/README.md */
#define KPIPE_BYTES_LEAST ((size_t)64 << 10) /* asking for less is not worth the call */
#define KPIPE_POOL_MAX 16
#define KPIPE_GROW_AFTER 64 /* successes before a larger size is tried again */
#define KPIPE_LOOKS_MAX 64  /* splices into one kpipe before it is passed on */
#define KPIPE_ENOUGH ((size_t)128 << 10)

struct kpipe_ends {
	int rd, wr;
	size_t capacity;
	dev_t dev; /* with ino, how a child knows it again; 0: not at all */
	ino_t ino;
};

struct kpipe {
	struct kpipe_ends ends;
	unsigned process; /* that made it; a child has a copy of this, and the same kernel pipe */
	size_t held;	  /* bytes in it */
	size_t taken;	  /* bytes that have left it since it was last empty in the pool */
};

/* --- The pool --------------------------------------------------------------------------------------
 *
 * What is idle here is idle for one process. A child has the same descriptors, so the first that takes the lock there closes
 * them, if they are still what they were: a child may have closed what it did not know, and opened something else under the
 * number. Other threads of the parent may go on while it forks, so an entry is written before it is there, and is not there any
 * more when it is taken; it stands in one page, as a child copies page by page.
 */

struct kpipe_idle {
	_Alignas(64) struct kpipe_ends ends;
	atomic_bool is_here;
};

static struct {
	struct usp_own_lock lock;
	struct kpipe_idle idle[KPIPE_POOL_MAX]; /* a stack */
	unsigned nr_idle;
	size_t bytes_wanted; /* adapts to the budget */
	unsigned nr_granted; /* since the last refusal */
	int null_fd;
	size_t nr_used;
	uint64_t nr_destroyed;
} pool;

static void ends_close(const struct kpipe_ends *ends)
{
	usp_sys_close(ends->rd);
	usp_sys_close(ends->wr);
}

static void ends_close_one_inherited(const struct kpipe_ends *ends, int fd)
{
	struct stat st;

	if (ends->ino && usp_sys_fstat(fd, &st) == 0 && st.st_dev == ends->dev && st.st_ino == ends->ino)
		usp_sys_close(fd);
}

/* In a child. The parent's bytes stay where they are. */
static void ends_close_inherited(const struct kpipe_ends *ends)
{
	ends_close_one_inherited(ends, ends->rd);
	ends_close_one_inherited(ends, ends->wr);
}

/* Nothing of this process is in the pool yet. The parent's /dev/null stays open: nothing tells it from somebody else's. */
static void pool_begin(void)
{
	for (unsigned i = 0; i < KPIPE_POOL_MAX; i++) {
		if (atomic_exchange(&pool.idle[i].is_here, false))
			ends_close_inherited(&pool.idle[i].ends);
	}
	pool.nr_idle = 0;
	pool.bytes_wanted = KPIPE_BYTES_WANTED;
	pool.nr_granted = 0;
	pool.null_fd = -1;
	pool.nr_used = 0;
	pool.nr_destroyed = 0;
}

static void pool_lock(void)
{
	if (usp_own_lock(&pool.lock))
		pool_begin();
}

static void pool_unlock(void)
{
	usp_own_unlock(&pool.lock);
}

/* Lock held. */
static bool pool_pop(struct kpipe_ends *ret_ends)
{
	if (!pool.nr_idle)
		return false;
	atomic_store(&pool.idle[--pool.nr_idle].is_here, false);
	*ret_ends = pool.idle[pool.nr_idle].ends;
	return true;
}

static void pool_push(const struct kpipe_ends *ends)
{
	pool.idle[pool.nr_idle].ends = *ends;
	atomic_store(&pool.idle[pool.nr_idle++].is_here, true);
}

/* How wide to make the next pipe; what came of it is told to pool_learn. */
static size_t pool_bytes_wanted(void)
{
	size_t wanted;

	pool_lock();
	wanted = pool.bytes_wanted;
	pool_unlock();
	return wanted;
}

static void pool_learn(bool was_granted)
{
	pool_lock();
	if (!was_granted) {
		pool.bytes_wanted = usp_max(pool.bytes_wanted / 2, KPIPE_BYTES_LEAST);
		pool.nr_granted = 0;
	} else if (++pool.nr_granted >= KPIPE_GROW_AFTER && pool.bytes_wanted < KPIPE_BYTES_WANTED) {
		pool.bytes_wanted *= 2;
		pool.nr_granted = 0;
	}
	pool_unlock();
}

/* Widen as far as the budget allows: halve what is asked for until it is granted or not worth asking. */
static size_t ends_widen(int fd)
{
	int size;

	for (size_t wanted = pool_bytes_wanted(); wanted >= KPIPE_BYTES_LEAST; wanted /= 2) {
		size = usp_sys_set_pipe_size(fd, wanted);
		pool_learn(size > 0);
		if (size > 0)
			return (size_t)size;
	}
	size = usp_sys_get_pipe_size(fd);
	return size > 0 ? (size_t)size : USP_PAGE; /* what a pipe holds at least, even past the budget */
}

static int ends_open(struct kpipe_ends *ret_ends)
{
	struct stat st;
	int fds[2], ret = usp_sys_pipe(fds, O_NONBLOCK);

	if (ret < 0)
		return ret;
	*ret_ends = (struct kpipe_ends){.rd = fds[0], .wr = fds[1], .capacity = ends_widen(fds[1])};
	if (usp_sys_fstat(fds[0], &st) == 0) {
		ret_ends->dev = st.st_dev;
		ret_ends->ino = st.st_ino;
	}
	return 0;
}

static int kpipe_new(struct kpipe **ret_kp)
{
	struct kpipe *kp = usp_alloc(sizeof(*kp));
	bool is_pooled;
	int ret = 0;

	if (!kp)
		return -ENOMEM;
	pool_lock();
	is_pooled = pool_pop(&kp->ends);
	pool.nr_used++;
	pool_unlock();
	if (!is_pooled)
		ret = ends_open(&kp->ends);
	if (ret < 0) {
		pool_lock();
		pool.nr_used--;
		pool_unlock();
		usp_free(kp);
		return ret;
	}
	kp->process = usp_own_nr();
	*ret_kp = kp;
	return 0;
}

/* A drained one is kept for the next buf, a dirty one is destroyed: its bytes must never meet somebody else's. */
static bool pool_keeps(const struct kpipe *kp)
{
	bool is_kept;

	pool_lock();
	pool.nr_used--;
	is_kept = !kp->held && pool.nr_idle < KPIPE_POOL_MAX;
	if (is_kept)
		pool_push(&kp->ends);
	else if (kp->held)
		pool.nr_destroyed++;
	pool_unlock();
	return is_kept;
}

static void kpipe_put(struct kpipe *kp)
{
	if (kp->process != usp_own_nr())
		ends_close_inherited(&kp->ends);
	else if (!pool_keeps(kp))
		ends_close(&kp->ends);
	usp_free(kp);
}

void usp_kpipe_usage(size_t *ret_nr_used, size_t *ret_nr_idle, uint64_t *ret_nr_destroyed)
{
	pool_lock();
	*ret_nr_used = pool.nr_used;
	*ret_nr_idle = pool.nr_idle;
	*ret_nr_destroyed = pool.nr_destroyed;
	pool_unlock();
}

void usp_kpipe_trim(void)
{
	struct kpipe_ends ends;

	pool_lock();
	while (pool_pop(&ends))
		ends_close(&ends);
	if (pool.null_fd >= 0)
		usp_sys_close(pool.null_fd);
	pool.null_fd = -1;
	pool_unlock();
}

/* --- The kind of buf ------------------------------------------------------------------------------ */

static ssize_t kpipe_drop(struct kpipe *kp, size_t len)
{
	ssize_t ret;

	pool_lock();
	if (pool.null_fd < 0)
		pool.null_fd = usp_sys_open("/dev/null", O_WRONLY, 0);
	ret = pool.null_fd < 0 ? pool.null_fd
			       : usp_sys_splice(kp->ends.rd, NULL, pool.null_fd, NULL, len, USP_SPLICE_NONBLOCK);
	pool_unlock();
	return ret;
}

static bool kpipe_is_short(ssize_t ret)
{
	return ret == -EMFILE || ret == -ENFILE;
}

/* The same without /dev/null, where descriptors are short: read a piece, and throw it away. */
static ssize_t kpipe_skip(struct kpipe *kp, size_t len)
{
	unsigned char bytes[USP_PAGE];

	return usp_sys_read(kp->ends.rd, bytes, usp_min(len, sizeof(bytes)));
}

/* Bring the kernel pipe's first byte to the buf's offset. 0 or -errno; -ESTALE in a child, whose parent has the bytes. */
static int kpipe_settle(struct kpipe *kp, size_t offset)
{
	if (kp->process != usp_own_nr())
		return -ESTALE;
	while (kp->taken < offset) {
		ssize_t ret = kpipe_drop(kp, offset - kp->taken);

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

/* tee(2) into another kernel pipe; if that cannot take all of it, refuse, and the caller maps instead. */
static bool kpipe_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	struct kpipe *kp = buf->store, *twin;
	ssize_t ret;

	(void)pipe;
	if (kpipe_settle(kp, buf->offset) < 0 || kpipe_new(&twin) < 0)
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

/* Read the bytes out of the kernel pipe into a folio: the copy that lets memory of this process take part. */
static int kpipe_buf_map(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct kpipe *kp = buf->store;
	struct usp_folio *folio;
	size_t done = 0;
	ssize_t ret = kpipe_settle(kp, buf->offset);

	(void)pipe;
	if (ret < 0)
		return (int)ret;
	folio = usp_folio_new(buf->len);
	if (!folio)
		return -ENOMEM;
	while (done < buf->len) {
		ret = usp_sys_read(kp->ends.rd, folio->base + done, buf->len - done);
		if (ret <= 0) /* cannot be: held says that they are there, and nobody else has the descriptor */
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
 * splice(2) stops in front of an urgent byte for good, and says that nothing is there, or even that it was the end, when
 * that has come, too. recvmsg(2) gets past it.
 */
static bool kpipe_is_stuck(const struct usp_file *in, ssize_t ret)
{
	return (ret == 0 || ret == -EAGAIN) && in->traits & USP_FILE_SOCKET && usp_sys_at_mark(in->fd) > 0;
}

/*
 * Fill a kpipe from a descriptor: bytes, 0 at the end of input, or -errno. A stream is asked again while it gives, because
 * one splice from a socket takes at most 17 fragments (H26). But not for its last bytes: while the sink takes what is here, more
 * comes, and asking in vain costs as much as a small splice.
 */
static ssize_t kpipe_fill(struct kpipe *kp, struct usp_file *in, int64_t *pos, size_t len, unsigned flags)
{
	bool is_seekable = in->traits & USP_FILE_SEEKABLE, has_pos = is_seekable && !usp_file_shares_pos(in, pos);
	size_t done = 0;
	ssize_t ret = 0;

	for (unsigned i = 0; i < KPIPE_LOOKS_MAX && done < usp_min(len, KPIPE_ENOUGH); i++) {
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

/* splice(2) ends at st_size, which may be too small; a read knows. 0 if it is the end, -EOPNOTSUPP if not, or -errno. */
static int kpipe_check_end(const struct usp_file *in, const int64_t *pos)
{
	int ret = in->traits & USP_FILE_SEEKABLE ? usp_fd_peek(in, pos) : 0;

	return ret > 0 ? -EOPNOTSUPP : ret;
}

/* -EAGAIN of a source that blocks: wait for it, with no lock held. */
static int kpipe_await(struct usp_file *file, short events, unsigned flags)
{
	return usp_file_blocks(file, flags) ? usp_file_wait(file, events) : -EAGAIN;
}

static void kpipe_account(struct usp_file *file, unsigned side, size_t len)
{
	const struct usp_side *of = usp_file_side(file, side);

	usp_file_account(file, side, of->lane_way, len,
			 of->lane_reason ? of->lane_reason : "the kernel was not probed for this file");
}

static bool kpipe_is_refusal(ssize_t ret)
{
	return ret == -EINVAL || ret == -ENOSYS || ret == -EPERM || ret == -EOPNOTSUPP;
}

/*
 * The kernel refuses this file, or has no descriptors for a kernel pipe: go on with the file's own hooks. Only ever before a byte
 * of this call has moved.
 */
static bool kpipe_may_fall_back(const struct usp_file *file, unsigned side, ssize_t ret)
{
	return (kpipe_is_refusal(ret) || kpipe_is_short(ret)) && !usp_file_side(file, side)->lane_is_forced;
}

ssize_t usp_kernel_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct kpipe *kp;
	ssize_t ret = in->fd < 0 ? -EINVAL : kpipe_new(&kp);

	if (ret == 0) {
		len = usp_min(usp_min(len, kp->ends.capacity), usp_pipe_slot_bytes(pipe));
		do
			ret = kpipe_fill(kp, in, pos, len, flags);
		while (ret == -EAGAIN && (ret = kpipe_await(in, POLLIN, flags)) == 0);
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
	if (ret < 0 && kpipe_may_fall_back(in, USP_READ, ret) && in->ops->splice_read) {
		usp_file_side(in, USP_READ)->lane = NULL;
		ret = in->ops->splice_read(in, pos, pipe, len, flags);
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
	ssize_t ret = kpipe_settle(kp, buf->offset);

	if (ret < 0)
		return ret;
	len = usp_min(len, buf->len);
	if (out->io_bytes)
		len = usp_min(len, out->io_bytes);
	if (out->fd < 0) {
		ret = kpipe_drop(kp, len); /* a sink without a descriptor that takes kernel pipes is one that drops */
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

/* The kernel looks at the sink before it looks for bytes: -EAGAIN from the empty pipe means that it would serve it. */
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

/* Bytes at the front that sit in memory of this process and not in a kernel pipe. */
static size_t kpipe_mapped_run(struct usp_pipe *pipe, size_t len)
{
	struct usp_buf bufs[16];
	unsigned nr = usp_pipe_peek(pipe, bufs, usp_array_len(bufs));
	size_t run = 0;

	for (unsigned i = 0; i < nr && bufs[i].ops != &usp_kpipe_buf_ops; i++)
		run += bufs[i].len;
	return usp_min(run, len);
}

/* One step with the read turn held: bytes, 0 if the pipe is empty or starts with *ret_run bytes of memory, or -errno. */
static ssize_t kpipe_write_step(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags,
				size_t *ret_run)
{
	struct usp_buf buf;
	ssize_t ret;

	*ret_run = kpipe_mapped_run(pipe, len);
	if (*ret_run || !usp_pipe_peek(pipe, &buf, 1) || buf.ops != &usp_kpipe_buf_ops)
		return 0; /* the last: an entry without bytes, pushed this instant */
	do
		ret = kpipe_give(pipe, &buf, out, pos, len, flags);
	while (ret == -EAGAIN && (ret = kpipe_await(out, POLLOUT, flags)) == 0);
	return ret;
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
	return out->ops->splice_write ? out->ops->splice_write(pipe, out, pos, run, flags) : -EINVAL;
}

const struct usp_lane usp_kernel_lane = {
	.size = sizeof(struct usp_lane),
	.name = "kernel",
	.splice_read = usp_kernel_splice_read,
	.splice_write = usp_kernel_splice_write,
};
