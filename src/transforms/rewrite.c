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
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/thread.h"
#include "codec/codec.h"
#include "codec/split.h"
#include "pieces/pieces.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/stack.h"
#include "transforms/transforms.h"

#define REWRITE_FOLIO ((size_t)256 << 10)
#define REWRITE_PULL ((size_t)1 << 20)		   /* bytes of the source in hand */
#define REWRITE_MADE_SLOTS 8			   /* folios that wait for the caller */
#define REWRITE_THREAD_BYTES ((uint64_t)256 << 10) /* less is done before a thread has started */
#define REWRITE_PULLED_SLOTS 64
#define REWRITE_RETRY_NS 1000000 /* where there is nothing to wait for */

/* How the input goes from here on. */
enum rewrite_way {
	WAY_CHOOSE,  /* a frame may begin: look at its first bytes */
	WAY_PIECES,  /* in pieces, by several threads */
	WAY_LEAVING, /* as a stream: first what was taken for pieces */
	WAY_STREAM
};

/* What makes the bytes. It belongs to the caller's thread, or to the stage's own once there is one. */
struct rewrite_work {
	const struct usp_codec_side *codec;
	void *state;
	int level;
	bool has_length;
	int64_t left; /* bytes until the input ends, with has_length */
	struct usp_pipe *pulled;
	bool has_pulled_all, is_done;
	enum rewrite_way way;
	bool may_split;		   /* threads may share the work, if the format is such */
	struct usp_pieces *pieces; /* NULL until there is a format that can be split */
	bool has_units;		   /* pieces have made something */
	bool must_leave;	   /* go on as a stream when the pieces are done */
	bool has_cut_all;	   /* an encoder has its last piece */
	int below_error;	   /* of the file below, which comes again */
	size_t left_done;	   /* of what was taken for pieces: the stream has it */
	struct usp_folio *folio;
	size_t filled;	 /* bytes of the folio that are made */
	uint64_t seen;	 /* bytes of the input that the codec took */
	int error;	 /* what comes behind the bytes that were made, or 0 */
	const char *why; /* static, or NULL */
};

struct rewrite {
	struct rewrite_work work;
	struct usp_file *file; /* the stage itself */
	const char *reason;    /* for the account; static; NULL until a decoder knows the format */
	size_t given;	       /* bytes of the folio that were passed on, without a thread */
	bool may_thread;       /* a thread pays, and was not tried yet */
	bool is_eager;	       /* USP_TRANSFORM_THREAD */
	struct usp_pipe *made; /* from the thread; NULL without one */
	pthread_t thread;
	unsigned process; /* that made the thread */
	int quit_fd;	  /* an eventfd: the thread has to quit */
	atomic_bool must_quit;
	atomic_int result; /* of the thread: what comes when made has ended */
};

/* --- The codec ---------------------------------------------------------------------------------------------- */

/* Let the codec work into the folio. Threads that it makes block all signals: these go to the threads of the program. */
static int rewrite_run(struct rewrite_work *work, const unsigned char *in, size_t *len, bool is_end)
{
	struct usp_codec_io io = {.in = in,
				  .in_len = *len,
				  .out = work->folio->base + work->filled,
				  .out_len = REWRITE_FOLIO - work->filled,
				  .is_end = is_end,
				  .stops_behind = work->may_split && work->way == WAY_STREAM && !is_end};
	sigset_t old_mask;
	int ret;

	usp_sys_block_signals(&old_mask);
	ret = work->codec->run(work->state, &io, &work->why);
	usp_sys_restore_signals(&old_mask);
	*len -= io.in_len;
	work->seen += *len;
	work->filled = REWRITE_FOLIO - io.out_len;
	if (ret == USP_CODEC_BETWEEN)
		work->way = WAY_CHOOSE;
	return ret;
}

/* Give the codec the bytes of one buf, until the folio is full. */
static ssize_t rewrite_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct rewrite *rewrite = arg;
	int ret;

	(void)pipe;
	if (atomic_load_explicit(&rewrite->must_quit, memory_order_relaxed))
		return -ECANCELED;
	if (rewrite->work.filled == REWRITE_FOLIO || rewrite->work.way == WAY_CHOOSE)
		return 0;
	ret = rewrite_run(&rewrite->work, usp_buf_bytes(buf), &len, false);
	if (ret < 0)
		rewrite->work.error = ret;
	return ret < 0 ? ret : (ssize_t)len;
}

/* Let the codec take what was pulled: 0, -EAGAIN for bytes that come later, or -errno. */
static int rewrite_take(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	ssize_t ret;

	flags = work->filled ? flags | USP_SPLICE_NONBLOCK : flags;
	ret = usp_splice_from_pipe(work->pulled, USP_MAX_RW_COUNT, flags, rewrite_actor, rewrite);
	if (work->error)
		return work->error;
	if (ret == 0 && work->filled < REWRITE_FOLIO && work->way == WAY_STREAM && usp_pipe_len(work->pulled))
		return -EIO; /* confirm found that the bytes are gone */
	return ret < 0 ? (int)ret : 0;
}

