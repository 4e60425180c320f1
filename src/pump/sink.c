/* SPDX-License-Identifier: MIT */
/*
 * branch - one sink of a pump, and how one buf becomes a reference in every branch.
 *
 *   source -> [pump's pipe] --tee--> [branch pipe] -> sink      a thread
 *                           --tee--> [branch pipe] -> sink      a thread
 *                           --move-> [branch pipe] -> sink      a thread
 *
 * The slowest branch holds the others back by at most its pipe: the source waits until every live branch has a free slot. A
 * branch that ends closes its pipe for writing, so the source never waits for it again.
 */
#include <errno.h>
#include <poll.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "pump/pump.h"
#include "splice/file.h"
#include "splice/pipe.h"
#include "splice/sock.h"

#define BRANCH_SLOW_NS ((uint64_t)1000000000)	 /* when the caller did not say */
#define BRANCH_LINGER_NS ((uint64_t)30000000000) /* when the caller did not say */
#define BRANCH_SILENCE_NS ((uint64_t)1000000000)
#define BRANCH_NR_HEARD 64
#define BRANCH_NAP_MIN_NS 100000
#define BRANCH_NAP_MAX_NS 20000000

bool usp_branch_may_detach(const struct usp_branch *branch)
{
	return branch->pump->params.flags & USP_PUMP_DETACH_SLOW;
}

uint64_t usp_branch_slow_ns(const struct usp_branch *branch)
{
	uint64_t slow_ns = branch->pump->params.slow_ns;

	return slow_ns ? slow_ns : BRANCH_SLOW_NS;
}

/* --- Delivering ---------------------------------------------------------------------------------- */

/* Into a pipe of ours. The wait for room in it is not here but in the step, where a stop or a limit of patience ends it. */
static ssize_t branch_move(struct usp_branch *branch, struct usp_pipe *to, size_t len, unsigned flags)
{
	ssize_t ret = usp_pipe_begin_read(branch->pipe, flags);

	if (ret <= 0)
		return ret;
	usp_pipe_end_read(branch->pipe);
	ret = usp_pipe_transfer(branch->pipe, to, len, USP_SPLICE_NONBLOCK, true);
	if (ret > 0)
		usp_file_account(branch->sink, USP_WRITE, USP_BY_REFERENCE, (size_t)ret,
				 "references moved into the pipe");
	return ret;
}

ssize_t usp_branch_write(struct usp_branch *branch, size_t len, unsigned flags)
{
	struct usp_pipe *to = usp_file_pipe(branch->sink);
	ssize_t ret;

	if (to) {
		ret = branch_move(branch, to, len, flags);
	} else {
		len = usp_file_offer(branch->sink, len);
		ret = usp_file_splice_write(branch->pipe, branch->sink, &branch->sink->pos, len, flags);
	}
	if (ret > 0)
		atomic_fetch_add(&branch->bytes, (uint64_t)ret);
	return ret;
}

/*
 * The sink takes nothing now. Drop what its peer says meanwhile: one that answers would wait for us to read, and we for it. True if it
 * may say more. An error is told by the next write.
 */
static bool branch_overhear(struct usp_branch *branch)
{
	ssize_t ret = 1;

	if (branch->has_ended || !usp_sock_is_deaf(branch->sink))
		return false;
	for (unsigned i = 0; ret > 0 && i < BRANCH_NR_HEARD; i++) {
		ret = usp_sock_drop(branch->sink->fd);
		branch->was_heard |= ret > 0;
	}
	branch->has_ended = ret == 0;
	if (ret < 0)
		usp_file_progress(branch->sink, USP_WRITE, 1, ret);
	return ret > 0 || ret == -EAGAIN || ret == -EINTR;
}

int usp_branch_blocked(struct usp_branch *branch, struct usp_pump_wait *ret_wait)
{
	usp_pump_blocked(branch->sink, USP_WRITE, ret_wait);
	ret_wait->events |= branch_overhear(branch) ? POLLIN : 0;
	return -EAGAIN;
}

/* --- The end --------------------------------------------------------------------------------------- */

