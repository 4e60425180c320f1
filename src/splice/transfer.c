/* SPDX-License-Identifier: MIT */
/*
 * transfer - references from one pipe to another: splice moves bufs, tee makes second owners of them
 * (T1-T13).
 *
 * Wait for each pipe alone, with nothing held, so that two transfers in opposite directions cannot
 * block each other. Then lock both in address order, and check everything again. Nothing blocks under
 * the locks.
 */
#include <errno.h>

#include "base/compiler.h"
#include "splice/pipe.h"

#define TRANSFER_DEAD_MAX 32

static int transfer_wait_input(struct usp_pipe *in, unsigned flags)
{
	int ret = 0;

	pthread_mutex_lock(&in->lock);
	while (in->rd.is_taken || (usp_pipe_is_empty(in) && in->wr.nr_open)) {
		if (flags & USP_SPLICE_NONBLOCK) {
			ret = -EAGAIN;
			break;
		}
		usp_pipe_wait(in, &in->rd);
	}
	usp_pipe_unlock(in);
	return ret;
}

static int transfer_wait_output(struct usp_pipe *out, unsigned flags)
{
	int ret = 0;

	pthread_mutex_lock(&out->lock);
	while (out->wr.is_taken || usp_pipe_is_full(out)) {
		if (!out->rd.nr_open || flags & USP_SPLICE_NONBLOCK) {
			ret = out->rd.nr_open ? -EAGAIN : -EPIPE;
			break;
		}
		usp_pipe_wait(out, &out->wr);
	}
	usp_pipe_unlock(out);
	return ret;
}

static void transfer_lock(struct usp_pipe *in, struct usp_pipe *out)
{
	pthread_mutex_lock(in < out ? &in->lock : &out->lock);
	pthread_mutex_lock(in < out ? &out->lock : &in->lock);
}

static void transfer_append(struct usp_pipe *out, const struct usp_buf *buf)
{
	*usp_pipe_slot(out, out->head++) = *buf;
	out->turn_head = out->head; /* no call has the write turn */
	out->nr_bytes += buf->len;
	usp_pipe_wake(&out->rd);
}

/* Append a second owner of the first len bytes of a buf. Clear the flags that only the first owner may have (O8). */
static bool transfer_share(struct usp_pipe *in, struct usp_pipe *out, const struct usp_buf *buf, size_t len)
{
	struct usp_buf copy = *buf;

	copy.len = len;
	copy.flags &= ~(USP_BUF_GIFT | USP_BUF_CAN_MERGE);
	if (!usp_buf_get(in, buf, &copy))
		return false;
	transfer_append(out, &copy);
	return true;
}

/* Move the first len bytes of buf, the tail of in: the whole buf, or a second owner of a part (T5). */
static bool transfer_move(struct usp_pipe *in, struct usp_pipe *out, struct usp_buf *buf, size_t len)
{
	bool was_full = usp_pipe_is_full(in);

	if (len < buf->len) {
		if (!transfer_share(in, out, buf, len))
			return false;
		buf->offset += len;
		buf->len -= len;
	} else {
		transfer_append(out, buf);
		buf->ops = NULL;
		in->tail++;
	}
	in->nr_bytes -= len;
	if (was_full)
		usp_pipe_wake(&in->wr);
	return true;
}

/* Move or share as many bytes as fit. -EFAULT if the first get is refused. Both locks held, both turns free. */
static ssize_t transfer_bufs(struct usp_pipe *in, struct usp_pipe *out, size_t len, bool is_move)
{
	unsigned position = in->tail;
	size_t done = 0;

	while (done < len && position != in->head) {
		struct usp_buf *buf = usp_pipe_slot(in, position);
		size_t chunk = usp_pipe_chunk(out, usp_min(buf->len, len - done));

		if (!chunk && buf->len)
			break;
		if (chunk && !(is_move ? transfer_move(in, out, buf, chunk) : transfer_share(in, out, buf, chunk)))
			return done ? (ssize_t)done : -EFAULT;
		done += chunk;
		if (!is_move && chunk < buf->len)
			break; /* tee cannot go on in the middle of a buf */
		position = is_move ? in->tail : position + 1;
		if (is_move && position != in->head && usp_pipe_slot(in, position)->len == 0)
			break; /* usp_pipe_transfer releases empty bufs */
	}
	return (ssize_t)done;
}

/* Try once, with both locks held: bytes, 0 at the end, -EPIPE, -EFAULT, or -EAGAIN to wait. */
static ssize_t transfer_once(struct usp_pipe *in, struct usp_pipe *out, size_t len, bool is_move)
{
	ssize_t ret;

	if (!out->rd.nr_open)
		return -EPIPE;
	if (in->rd.is_taken || out->wr.is_taken)
		return -EAGAIN;
	if (usp_pipe_is_empty(in))
		return in->wr.nr_open ? -EAGAIN : 0;
	if (usp_pipe_is_full(out))
		return -EAGAIN;
	ret = transfer_bufs(in, out, len, is_move);
	return ret ? ret : -EAGAIN; /* only empty bufs so far: there may be bytes behind them */
}

ssize_t usp_pipe_transfer(struct usp_pipe *in, struct usp_pipe *out, size_t len, unsigned flags, bool is_move)
{
	struct usp_buf dead[TRANSFER_DEAD_MAX];
	unsigned nr_dead;
	ssize_t ret;

	do {
		ret = transfer_wait_input(in, flags);
		if (ret == 0)
			ret = transfer_wait_output(out, flags);
		if (ret < 0)
			return ret;
		transfer_lock(in, out);
		nr_dead = in->rd.is_taken ? 0 : usp_pipe_reap_empty(in, dead, usp_array_len(dead));
		ret = transfer_once(in, out, len, is_move);
		usp_pipe_unlock(out);
		usp_pipe_unlock(in);
		for (unsigned i = 0; i < nr_dead; i++)
			usp_buf_release(in, &dead[i]);
	} while (ret == -EAGAIN && (nr_dead || !(flags & USP_SPLICE_NONBLOCK)));
	return ret;
}
