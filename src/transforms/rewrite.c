/* SPDX-License-Identifier: MIT */
/*
 * rewrite - a stage that compresses or decompresses: a codec makes other bytes of those that the source gives.
 *
 *   below ──splice_read──► [pulled] ──codec──► a folio ─────────────────────────────► the caller's pipe
 *                                                 │ with a thread                        ▲
 *                                                 └────────────► [made] ─────────────────┘
 *
 * The stage begins in the thread of the caller. Where a thread pays, it takes over all that is left of [made], and the
 * caller only moves bufs out of there. A folio goes on when it is full, at the end, and when the source has no more
 * for now: what somebody waits for must not stay behind.
 *
 * The end of input is told after the codec has checked its own end. Input that is damaged or cut off is an error,
 * with its offset in the input, behind the bytes that were good.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/thread.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/stack.h"
#include "transforms/rewrite_work.h"
#include "transforms/transforms.h"

#define REWRITE_MADE_SLOTS 8		     /* folios that wait for the caller */
#define REWRITE_MADE_BYTES ((size_t)1 << 20) /* of each, so that two pieces have room, of which a thread makes one */
#define REWRITE_THREAD_BYTES ((uint64_t)256 << 10) /* less is done before a thread has started */
#define REWRITE_RETRY_NS 1000000		   /* where there is nothing to wait for */

struct rewrite {
	struct rewrite_work work;
	const char *reason;    /* for the account; static; NULL until a decoder knows the format */
	size_t given;	       /* bytes of the folio that were passed on, without a thread */
	bool may_thread;       /* a thread pays, and was not tried yet */
	bool is_eager;	       /* USP_TRANSFORM_THREAD */
	struct usp_pipe *made; /* from the thread; NULL without one */
	pthread_t thread;
	unsigned process;  /* that made the thread */
	int quit_fd;	   /* an eventfd: the thread has to quit */
	atomic_int result; /* of the thread: what comes when made has ended */
};

/* Note that len bytes of the folio were passed on. */
static void rewrite_give(struct rewrite *rewrite, size_t len)
{
	rewrite->given += len;
	if (rewrite->given < rewrite->work.filled)
		return;
	usp_rewrite_work_drop(&rewrite->work);
	rewrite->given = 0;
}

/* Push references to the folio: bytes or -errno. */
static ssize_t rewrite_push(struct rewrite *rewrite, struct usp_pipe *pipe, size_t len)
{
	struct rewrite_work *work = &rewrite->work;
	const struct usp_buf_ops *ops = work->is_lent ? &usp_gift_buf_ops : &usp_folio_buf_ops;
	size_t room, done = 0, limit = usp_pipe_slot_bytes(pipe);

	while (done < len && work->filled && usp_pipe_room(pipe, &room)) {
		struct usp_buf buf = {.ops = ops, .store = work->folio, .offset = work->begun + rewrite->given};

		buf.len = usp_min(usp_min(len - done, work->filled - rewrite->given), usp_min(room, limit));
		if (!usp_folio_get(work->folio))
			return done ? (ssize_t)done : -EFAULT;
		usp_pipe_push(pipe, &buf, 1);
		done += buf.len;
		rewrite_give(rewrite, buf.len);
	}
	return (ssize_t)done;
}

/* --- The thread --------------------------------------------------------------------------------------------- */

/* Wait until the source has more, a buf of it has its bytes, or the thread has to quit: 0 or -errno. */
static int rewrite_await(struct rewrite *rewrite)
{
	struct pollfd fds[2] = {{.fd = rewrite->quit_fd, .events = POLLIN}, {.fd = -1}};
	int timeout_ns = -1, ret;

	if (!usp_pipe_is_late(rewrite->work.pulled, &fds[1].fd, &fds[1].events)) {
		fds[1].fd = usp_file_poll_fd(rewrite->work.file->below, USP_READ, &fds[1].events);
		timeout_ns = fds[1].fd < 0 ? REWRITE_RETRY_NS : -1;
	}
	ret = usp_sys_poll(fds, usp_array_len(fds), timeout_ns);
	return ret < 0 && ret != -EINTR ? ret : 0;
}

/* Pass the folio on: 1, or -errno. */
static int rewrite_pass_on(struct rewrite *rewrite)
{
	ssize_t ret = 1;

	while (rewrite->work.filled && ret > 0) {
		if (usp_pipe_begin_write(rewrite->made, 0) < 0)
			return -EPIPE;
		ret = rewrite_push(rewrite, rewrite->made, USP_MAX_RW_COUNT);
		usp_pipe_end_write(rewrite->made);
	}
	return ret < 0 ? (int)ret : 1;
}

