/* SPDX-License-Identifier: MIT */
/*
 * loop - descriptors, timers and wake-ups of one thread, over epoll.
 *
 * One round: wait for events until the next timer. Call the watches whose descriptors are ready, then
 * the timers that are due. Then run the tasks that were deferred meanwhile. Timers sit in a binary
 * heap of pointers, the earliest at index 1. Each timer notes its index, so that it can be moved and
 * removed.
 */
#include "event/loop.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"

#define LOOP_EVENTS 256	   /* of one round */
#define LOOP_HEAP_FIRST 64 /* timers; doubles when that is not enough */

struct usp_loop {
	int epoll_fd, wake_fd;
	bool must_stop;
	uint64_t now_ns;
	struct usp_timer **heap; /* [1..nr_timers] */
	size_t nr_timers, heap_size;
	struct usp_task *first_task, **last_task;
	struct usp_watch wake_watch;
	void (*woken)(void *arg);
	void *woken_arg;
};

/* --- Timers --------------------------------------------------------------------------------------- */

static void heap_put(struct usp_loop *loop, size_t index, struct usp_timer *timer)
{
	loop->heap[index] = timer;
	timer->index = index;
}

/* Move the timer at index to where it belongs, first up and then down. */
static void heap_sift(struct usp_loop *loop, size_t index)
{
	struct usp_timer *timer = loop->heap[index];

	for (; index > 1 && loop->heap[index / 2]->when_ns > timer->when_ns; index /= 2)
		heap_put(loop, index, loop->heap[index / 2]);
	for (;;) {
		size_t child = index * 2;

		if (child + 1 <= loop->nr_timers && loop->heap[child + 1]->when_ns < loop->heap[child]->when_ns)
			child++;
		if (child > loop->nr_timers || loop->heap[child]->when_ns >= timer->when_ns)
			break;
		heap_put(loop, index, loop->heap[child]);
		index = child;
	}
	heap_put(loop, index, timer);
}

static int heap_grow(struct usp_loop *loop)
{
	size_t size = loop->heap_size ? loop->heap_size * 2 : LOOP_HEAP_FIRST;
	struct usp_timer **heap = usp_alloc_array(size, sizeof(heap[0]));

	if (!heap)
		return -ENOMEM;
	for (size_t i = 1; i <= loop->nr_timers; i++)
		heap[i] = loop->heap[i];
	usp_free(loop->heap);
	loop->heap = heap;
	loop->heap_size = size;
	return 0;
}

int usp_loop_arm(struct usp_loop *loop, struct usp_timer *timer, uint64_t when_ns)
{
	if (!timer->index) {
		if (loop->nr_timers + 1 >= loop->heap_size && heap_grow(loop) < 0)
			return -ENOMEM;
		heap_put(loop, ++loop->nr_timers, timer);
	}
	timer->when_ns = when_ns;
	heap_sift(loop, timer->index);
	return 0;
}

void usp_loop_disarm(struct usp_loop *loop, struct usp_timer *timer)
{
	size_t index = timer->index;

	if (!index)
		return;
	timer->index = 0;
	if (index == loop->nr_timers--)
		return;
	heap_put(loop, index, loop->heap[loop->nr_timers + 1]);
	heap_sift(loop, index);
}

static void loop_fire_timers(struct usp_loop *loop)
{
	while (loop->nr_timers && loop->heap[1]->when_ns <= loop->now_ns) {
		struct usp_timer *timer = loop->heap[1];

		usp_loop_disarm(loop, timer);
		timer->fired(timer);
	}
}

/* --- Tasks ---------------------------------------------------------------------------------------- */

void usp_loop_defer(struct usp_loop *loop, struct usp_task *task)
{
	if (task->is_queued)
		return;
	task->is_queued = true;
	task->next = NULL;
	*loop->last_task = task;
	loop->last_task = &task->next;
}

/* Run the queued tasks. Tasks that they queue wait for the next round, so that descriptors get their turn. */
static void loop_run_tasks(struct usp_loop *loop)
{
	struct usp_task *task = loop->first_task;

	loop->first_task = NULL;
	loop->last_task = &loop->first_task;
	while (task) {
		struct usp_task *next = task->next;

		task->is_queued = false;
		task->run(task);
		task = next;
	}
}

