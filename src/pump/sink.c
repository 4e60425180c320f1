/* SPDX-License-Identifier: MIT */
/* sink - one destination of a pump: deliver what is in its pipe, then end. */
#include <errno.h>
#include <poll.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "base/wait.h"
#include "pump/inside.h"
#include "splice/file.h"
#include "splice/pipe.h"
#include "splice/sock.h"

#define SINK_SLOW_NS ((uint64_t)1000000000)    /* when the caller did not say */
#define SINK_LINGER_NS ((uint64_t)30000000000) /* when the caller did not say */
#define SINK_SILENCE_NS ((uint64_t)1000000000)
#define SINK_NR_HEARD 64
#define SINK_NAP_MIN_NS 100000
#define SINK_NAP_MAX_NS 20000000

bool usp_sink_may_detach(const struct usp_sink *sink)
{
	return sink->pump->params.flags & USP_PUMP_DETACH_SLOW;
}

uint64_t usp_sink_blocked_since_ns(const struct usp_sink *sink)
{
	return usp_max(atomic_load(&sink->progress_ns), atomic_load(&sink->late_ns));
}

uint64_t usp_sink_slow_ns(const struct usp_sink *sink)
{
	uint64_t slow_ns = sink->pump->params.slow_ns;

	return slow_ns ? slow_ns : SINK_SLOW_NS;
}

/* --- Delivering ------------------------------------------------------------------------------------------ */

/* Cut len to the first bufs that are all mapped or all not, and tell which. The caller holds the read turn. */
static bool sink_is_mapped(struct usp_pipe *pipe, size_t *len)
{
	struct usp_buf bufs[16];
	unsigned nr_bufs = usp_pipe_peek(pipe, bufs, usp_array_len(bufs));
	bool is_mapped = nr_bufs && bufs[0].flags & USP_BUF_MAPPED;
	size_t run = 0;

	for (unsigned i = 0; i < nr_bufs && is_mapped == !!(bufs[i].flags & USP_BUF_MAPPED); i++)
		run += bufs[i].len;
	*len = run ? usp_min(*len, run) : *len;
	return is_mapped;
}

/* Move references into a pipe of usplice: the end of the sink's pipe comes before a full pipe behind it. */
static ssize_t sink_move(struct usp_sink *sink, struct usp_pipe *to, size_t len)
{
	ssize_t ret = usp_pipe_begin_read(sink->pipe, USP_SPLICE_NONBLOCK);
	bool is_mapped;

	if (ret <= 0)
		return ret;
	is_mapped = sink_is_mapped(sink->pipe, &len);
	usp_pipe_end_read(sink->pipe);
	ret = usp_pipe_transfer(sink->pipe, to, len, USP_SPLICE_NONBLOCK, true);
	if (ret > 0)
		usp_file_account(sink->file, USP_WRITE, is_mapped ? USP_COPIED : USP_BY_REFERENCE, (size_t)ret,
				 is_mapped ? "bytes held by the kernel were read into a folio"
					   : "references moved into the pipe");
	return ret;
}

/*
 * Return the flags for the sink's hook. The bufs in the pipe are the pump's own, so the sink may keep those that have
 * no other owner: MOVE. The kernel gets no MOVE, but where a sink is made to take pages (USP_FILE_TAKES). It has no effect
 * elsewhere, except that the device of FUSE may take pages out of the page cache of the source.
 */
static unsigned sink_flags(const struct usp_sink *sink)
{
	return USP_SPLICE_NONBLOCK | (usp_file_side(sink->file, USP_WRITE)->lane ? 0 : USP_SPLICE_MOVE);
}

static ssize_t sink_try(struct usp_sink *sink, size_t len)
{
	struct usp_pipe *to = usp_file_pipe(sink->file);

	if (to)
		return sink_move(sink, to, len);
	len = usp_file_offer(sink->file, len);
	return usp_file_splice_write(sink->pipe, sink->file, &sink->file->pos, len, sink_flags(sink));
}

/*
 * After -EAGAIN: tell whether it came because the bytes of a buf are not there yet. References move into a
 * pipe without them.
 */
static bool sink_is_late(struct usp_sink *sink)
{
	struct usp_pump_wait wait;

	return !usp_file_pipe(sink->file) && usp_pump_is_late(sink->pump, sink->pipe, &wait);
}

