/* SPDX-License-Identifier: MIT */
/* uring_ring - what the parts of a ring share: its requests, and who made them. */
#ifndef USP_EVENT_URING_RING_H
#define USP_EVENT_URING_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "event/uring.h"

#define USP_URING_NR_BUFFERS 256 /* a power of two */
#define USP_URING_BUFFER_BYTES ((size_t)16 << 10)
#define USP_URING_GROUP 0 /* of the buffers, in requests */

/* A buffer that waits to be sent. */
struct usp_uring_piece {
	unsigned offset, len;
	int next;
};

/*
 * Who makes requests, and is told of each that has ended. It is the first member of what was made by usp_alloc, because the
 * ring frees those that are left at its end.
 */
struct usp_uring_owner {
	LIST_ENTRY(usp_uring_owner) link;
	void (*completed)(struct usp_uring_owner *owner, unsigned request, const struct io_uring_cqe *cqe);
};

struct usp_uring {
	struct io_uring ring;
	struct usp_loop *loop;
	int event_fd; /* the kernel writes to it when there is work for us; being edge-triggered it is never read */
	struct usp_watch watch;
	struct usp_task task;
	bool is_running; /* what is requested now is handed over at the end of the turn */
	LIST_HEAD(, usp_uring_owner) owners;
	struct io_uring_buf_ring *buffers;
	unsigned char *bytes; /* of all buffers */
	struct usp_uring_piece pieces[USP_URING_NR_BUFFERS];
};

#define USP_URING_REQUEST_MASK 7 /* which request of its owner: 0 to 7 */

/* A request to be filled in, which is handed over before the loop waits again. NULL if there is no room. */
struct io_uring_sqe *usp_uring_request(struct usp_uring *uring);

/* What a completion bears: whose request it was, and which. */
static inline uint64_t usp_uring_tag(const struct usp_uring_owner *owner, unsigned request)
{
	return (uint64_t)(uintptr_t)owner | request;
}

/* The buffers that all streams of a ring share: 0 or -errno. To give back those of a ring that has none is allowed. */
int usp_uring_make_buffers(struct usp_uring *uring);
void usp_uring_free_buffers(struct usp_uring *uring);

/* One of them by its number, and back to the kernel with it. */
unsigned char *usp_uring_buffer(struct usp_uring *uring, int number);
void usp_uring_give_back(struct usp_uring *uring, int number);

#endif
