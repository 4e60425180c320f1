/* SPDX-License-Identifier: MIT */
/* buf - the doors to the buffer operations, and the three kinds of buf that the core makes itself. */
#include "splice/buf.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/sys.h"

/* The table of an older program may end before this op. */
bool usp_buf_may_be_late(const struct usp_buf *buf)
{
	const struct usp_buf_ops *ops = buf->ops;

	return ops->confirm && ops->size > offsetof(struct usp_buf_ops, poll_fd) && ops->poll_fd;
}

int usp_buf_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	return usp_buf_may_be_late(buf) ? buf->ops->poll_fd(pipe, buf, ret_events) : -EIO;
}

static int buf_await(struct usp_pipe *pipe, const struct usp_buf *buf, unsigned flags)
{
	struct pollfd fd = {.events = 0};
	int ret;

	fd.fd = usp_buf_poll_fd(pipe, buf, &fd.events);
	if (fd.fd < 0)
		return fd.fd == -EAGAIN ? 0 : fd.fd;
	if (flags & USP_SPLICE_NONBLOCK)
		return -EAGAIN;
	ret = usp_sys_poll(&fd, 1, -1);
	return ret < 0 ? ret : fd.revents & POLLNVAL ? -EBADF : 0;
}

int usp_buf_confirm(struct usp_pipe *pipe, struct usp_buf *buf, unsigned flags)
{
	int ret = 0;

	while (buf->ops->confirm && (ret = buf->ops->confirm(pipe, buf)) == -EAGAIN) {
		ret = buf_await(pipe, buf, flags);
		if (ret < 0)
			break;
	}
	return ret;
}

/* Empty the struct first, so that the same struct is never released twice (spec 0.2). */
void usp_buf_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct usp_buf last = *buf;

	*buf = (struct usp_buf){.ops = NULL};
	last.ops->release(pipe, &last);
}

bool usp_buf_try_steal(struct usp_pipe *pipe, struct usp_buf *buf)
{
	return buf->ops->try_steal && buf->ops->try_steal(pipe, buf);
}

bool usp_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	return buf->ops->get(pipe, buf, copy);
}

bool usp_buf_is_mapped(const struct usp_buf *buf)
{
	return !buf->ops->map;
}

int usp_buf_map(struct usp_pipe *pipe, struct usp_buf *buf)
{
	int ret;

	if (!buf->ops->map)
		return 0;
	ret = buf->ops->map(pipe, buf);
	if (ret == 0)
		buf->flags |= USP_BUF_MAPPED; /* the sink that the bytes go to counts them as copied */
	return ret;
}

unsigned char *usp_buf_bytes(const struct usp_buf *buf)
{
	const struct usp_folio *folio = buf->store;

	return folio->base + buf->offset;
}

int usp_buf_take(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, unsigned flags, struct usp_buf *ret_own)
{
	struct usp_buf own = *buf;

	own.len = len;
	own.flags = 0; /* they are for the first owner */
	if (flags & USP_SPLICE_MOVE && usp_buf_try_steal(pipe, buf) && usp_buf_get(pipe, buf, &own)) {
		*ret_own = own;
		return buf->flags & USP_BUF_MAPPED ? USP_COPIED : USP_BY_REFERENCE;
	}
	own = (struct usp_buf){.ops = &usp_folio_buf_ops, .store = usp_folio_new(len), .len = len};
	if (!own.store)
		return -ENOMEM;
	memcpy(usp_buf_bytes(&own), usp_buf_bytes(buf), len);
	*ret_own = own;
	return USP_COPIED;
}

static void folio_buf_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

static bool folio_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe;
	(void)copy;
	return usp_folio_get(buf->store);
}

static bool folio_buf_try_steal(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct usp_folio *folio = buf->store;

	(void)pipe;
	return atomic_load_explicit(usp_u32(&folio->refs), memory_order_acquire) == 1;
}

const struct usp_buf_ops usp_anon_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "anon",
	.release = folio_buf_release,
	.try_steal = folio_buf_try_steal,
	.get = folio_buf_get,
};

const struct usp_buf_ops usp_folio_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "folio",
	.release = folio_buf_release,
	.try_steal = folio_buf_try_steal,
	.get = folio_buf_get,
};

const struct usp_buf_ops usp_gift_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "gift",
	.release = folio_buf_release,
	.get = folio_buf_get,
};