static void branch_drop(struct usp_pipe *pipe, size_t len)
{
	if (usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK) <= 0)
		return;
	usp_pipe_advance(pipe, len);
	usp_pipe_end_read(pipe);
}

/* What is in the pipe now is not delivered. It is dropped at once, because the source may be waiting for the memory. */
static void branch_strand(struct usp_branch *branch)
{
	size_t stranded;

	usp_pipe_close_read(branch->pipe);
	stranded = usp_pipe_len(branch->pipe);
	atomic_store(&branch->stranded, stranded + atomic_load(&branch->not_given));
	if (!(branch->pump->params.flags & USP_PUMP_KEEP_STRANDED))
		branch_drop(branch->pipe, stranded);
}

/*
 * Its peer must not take what came for all. A connection of ours is going to be reset, and what the peer has not acknowledged is
 * lost with it.
 */
static void branch_cut(struct usp_branch *branch)
{
	uint64_t lost = atomic_load(&branch->bytes);
	int unsent = usp_sock_unsent(branch->sink);

	branch->is_cut = true;
	if (unsent >= 0) /* or nobody knows */
		lost = usp_min(lost, unsent > branch->is_shut ? (size_t)(unsent - branch->is_shut) : 0);
	usp_file_abort(branch->sink);
	atomic_fetch_sub(&branch->bytes, lost);
	atomic_fetch_add(&branch->stranded, lost);
}

/* It has everything. The end of what others have, too, is not ours to tell. */
static int branch_shut(struct usp_branch *branch)
{
	int ret;

	if (branch->pump->is_last || branch->sink->traits & USP_FILE_SHARED)
		return 0;
	ret = usp_file_shutdown(branch->sink);
	branch->is_shut = ret == 0;
	atomic_store(&branch->progress_ns, usp_sys_now_ns()); /* from now on the peer is waited for */
	branch->is_awaiting = branch->is_shut && usp_sock_is_deaf(branch->sink);
	return ret;
}

void usp_branch_close(struct usp_branch *branch, int error)
{
	struct usp_pump *pump = branch->pump;
	bool is_whole;

	if (error == 0)
		error = atomic_load(&branch->give_error);
	if (branch->pipe)
		branch_strand(branch);
	is_whole = error == 0 && atomic_load(&pump->has_all) && atomic_load(&pump->source_error) == 0;
	if (is_whole)
		error = branch_shut(branch);
	if (error < 0 || !is_whole)
		branch_cut(branch);
	branch->close_error = error;
}

void usp_branch_strand_all(struct usp_branch *branch)
{
	atomic_store(&branch->stranded, atomic_load(&branch->pump->bytes) - atomic_load(&branch->bytes));
}

/* Take in what the peer still says. 0 when it has ended, and has got everything; -EAGAIN, or -errno. */
static int branch_hear(struct usp_branch *branch)
{
	ssize_t ret = branch->has_ended ? 0 : 1;
	int unsent;

	for (unsigned i = 0; ret > 0 && i < BRANCH_NR_HEARD; i++) {
		ret = usp_sock_drop(branch->sink->fd);
		if (ret <= 0)
			break;
		branch->was_heard = true;
		branch->nap_ns = 0;
	}
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		return (int)ret;
	branch->has_ended = ret == 0;
	unsent = usp_sock_unsent(branch->sink);
	return unsent == 0 && branch->has_ended ? 0 : unsent < 0 ? unsent : -EAGAIN;
}

/*
 * A dead connection gives back at once what it had to send; then its own error is the one to tell. One that is going to be reset does
 * when it is closed.
 */
static int branch_sync(struct usp_branch *branch)
{
	int error = branch->close_error, ret = 0;
	bool is_dead = error == -EPIPE || error == -ECONNRESET;

	if ((!branch->is_cut && branch->sink->traits & USP_FILE_SOCKET) || is_dead)
		ret = usp_file_sync(branch->sink);
	return ret == -EAGAIN || error == 0 ? ret : error;
}

