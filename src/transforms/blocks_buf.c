/* SPDX-License-Identifier: MIT */
/* blocks_buf - a block, whose checksum is verified once, and the bufs over it. */
#include "transforms/blocks_buf.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "splice/buf.h"

/* --- A block ------------------------------------------------------------------------------------------------- */

#define BLOCK_UNKNOWN 1

static void block_free(struct usp_folio *folio)
{
	struct block *block = (struct block *)folio;

	usp_buf_release(NULL, &block->inner);
	pthread_mutex_destroy(&block->lock);
	usp_free(block);
}

struct block *usp_block_new(const struct usp_buf *inner, const struct usp_hash_ops *hash, const char *reason)
{
	struct block *block = usp_alloc(sizeof(*block));

	if (!block)
		return NULL;
	usp_folio_init(&block->folio, usp_buf_bytes(inner), inner->len, block_free);
	block->inner = *inner;
	block->inner.flags = 0;
	block->reason = reason;
	block->hash = hash;
	pthread_mutex_init(&block->lock, NULL);
	atomic_init(&block->state, BLOCK_UNKNOWN);
	return block;
}

/* Confirm all bytes below: 0, -EAGAIN, or -errno. Where the source ended within the block, it is a bad one. */
static int block_confirm_inner(const struct block *block)
{
	size_t done = 0;

	while (done < block->inner.len) {
		struct usp_buf rest = block->inner;
		int ret;

		rest.offset += done;
		rest.len -= done;
		ret = usp_buf_confirm(NULL, &rest, USP_SPLICE_NONBLOCK);
		if (ret < 0)
			return ret == -ENODATA ? -EBADMSG : ret;
		if (!rest.len)
			return -EIO;
		done += rest.len;
	}
	return 0;
}

int usp_block_digest(const struct block *block, unsigned char *ret_digest)
{
	void *state = block->hash->open();

	if (!state)
		return -ENOMEM;
	block->hash->update(state, block->folio.base, block->folio.len);
	block->hash->finish(state, ret_digest);
	block->hash->free(state);
	return 0;
}

static int block_compare(struct block *block)
{
	unsigned char digest[USP_HASH_LEN_MAX];
	int ret = block_confirm_inner(block);

	if (ret == 0)
		ret = usp_block_digest(block, digest);
	if (ret < 0)
		return ret;
	ret = memcmp(digest, block->expected, block->hash->len) == 0 ? 0 : -EBADMSG;
	atomic_store_explicit(&block->state, ret, memory_order_release);
	return ret;
}

int usp_block_verify(struct block *block)
{
	int ret = atomic_load_explicit(&block->state, memory_order_acquire);

	if (ret != BLOCK_UNKNOWN)
		return ret;
	pthread_mutex_lock(&block->lock);
	ret = atomic_load_explicit(&block->state, memory_order_relaxed);
	if (ret == BLOCK_UNKNOWN)
		ret = block_compare(block);
	pthread_mutex_unlock(&block->lock);
	return ret;
}

void usp_block_set_good(struct block *block)
{
	atomic_store_explicit(&block->state, 0, memory_order_release);
}

/* --- The bufs over a block ----------------------------------------------------------------------------------- */

static int block_buf_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	return usp_block_verify(buf->store);
}

static void block_buf_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

/* What nobody has verified stays as it is: after a write it could not be verified any more. */
static bool block_buf_try_steal(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct block *block = buf->store;

	(void)pipe;
	return atomic_load_explicit(usp_u32(&block->folio.refs), memory_order_acquire) == 1 &&
	       atomic_load_explicit(&block->state, memory_order_acquire) == 0 && usp_buf_try_steal(NULL, &block->inner);
}

static bool block_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe;
	(void)copy;
	return usp_folio_get(buf->store);
}

static int block_buf_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	const struct block *block = buf->store;

	(void)pipe;
	return usp_buf_poll_fd(NULL, &block->inner, ret_events);
}

/* With poll_fd also over bytes that are there: an error of confirm then concerns this buf, and none before it. */
const struct usp_buf_ops usp_block_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "block",
	.confirm = block_buf_confirm,
	.release = block_buf_release,
	.try_steal = block_buf_try_steal,
	.get = block_buf_get,
	.poll_fd = block_buf_poll_fd,
};
