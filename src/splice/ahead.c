/* SPDX-License-Identifier: MIT */
/* ahead - the thread of a buffer: from below into the memory, and through the file. buffer.c has the drawing. */
#include "splice/ahead.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "splice/file.h"
#include "splice/sock.h"
#include "splice/stack.h"

#define AHEAD_RETRY_NS 1000000
#define AHEAD_FOLIO_PIECES 8 /* least in a folio, so that little is left over at its end */

static const char ahead_read_reason[] = "read into the memory of the buffer";

/* --- What both sides see. The lock is held ------------------------------------------------------------------- */

bool usp_ahead_has_some(const struct usp_ahead *ahead)
{
	return usp_pipe_len(ahead->front) || ahead->filled > ahead->given;
}

/* Tell the caller's descriptor whether there is something to get. */
static void ahead_tell(struct usp_ahead *ahead)
{
	bool is_ready = ahead->is_over || (ahead->level.is_giving && usp_ahead_has_some(ahead));

	if (ahead->ready_fd < 0 || is_ready == ahead->is_ready)
		return;
	usp_sys_eventfd_set(ahead->ready_fd, is_ready);
	ahead->is_ready = is_ready;
}

/* Return the bytes that still fit into the memory. */
size_t usp_ahead_room(const struct usp_ahead *ahead)
{
	uint64_t used = ahead->level.bytes - ahead->spilled;

	return used < ahead->memory ? ahead->memory - (size_t)used : 0;
}

void usp_ahead_lock(struct usp_ahead *ahead)
{
	pthread_mutex_lock(&ahead->lock);
}

void usp_ahead_unlock(struct usp_ahead *ahead)
{
	ahead_tell(ahead);
	pthread_mutex_unlock(&ahead->lock);
}

/* --- Into memory --------------------------------------------------------------------------------- */

/* Note that bytes came from below. */
static void ahead_add(struct usp_ahead *ahead, size_t len)
{
	atomic_store(&ahead->progress_ns, usp_sys_now_ns());
	ahead->left -= ahead->has_length ? (int64_t)len : 0;
	usp_level_add(&ahead->level, len);
}

/* Push what open has that the caller did not get, with the reference to it. Lock held, and a slot is free. */
static void ahead_seal(struct usp_ahead *ahead)
{
	struct usp_buf buf = {
		.ops = &usp_folio_buf_ops,
		.store = ahead->open,
		.offset = ahead->given,
		.len = ahead->filled - ahead->given,
		.priv = !ahead->packs,
	};

	if (!buf.len)
		return;
	usp_pipe_begin_write(ahead->front, USP_SPLICE_NONBLOCK); /* only this thread takes the turn */
	usp_pipe_push(ahead->front, &buf, 1);
	usp_pipe_end_write(ahead->front);
	ahead->open = NULL;
	ahead->given = ahead->filled = 0;
}

/*
 * Judge an error: -ENOBUFS if memory is short, and may not be when the caller has taken something of what is there. Then
 * the buffer is as good as full.
 */
static ssize_t ahead_judge(struct usp_ahead *ahead, ssize_t ret)
{
	bool has_some;

	usp_ahead_lock(ahead);
	has_some = usp_ahead_has_some(ahead);
	usp_ahead_unlock(ahead);
	return ret == -ENOMEM && has_some ? -ENOBUFS : ret;
}

/*
 * Return the least room for a read: a packet that does not fit would be cut, or refused. Nobody can see whether a pipe has
 * packets (O_DIRECT), but they are no longer than a page. A sequence changes what it says.
 */
static size_t ahead_piece(const struct usp_ahead *ahead)
{
	const struct usp_file *below = ahead->file->below;

	for (const struct usp_file *file = below; file; file = file->below) {
		if (file->traits & USP_FILE_DATAGRAM)
			return file->io_bytes;
	}
	return usp_file_has_pos(below) ? 1 : USP_PAGE;
}

/* Have room for so much in open: 0 or -ENOMEM. */
static int ahead_open_folio(struct usp_ahead *ahead, size_t piece)
{
	struct usp_folio *used = NULL, *fresh;

	if (ahead->open && ahead->open->len - ahead->filled >= piece)
		return 0;
	fresh = usp_pipe_reserve(ahead->front, 2) < 0
			? NULL
			: usp_folio_new(usp_max(ahead->folio_len, AHEAD_FOLIO_PIECES * piece));
	if (!fresh)
		return -ENOMEM;
	usp_ahead_lock(ahead);
	ahead_seal(ahead);
	used = ahead->open;
	ahead->open = fresh;
	ahead->given = ahead->filled = 0;
	usp_ahead_unlock(ahead);
	if (used)
		usp_folio_put(used);
	return 0;
}