static int branch_settle(struct usp_branch *branch)
{
	int heard = branch->is_awaiting ? branch_hear(branch) : 0, synced;

	if (heard < 0 && heard != -EAGAIN)
		return heard;
	synced = branch_sync(branch);
	return synced ? synced : heard;
}

void usp_branch_look(struct usp_branch *branch)
{
	if (branch->sink->traits & USP_FILE_SOCKET && usp_sock_was_taken_from(branch->sink->fd, &branch->backlog))
		atomic_store(&branch->progress_ns, usp_sys_now_ns());
}

static bool branch_is_slow(struct usp_branch *branch)
{
	usp_branch_look(branch);
	return usp_sys_now_ns() - atomic_load(&branch->progress_ns) >= usp_branch_slow_ns(branch);
}

/* Until when the end may take, if nothing moves. A peer that has everything and never said a word need not say it now. */
static uint64_t branch_deadline_ns(struct usp_branch *branch)
{
	const struct usp_pump_params *params = &branch->pump->params;
	uint64_t deadline_ns = UINT64_MAX, progress_ns;

	usp_branch_look(branch);
	progress_ns = atomic_load(&branch->progress_ns);
	if (usp_branch_may_detach(branch))
		deadline_ns = usp_earlier(deadline_ns, progress_ns, usp_branch_slow_ns(branch));
	if (!branch->is_awaiting)
		return deadline_ns;
	deadline_ns = usp_earlier(deadline_ns, branch->pump->begun_ns, params->total_ns);
	deadline_ns = usp_earlier(deadline_ns, progress_ns, params->idle_ns);
	deadline_ns = usp_earlier(deadline_ns, progress_ns, params->linger_ns ? params->linger_ns : BRANCH_LINGER_NS);
	if (!branch->was_heard && usp_sock_unsent(branch->sink) == 0)
		deadline_ns = usp_earlier(deadline_ns, progress_ns, BRANCH_SILENCE_NS);
	return deadline_ns;
}

/* Until the peer says something, or for a moment: what it acknowledges wakes nobody, and neither does the end of what is broken. */
static int branch_rest(struct usp_branch *branch, uint64_t left_ns, struct usp_pump_wait *ret_wait)
{
	bool is_loud = usp_file_poll(branch->sink) & (POLLERR | POLLHUP);
	bool is_told = branch->is_awaiting && !is_loud && usp_sock_unsent(branch->sink) == 0;

	branch->nap_ns =
		branch->nap_ns ? (int64_t)usp_min((size_t)(2 * branch->nap_ns), BRANCH_NAP_MAX_NS) : BRANCH_NAP_MIN_NS;
	if (is_loud)
		usp_pump_pause(ret_wait, 0);
	else
		usp_pump_blocked(branch->sink, USP_WRITE, ret_wait);
	ret_wait->events = branch->is_awaiting ? POLLIN : 0; /* and errors: that is where the notices come */
	ret_wait->timeout_ns = (int64_t)usp_min(is_told ? INT64_MAX : (size_t)branch->nap_ns, left_ns);
	return -EAGAIN;
}

/* The time for it is over. What the peer's system has is delivered, whatever the peer does with it. */
static int branch_judge(struct usp_branch *branch)
{
	if (branch->is_awaiting && usp_sock_unsent(branch->sink) == 0)
		return 0;
	return atomic_load(&branch->pump->is_stopped) ? -ECANCELED : -ETIMEDOUT;
}

int usp_branch_end(struct usp_branch *branch, struct usp_pump_wait *ret_wait)
{
	int ret = branch_settle(branch);

	if (ret == -EAGAIN) {
		uint64_t deadline_ns = branch_deadline_ns(branch), now_ns = usp_sys_now_ns();

		if (!atomic_load(&branch->pump->is_stopped) && now_ns < deadline_ns)
			return branch_rest(branch, deadline_ns - now_ns, ret_wait);
		ret = branch_judge(branch);
	}
	usp_branch_note(branch, ret);
	return 0;
}

