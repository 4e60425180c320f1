/* SPDX-License-Identifier: MIT */
/*
 * buffer - a stage that reads ahead, between two ends that are not steady.
 *
 *            the thread of the buffer              │             the caller
 *                                                  │
 *   below ──read──────────────────────► [open]─────┼──────────────────┐
 *     │                                    │ full  │                  ▼
 *     └──splice_read──► [pulled] ──────────┴─────► [front] ────► the caller's pipe
 *                          │                         ▲
 *                          └──────► file ────────────┘      while the memory is full, and until the file is empty
 *
 * Where the file below would copy into fresh folios, the bytes are read into one large folio after the other (open), so
 * that short reads take no more memory than their bytes. Others lend what they have; only small pieces are put together.
 * The caller gets bufs of front, and behind these what open has: a folio need not be full to go on.
 *
 * The level (level.h) says which end may go on. One lock covers it, what open has, and the order of the two. front has its
 * own lock as well, and one producer and one consumer. All else belongs to the thread.
 */
#include "transforms/buffer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/memory.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "base/thread.h"
#include "splice/ahead.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "transforms/buffer_options.h"
#include "transforms/transforms.h"

#define BUFFER_FOLIO_MAX ((size_t)2 << 20) /* a huge page, where there are some */
#define BUFFER_FOLIO_MIN ((size_t)16 << 10)
#define BUFFER_TAKE_MAX ((size_t)512 << 10) /* is read before the caller sees it */
#define BUFFER_PULL_MAX ((size_t)1 << 20)
#define BUFFER_WAKE_MAX ((size_t)8 << 20)
#define BUFFER_KPIPES_MAX 256
#define BUFFER_FD_SHARE 4 /* of the descriptors that the process may have; a kernel pipe takes two */
#define BUFFER_SLOTS 64	  /* to begin with */

static const char buffer_lent_reason[] = "held in the buffer as it is";
static const char buffer_packed_reason[] = "small pieces were put together";
static const char buffer_spilled_reason[] = "small pieces were put together, or went through the file of the buffer";

/* --- The caller ---------------------------------------------------------------------------------------------- */

static bool buffer_is_foreign(const struct usp_ahead *ahead)
{
	return ahead->process != usp_own_nr();
}

/* Read ahead from where the shared offset is now, if there is one. Without a thread. */
static void buffer_find_pos(struct usp_ahead *ahead)
{
	if (ahead->pos != &ahead->own_pos || ahead->level.bytes)
		return;
	ahead->offset = usp_file_seek(ahead->file->below, 0, SEEK_CUR);
	ahead->own_pos = usp_max(ahead->offset, 0);
}

/*
 * Move the shared offset behind what the caller took, so that another program finds the rest there, whatever happens to
 * this one. Leave it alone once others have moved it.
 */
static void buffer_follow(struct usp_ahead *ahead, size_t len)
{
	struct usp_file *below = ahead->file->below;

	if (ahead->pos == &ahead->own_pos && usp_file_seek(below, 0, SEEK_CUR) == ahead->offset)
		ahead->offset = usp_file_seek(below, (int64_t)len, SEEK_CUR);
}

/* Have a thread, unless there is nothing left for it: 0, -ESTALE in a child, or -ENOMEM. */
static int buffer_begin(struct usp_ahead *ahead)
{
	bool is_over;

	if (buffer_is_foreign(ahead))
		return -ESTALE;
	if (ahead->has_thread)
		return 0;
	usp_ahead_lock(ahead);
	is_over = ahead->is_over;
	usp_ahead_unlock(ahead);
	if (is_over)
		return 0;
	atomic_store(&ahead->must_quit, false);
	usp_sys_eventfd_set(ahead->wake_fd, false);
	buffer_find_pos(ahead);
	if (usp_thread_start(&ahead->thread, usp_ahead_run, ahead) < 0)
		return -ENOMEM; /* and not -EAGAIN: this will not change by waiting */
	ahead->has_thread = true;
	return 0;
}

