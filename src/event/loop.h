/* SPDX-License-Identifier: MIT */
/* loop - descriptors, timers and wake-ups of one thread, over epoll. */
#ifndef USP_EVENT_LOOP_H
#define USP_EVENT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct usp_loop;

/*
 * A descriptor that is watched: embedded in what it belongs to. ready is called with the EPOLL* bits. An event may still
 * come in the round in which the descriptor was unwatched, so an owner frees itself by usp_loop_defer.
 */
struct usp_watch {
	void (*ready)(struct usp_watch *watch, unsigned events);
};

/* A moment to be called at: embedded. One that is not armed costs nothing. */
struct usp_timer {
	void (*fired)(struct usp_timer *timer);
	uint64_t when_ns;
	size_t place; /* in the heap, from 1 on; 0: not armed */
};

/* Something to be done after the events of this round: embedded, in one list at a time. */
struct usp_task {
	void (*run)(struct usp_task *task);
	struct usp_task *next;
	bool is_queued;
};

int usp_loop_new(struct usp_loop **ret_loop);
void usp_loop_free(struct usp_loop *loop); /* NULL is allowed; what is watched is forgotten */

/* epoll_ctl(2), with the caller's choice of EPOLLET and the like: 0 or -errno. */
int usp_loop_watch(struct usp_loop *loop, int fd, unsigned events, struct usp_watch *watch);
int usp_loop_change(struct usp_loop *loop, int fd, unsigned events, struct usp_watch *watch);
void usp_loop_unwatch(struct usp_loop *loop, int fd); /* before it is closed, if others share the description */

/*
 * Call timer->fired once, at when_ns of usp_loop_now or soon after. Arming again moves it. -ENOMEM. Disarming one that is not
 * armed does nothing.
 */
int usp_loop_arm(struct usp_loop *loop, struct usp_timer *timer, uint64_t when_ns);
void usp_loop_disarm(struct usp_loop *loop, struct usp_timer *timer);

/* Run a task after this round's events, once, before the loop waits again. Queued already: nothing happens. */
void usp_loop_defer(struct usp_loop *loop, struct usp_task *task);

/* The time of this round, in nanoseconds of CLOCK_MONOTONIC. */
uint64_t usp_loop_now(const struct usp_loop *loop);

/* Until usp_loop_stop: 0, or the -errno of epoll_wait(2). */
int usp_loop_run(struct usp_loop *loop);
void usp_loop_finish(struct usp_loop *loop); /* after the run: what was deferred and did not get its turn */
void usp_loop_stop(struct usp_loop *loop);   /* from its own thread: return after this round */

/* Make the loop call woken(arg), soon and once for any number of wakes. wake: any thread, and signal handlers. */
void usp_loop_on_wake(struct usp_loop *loop, void (*woken)(void *arg), void *arg);
void usp_loop_wake(struct usp_loop *loop);

#endif