/* Tell whether a read from below could wait, whatever the call says. */
static bool ahead_could_wait(struct usp_file *below)
{
	return usp_file_blocks(below, USP_SPLICE_NONBLOCK) &&
	       !(usp_file_poll(below) & (POLLIN | POLLERR | POLLHUP | POLLNVAL));
}

/* Read once from below into open: bytes, 0 at the end, or -errno. */
static ssize_t ahead_read_once(struct usp_ahead *ahead, size_t from, size_t len)
{
	struct usp_file *below = ahead->file->below;
	const struct iovec iov = {.iov_base = ahead->open->base + from, .iov_len = len};
	const struct usp_iter to = {.iov = &iov, .nr_segs = 1, .count = len};
	ssize_t ret =
		ahead_could_wait(below) ? -EAGAIN : usp_file_try_read_iter(below, &to, ahead->pos, USP_SPLICE_NONBLOCK);

	if (ret > 0)
		usp_file_account(below, USP_READ, USP_COPIED, (size_t)ret, ahead_read_reason);
	return ret ? ret : usp_sock_end_error(below);
}

/* Read from below until it has no more for now, or enough is there: bytes, 0 at the end, or -errno. */
static ssize_t ahead_read(struct usp_ahead *ahead, size_t len)
{
	size_t done = 0, piece = ahead_piece(ahead);
	ssize_t ret = ahead_open_folio(ahead, piece);

	if (ret < 0)
		return ret;
	len = usp_min(usp_min(len, usp_max(ahead->take_len, piece)), ahead->open->len - ahead->filled);
	do {
		ret = ahead_read_once(ahead, ahead->filled + done, len - done);
		done += ret > 0 ? (size_t)ret : 0;
	} while (ret > 0 && len - done >= piece);
	ret = usp_file_progress(ahead->file->below, USP_READ, done, ret);
	if (!done)
		return ret;
	usp_ahead_lock(ahead);
	ahead_add(ahead, done);
	ahead->filled += done;
	usp_ahead_unlock(ahead);
	return ret;
}

/* --- By reference -------------------------------------------------------------------------------- */

/* Pull from an offset of its own. */
static ssize_t ahead_pull_own(struct usp_ahead *ahead, size_t len)
{
	ssize_t ret = usp_pipe_begin_write(ahead->pulled, USP_SPLICE_NONBLOCK);

	if (ret < 0)
		return ret;
	ret = usp_file_splice_read(ahead->file->below, ahead->pos, ahead->pulled, len, USP_SPLICE_NONBLOCK);
	usp_pipe_end_write(ahead->pulled);
	return ret;
}

/* Pull bufs of the file below: bytes, 0 at the end, or -errno. */
static ssize_t ahead_pull(struct usp_ahead *ahead, size_t len)
{
	ssize_t ret = ahead_could_wait(ahead->file->below) ? -EAGAIN
		      : ahead->pos == &ahead->own_pos
			      ? ahead_pull_own(ahead, len)
			      : usp_stack_pull(ahead->file, ahead->pulled, len, USP_SPLICE_NONBLOCK);

	if (ret <= 0)
		return ret;
	usp_ahead_lock(ahead);
	ahead_add(ahead, (size_t)ret);
	usp_ahead_unlock(ahead);
	return ret;
}

/* Tell whether the file below gives kernel pipes, and front has not too many of them. */
static bool ahead_may_keep(struct usp_ahead *ahead)
{
	return ahead->nr_kpipes && usp_file_side(ahead->file->below, USP_READ)->lane &&
	       usp_pipe_nr_bufs(ahead->front) < ahead->nr_kpipes;
}

/* End the turn of pulled: what is in it can go on. */
static void ahead_let_go(struct usp_ahead *ahead)
{
	usp_pipe_end_write(ahead->pulled);
	usp_ahead_lock(ahead);
	ahead->keeps = false;
	usp_ahead_unlock(ahead);
}

/*
 * Pull into a kernel pipe, and keep it until it is full, or the caller has nothing else: a kernel pipe takes two
 * descriptors. Bytes, 0 at the end, or -errno.
 */
