/* SPDX-License-Identifier: MIT */
/*
 * pipe - a ring of references.
 *
 *          tail               head      turn_head
 *           v                  v             v
 *   [ . ][ buf ][ buf ][ buf ][ buf ][ buf ][ . ]      ring_size entries, a power of two
 *           ^                           ^
 *     the read turn's            the write turn's
 *     holder consumes            holder pushes
 *
 * The three run freely and are masked only when indexing; turn_head - tail entries are live, at most
 * max_usage. Readers see those below head: what one turn pushes is published at once when the turn
 * ends (N1).
 *
 * One mutex covers the ring and is held for a few instructions: never while a hook runs, never while a
 * buf is released, confirmed or mapped. The kernel holds its pipe lock during a whole splice. So no
 * other producer takes the free slots that a producer counted, and no other consumer takes what a sink
 * is sending. Here two turns, one for each side, give the same. The holder of a turn may block on the
 * outside, and the other side goes on meanwhile.
 */
#include "splice/pipe.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "mm/folio.h"

#define PIPE_DEFAULT_SLOTS 16
#define PIPE_DEFAULT_SLOT_BYTES ((size_t)64 << 10)
#define PIPE_SLOTS_MAX (1u << 20)
#define PIPE_SIZE_MAX ((size_t)1 << 31) /* R4 */
#define PIPE_RELEASE_BATCH 32

/* --- Life ---------------------------------------------------------------------------------------- */

/* The lock is held for less time than it takes to sleep and wake up. */
static void lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
#ifdef __GLIBC__
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

static unsigned pipe_round_slots(size_t nr_slots)
{
	unsigned rounded = 1;

	while (rounded < nr_slots)
		rounded *= 2;
	return rounded;
}

/* Check params. max_bytes does not depend on the slots. */
static bool pipe_can(const struct usp_pipe_params *want)
{
	if (want->nr_slots > PIPE_SLOTS_MAX || want->slot_bytes > SSIZE_MAX || want->max_bytes > SSIZE_MAX ||
	    want->flags & ~(USP_NONBLOCK | USP_PACKET))
		return false;
	return !want->slot_bytes ||
	       (want->slot_bytes >= USP_PAGE &&
		want->slot_bytes <= SSIZE_MAX / pipe_round_slots(want->nr_slots ? want->nr_slots : PIPE_DEFAULT_SLOTS));
}

int usp_pipe_new(const struct usp_pipe_params *params, struct usp_pipe **ret_pipe)
{
	struct usp_pipe_params want = {.nr_slots = 0};
	int ret = params ? usp_sized_take(&want, sizeof(want), params) : 0;
	struct usp_pipe *pipe;

	if (ret < 0)
		return ret;
	if (!pipe_can(&want))
		return -EINVAL;
	pipe = usp_alloc(sizeof(*pipe));
	if (!pipe)
		return -ENOMEM;
	pipe->ring_size = pipe->max_usage = pipe_round_slots(want.nr_slots ? want.nr_slots : PIPE_DEFAULT_SLOTS);
	pipe->slot_bytes = want.slot_bytes ? want.slot_bytes : PIPE_DEFAULT_SLOT_BYTES;
	pipe->max_bytes = want.max_bytes ? want.max_bytes : SIZE_MAX;
	pipe->bufs = usp_alloc_array(pipe->ring_size, sizeof(pipe->bufs[0]));
	if (!pipe->bufs) {
		usp_free(pipe);
		return -ENOMEM;
	}
	lock_init(&pipe->lock);
	usp_pipe_side_init(&pipe->rd);
	usp_pipe_side_init(&pipe->wr);
	*ret_pipe = pipe;
	return 0;
}

void usp_pipe_free(struct usp_pipe *pipe)
{
	if (!pipe)
		return;
	for (unsigned i = 0; i < pipe->ring_size; i++) {
		if (pipe->bufs[i].ops)
			usp_buf_release(pipe, &pipe->bufs[i]);
	}
	usp_pipe_side_fini(&pipe->rd);
	usp_pipe_side_fini(&pipe->wr);
	pthread_mutex_destroy(&pipe->lock);
	usp_free(pipe->bufs);
	usp_free(pipe);
}

