// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* orders - write(2) hands slots over, read(2) tells that they are back. */
#include <linux/uio.h>
#include <linux/version.h>

#include "ring.h"

#define BATCH 32u /* orders or news on the stack */

/* --- News --- */

/* Let read(2) say this of a slot. What was not yet read of it before is replaced. */
void ring_tell(struct slot *slot, u32 flags)
{
	struct ring *ring = slot->ring;

	slot->flags = flags;
	if (list_empty(&slot->news))
		list_add_tail(&slot->news, &ring->news);
	if (flags != USPLICE_LATE)
		slot->state = SLOT_TOLD;
	wake_up_interruptible(&ring->wait);
	if (ring->event) {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
		eventfd_signal(ring->event);
#else
		eventfd_signal(ring->event, 1);
#endif
	}
}

/* Tell that nothing refers to the page of a lent slot any more. */
void ring_tell_free(struct slot *slot)
{
	list_del_init(&slot->queue);
	list_del_init(&slot->clock);
	slot->ring->stat.freed_slots++;
	ring_tell(slot, USPLICE_FREE);
}

struct told {
	struct slot *slot;
	struct usplice_news news;
};

/* Take news out of the ring, at most nr. The caller has the lock. */
static unsigned int orders_take_news(struct ring *ring, struct told *told, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr && !list_empty(&ring->news); i++) {
		struct slot *slot = list_first_entry(&ring->news, struct slot, news);

		list_del_init(&slot->news);
		told[i].slot = slot;
		told[i].news = (struct usplice_news){
			.user_data = slot->user_data,
			.flags = slot->flags,
			.slot = slot - ring->slots,
		};
		if (slot->flags & (USPLICE_TAKEN | USPLICE_COPIED))
			told[i].news.len = slot->len;
		if (slot->flags == USPLICE_LATE)
			told[i].news.refs = page_count(slot->page) - 1;
	}
	return i;
}

/* The program has heard the first nr_heard of nr: those slots are its own. Put the others back. */
static void orders_heard(struct ring *ring, struct told *told, unsigned int nr, unsigned int nr_heard)
{
	unsigned int i;

	for (i = 0; i < nr_heard; i++) {
		if (told[i].news.flags == USPLICE_LATE)
			continue;
		told[i].slot->state = SLOT_OWN;
		ring->stat.nr_out--;
	}
	for (i = nr; i > nr_heard; i--) {
		if (list_empty(&told[i - 1].slot->news)) /* else it is free meanwhile, and not only late */
			list_add(&told[i - 1].slot->news, &ring->news);
	}
	if (ring->has_ended && !ring->stat.nr_out)
		wake_up_interruptible(&ring->wait); /* other readers: there will be no more */
}

static ssize_t orders_read_batch(struct ring *ring, struct iov_iter *to)
{
	unsigned int room = min_t(size_t, iov_iter_count(to) / sizeof(struct usplice_news), BATCH);
	struct told told[BATCH];
	unsigned int nr, nr_heard;

	mutex_lock(&ring->lock);
	ring_look(ring);
	nr = orders_take_news(ring, told, room);
	mutex_unlock(&ring->lock);
	for (nr_heard = 0; nr_heard < nr; nr_heard++) {
		size_t copied = copy_to_iter(&told[nr_heard].news, sizeof(told->news), to);

		if (copied < sizeof(told->news)) {
			iov_iter_revert(to, copied);
			break;
		}
	}
	mutex_lock(&ring->lock);
	orders_heard(ring, told, nr, nr_heard);
	mutex_unlock(&ring->lock);
	if (ring_has_ended(ring))
		wake_up_interruptible(&ring->wait); /* another reader may be at the end now */
	return nr && !nr_heard ? -EFAULT : (ssize_t)(nr_heard * sizeof(struct usplice_news));
}

