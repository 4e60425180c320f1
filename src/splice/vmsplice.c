/* SPDX-License-Identifier: MIT */
/* vmsplice - memory into a pipe, copied or by reference, and bytes out of a pipe into memory (V1-V6). */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "mm/folio.h"
#include "mm/gift.h"
#include "splice/from_pipe.h"
#include "splice/iter.h"
#include "splice/pipe.h"

static const char copy_reason[] = "vmsplice without GIFT: copied, so that the memory may be reused at once";
static const char gift_reason[] = "gifted memory";

/* Return what the next slot takes. With slots of a page it never crosses a page of the caller's memory (V2). */
static size_t vmsplice_chunk(struct usp_pipe *pipe, const void *base, size_t len)
{
	size_t room, slot_bytes = usp_pipe_slot_bytes(pipe);

	usp_pipe_room(pipe, &room);
	if (slot_bytes == USP_PAGE)
		slot_bytes -= (uintptr_t)base % USP_PAGE;
	return usp_min(usp_min(len, slot_bytes), room);
}

static ssize_t vmsplice_gift_segment(struct usp_pipe *pipe, const struct iovec *seg)
{
	struct usp_gift *gift;
	ssize_t ret = usp_gift_new(seg->iov_base, seg->iov_len, NULL, NULL, &gift);

	if (ret < 0)
		return ret;
	ret = usp_pipe_push_folio(pipe, &gift->folio, 0, seg->iov_len, USP_BUF_GIFT);
	usp_gift_put(gift);
	return ret;
}

static ssize_t vmsplice_copy_segment(struct usp_pipe *pipe, const struct iovec *seg)
{
	const unsigned char *base = seg->iov_base;
	size_t done = 0, chunk;

	while (done < seg->iov_len && (chunk = vmsplice_chunk(pipe, base + done, seg->iov_len - done))) {
		struct usp_folio *folio = usp_folio_new(chunk);

		if (!folio)
			return done ? (ssize_t)done : -ENOMEM;
		memcpy(folio->base, base + done, chunk);
		if (!usp_pipe_push(pipe, &(struct usp_buf){.ops = &usp_folio_buf_ops, .store = folio, .len = chunk}, 1))
			break;
		done += chunk;
	}
	return done ? (ssize_t)done : -EPIPE;
}

/* V2: wait once for a slot, then take what fits. */
static ssize_t vmsplice_to_pipe(struct usp_file *end, const struct usp_iter *from, unsigned flags)
{
	bool is_gift = flags & USP_SPLICE_GIFT;
	struct usp_pipe *pipe = usp_file_pipe(end);
	size_t done = 0, room;
	ssize_t ret = usp_pipe_begin_write(pipe, flags);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < from->nr_segs && usp_pipe_room(pipe, &room); i++) {
		const struct iovec *seg = &from->iov[i];

		if (seg->iov_len == 0)
			continue;
		ret = is_gift ? vmsplice_gift_segment(pipe, seg) : vmsplice_copy_segment(pipe, seg);
		if (ret < 0)
			break;
		done += (size_t)ret;
		if ((size_t)ret < seg->iov_len)
			break;
	}
	usp_pipe_end_write(pipe);
	if (!done)
		return ret;
	usp_file_account(end, USP_WRITE, is_gift ? USP_BY_REFERENCE : USP_COPIED, done,
			 is_gift ? gift_reason : copy_reason);
	return (ssize_t)done;
}

/* Copy the ready bytes to memory, and give their room back at once: bytes, 0 if they are gone (-ENODATA), or -errno. */
static ssize_t vmsplice_take(struct usp_pipe *pipe, const struct usp_iter *to, size_t done, size_t len, unsigned flags)
{
	struct usp_batch batch;
	size_t copied = 0;

	if (!usp_pipe_gather(pipe, len, USP_BATCH_BUFS, flags, &batch))
		return batch.error == -ENODATA ? 0 : batch.error;
	for (unsigned i = 0; i < batch.nr_segs; i++) {
		usp_iter_copy_to(to, done + copied, batch.iov[i].iov_base, batch.iov[i].iov_len);
		copied += batch.iov[i].iov_len;
	}
	usp_pipe_advance(pipe, copied);
	return (ssize_t)copied;
}

static ssize_t vmsplice_from_pipe(struct usp_file *end, const struct usp_iter *to, unsigned flags)
{
	struct usp_pipe *pipe = usp_file_pipe(end);
	size_t done = 0, len = to->count;
	ssize_t ret = usp_pipe_take_read(pipe, flags, &len);

	if (ret <= 0)
		return ret;
	do {
		ret = vmsplice_take(pipe, to, done, len - done, flags);
		done += ret > 0 ? (size_t)ret : 0;
	} while (ret > 0 && done < len);
	usp_pipe_end_read(pipe);
	if (!done)
		return ret;
	usp_file_account(end, USP_READ, USP_COPIED, done, "vmsplice out of a pipe is a copy");
	return (ssize_t)done;
}

ssize_t usp_vmsplice(struct usp_file *end, const struct iovec *iov, unsigned nr_segs, unsigned flags)
{
	struct iovec cut[USP_ITER_SEGS_MAX];
	struct usp_iter iter;
	int ret;

	if (flags & ~USP_SPLICE_ALL)
		return -EINVAL;
	ret = usp_iter_import(iov, nr_segs, cut, &iter);
	if (ret < 0 || iter.count == 0)
		return ret; /* an empty iovec succeeds on any file (V1) */
	if (!usp_file_pipe(end))
		return -EBADF;
	return end->mode & USP_WRITE ? vmsplice_to_pipe(end, &iter, flags) : vmsplice_from_pipe(end, &iter, flags);
}

ssize_t usp_gift_splice(struct usp_gift *gift, size_t off, size_t len, struct usp_file *end, unsigned flags)
{
	struct usp_pipe *pipe = usp_file_pipe(end);
	ssize_t ret;

	if (flags & ~USP_SPLICE_ALL || off > gift->folio.len || len > gift->folio.len - off)
		return -EINVAL;
	if (len == 0)
		return 0;
	if (!pipe || !(end->mode & USP_WRITE))
		return -EBADF;
	ret = usp_pipe_give_folio(pipe, &gift->folio, off, usp_min(len, USP_MAX_RW_COUNT), flags);
	if (ret > 0)
		usp_file_account(end, USP_WRITE, USP_BY_REFERENCE, (size_t)ret, gift_reason);
	return ret;
}
