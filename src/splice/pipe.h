/* SPDX-License-Identifier: MIT */
/* pipe - the ring from the inside, for the files of this floor. */
#ifndef USP_SPLICE_PIPE_H
#define USP_SPLICE_PIPE_H

#include <pthread.h>
#include <usplice/endpoint.h>

#define USP_SPLICE_ALL (USP_SPLICE_MOVE | USP_SPLICE_NONBLOCK | USP_SPLICE_MORE | USP_SPLICE_GIFT)
#define USP_MAX_RW_COUNT ((size_t)0x7ffff000) /* what one call moves at most (S17, N2) */

/* One side of a pipe: who waits there, and how a waiter spins before it sleeps. */
struct usp_pipe_side {
	pthread_cond_t wait;
	unsigned nr_waiters;
	unsigned nr_waits;
	unsigned spin;		/* looks; adapts: grows when spinning paid */
	unsigned nr_open;	/* ends: readers, or writers */
	bool is_taken;		/* somebody holds this side's turn */
	int event_fd;		/* -1 until asked for */
	unsigned event_process; /* that made it: what a child does to its own copy of the ring is no event there */
	bool event_set;
	char apart[64]; /* the line that a spinner looks at is nobody else's, or it would hold up whom it waits for */
	atomic_uint nr_wakes; /* so that it need not take the lock */
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
	size_t turn_bytes; /* pushed in this turn: the door compares a hook's result with it (C17) */
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

/* Assert what must hold of a ring whenever its lock is free; in builds with -Dinvariants=true only. Lock held. */
#ifdef USP_INVARIANTS
void usp_pipe_check(const struct usp_pipe *pipe);
#else
static inline void usp_pipe_check(const struct usp_pipe *pipe)
{
	(void)pipe;
}
#endif

/* Unlock, after bringing the eventfds of both sides up to date. */
void usp_pipe_unlock(struct usp_pipe *pipe);

/* Tell a side that something changed for it. Lock held. */
void usp_pipe_wake(struct usp_pipe_side *side);

/* Sleep until something changed for a side. Lock held, dropped while waiting. */
void usp_pipe_wait(struct usp_pipe *pipe, struct usp_pipe_side *side);

/* Wait for a free slot for at most timeout_ns, taking no turn: 0, -EPIPE or -ETIMEDOUT. */
int usp_pipe_await_room(struct usp_pipe *pipe, uint64_t timeout_ns);

/* Take the write turn without asking for room: 0, -EPIPE or -EAGAIN. */
int usp_pipe_take_write(struct usp_pipe *pipe, unsigned flags);

/*
 * Wait for room and push references to [off, off + len) of a gifted folio, which must be inside it. One lock instead of the three
 * of a write turn: two threads that hand over gifts do little else. Bytes pushed, -EAGAIN, -EPIPE or -EFAULT.
 */
ssize_t usp_pipe_give_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len, unsigned flags);

/* Let readers see what was pushed in this turn. Lock held. */
void usp_pipe_publish(struct usp_pipe *pipe);

/* As usp_pipe_begin_read, and cuts *len to what is in the pipe now: what comes later is for the next call (N1). */
int usp_pipe_take_read(struct usp_pipe *pipe, unsigned flags, size_t *len);

/* Drop len-0 bufs at the tail into dead (at most nr_dead); how many. Lock held; release them after unlocking. */
unsigned usp_pipe_reap_empty(struct usp_pipe *pipe, struct usp_buf *dead, unsigned nr_dead);

/* What one buf of len bytes at most may take now. Lock held. */
size_t usp_pipe_chunk(const struct usp_pipe *pipe, size_t len);

/* F_SETPIPE_SZ on the ring. */
ssize_t usp_pipe_set_size(struct usp_pipe *pipe, size_t len);

/* write(2) and read(2) on the ring (R9-R25). */
ssize_t usp_pipe_write(struct usp_pipe *pipe, const struct usp_iter *from, bool is_packet, unsigned flags);
ssize_t usp_pipe_read(struct usp_pipe *pipe, const struct usp_iter *to, unsigned flags);

/* splice (is_move) and tee between two pipes (T1-T13). */
ssize_t usp_pipe_transfer(struct usp_pipe *in, struct usp_pipe *out, size_t len, unsigned flags, bool is_move);

extern const struct usp_file_ops usp_pipe_file_ops;

/* The pipe of which file is an end, or NULL. */
static inline struct usp_pipe *usp_file_pipe(const struct usp_file *file)
{
	return file->ops == &usp_pipe_file_ops ? file->priv : NULL;
}

#endif