/* Return why the next bytes of a sink's pipe will not come; 0 if they are there, or late. */
static int sink_find_failed(struct usp_pipe *pipe)
{
	struct usp_buf first;
	int error = 0;

	if (usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK) <= 0)
		return 0;
	if (usp_pipe_peek(pipe, &first, 1))
		error = usp_buf_confirm(pipe, &first, USP_SPLICE_NONBLOCK);
	usp_pipe_end_read(pipe);
	return error == -EAGAIN ? 0 : error;
}

/*
 * The bytes that come next will not come: the read of the source failed (error), or it is shorter than it
 * was (-ENODATA). End here, as if the source had said so before it gave them. A stage over the source has not
 * seen that end, and cannot judge what came before it: there it is an error. So it is where a sequence goes
 * on behind it.
 */
static void sink_cut_pump(struct usp_sink *sink, int error)
{
	struct usp_pump *pump = sink->pump;
	uint64_t end = atomic_load(&pump->end), here = atomic_load(&sink->bytes);

	while (here < end && !atomic_compare_exchange_weak(&pump->end, &end, here))
		;
	if (error != -ENODATA || pump->source->below || USP_FILE_HOOK(pump->source, next))
		atomic_store(&pump->source_error, error);
	atomic_store(&pump->has_all, true);
	usp_pipe_close_read(sink->pipe);
	usp_sink_discard(sink->pipe, usp_pipe_len(sink->pipe));
}

ssize_t usp_sink_write(struct usp_sink *sink, size_t len)
{
	ssize_t ret;
	int error;

	if (atomic_load(&sink->is_late)) {
		atomic_store(&sink->late_ns, usp_sys_now_ns());
		atomic_store(&sink->is_late, false);
	}
	ret = sink_try(sink, len);
	if (ret == -EAGAIN && usp_pipe_may_be_late(sink->pipe)) {
		atomic_store(&sink->is_late, sink_is_late(sink));
		if (!atomic_load(&sink->is_late))
			ret = sink_try(sink, len); /* they may have come meanwhile: now -EAGAIN is the sink's */
	}
	if (ret > 0)
		atomic_fetch_add(&sink->bytes, (uint64_t)ret);
	if (ret > 0)
		usp_drop_sink(sink);
	if (ret > 0 || ret == -EAGAIN || ret == -EINTR || usp_file_pipe(sink->file))
		return ret;
	error = sink_find_failed(sink->pipe);
	if (error == 0 || ret != (error == -ENODATA ? 0 : error))
		return ret;
	sink_cut_pump(sink, error);
	return 0;
}

/*
 * Drop what the peer of a blocked sink sends, an echo server, for example. A peer that answers would wait for us to read,
 * while we wait for it. True if it may send more. The next write reports an error.
 */
static bool sink_overhear(struct usp_sink *sink)
{
	ssize_t ret = 1;

	if (sink->has_ended || !usp_sock_is_deaf(sink->file))
		return false;
	for (unsigned i = 0; ret > 0 && i < SINK_NR_HEARD; i++) {
		ret = usp_sock_drop(sink->file->fd);
		sink->was_heard |= ret > 0;
	}
	sink->has_ended = ret == 0;
	if (ret < 0)
		usp_file_progress(sink->file, USP_WRITE, 1, ret);
	return ret > 0 || ret == -EAGAIN || ret == -EINTR;
}

int usp_sink_blocked(struct usp_sink *sink, struct usp_pump_wait *ret_wait)
{
	if (atomic_load(&sink->is_late))
		return usp_pump_is_late(sink->pump, sink->pipe, ret_wait) ? -EAGAIN : usp_pump_pause(ret_wait, 0);
	usp_pump_blocked(sink->file, USP_WRITE, ret_wait);
	ret_wait->events |= sink_overhear(sink) ? POLLIN : 0;
	return -EAGAIN;
}

/* --- The end --------------------------------------------------------------------------------------------- */

void usp_sink_discard(struct usp_pipe *pipe, size_t len)
{
	if (usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK) <= 0)
		return;
	usp_pipe_advance(pipe, len);
	usp_pipe_end_read(pipe);
}

/*
 * Count what is in the pipe now as stranded. Drop it at once unless it is to be kept, because the
 * source may be waiting for the memory.
 */