/* Note that the caller took bytes, and wake the thread if it may go on. */
static void buffer_took(struct usp_ahead *ahead, size_t len)
{
	buffer_follow(ahead, len);
	usp_ahead_lock(ahead);
	usp_level_remove(&ahead->level, len);
	if (!ahead->level.is_giving || usp_ahead_room(ahead) >= ahead->wake_len ||
	    ((ahead->keeps || ahead->level.bytes) && !usp_ahead_has_some(ahead))) { /* the thread has the rest */
		ahead->nr_taken++;
		if (ahead->must_wake)
			usp_sys_eventfd_set(ahead->wake_fd, true);
		ahead->must_wake = false;
	}
	usp_ahead_unlock(ahead);
}

/* Where the next bytes are. */
enum buffer_place { PLACE_FRONT, PLACE_OPEN, PLACE_NONE };

/* Make a buf of what open has, len bytes at most: 0 or -EFAULT. Lock held, and open has something. */
static int buffer_cut(struct usp_ahead *ahead, size_t len, struct usp_buf *ret_buf)
{
	if (!usp_folio_get(ahead->open))
		return -EFAULT;
	*ret_buf = (struct usp_buf){
		.ops = &usp_folio_buf_ops,
		.store = ahead->open,
		.offset = ahead->given,
		.len = usp_min(len, ahead->filled - ahead->given),
		.priv = !ahead->packs,
	};
	ahead->given += ret_buf->len;
	return 0;
}

/*
 * Find the next bytes. PLACE_OPEN comes with a buf of them, len bytes at most, cut while the lock is still held: else the
 * thread could push them to front meanwhile, and what it reads next into another folio would come before them.
 * PLACE_NONE comes with 0 at the end, -EAGAIN, or an error.
 */
static enum buffer_place buffer_find(struct usp_ahead *ahead, size_t len, struct usp_buf *ret_buf, int *ret_result)
{
	enum buffer_place place = PLACE_NONE;

	usp_ahead_lock(ahead);
	*ret_result = ahead->is_over ? ahead->result : -EAGAIN;
	if (ahead->level.is_giving && usp_pipe_len(ahead->front)) {
		place = PLACE_FRONT;
	} else if (ahead->level.is_giving && ahead->filled > ahead->given) {
		*ret_result = buffer_cut(ahead, len, ret_buf);
		place = *ret_result == 0 ? PLACE_OPEN : PLACE_NONE;
	}
	usp_ahead_unlock(ahead);
	return place;
}

static void buffer_account(struct usp_file *in, const struct usp_buf *buf, size_t len)
{
	const struct usp_ahead *ahead = in->priv;

	if (buf->priv || buf->flags & USP_BUF_MAPPED)
		usp_file_account(in, USP_READ, USP_COPIED, len,
				 ahead->spill.file ? buffer_spilled_reason : buffer_packed_reason);
	else
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, len, buffer_lent_reason);
}

/*
 * Give one buf out of front, len bytes at most: bytes, 0 if it is longer and need not be cut, or -errno. A whole one is
 * moved: to share and drop a kernel pipe takes many calls.
 */
static ssize_t buffer_give_front(struct usp_file *in, struct usp_pipe *pipe, size_t len, bool must_cut)
{
	struct usp_ahead *ahead = in->priv;
	struct usp_buf first;
	bool is_whole;
	ssize_t ret = usp_pipe_begin_read(ahead->front, USP_SPLICE_NONBLOCK);

	if (ret <= 0)
		return ret;
	usp_pipe_peek(ahead->front, &first, 1);
	is_whole = first.len <= usp_min(len, usp_pipe_slot_bytes(pipe));
	if (is_whole) {
		first = usp_pipe_pop(ahead->front);
		ret = (ssize_t)first.len;
		usp_pipe_push(pipe, &first, 1);
	}
	usp_pipe_end_read(ahead->front);
	if (!is_whole)
		ret = must_cut ? usp_pipe_pull(ahead->front, pipe, len, USP_SPLICE_NONBLOCK) : 0;
	if (ret > 0)
		buffer_account(in, &first, (size_t)ret);
	return ret;
}