/* Let the codec end: 0 or -errno. */
static int rewrite_end(struct rewrite_work *work)
{
	size_t before = work->filled, none = 0;
	int ret = rewrite_run(work, (const unsigned char *)"", &none, true);

	work->is_done = ret == USP_CODEC_DONE;
	if (ret == 0 && work->filled == before)
		ret = -EIO; /* a codec that neither gives nor ends would be asked for ever */
	return ret < 0 ? ret : 0;
}

/* --- What is below ------------------------------------------------------------------------------------------ */

/* Pull bufs of the file below: 0, also at its end, -EAGAIN or -errno. Does not wait while there are bytes to pass on. */
static int rewrite_pull(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	size_t len = work->has_length ? usp_min(REWRITE_PULL, (size_t)work->left) : REWRITE_PULL;
	struct usp_file *file = rewrite->file;
	ssize_t ret = 0;

	if (work->below_error)
		return work->below_error;
	if (len && (work->filled || rewrite->made || (work->pieces && usp_pieces_can_go_on(work->pieces))) &&
	    !(usp_file_poll(file->below) & (POLLIN | POLLERR | POLLHUP | POLLNVAL)))
		return -EAGAIN;
	if (len)
		ret = usp_stack_pull(file, work->pulled, len, flags);
	work->has_pulled_all = ret == 0;
	work->left -= work->has_length && ret > 0 ? ret : 0;
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		work->below_error = (int)ret;
	return ret < 0 ? (int)ret : 0;
}

/* --- A stream ----------------------------------------------------------------------------------------------- */

/* Let the codec take what pieces have left, or go on behind it: 0 or -errno. */
static int rewrite_take_left(struct rewrite_work *work)
{
	size_t len;
	const unsigned char *in = usp_pieces_left(work->pieces, work->left_done, &len);
	int ret = 0;

	if (in)
		ret = rewrite_run(work, in, &len, false);
	else
		work->way = WAY_STREAM;
	work->left_done = len;
	return ret < 0 ? ret : 0;
}

/* Fill the folio: 0 when it is full, all is done, or a frame may begin; -EAGAIN or -errno. */
static int rewrite_fill(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	int ret = 0;

	if (!work->folio)
		work->folio = usp_folio_new(REWRITE_FOLIO);
	if (!work->folio)
		return -ENOMEM;
	while (ret == 0 && work->filled < REWRITE_FOLIO && !work->is_done && work->way != WAY_CHOOSE) {
		if (work->way == WAY_LEAVING)
			ret = rewrite_take_left(work);
		else if (usp_pipe_len(work->pulled))
			ret = rewrite_take(rewrite, flags);
		else if (work->has_pulled_all)
			ret = rewrite_end(work);
		else
			ret = rewrite_pull(rewrite, flags);
	}
	return ret;
}

/* --- Pieces ------------------------------------------------------------------------------------------------- */

/* Go on as a stream. */
static void rewrite_leave(struct rewrite_work *work)
{
	const struct usp_split_frame *frame = usp_pieces_frame(work->pieces);

	if (work->codec->resume && (work->has_units || frame->head_len))
		work->codec->resume(work->state, frame);
	work->way = WAY_LEAVING;
	work->must_leave = false;
	work->left_done = 0;
}

/* Wait for the next piece, and have its folio: 0 or -errno. */
static int rewrite_next(struct rewrite_work *work)
{
	struct usp_folio *folio = NULL;
	size_t len = 0, taken = 0;
	int ret = usp_pieces_next(work->pieces, &folio, &len, &taken, &work->why);

	if (ret == USP_PIECES_STREAM) {
		work->may_split = false;
		rewrite_leave(work);
		return 0;
	}
	work->seen += taken;
	if (folio) {
		if (work->folio)
			usp_folio_put(work->folio);
		work->has_units = true;
		work->folio = folio;
		work->filled = len;
	}
	work->error = ret < 0 ? ret : 0;
	return ret < 0 ? ret : 0;
}

/* Give the pieces the bytes of one buf, until there are enough. */
static ssize_t rewrite_feed_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct rewrite *rewrite = arg;
	struct rewrite_work *work = &rewrite->work;
	int ret;

	(void)pipe;
	if (atomic_load_explicit(&rewrite->must_quit, memory_order_relaxed))
		return -ECANCELED;
	if (work->must_leave || usp_pieces_is_full(work->pieces))
		return 0;
	ret = usp_pieces_feed(work->pieces, usp_buf_bytes(buf), &len);
	if (ret < 0)
		work->error = ret;
	if (ret == USP_PIECES_NEVER)
		work->may_split = false;
	work->must_leave = ret > 0;
	return ret < 0 ? ret : (ssize_t)len;
}