/* True if a reader has to wait, or is at the end: all slots are back, and no order will come. Without the lock. */
static bool orders_no_news(struct ring *ring, bool *ret_end)
{
	*ret_end = ring_has_ended(ring) && !READ_ONCE(ring->stat.nr_out);
	return list_empty_careful(&ring->news);
}

/* read(2): -EINVAL if not even one piece of news fits, 0 if there will be no more. */
ssize_t ring_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct ring *ring = ring_of(iocb->ki_filp);
	bool nonblock = iocb->ki_flags & IOCB_NOWAIT || ring_nonblock(iocb->ki_filp, 0);
	ssize_t done = 0, ret;
	bool end = false;

	if (iov_iter_count(to) < sizeof(struct usplice_news))
		return -EINVAL;
	while (iov_iter_count(to) >= sizeof(struct usplice_news)) {
		ret = orders_read_batch(ring, to);
		if (ret > 0) {
			done += ret;
			continue;
		}
		if (ret < 0 || done)
			return done ? done : ret;
		if (orders_no_news(ring, &end) && nonblock)
			return end ? 0 : -EAGAIN;
		ret = wait_event_interruptible(ring->wait, !orders_no_news(ring, &end) || end);
		if (ret || end)
			return ret;
	}
	return done;
}

/* --- Orders --- */

static int orders_cancel(struct slot *slot)
{
	bool is_unused =
		slot->state == SLOT_OFFERED || (slot->state == SLOT_QUEUED && !slot->nr_bufs && !slot->lent_at);

	if (!is_unused)
		return -EBUSY;
	list_del_init(&slot->queue);
	ring_tell(slot, USPLICE_CANCELLED);
	return 0;
}

/* Obey one order. The caller has the lock. */
static int orders_obey(struct ring *ring, const struct usplice_order *order)
{
	bool lends = order->what == USPLICE_LEND;
	struct slot *slot;

	if (order->what < USPLICE_LEND || order->what > USPLICE_CANCEL || order->slot >= ring->nr_slots)
		return -EINVAL;
	if (lends ? !order->len || order->offset >= PAGE_SIZE || order->len > PAGE_SIZE - order->offset
		  : order->offset || order->len)
		return -EINVAL;
	slot = &ring->slots[order->slot];
	if (order->what == USPLICE_CANCEL)
		return orders_cancel(slot);
	if (ring->has_ended)
		return -EPIPE;
	if (slot->state != SLOT_OWN)
		return -EBUSY;
	slot->user_data = order->user_data;
	slot->offset = order->offset;
	slot->len = order->len;
	slot->lent_at = 0;
	slot->state = lends ? SLOT_QUEUED : SLOT_OFFERED;
	list_add_tail(&slot->queue, lends ? &ring->queued : &ring->offered);
	ring->stat.nr_out++;
	return 0;
}

/*
 * write(2). Progress beats error: what comes before an order that is refused is done and counted. -EINVAL: an order is wrong.
 * -EBUSY: its slot is not the program's. -EPIPE: USPLICE_END has been.
 */
ssize_t ring_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct ring *ring = ring_of(iocb->ki_filp);
	struct usplice_order orders[BATCH];
	ssize_t done = 0;
	int ret = 0;

	if (iov_iter_count(from) < sizeof(*orders))
		return -EINVAL;
	while (!ret && iov_iter_count(from) >= sizeof(*orders)) {
		unsigned int i, nr = min_t(size_t, iov_iter_count(from) / sizeof(*orders), BATCH);

		if (!copy_from_iter_full(orders, nr * sizeof(*orders), from))
			nr = copy_from_iter_full(orders, sizeof(*orders), from) ? 1 : 0;
		if (!nr)
			ret = -EFAULT;
		mutex_lock(&ring->lock);
		for (i = 0; i < nr && !ret; i++) {
			ret = orders_obey(ring, &orders[i]);
			if (!ret)
				done += sizeof(*orders);
		}
		mutex_unlock(&ring->lock);
	}
	wake_up_interruptible(&ring->wait);
	return done ? done : ret;
}