static ssize_t buffer_give(struct usp_file *in, struct usp_pipe *pipe, size_t len)
{
	struct usp_ahead *ahead = in->priv;
	size_t done = 0, room;
	ssize_t ret = 0;
	int result;

	while (done < len && usp_pipe_room(pipe, &room)) {
		size_t want = usp_min(len - done, room);
		struct usp_buf buf;
		enum buffer_place place = buffer_find(ahead, usp_min(want, usp_pipe_slot_bytes(pipe)), &buf, &result);

		if (place == PLACE_NONE)
			return done ? (ssize_t)done : result;
		if (place == PLACE_FRONT) {
			ret = buffer_give_front(in, pipe, want, !done);
		} else {
			ret = (ssize_t)buf.len;
			usp_pipe_push(pipe, &buf, 1);
			buffer_account(in, &buf, buf.len);
		}
		if (ret > 0) {
			done += (size_t)ret;
			buffer_took(ahead, (size_t)ret);
		} else if (ret != -EAGAIN) {
			break;
		}
	}
	return done ? (ssize_t)done : ret;
}

static ssize_t buffer_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = buffer_begin(in->priv);

	(void)pos; /* a stream */
	if (ret < 0)
		return ret;
	do
		ret = buffer_give(in, pipe, len);
	while (ret == -EAGAIN && (ret = usp_file_await(in, USP_READ, flags)) == 0);
	return ret;
}

/* Copy a buf of open, and release it: its bytes. */
static ssize_t buffer_copy_open(struct usp_buf *buf, const struct usp_iter *to)
{
	size_t len = buf->len;

	usp_iter_copy_to(to, 0, usp_buf_bytes(buf), len);
	usp_buf_release(NULL, buf);
	return (ssize_t)len;
}

/* The door waits, by poll_fd, as it does for every file. */
static ssize_t buffer_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct usp_ahead *ahead = in->priv;
	int result = to->count ? buffer_begin(ahead) : 0;
	enum buffer_place place;
	struct usp_buf buf;
	ssize_t ret;

	(void)pos;
	if (result < 0 || !to->count)
		return result;
	place = buffer_find(ahead, to->count, &buf, &result);
	if (place == PLACE_NONE)
		return result;
	ret = place == PLACE_FRONT ? usp_pipe_read(ahead->front, to, flags | USP_SPLICE_NONBLOCK)
				   : buffer_copy_open(&buf, to);
	if (ret > 0)
		buffer_took(ahead, (size_t)ret);
	return ret;
}

static int buffer_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct usp_ahead *ahead = file->priv;
	int ret = buffer_begin(ahead);

	(void)side;
	*ret_events = POLLIN;
	if (ret < 0)
		return -EPERM; /* a call tells the error at once */
	usp_ahead_lock(ahead);
	if (ahead->ready_fd < 0) {
		ret = usp_sys_eventfd();
		ahead->ready_fd = ret < 0 ? -1 : ret;
		ahead->is_ready = false;
	}
	ret = ahead->ready_fd < 0 ? ret : ahead->ready_fd;
	usp_ahead_unlock(ahead);
	return ret;
}

/* --- Life ---------------------------------------------------------------------------------------------------- */

static const struct usp_file_ops buffer_ops;

void usp_buffer_halt(struct usp_file *file)
{
	struct usp_ahead *ahead = file->ops == &buffer_ops ? file->priv : NULL;

	if (!ahead || !ahead->has_thread || buffer_is_foreign(ahead))
		return;
	atomic_store(&ahead->must_quit, true);
	usp_sys_eventfd_set(ahead->wake_fd, true);
	pthread_join(ahead->thread, NULL);
	ahead->has_thread = false;
}

