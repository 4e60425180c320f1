/* SPDX-License-Identifier: MIT */
/* wait - what a pump waits for, how a run that blocks waits, and what wakes it. */
#include <errno.h>
#include <poll.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "pump/inside.h"
#include "splice/pipe.h"

#define WAIT_LOOK_NS 100000000 /* without a stop descriptor */
#define WAIT_NAP_NS 1000000    /* for a file that is not ready and cannot be polled */

int usp_pump_blocked(struct usp_file *file, unsigned side, struct usp_pump_wait *ret_wait)
{
	*ret_wait = (struct usp_pump_wait){.file = file, .side = side, .timeout_ns = -1};
	ret_wait->fd = usp_file_poll_fd(file, side, &ret_wait->events);
	if (ret_wait->fd < 0) {
		ret_wait->fd = -1;
		ret_wait->timeout_ns = WAIT_NAP_NS;
	}
	return -EAGAIN;
}

bool usp_pump_is_late(struct usp_pump *pump, struct usp_pipe *pipe, struct usp_pump_wait *ret_wait)
{
	struct usp_pump_wait wait = {.file = pump->source, .side = USP_READ, .timeout_ns = -1};

	if (!usp_pipe_is_late(pipe, &wait.fd, &wait.events))
		return false;
	*ret_wait = wait;
	return true;
}

int usp_pump_pause(struct usp_pump_wait *ret_wait, int64_t timeout_ns)
{
	*ret_wait = (struct usp_pump_wait){.fd = -1, .timeout_ns = timeout_ns};
	return -EAGAIN;
}

/* Call poll(2) for short times in a row, so that a stop without a descriptor is seen. */
static int wait_poll_in_parts(struct usp_pump *pump, struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns)
{
	int64_t part_ns;
	int ret;

	do {
		part_ns = timeout_ns < 0 || timeout_ns > WAIT_LOOK_NS ? WAIT_LOOK_NS : timeout_ns;
		ret = usp_sys_poll(fds, nr_fds, part_ns);
		timeout_ns -= timeout_ns < 0 ? 0 : part_ns;
	} while (ret == 0 && timeout_ns != 0 && !atomic_load(&pump->is_stopped));
	return ret;
}

/* Call poll(2) on the stop descriptor and the rest; 0 to look again, -ECANCELED, -ETIMEDOUT, or -errno. */
static int wait_poll(struct usp_pump *pump, struct pollfd *fds, unsigned nr_fds, int64_t timeout_ns)
{
	int stop_fd = atomic_load(&pump->waits.stop_fd), ret;

	fds[0] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
	ret = stop_fd < 0 ? wait_poll_in_parts(pump, fds, nr_fds, timeout_ns) : usp_sys_poll(fds, nr_fds, timeout_ns);
	if (atomic_load(&pump->is_stopped))
		return -ECANCELED;
	if (ret < 0)
		return ret == -EINTR ? 0 : ret; /* the caller looks again */
	return ret == 0 ? -ETIMEDOUT : 0;
}

int usp_pump_await_sink(struct usp_pump *pump, const struct usp_pump_wait *wait, int64_t timeout_ns)
{
	struct pollfd fds[2] = {[1] = {.fd = wait->fd, .events = wait->events}};
	bool must_nap = wait->fd < 0;
	int ret = wait_poll(pump, fds, usp_array_len(fds), must_nap ? wait->timeout_ns : timeout_ns);

	return ret == -ETIMEDOUT && must_nap ? 0 : ret;
}

/*
 * Take in the notices of zero-copy sends from the sinks that poll reported. Leave broken sinks out
 * of the next poll.
 */
static void wait_hear_sinks(struct usp_pump *pump, struct pollfd *fds)
{
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		if (fds[i].revents && usp_file_poll(pump->sinks[i].file) & (POLLERR | POLLHUP))
			fds[i].fd = -1;
	}
}

/*
 * Wait for the source, and meanwhile take in the notices of zero-copy sends: the source may be
 * waiting for the memory that they give back.
 */
static int wait_await(struct usp_pump *pump, const struct usp_pump_wait *wait)
{
	struct pollfd *fds = pump->waits.fds, *sinks = &fds[2];
	int ret;

	fds[1] = (struct pollfd){.fd = wait->fd, .events = wait->events};
	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		const struct usp_file *file = pump->sinks[i].file;

		sinks[i] = (struct pollfd){.fd = file->traits & USP_FILE_SOCKET ? file->fd : -1};
	}
	do {
		wait_hear_sinks(pump, sinks);
		ret = wait_poll(pump, fds, pump->nr_sinks + 2, wait->timeout_ns);
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
		return wait_await(pump, wait);
	ret = wait_poll(pump, fds, usp_array_len(fds), wait->timeout_ns);
	return ret == -ETIMEDOUT ? 0 : ret;
}

/*
 * Return the descriptor of a socket whose sends the kernel still reads from, or -1. A broken one is
 * left out: poll would report it again and again.
 */
static int wait_notice_fd(const struct usp_pump *pump, unsigned index)
{
	struct usp_file *file = pump->sinks[index].file;

	return file->traits & USP_FILE_SOCKET && !(usp_file_poll(file) & (POLLERR | POLLHUP)) ? file->fd : -1;
}

int usp_pump_await_any(struct usp_pump *pump)
{
	struct pollfd *sinks = &pump->waits.fds[1 + pump->waits.nr];
	int64_t timeout_ns = -1;
	int ret;

	for (unsigned i = 0; i < pump->waits.nr; i++) {
		const struct usp_pump_wait *wait = &pump->waits.told[i];

		pump->waits.fds[1 + i] = (struct pollfd){.fd = wait->fd, .events = wait->events};
		if (wait->timeout_ns >= 0 && (timeout_ns < 0 || wait->timeout_ns < timeout_ns))
			timeout_ns = wait->timeout_ns;
	}
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		sinks[i] = (struct pollfd){.fd = wait_notice_fd(pump, i)};
	ret = timeout_ns == 0 ? 0 : wait_poll(pump, pump->waits.fds, 1 + pump->waits.nr + pump->nr_sinks, timeout_ns);
	return ret == -ETIMEDOUT || ret == -ECANCELED ? 0 : ret; /* the next step sees what happened, also a stop */
}

/* --- Waking up ------------------------------------------------------------------------------------------- */

void usp_pump_hush(struct usp_pump *pump)
{
	int stop_fd = atomic_load(&pump->waits.stop_fd);

	if (stop_fd < 0)
		return;
	usp_sys_eventfd_set(stop_fd, false);
	if (atomic_load(&pump->is_stopped))
		usp_sys_eventfd_set(stop_fd, true);
}

/* Wake the source's thread, unless it has nothing more to give. Take that back if it finished meanwhile. */
void usp_pump_alarm(struct usp_pump *pump)
{
	int stop_fd = atomic_load(&pump->waits.stop_fd);

	if (stop_fd < 0 || atomic_load(&pump->waits.is_given))
		return;
	usp_sys_eventfd_set(stop_fd, true);
	if (atomic_load(&pump->waits.is_given))
		usp_pump_hush(pump);
}