static void sink_strand(struct usp_sink *sink)
{
	size_t stranded;

	usp_pipe_close_read(sink->pipe);
	stranded = usp_pipe_len(sink->pipe);
	atomic_store(&sink->stranded, stranded + atomic_load(&sink->not_given));
	if (!(sink->pump->params.flags & USP_PUMP_KEEP_STRANDED))
		usp_sink_discard(sink->pipe, stranded);
}

/*
 * Keep the peer from taking what came for all. A connection that the caller alone has will be
 * reset; bytes that the peer has not acknowledged are lost then. What a file over a connection puts around the bytes
 * counts as lost, too: so nothing counts as delivered that was not.
 */
static void sink_cut(struct usp_sink *sink)
{
	uint64_t lost = atomic_load(&sink->bytes);
	int unsent = usp_sock_unsent(sink->file), end = sink->is_shut && !sink->file->below;

	sink->is_cut = true;
	if (unsent >= 0) /* negative: unknown */
		lost = usp_min(lost, unsent > end ? (size_t)(unsent - end) : 0);
	usp_file_abort(sink->file);
	atomic_fetch_sub(&sink->bytes, lost);
	atomic_fetch_add(&sink->stranded, lost);
}

/* Shut down a sink that has everything. A description that others share is not shut down. */
static int sink_shut(struct usp_sink *sink)
{
	int ret;

	if (sink->pump->closes_sink || sink->file->traits & USP_FILE_SHARED)
		return 0;
	ret = usp_file_shutdown(sink->file);
	sink->is_shut = ret == 0;
	atomic_store(&sink->progress_ns, usp_sys_now_ns()); /* from now on the peer is waited for */
	sink->is_awaiting = sink->is_shut && usp_sock_is_deaf(sink->file);
	return ret;
}

void usp_sink_close(struct usp_sink *sink, int error)
{
	struct usp_pump *pump = sink->pump;
	bool is_whole;

	if (error == 0)
		error = atomic_load(&sink->give_error);
	if (sink->pipe)
		sink_strand(sink);
	is_whole = error == 0 && atomic_load(&pump->has_all) && atomic_load(&pump->source_error) == 0;
	atomic_store(&sink->is_whole, is_whole);
	if (is_whole)
		error = sink_shut(sink);
	if (error < 0 || !is_whole)
		sink_cut(sink);
	sink->close_error = error;
}

void usp_sink_strand_all(struct usp_sink *sink)
{
	atomic_store(&sink->stranded, atomic_load(&sink->pump->bytes) - atomic_load(&sink->bytes));
}

/* Take in what the peer still sends: 0 when it has ended and has got everything, -EAGAIN, or -errno. */
static int sink_hear(struct usp_sink *sink)
{
	ssize_t ret = sink->has_ended ? 0 : 1;
	int unsent;

	for (unsigned i = 0; ret > 0 && i < SINK_NR_HEARD; i++) {
		ret = usp_sock_drop(sink->file->fd);
		if (ret <= 0)
			break;
		sink->was_heard = true;
		sink->nap_ns = 0;
	}
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		return (int)ret;
	sink->has_ended = ret == 0;
	unsent = usp_sock_unsent(sink->file);
	return unsent == 0 && sink->has_ended ? 0 : unsent < 0 ? unsent : -EAGAIN;
}

/*
 * Wait for zero-copy sends. A dead connection finishes them at once, and its own error is then the
 * one to report. A connection that will be reset finishes them when it is closed.
 */
static int sink_sync(struct usp_sink *sink)
{
	int error = sink->close_error, ret = 0;
	bool is_dead = error == -EPIPE || error == -ECONNRESET;

	if ((!sink->is_cut && sink->file->traits & USP_FILE_SOCKET) || is_dead)
		ret = usp_file_sync(sink->file);
	return ret == -EAGAIN || error == 0 ? ret : error;
}

static int sink_settle(struct usp_sink *sink)
{
	int heard = sink->is_awaiting ? sink_hear(sink) : 0, synced;

	if (heard < 0 && heard != -EAGAIN)
		return heard;
	synced = sink_sync(sink);
	return synced ? synced : heard;
}

void usp_sink_look(struct usp_sink *sink)
{
	if (sink->file->traits & USP_FILE_SOCKET && usp_sock_was_taken_from(sink->file->fd, &sink->backlog))
		atomic_store(&sink->progress_ns, usp_sys_now_ns());
}