static void pipe_close_side(struct usp_pipe *pipe, struct usp_pipe_side *side)
{
	pthread_mutex_lock(&pipe->lock);
	side->nr_open = 0;
	usp_pipe_wake(&pipe->rd);
	usp_pipe_wake(&pipe->wr);
	usp_pipe_unlock(pipe);
}

void usp_pipe_close_write(struct usp_pipe *pipe)
{
	pipe_close_side(pipe, &pipe->wr);
}

void usp_pipe_close_read(struct usp_pipe *pipe)
{
	pipe_close_side(pipe, &pipe->rd);
}

size_t usp_pipe_slot_bytes(const struct usp_pipe *pipe)
{
	return pipe->slot_bytes;
}

size_t usp_pipe_len(const struct usp_pipe *pipe)
{
	struct usp_pipe *locked = (struct usp_pipe *)pipe;
	size_t len;

	pthread_mutex_lock(&locked->lock);
	len = pipe->nr_bytes;
	pthread_mutex_unlock(&locked->lock);
	return len;
}

/* --- The producer's side ----------------------------------------------------------------------- */

/* Wait until the write turn is free, and there is room if wanted: 0, -EPIPE or -EAGAIN. Lock held. */
static int pipe_await_write(struct usp_pipe *pipe, unsigned flags, bool wants_room)
{
	for (;;) {
		if (!pipe->rd.nr_open)
			return -EPIPE;
		if (!pipe->wr.is_taken && !(wants_room && usp_pipe_is_full(pipe)))
			return 0;
		if (flags & USP_SPLICE_NONBLOCK)
			return -EAGAIN;
		usp_pipe_wait(pipe, &pipe->wr);
	}
}

static int pipe_begin_write(struct usp_pipe *pipe, unsigned flags, bool wants_room)
{
	int ret;

	pthread_mutex_lock(&pipe->lock);
	ret = pipe_await_write(pipe, flags, wants_room);
	if (ret == 0)
		pipe->wr.is_taken = true;
	usp_pipe_unlock(pipe);
	return ret;
}

int usp_pipe_begin_write(struct usp_pipe *pipe, unsigned flags)
{
	return pipe_begin_write(pipe, flags, true);
}

int usp_pipe_take_write(struct usp_pipe *pipe, unsigned flags)
{
	return pipe_begin_write(pipe, flags, false);
}

void usp_pipe_publish(struct usp_pipe *pipe)
{
	if (pipe->head == pipe->turn_head)
		return;
	pipe->head = pipe->turn_head;
	pipe->nr_bytes += pipe->turn_bytes;
	pipe->turn_bytes = 0;
	usp_pipe_wake(&pipe->rd);
}

void usp_pipe_end_write(struct usp_pipe *pipe)
{
	pthread_mutex_lock(&pipe->lock);
	assert(pipe->wr.is_taken);
	usp_pipe_publish(pipe);
	pipe->wr.is_taken = false;
	usp_pipe_wake(&pipe->wr);
	usp_pipe_unlock(pipe);
}

unsigned usp_pipe_room(struct usp_pipe *pipe, size_t *ret_bytes)
{
	unsigned nr_slots = 0;
	size_t bytes = 0;

	pthread_mutex_lock(&pipe->lock);
	if (!usp_pipe_is_full(pipe)) {
		nr_slots = pipe->max_usage - (pipe->turn_head - pipe->tail);
		bytes = usp_min(nr_slots * pipe->slot_bytes, pipe->max_bytes - pipe->nr_bytes - pipe->turn_bytes);
	}
	pthread_mutex_unlock(&pipe->lock);
	if (ret_bytes)
		*ret_bytes = bytes;
	return nr_slots;
}

size_t usp_pipe_chunk(const struct usp_pipe *pipe, size_t len)
{
	if (usp_pipe_is_full(pipe))
		return 0;
	return usp_min(usp_min(len, pipe->slot_bytes), pipe->max_bytes - pipe->nr_bytes - pipe->turn_bytes);
}

/* Append a buf. Lock held, and there is room. */
static void pipe_append(struct usp_pipe *pipe, const struct usp_buf *buf)
{
	*usp_pipe_slot(pipe, pipe->turn_head++) = *buf;
	pipe->turn_bytes += buf->len;
}

