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

#include "base/compiler.h"
#include "base/sys.h"
#include "run/pump.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define BRANCH_SLOW_NS ((uint64_t)1000000000) /* when the caller did not say */
#define BRANCH_SETTLE_NS 1000000
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

int usp_branch_close(struct usp_branch *branch, int error)
{
	if (error == 0)
		error = atomic_load(&branch->give_error);
	if (branch->pipe)
		branch_strand(branch);
	/* A source that failed has no end: what is cut short must not look complete. */
	if (error == 0 && atomic_load(&branch->pump->source_error) == 0 && !branch->pump->is_last)
		error = usp_file_shutdown(branch->sink);
	return error;
}

void usp_branch_strand_all(struct usp_branch *branch)
{
	atomic_store(&branch->stranded, atomic_load(&branch->pump->bytes) - atomic_load(&branch->bytes));
}

/* A dead connection gives back at once what it had to send; then its own error is the one to tell. */
int usp_branch_settle(struct usp_branch *branch, int error)
{
	bool is_dead = error == -EPIPE || error == -ECONNRESET;
	int ret = 0;

	if ((error == 0 && branch->sink->traits & USP_FILE_SOCKET) || is_dead)
		ret = usp_file_sync(branch->sink);
	return ret == -EAGAIN || error == 0 ? ret : error;
}

int usp_branch_end(struct usp_branch *branch, int error, struct usp_pump_wait *ret_wait)
{
	int ret = usp_branch_settle(branch, error);

	if (ret == -EAGAIN && usp_branch_may_detach(branch) &&
	    usp_sys_now_ns() - branch->progress_ns > usp_branch_slow_ns(branch))
		ret = -ETIMEDOUT;
	if (ret == -EAGAIN && !atomic_load(&branch->pump->is_stopped)) {
		usp_pump_blocked(branch->sink, USP_WRITE, ret_wait);
		ret_wait->events = 0; /* errors only: that is where the notices come */
		ret_wait->timeout_ns = BRANCH_SETTLE_NS;
		return -EAGAIN;
	}
	usp_branch_note(branch, ret == -EAGAIN ? -ECANCELED : ret);
	return 0;
}

void usp_branch_note(struct usp_branch *branch, int error)
{
	bool is_detached = usp_branch_may_detach(branch) && error == -ETIMEDOUT;

	atomic_store(&branch->error, error);
	if (error < 0 && !is_detached && !(branch->pump->params.flags & USP_PUMP_CONTINUE_ON_ERROR))
		atomic_store(&branch->pump->has_failed, true);
}

/* --- The thread ---------------------------------------------------------------------------------- */

/* As usp_branch_write, and waits for the sink, and with flags 0 for the pipe as well. */
static ssize_t branch_step(struct usp_branch *branch, size_t len, unsigned flags)
{
	int64_t patience_ns = usp_branch_may_detach(branch) ? (int64_t)usp_branch_slow_ns(branch) : -1;
	ssize_t ret;

	for (;;) {
		if (atomic_load(&branch->pump->is_stopped))
			return -ECANCELED;
		if (atomic_load(&branch->must_leave))
			return -ETIMEDOUT;
		ret = usp_branch_write(branch, len, flags);
		if (ret != -EAGAIN && ret != -EINTR)
			return ret;
		ret = usp_pump_wait(branch->pump, branch->sink, USP_WRITE, patience_ns);
		if (ret < 0)
			return ret;
	}
}

static int branch_await_settled(struct usp_branch *branch, int error)
{
	uint64_t start = usp_sys_now_ns();
	int64_t nap_ns = BRANCH_NAP_MIN_NS;
	int ret, waited;

	while ((ret = usp_branch_settle(branch, error)) == -EAGAIN) {
		if (usp_branch_may_detach(branch) && usp_sys_now_ns() - start > usp_branch_slow_ns(branch))
			return -ETIMEDOUT;
		waited = usp_pump_wait(branch->pump, NULL, 0, nap_ns);
		if (waited < 0 && waited != -ETIMEDOUT)
			return error ? error : waited;
		if (nap_ns < BRANCH_NAP_MAX_NS)
			nap_ns *= 2;
	}
	return ret;
}

static void *branch_run(void *arg)
{
	struct usp_branch *branch = arg;
	ssize_t ret;
	int error;

	do
		ret = branch_step(branch, USP_MAX_RW_COUNT, 0);
	while (ret > 0);
	if (atomic_load(&branch->pump->is_stepped))
		return NULL;
	if (ret == 0 && usp_pipe_len(branch->pipe))
		ret = -EIO; /* confirm found that the bytes are gone */
	error = usp_branch_close(branch, (int)ret);
	usp_branch_note(branch, branch_await_settled(branch, error));
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
	while (ret == -ETIMEDOUT && !usp_branch_may_detach(branch));
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
