/* SPDX-License-Identifier: MIT */
/* pipe_rw - write(2) and read(2) on a pipe: the merge rule, packets, and where a read ends (R9-R25). */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "splice/iter.h"
#include "splice/pipe.h"

/* What fits into a buf's memory, which is that of another pipe's slot if the buf came from there. */
static size_t pipe_merge_end(const struct usp_pipe *pipe, const struct usp_buf *buf)
{
	const struct usp_folio *folio = buf->store;

	return usp_min(pipe->slot_bytes, folio->len);
}

/*
 * The merge rule (R10): the part of a write that would not fill a slot goes into the newest buf, whole or not at all.
 * The copy happens under the lock, because a reader may otherwise use the buf up and release it meanwhile.
 */
static size_t pipe_merge(struct usp_pipe *pipe, const struct usp_iter *from)
{
	size_t chunk = from->count % pipe->slot_bytes, merged = 0;
	struct usp_buf *last;

	pthread_mutex_lock(&pipe->lock);
	last = usp_pipe_slot(pipe, pipe->head - 1);
	if (chunk && !usp_pipe_is_empty(pipe) && last->flags & USP_BUF_CAN_MERGE &&
	    last->offset + last->len + chunk <= pipe_merge_end(pipe, last) &&
	    pipe->nr_bytes + chunk <= pipe->max_bytes) {
		usp_iter_copy_from(from, 0, usp_buf_bytes(last) + last->len, chunk);
		last->len += chunk;
		pipe->nr_bytes += chunk;
		merged = chunk;
		usp_pipe_wake(&pipe->rd);
	}
	usp_pipe_unlock(pipe);
	return merged;
}

/* One slot's worth of the write, copied into a fresh folio and pushed. Bytes, or -errno. */
static ssize_t pipe_write_slot(struct usp_pipe *pipe, const struct usp_iter *from, size_t done, unsigned buf_flags)
{
	size_t room, len;
	struct usp_folio *folio;

	usp_pipe_room(pipe, &room);
	len = usp_min(usp_min(from->count - done, pipe->slot_bytes), room);
	if (!len)
		return -EAGAIN;
	folio = usp_folio_new(pipe->slot_bytes);
	if (!folio)
		return -ENOMEM;
	usp_iter_copy_from(from, done, folio->base, len);
	if (!usp_pipe_push(pipe,
			   &(struct usp_buf){.ops = &usp_anon_buf_ops, .store = folio, .len = len, .flags = buf_flags},
			   1))
		return -EPIPE; /* push has released it */
	return (ssize_t)len;
}

ssize_t usp_pipe_write(struct usp_pipe *pipe, const struct usp_iter *from, bool is_packet, unsigned flags)
{
	unsigned buf_flags = is_packet ? USP_BUF_PACKET : USP_BUF_CAN_MERGE;
	ssize_t ret = 0;
	size_t done;

	if (from->count == 0)
		return 0; /* even on a broken pipe (R9) */
	ret = usp_pipe_take_write(pipe, flags);
	if (ret < 0)
		return ret;
	done = pipe_merge(pipe, from);
	while (done < from->count) {
		ret = pipe_write_slot(pipe, from, done, buf_flags);
		if (ret > 0) {
			done += (size_t)ret;
			continue;
		}
		if (ret != -EAGAIN)
			break;
		usp_pipe_end_write(pipe);
		ret = usp_pipe_begin_write(pipe, flags);
		if (ret < 0)
			return done ? (ssize_t)done : ret;
	}
	usp_pipe_end_write(pipe);
	return done ? (ssize_t)done : ret;
}

/* Copy from the first buf to the reader: bytes copied, or -errno. *ret_is_last tells that the read ends here. */
static ssize_t pipe_read_buf(struct usp_pipe *pipe, const struct usp_iter *to, size_t done, bool *ret_is_last)
{
	struct usp_buf buf;
	size_t len;
	int ret;

	usp_pipe_peek(pipe, &buf, 1);
	ret = usp_buf_confirm(pipe, &buf);
	if (ret < 0)
		return ret;
	if (!usp_buf_is_mapped(&buf)) {
		ret = usp_buf_map(pipe, &buf);
		if (ret < 0)
			return ret;
		usp_pipe_set(pipe, 0, &buf);
	}
	len = usp_min(buf.len, to->count - done);
	usp_iter_copy_to(to, done, usp_buf_bytes(&buf), len);
	*ret_is_last = buf.flags & USP_BUF_PACKET;
	usp_pipe_advance(pipe, *ret_is_last ? buf.len : len); /* what a packet's reader has no room for is lost (R22) */
	return (ssize_t)len;
}

ssize_t usp_pipe_read(struct usp_pipe *pipe, const struct usp_iter *to, unsigned flags)
{
	bool is_last = false;
	size_t done = 0;
	ssize_t ret;

	if (to->count == 0)
		return 0;
	ret = usp_pipe_begin_read(pipe, flags);
	if (ret <= 0)
		return ret;
	do {
		ret = pipe_read_buf(pipe, to, done, &is_last);
		if (ret < 0)
			break;
		done += (size_t)ret;
	} while (done < to->count && !is_last && usp_pipe_len(pipe));
	usp_pipe_end_read(pipe);
	return done ? (ssize_t)done : ret;
}
