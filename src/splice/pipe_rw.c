/* SPDX-License-Identifier: MIT */
/* pipe_rw - write(2) and read(2) on a pipe: the merge rule, packets, and where a read ends (R9-R25). */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "splice/iter.h"
#include "splice/pipe.h"

#define READ_BUFS 32 /* bufs that are copied before their room is given back */

/* Return what fits into the memory of a buf. A buf from another pipe has the length of that pipe's slots. */
static size_t pipe_merge_end(const struct usp_pipe *pipe, const struct usp_buf *buf)
{
	const struct usp_folio *folio = buf->store;

	return usp_min(pipe->slot_bytes, folio->len);
}

/*
 * The merge rule (R10): the part of a write that would not fill a slot goes into the newest buf, whole
 * or not at all. Returns how much that is now. Without the lock the answer is a guess: readers may
 * consume the buf.
 */
static size_t pipe_merge_len(struct usp_pipe *pipe, const struct usp_iter *from)
{
	const struct usp_buf *last = usp_pipe_slot(pipe, pipe->head - 1);
	size_t chunk = from->count % pipe->slot_bytes;

	if (usp_pipe_is_empty(pipe) || !(last->flags & USP_BUF_CAN_MERGE) ||
	    last->offset + last->len + chunk > pipe_merge_end(pipe, last) ||
	    chunk > pipe->max_bytes - pipe->nr_bytes - pipe->turn_bytes)
		return 0;
	return chunk;
}

static size_t pipe_guess_merge(struct usp_pipe *pipe, const struct usp_iter *from)
{
	size_t chunk;

	pthread_mutex_lock(&pipe->lock);
	chunk = pipe_merge_len(pipe, from);
	pthread_mutex_unlock(&pipe->lock);
	return chunk;
}

/*
 * Merge the first chunk bytes, and with them publish what was pushed for the rest. Copy under the
 * lock: else a reader may consume and release the buf meanwhile. False if a reader has already done
 * so.
 */
static bool pipe_merge(struct usp_pipe *pipe, const struct usp_iter *from, size_t chunk)
{
	struct usp_buf *last;
	bool can_merge;

	pthread_mutex_lock(&pipe->lock);
	can_merge = pipe_merge_len(pipe, from) == chunk;
	if (can_merge) {
		last = usp_pipe_slot(pipe, pipe->head - 1);
		usp_iter_copy_from(from, 0, usp_buf_bytes(last) + last->len, chunk);
		last->len += chunk;
		pipe->nr_bytes += chunk;
		usp_pipe_wake(&pipe->rd);
		usp_pipe_publish(pipe);
	}
	usp_pipe_unlock(pipe);
	return can_merge;
}

/* Take back what this turn pushed; no reader has seen it. */
static void pipe_unpush(struct usp_pipe *pipe)
{
	struct usp_buf buf = {.ops = NULL}, *slot;

	do {
		pthread_mutex_lock(&pipe->lock);
		slot = pipe->turn_head == pipe->head ? NULL : usp_pipe_slot(pipe, --pipe->turn_head);
		if (slot) {
			buf = *slot;
			slot->ops = NULL;
			pipe->turn_bytes -= buf.len;
		}
		usp_pipe_unlock(pipe);
		if (slot)
			usp_buf_release(pipe, &buf);
	} while (slot);
}

/*
 * Copy the write from *done on into fresh folios, one for each slot, as far as there is room besides
 * the merged bytes. 0, -EAGAIN if there is not enough room, or -ENOMEM.
 */
static int pipe_fill(struct usp_pipe *pipe, const struct usp_iter *from, size_t merged, unsigned buf_flags,
		     size_t *done)
{
	size_t room, len;
	struct usp_folio *folio;

	usp_pipe_room(pipe, &room);
	if (merged)
		room = usp_min(room, pipe->max_bytes - merged - usp_pipe_len(pipe));
	while (*done < from->count) {
		len = usp_min(usp_min(from->count - *done, pipe->slot_bytes), room);
		if (!len)
			return -EAGAIN;
		folio = usp_folio_new(pipe->slot_bytes);
		if (!folio)
			return -ENOMEM;
		usp_iter_copy_from(from, *done, folio->base, len);
		usp_pipe_push(
			pipe,
			&(struct usp_buf){.ops = &usp_anon_buf_ops, .store = folio, .len = len, .flags = buf_flags}, 1);
		*done += len;
		room -= len;
	}
	return 0;
}

