/* SPDX-License-Identifier: MIT */
/* source - the source's side of a pump: how much may be taken, taking it, and waiting. */
#include <errno.h>
#include <poll.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "pump/pump.h"
#include "splice/pipe.h"
#include "splice/sock.h"

#define SOURCE_LOOK_NS 100000000 /* without a descriptor that tells of a stop */
#define SOURCE_NAP_NS 1000000	 /* for a file that is not ready and has nothing to wait on */

/* --- Waiting --------------------------------------------------------------------------------------- */

int usp_pump_blocked(struct usp_file *file, unsigned side, struct usp_pump_wait *ret_wait)
{
	*ret_wait = (struct usp_pump_wait){.file = file, .side = side, .timeout_ns = -1};
	ret_wait->fd = usp_file_poll_fd(file, side, &ret_wait->events);
	if (ret_wait->fd < 0) {
		ret_wait->fd = -1;
		ret_wait->timeout_ns = SOURCE_NAP_NS;
	}
	return -EAGAIN;
}

int usp_pump_pause(struct usp_pump_wait *ret_wait, int64_t timeout_ns)
{
	*ret_wait = (struct usp_pump_wait){.fd = -1, .timeout_ns = timeout_ns};
	return -EAGAIN;
}

/* poll(2) for a part of the time after the other, so that a stop is seen that no descriptor tells of. */
static int source_poll_in_parts(struct usp_pump *pump, struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns)
{
	int64_t part_ns;
	int ret;

	do {
		part_ns = timeout_ns < 0 || timeout_ns > SOURCE_LOOK_NS ? SOURCE_LOOK_NS : timeout_ns;
		ret = usp_sys_poll(fds, nr_fds, part_ns);
		timeout_ns -= timeout_ns < 0 ? 0 : part_ns;
	} while (ret == 0 && timeout_ns != 0 && !atomic_load(&pump->is_stopped));
	return ret;
}

/* poll(2) on the stop descriptor and the rest; 0 to look again, -ECANCELED, -ETIMEDOUT, or -errno. */
static int source_poll(struct usp_pump *pump, struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns)
{
	int stop_fd = atomic_load(&pump->stop_fd), ret;

	fds[0] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
	ret = stop_fd < 0 ? source_poll_in_parts(pump, fds, nr_fds, timeout_ns) : usp_sys_poll(fds, nr_fds, timeout_ns);
	if (atomic_load(&pump->is_stopped))
		return -ECANCELED;
	if (ret < 0)
		return ret == -EINTR ? 0 : ret; /* the caller looks again */
	return ret == 0 ? -ETIMEDOUT : 0;
}

int usp_pump_wait(struct usp_pump *pump, struct usp_file *file, short more_events, int64_t timeout_ns)
{
	struct pollfd fds[2] = {{.fd = -1}};
	bool must_nap;
	int ret;

	fds[1].fd = usp_file_poll_fd(file, USP_WRITE, &fds[1].events);
	fds[1].events |= more_events;
	must_nap = fds[1].fd < 0;
	ret = source_poll(pump, fds, usp_array_len(fds), must_nap ? SOURCE_NAP_NS : timeout_ns);
	return ret == -ETIMEDOUT && must_nap ? 0 : ret;
}

/* Sinks that have something to say, which are those that the kernel has finished sends of. A broken one is left alone. */
static void source_hear_sinks(struct usp_pump *pump, struct pollfd *fds)
{
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		if (fds[i].revents && usp_file_poll(pump->sinks[i].file) & (POLLERR | POLLHUP))
			fds[i].fd = -1;
	}
}

/*
 * Wait for the source, and take in meanwhile what the sinks say about zero-copy sends: the source may be waiting for the
 * very memory that they give back.
 */
static int source_await(struct usp_pump *pump, const struct usp_pump_wait *wait)
{
	struct pollfd *fds = pump->fds, *sinks = &fds[2];
	int ret;

	fds[1] = (struct pollfd){.fd = wait->fd, .events = wait->events};
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		const struct usp_file *file = pump->sinks[i].file;

		sinks[i] = (struct pollfd){.fd = file->traits & USP_FILE_SOCKET ? file->fd : -1};
	}
	do {
		source_hear_sinks(pump, sinks);
		ret = source_poll(pump, fds, pump->nr_sinks + 2, wait->timeout_ns);
	} while (ret == 0 && !fds[1].revents && wait->timeout_ns < 0 && !atomic_load(&pump->has_failed));
	return ret == -ETIMEDOUT ? 0 : ret;
}

int usp_pump_await(struct usp_pump *pump, const struct usp_pump_wait *wait)
{
	struct pollfd fds[2] = {[1] = {.fd = wait->fd, .events = wait->events}};
	int ret;

	if (wait->timeout_ns == 0)
		return 0;
	if (wait->file && wait->side == USP_READ)
		return source_await(pump, wait);
	ret = source_poll(pump, fds, usp_array_len(fds), wait->timeout_ns);
	return ret == -ETIMEDOUT ? 0 : ret;
}

/* A socket whose sends the kernel still reads from; one that is broken would never be silent. */
static int source_notice_fd(const struct usp_pump *pump, unsigned index)
{
	struct usp_file *file = pump->sinks[index].file;

	return file->traits & USP_FILE_SOCKET && !(usp_file_poll(file) & (POLLERR | POLLHUP)) ? file->fd : -1;
}