static void *rewrite_main(void *arg)
{
	struct rewrite *rewrite = arg;
	int ret;

	if (rewrite->work.pieces)
		usp_pieces_start(rewrite->work.pieces, usp_sys_nr_processors());
	while ((ret = usp_rewrite_work_make(&rewrite->work, USP_SPLICE_NONBLOCK)) != 0) {
		if (atomic_load(&rewrite->work.must_quit))
			break;
		if (ret == -EAGAIN || ret == -EINTR)
			ret = ret == -EAGAIN ? rewrite_await(rewrite) : 0;
		else if (ret > 0)
			ret = rewrite_pass_on(rewrite);
		if (ret < 0)
			break;
	}
	atomic_store(&rewrite->result, ret);
	usp_pipe_close_write(rewrite->made);
	return NULL;
}

static int rewrite_start_thread(struct rewrite *rewrite)
{
	rewrite->quit_fd = usp_sys_eventfd();
	if (rewrite->quit_fd < 0)
		return rewrite->quit_fd;
	return usp_thread_start(&rewrite->thread, rewrite_main, rewrite);
}

/* Work in a thread from now on. Where there can be none, the caller's thread goes on. */
static void rewrite_try_thread(struct rewrite *rewrite)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = REWRITE_MADE_SLOTS, .slot_bytes = REWRITE_MADE_BYTES};

	rewrite->may_thread = false;
	if (usp_pipe_new(&params, &rewrite->made) < 0) {
		rewrite->made = NULL;
		return;
	}
	rewrite->process = usp_own_nr();
	rewrite->work.has_thread = true;
	if (rewrite_start_thread(rewrite) == 0)
		return;
	rewrite->work.has_thread = false;
	usp_sys_close(rewrite->quit_fd);
	rewrite->quit_fd = -1;
	usp_pipe_free(rewrite->made);
	rewrite->made = NULL;
}

static bool rewrite_is_foreign(const struct rewrite *rewrite)
{
	return rewrite->made && rewrite->process != usp_own_nr();
}

/* Tell whether the folio has nothing for the caller, and it is time for a thread. */
static bool rewrite_wants_thread(const struct rewrite *rewrite)
{
	const struct rewrite_work *work = &rewrite->work;

	return rewrite->may_thread && !work->filled && !work->is_done && !work->error &&
	       (rewrite->is_eager || work->seen > REWRITE_THREAD_BYTES);
}

/* --- The caller --------------------------------------------------------------------------------------------- */

/* Have something for the caller: 1 if the folio has bytes or there is a thread, 0 at the end, -EAGAIN or -errno. */
static int rewrite_prepare(struct rewrite *rewrite, unsigned flags)
{
	if (rewrite_is_foreign(rewrite))
		return -ESTALE;
	if (rewrite_wants_thread(rewrite))
		rewrite_try_thread(rewrite);
	if (rewrite->made || rewrite->given < rewrite->work.filled)
		return 1;
	return usp_rewrite_work_make(&rewrite->work, flags);
}

static const char *rewrite_reason(struct rewrite *rewrite)
{
	if (!rewrite->reason && !rewrite->made)
		rewrite->reason = usp_codec_any_found(rewrite->work.state);
	return rewrite->reason ? rewrite->reason : "decompressed";
}

static ssize_t rewrite_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct rewrite *rewrite = in->priv;
	ssize_t ret;

	(void)pos; /* a stream */
	flags = usp_file_blocks(in, flags) ? flags & ~USP_SPLICE_NONBLOCK : flags | USP_SPLICE_NONBLOCK;
	ret = rewrite_prepare(rewrite, flags);
	if (ret <= 0)
		return ret;
	if (rewrite->made) {
		ret = usp_pipe_pull(rewrite->made, pipe, len, flags);
		ret = ret ? ret : atomic_load(&rewrite->result);
	} else {
		ret = rewrite_push(rewrite, pipe, len);
	}
	if (ret > 0)
		usp_file_account(in, USP_READ, USP_REWRITTEN, (size_t)ret, rewrite_reason(rewrite));
	return ret;
}

/* The door waits, by poll_fd, as it does for every file. */
static ssize_t rewrite_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct rewrite *rewrite = in->priv;
	struct rewrite_work *work = &rewrite->work;
	ssize_t ret = to->count ? rewrite_prepare(rewrite, flags | USP_SPLICE_NONBLOCK) : 0;
	size_t len;

	(void)pos;
	if (ret <= 0)
		return ret;
	if (rewrite->made) {
		ret = usp_pipe_read(rewrite->made, to, flags | USP_SPLICE_NONBLOCK);
		return ret ? ret : atomic_load(&rewrite->result);
	}
	len = usp_min(to->count, work->filled - rewrite->given);
	usp_iter_copy_to(to, 0, work->folio->base + work->begun + rewrite->given, len);
	rewrite_give(rewrite, len);
	return (ssize_t)len;
}

