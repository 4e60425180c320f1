/* SPDX-License-Identifier: MIT */
/* from_pipe - the generic ways out of a pipe: an actor for each buf, all bufs as one iovec, or nowhere at all (H8-H16). */
#include "splice/from_pipe.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "splice/buf.h"
#include "splice/pipe.h"

#define DROP_BUFS 32

static const char write_reason[] = "written from memory of this process";
static const char map_reason[] = "bytes held by the kernel were read into a folio";
static const char direct_reason[] = "O_DIRECT: as a rule the device reads the folio, but the kernel does not tell";
static const char take_reason[] = "nobody else refers to the memory: the sink keeps it";
static const char keep_reason[] = "copied, to be kept";
static const char drop_reason[] = "dropped, not read";

/* Confirm a lent buf, and make its bytes addressable in the ring too. */
static int from_pipe_prepare(struct usp_pipe *pipe, unsigned index, struct usp_buf *buf, unsigned flags)
{
	int ret = usp_buf_confirm(pipe, buf, flags);

	if (ret < 0 || usp_buf_is_mapped(buf))
		return ret;
	ret = usp_buf_map(pipe, buf);
	if (ret < 0)
		return ret;
	usp_pipe_set(pipe, index, buf);
	return 0;
}

size_t usp_pipe_gather(struct usp_pipe *pipe, size_t len, unsigned max_bufs, unsigned flags,
		       struct usp_batch *ret_batch)
{
	struct usp_batch *batch = ret_batch;

	batch->nr_segs = 0;
	batch->count = batch->mapped = 0;
	batch->error = 0;
	batch->nr_bufs = usp_pipe_peek(pipe, batch->bufs, (unsigned)usp_min(max_bufs, USP_BATCH_BUFS));
	for (unsigned i = 0; i < batch->nr_bufs && batch->count < len; i++) {
		struct usp_buf *buf = &batch->bufs[i];
		size_t chunk, whole = buf->len;

		if (whole == 0)
			continue;
		if (batch->count && !usp_buf_is_mapped(buf))
			break;
		batch->error = from_pipe_prepare(pipe, i, buf, batch->count ? flags | USP_SPLICE_NONBLOCK : flags);
		if (batch->error < 0) {
			if (batch->count && usp_buf_may_be_late(buf))
				batch->error = -EAGAIN; /* the next batch says why */
			break;
		}
		chunk = usp_min(buf->len, len - batch->count);
		batch->iov[batch->nr_segs++] = (struct iovec){.iov_base = usp_buf_bytes(buf), .iov_len = chunk};
		batch->count += chunk;
		batch->mapped += buf->flags & USP_BUF_MAPPED ? chunk : 0;
		if (buf->len < whole)
			break;
	}
	return batch->count;
}

/* Count how many of the first len bytes of a batch were copied to become addressable. */
static size_t iter_mapped(const struct usp_batch *batch, size_t len)
{
	size_t mapped = 0;

	for (unsigned i = 0; i < batch->nr_bufs && len && batch->mapped; i++) {
		size_t chunk = usp_min(batch->bufs[i].len, len);

		mapped += batch->bufs[i].flags & USP_BUF_MAPPED ? chunk : 0;
		len -= chunk;
	}
	return mapped;
}

static void iter_account(struct usp_file *out, const struct usp_batch *batch, size_t len)
{
	size_t mapped = iter_mapped(batch, len);

	if (mapped)
		usp_file_account(out, USP_WRITE, USP_COPIED, mapped, map_reason);
	len -= mapped;
	if (len == 0)
		return;
	if (atomic_load(usp_u32(&out->flags)) & USP_DIRECT)
		usp_file_account(out, USP_WRITE, USP_UNKNOWN, len, direct_reason);
	else
		usp_file_account(out, USP_WRITE, USP_COPIED, len, write_reason);
}

/*
 * Write all ready bytes in one call. If a confirm fails anywhere, the whole batch stays unwritten
 * (H11). Bytes that come later, or a read of these that failed, only end the batch.
 */
static ssize_t iter_write_batch(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	struct usp_batch batch;
	struct usp_iter from;
	ssize_t ret;

	if (out->io_bytes)
		len = usp_min(len, out->io_bytes);
	usp_pipe_gather(pipe, len, USP_BATCH_BUFS, flags, &batch);
	if (batch.error < 0 && !(batch.error == -EAGAIN && batch.count))
		return batch.error == -ENODATA ? 0 : batch.error;
	if (!batch.count)
		return 0;
	from = (struct usp_iter){.iov = batch.iov, .nr_segs = batch.nr_segs, .count = batch.count};
	ret = usp_file_write_iter(out, &from, pos, flags);
	if (ret <= 0)
		return ret;
	usp_pipe_advance(pipe, (size_t)ret);
	iter_account(out, &batch, (size_t)ret);
	return ret;
}