unsigned usp_pipe_push(struct usp_pipe *pipe, const struct usp_buf *bufs, unsigned nr_bufs)
{
	unsigned nr = 0;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->wr.is_taken);
	/* Readers that left since begin_write change nothing: what was taken from a source must not vanish. */
	while (nr < nr_bufs && !usp_pipe_is_full(pipe)) {
		assert(bufs[nr].ops && bufs[nr].len <= pipe->slot_bytes);
		pipe_append(pipe, &bufs[nr++]);
	}
	usp_pipe_unlock(pipe);
	for (unsigned i = nr; i < nr_bufs; i++) {
		struct usp_buf refused = bufs[i];

		usp_buf_release(pipe, &refused);
	}
	return nr;
}

/* Return how many bufs lie between two positions of the ring, which a resize moves. */
static unsigned pipe_distance(struct usp_pipe *pipe, const unsigned *from, const unsigned *to)
{
	unsigned nr;

	pthread_mutex_lock(&pipe->lock);
	nr = *to - *from;
	pthread_mutex_unlock(&pipe->lock);
	return nr;
}

unsigned usp_pipe_nr_pushed(struct usp_pipe *pipe)
{
	return pipe_distance(pipe, &pipe->head, &pipe->turn_head);
}

struct usp_buf usp_pipe_peek_pushed(struct usp_pipe *pipe, unsigned index)
{
	struct usp_buf buf;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->wr.is_taken && index < pipe->turn_head - pipe->head);
	buf = *usp_pipe_slot(pipe, pipe->head + index);
	pthread_mutex_unlock(&pipe->lock);
	return buf;
}

void usp_pipe_set_pushed(struct usp_pipe *pipe, unsigned index, const struct usp_buf *buf)
{
	struct usp_buf *slot;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->wr.is_taken && index < pipe->turn_head - pipe->head);
	slot = usp_pipe_slot(pipe, pipe->head + index);
	assert(slot->len == buf->len);
	*slot = *buf;
	usp_pipe_unlock(pipe);
}

void usp_pipe_grow_pushed(struct usp_pipe *pipe, size_t len)
{
	struct usp_buf *slot;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->wr.is_taken && pipe->turn_head != pipe->head);
	slot = usp_pipe_slot(pipe, pipe->turn_head - 1);
	assert(len <= pipe->slot_bytes - slot->len);
	slot->len += len;
	pipe->turn_bytes += len;
	usp_pipe_unlock(pipe);
}

/* Return what the next buf takes of a folio. In slots of a page, a gift goes page by page, as in the kernel (V2). */
static size_t pipe_folio_chunk(const struct usp_pipe *pipe, const unsigned char *base, size_t len, unsigned buf_flags)
{
	if (buf_flags & USP_BUF_GIFT && pipe->slot_bytes == USP_PAGE)
		len = usp_min(len, USP_PAGE - (uintptr_t)base % USP_PAGE);
	return usp_pipe_chunk(pipe, len);
}

/* Append references to [off, off + len) of a folio until the pipe is full: bytes, or -EFAULT if none. Lock held. */
static ssize_t pipe_append_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len,
				 unsigned buf_flags)
{
	size_t done = 0, chunk;

	while (done < len && (chunk = pipe_folio_chunk(pipe, folio->base + off + done, len - done, buf_flags))) {
		struct usp_buf buf = {.ops = &usp_gift_buf_ops,
				      .store = folio,
				      .offset = off + done,
				      .len = chunk,
				      .flags = buf_flags};

		if (!usp_folio_get(folio))
			return done ? (ssize_t)done : -EFAULT;
		pipe_append(pipe, &buf);
		done += chunk;
	}
	return (ssize_t)done;
}

ssize_t usp_pipe_push_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len, unsigned buf_flags)
{
	ssize_t ret;

	if (off > folio->len || len > folio->len - off)
		return -EINVAL;
	pthread_mutex_lock(&pipe->lock);
	assert(pipe->wr.is_taken);
	ret = pipe_append_folio(pipe, folio, off, len, buf_flags);
	usp_pipe_unlock(pipe);
	return ret;
}

ssize_t usp_pipe_give_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len, unsigned flags)
{
	ssize_t ret;

	pthread_mutex_lock(&pipe->lock);
	ret = pipe_await_write(pipe, flags, true);
	if (ret == 0) {
		ret = pipe_append_folio(pipe, folio, off, len, USP_BUF_GIFT);
		usp_pipe_publish(pipe);
	}
	usp_pipe_unlock(pipe);
	return ret;
}

