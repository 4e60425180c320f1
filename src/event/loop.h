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
 * A watched descriptor, embedded in its owner. The loop calls ready with the EPOLL* bits. An event may
 * still come in the round in which the descriptor was unwatched. So an owner frees itself by
 * usp_loop_defer.
 */
struct usp_watch {
	void (*ready)(struct usp_watch *watch, unsigned events);
};

/* A timer, embedded in its owner. It costs nothing while it is not armed. */
struct usp_timer {
	void (*fired)(struct usp_timer *timer);
	uint64_t when_ns;
	size_t index; /* index in the heap, from 1 on; 0: not armed */
};

/* A task to run after the events of this round: embedded in its owner, in one list at a time. */
struct usp_task {
	void (*run)(struct usp_task *task);
	struct usp_task *next;
	bool is_queued;
};

int usp_loop_new(struct usp_loop **ret_loop);
void usp_loop_free(struct usp_loop *loop); /* NULL is allowed; watches are dropped */

/* epoll_ctl(2): 0 or -errno. The caller chooses EPOLLET and so on in events. */
int usp_loop_watch(struct usp_loop *loop, int fd, unsigned events, struct usp_watch *watch);
int usp_loop_change(struct usp_loop *loop, int fd, unsigned events, struct usp_watch *watch);
void usp_loop_unwatch(struct usp_loop *loop, int fd); /* before close, if other descriptors share the description */

/*
 * Call timer->fired once, at when_ns of usp_loop_now or soon after: 0 or -ENOMEM. Arming an armed
 * timer moves it. Disarming a timer that is not armed does nothing.
 */
int usp_loop_arm(struct usp_loop *loop, struct usp_timer *timer, uint64_t when_ns);
void usp_loop_disarm(struct usp_loop *loop, struct usp_timer *timer);

/* Run a task once, after this round's events and before the loop waits again. Does nothing if it is queued. */
void usp_loop_defer(struct usp_loop *loop, struct usp_task *task);

/* The time of this round, in nanoseconds of CLOCK_MONOTONIC. */
uint64_t usp_loop_now(const struct usp_loop *loop);

/* Run the loop until usp_loop_stop: 0, or the -errno of epoll_wait(2). */
int usp_loop_run(struct usp_loop *loop);
void usp_loop_finish(struct usp_loop *loop); /* after the run: run the tasks that are still queued */
void usp_loop_stop(struct usp_loop *loop);   /* from its own thread: return after this round */

/* Make the loop call woken(arg), once for any number of wakes. Any thread and signal handlers may call wake. */
void usp_loop_on_wake(struct usp_loop *loop, void (*woken)(void *arg), void *arg);
void usp_loop_wake(struct usp_loop *loop);

#endif