bool usp_sink_is_slow(struct usp_sink *sink)
{
	usp_sink_look(sink);
	return !atomic_load(&sink->is_late) &&
	       usp_sys_now_ns() - usp_sink_blocked_since_ns(sink) >= usp_sink_slow_ns(sink);
}

/* Tell whether the sink waits for its peer to take bytes. A file over a connection is told the rest by its peer. */
static bool sink_lingers(const struct usp_sink *sink)
{
	return sink->is_awaiting || (sink->is_shut && sink->file->below && usp_sock_unsent(sink->file) > 0);
}

/*
 * Return the deadline of the end, if nothing moves. A peer that has everything and never sent a
 * byte gets only a short time.
 */
static uint64_t sink_deadline_ns(struct usp_sink *sink)
{
	const struct usp_pump_params *params = &sink->pump->params;
	uint64_t deadline_ns = UINT64_MAX, progress_ns;

	usp_sink_look(sink);
	progress_ns = atomic_load(&sink->progress_ns);
	if (usp_sink_may_detach(sink))
		deadline_ns = usp_earlier(deadline_ns, progress_ns, usp_sink_slow_ns(sink));
	deadline_ns = usp_earlier(deadline_ns, sink->pump->limits.begun_ns, params->total_ns);
	deadline_ns = usp_earlier(deadline_ns, progress_ns, params->idle_ns);
	if (!sink_lingers(sink))
		return deadline_ns;
	deadline_ns = usp_earlier(deadline_ns, progress_ns, params->linger_ns ? params->linger_ns : SINK_LINGER_NS);
	if (sink->is_awaiting && !sink->was_heard && usp_sock_unsent(sink->file) == 0)
		deadline_ns = usp_earlier(deadline_ns, progress_ns, SINK_SILENCE_NS);
	return deadline_ns;
}

/*
 * Wait until the peer sends something, or for a moment. Neither an acknowledgement nor the end of a
 * broken connection wakes a wait.
 */
static int sink_rest(struct usp_sink *sink, uint64_t left_ns, struct usp_pump_wait *ret_wait)
{
	bool is_loud = usp_file_poll(sink->file) & (POLLERR | POLLHUP);
	bool is_told = sink->is_awaiting && !is_loud && usp_sock_unsent(sink->file) == 0;

	sink->nap_ns = sink->nap_ns ? (int64_t)usp_min((size_t)(2 * sink->nap_ns), SINK_NAP_MAX_NS) : SINK_NAP_MIN_NS;
	if (is_loud)
		usp_pump_pause(ret_wait, 0);
	else
		usp_pump_blocked(sink->file, USP_WRITE, ret_wait);
	ret_wait->events = sink->is_awaiting ? POLLIN : 0; /* and errors, which announce notices */
	ret_wait->timeout_ns = (int64_t)usp_min(is_told ? INT64_MAX : (size_t)sink->nap_ns, left_ns);
	return -EAGAIN;
}

/*
 * Judge the sink when its time is over. Bytes that the peer's system has acknowledged count as
 * delivered, whatever the peer does with them.
 */
static int sink_judge(struct usp_sink *sink)
{
	if (sink->is_awaiting && usp_sock_unsent(sink->file) == 0)
		return 0;
	return atomic_load(&sink->pump->is_stopped) ? -ECANCELED : -ETIMEDOUT;
}

int usp_sink_end(struct usp_sink *sink, struct usp_pump_wait *ret_wait)
{
	int ret = sink_settle(sink);

	if (ret == -EAGAIN) {
		uint64_t deadline_ns = sink_deadline_ns(sink), now_ns = usp_sys_now_ns();

		if (!atomic_load(&sink->pump->is_stopped) && now_ns < deadline_ns)
			return sink_rest(sink, deadline_ns - now_ns, ret_wait);
		ret = sink_judge(sink);
	}
	usp_sink_note(sink, ret);
	return 0;
}

void usp_sink_note(struct usp_sink *sink, int error)
{
	bool is_detached = usp_sink_may_detach(sink) && error == -ETIMEDOUT;

	if (error < 0 && !sink->is_cut)
		sink_cut(sink);
	atomic_store(&sink->error, error);
	if (error < 0 && !is_detached && !(sink->pump->params.flags & USP_PUMP_CONTINUE_ON_ERROR))
		atomic_store(&sink->pump->has_failed, true);
}