static ssize_t ahead_pull_kernel(struct usp_ahead *ahead, size_t len)
{
	struct usp_file *below = ahead->file->below;
	bool is_hungry;
	ssize_t ret;

	if (!ahead->keeps)
		usp_pipe_begin_write(ahead->pulled, USP_SPLICE_NONBLOCK);
	ret = ahead_could_wait(below)
		      ? -EAGAIN
		      : usp_file_splice_read(below, ahead->pos, ahead->pulled, usp_min(len, ahead->pull_len),
					     USP_SPLICE_NONBLOCK | USP_SPLICE_MORE);
	if (ret == 0)
		ret = usp_sock_end_error(below);
	usp_ahead_lock(ahead);
	if (ret > 0)
		ahead_add(ahead, (size_t)ret);
	ahead->keeps = true;
	is_hungry = ahead->level.is_giving && !usp_ahead_has_some(ahead);
	usp_ahead_unlock(ahead);
	if (is_hungry || (ret <= 0 && ret != -EAGAIN) || usp_pipe_nr_pushed(ahead->pulled) != 1)
		ahead_let_go(ahead);
	return ret;
}

/* Tell whether a buf takes more memory than its bytes, by far. */
static bool ahead_is_sparse(const struct usp_buf *buf)
{
	const struct usp_folio *folio = buf->store;

	if (buf->ops == &usp_folio_buf_ops || buf->ops == &usp_anon_buf_ops)
		return buf->len < folio->len / 2;
	return buf->len < USP_PAGE;
}

static ssize_t ahead_pack_actor(struct usp_pipe *pulled, struct usp_buf *buf, size_t len, void *arg)
{
	struct usp_ahead *ahead = arg;
	size_t room = ahead->open->len - ahead->filled;

	(void)pulled;
	len = usp_min(len, room);
	memcpy(ahead->open->base + ahead->filled, usp_buf_bytes(buf), len);
	usp_ahead_lock(ahead);
	ahead->filled += len;
	usp_ahead_unlock(ahead);
	return (ssize_t)len;
}

/* Copy the first buf of pulled into open: bytes, or -errno. */
static ssize_t ahead_pack(struct usp_ahead *ahead, size_t len)
{
	ssize_t ret = ahead_open_folio(ahead, 1);

	if (ret < 0)
		return ret;
	ret = usp_splice_from_pipe(ahead->pulled, usp_min(len, ahead->open->len - ahead->filled), USP_SPLICE_NONBLOCK,
				   ahead_pack_actor, ahead);
	return ret ? ret : -EIO; /* 0: confirm found that the bytes are gone */
}

/* Move the first buf of pulled to front as it is: bytes, or -errno. */
static ssize_t ahead_lend(struct usp_ahead *ahead, size_t len)
{
	ssize_t ret = usp_pipe_reserve(ahead->front, 2);

	if (ret < 0)
		return ret;
	usp_ahead_lock(ahead);
	ahead_seal(ahead);
	ret = usp_pipe_transfer(ahead->pulled, ahead->front, len, USP_SPLICE_NONBLOCK, true);
	usp_ahead_unlock(ahead);
	return ret;
}

/* Move the first buf of pulled into memory: bytes, or -errno. */
static ssize_t ahead_hold(struct usp_ahead *ahead)
{
	struct usp_buf first;
	ssize_t ret = usp_pipe_begin_read(ahead->pulled, USP_SPLICE_NONBLOCK);

	if (ret <= 0)
		return ret;
	usp_pipe_peek(ahead->pulled, &first, 1);
	usp_pipe_end_read(ahead->pulled);
	return ahead_is_sparse(&first) ? ahead_pack(ahead, first.len) : ahead_lend(ahead, first.len);
}

/* --- Through the file ---------------------------------------------------------------------------- */

static void ahead_note_spill(struct usp_ahead *ahead)
{
	struct usp_spill *spill = &ahead->spill;

	usp_ahead_lock(ahead);
	ahead->spilled = spill->len;
	ahead->most_spilled = usp_max(ahead->most_spilled, spill->len);
	if (spill->error && spill->error != ahead->spill_error) {
		ahead->spill_error = spill->error;
		usp_level_shrink(&ahead->level, ahead->memory + (spill->is_closed ? spill->len : spill->limit));
	}
	usp_ahead_unlock(ahead);
}

