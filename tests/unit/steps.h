/* SPDX-License-Identifier: MIT */
/* steps - event loops around usp_pump_step: one with poll(2), and one with epoll(7) that hears everything only once. */
#ifndef USP_TESTS_STEPS_H
#define USP_TESTS_STEPS_H

#include <sys/epoll.h>

#include "support.h"

#define STEPS_NS_PER_MS 1000000

/* The files of a pump; the loops take them from whoever made it. */
struct steps {
	struct usp_pump *pump;
	struct usp_file *source, *sink;
	unsigned nr_waits[2]; /* for the source, for the sink */
	unsigned nr_pauses;   /* for time alone */
};

/* -EAGAIN has to say for whom, on which side, and how to wait for that. */
static inline void steps_check_wait(struct steps *steps, const struct usp_pump_wait *wait)
{
	short events = 0;
	int fd;

	if (!wait->file) {
		assert_int_equal(wait->fd, -1);
		assert_true(wait->timeout_ns >= 0);
		steps->nr_pauses++;
		return;
	}
	assert_ptr_equal(wait->file, wait->side == USP_READ ? steps->source : steps->sink);
	fd = usp_file_poll_fd(wait->file, wait->side, &events);
	assert_int_equal(wait->fd, fd < 0 ? -1 : fd);
	assert_true(wait->fd >= 0 || wait->timeout_ns >= 0);
	assert_true(wait->events == 0 || wait->events == events ||
		    (wait->side == USP_WRITE &&
		     (wait->events | events) == (events | POLLIN))); /* its peer speaks, or has to end */
	steps->nr_waits[wait->side == USP_WRITE]++;
}

/* In milliseconds, rounded up. */
static inline int steps_timeout(const struct usp_pump_wait *wait)
{
	if (wait->timeout_ns < 0)
		return -1;
	return (int)((wait->timeout_ns + STEPS_NS_PER_MS - 1) / STEPS_NS_PER_MS);
}

/* Drive a pump to its end, wherever it waits: the result of the last step. */
static inline int steps_run(struct usp_pump *pump)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	int ret;

	while ((ret = usp_pump_step(pump, &wait)) == -EAGAIN) {
		struct pollfd pollfd = {.fd = wait.fd, .events = wait.events};

		assert_true(poll(&pollfd, 1, steps_timeout(&wait)) >= 0);
	}
	return ret;
}

static inline int steps_poll(struct steps *steps)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct pollfd pollfd;
	int ret;

	while ((ret = usp_pump_step(steps->pump, &wait)) == -EAGAIN) {
		steps_check_wait(steps, &wait);
		pollfd = (struct pollfd){.fd = wait.fd, .events = wait.events};
		assert_true(poll(&pollfd, 1, steps_timeout(&wait)) >= 0);
	}
	return ret;
}

static inline void steps_add(int epoll_fd, struct usp_file *file, unsigned side)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET, .data.u32 = side};
	short events;
	int fd = usp_file_poll_fd(file, side, &events);

	if (fd >= 0)
		assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
}

/* Wait for what a step said. News about anything else has come and gone then. */
static inline void steps_await_edge(struct steps *steps, int epoll_fd, const struct usp_pump_wait *wait)
{
	struct epoll_event event;
	int nr;

	do {
		nr = epoll_wait(epoll_fd, &event, 1, steps_timeout(wait));
		assert_true(nr >= 0);
		if (nr && event.data.u32 == USP_READ && event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLPRI))
			usp_pump_recheck(steps->pump);
	} while (nr && (!wait->file || event.data.u32 != wait->side ||
			!(event.events & ((unsigned)wait->events | EPOLLERR | EPOLLHUP))));
}

static inline int steps_epoll(struct steps *steps)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), ret;
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	assert_true(epoll_fd >= 0);
	steps_add(epoll_fd, steps->source, USP_READ);
	steps_add(epoll_fd, steps->sink, USP_WRITE);
	while ((ret = usp_pump_step(steps->pump, &wait)) == -EAGAIN) {
		steps_check_wait(steps, &wait);
		steps_await_edge(steps, epoll_fd, &wait);
	}
	close(epoll_fd);
	return ret;
}

#endif