/* --- The consumer's side ------------------------------------------------------------------------ */

unsigned usp_pipe_reap_empty(struct usp_pipe *pipe, struct usp_buf *dead, unsigned nr_dead)
{
	unsigned nr = 0;

	while (nr < nr_dead && !usp_pipe_is_empty(pipe) && usp_pipe_slot(pipe, pipe->tail)->len == 0) {
		struct usp_buf *slot = usp_pipe_slot(pipe, pipe->tail++);

		dead[nr++] = *slot;
		slot->ops = NULL;
	}
	if (nr)
		usp_pipe_wake(&pipe->wr);
	return nr;
}

static void pipe_release_all(struct usp_pipe *pipe, struct usp_buf *dead, unsigned nr_dead)
{
	for (unsigned i = 0; i < nr_dead; i++)
		usp_buf_release(pipe, &dead[i]);
}

/* Look at the ring once: 1 with the turn taken, 0 at the end, -EAGAIN to wait. Lock held. */
static int pipe_try_begin_read(struct usp_pipe *pipe)
{
	if (pipe->rd.is_taken)
		return -EAGAIN;
	if (!usp_pipe_is_empty(pipe)) {
		pipe->rd.is_taken = true;
		return 1;
	}
	return pipe->wr.nr_open ? -EAGAIN : 0;
}

int usp_pipe_take_read(struct usp_pipe *pipe, unsigned flags, size_t *len)
{
	struct usp_buf dead[PIPE_RELEASE_BATCH];
	unsigned nr_dead;
	int ret;

	do {
		pthread_mutex_lock(&pipe->lock);
		while ((ret = pipe_try_begin_read(pipe)) == -EAGAIN && !(flags & USP_SPLICE_NONBLOCK))
			usp_pipe_wait(pipe, &pipe->rd);
		nr_dead = ret == 1 ? usp_pipe_reap_empty(pipe, dead, usp_array_len(dead)) : 0;
		if (nr_dead)
			pipe->rd.is_taken = false; /* look again: there may be nothing behind the empty ones (C14) */
		*len = usp_min(*len, pipe->nr_bytes);
		usp_pipe_unlock(pipe);
		pipe_release_all(pipe, dead, nr_dead);
	} while (nr_dead);
	return ret;
}

int usp_pipe_begin_read(struct usp_pipe *pipe, unsigned flags)
{
	size_t len = 0;

	return usp_pipe_take_read(pipe, flags, &len);
}

void usp_pipe_end_read(struct usp_pipe *pipe)
{
	pthread_mutex_lock(&pipe->lock);
	assert(pipe->rd.is_taken);
	pipe->rd.is_taken = false;
	usp_pipe_wake(&pipe->rd);
	usp_pipe_unlock(pipe);
}

unsigned usp_pipe_peek(struct usp_pipe *pipe, struct usp_buf *ret_bufs, unsigned nr_bufs)
{
	unsigned nr;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->rd.is_taken);
	nr = (unsigned)usp_min(nr_bufs, pipe->head - pipe->tail);
	for (unsigned i = 0; i < nr; i++)
		ret_bufs[i] = *usp_pipe_slot(pipe, pipe->tail + i);
	pthread_mutex_unlock(&pipe->lock);
	return nr;
}

void usp_pipe_set(struct usp_pipe *pipe, unsigned index, const struct usp_buf *buf)
{
	struct usp_buf *slot;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->rd.is_taken && index < pipe->head - pipe->tail);
	slot = usp_pipe_slot(pipe, pipe->tail + index);
	assert(!(slot->flags & USP_BUF_CAN_MERGE)); /* a writer may be growing it */
	pipe->nr_bytes += buf->len - slot->len;
	*slot = *buf;
	usp_pipe_unlock(pipe);
}