/* Write what was pulled to the file: bytes, 0 if that is full, or -errno. */
static ssize_t ahead_spill(struct usp_ahead *ahead)
{
	ssize_t ret = ahead->spill.file ? usp_spill_write(&ahead->spill, ahead->pulled) : 0;

	if (ahead->spill.file)
		ahead_note_spill(ahead);
	return ret;
}

/* Bring the next bytes of the file into memory: bytes, 0 if there is no room or nothing, or -errno. */
static ssize_t ahead_load(struct usp_ahead *ahead)
{
	struct usp_spill *spill = &ahead->spill;
	size_t want = usp_min(ahead->pull_len, spill->len), room;
	ssize_t ret;

	usp_ahead_lock(ahead);
	room = usp_ahead_has_some(ahead) ? usp_ahead_room(ahead)
					 : want; /* what was pulled waits for what is in the file */
	usp_ahead_unlock(ahead);
	if (!want || room < want)
		return 0;
	ret = usp_pipe_reserve(ahead->front, 2);
	if (ret < 0)
		return ahead_judge(ahead, ret) == -ENOBUFS ? 0 : ret;
	usp_ahead_lock(ahead);
	ahead_seal(ahead); /* it came before what is in the file */
	usp_ahead_unlock(ahead);
	usp_pipe_begin_write(ahead->front, USP_SPLICE_NONBLOCK);
	ret = usp_spill_read(spill, ahead->front, want);
	for (unsigned i = 0; i < usp_pipe_nr_pushed(ahead->front); i++) {
		struct usp_buf buf = usp_pipe_peek_pushed(ahead->front, i);

		buf.priv = true;
		usp_pipe_set_pushed(ahead->front, i, &buf);
	}
	usp_pipe_end_write(ahead->front);
	if (ret > 0)
		ahead_note_spill(ahead);
	ret = ahead_judge(ahead, ret);
	return ret == -ENOBUFS ? 0 : ret;
}

/* --- Steps ----------------------------------------------------------------------------------- */

/* The input has ended, or failed: the caller may have all that is there. */
static void ahead_end_input(struct usp_ahead *ahead, int error)
{
	ahead->has_ended = true;
	usp_ahead_lock(ahead);
	ahead->result = error;
	usp_level_end(&ahead->level);
	usp_ahead_unlock(ahead);
}

/* What is behind front cannot be had any more: drop it. */
static void ahead_lose(struct usp_ahead *ahead, int error)
{
	size_t lost = usp_pipe_len(ahead->pulled);

	usp_pipe_free(ahead->pulled);
	ahead->pulled = NULL;
	ahead_end_input(ahead, error);
	usp_ahead_lock(ahead);
	ahead->level.bytes -= lost + ahead->spill.len;
	ahead->spilled = ahead->spill.len = 0;
	ahead->is_over = true;
	usp_ahead_unlock(ahead);
}

/* Nothing more fits. */
static ssize_t ahead_be_full(struct usp_ahead *ahead)
{
	usp_ahead_lock(ahead);
	usp_level_fill_up(&ahead->level);
	usp_ahead_unlock(ahead);
	return -EAGAIN;
}

/* Take more from below: bytes, 0 at the end, or -errno. -EAGAIN if there is nothing, or it does not fit. */
static ssize_t ahead_take_some(struct usp_ahead *ahead)
{
	size_t len, piece = ahead_piece(ahead), pull_len = usp_max(ahead->pull_len, piece);
	bool is_direct = !ahead->spill.len, may_take;
	ssize_t ret;

	usp_ahead_lock(ahead);
	may_take = ahead->level.is_taking;
	len = is_direct ? usp_ahead_room(ahead) : 0;
	usp_ahead_unlock(ahead);
	if (ahead->has_length && !ahead->left)
		return 0;
	if (!may_take)
		return -EAGAIN;
	is_direct = len >=
		    (ahead->packs ? piece : pull_len); /* what is lent may be a part of a folio, and take all of it */
	if (!is_direct)
		len = ahead->spill.file && !ahead->spill.is_closed ? ahead->spill.limit - ahead->spill.len : 0;
	if (len < piece)
		return ahead_be_full(ahead);
	if (ahead->has_length)
		len = usp_min(len, (size_t)ahead->left);
	if (is_direct && ahead_may_keep(ahead))
		ret = ahead_pull_kernel(ahead, len);
	else if (ahead->keeps)
		return -EAGAIN; /* what is kept goes on first */
	else
		ret = is_direct && ahead->packs ? ahead_read(ahead, len) : ahead_pull(ahead, usp_min(len, pull_len));
	ahead->is_source = ret == -EAGAIN;
	ret = ahead_judge(ahead, ret);
	return ret == -ENOBUFS ? ahead_be_full(ahead) : ret;
}