ssize_t usp_iter_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	size_t done = 0;
	ssize_t ret;

	if (!out->ops->write_iter)
		return -EINVAL;
	ret = usp_pipe_take_read(pipe, flags, &len);
	if (ret <= 0)
		return ret;
	while (done < len) {
		ret = iter_write_batch(pipe, out, pos, len - done, flags);
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	usp_pipe_end_read(pipe);
	/* The next write to a file with positions may go elsewhere and succeed, as in the kernel. */
	if (done && out->traits & USP_FILE_SEEKABLE)
		return (ssize_t)done;
	return usp_file_progress(out, USP_WRITE, done, ret);
}

/* H8-H10. Hold the read turn while the actor runs, and no lock. */
static ssize_t from_pipe_feed(struct usp_pipe *pipe, size_t len, unsigned flags, usp_splice_actor *actor, void *arg)
{
	size_t done = 0;
	struct usp_buf buf;
	ssize_t ret = 0;

	while (done < len && usp_pipe_peek(pipe, &buf, 1)) {
		size_t chunk;

		ret = from_pipe_prepare(pipe, 0, &buf, flags);
		if (ret < 0) {
			ret = ret == -ENODATA ? 0 : ret;
			break;
		}
		chunk = usp_min(buf.len, len - done);
		ret = actor(pipe, &buf, chunk, arg);
		if (ret > 0 && (size_t)ret > chunk)
			ret = -EIO;
		if (ret <= 0)
			break;
		usp_pipe_advance(pipe, (size_t)ret);
		done += (size_t)ret;
	}
	return done ? (ssize_t)done : ret;
}

ssize_t usp_splice_from_pipe(struct usp_pipe *pipe, size_t len, unsigned flags, usp_splice_actor *actor, void *arg)
{
	ssize_t ret = usp_pipe_take_read(pipe, flags, &len);

	if (ret <= 0)
		return ret;
	ret = from_pipe_feed(pipe, len, flags, actor, arg);
	usp_pipe_end_read(pipe);
	return ret;
}

/* A call of usp_take_from_pipe, and its bytes by way. */
struct take_call {
	usp_splice_keeper *keep;
	void *arg;
	unsigned flags;
	size_t taken, copied;
};

static ssize_t take_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct take_call *call = arg;
	struct usp_buf own;
	int way = usp_buf_take(pipe, buf, len, call->flags, &own), ret;

	if (way < 0)
		return way;
	ret = call->keep(call->arg, &own);
	if (ret < 0) {
		usp_buf_release(pipe, &own);
		return ret;
	}
	*(way == USP_BY_REFERENCE ? &call->taken : &call->copied) += len;
	return (ssize_t)len;
}

ssize_t usp_take_from_pipe(struct usp_pipe *pipe, struct usp_file *out, size_t len, unsigned flags,
			   usp_splice_keeper *keep, void *arg)
{
	struct take_call call = {.keep = keep, .arg = arg, .flags = flags};
	ssize_t ret = usp_splice_from_pipe(pipe, len, flags, take_actor, &call);

	if (call.taken)
		usp_file_account(out, USP_WRITE, USP_BY_REFERENCE, call.taken, take_reason);
	if (call.copied)
		usp_file_account(out, USP_WRITE, USP_COPIED, call.copied, keep_reason);
	return ret;
}

/* Confirm the bufs of the next len bytes: how many bytes may go, and the error that stops behind them. */
static size_t drop_confirm(struct usp_pipe *pipe, size_t len, unsigned flags, size_t *mapped, int *ret_error)
{
	struct usp_buf bufs[DROP_BUFS];
	unsigned nr = usp_pipe_peek(pipe, bufs, usp_array_len(bufs));
	size_t run = 0;

	for (unsigned i = 0; i < nr && run < len && *ret_error == 0; i++) {
		size_t whole = bufs[i].len;

		*ret_error = usp_buf_confirm(pipe, &bufs[i], flags);
		if (*ret_error < 0)
			break;
		*mapped += bufs[i].flags & USP_BUF_MAPPED ? usp_min(bufs[i].len, len - run) : 0;
		run += usp_min(bufs[i].len, len - run);
		if (bufs[i].len < whole)
			break;
	}
	return run;
}

/* Drop many bufs at a time: dropping is cheap, and alternating with the producer for each buf is not. */
static ssize_t drop_bufs(struct usp_pipe *pipe, size_t len, unsigned flags, size_t *mapped)
{
	size_t done = 0, run;
	int error = 0;

	do {
		run = drop_confirm(pipe, len - done, flags, mapped, &error);
		usp_pipe_advance(pipe, run);
		done += run;
	} while (run && done < len && error == 0);
	return done || error == -ENODATA ? (ssize_t)done : error;
}

ssize_t usp_drop_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	size_t mapped = 0;
	ssize_t ret = usp_pipe_take_read(pipe, flags, &len);

	if (ret <= 0)
		return ret;
	ret = drop_bufs(pipe, len, flags, &mapped);
	usp_pipe_end_read(pipe);
	if (ret > 0) {
		if (mapped)
			usp_file_account(out, USP_WRITE, USP_COPIED, mapped, map_reason);
		if ((size_t)ret > mapped)
			usp_file_account(out, USP_WRITE, USP_BY_REFERENCE, (size_t)ret - mapped, drop_reason);
		if (out->traits & USP_FILE_SEEKABLE)
			*pos += ret;
	}
	return ret;
}
