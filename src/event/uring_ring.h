/* SPDX-License-Identifier: MIT */
/* uring_ring - what the parts of a ring share: its requests and their owners. */
#ifndef USP_EVENT_URING_RING_H
#define USP_EVENT_URING_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "event/uring.h"

#define USP_URING_NR_BUFFERS 256 /* a power of two */
#define USP_URING_BUFFER_BYTES ((size_t)16 << 10)
#define USP_URING_GROUP 0 /* the buffer group, as requests name it */

/* A buffer that waits to be sent. */
struct usp_uring_piece {
	unsigned offset, len;
	int next;
};

/*
 * An owner of requests; completed is called for each that has ended. It is the first member of an
 * object from usp_alloc, because usp_uring_free frees the owners that are left.
 */
struct usp_uring_owner {
	LIST_ENTRY(usp_uring_owner) link;
	void (*completed)(struct usp_uring_owner *owner, unsigned request, const struct io_uring_cqe *cqe);
};

struct usp_uring {
	struct io_uring ring;
	struct usp_loop *loop;
	int event_fd; /* the kernel writes to it when there is work; edge-triggered, so never read */
	struct usp_watch watch;
	struct usp_task task;
	bool is_running; /* uring_run is running: it hands over new requests itself */
	LIST_HEAD(, usp_uring_owner) owners;
	struct io_uring_buf_ring *buffers;
	unsigned char *bytes; /* of all buffers */
	struct usp_uring_piece pieces[USP_URING_NR_BUFFERS];
};

#define USP_URING_REQUEST_MASK 7 /* which request of its owner: 0 to 7 */

/* Get a request to fill in. It is handed over before the loop waits again. NULL if there is no room. */
struct io_uring_sqe *usp_uring_request(struct usp_uring *uring);

/* Make the user_data of a request: its owner, and which of the owner's requests it is. */
static inline uint64_t usp_uring_tag(const struct usp_uring_owner *owner, unsigned request)
{
	return (uint64_t)(uintptr_t)owner | request;
}

/* Make the buffers that all streams of a ring share: 0 or -errno. Freeing is allowed also if there are none. */
int usp_uring_make_buffers(struct usp_uring *uring);
void usp_uring_free_buffers(struct usp_uring *uring);

/* Find a buffer by its number; give it back to the kernel. */
unsigned char *usp_uring_buffer(struct usp_uring *uring, int number);
void usp_uring_give_back(struct usp_uring *uring, int number);

#endif
