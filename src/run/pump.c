/* SPDX-License-Identifier: MIT */
/*
 * pump - one source to one or many sinks, until the end.
 *
 * Three ways, chosen by the planner and by what the two ends are:
 *
 *   file -> file        the kernel shares the extents or copies the range itself (copy_range)
 *   source -> sink      fill the pipe, drain the pipe, in the caller's thread
 *   source -> sinks     the caller's thread fills; a thread for each sink drains its own pipe (branch)
 *
 * The files are nonblocking while the pump has them. Every wait includes the stop descriptor, so a stop takes effect at
 * once, from any thread or a signal handler.
 */
#include "run/pump.h"

#include <errno.h>
#include <poll.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "run/copy_range.h"
#include "run/planner.h"
#include "splice/pipe.h"

/* Sizes by measurement, see bench/README.md: kernel pipes are best at their widest, copies where they stay in the cache. */
#define PUMP_KERNEL_STEP ((size_t)1 << 20)
#define PUMP_USER_STEP ((size_t)512 << 10)
#define PUMP_RANGE_STEP ((size_t)16 << 20)
#define PUMP_KERNEL_SLOTS 4
#define PUMP_USER_SLOTS 8
#define PUMP_NAP_NS 1000000 /* for a file that is not ready and has nothing to wait on */

/* --- Life ------------------------------------------------------------------------------------------- */

int usp_pump_new(struct usp_file *source, const struct usp_pump_params *params, struct usp_pump **ret_pump)
{
	struct usp_pump *pump;

	if (!(source->mode & USP_READ))
		return -EINVAL;
	pump = usp_alloc(sizeof(*pump));
	if (!pump)
		return -ENOMEM;
	pump->stop_fd = usp_sys_eventfd();
	if (pump->stop_fd < 0) {
		int ret = pump->stop_fd;

		usp_free(pump);
		return ret;
	}
	pump->params = params ? *params : (struct usp_pump_params){.count = -1};
	pump->source = usp_file_get(source);
	*ret_pump = pump;
	return 0;
}

int usp_pump_add_sink(struct usp_pump *pump, struct usp_file *sink)
{
	struct usp_branch *branches;

	if (!(sink->mode & USP_WRITE))
		return -EINVAL;
	branches = usp_alloc_array(pump->nr_branches + 1, sizeof(branches[0]));
	if (!branches)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_branches; i++)
		branches[i].sink = pump->branches[i].sink;
	branches[pump->nr_branches].sink = usp_file_get(sink);
	for (unsigned i = 0; i <= pump->nr_branches; i++)
		branches[i].pump = pump;
	usp_free(pump->branches);
	pump->branches = branches;
	pump->nr_branches++;
	return 0;
}

void usp_pump_free(struct usp_pump *pump)
{
	if (!pump)
		return;
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		struct usp_branch *branch = &pump->branches[i];

		if (branch->pipe != pump->pipe)
			usp_pipe_free(branch->pipe);
		usp_file_put(branch->sink);
	}
	usp_pipe_free(pump->pipe);
	usp_file_put(pump->source);
	usp_sys_close(pump->stop_fd);
	usp_free(pump->fds);
	usp_free(pump->branches);
	usp_free(pump);
}

void usp_pump_stop(struct usp_pump *pump)
{
	atomic_store(&pump->is_stopped, true);
	usp_sys_eventfd_set(pump->stop_fd, true);
}

int usp_pump_wait(struct usp_pump *pump, struct usp_file *file, unsigned side, int64_t timeout_ns)
{
	struct pollfd fds[2] = {{.fd = pump->stop_fd, .events = POLLIN}, {.fd = -1}};
	int ret;

	if (file) {
		fds[1].fd = usp_file_poll_fd(file, side, &fds[1].events);
		if (fds[1].fd < 0)
			timeout_ns = PUMP_NAP_NS;
	}
	ret = usp_sys_poll(fds, usp_array_len(fds), timeout_ns);
	if (atomic_load(&pump->is_stopped))
		return -ECANCELED;
	if (ret < 0)
		return ret == -EINTR ? 0 : ret; /* the caller looks again */
	return ret == 0 && (!file || fds[1].fd >= 0) ? -ETIMEDOUT : 0;
}

