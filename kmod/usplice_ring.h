/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * usplice_ring - what a program says to /dev/usplice, and hears from it.
 *
 * Each open file is a ring of its own. USPLICE_SETUP gives it slots of one page; mmap(2) with MAP_SHARED shows them, slot 0
 * first. A slot belongs to the program until write(2) hands it over with a struct usplice_order. read(2) gives it back
 * with a struct usplice_news:
 *
 *   USPLICE_LEND     splice(2) out of the ring puts these bytes into a pipe, without a copy, in the order in which the
 *                    orders came. The slot comes back (USPLICE_FREE) when nothing refers to its page: no pipe, no socket.
 *   USPLICE_RECEIVE  splice(2) into the ring fills the slot, and it comes back with the bytes: USPLICE_TAKEN if the page in the
 *                    pipe became the page of the slot, USPLICE_COPIED if its bytes were copied.
 *   USPLICE_CANCEL   a slot that was handed over, and that no splice has begun to use, comes back (USPLICE_CANCELLED).
 *
 * poll(2): POLLPRI there is news or their end, POLLIN a splice out of the ring finds bytes or the end, POLLOUT a splice into it finds a slot.
 */
#ifndef USPLICE_RING_H
#define USPLICE_RING_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define USPLICE_LEND 1
#define USPLICE_RECEIVE 2
#define USPLICE_CANCEL 3

/* One order. write(2) takes any number of them, and returns how many bytes of these it obeyed. */
struct usplice_order {
	__u64 user_data; /* comes back in the news of this slot; LEND and RECEIVE */
	__u32 what;
	__u32 slot;
	__u32 offset; /* LEND: where the bytes begin in the slot; otherwise 0 */
	__u32 len;    /* LEND: bytes, at least 1, within the slot; otherwise 0 */
};

#define USPLICE_FREE 1 /* was lent; the program may write to the slot again */
#define USPLICE_LATE \
	2 /* is lent for longer than the time-out: do NOT write to it; its FREE comes, possibly much later */
#define USPLICE_TAKEN 4	     /* was filled: the page was taken over */
#define USPLICE_COPIED 8     /* was filled: the bytes were copied */
#define USPLICE_CANCELLED 16 /* was not used */

/* One piece of news. read(2) gives whole ones only. All but LATE give the slot back to the program. */
struct usplice_news {
	__u64 user_data;
	__u32 flags; /* exactly one of the above */
	__u32 slot;
	__u32 len;  /* TAKEN, COPIED: the bytes, from the beginning of the slot */
	__u32 refs; /* LATE: how many references to the page there are beside that of the ring */
};

struct usplice_setup {
	__u32 nr_slots;
	__s32 event_fd;	  /* an eventfd(2) that counts up when there is news, or -1 */
	__u32 timeout_ms; /* after which a slot that is lent is told to be LATE; 0: after one second */
	__u32 reserved;	  /* 0 */
};

/* What a ring did since it was opened. */
struct usplice_stat {
	__u32 nr_slots, nr_out; /* all slots, and those that are not the program's */
	__u64 lent_bytes, lent_slots;
	__u64 freed_slots, late_slots;
	__u64 taken_bytes, copied_bytes; /* by splices into the ring */
	__u32 slot_bytes;		 /* the size of a page */
	__u32 reserved[7];
};

/* Give the ring its slots. -EBUSY: it has them. -EDQUOT: too many rings of this user. -EINVAL: too many slots, or none. */
#define USPLICE_SETUP _IOW('u', 0xd0, struct usplice_setup)
/* No more orders: a splice out of the ring finds its end behind the last bytes, and read(2) when all slots are back. */
#define USPLICE_END _IO('u', 0xd1)
#define USPLICE_STAT _IOR('u', 0xd2, struct usplice_stat)

#endif
