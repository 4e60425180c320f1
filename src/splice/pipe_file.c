/* SPDX-License-Identifier: MIT */
/* pipe_file - the two ends of a pipe as files: open, read, write, readiness, size, close. */
#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "splice/buf.h"
#include "splice/iter.h"
#include "splice/pipe.h"

/* USP_NONBLOCK of the end makes read and write nonblocking, as does the flag of a call. */
static unsigned pipe_end_flags(const struct usp_file *end, unsigned flags)
{
	return atomic_load(usp_u32(&end->flags)) & USP_NONBLOCK ? flags | USP_SPLICE_NONBLOCK : flags;
}

static ssize_t pipe_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	(void)pos;
	return usp_pipe_read(in->priv, to, pipe_end_flags(in, flags));
}

static ssize_t pipe_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	(void)pos;
	return usp_pipe_write(out->priv, from, atomic_load(usp_u32(&out->flags)) & USP_PACKET,
			      pipe_end_flags(out, flags));
}

/* The eventfd of a side. Made at the first request; usp_pipe_unlock keeps it up to date. */
static int pipe_event_fd(struct usp_pipe *pipe, struct usp_pipe_side *side)
{
	int fd;

	pthread_mutex_lock(&pipe->lock);
	if (side->event_fd >= 0 && side->event_process != usp_own_nr()) {
		usp_sys_close(side->event_fd); /* the parent made it */
		side->event_fd = -1;
	}
	if (side->event_fd < 0) {
		side->event_fd = usp_sys_eventfd();
		side->event_set = false;
		side->event_process = usp_own_nr();
	}
	fd = side->event_fd;
	usp_pipe_unlock(pipe);
	return fd;
}

bool usp_pipe_may_be_late(struct usp_pipe *pipe)
{
	bool may_be_late;

	pthread_mutex_lock(&pipe->lock);
	may_be_late = !usp_pipe_is_empty(pipe) && usp_buf_may_be_late(usp_pipe_slot(pipe, pipe->tail));
	pthread_mutex_unlock(&pipe->lock);
	return may_be_late;
}

/* Ask a second owner of the buf: to take the turn would keep a reader from it. */
bool usp_pipe_is_late(struct usp_pipe *pipe, int *ret_fd, short *ret_events)
{
	struct usp_buf first = {.ops = NULL};
	bool is_late;
	int fd = -1;

	pthread_mutex_lock(&pipe->lock);
	if (!usp_pipe_is_empty(pipe)) {
		const struct usp_buf *buf = usp_pipe_slot(pipe, pipe->tail);

		first = *buf;
		if (!usp_buf_may_be_late(buf) || !usp_buf_get(pipe, buf, &first))
			first.ops = NULL;
	}
	pthread_mutex_unlock(&pipe->lock);
	if (!first.ops)
		return false;
	is_late = usp_buf_confirm(pipe, &first, USP_SPLICE_NONBLOCK) == -EAGAIN &&
		  (fd = usp_buf_poll_fd(pipe, &first, ret_events)) >= 0;
	usp_buf_release(pipe, &first);
	if (is_late)
		*ret_fd = fd;
	return is_late;
}

int usp_pipe_room_fd(struct usp_pipe *pipe)
{
	return pipe_event_fd(pipe, &pipe->wr);
}

int usp_pipe_data_fd(struct usp_pipe *pipe)
{
	return pipe_event_fd(pipe, &pipe->rd);
}

static int pipe_poll_fd(struct usp_file *end, unsigned side, short *ret_events)
{
	struct usp_pipe *pipe = end->priv;
	int fd;

	if (side == USP_READ && usp_pipe_is_late(pipe, &fd, ret_events))
		return fd;
	*ret_events = POLLIN;
	return pipe_event_fd(pipe, side == USP_READ ? &pipe->rd : &pipe->wr);
}

/* R30. A write end without a free slot is not writable, even if a write could merge (R31). */
static unsigned pipe_poll(struct usp_file *end)
{
	struct usp_pipe *pipe = end->priv;
	unsigned bits = 0;
	short events;
	int fd;

	if (end->mode & USP_READ && usp_pipe_is_late(pipe, &fd, &events))
		return 0; /* a read would wait for bytes that the first buf will have */
	pthread_mutex_lock(&pipe->lock);
	if (end->mode & USP_READ)
		bits |= (usp_pipe_is_empty(pipe) ? 0 : POLLIN) | (pipe->wr.nr_open ? 0 : POLLHUP);
	if (end->mode & USP_WRITE)
		bits |= (usp_pipe_is_full(pipe) ? 0 : POLLOUT) | (pipe->rd.nr_open ? 0 : POLLERR);
	pthread_mutex_unlock(&pipe->lock);
	return bits;
}

static int pipe_release(struct usp_file *end)
{
	struct usp_pipe *pipe = end->priv;
	bool is_last;

	if (end->mode & USP_READ)
		usp_pipe_close_read(pipe);
	if (end->mode & USP_WRITE)
		usp_pipe_close_write(pipe);
	pthread_mutex_lock(&pipe->lock);
	is_last = --pipe->nr_files == 0;
	pthread_mutex_unlock(&pipe->lock);
	if (is_last)
		usp_pipe_free(pipe);
	return 0;
}

const struct usp_file_ops usp_pipe_file_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "pipe",
	.read_iter = pipe_read_iter,
	.write_iter = pipe_write_iter,
	.poll = pipe_poll,
	.release = pipe_release,
	.poll_fd = pipe_poll_fd,
};

int usp_pipe_open(const struct usp_pipe_params *params, struct usp_file *ret_ends[2])
{
	struct usp_pipe_params own = {.size = sizeof(own)};
	int ret = params ? usp_sized_take(&own, sizeof(own), params) : 0;
	struct usp_file *ends[2] = {NULL, NULL};
	unsigned flags = own.flags;
	struct usp_pipe *pipe;

	if (ret < 0)
		return ret;
	ret = usp_pipe_new(&own, &pipe);
	if (ret < 0)
		return ret;
	ret = usp_file_new(&usp_pipe_file_ops, USP_READ, "pipe", pipe, &ends[0]);
	if (ret == 0)
		ret = usp_file_new(&usp_pipe_file_ops, USP_WRITE, "pipe", pipe, &ends[1]);
	if (ret < 0) {
		if (ends[0]) {
			pipe->nr_files = 1;
			usp_file_put(ends[0]);
		} else {
			usp_pipe_free(pipe);
		}
		return ret;
	}
	pipe->nr_files = 2;
	atomic_store(usp_u32(&ends[0]->flags), flags & USP_NONBLOCK);
	atomic_store(usp_u32(&ends[1]->flags), flags);
	ret_ends[0] = ends[0];
	ret_ends[1] = ends[1];
	return 0;
}

ssize_t usp_pipe_resize(struct usp_file *end, size_t len)
{
	struct usp_pipe *pipe = usp_file_pipe(end);

	return pipe ? usp_pipe_set_size(pipe, len) : -EBADF;
}

ssize_t usp_pipe_capacity(const struct usp_file *end)
{
	struct usp_pipe *pipe = usp_file_pipe(end);
	ssize_t len;

	if (!pipe)
		return -EBADF;
	pthread_mutex_lock(&pipe->lock);
	len = (ssize_t)(pipe->max_usage * pipe->slot_bytes);
	pthread_mutex_unlock(&pipe->lock);
	return len;
}

ssize_t usp_pipe_bytes(const struct usp_file *end)
{
	struct usp_pipe *pipe = usp_file_pipe(end);

	return pipe ? (ssize_t)usp_pipe_len(pipe) : -EBADF;
}