/* --- The source ------------------------------------------------------------------------------------ */

/* How much may be taken now: waits for the rate limit. 0 when count is reached, or -errno. */
static ssize_t pump_allowance(struct usp_pump *pump, size_t step)
{
	uint64_t taken = atomic_load(&pump->bytes), wait_ns = 0;
	size_t len = step;

	if (pump->params.count >= 0)
		len = usp_min(len, (size_t)((uint64_t)pump->params.count - taken));
	while (len) {
		size_t allowed = usp_rate_allow(&pump->rate, len, usp_sys_now_ns(), &wait_ns);
		int ret;

		if (atomic_load(&pump->is_stopped))
			return -ECANCELED;
		if (allowed)
			return (ssize_t)allowed;
		ret = usp_pump_wait(pump, NULL, 0, (int64_t)wait_ns);
		if (ret < 0 && ret != -ETIMEDOUT)
			return ret;
	}
	return 0;
}

static void pump_count(struct usp_pump *pump, ssize_t taken)
{
	if (taken <= 0)
		return;
	atomic_fetch_add(&pump->bytes, (uint64_t)taken);
	usp_rate_spend(&pump->rate, (size_t)taken);
}

static ssize_t pump_take(struct usp_pump *pump, size_t len)
{
	struct usp_pipe *from = usp_file_pipe(pump->source);
	ssize_t ret;

	if (from) {
		ret = usp_pipe_transfer(from, pump->pipe, len, USP_SPLICE_NONBLOCK, true);
		if (ret > 0)
			usp_file_account(pump->source, USP_READ, USP_BY_REFERENCE, (size_t)ret,
					 "references moved out of the pipe");
		return ret;
	}
	ret = usp_pipe_begin_write(pump->pipe, USP_SPLICE_NONBLOCK);
	if (ret < 0)
		return ret;
	ret = usp_file_splice_read(pump->source, &pump->source->pos, pump->pipe, len, USP_SPLICE_NONBLOCK);
	usp_pipe_end_write(pump->pipe);
	return ret;
}

/* Sinks that have something to say, which are those that the kernel has finished sends of. A broken one is left alone. */
static void pump_hear_sinks(struct usp_pump *pump, struct pollfd *fds)
{
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		if (fds[i].revents && usp_file_poll(pump->branches[i].sink) & (POLLERR | POLLHUP))
			fds[i].fd = -1;
	}
}

/*
 * Wait for the source, and take in meanwhile what the sinks say about zero-copy sends: the source may be waiting for the
 * very memory that they give back.
 */
static int pump_await_source(struct usp_pump *pump)
{
	struct pollfd *fds = pump->fds, *sinks = &fds[2];
	int64_t timeout_ns = -1;
	int ret = 0;

	fds[0] = (struct pollfd){.fd = pump->stop_fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = -1};
	fds[1].fd = usp_file_poll_fd(pump->source, USP_READ, &fds[1].events);
	if (fds[1].fd < 0)
		timeout_ns = PUMP_NAP_NS;
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		const struct usp_file *sink = pump->branches[i].sink;

		sinks[i] = (struct pollfd){.fd = sink->traits & USP_FILE_SOCKET ? sink->fd : -1};
	}
	do {
		pump_hear_sinks(pump, sinks);
		ret = usp_sys_poll(fds, pump->nr_branches + 2, timeout_ns);
	} while (ret > 0 && !fds[0].revents && !fds[1].revents);
	if (atomic_load(&pump->is_stopped))
		return -ECANCELED;
	return ret < 0 && ret != -EINTR ? ret : 0; /* the caller looks again */
}