/* Consume up to *len bytes and at most nr_dead whole bufs. Lock held. */
static unsigned pipe_eat(struct usp_pipe *pipe, size_t *len, struct usp_buf *dead, unsigned nr_dead)
{
	unsigned nr = 0;

	while (nr < nr_dead && !usp_pipe_is_empty(pipe)) {
		struct usp_buf *slot = usp_pipe_slot(pipe, pipe->tail);
		size_t eaten = usp_min(*len, slot->len);

		if (!eaten && slot->len)
			break;
		slot->offset += eaten;
		slot->len -= eaten;
		pipe->nr_bytes -= eaten;
		*len -= eaten;
		if (slot->len)
			break;
		dead[nr++] = *slot;
		slot->ops = NULL;
		pipe->tail++;
	}
	return nr;
}

void usp_pipe_advance(struct usp_pipe *pipe, size_t len)
{
	struct usp_buf dead[PIPE_RELEASE_BATCH];
	unsigned nr_dead;
	bool was_full;

	do {
		pthread_mutex_lock(&pipe->lock);
		assert(pipe->rd.is_taken);
		was_full = usp_pipe_is_full(pipe);
		nr_dead = pipe_eat(pipe, &len, dead, usp_array_len(dead));
		if (was_full) /* by bytes too: no buf need have gone */
			usp_pipe_wake(&pipe->wr);
		usp_pipe_unlock(pipe);
		pipe_release_all(pipe, dead, nr_dead);
	} while (nr_dead == usp_array_len(dead));
	assert(len == 0);
}

unsigned usp_pipe_nr_bufs(struct usp_pipe *pipe)
{
	return pipe_distance(pipe, &pipe->tail, &pipe->head);
}

struct usp_buf usp_pipe_pop(struct usp_pipe *pipe)
{
	struct usp_buf *slot, buf;

	pthread_mutex_lock(&pipe->lock);
	assert(pipe->rd.is_taken && !usp_pipe_is_empty(pipe));
	if (usp_pipe_is_full(pipe))
		usp_pipe_wake(&pipe->wr);
	slot = usp_pipe_slot(pipe, pipe->tail++);
	buf = *slot;
	slot->ops = NULL;
	pipe->nr_bytes -= buf.len;
	usp_pipe_unlock(pipe);
	return buf;
}

/* --- Size --------------------------------------------------------------------------------------- */

/* Move the live bufs to the start of a ring of nr_slots (R7). Lock held. */
static int pipe_rebase(struct usp_pipe *pipe, unsigned nr_slots)
{
	struct usp_buf *bufs = usp_alloc_array(nr_slots, sizeof(bufs[0]));
	unsigned nr_live = pipe->turn_head - pipe->tail;

	if (!bufs)
		return -ENOMEM;
	for (unsigned i = 0; i < nr_live; i++)
		bufs[i] = *usp_pipe_slot(pipe, pipe->tail + i);
	usp_free(pipe->bufs);
	pipe->bufs = bufs;
	pipe->ring_size = pipe->max_usage = nr_slots;
	pipe->head -= pipe->tail;
	pipe->tail = 0;
	pipe->turn_head = nr_live;
	usp_pipe_wake(&pipe->wr); /* after max_usage, or the wake-up is lost (C13) */
	return 0;
}

int usp_pipe_reserve(struct usp_pipe *pipe, unsigned nr_slots)
{
	unsigned nr_live;
	int ret = 0;

	pthread_mutex_lock(&pipe->lock);
	nr_live = pipe->turn_head - pipe->tail;
	if (nr_slots > pipe->max_usage - nr_live)
		ret = pipe_rebase(pipe, pipe_round_slots((size_t)nr_live + nr_slots));
	usp_pipe_unlock(pipe);
	return ret;
}

ssize_t usp_pipe_set_size(struct usp_pipe *pipe, size_t len)
{
	size_t nr_slots = len / pipe->slot_bytes + (len % pipe->slot_bytes != 0);
	ssize_t ret;

	if (len > PIPE_SIZE_MAX || nr_slots > PIPE_SLOTS_MAX)
		return -EINVAL;
	nr_slots = pipe_round_slots(nr_slots);
	pthread_mutex_lock(&pipe->lock);
	if (pipe->turn_head - pipe->tail > nr_slots || (pipe->wr.is_taken && nr_slots < pipe->max_usage))
		ret = -EBUSY;
	else
		ret = pipe_rebase(pipe, (unsigned)nr_slots);
	if (ret == 0)
		ret = (ssize_t)(nr_slots * pipe->slot_bytes);
	usp_pipe_unlock(pipe);
	return ret;
}
