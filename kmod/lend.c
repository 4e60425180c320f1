// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * lend - splice_read: pages of the ring go into a pipe, and their return is noticed.
 *
 * The release of a buf is NOT the end of a page's use. A socket takes a reference to the page and releases the buf at once, long before
 * its peer has read a byte. It has no hook for the last one who lets go. So a slot is free when no buf is left AND the page's
 * count is 1, the ring's own. That is looked at when a buf is released and, if the count is higher then, by a delayed work, first after
 * one jiffy, then less often. The count can stay high for an unbounded time: the network stack frees pages in lists of one CPU. Then the
 * time-out tells the program, and it is still not allowed to write to the page.
 */
#include <linux/file.h>
#include <linux/sched/signal.h>

#include "ring.h"

#define PAUSE_MAX 16ul /* jiffies between two looks */

/* --- The return of a page --- */

static bool lend_is_back(struct slot *slot)
{
	if (slot->nr_bufs || page_count(slot->page) != 1)
		return false;
	smp_mb(); /* who let go has read all it will ever read: put_page() is a full barrier on the other side */
	return true;
}

static void lend_plan_look(struct ring *ring)
{
	unsigned long now = jiffies, due;

	if (!list_empty(&ring->loose)) {
		mod_delayed_work(system_wq, &ring->look, ring->pause);
	} else if (!list_empty(&ring->clock)) {
		due = list_first_entry(&ring->clock, struct slot, clock)->lent_at + ring->timeout;
		mod_delayed_work(system_wq, &ring->look, time_after(due, now) ? due - now : 1);
	}
}

/* Look at a page soon that has no buf any more. A look that is planned already is not put off, else it would never come under load. */
static void lend_let_loose(struct slot *slot)
{
	struct ring *ring = slot->ring;
	bool is_first = list_empty(&ring->loose);

	list_add_tail(&slot->queue, &ring->loose);
	ring->pause = 1;
	if (is_first)
		lend_plan_look(ring);
	else
		queue_delayed_work(system_wq, &ring->look, ring->pause);
}

/* Find the pages that came back, and those that are late. The caller has the lock. */
void ring_look(struct ring *ring)
{
	struct slot *slot, *next;

	list_for_each_entry_safe(slot, next, &ring->loose, queue)
	{
		if (lend_is_back(slot))
			ring_tell_free(slot);
	}
	list_for_each_entry_safe(slot, next, &ring->clock, clock)
	{
		if (time_before(jiffies, slot->lent_at + ring->timeout))
			break;
		list_del_init(&slot->clock);
		ring->stat.late_slots++;
		ring_tell(slot, USPLICE_LATE);
	}
}

void ring_look_work(struct work_struct *work)
{
	struct ring *ring = container_of(to_delayed_work(work), struct ring, look);

	mutex_lock(&ring->lock);
	ring_look(ring);
	ring->pause = min(ring->pause * 2, PAUSE_MAX);
	lend_plan_look(ring);
	mutex_unlock(&ring->lock);
}

/* --- The bufs --- */

/*
 * Called once for each buf, with the pipe's lock or after the pipe's end, in the context of a process. It may sleep.
 *
 * fput() is the last thing: it may be the file's last reference, and that the module's. It frees nothing here, but when this task goes
 * back to user space. A thread of the kernel has no such moment and leaves it to a work; ring_exit() waits until this function is left.
 */
static void lend_release(struct pipe_inode_info *pipe, struct pipe_buffer *buf)
{
	struct slot *slot = (struct slot *)buf->private;
	struct ring *ring = slot->ring;
	struct file *file = ring->file;

	generic_pipe_buf_release(pipe, buf);
	mutex_lock(&ring->lock);
	if (--slot->nr_bufs == 0 && slot->state == SLOT_LENT) {
		if (lend_is_back(slot)) {
			ring_tell_free(slot);
		} else {
			lend_let_loose(slot);
		}
	}
	mutex_unlock(&ring->lock);
	fput(file);
}

/* A second owner, for tee(2) and for a part of a buf. It needs all that a buf has: a page, a count in the slot, the file. */
static bool lend_get(struct pipe_inode_info *pipe, struct pipe_buffer *buf)
{
	struct slot *slot = (struct slot *)buf->private;

	if (!generic_pipe_buf_get(pipe, buf))
		return false;
	mutex_lock(&slot->ring->lock);
	slot->nr_bufs++;
	mutex_unlock(&slot->ring->lock);
	get_file(slot->ring->file);
	return true;
}