uint64_t usp_buffer_progress_ns(const struct usp_file *file)
{
	struct usp_ahead *ahead = file->ops == &buffer_ops ? file->priv : NULL;

	return ahead ? atomic_load(&ahead->progress_ns) : 0;
}

static void buffer_free(struct usp_ahead *ahead)
{
	if (!ahead)
		return;
	usp_pipe_free(ahead->pulled);
	usp_pipe_free(ahead->front);
	if (ahead->open)
		usp_folio_put(ahead->open);
	if (ahead->spill.file)
		usp_spill_close(&ahead->spill);
	usp_sys_close(ahead->ready_fd);
	usp_sys_close(ahead->wake_fd);
	pthread_mutex_destroy(&ahead->lock);
	usp_free(ahead);
}

/* A thread of the parent is not there in a child, and may be in the middle of something: what it uses is left alone. */
static int buffer_release(struct usp_file *file)
{
	struct usp_ahead *ahead = file->priv;

	usp_buffer_halt(file);
	if (!buffer_is_foreign(ahead)) {
		if (ahead->pos == &file->below->pos)
			usp_file_unread(file->below, ahead->level.bytes);
		buffer_free(ahead);
	}
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops buffer_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "buffer",
	.read_iter = buffer_read_iter,
	.splice_read = buffer_splice_read,
	.release = buffer_release,
	.poll_fd = buffer_poll_fd,
	.get_size = usp_stack_size,
};

/*
 * Tell whether to read what a file gives into memory of the buffer: it would copy anyway, and short reads would take whole
 * folios; or its page cache has a budget, which a buffer must not use up. A regular file gives whole folios, and holes.
 */
static bool buffer_must_pack(const struct usp_file *below)
{
	if (below->ops->splice_read == usp_copy_splice_read && !usp_file_has_pos(below))
		return true;
	for (; below; below = below->below) {
		if (below->mapping)
			return true;
	}
	return false;
}

/*
 * Tell whether to read ahead at positions, and leave the shared offset to the caller. Not through other files, nor of a
 * sequence: these read where the offset is.
 */
static bool buffer_has_own_pos(const struct usp_file *below)
{
	return !below->below && below->traits & USP_FILE_SEEKABLE && usp_file_shares_pos(below, &below->pos) &&
	       usp_file_size(below) >= 0;
}

static size_t buffer_round_down(size_t len)
{
	size_t rounded = BUFFER_FOLIO_MIN;

	while (2 * rounded <= len)
		rounded *= 2;
	return rounded;
}

/* Make a stage without its file: 0 or -errno, and what there is of it. */
static int buffer_new(const struct usp_buffer_options *options, const struct usp_transform_params *params,
		      struct usp_ahead **ret_ahead)
{
	const struct usp_pipe_params pipe = {
		.size = sizeof(pipe), .nr_slots = BUFFER_SLOTS, .slot_bytes = BUFFER_FOLIO_MAX};
	struct usp_ahead *ahead = usp_alloc(sizeof(*ahead));
	int ret;