/* The same. A kernel pipe is kept only while the source pauses, and the caller has something else. */
static ssize_t ahead_take(struct usp_ahead *ahead)
{
	ssize_t ret = ahead_take_some(ahead);

	if (!ahead->keeps || ret > 0 || ahead->is_source)
		return ret;
	ahead_let_go(ahead);
	return ret == -EAGAIN ? 1 : ret;
}

/* Move what was pulled on: bytes, or -EAGAIN, also if there is no room, or the -errno of what lies below. */
static ssize_t ahead_forward(struct usp_ahead *ahead)
{
	bool has_room;
	ssize_t ret = 0;

	usp_ahead_lock(ahead);
	has_room = ahead->level.bytes - ahead->spilled <= ahead->memory || !usp_ahead_has_some(ahead);
	usp_ahead_unlock(ahead);
	if (!ahead->spill.len && has_room)
		ret = ahead_hold(ahead);
	else
		ret = ahead_spill(ahead);
	ahead->is_source = ret == -EAGAIN;
	ret = ahead_judge(ahead, ret);
	return ret && ret != -ENOBUFS ? ret : ahead_be_full(ahead);
}

/* Do what can be done: 1, 0 when all is in front, or -EAGAIN. */
static int ahead_step(struct usp_ahead *ahead)
{
	ssize_t loaded, moved;

	usp_ahead_lock(ahead);
	ahead->seen = ahead->nr_taken;
	usp_ahead_unlock(ahead);
	ahead->is_source = false;
	loaded = ahead_load(ahead);
	if (loaded < 0 && loaded != -EINTR && loaded != -EAGAIN) {
		ahead_lose(ahead, (int)loaded);
		return 0;
	}
	if (usp_pipe_len(ahead->pulled)) {
		moved = ahead_forward(ahead);
		if (moved < 0 && moved != -EAGAIN && moved != -EINTR) {
			ahead_lose(ahead, (int)moved);
			return 0;
		}
	} else if (!ahead->has_ended) {
		moved = ahead_take(ahead);
		if (moved == 0 || (moved < 0 && moved != -EAGAIN && moved != -EINTR))
			ahead_end_input(ahead, (int)moved);
		moved = moved == -EAGAIN ? moved : 1;
	} else if (!ahead->spill.len) {
		return 0;
	} else {
		moved = -EAGAIN;
	}
	return loaded || moved != -EAGAIN ? 1 : -EAGAIN;
}

/* Wait until there is more, or the caller has taken something, or the thread has to quit. */
static void ahead_await(struct usp_ahead *ahead)
{
	struct pollfd fds[2] = {{.fd = ahead->wake_fd, .events = POLLIN}, {.fd = -1}};
	int64_t timeout_ns = -1;
	bool must_wait;

	if (ahead->is_source && !usp_pipe_is_late(ahead->pulled, &fds[1].fd, &fds[1].events)) {
		fds[1].fd = usp_file_poll_fd(ahead->file->below, USP_READ, &fds[1].events);
		timeout_ns = fds[1].fd < 0 ? AHEAD_RETRY_NS : -1;
	}
	usp_ahead_lock(ahead);
	must_wait = ahead->seen == ahead->nr_taken;
	ahead->must_wake = must_wait;
	usp_ahead_unlock(ahead);
	if (must_wait)
		usp_sys_poll(fds, usp_array_len(fds), timeout_ns);
	usp_ahead_lock(ahead);
	ahead->must_wake = false;
	if (!atomic_load(&ahead->must_quit) && fds[0].revents)
		usp_sys_eventfd_set(ahead->wake_fd, false);
	usp_ahead_unlock(ahead);
}

void *usp_ahead_run(void *arg)
{
	struct usp_ahead *ahead = arg;
	int ret = 1;

	while (!atomic_load(&ahead->must_quit)) {
		ret = ahead_step(ahead);
		if (ret == 0)
			break;
		if (ret == -EAGAIN)
			ahead_await(ahead);
	}
	usp_ahead_lock(ahead);
	ahead->is_over |= ret == 0;
	usp_ahead_unlock(ahead);
	return NULL;
}