/* Take one step's worth from the source into the pump's pipe, waiting for it: bytes, 0 at the end, or -errno. */
static ssize_t pump_source_step(struct usp_pump *pump)
{
	ssize_t allowed = pump_allowance(pump, pump->step_bytes), ret = allowed;

	while (allowed > 0) {
		ret = pump_take(pump, (size_t)allowed);
		if (ret != -EAGAIN && ret != -EINTR)
			break;
		ret = pump_await_source(pump);
		if (ret < 0)
			break;
	}
	pump_count(pump, ret);
	if (ret < 0 && ret != -ECANCELED)
		atomic_store(&pump->source_error, (int)ret);
	return ret;
}

/* --- One sink --------------------------------------------------------------------------------------- */

/* Empty the pipe into the only sink: 0, or its -errno. */
static int pump_drain(struct usp_branch *branch)
{
	size_t len;

	while ((len = usp_pipe_len(branch->pipe))) {
		ssize_t ret = usp_branch_step(branch, len, USP_SPLICE_NONBLOCK);

		if (ret <= 0)
			return ret < 0 ? (int)ret : -EIO; /* 0: confirm found that the bytes are gone */
	}
	return 0;
}

/* A source that the kernel refused to splice went on in memory: nothing comes to the sinks in kernel pipes any more. */
static void pump_follow_source(struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_branches && !pump->source->lane; i++)
		pump->branches[i].sink->lane = NULL;
}

static void pump_run_one(struct usp_pump *pump)
{
	struct usp_branch *branch = &pump->branches[0];
	ssize_t taken;
	int ret = 0;

	branch->pipe = pump->pipe;
	while ((taken = pump_source_step(pump)) > 0) {
		pump_follow_source(pump);
		ret = pump_drain(branch);
		if (ret < 0)
			break;
	}
	if (ret == 0 && taken == -ECANCELED)
		ret = -ECANCELED;
	usp_branch_finish(branch, ret);
}

/* --- Many sinks -------------------------------------------------------------------------------------- */

static int pump_start_branches(struct usp_pump *pump, const struct usp_pipe_params *params)
{
	int ret = 0;

	for (unsigned i = 0; i < pump->nr_branches && ret == 0; i++)
		ret = usp_branch_start(&pump->branches[i], params);
	return ret;
}

static int pump_run_many(struct usp_pump *pump, const struct usp_pipe_params *params)
{
	int ret = pump_start_branches(pump, params);

	if (ret < 0)
		usp_pump_stop(pump);
	while (ret == 0 && !atomic_load(&pump->has_failed) && pump_source_step(pump) > 0) {
		while (ret == 0 && usp_pipe_len(pump->pipe))
			ret = usp_pump_distribute(pump);
	}
	for (unsigned i = 0; i < pump->nr_branches; i++)
		usp_branch_join(&pump->branches[i]);
	pump_follow_source(pump);	/* not before: the lanes are the branches' own */
	return ret == -EPIPE ? 0 : ret; /* all branches have ended: each has its own error */
}

/* --- File to file ------------------------------------------------------------------------------------ */

static bool pump_may_range(const struct usp_pump *pump)
{
	const struct usp_file *sink = pump->branches[0].sink;

	return pump->nr_branches == 1 && pump->source->lane && sink->lane &&
	       usp_copy_range_is_possible(pump->source, sink);
}

/* The kernel shares the extents: true if that was all. */
static bool pump_clone(struct usp_pump *pump)
{
	uint64_t len = pump->params.count < 0 ? UINT64_MAX : (uint64_t)pump->params.count;
	ssize_t ret = usp_clone_range(pump->source, pump->branches[0].sink, len);

	if (ret <= 0)
		return false;
	pump_count(pump, ret);
	atomic_fetch_add(&pump->branches[0].bytes, (uint64_t)ret);
	return true;
}

