/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ring - a ring of pages, and what each file of the driver does with it.
 *
 *            order LEND            splice_read           last buffer released         count is 1
 *   OWN ────────────────► QUEUED ─────────────► LENT ───────────────────► (loose) ──────────────► TOLD ──read(2)──► OWN
 *    │     order RECEIVE           splice_write                                                    ▲
 *    └──────────────────► OFFERED ────────────► FILLING ───────────────────────────────────────────┘
 *
 * slots.c  memory: pages, mappings, users' limits       lend.c  splice_read and the bufs in pipes
 * orders.c what write(2) and read(2) say                take.c  splice_write
 * main.c   the device, its hooks and its module
 *
 * Locks, outermost first: a pipe's, mmap_lock, ring->lock, then those of the kernel's address spaces. So nothing copies from
 * or to user memory, adds to a pipe or waits for a page while it holds ring->lock.
 */
#ifndef USPLICE_KMOD_RING_H
#define USPLICE_KMOD_RING_H

#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/splice.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "usplice_ring.h"

struct pipe_inode_info;
struct ring_user;

enum slot_state {
	SLOT_OWN,     /* the program's */
	SLOT_QUEUED,  /* its next bytes are lent by splice_read; some may be lent already */
	SLOT_LENT,    /* all its bytes are lent */
	SLOT_OFFERED, /* waits for bytes */
	SLOT_FILLING, /* one splice_write has it */
	SLOT_TOLD,    /* is the program's as soon as read(2) has said so */
};

/* One page of a ring. Everything but page, which only FILLING may change, belongs to ring->lock. */
struct slot {
	struct ring *ring;
	struct page *page;
	struct list_head queue; /* QUEUED: in queued; OFFERED: in offered; LENT without a buf: in loose */
	struct list_head clock; /* LENT and not told to be late: in clock */
	struct list_head news;	/* in news: read(2) has something to say */
	unsigned long lent_at;	/* jiffies */
	u64 user_data;
	u32 offset, len; /* QUEUED: what is to be lent; FILLING, TOLD: len bytes are filled */
	u32 nr_bufs;	 /* bufs in pipes */
	u32 flags;	 /* of the news */
	enum slot_state state;
};

struct ring {
	struct mutex lock;
	struct file *file;   /* not counted: each buf in a pipe counts one */
	struct inode *inode; /* anonymous, for the mappings of this ring alone */
	struct ring_user *user;
	struct slot *slots;
	u32 nr_slots;	/* 0: there has been no USPLICE_SETUP */
	bool has_ended; /* USPLICE_END */
	struct list_head queued, offered, loose, clock, news;
	struct delayed_work look;
	unsigned long pause;   /* jiffies until the next look at loose pages */
	unsigned long timeout; /* jiffies */
	struct eventfd_ctx *event;
	wait_queue_head_t wait;
	struct usplice_stat stat;
};

static inline struct ring *ring_of(struct file *file)
{
	return file->private_data;
}

/*
 * These look without ring->lock, for the condition of a wait, which must not sleep. There are no orders behind USPLICE_END, so
 * who sees the end first, and an empty list of orders then, misses none.
 */
static inline bool ring_has_ended(struct ring *ring)
{
	return smp_load_acquire(&ring->has_ended);
}

static inline bool ring_nonblock(struct file *file, unsigned int flags)
{
	return flags & SPLICE_F_NONBLOCK || file->f_flags & O_NONBLOCK;
}

/* slots.c */
int ring_slots_init(void);
void ring_slots_fini(void);
int ring_inode_new(struct ring *ring);
int ring_setup(struct ring *ring, const struct usplice_setup *setup);
void ring_slots_free(struct ring *ring);
int ring_mmap(struct file *file, struct vm_area_struct *vma);
void ring_slot_swap(struct slot *slot, struct page *page);

/* orders.c. The news of a slot: the caller has ring->lock. */
void ring_tell(struct slot *slot, u32 flags);
void ring_tell_free(struct slot *slot);
ssize_t ring_write_iter(struct kiocb *iocb, struct iov_iter *from);
ssize_t ring_read_iter(struct kiocb *iocb, struct iov_iter *to);

/* lend.c */
void ring_look(struct ring *ring);
void ring_look_work(struct work_struct *work);
ssize_t ring_splice_read(struct file *in, loff_t *ppos, struct pipe_inode_info *pipe, size_t len, unsigned int flags);

/* take.c */
ssize_t ring_splice_write(struct pipe_inode_info *pipe, struct file *out, loff_t *ppos, size_t len, unsigned int flags);

#endif