/* Let the pieces take what was pulled: 0, -EAGAIN for bytes that come later, or -errno. */
static int rewrite_feed(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	ssize_t ret;

	if (usp_pieces_has_some(work->pieces) || usp_pieces_can_go_on(work->pieces))
		flags |= USP_SPLICE_NONBLOCK;
	ret = usp_splice_from_pipe(work->pulled, USP_MAX_RW_COUNT, flags, rewrite_feed_actor, rewrite);
	if (work->error)
		return work->error;
	if (ret == 0 && !work->must_leave && !usp_pieces_is_full(work->pieces) && usp_pipe_len(work->pulled))
		return -EIO;
	return ret < 0 ? (int)ret : 0;
}
/* Let an encoder end: 0 or -errno. */
static int rewrite_end_pieces(struct rewrite_work *work)
{
	if (!work->has_cut_all) {
		work->has_cut_all = true;
		return usp_pieces_end(work->pieces);
	}
	if (usp_pieces_has_some(work->pieces))
		return rewrite_next(work);
	work->is_done = true;
	return 0;
}

/* There is no more input for now, or none at all: go on with what there is: 0, -EAGAIN or -errno. */
static int rewrite_drain(struct rewrite_work *work, int error)
{
	if (usp_pieces_has_some(work->pieces))
		return rewrite_next(work);
	if (usp_pieces_cut(work->pieces) < 0)
		return -ENOMEM;
	if (usp_pieces_has_some(work->pieces))
		return 0;
	if (work->codec->split && work->codec->split->is_encoder)
		return error;
	if (work->must_leave || error != -EAGAIN || usp_pieces_can_go_on(work->pieces))
		rewrite_leave(work);
	else
		return error;
	return 0;
}

/* Do the next step of the work in pieces: 0, also with a folio, -EAGAIN or -errno. */
static int rewrite_step(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	bool is_encoder = work->codec->split && work->codec->split->is_encoder;
	int ret = 0;

	if (usp_pieces_is_full(work->pieces))
		return rewrite_next(work);
	if (work->must_leave)
		return rewrite_drain(work, 0);
	if (usp_pipe_len(work->pulled))
		ret = rewrite_feed(rewrite, flags);
	else if (!work->has_pulled_all)
		ret = rewrite_pull(rewrite, flags);
	else
		return is_encoder ? rewrite_end_pieces(work) : rewrite_drain(work, 0);
	if (ret == 0 || ret == -EINTR || work->error)
		return ret;
	return rewrite_drain(work, ret);
}

/* Find how the input that begins with the bytes of a buf can be split. It takes none of them. */
static ssize_t rewrite_look_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	const struct usp_split **split = ((void **)arg)[0];

	(void)pipe;
	*split = usp_codec_any_split(((void **)arg)[1], usp_buf_bytes(buf), len);
	return 0;
}

/* Have something to look at, where a frame begins: 0, -EAGAIN or -errno. */
static int rewrite_look(struct rewrite *rewrite, unsigned flags, const struct usp_split **ret_split)
{
	struct rewrite_work *work = &rewrite->work;
	void *arg[] = {ret_split, work->state};
	int ret = 0;

	*ret_split = work->codec->split;
	if (work->codec != &usp_codec_any_decoder)
		return 0;
	while (ret == 0 && !usp_pipe_len(work->pulled) && !work->has_pulled_all)
		ret = rewrite_pull(rewrite, flags);
	if (ret == 0 && usp_pipe_len(work->pulled))
		ret = (int)usp_splice_from_pipe(work->pulled, USP_MAX_RW_COUNT, flags, rewrite_look_actor, arg);
	return ret;
}

/* Choose how the input goes on: 0, -EAGAIN or -errno. */
static int rewrite_choose(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	const struct usp_split *split = NULL;
	int ret = work->may_split ? rewrite_look(rewrite, flags, &split) : 0;

	if (ret < 0)
		return ret;
	work->way = WAY_STREAM;
	if (!split || !split->scan)
		return 0;
	if (!work->pieces) {
		work->pieces = usp_pieces_new(split, work->level);
		if (!work->pieces)
			return -ENOMEM;
		if (rewrite->made)
			usp_pieces_start(work->pieces, usp_sys_nr_processors());
	}
	work->way = WAY_PIECES;
	return 0;
}

/* --- The work ----------------------------------------------------------------------------------------------- */