/* copy_file_range does not say which side failed; a source that cannot be read at this place can be asked. */
static void pump_range_failed(struct usp_pump *pump, int error)
{
	struct usp_file *source = pump->source;
	unsigned char byte;
	ssize_t ret = error == -ECANCELED ? 0
					  : usp_sys_readv(source->fd, &(struct iovec){.iov_base = &byte, .iov_len = 1},
							  1, &source->pos);

	if (ret < 0)
		atomic_store(&pump->source_error, error);
	else
		atomic_store(&pump->branches[0].error, error);
}

/* False if the kernel will not do it at all; nothing has moved then. */
static bool pump_run_range(struct usp_pump *pump)
{
	bool has_begun = false;
	ssize_t ret;

	for (;;) {
		ret = pump_allowance(pump, PUMP_RANGE_STEP);
		if (ret <= 0)
			break;
		ret = usp_copy_range(pump->source, pump->branches[0].sink, (size_t)ret);
		if (ret <= 0 && !has_begun)
			return false;
		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			break;
		has_begun = true;
		pump_count(pump, ret);
		atomic_fetch_add(&pump->branches[0].bytes, (uint64_t)ret);
	}
	if (ret < 0)
		pump_range_failed(pump, (int)ret);
	return true;
}

/* --- The run ------------------------------------------------------------------------------------------ */

static int pump_plan(struct usp_pump *pump)
{
	struct usp_file **sinks = usp_alloc_array(pump->nr_branches, sizeof(sinks[0]));
	int ret;

	if (!sinks)
		return -ENOMEM;
	for (unsigned i = 0; i < pump->nr_branches; i++)
		sinks[i] = pump->branches[i].sink;
	ret = usp_plan_route(pump->source, sinks, pump->nr_branches, &pump->params);
	if (ret == 0 && pump_may_range(pump) && pump_clone(pump))
		ret = 1;
	else if (ret == 0 && pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY)
		ret = usp_plan_require(pump->source, sinks, pump->nr_branches);
	usp_free(sinks);
	return ret;
}

/* Nonblocking while the pump has them; what the caller had set comes back with unset. */
static void pump_set_nonblock(struct usp_pump *pump)
{
	pump->source_flags = atomic_fetch_or(&pump->source->flags, USP_NONBLOCK);
	for (unsigned i = 0; i < pump->nr_branches; i++)
		pump->branches[i].sink_flags = atomic_fetch_or(&pump->branches[i].sink->flags, USP_NONBLOCK);
}

static void pump_unset_nonblock(struct usp_pump *pump)
{
	for (unsigned i = pump->nr_branches; i-- > 0;) {
		if (!(pump->branches[i].sink_flags & USP_NONBLOCK))
			atomic_fetch_and(&pump->branches[i].sink->flags, ~USP_NONBLOCK);
	}
	if (!(pump->source_flags & USP_NONBLOCK))
		atomic_fetch_and(&pump->source->flags, ~USP_NONBLOCK);
}

static int pump_run_lanes(struct usp_pump *pump)
{
	bool is_kernel = pump->source->lane;
	struct usp_pipe_params params = {
		.nr_slots = is_kernel ? PUMP_KERNEL_SLOTS : PUMP_USER_SLOTS,
		.slot_bytes = is_kernel ? PUMP_KERNEL_STEP : PUMP_USER_STEP,
	};
	int ret = usp_pipe_new(&params, &pump->pipe);

	if (ret < 0)
		return ret;
	pump->fds = usp_alloc_array(pump->nr_branches + 2, sizeof(pump->fds[0]));
	if (!pump->fds)
		return -ENOMEM;
	pump->step_bytes = params.slot_bytes;
	pump_set_nonblock(pump);
	if (pump->nr_branches > 1)
		ret = pump_run_many(pump, &params);
	else
		pump_run_one(pump);
	pump_unset_nonblock(pump);
	return ret;
}

