/* SPDX-License-Identifier: MIT */
/* rewrite_work - pull, run the codec, or cut into pieces and take what their threads make. */
#include "transforms/rewrite_work.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "codec/split.h"
#include "splice/file.h"
#include "splice/pipe.h"
#include "splice/stack.h"

#define REWRITE_PULL ((size_t)1 << 20) /* bytes of the source in hand */
#define REWRITE_PULLED_SLOTS 64

/* --- The codec ---------------------------------------------------------------------------------------------- */

static size_t work_window(const struct rewrite_work *work)
{
	return work->codec->window ? work->codec->window(work->state) : 0;
}

/* Return how much the codec may still make into the folio: 0 if it is full, or is no window for what comes. */
static size_t work_room(const struct rewrite_work *work)
{
	size_t window = work_window(work), room;

	if (!work->folio)
		return 0;
	room = usp_min(work->folio->len - work->begun, USP_REWRITE_FOLIO) - work->filled;
	if (window && (room < USP_CODEC_ROOM || work->folio->len < window + USP_CODEC_ROOM))
		return 0;
	return room;
}

static void work_put(struct usp_folio **folio)
{
	if (*folio)
		usp_folio_put(*folio);
	*folio = NULL;
}

/*
 * Have a folio with room, when all of the last one went on: 0 or -ENOMEM. The memory of a window goes on from folio to
 * folio, and the codec may read each of them until the next one is full.
 */
static int work_have_room(struct rewrite_work *work)
{
	size_t window = work_window(work);

	if (work->filled || work_room(work))
		return 0;
	work_put(&work->before);
	if (window)
		work->before = work->folio;
	else
		work_put(&work->folio);
	work->begun = 0;
	work->is_lent = window;
	work->folio = usp_folio_new(usp_max(USP_REWRITE_FOLIO, window ? window + USP_CODEC_ROOM : 0));
	return work->folio ? 0 : -ENOMEM;
}

/* Let the codec work into the folio. Threads that it makes block all signals: these go to the threads of the program. */
static int work_run(struct rewrite_work *work, const unsigned char *in, size_t *len, bool is_end)
{
	struct usp_codec_io io = {.in = in,
				  .in_len = *len,
				  .out = work->folio->base + work->begun + work->filled,
				  .out_len = work_room(work),
				  .is_end = is_end,
				  .keeps_window = true,
				  .stops_behind = work->may_split && work->way == WAY_STREAM && !is_end};
	size_t room = io.out_len;
	sigset_t old_mask;
	int ret;

	usp_sys_block_signals(&old_mask);
	ret = work->codec->run(work->state, &io, &work->why);
	usp_sys_restore_signals(&old_mask);
	*len -= io.in_len;
	work->seen += *len;
	work->filled += room - io.out_len;
	if (ret == USP_CODEC_BETWEEN)
		work->way = WAY_CHOOSE;
	return ret;
}

/* Give the codec the bytes of one buf, until the folio is full. */
static ssize_t work_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct rewrite_work *work = arg;
	int ret;

	(void)pipe;
	if (atomic_load_explicit(&work->must_quit, memory_order_relaxed))
		return -ECANCELED;
	if (!work_room(work) || work->way == WAY_CHOOSE)
		return 0;
	ret = work_run(work, usp_buf_bytes(buf), &len, false);
	if (ret < 0)
		work->error = ret;
	return ret < 0 ? ret : (ssize_t)len;
}

/* Let the codec take what was pulled: 0, -EAGAIN for bytes that come later, or -errno. */
static int work_take(struct rewrite_work *work, unsigned flags)
{
	ssize_t ret;

	flags = work->filled ? flags | USP_SPLICE_NONBLOCK : flags;
	ret = usp_splice_from_pipe(work->pulled, USP_MAX_RW_COUNT, flags, work_actor, work);
	if (work->error)
		return work->error;
	if (ret == 0 && work_room(work) && work->way == WAY_STREAM && usp_pipe_len(work->pulled))
		return -EIO; /* confirm found that the bytes are gone */
	return ret < 0 ? (int)ret : 0;
}

/* Let the codec end: 0 or -errno. */
static int work_end(struct rewrite_work *work)
{
	size_t before = work->filled, none = 0;
	int ret = work_run(work, (const unsigned char *)"", &none, true);

	work->is_done = ret == USP_CODEC_DONE;
	if (ret == 0 && work->filled == before)
		ret = -EIO; /* a codec that neither gives nor ends would be asked for ever */
	return ret < 0 ? ret : 0;
}

/* --- What is below ------------------------------------------------------------------------------------------ */