/* Make the next folio: 1 with bytes in it, 0 at the end, -EAGAIN or -errno. An error waits until the bytes are gone. */
static int rewrite_make(struct rewrite *rewrite, unsigned flags)
{
	struct rewrite_work *work = &rewrite->work;
	int ret = 0;

	if (work->error || work->is_done)
		return work->error;
	while (ret == 0 && !work->filled && !work->is_done) {
		if (work->way == WAY_CHOOSE)
			ret = rewrite_choose(rewrite, flags);
		else if (work->way == WAY_PIECES)
			ret = rewrite_step(rewrite, flags);
		else
			ret = rewrite_fill(rewrite, flags);
	}
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		work->error = ret;
	return work->filled ? 1 : ret;
}

/* Note that len bytes of the folio were passed on. */
static void rewrite_give(struct rewrite *rewrite, size_t len)
{
	struct rewrite_work *work = &rewrite->work;

	rewrite->given += len;
	if (rewrite->given < work->filled)
		return;
	if (work->folio)
		usp_folio_put(work->folio);
	work->folio = NULL;
	rewrite->given = work->filled = 0;
}

/* Push references to the folio: bytes or -errno. */
static ssize_t rewrite_push(struct rewrite *rewrite, struct usp_pipe *pipe, size_t len)
{
	struct rewrite_work *work = &rewrite->work;
	size_t room, done = 0, limit = usp_pipe_slot_bytes(pipe);

	while (done < len && work->filled && usp_pipe_room(pipe, &room)) {
		struct usp_buf buf = {.ops = &usp_folio_buf_ops, .store = work->folio, .offset = rewrite->given};

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
		fds[1].fd = usp_file_poll_fd(rewrite->file->below, USP_READ, &fds[1].events);
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
	while ((ret = rewrite_make(rewrite, USP_SPLICE_NONBLOCK)) != 0) {
		if (atomic_load(&rewrite->must_quit))
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
		.size = sizeof(params), .nr_slots = REWRITE_MADE_SLOTS, .slot_bytes = REWRITE_FOLIO};

	rewrite->may_thread = false;
	if (usp_pipe_new(&params, &rewrite->made) < 0) {
		rewrite->made = NULL;
		return;
	}
	rewrite->process = usp_own_nr();
	if (rewrite_start_thread(rewrite) == 0)
		return;
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
	return rewrite_make(rewrite, flags);
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
	usp_iter_copy_to(to, 0, work->folio->base + rewrite->given, len);
	rewrite_give(rewrite, len);
	return (ssize_t)len;
}

static int rewrite_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct rewrite *rewrite = file->priv;
	struct rewrite_work *work = &rewrite->work;
	int fd;

	*ret_events = POLLIN;
	if (rewrite_is_foreign(rewrite))
		return -EPERM;
	if (rewrite->made)
		return usp_pipe_data_fd(rewrite->made);
	if (work->filled || work->is_done || work->error || work->has_pulled_all || work->way == WAY_LEAVING)
		return -EPERM;
	if (work->pieces && usp_pieces_can_go_on(work->pieces))
		return -EPERM;
	if (usp_pipe_is_late(work->pulled, &fd, ret_events))
		return fd;
	return usp_pipe_len(work->pulled) ? -EPERM : usp_file_poll_fd(file->below, side, ret_events);
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
	atomic_store(&rewrite->must_quit, true);
	usp_sys_eventfd_set(rewrite->quit_fd, true);
	usp_pipe_close_read(rewrite->made);
	pthread_join(rewrite->thread, NULL);
	usp_sys_close(rewrite->quit_fd);
	usp_pipe_free(rewrite->made);
}

static void rewrite_free(struct rewrite *rewrite)
{
	struct rewrite_work *work = &rewrite->work;

	if (work->state)
		work->codec->free(work->state);
	if (work->folio)
		usp_folio_put(work->folio);
	usp_pieces_free(work->pieces);
	usp_pipe_free(work->pulled);
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
	const struct usp_pipe_params pulled = {
		.size = sizeof(pulled), .nr_slots = REWRITE_PULLED_SLOTS, .slot_bytes = REWRITE_PULL};
	struct rewrite *rewrite = usp_alloc(sizeof(*rewrite));
	int ret;

	*ret_rewrite = rewrite;
	if (!rewrite)
		return -ENOMEM;
	rewrite->quit_fd = -1;
	rewrite->is_eager = params->flags & USP_TRANSFORM_THREAD;
	rewrite->may_thread =
		rewrite->is_eager || (!(params->flags & USP_TRANSFORM_INLINE) && usp_sys_nr_processors() > 1);
	rewrite->work.may_split = rewrite->may_thread;
	rewrite->work.level = level;
	rewrite->work.has_length = params->flags & USP_TRANSFORM_LENGTH;
	rewrite->work.left = params->length;
	rewrite->work.codec = codec;
	ret = usp_pipe_new(&pulled, &rewrite->work.pulled);
	if (ret < 0)
		return ret;
	rewrite->work.state = codec->open(level);
	return rewrite->work.state ? 0 : -ENOMEM;
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
	rewrite->file = *ret_file;
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