	*ret_ahead = ahead;
	if (!ahead)
		return -ENOMEM;
	pthread_mutex_init(&ahead->lock, NULL);
	usp_level_init(&ahead->level, (uint64_t)options->memory + (uint64_t)options->file_size, &options->marks);
	ahead->memory = (size_t)options->memory;
	ahead->folio_len = usp_min(buffer_round_down(ahead->memory / 8), BUFFER_FOLIO_MAX);
	ahead->take_len = usp_min(ahead->memory / 4, BUFFER_TAKE_MAX);
	ahead->pull_len = usp_min(ahead->memory / 4, BUFFER_PULL_MAX);
	ahead->wake_len = usp_max(ahead->take_len, usp_min(ahead->memory / 16, BUFFER_WAKE_MAX));
	ahead->has_length = params->flags & USP_TRANSFORM_LENGTH;
	ahead->left = params->length;
	ahead->process = usp_own_nr();
	ahead->ready_fd = -1;
	if (!options->file && ahead->pull_len == BUFFER_PULL_MAX)
		ahead->nr_kpipes = (unsigned)usp_min(usp_min(usp_sys_fd_limit() / BUFFER_FD_SHARE, BUFFER_KPIPES_MAX),
						     ahead->memory / ahead->pull_len);
	ret = usp_sys_eventfd();
	ahead->wake_fd = ret < 0 ? -1 : ret;
	if (ret >= 0)
		ret = usp_pipe_new(&pipe, &ahead->front);
	return ret < 0 ? ret : usp_pipe_new(&pipe, &ahead->pulled);
}

/* --- The transform ------------------------------------------------------------------------------------------- */

static int buffer_check(const char *options, const char **ret_why)
{
	struct usp_buffer_options parsed;

	return usp_buffer_parse(options, &parsed, ret_why);
}

static int buffer_open(const char *text, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	struct usp_buffer_options options;
	struct usp_ahead *ahead = NULL;
	int ret = usp_buffer_parse(text, &options, ret_why);

	if (ret == 0 && params->flags & USP_TRANSFORM_INLINE)
		ret = -EINVAL;
	if (ret == 0 && !usp_memory_may_have((uint64_t)options.memory)) {
		*ret_why = "there is not so much memory: a file can be a part of the buffer";
		ret = -ENOMEM;
	}
	if (ret == 0 && !usp_thread_is_possible()) {
		*ret_why = "there is no thread for the buffer: the user may have no more";
		ret = -ENOMEM; /* and not -EAGAIN, as in buffer_begin */
	}
	if (ret == 0)
		ret = buffer_new(&options, params, &ahead);
	if (ret == 0 && options.file) {
		ret = usp_spill_open(&ahead->spill, options.file, (uint64_t)options.file_size);
		*ret_why = ret < 0 ? "the file of the buffer cannot be made" : NULL;
	}
	if (ret == 0)
		ret = usp_stack_new(&buffer_ops, below, USP_READ, "buffer", ahead, ret_file);
	if (ret < 0) {
		buffer_free(ahead);
		return ret;
	}
	ahead->file = *ret_file;
	ahead->pos = buffer_has_own_pos(below) ? &ahead->own_pos : &below->pos;
	ahead->packs = buffer_must_pack(below);
	(*ret_file)->traits &= ~(USP_FILE_SEEKABLE | USP_FILE_SHARED);
	(*ret_file)->traits |= USP_FILE_OBSERVES | (ahead->nr_kpipes ? USP_FILE_HOLDS : 0);
	return 0;
}

const struct usp_transform usp_buffer_transform = {.name = "buffer", .check = buffer_check, .open = buffer_open};

int usp_buffer_status(const struct usp_file *stage, struct usp_buffer_status *ret_status)
{
	struct usp_ahead *ahead = stage->ops == &buffer_ops ? stage->priv : NULL;
	struct usp_buffer_status status;

	if (!ahead)
		return -EINVAL;
	pthread_mutex_lock(&ahead->lock);
	status = (struct usp_buffer_status){
		.capacity = ahead->level.capacity,
		.bytes = ahead->level.bytes,
		.most = ahead->level.most,
		.file_bytes = ahead->spilled,
		.file_most = ahead->most_spilled,
		.nr_empty = ahead->level.nr_empty,
		.nr_full = ahead->level.nr_full,
		.file_error = ahead->spill_error,
		.is_paused = !ahead->level.is_giving,
	};
	pthread_mutex_unlock(&ahead->lock);
	usp_sized_give(ret_status, &status, sizeof(status));
	return 0;
}