ssize_t usp_pipe_write(struct usp_pipe *pipe, const struct usp_iter *from, bool is_packet, unsigned flags)
{
	unsigned buf_flags = is_packet ? USP_BUF_PACKET : USP_BUF_CAN_MERGE;
	size_t done, merged;
	int ret;

	if (from->count == 0)
		return 0; /* even on a broken pipe (R9) */
	ret = usp_pipe_take_write(pipe, flags);
	if (ret < 0)
		return ret;
	while ((done = merged = pipe_guess_merge(pipe, from))) {
		ret = pipe_fill(pipe, from, merged, buf_flags, &done);
		if (pipe_merge(pipe, from, merged))
			break;
		pipe_unpush(pipe);
	}
	if (!merged)
		ret = pipe_fill(pipe, from, 0, buf_flags, &done);
	while (ret == -EAGAIN &&
	       !(flags & USP_SPLICE_NONBLOCK)) { /* a nonblocking call does not use room that comes later */
		usp_pipe_end_write(pipe);
		ret = usp_pipe_begin_write(pipe, flags);
		if (ret < 0)
			return done ? (ssize_t)done : ret;
		ret = pipe_fill(pipe, from, 0, buf_flags, &done);
	}
	usp_pipe_end_write(pipe);
	return done ? (ssize_t)done : ret;
}

/* Make the bytes of a lent buf valid and addressable, in the ring too. */
static int pipe_read_prepare(struct usp_pipe *pipe, unsigned index, struct usp_buf *buf, unsigned flags)
{
	int ret = usp_buf_confirm(pipe, buf, flags);

	if (ret < 0 || usp_buf_is_mapped(buf))
		return ret;
	ret = usp_buf_map(pipe, buf);
	if (ret == 0)
		usp_pipe_set(pipe, index, buf);
	return ret;
}

/*
 * Copy from the first bufs to the reader, and give their room back at once: bytes copied, or -errno.
 * *ret_is_last: the read ends with a packet; bytes of the packet that do not fit are lost (R22).
 */
static ssize_t pipe_read_bufs(struct usp_pipe *pipe, const struct usp_iter *to, size_t done, size_t len, unsigned flags,
			      bool *ret_is_last)
{
	struct usp_buf bufs[READ_BUFS];
	unsigned nr_bufs = usp_pipe_peek(pipe, bufs, READ_BUFS);
	size_t copied = 0, used = 0;
	int ret = 0;

	for (unsigned i = 0; i < nr_bufs && copied < len && !*ret_is_last; i++) {
		size_t chunk, whole = bufs[i].len;

		if (!whole)
			continue;
		ret = pipe_read_prepare(pipe, i, &bufs[i], flags);
		if (ret < 0)
			break;
		chunk = usp_min(bufs[i].len, len - copied);
		usp_iter_copy_to(to, done + copied, usp_buf_bytes(&bufs[i]), chunk);
		*ret_is_last = bufs[i].flags & USP_BUF_PACKET;
		copied += chunk;
		used += *ret_is_last ? bufs[i].len : chunk;
		if (bufs[i].len < whole)
			break;
	}
	usp_pipe_advance(pipe, used);
	return copied ? (ssize_t)copied : ret;
}

ssize_t usp_pipe_read(struct usp_pipe *pipe, const struct usp_iter *to, unsigned flags)
{
	size_t len = to->count, done = 0;
	bool is_last = false;
	ssize_t ret;

	if (len == 0)
		return 0;
	ret = usp_pipe_take_read(pipe, flags, &len);
	if (ret <= 0)
		return ret;
	while (done < len && !is_last) {
		ret = pipe_read_bufs(pipe, to, done, len - done, flags, &is_last);
		if (ret < 0)
			break;
		done += (size_t)ret;
	}
	usp_pipe_end_read(pipe);
	return done ? (ssize_t)done : ret;
}
