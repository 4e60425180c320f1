/* SPDX-License-Identifier: MIT */
/*
 * many - a pump with several sinks, as a machine of steps.
 *
 *   source -> [pump's pipe] --tee--> [branch pipe] -> sink
 *                           --move-> [branch pipe] -> sink
 *
 * What the threads of branch.c do at the same time is done in turns here, each as far as it goes without waiting: every branch drains
 * its pipe, and while all of them have room the source fills them. A step is over when nothing moves any more. It waits for each
 * sink that is full, and for the source if there is room for what that gives.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/sys.h"
#include "pump/pump.h"
#include "splice/pipe.h"

/* --- One branch --------------------------------------------------------------------------------------- */

static void many_close(struct usp_branch *branch, int error)
{
	branch->is_live = false;
	usp_branch_close(branch, error);
	branch->stage = USP_BRANCH_SETTLE;
}

/* Bytes, 0 at the end of the branch's pipe, or -errno. */
static ssize_t many_write(struct usp_branch *branch)
{
	ssize_t ret;

	do
		ret = usp_branch_write(branch, USP_MAX_RW_COUNT, USP_SPLICE_NONBLOCK);
	while (ret == -EINTR && !atomic_load(&branch->pump->is_stopped));
	return ret == 0 && usp_pipe_len(branch->pipe) ? -EIO : ret; /* confirm found that the bytes are gone */
}

static void many_drain(struct usp_branch *branch)
{
	ssize_t ret = many_write(branch);

	while (ret > 0) {
		branch->pump->progress_ns = usp_sys_now_ns();
		atomic_store(&branch->progress_ns, branch->pump->progress_ns);
		ret = many_write(branch);
	}
	if (ret != -EAGAIN) {
		many_close(branch, (int)ret);
	} else if (usp_pipe_len(branch->pipe)) {
		usp_branch_blocked(branch, &branch->wait);
		branch->is_waiting = true;
	}
}

/* As far as it goes. */
static void many_advance_branch(struct usp_branch *branch)
{
	branch->is_waiting = false;
	if (branch->stage == USP_BRANCH_OPEN)
		many_drain(branch);
	if (branch->stage == USP_BRANCH_SETTLE) {
		branch->is_waiting = usp_branch_end(branch, &branch->wait) == -EAGAIN;
		if (!branch->is_waiting)
			branch->stage = USP_BRANCH_DONE;
	}
}

/* --- The source ---------------------------------------------------------------------------------------- */

static void many_end_source(struct usp_pump *pump)
{
	pump->is_source_over = true;
	for (unsigned i = 0; i < pump->nr_branches; i++)
		usp_pipe_close_write(pump->branches[i].pipe);
}

/* Whoever still gets something can take it now. */
static bool many_has_room(const struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		if (pump->branches[i].is_live && usp_pipe_await_room(pump->branches[i].pipe, 0) < 0)
			return false;
	}
	return true;
}

/* Take one piece and give it to all: 1 if that changed something, 0 if not, -EAGAIN with *wait. */
static int many_fill(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	ssize_t taken;

	if (pump->is_source_over || !many_has_room(pump))
		return 0;
	if (!usp_pipe_len(pump->pipe)) {
		taken = atomic_load(&pump->has_failed) ? 0 : usp_pump_take(pump, wait);
		if (taken == -EAGAIN)
			return -EAGAIN;
		if (taken <= 0) {
			many_end_source(pump);
			return 1;
		}
		pump->progress_ns = usp_sys_now_ns();
		usp_pump_follow_source(pump);
	}
	if (usp_pump_distribute(pump) < 0)
		many_end_source(pump); /* nobody is left */
	return 1;
}

/* --- The machine ----------------------------------------------------------------------------------------- */

static bool many_is_done(const struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		if (pump->branches[i].stage != USP_BRANCH_DONE)
			return false;
	}
	return true;
}

/* In the middle of everything. */
static void many_cut(struct usp_pump *pump, int error)
{
	pump->is_source_over = true;
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		struct usp_branch *branch = &pump->branches[i];

		if (branch->stage != USP_BRANCH_OPEN)
			continue;
		many_close(branch, error);
		usp_branch_strand_all(branch);
	}
}

static void many_add_wait(struct usp_pump *pump, const struct usp_pump_wait *wait)
{
	pump->waits[pump->nr_waits++] = *wait;
}

/* What an open branch waits for, or its end because the time for that is over. */
static int many_check_branch(struct usp_branch *branch)
{
	int ret = branch->stage == USP_BRANCH_OPEN ? usp_pump_check_time(branch->pump, branch, &branch->wait) : -EAGAIN;

	if (ret == -EAGAIN)
		many_add_wait(branch->pump, &branch->wait);
	else
		many_close(branch, ret);
	return ret;
}

/* Note all that is waited for: false if the time for some of it is over, which changes things. */
static bool many_note_waits(struct usp_pump *pump, struct usp_pump_wait *source_wait)
{
	bool is_in_time = true;

	pump->nr_waits = 0;
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		if (pump->branches[i].is_waiting && many_check_branch(&pump->branches[i]) != -EAGAIN)
			is_in_time = false;
	}
	if (!source_wait)
		return is_in_time;
	if (usp_pump_check_time(pump, NULL, source_wait) == -ETIMEDOUT) {
		atomic_store(&pump->source_error, -ETIMEDOUT);
		many_end_source(pump);
		return false;
	}
	many_add_wait(pump, source_wait);
	return is_in_time;
}

/* Everything once: true if nothing is left to do. */
static bool many_advance_branches(struct usp_pump *pump)
{
	if (atomic_load(&pump->is_stopped))
		many_cut(pump, -ECANCELED);
	for (unsigned i = 0; i < pump->nr_branches; i++)
		many_advance_branch(&pump->branches[i]);
	return many_is_done(pump);
}

int usp_pump_advance_many(struct usp_pump *pump)
{
	uint64_t until = atomic_load(&pump->bytes) + USP_PUMP_BUDGET;
	struct usp_pump_wait source_wait;
	int filled;

	atomic_store_explicit(&pump->source->is_drained, false, memory_order_relaxed); /* as in a step with one sink */
	do {
		if (many_advance_branches(pump)) {
			pump->stage = USP_PUMP_DONE;
			return 0;
		}
		if (atomic_load(&pump->bytes) >= until) {
			pump->nr_waits = 1;
			return usp_pump_pause(pump->waits, 0);
		}
		filled = many_fill(pump, &source_wait);
	} while (filled > 0 || !many_note_waits(pump, filled == -EAGAIN ? &source_wait : NULL));
	return -EAGAIN;
}

void usp_pump_fail_many(struct usp_pump *pump, int error)
{
	atomic_store(&pump->source_error, error);
	many_cut(pump, 0);
}

int usp_pump_begin_many(struct usp_pump *pump, const struct usp_pipe_params *params)
{
	int ret = 0;

	pump->waits = usp_alloc_array(pump->nr_branches + 1, sizeof(pump->waits[0]));
	if (!pump->waits)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_branches && ret == 0; i++) {
		struct usp_branch *branch = &pump->branches[i];

		ret = usp_pipe_new(params, &branch->pipe);
		branch->is_live = ret == 0;
		branch->progress_ns = pump->begun_ns;
	}
	return ret;
}
