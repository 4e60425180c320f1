/* SPDX-License-Identifier: MIT */
/*
 * pipe_check - the invariants of a ring while its lock is free. Built with -Dinvariants=true only, and
 * then checked before every unlock.
 */
#undef NDEBUG
#include <assert.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "splice/pipe.h"

#define CHECK_SLOTS_MAX 4096u /* slots that are checked of a larger ring, from the tail on */
#define CHECK_SHARES_MAX 64u  /* rings in which every entry is compared with every other */

static bool check_is_folio(const struct usp_buf *buf)
{
	return buf->ops == &usp_anon_buf_ops || buf->ops == &usp_folio_buf_ops || buf->ops == &usp_gift_buf_ops;
}

/* Check the range that a buf refers to. Only an entry that usp_pipe_write made may grow. */
static void check_buf(const struct usp_pipe *pipe, const struct usp_buf *buf)
{
	const struct usp_folio *folio = buf->store;
	bool can_merge = buf->flags & USP_BUF_CAN_MERGE;

	assert(buf->ops->release && buf->ops->get);
	assert(buf->len <= pipe->slot_bytes);
	assert(!can_merge || buf->ops == &usp_anon_buf_ops);
	assert(!can_merge || !(buf->flags & (USP_BUF_PACKET | USP_BUF_GIFT)));
	if (!check_is_folio(buf))
		return;
	assert(buf->offset <= folio->len && buf->len <= folio->len - buf->offset);
	assert(atomic_load_explicit(usp_u32(&folio->refs), memory_order_relaxed) > 0);
}

/* A folio has at least as many references as entries, and at most one of these may grow. */
static void check_shares(struct usp_pipe *pipe, const struct usp_buf *buf)
{
	unsigned nr_owners = 0, nr_growing = 0;

	for (unsigned position = pipe->tail; position != pipe->turn_head; position++) {
		const struct usp_buf *other = usp_pipe_slot(pipe, position);

		if (other->store != buf->store || !check_is_folio(other))
			continue;
		nr_owners++;
		nr_growing += (other->flags & USP_BUF_CAN_MERGE) != 0;
	}
	assert(nr_owners <=
	       atomic_load_explicit(usp_u32(&((struct usp_folio *)buf->store)->refs), memory_order_relaxed));
	assert(nr_growing <= 1);
}

static void check_slots(struct usp_pipe *pipe)
{
	unsigned nr_live = pipe->turn_head - pipe->tail;
	unsigned nr_slots = (unsigned)usp_min(pipe->ring_size, CHECK_SLOTS_MAX);
	size_t nr_bytes = 0;

	for (unsigned i = 0; i < nr_slots; i++) {
		const struct usp_buf *buf = usp_pipe_slot(pipe, pipe->tail + i);

		assert((buf->ops != NULL) == (i < nr_live));
		if (i >= nr_live)
			continue;
		check_buf(pipe, buf);
		if (nr_live <= CHECK_SHARES_MAX && check_is_folio(buf))
			check_shares(pipe, buf);
		nr_bytes += buf->len;
	}
	assert(nr_live > nr_slots || nr_bytes == pipe->nr_bytes + pipe->turn_bytes);
}

/* An eventfd must match its side: a wrong one makes a poll(2) wait for ever. */
static void check_event(const struct usp_pipe_side *side, bool is_ready)
{
	assert(side->event_fd < 0 || side->event_process != usp_own_nr() || side->event_set == is_ready);
}

void usp_pipe_check(const struct usp_pipe *checked)
{
	struct usp_pipe *pipe = (struct usp_pipe *)checked;

	assert(pipe->ring_size && !(pipe->ring_size & (pipe->ring_size - 1)));
	assert(pipe->max_usage <= pipe->ring_size);
	assert(pipe->head - pipe->tail <= pipe->turn_head - pipe->tail);
	assert(pipe->turn_head - pipe->tail <= pipe->max_usage);
	assert(pipe->wr.is_taken || (pipe->head == pipe->turn_head && !pipe->turn_bytes));
	assert(pipe->nr_bytes + pipe->turn_bytes <= pipe->max_bytes);
	check_event(&pipe->rd, !usp_pipe_is_empty(pipe) || !pipe->wr.nr_open);
	check_event(&pipe->wr, !usp_pipe_is_full(pipe) || !pipe->rd.nr_open);
	check_slots(pipe);
}