/* Pull bufs of the file below: 0, also at its end, -EAGAIN or -errno. Does not wait while there are bytes to pass on. */
static int work_pull(struct rewrite_work *work, unsigned flags)
{
	size_t len = work->has_length ? usp_min(REWRITE_PULL, (size_t)work->left) : REWRITE_PULL;
	struct usp_file *file = work->file;
	ssize_t ret = 0;

	if (work->below_error)
		return work->below_error;
	if (len && (work->filled || work->has_thread || (work->pieces && usp_pieces_can_go_on(work->pieces))) &&
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
static int work_take_left(struct rewrite_work *work)
{
	size_t len;
	const unsigned char *in = usp_pieces_left(work->pieces, work->left_done, &len);
	int ret = 0;

	if (in)
		ret = work_run(work, in, &len, false);
	else
		work->way = WAY_STREAM;
	work->left_done = len;
	return ret < 0 ? ret : 0;
}

/* Fill the folio: 0 when it is full or not good enough, all is done, or a frame may begin; -EAGAIN or -errno. */
static int work_fill(struct rewrite_work *work, unsigned flags)
{
	int ret = work_have_room(work);

	while (ret == 0 && work_room(work) && !work->is_done && work->way != WAY_CHOOSE) {
		if (work->way == WAY_LEAVING)
			ret = work_take_left(work);
		else if (usp_pipe_len(work->pulled))
			ret = work_take(work, flags);
		else if (work->has_pulled_all)
			ret = work_end(work);
		else
			ret = work_pull(work, flags);
	}
	return ret;
}

/* --- Pieces ------------------------------------------------------------------------------------------------- */

/* Go on as a stream. */
static void work_leave(struct rewrite_work *work)
{
	const struct usp_split_frame *frame = usp_pieces_frame(work->pieces);

	if (work->codec->resume && (work->has_units || frame->head_len))
		work->codec->resume(work->state, frame);
	work->way = WAY_LEAVING;
	work->must_leave = false;
	work->left_done = 0;
}

/* Wait for the next piece, and have its folio: 0 or -errno. */
static int work_next(struct rewrite_work *work)
{
	struct usp_folio *folio = NULL;
	size_t len = 0, taken = 0;
	int ret = usp_pieces_next(work->pieces, &folio, &len, &taken, &work->why);

	if (ret == USP_PIECES_STREAM) {
		work->may_split = false;
		work_leave(work);
		return 0;
	}
	work->seen += taken;
	if (folio) {
		work_put(&work->before);
		work_put(&work->folio);
		work->has_units = true;
		work->folio = folio;
		work->begun = 0;
		work->is_lent = false;
		work->filled = len;
	}
	work->error = ret < 0 ? ret : 0;
	return ret < 0 ? ret : 0;
}

/* Give the pieces the bytes of one buf, until there are enough. */
static ssize_t work_feed_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct rewrite_work *work = arg;
	int ret;

	(void)pipe;
	if (atomic_load_explicit(&work->must_quit, memory_order_relaxed))
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
static int work_feed(struct rewrite_work *work, unsigned flags)
{
	ssize_t ret;

	if (usp_pieces_has_some(work->pieces) || usp_pieces_can_go_on(work->pieces))
		flags |= USP_SPLICE_NONBLOCK;
	ret = usp_splice_from_pipe(work->pulled, USP_MAX_RW_COUNT, flags, work_feed_actor, work);
	if (work->error)
		return work->error;
	if (ret == 0 && !work->must_leave && !usp_pieces_is_full(work->pieces) && usp_pipe_len(work->pulled))
		return -EIO;
	return ret < 0 ? (int)ret : 0;
}

/* Let an encoder end: 0 or -errno. */
static int work_end_pieces(struct rewrite_work *work)
{
	if (!work->has_cut_all) {
		work->has_cut_all = true;
		return usp_pieces_end(work->pieces);
	}
	if (usp_pieces_has_some(work->pieces))
		return work_next(work);
	work->is_done = true;
	return 0;
}

/* There is no more input for now, or none at all: go on with what there is: 0, -EAGAIN or -errno. */
static int work_drain(struct rewrite_work *work, int error)
{
	if (usp_pieces_has_some(work->pieces))
		return work_next(work);
	if (usp_pieces_cut(work->pieces) < 0)
		return -ENOMEM;
	if (usp_pieces_has_some(work->pieces))
		return 0;
	if (work->codec->split && work->codec->split->is_encoder)
		return error;
	if (work->must_leave || error != -EAGAIN || usp_pieces_can_go_on(work->pieces))
		work_leave(work);
	else
		return error;
	return 0;
}

/* Do the next step of the work in pieces: 0, also with a folio, -EAGAIN or -errno. */
static int work_step(struct rewrite_work *work, unsigned flags)
{
	bool is_encoder = work->codec->split && work->codec->split->is_encoder;
	int ret = 0;

	if (usp_pieces_is_full(work->pieces))
		return work_next(work);
	if (work->must_leave)
		return work_drain(work, 0);
	if (usp_pipe_len(work->pulled))
		ret = work_feed(work, flags);
	else if (!work->has_pulled_all)
		ret = work_pull(work, flags);
	else
		return is_encoder ? work_end_pieces(work) : work_drain(work, 0);
	if (ret == 0 || ret == -EINTR || work->error)
		return ret;
	return work_drain(work, ret);
}

/* Find how the input that begins with the bytes of a buf can be split. It takes none of them. */
static ssize_t work_look_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	const struct usp_split **split = ((void **)arg)[0];

	(void)pipe;
	*split = usp_codec_any_split(((void **)arg)[1], usp_buf_bytes(buf), len);
	return 0;
}

/* Have something to look at, where a frame begins: 0, -EAGAIN or -errno. */
static int work_look(struct rewrite_work *work, unsigned flags, const struct usp_split **ret_split)
{
	void *arg[] = {ret_split, work->state};
	int ret = 0;

	*ret_split = work->codec->split;
	if (work->codec != &usp_codec_any_decoder)
		return 0;
	while (ret == 0 && !usp_pipe_len(work->pulled) && !work->has_pulled_all)
		ret = work_pull(work, flags);
	if (ret == 0 && usp_pipe_len(work->pulled))
		ret = (int)usp_splice_from_pipe(work->pulled, USP_MAX_RW_COUNT, flags, work_look_actor, arg);
	return ret;
}

/* Choose how the input goes on: 0, -EAGAIN or -errno. */
static int work_choose(struct rewrite_work *work, unsigned flags)
{
	const struct usp_split *split = NULL;
	int ret = work->may_split ? work_look(work, flags, &split) : 0;

	if (ret < 0)
		return ret;
	work->way = WAY_STREAM;
	if (!split || !split->scan)
		return 0;
	if (!work->pieces) {
		work->pieces = usp_pieces_new(split, work->level);
		if (!work->pieces)
			return -ENOMEM;
		if (work->has_thread)
			usp_pieces_start(work->pieces, usp_sys_nr_processors());
	}
	work->way = WAY_PIECES;
	return 0;
}

/* --- The work ----------------------------------------------------------------------------------------------- */

/* Make the next folio: 1 with bytes in it, 0 at the end, -EAGAIN or -errno. An error waits until the bytes are gone. */
int usp_rewrite_work_make(struct rewrite_work *work, unsigned flags)
{
	int ret = 0;

	if (work->error || work->is_done)
		return work->error;
	while (ret == 0 && !work->filled && !work->is_done) {
		if (work->way == WAY_CHOOSE)
			ret = work_choose(work, flags);
		else if (work->way == WAY_PIECES)
			ret = work_step(work, flags);
		else
			ret = work_fill(work, flags);
	}
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		work->error = ret;
	return work->filled ? 1 : ret;
}

/* --- For the stage ------------------------------------------------------------------------------------------ */

int usp_rewrite_work_init(struct rewrite_work *work, const struct usp_codec_side *codec, int level,
			  const struct usp_transform_params *params, bool may_split)
{
	const struct usp_pipe_params pulled = {
		.size = sizeof(pulled), .nr_slots = REWRITE_PULLED_SLOTS, .slot_bytes = REWRITE_PULL};
	int ret;

	work->may_split = may_split;
	work->level = level;
	work->has_length = params->flags & USP_TRANSFORM_LENGTH;
	work->left = params->length;
	work->codec = codec;
	ret = usp_pipe_new(&pulled, &work->pulled);
	if (ret < 0)
		return ret;
	work->state = codec->open(level);
	return work->state ? 0 : -ENOMEM;
}

void usp_rewrite_work_fini(struct rewrite_work *work)
{
	if (work->state)
		work->codec->free(work->state);
	work_put(&work->folio);
	work_put(&work->before);
	usp_pieces_free(work->pieces);
	usp_pipe_free(work->pulled);
}

void usp_rewrite_work_drop(struct rewrite_work *work)
{
	if (work_window(work)) {
		work->begun += work->filled;
	} else {
		work_put(&work->folio);
		work_put(&work->before);
		work->begun = 0;
	}
	work->filled = 0;
}

int usp_rewrite_work_poll_fd(struct rewrite_work *work, unsigned side, short *ret_events)
{
	int fd;

	*ret_events = POLLIN;
	if (work->filled || work->is_done || work->error || work->has_pulled_all || work->way == WAY_LEAVING)
		return -EPERM;
	if (work->pieces && usp_pieces_can_go_on(work->pieces))
		return -EPERM;
	if (usp_pipe_is_late(work->pulled, &fd, ret_events))
		return fd;
	return usp_pipe_len(work->pulled) ? -EPERM : usp_file_poll_fd(work->file->below, side, ret_events);
}
