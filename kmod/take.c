// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* take - splice_write: pages of a pipe become pages of the ring, or their bytes are copied. */
#include <linux/highmem.h>
#include <linux/pagemap.h>

#include "ring.h"

/* One splice into the ring. */
struct take {
	struct ring *ring;
	struct slot *slot; /* FILLING, and only ours; NULL: none */
};

/* Have a slot that can be filled. */
static bool take_begin(struct take *take)
{
	struct ring *ring = take->ring;

	if (take->slot)
		return true;
	mutex_lock(&ring->lock);
	take->slot = list_first_entry_or_null(&ring->offered, struct slot, queue);
	if (take->slot) {
		list_del_init(&take->slot->queue);
		take->slot->state = SLOT_FILLING;
	}
	mutex_unlock(&ring->lock);
	return take->slot;
}

/* Tell what is in the slot. One without a byte is offered again, as the first. */
static void take_finish(struct take *take, u32 flags)
{
	struct slot *slot = take->slot;
	struct ring *ring = take->ring;

	if (!slot)
		return;
	mutex_lock(&ring->lock);
	if (slot->len) {
		*(flags == USPLICE_TAKEN ? &ring->stat.taken_bytes : &ring->stat.copied_bytes) += slot->len;
		ring_tell(slot, flags);
	} else {
		slot->state = SLOT_OFFERED;
		list_add(&slot->queue, &ring->offered);
	}
	mutex_unlock(&ring->lock);
	take->slot = NULL;
}

/*
 * Only a whole page can become a slot, and no part of a larger folio: stealing one would take all of it from its owner. SPLICE_F_MOVE
 * is the caller's consent: a page of a file leaves the file's cache.
 */
static bool take_may_move(struct pipe_buffer *buf, struct splice_desc *sd)
{
	return sd->flags & SPLICE_F_MOVE && sd->len == PAGE_SIZE && buf->offset == 0 && buf->len == PAGE_SIZE &&
	       !PageCompound(buf->page);
}

/*
 * Take the page over. A page that was stolen is locked and has one owner, the buf, which the caller of the actor releases in a moment: the
 * slot needs a reference of its own before that.
 */
static bool take_move(struct take *take, struct pipe_inode_info *pipe, struct pipe_buffer *buf)
{
	struct page *page = buf->page;

	if (!pipe_buf_try_steal(pipe, buf))
		return false;
	get_page(page);
	unlock_page(page);
	ring_slot_swap(take->slot, page);
	take->slot->len = PAGE_SIZE;
	take_finish(take, USPLICE_TAKEN);
	return true;
}

/* Copy what fits. A buf may be longer than a page, and begin anywhere in its folio. */
static int take_copy(struct take *take, struct pipe_buffer *buf, struct splice_desc *sd)
{
	struct slot *slot = take->slot;
	struct page *from = buf->page + (buf->offset >> PAGE_SHIFT);
	size_t at = offset_in_page(buf->offset);
	size_t len = min3((size_t)sd->len, PAGE_SIZE - at, PAGE_SIZE - (size_t)slot->len);

	memcpy_page(slot->page, slot->len, from, at, len);
	flush_dcache_page(slot->page);
	slot->len += len;
	if (slot->len == PAGE_SIZE)
		take_finish(take, USPLICE_COPIED);
	return len;
}

/* Called for each buf, confirmed, with the pipe's lock. Returns how many bytes it took; -EAGAIN leaves them in the pipe. */
static int take_actor(struct pipe_inode_info *pipe, struct pipe_buffer *buf, struct splice_desc *sd)
{
	struct take *take = sd->u.data;
	bool may_move = take_may_move(buf, sd);

	if (may_move && take->slot && take->slot->len)
		take_finish(take, USPLICE_COPIED);
	if (!take_begin(take))
		return -EAGAIN;
	if (may_move && take_move(take, pipe, buf))
		return PAGE_SIZE;
	return take_copy(take, buf, sd);
}

/* Tell whether there is a slot to fill. Without the lock. */
static bool take_has_room(struct ring *ring, bool *ret_end)
{
	bool has_ended = ring_has_ended(ring), has_room = !list_empty_careful(&ring->offered);

	*ret_end = !has_room && has_ended;
	return has_room;
}

/*
 * The hook. The caller has no lock. Waits for a slot without the pipe's lock; then for bytes, as the pipe's helper does it. Returns bytes,
 * -EAGAIN, -ERESTARTSYS, -EPIPE behind USPLICE_END if no slot is left, or -ENXIO without USPLICE_SETUP.
 */
ssize_t ring_splice_write(struct pipe_inode_info *pipe, struct file *out, loff_t *ppos, size_t len, unsigned int flags)
{
	struct take take = {.ring = ring_of(out)};
	struct splice_desc sd = {.total_len = len, .flags = flags, .u.data = &take};
	bool nonblock = ring_nonblock(out, flags), end = false;
	ssize_t ret;

	if (!READ_ONCE(take.ring->nr_slots))
		return -ENXIO;
	do {
		if (!take_has_room(take.ring, &end)) {
			if (end || nonblock)
				return end ? -EPIPE : -EAGAIN;
			ret = wait_event_interruptible(take.ring->wait, take_has_room(take.ring, &end) || end);
			if (ret)
				return ret;
			continue;
		}
		pipe_lock(pipe);
		ret = __splice_from_pipe(pipe, &sd, take_actor);
		pipe_unlock(pipe);
		take_finish(&take, USPLICE_COPIED);
		if (ret != -EAGAIN || nonblock || flags & SPLICE_F_NONBLOCK)
			return ret;
	} while (true);
}
