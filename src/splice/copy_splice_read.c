/* SPDX-License-Identifier: MIT */
/* copy_splice_read - splice_read for anything that has read_iter: one copy, into fresh folios (H3). */
#include <errno.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "splice/pipe.h"

#define COPY_FOLIOS_MAX 256 /* in one call: 1 MiB for a pipe with slots of a page, as in the kernel */

static const char copy_reason[] = "read into a fresh folio";
static const char direct_reason[] = "O_DIRECT: as a rule the device fills the folio, but the kernel does not tell";

/* Allocate folios for len bytes, one for each slot, fewer if memory is short. Returns their number. */
static unsigned copy_alloc(struct usp_folio **folios, struct iovec *iov, size_t len, size_t slot_bytes,
			   size_t *ret_count)
{
	unsigned nr = 0;
	size_t count = 0;

	while (count < len && nr < COPY_FOLIOS_MAX) {
		size_t chunk = usp_min(len - count, slot_bytes);

		folios[nr] = usp_folio_new(chunk);
		if (!folios[nr])
			break;
		iov[nr] = (struct iovec){.iov_base = folios[nr]->base, .iov_len = chunk};
		count += chunk;
		nr++;
	}
	*ret_count = count;
	return nr;
}

/* Push the folios that hold the first len bytes, drop the others. */
static void copy_push(struct usp_pipe *pipe, struct usp_folio **folios, unsigned nr_folios, size_t len,
		      size_t slot_bytes)
{
	for (unsigned i = 0; i < nr_folios; i++) {
		size_t chunk = usp_min(len, slot_bytes);

		if (chunk)
			usp_pipe_push(pipe,
				      &(struct usp_buf){.ops = &usp_folio_buf_ops, .store = folios[i], .len = chunk},
				      1);
		else
			usp_folio_put(folios[i]);
		len -= chunk;
	}
}

ssize_t usp_copy_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct usp_folio *folios[COPY_FOLIOS_MAX];
	struct iovec iov[COPY_FOLIOS_MAX];
	size_t room, count, slot_bytes = usp_pipe_slot_bytes(pipe);
	bool is_direct;
	unsigned nr;
	ssize_t ret;

	usp_pipe_room(pipe, &room);
	if (!room)
		return -EAGAIN; /* where the kernel's helper gives a false end of input (H1) */
	nr = copy_alloc(folios, iov, usp_min(len, room), slot_bytes, &count);
	if (!nr)
		return -ENOMEM;
	ret = usp_file_read_iter(in, &(struct usp_iter){.iov = iov, .nr_segs = nr, .count = count}, pos, flags);
	copy_push(pipe, folios, nr, ret > 0 ? (size_t)ret : 0, slot_bytes);
	if (ret > 0) {
		is_direct = atomic_load(usp_u32(&in->flags)) & USP_DIRECT;
		usp_file_account(in, USP_READ, is_direct ? USP_UNKNOWN : USP_COPIED, (size_t)ret,
				 is_direct ? direct_reason : copy_reason);
	}
	return ret;
}