void usp_branch_note(struct usp_branch *branch, int error)
{
	bool is_detached = usp_branch_may_detach(branch) && error == -ETIMEDOUT;

	if (error < 0 && !branch->is_cut)
		branch_cut(branch);
	atomic_store(&branch->error, error);
	if (error < 0 && !is_detached && !(branch->pump->params.flags & USP_PUMP_CONTINUE_ON_ERROR))
		atomic_store(&branch->pump->has_failed, true);
}

/* --- The thread ---------------------------------------------------------------------------------- */

/* As usp_branch_write, and waits for the sink, and with flags 0 for the pipe as well. */
static ssize_t branch_step(struct usp_branch *branch, size_t len, unsigned flags)
{
	int64_t patience_ns = usp_branch_may_detach(branch) ? (int64_t)usp_branch_slow_ns(branch) : -1;
	short events;
	ssize_t ret;

	for (;;) {
		if (atomic_load(&branch->pump->is_stopped))
			return -ECANCELED;
		if (atomic_load(&branch->must_leave))
			return -ETIMEDOUT;
		ret = usp_branch_write(branch, len, flags);
		if (ret != -EAGAIN && ret != -EINTR)
			return ret;
		if (usp_branch_may_detach(branch))
			usp_branch_look(branch);
		events = branch_overhear(branch) ? POLLIN : 0;
		ret = usp_pump_wait(branch->pump, branch->sink, events, patience_ns);
		if (ret < 0 && ret != -ETIMEDOUT)
			return ret;
		if ((ret < 0 || events) && usp_branch_may_detach(branch) && branch_is_slow(branch))
			return -ETIMEDOUT;
	}
}

static void branch_await_end(struct usp_branch *branch)
{
	struct usp_pump_wait wait;

	while (usp_branch_end(branch, &wait) == -EAGAIN) {
		int ret = usp_pump_await(branch->pump, &wait);

		if (ret < 0 && ret != -ECANCELED) {
			usp_branch_note(branch, branch->close_error ? branch->close_error : ret);
			return;
		}
	}
}

/* The source may be waiting for input that nobody needs any more. */
static void branch_alarm(struct usp_branch *branch)
{
	struct usp_pump *pump = branch->pump;
	int stop_fd = atomic_load(&pump->stop_fd);

	if (stop_fd < 0 || atomic_load(&pump->is_given))
		return;
	usp_sys_eventfd_set(stop_fd, true);
	if (atomic_load(&pump->is_given))
		usp_pump_hush(pump);
}

void usp_pump_hush(struct usp_pump *pump)
{
	int stop_fd = atomic_load(&pump->stop_fd);

	if (stop_fd < 0)
		return;
	usp_sys_eventfd_set(stop_fd, false);
	if (atomic_load(&pump->is_stopped))
		usp_sys_eventfd_set(stop_fd, true);
}

static void *branch_run(void *arg)
{
	struct usp_branch *branch = arg;
	ssize_t ret;

	do
		ret = branch_step(branch, USP_MAX_RW_COUNT, 0);
	while (ret > 0);
	if (atomic_load(&branch->pump->is_stepped))
		return NULL;
	if (ret == 0 && usp_pipe_len(branch->pipe))
		ret = -EIO; /* confirm found that the bytes are gone */
	usp_branch_close(branch, (int)ret);
	branch_await_end(branch);
	if (atomic_load(&branch->pump->has_failed))
		branch_alarm(branch);
	return NULL;
}

/* The thread takes no signals: they are for the threads that the program made itself. */
int usp_branch_start(struct usp_branch *branch, const struct usp_pipe_params *params)
{
	sigset_t old_mask;
	int ret = usp_pipe_new(params, &branch->pipe);

	if (ret < 0)
		return ret;
	usp_sys_block_signals(&old_mask);
	ret = -pthread_create(&branch->thread, NULL, branch_run, branch);
	usp_sys_restore_signals(&old_mask);
	branch->is_running = branch->is_live = ret == 0;
	return ret;
}

void usp_branch_dismiss(struct usp_branch *branch)
{
	if (branch->is_running) {
		usp_pipe_close_write(branch->pipe);
		pthread_join(branch->thread, NULL);
	}
	branch->is_running = branch->is_live = false;
	usp_pipe_free(branch->pipe);
	branch->pipe = NULL;
}