int usp_pump_await_any(struct usp_pump *pump)
{
	struct pollfd *sinks = &pump->fds[1 + pump->nr_waits];
	int64_t timeout_ns = -1;
	int ret;

	for (unsigned i = 0; i < pump->nr_waits; i++) {
		const struct usp_pump_wait *wait = &pump->waits[i];

		pump->fds[1 + i] = (struct pollfd){.fd = wait->fd, .events = wait->events};
		if (wait->timeout_ns >= 0 && (timeout_ns < 0 || wait->timeout_ns < timeout_ns))
			timeout_ns = wait->timeout_ns;
	}
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		sinks[i] = (struct pollfd){.fd = source_notice_fd(pump, i)};
	ret = timeout_ns == 0 ? 0 : source_poll(pump, pump->fds, 1 + pump->nr_waits + pump->nr_sinks, timeout_ns);
	return ret == -ETIMEDOUT || ret == -ECANCELED ? 0 : ret; /* the next step sees what there is, a stop too */
}

/* --- How much --------------------------------------------------------------------------------------- */

ssize_t usp_pump_allowance(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait)
{
	uint64_t wait_ns = 0, now_ns;

	if (pump->params.count >= 0)
		len = usp_min(len, (size_t)((uint64_t)pump->params.count - atomic_load(&pump->bytes)));
	if (!len || (!pump->rate.per_second && !pump->shared_rate))
		return (ssize_t)len;
	now_ns = usp_sys_now_ns();
	len = usp_rate_allow(&pump->rate, len, now_ns, &wait_ns);
	if (len && pump->shared_rate)
		len = usp_shared_rate_allow(pump->shared_rate, len, now_ns, &wait_ns);
	return len ? (ssize_t)len : usp_pump_pause(ret_wait, (int64_t)wait_ns);
}

void usp_pump_count(struct usp_pump *pump, ssize_t taken)
{
	if (taken <= 0)
		return;
	atomic_fetch_add(&pump->bytes, (uint64_t)taken);
	usp_rate_spend(&pump->rate, (size_t)taken);
	if (pump->shared_rate)
		usp_shared_rate_spend(pump->shared_rate, (size_t)taken, usp_sys_now_ns());
}

/* --- Taking ------------------------------------------------------------------------------------------ */

static ssize_t source_move(struct usp_pump *pump, struct usp_pipe *from, size_t len)
{
	ssize_t ret = usp_pipe_transfer(from, pump->pipe, len, USP_SPLICE_NONBLOCK, true);

	if (ret > 0)
		usp_file_account(pump->source, USP_READ, USP_BY_REFERENCE, (size_t)ret,
				 "references moved out of the pipe");
	return ret;
}

static ssize_t source_read(struct usp_pump *pump, size_t len)
{
	struct usp_pipe *from = usp_file_pipe(pump->source);
	ssize_t ret;

	if (from)
		return source_move(pump, from, len);
	ret = usp_pipe_begin_write(pump->pipe, USP_SPLICE_NONBLOCK);
	if (ret < 0)
		return ret;
	ret = usp_file_splice_read(pump->source, &pump->source->pos, pump->pipe, len, USP_SPLICE_NONBLOCK);
	usp_pipe_end_write(pump->pipe);
	return ret;
}

static int source_blocked(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	atomic_store_explicit(&pump->source->is_drained, false, memory_order_relaxed);
	return usp_pump_blocked(pump->source, USP_READ, ret_wait);
}

ssize_t usp_pump_may_take(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait)
{
	ssize_t allowed = usp_pump_allowance(pump, len, ret_wait);

	if (allowed == 0)
		atomic_store(&pump->has_all, true);
	if (allowed > 0 && !pump->recheck && atomic_load_explicit(&pump->source->is_drained, memory_order_relaxed))
		return source_blocked(pump, ret_wait);
	return allowed;
}

ssize_t usp_pump_took(struct usp_pump *pump, ssize_t taken, struct usp_pump_wait *ret_wait)
{
	usp_pump_count(pump, taken);
	if (taken == 0)
		taken = usp_sock_end_error(pump->source);
	if (taken == -EAGAIN) {
		pump->recheck = false;
		return source_blocked(pump, ret_wait);
	}
	if (taken == 0)
		atomic_store(&pump->has_all, true);
	if (taken < 0 && taken != -EINTR)
		atomic_store(&pump->source_error, (int)taken);
	return taken;
}

ssize_t usp_pump_take(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	ssize_t allowed = usp_pump_may_take(pump, pump->step_bytes, ret_wait), taken;

	if (allowed <= 0)
		return allowed;
	do
		taken = source_read(pump, (size_t)allowed);
	while (taken == -EINTR && !atomic_load(&pump->is_stopped));
	return usp_pump_took(pump, taken, ret_wait);
}

void usp_pump_follow_source(struct usp_pump *pump)
{
	for (unsigned i = 0; i < pump->nr_sinks && !usp_pump_source_lane(pump); i++)
		usp_file_side(pump->sinks[i].file, USP_WRITE)->lane = NULL;
}