/* --- Descriptors ----------------------------------------------------------------------------------- */

static int loop_control(struct usp_loop *loop, int op, int fd, unsigned events, struct usp_watch *watch)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return usp_sys_epoll_ctl(loop->epoll_fd, op, fd, &event);
}

int usp_loop_watch(struct usp_loop *loop, int fd, unsigned events, struct usp_watch *watch)
{
	return loop_control(loop, EPOLL_CTL_ADD, fd, events, watch);
}

int usp_loop_change(struct usp_loop *loop, int fd, unsigned events, struct usp_watch *watch)
{
	return loop_control(loop, EPOLL_CTL_MOD, fd, events, watch);
}

void usp_loop_unwatch(struct usp_loop *loop, int fd)
{
	loop_control(loop, EPOLL_CTL_DEL, fd, 0, NULL);
}

/* --- Wake-ups -------------------------------------------------------------------------------------- */

static void loop_take_wake(struct usp_watch *watch, unsigned events)
{
	struct usp_loop *loop = usp_container_of(watch, struct usp_loop, wake_watch);

	(void)events;
	usp_sys_eventfd_set(loop->wake_fd, false);
	if (loop->woken)
		loop->woken(loop->woken_arg);
}

void usp_loop_on_wake(struct usp_loop *loop, void (*woken)(void *arg), void *arg)
{
	loop->woken = woken;
	loop->woken_arg = arg;
}

void usp_loop_wake(struct usp_loop *loop)
{
	usp_sys_eventfd_set(loop->wake_fd, true);
}

/* --- Life ------------------------------------------------------------------------------------------ */

int usp_loop_new(struct usp_loop **ret_loop)
{
	struct usp_loop *loop = usp_alloc(sizeof(*loop));
	int ret;

	if (!loop)
		return -ENOMEM;
	loop->last_task = &loop->first_task;
	loop->now_ns = usp_sys_now_ns();
	loop->wake_watch.ready = loop_take_wake;
	loop->wake_fd = usp_sys_eventfd();
	loop->epoll_fd = loop->wake_fd < 0 ? loop->wake_fd : usp_sys_epoll();
	ret = loop->epoll_fd;
	if (ret >= 0)
		ret = usp_loop_watch(loop, loop->wake_fd, EPOLLIN, &loop->wake_watch);
	if (ret < 0) {
		usp_loop_free(loop);
		return ret;
	}
	*ret_loop = loop;
	return 0;
}

void usp_loop_free(struct usp_loop *loop)
{
	if (!loop)
		return;
	if (loop->epoll_fd >= 0)
		usp_sys_close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		usp_sys_close(loop->wake_fd);
	usp_free(loop->heap);
	usp_free(loop);
}

uint64_t usp_loop_now(const struct usp_loop *loop)
{
	return loop->now_ns;
}

/* --- The round ------------------------------------------------------------------------------------- */

/* Compute how long to wait for events: 0 while tasks are queued or timers are due. */
static int64_t loop_patience(const struct usp_loop *loop)
{
	if (loop->first_task)
		return 0;
	if (!loop->nr_timers)
		return -1;
	return loop->heap[1]->when_ns <= loop->now_ns ? 0 : (int64_t)(loop->heap[1]->when_ns - loop->now_ns);
}

static int loop_round(struct usp_loop *loop)
{
	struct epoll_event events[LOOP_EVENTS];
	int nr = usp_sys_epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, loop_patience(loop));

	if (nr < 0 && nr != -EINTR)
		return nr;
	loop->now_ns = usp_sys_now_ns();
	for (int i = 0; i < nr; i++) {
		struct usp_watch *watch = events[i].data.ptr;

		watch->ready(watch, events[i].events);
	}
	loop_fire_timers(loop);
	loop_run_tasks(loop);
	return 0;
}

int usp_loop_run(struct usp_loop *loop)
{
	int ret = 0;

	while (ret == 0 && !loop->must_stop)
		ret = loop_round(loop);
	return ret;
}

void usp_loop_finish(struct usp_loop *loop)
{
	loop_run_tasks(loop);
}

void usp_loop_stop(struct usp_loop *loop)
{
	loop->must_stop = true;
}
