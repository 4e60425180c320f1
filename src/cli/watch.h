/* SPDX-License-Identifier: MIT */
/* watch - the thread that takes the signals and ticks while the main thread works. */
#ifndef USP_CLI_WATCH_H
#define USP_CLI_WATCH_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <usplice.h>

/*
 * A watch. Set tick, status, kill and arg, then start. SIGHUP, SIGINT and SIGTERM stop the pump, or
 * without a pump interrupt the call that blocks the main thread. A second one calls kill and ends
 * the process. SIGUSR1 calls status. The hooks run in the watch's thread, never while
 * watch_set_pump runs.
 */
struct watch {
	void (*tick)(void *arg, const struct usp_pump *pump); /* ten times a second while one runs; NULL for no ticks */
	void (*status)(void *arg, const struct usp_pump *pump); /* pump is NULL without one */
	void (*kill)(void *arg);
	void *arg;

	pthread_t thread, poked;
	pthread_mutex_t lock;
	sigset_t signals;
	struct usp_pump *pump; /* the pump to stop and to report */
	bool is_interruptible; /* the thread poked may be: the main thread, unless another one said so */
	atomic_bool is_done;
	atomic_int signo; /* the first signal that asked to stop, or 0 */
};

/*
 * Start the watch, in the main thread. Threads made later have the signals blocked. 0, or -errno if
 * no thread can be had: then signals stop the pump or interrupt all the same, and tick and status
 * are not called.
 */
int watch_start(struct watch *watch);

/* Set the pump that runs from now on; NULL when it has ended. */
void watch_set_pump(struct watch *watch, struct usp_pump *pump);

/*
 * Say whether a signal may interrupt a call that blocks the calling thread, also while a pump runs there.
 * Returns what held before. At first it may, and no more after watch_set_pump.
 */
bool watch_set_interruptible(struct watch *watch, bool is_interruptible);

/* Return the signal that asked to stop, or 0. */
int watch_signo(const struct watch *watch);

void watch_end(struct watch *watch);

#endif