void usp_branch_join(struct usp_branch *branch)
{
	if (!branch->is_running)
		return;
	usp_pipe_close_write(branch->pipe);
	pthread_join(branch->thread, NULL);
	branch->is_running = false;
	if (atomic_load(&branch->error) == -ECANCELED)
		usp_branch_strand_all(branch);
}

/* --- Fan-out -------------------------------------------------------------------------------------- */

/* Wait for a free slot in a branch: true, or the branch has ended or must end because it is too slow. */
static bool branch_await_room(struct usp_branch *branch)
{
	uint64_t patience_ns = usp_branch_slow_ns(branch);
	int ret;

	do
		ret = usp_pipe_await_room(branch->pipe, patience_ns);
	while (ret == -ETIMEDOUT && !(usp_branch_may_detach(branch) && branch_is_slow(branch)));
	if (ret == -ETIMEDOUT)
		atomic_store(&branch->must_leave, true);
	return ret == 0;
}

/* The first buf's length, or 0. */
static size_t pump_first_len(struct usp_pipe *pipe)
{
	struct usp_buf buf;

	if (usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK) <= 0)
		return 0;
	usp_pipe_peek(pipe, &buf, 1);
	usp_pipe_end_read(pipe);
	return buf.len;
}

/* A kernel pipe that tee(2) could not double: its bytes go on in a folio, which can be shared. */
static int pump_map_first(struct usp_pipe *pipe)
{
	struct usp_buf buf;
	int ret = usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK);

	if (ret <= 0)
		return ret;
	usp_pipe_peek(pipe, &buf, 1);
	ret = usp_buf_is_mapped(&buf) ? -EFAULT : usp_buf_map(pipe, &buf);
	if (ret == 0)
		usp_pipe_set(pipe, 0, &buf);
	usp_pipe_end_read(pipe);
	return ret;
}

/* No reference can be had for a branch: it is as if its sink had failed, but what it was given before is delivered. */
static void branch_give_up(struct usp_branch *branch, int error)
{
	atomic_store(&branch->not_given, usp_pipe_len(branch->pump->pipe));
	atomic_store(&branch->give_error, error);
	usp_pipe_close_write(branch->pipe);
}

/* One branch's reference: the last branch takes the buf itself. 0, -EPIPE if the branch has ended, or -errno. */
static int pump_give(struct usp_pump *pump, struct usp_branch *branch, size_t len, bool is_last)
{
	ssize_t ret;
	int mapped = 0;

	do {
		ret = usp_pipe_transfer(pump->pipe, branch->pipe, len, USP_SPLICE_NONBLOCK, is_last);
		if (ret == -EFAULT)
			mapped = pump_map_first(pump->pipe);
	} while (ret == -EFAULT && mapped == 0);
	return ret == -EFAULT ? mapped : ret < 0 ? (int)ret : 0;
}

static unsigned pump_await_branches(struct usp_pump *pump)
{
	unsigned nr_live = 0;

	for (unsigned i = 0; i < pump->nr_branches; i++) {
		struct usp_branch *branch = &pump->branches[i];

		branch->is_live = branch->is_live && branch_await_room(branch);
		nr_live += branch->is_live;
	}
	return nr_live;
}

int usp_pump_distribute(struct usp_pump *pump)
{
	size_t len = pump_first_len(pump->pipe);
	unsigned nr_left = pump_await_branches(pump), nr_given = 0;
	bool was_moved = false;

	for (unsigned i = 0; i < pump->nr_branches && nr_left; i++) {
		struct usp_branch *branch = &pump->branches[i];
		int ret;

		if (!branch->is_live)
			continue;
		ret = pump_give(pump, branch, len, nr_left == 1);
		if (ret < 0 && ret != -EPIPE)
			branch_give_up(branch, ret);
		branch->is_live = ret == 0;
		was_moved = ret == 0 && nr_left == 1;
		nr_given += ret == 0;
		nr_left--;
	}
	if (!was_moved)
		branch_drop(pump->pipe, len);
	return nr_given ? 0 : -EPIPE;
}
