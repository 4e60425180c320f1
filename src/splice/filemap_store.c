/* SPDX-License-Identifier: MIT */
/*
 * filemap_store - a sink over a mapping, which takes pages: what is written becomes what the cache has.
 *
 * A page that fills a folio, in place and of nobody else, goes into the index as it is (fuse_try_move_page of the
 * kernel). All other bytes are copied into a part, a folio that goes into the index when it is full.
 */
#include <errno.h>
#include <string.h>
#include <usplice/mapping.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "mm/folio.h"
#include "mm/mapping.h"
#include "splice/file.h"
#include "splice/iter.h"

#define STORE_FOLIO_BYTES ((size_t)64 << 10) /* of a part, unless folios are larger */
#define STORE_FOLIO_MAX ((size_t)2 << 20)

static const char moved_reason[] = "the page went into the cache";
static const char copied_reason[] = "copied into the cache: part of a page, or others may refer to it";

struct store {
	struct usp_folio *part; /* being filled; NULL between two */
	int64_t off;		/* of the part */
	size_t len;		/* bytes in it */
};

/* --- Parts ------------------------------------------------------------------------------------------------ */

/* Put the part into the cache, or drop it. */
static void store_finish(struct usp_file *out)
{
	struct store *store = out->priv;

	if (store->part && usp_mapping_store(out->mapping, store->off, store->part, store->len) < 0)
		usp_folio_put(store->part);
	store->part = NULL;
}

/* Begin a part at pos: as large as its place allows. */
static int store_begin(struct usp_file *out, int64_t pos)
{
	struct store *store = out->priv;
	size_t least = usp_mapping_folio_bytes(out->mapping), len = usp_max(STORE_FOLIO_BYTES, least);

	while (len > least && pos % (int64_t)len)
		len /= 2;
	if (pos % (int64_t)len)
		return -EINVAL;
	store->part = usp_folio_new(len);
	store->off = pos;
	store->len = 0;
	return store->part ? 0 : -ENOMEM;
}

/* Copy bytes behind what the part has, at most to its end: bytes, or -errno. */
static ssize_t store_copy(struct usp_file *out, int64_t pos, int64_t size, const void *bytes, size_t len)
{
	struct store *store = out->priv;
	int ret = 0;

	if (store->part && pos != store->off + (int64_t)store->len) {
		usp_folio_put(store->part); /* after a seek: it never gets whole */
		store->part = NULL;
	}
	if (!store->part)
		ret = store_begin(out, pos);
	if (ret < 0)
		return ret;
	len = usp_min(len, store->part->len - store->len);
	memcpy(store->part->base + store->len, bytes, len);
	store->len += len;
	if (store->len == store->part->len || pos + (int64_t)len == size)
		store_finish(out);
	return (ssize_t)len;
}

/* Cut len to what the source has behind pos: bytes, or -errno. */
static ssize_t store_cut(struct usp_file *out, int64_t pos, size_t len, int64_t *ret_size)
{
	int64_t size = usp_mapping_look(out->mapping);

	*ret_size = size;
	return size < 0 ? size : pos >= size ? -ENOSPC : (ssize_t)usp_min(len, (size_t)(size - pos));
}

static ssize_t store_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	int64_t size;
	ssize_t left = store_cut(out, *pos, from->count, &size), ret = left;
	size_t done = 0;

	(void)flags;
	for (unsigned i = 0; left > 0 && i < from->nr_segs; i++) {
		size_t len = usp_min(from->iov[i].iov_len, (size_t)left);

		for (size_t at = 0; at < len; at += (size_t)ret) {
			ret = store_copy(out, *pos, size, (const char *)from->iov[i].iov_base + at, len - at);
			if (ret < 0)
				return done ? (ssize_t)done : ret;
			*pos += ret;
			done += (size_t)ret;
		}
		left -= (ssize_t)len;
	}
	return done ? (ssize_t)done : ret;
}

/* --- Pages ------------------------------------------------------------------------------------------------ */

struct store_call {
	struct usp_file *out;
	int64_t *pos, size;
	unsigned flags;
	size_t moved, copied;
};

/* Tell whether the buf is a whole page for its place: all of a folio of the pool, or the rest of the source. */
static bool store_fits(const struct store_call *call, const struct usp_buf *buf, size_t len)
{
	const struct store *store = call->out->priv;
	const struct usp_folio *folio = buf->store;
	bool is_last = *call->pos + (int64_t)len == call->size && !(buf->flags & USP_BUF_CAN_MERGE);

	return call->flags & USP_SPLICE_MOVE && !store->part && !(buf->flags & (USP_BUF_MAPPED | USP_BUF_GIFT)) &&
	       usp_folio_is_pooled(folio) && buf->offset == 0 && len == buf->len && (len == folio->len || is_last) &&
	       2 * len >= folio->len && folio->len <= STORE_FOLIO_MAX &&
	       folio->len >= usp_mapping_folio_bytes(call->out->mapping) && *call->pos % (int64_t)folio->len == 0;
}

/* Take the page of a buf over: false if somebody else has it, or the cache does not want it. */
static bool store_move(struct store_call *call, struct usp_pipe *pipe, struct usp_buf *buf, size_t len)
{
	struct usp_folio *folio = buf->store;

	if (!store_fits(call, buf, len) || !usp_buf_try_steal(pipe, buf) || !usp_folio_get(folio))
		return false;
	if (usp_mapping_store(call->out->mapping, *call->pos, folio, len) == 0)
		return true;
	usp_folio_put(folio);
	return false;
}

static ssize_t store_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct store_call *call = arg;
	bool is_moved = store_move(call, pipe, buf, len);
	ssize_t ret = is_moved ? (ssize_t)len : store_copy(call->out, *call->pos, call->size, usp_buf_bytes(buf), len);

	if (ret > 0) {
		*(is_moved ? &call->moved : &call->copied) += (size_t)ret;
		*call->pos += ret;
	}
	return ret;
}

static ssize_t store_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	struct store_call call = {.out = out, .pos = pos, .flags = flags};
	ssize_t ret = store_cut(out, *pos, len, &call.size);

	if (ret <= 0)
		return ret;
	ret = usp_splice_from_pipe(pipe, (size_t)ret, flags, store_actor, &call);
	if (call.moved)
		usp_file_account(out, USP_WRITE, USP_BY_REFERENCE, call.moved, moved_reason);
	if (call.copied)
		usp_file_account(out, USP_WRITE, USP_COPIED, call.copied, copied_reason);
	return ret;
}

/* --- Files ------------------------------------------------------------------------------------------------ */

static int store_release(struct usp_file *file)
{
	struct store *store = file->priv;

	if (store->part)
		usp_folio_put(store->part);
	usp_free(store);
	return usp_filemap_release(file);
}

static const struct usp_file_ops store_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "store",
	.write_iter = store_write_iter,
	.splice_write = store_splice_write,
	.get_size = usp_filemap_size,
	.release = store_release,
};

int usp_mapping_open_store(struct usp_mapping *mapping, const char *name, struct usp_file **ret_file)
{
	struct store *store = name ? usp_alloc(sizeof(*store)) : NULL;
	int ret = !name ? -EINVAL : store ? usp_file_new(&store_ops, USP_WRITE, name, store, ret_file) : -ENOMEM;

	if (ret < 0) {
		usp_free(store);
		return ret;
	}
	(*ret_file)->mapping = usp_mapping_get(mapping);
	(*ret_file)->traits = USP_FILE_SEEKABLE;
	return 0;
}
