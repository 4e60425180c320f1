/* SPDX-License-Identifier: MIT */
/* buf - the doors to the buffer operations, and the three kinds of buf that the core makes itself. */
#include "base/atomic.h"
#include <usplice/endpoint.h>

int usp_buf_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	return buf->ops->confirm ? buf->ops->confirm(pipe, buf) : 0;
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
	return buf->ops->map ? buf->ops->map(pipe, buf) : 0;
}

unsigned char *usp_buf_bytes(const struct usp_buf *buf)
{
	const struct usp_folio *folio = buf->store;

	return folio->base + buf->offset;
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
