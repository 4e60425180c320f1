/* SPDX-License-Identifier: MIT */
/* pipe - the ring from the inside, for the files of this floor. */
#ifndef USP_SPLICE_PIPE_H
#define USP_SPLICE_PIPE_H

#include <pthread.h>
#include <stdatomic.h>
#include <usplice/endpoint.h>

#define USP_SPLICE_ALL (USP_SPLICE_MOVE | USP_SPLICE_NONBLOCK | USP_SPLICE_MORE | USP_SPLICE_GIFT)
#define USP_MAX_RW_COUNT ((size_t)0x7ffff000) /* what one call moves at most (S17, N2) */

/* One side of a pipe: its waiters, its turn, and how long a waiter spins before it sleeps. */
struct usp_pipe_side {
	pthread_cond_t wait;
	unsigned nr_waiters;
	unsigned nr_waits;
	unsigned spin;		/* in looks; grows when spinning paid, else shrinks */
	unsigned nr_open;	/* ends: readers, or writers */
	bool is_taken;		/* a call holds this side's turn */
	int event_fd;		/* -1 until asked for */
	unsigned event_process; /* that made event_fd; a child changes only its copy of the ring: no event there */
	bool event_set;
	char apart[64];	      /* nr_wakes has a cache line of its own: a spinner must not slow down the other side */
	atomic_uint nr_wakes; /* a spinner reads it without the lock */
	char apart_too[64];
};

struct usp_pipe {
	pthread_mutex_t lock;
	struct usp_pipe_side rd, wr;
	unsigned tail, head, turn_head; /* free-running; masked only when indexing */
	unsigned max_usage, ring_size;
	unsigned nr_files; /* ends that are open as files */
	size_t slot_bytes, max_bytes;
	size_t nr_bytes;
	size_t turn_bytes; /* pushed in this turn; the door compares a hook's result with it (C17) */
	struct usp_buf *bufs;
};

static inline bool usp_pipe_is_empty(const struct usp_pipe *pipe)
{
	return pipe->head == pipe->tail;
}

static inline bool usp_pipe_is_full(const struct usp_pipe *pipe)
{
	return pipe->turn_head - pipe->tail >= pipe->max_usage || pipe->nr_bytes + pipe->turn_bytes >= pipe->max_bytes;
}

static inline struct usp_buf *usp_pipe_slot(struct usp_pipe *pipe, unsigned position)
{
	return &pipe->bufs[position & (pipe->ring_size - 1)];
}

/* Assert the invariants of a ring before its lock is dropped; in builds with -Dinvariants=true only. Lock held. */
#ifdef USP_INVARIANTS
void usp_pipe_check(const struct usp_pipe *pipe);
#else
static inline void usp_pipe_check(const struct usp_pipe *pipe)
{
	(void)pipe;
}
#endif

/* Make and end what the waiters of a side wait at. */
void usp_pipe_side_init(struct usp_pipe_side *side);
void usp_pipe_side_fini(struct usp_pipe_side *side);

/* Update the eventfds of both sides, and unlock. */
void usp_pipe_unlock(struct usp_pipe *pipe);

/* Wake the waiters of a side: something changed for it. Lock held. */
void usp_pipe_wake(struct usp_pipe_side *side);

/* Sleep until something changed for a side. Lock held, dropped while waiting. */
void usp_pipe_wait(struct usp_pipe *pipe, struct usp_pipe_side *side);

/* Wait for a free slot for at most timeout_ns, taking no turn: 0, -EPIPE or -ETIMEDOUT. */
int usp_pipe_await_room(struct usp_pipe *pipe, uint64_t timeout_ns);

/* Take the write turn, even if there is no room: 0, -EPIPE or -EAGAIN. */
int usp_pipe_take_write(struct usp_pipe *pipe, unsigned flags);

/*
 * Wait for room, and push references to [off, off + len) of a gifted folio, which must contain this
 * range. Locks once, where a write turn locks three times: for two threads that exchange gifts the
 * lock is the main cost. Returns the bytes pushed, -EAGAIN, -EPIPE or -EFAULT.
 */