static int rewrite_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct rewrite *rewrite = file->priv;

	*ret_events = POLLIN;
	if (rewrite_is_foreign(rewrite))
		return -EPERM;
	if (rewrite->made)
		return usp_pipe_data_fd(rewrite->made);
	return usp_rewrite_work_poll_fd(&rewrite->work, side, ret_events);
}

static int64_t rewrite_get_size(const struct usp_file *file)
{
	(void)file;
	return -EINVAL; /* only the codec knows, at the end */
}

/* --- Life --------------------------------------------------------------------------------------------------- */

/* End a thread that may still work, for nobody. */
static void rewrite_stop_thread(struct rewrite *rewrite)
{
	atomic_store(&rewrite->work.must_quit, true);
	usp_sys_eventfd_set(rewrite->quit_fd, true);
	usp_pipe_close_read(rewrite->made);
	pthread_join(rewrite->thread, NULL);
	usp_sys_close(rewrite->quit_fd);
	usp_pipe_free(rewrite->made);
}

static void rewrite_free(struct rewrite *rewrite)
{
	usp_rewrite_work_fini(&rewrite->work);
	usp_free(rewrite);
}

/* What a thread of the parent uses is not there in a child, or is in the middle of something: it is left alone. */
static int rewrite_release(struct usp_file *file)
{
	struct rewrite *rewrite = file->priv;
	bool is_foreign = rewrite_is_foreign(rewrite);

	if (rewrite->made && !is_foreign)
		rewrite_stop_thread(rewrite);
	if (is_foreign)
		usp_sys_close(rewrite->quit_fd);
	else
		rewrite_free(rewrite);
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops rewrite_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "rewrite",
	.read_iter = rewrite_read_iter,
	.splice_read = rewrite_splice_read,
	.release = rewrite_release,
	.poll_fd = rewrite_poll_fd,
	.get_size = rewrite_get_size,
};

/* Make a stage without its file: 0 or -ENOMEM, and what there is of it. */
static int rewrite_new(const struct usp_codec_side *codec, int level, const struct usp_transform_params *params,
		       struct rewrite **ret_rewrite)
{
	struct rewrite *rewrite = usp_alloc(sizeof(*rewrite));

	*ret_rewrite = rewrite;
	if (!rewrite)
		return -ENOMEM;
	rewrite->quit_fd = -1;
	rewrite->is_eager = params->flags & USP_TRANSFORM_THREAD;
	rewrite->may_thread =
		rewrite->is_eager || (!(params->flags & USP_TRANSFORM_INLINE) && usp_sys_nr_processors() > 1);
	return usp_rewrite_work_init(&rewrite->work, codec, level, params, rewrite->may_thread);
}

int usp_rewrite_open(const struct usp_codec_side *codec, int level, const char *reason, const char *name,
		     struct usp_file *below, const struct usp_transform_params *params, struct usp_file **ret_file)
{
	struct rewrite *rewrite;
	int ret = rewrite_new(codec, level, params, &rewrite);

	if (ret == 0)
		ret = usp_stack_new(&rewrite_ops, below, USP_READ, name, rewrite, ret_file);
	if (ret < 0) {
		if (rewrite)
			rewrite_free(rewrite);
		return ret;
	}
	rewrite->work.file = *ret_file;
	rewrite->reason = reason;
	(*ret_file)->traits &= ~(USP_FILE_SEEKABLE | USP_FILE_SHARED);
	return 0;
}

/* --- The transform ------------------------------------------------------------------------------------------ */

static int decompress_check(const char *options, const char **ret_why)
{
	*ret_why = "decompress has no options";
	return *options ? -EINVAL : 0;
}

static int decompress_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
			   struct usp_file **ret_file, const char **ret_why)
{
	(void)options, (void)ret_why;
	return usp_rewrite_open(&usp_codec_any_decoder, 0, NULL, "decompress", below, params, ret_file);
}

/* As usp_transform_failure, of this file alone. */
static bool rewrite_failure(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset)
{
	const struct rewrite *rewrite = file->ops == &rewrite_ops ? file->priv : NULL;

	if (!rewrite || (rewrite->made && atomic_load(&rewrite->result) >= 0) || !rewrite->work.error ||
	    !rewrite->work.why)
		return false;
	*ret_why = rewrite->work.why;
	*ret_offset = rewrite->work.seen;
	return true;
}

const struct usp_transform usp_decompress_transform = {
	.name = "decompress", .check = decompress_check, .open = decompress_open, .failure = rewrite_failure};