static int pump_result(const struct usp_pump *pump)
{
	int ret = atomic_load(&pump->source_error);

	for (unsigned i = 0; i < pump->nr_branches && ret == 0; i++)
		ret = atomic_load(&pump->branches[i].error);
	return atomic_load(&pump->is_stopped) ? -ECANCELED : ret;
}

int usp_pump_run(struct usp_pump *pump)
{
	int ret;

	if (!pump->nr_branches || atomic_load(&pump->is_done))
		return -EINVAL;
	usp_rate_init(&pump->rate, pump->params.rate, usp_sys_now_ns());
	ret = pump_plan(pump);
	if (ret < 0)
		return ret;
	if (ret == 0 && !(pump_may_range(pump) && pump_run_range(pump)))
		ret = pump_run_lanes(pump);
	atomic_store(&pump->is_done, true);
	return ret < 0 ? ret : pump_result(pump);
}

/* --- What it did --------------------------------------------------------------------------------------- */

void usp_pump_status(const struct usp_pump *pump, struct usp_pump_status *ret_status)
{
	*ret_status = (struct usp_pump_status){
		.bytes = atomic_load(&pump->bytes),
		.source_error = atomic_load(&pump->source_error),
		.nr_sinks = pump->nr_branches,
		.is_done = atomic_load(&pump->is_done),
	};
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		uint64_t stranded = atomic_load(&pump->branches[i].stranded);

		ret_status->stranded = stranded > ret_status->stranded ? stranded : ret_status->stranded;
	}
}

int usp_pump_sink_status(const struct usp_pump *pump, unsigned index, struct usp_sink_status *ret_status)
{
	const struct usp_branch *branch;

	if (index >= pump->nr_branches)
		return -EINVAL;
	branch = &pump->branches[index];
	*ret_status = (struct usp_sink_status){
		.spec = usp_file_spec(branch->sink),
		.bytes = atomic_load(&branch->bytes),
		.stranded = atomic_load(&branch->stranded),
		.error = atomic_load(&branch->error),
	};
	return 0;
}

void usp_pump_source_hop(const struct usp_pump *pump, struct usp_hop *ret_hop)
{
	usp_file_hop(pump->source, USP_READ, ret_hop);
}

int usp_pump_sink_hop(const struct usp_pump *pump, unsigned index, struct usp_hop *ret_hop)
{
	if (index >= pump->nr_branches)
		return -EINVAL;
	usp_file_hop(pump->branches[index].sink, USP_WRITE, ret_hop);
	return 0;
}

/*
 * A delivered byte counts as copied if either hop may have copied it. Hops go one way as a rule, and then this is exact;
 * where both went several ways it is the upper bound, because which bytes they were is not recorded.
 */
void usp_pump_total(const struct usp_pump *pump, struct usp_route_total *ret_total)
{
	struct usp_hop from, to;

	*ret_total = (struct usp_route_total){.copied = 0};
	usp_pump_source_hop(pump, &from);
	for (unsigned i = 0; i < pump->nr_branches; i++) {
		uint64_t left = atomic_load(&pump->branches[i].bytes);
		uint64_t copied, unknown;

		usp_pump_sink_hop(pump, i, &to);
		copied = usp_min(left, from.bytes[USP_COPIED] + to.bytes[USP_COPIED]);
		unknown = usp_min(left - copied, from.bytes[USP_UNKNOWN] + to.bytes[USP_UNKNOWN]);
		ret_total->copied += copied;
		ret_total->unknown += unknown;
		ret_total->by_reference += left - copied - unknown;
	}
}

const char *usp_pump_lane(const struct usp_pump *pump)
{
	bool is_kernel = pump->source->lane, is_mixed = false;

	for (unsigned i = 0; i < pump->nr_branches; i++)
		is_mixed |= !pump->branches[i].sink->lane == is_kernel;
	return is_mixed ? "mixed" : is_kernel ? "kernel" : "user";
}