ssize_t usp_pipe_give_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len, unsigned flags);

/* Tell whether the first buf is of a kind whose bytes may come later. */
bool usp_pipe_may_be_late(struct usp_pipe *pipe);

/*
 * Tell whether the bytes of the first buf are not there yet. Then *ret_fd, with *ret_events for poll(2),
 * is what to wait for. Does not block, and takes no turn.
 */
bool usp_pipe_is_late(struct usp_pipe *pipe, int *ret_fd, short *ret_events);

/*
 * The bufs that were pushed in this turn and that readers do not see yet, by index from the first one on: their
 * number, a copy of one, and its replacement by one of the same length. The caller holds the write turn.
 */
unsigned usp_pipe_nr_pushed(struct usp_pipe *pipe);
struct usp_buf usp_pipe_peek_pushed(struct usp_pipe *pipe, unsigned index);
void usp_pipe_set_pushed(struct usp_pipe *pipe, unsigned index, const struct usp_buf *buf);

/* Make the last of them longer by len bytes, which its store has got. The caller holds the write turn. */
void usp_pipe_grow_pushed(struct usp_pipe *pipe, size_t len);

/* Return the number of bufs that readers see. */
unsigned usp_pipe_nr_bufs(struct usp_pipe *pipe);

/* Take the first buf out of the ring, which is there, with its reference. The caller holds the read turn. */
struct usp_buf usp_pipe_pop(struct usp_pipe *pipe);

/* Make sure that nr_slots more bufs fit. The ring grows and never shrinks: 0 or -ENOMEM. */
int usp_pipe_reserve(struct usp_pipe *pipe, unsigned nr_slots);

/* Return a descriptor that is readable while the pipe has room, or has no readers. Owned by the pipe. */
int usp_pipe_room_fd(struct usp_pipe *pipe);

/* Return a descriptor that is readable while the pipe has bufs, or has no writers. Owned by the pipe. */
int usp_pipe_data_fd(struct usp_pipe *pipe);

/* Let readers see what was pushed in this turn. Lock held. */
void usp_pipe_publish(struct usp_pipe *pipe);

/* As usp_pipe_begin_read, and cut *len to what is in the pipe now. Bytes that come later are for the next call (N1). */
int usp_pipe_take_read(struct usp_pipe *pipe, unsigned flags, size_t *len);

/* Move the empty bufs at the tail to dead, at most nr_dead; their number. Lock held; release them after unlocking. */
unsigned usp_pipe_reap_empty(struct usp_pipe *pipe, struct usp_buf *dead, unsigned nr_dead);

/* Return how many of len bytes the next buf may take now. Lock held. */
size_t usp_pipe_chunk(const struct usp_pipe *pipe, size_t len);

/* F_SETPIPE_SZ on the ring. */
ssize_t usp_pipe_set_size(struct usp_pipe *pipe, size_t len);

/* write(2) and read(2) on the ring (R9-R25). */
ssize_t usp_pipe_write(struct usp_pipe *pipe, const struct usp_iter *from, bool is_packet, unsigned flags);
ssize_t usp_pipe_read(struct usp_pipe *pipe, const struct usp_iter *to, unsigned flags);

/* splice (is_move) and tee between two pipes (T1-T13). */
ssize_t usp_pipe_transfer(struct usp_pipe *in, struct usp_pipe *out, size_t len, unsigned flags, bool is_move);

/*
 * Move bufs of another pipe into one whose write turn the caller holds, as much as fits: bytes, 0 at the end, or -errno
 * as of usp_pipe_begin_read.
 */
ssize_t usp_pipe_pull(struct usp_pipe *from, struct usp_pipe *pipe, size_t len, unsigned flags);

extern const struct usp_file_ops usp_pipe_file_ops;

/* The pipe that file is an end of, or NULL. */
static inline struct usp_pipe *usp_file_pipe(const struct usp_file *file)
{
	return file->ops == &usp_pipe_file_ops ? file->priv : NULL;
}

#endif