/* No confirm: the bytes are there. No try_steal: the page is lent, and nobody else may keep it. */
static const struct pipe_buf_operations lend_buf_ops = {
	.release = lend_release,
	.get = lend_get,
};

/* --- splice_read --- */

/* Take the next bytes that are to be lent, at most len, as a buf. False if there are none. The buf counts for its slot from here on. */
static bool lend_next(struct ring *ring, size_t len, struct pipe_buffer *ret_buf)
{
	struct slot *slot;

	mutex_lock(&ring->lock);
	slot = list_first_entry_or_null(&ring->queued, struct slot, queue);
	if (!slot) {
		mutex_unlock(&ring->lock);
		return false;
	}
	len = min_t(size_t, len, slot->len);
	*ret_buf = (struct pipe_buffer){
		.page = slot->page,
		.offset = slot->offset,
		.len = len,
		.ops = &lend_buf_ops,
		.private = (unsigned long)slot,
	};
	get_page(slot->page);
	get_file(ring->file);
	slot->nr_bufs++;
	slot->offset += len;
	slot->len -= len;
	slot->lent_at = jiffies | 1; /* never 0: that says "not yet" */
	ring->stat.lent_bytes += len;
	if (!slot->len) {
		slot->state = SLOT_LENT;
		list_del_init(&slot->queue);
		list_add_tail(&slot->clock, &ring->clock);
		ring->stat.lent_slots++;
		if (list_empty(&ring->loose) && list_is_singular(&ring->clock))
			lend_plan_look(ring);
	}
	mutex_unlock(&ring->lock);
	return true;
}

/* Tell whether there is nothing to lend yet. Without the lock. */
static bool lend_is_empty(struct ring *ring, bool *ret_end)
{
	bool has_ended = ring_has_ended(ring), is_empty = list_empty_careful(&ring->queued);

	*ret_end = is_empty && has_ended;
	return is_empty && !has_ended;
}

static bool lend_pipe_is_full(struct pipe_inode_info *pipe)
{
	return pipe_full(READ_ONCE(pipe->head), READ_ONCE(pipe->tail), READ_ONCE(pipe->max_usage));
}

/*
 * Wait for an order, and for room in the pipe, which others may have filled meanwhile. The pipe is not locked while this waits: a reader of
 * the pipe gets its bytes, and only so do pages come back that the program waits for. 1 at the end of the orders, or -errno.
 */
static int lend_wait(struct ring *ring, struct pipe_inode_info *pipe, bool nonblock)
{
	bool end = false;
	int ret;

	while (lend_is_empty(ring, &end) || (!end && pipe->readers && lend_pipe_is_full(pipe))) {
		if (nonblock)
			return -EAGAIN;
		pipe_unlock(pipe);
		ret = wait_event_interruptible(ring->wait, !lend_is_empty(ring, &end));
		if (!ret && !end)
			ret = wait_event_interruptible(pipe->wr_wait,
						       !lend_pipe_is_full(pipe) || !READ_ONCE(pipe->readers));
		pipe_lock(pipe);
		if (ret)
			return ret;
	}
	if (!end && !pipe->readers) {
		send_sig(SIGPIPE, current, 0);
		return -EPIPE;
	}
	return end;
}

/*
 * The hook. The caller has the pipe's lock, had a reader and a free slot of the pipe, and wakes readers afterwards. A signal, also SIGKILL, ends
 * a wait. Returns bytes, 0 at the end, -EAGAIN, -ERESTARTSYS, -EPIPE, or -ENXIO without USPLICE_SETUP.
 */
ssize_t ring_splice_read(struct file *in, loff_t *ppos, struct pipe_inode_info *pipe, size_t len, unsigned int flags)
{
	struct ring *ring = ring_of(in);
	struct pipe_buffer buf;
	ssize_t done = 0, ret;

	if (!READ_ONCE(ring->nr_slots))
		return -ENXIO;
	while (!done) {
		ret = lend_wait(ring, pipe, ring_nonblock(in, flags));
		if (ret)
			return ret > 0 ? 0 : ret;
		/* With the pipe's lock nothing can fill it between the look and the push: no buf is refused, and no byte lost. */
		while (len && !lend_pipe_is_full(pipe) && lend_next(ring, len, &buf)) {
			ret = add_to_pipe(pipe, &buf); /* takes the buf, also if it fails */
			if (WARN_ON_ONCE(ret < 0))
				return done ? done : ret;
			done += ret;
			len -= ret;
		}
	}
	return done;
}
