/* SPDX-License-Identifier: MIT */
/*
 * watch - the thread that takes the signals and ticks while the main thread works.
 *
 * The signals are blocked everywhere and taken by sigtimedwait(2) in one thread, so nothing has to
 * be safe in a signal handler. A system call that blocks the main thread (open of a FIFO, connect,
 * accept) is interrupted by a poke, a signal with an empty handler. It is repeated on every tick,
 * because one that comes just before the call is lost.
 *
 * If no thread can be had, a handler in the main thread stops the pump or interrupts the call, and
 * a timer repeats the poke. There are no ticks then, and SIGUSR1 is not answered, because what they
 * do is not safe in a handler.
 */
#include "watch.h"
#include "cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_TICK_NS 100000000
#define WATCH_POKE SIGRTMIN

/*
 * Signals that would end the process without a message: from the user, from a limit of time, and
 * from timers inherited over exec.
 */
static const int watch_stoppers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF};

static void watch_on_poke(int signo)
{
	(void)signo;
}

static bool watch_is_stopper(int signo)
{
	size_t i;

	for (i = 0; i < sizeof(watch_stoppers) / sizeof(watch_stoppers[0]); i++) {
		if (watch_stoppers[i] == signo)
			return true;
	}
	return false;
}

/* Add a signal, unless the parent ignores it (nohup, a background job of a shell). */
static void watch_add_signal(sigset_t *signals, int signo)
{
	struct sigaction old;

	if (sigaction(signo, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaddset(signals, signo);
}

static int watch_wait(struct watch *watch)
{
	const struct timespec tick = {.tv_nsec = WATCH_TICK_NS};
	bool has_ticks = watch->tick || watch->signo != 0;

	return sigtimedwait(&watch->signals, NULL, has_ticks ? &tick : NULL);
}

static void watch_stop(struct watch *watch, int signo)
{
	if (watch->signo != 0) {
		watch->kill(watch->arg);
		_exit(CLI_SIGNAL + signo);
	}
	watch->signo = signo;
}

/* --- Without a thread ---------------------------------------------------------------------------------------- */

static struct watch *watch_alone;
static timer_t watch_timer;
static bool watch_has_timer;

static void watch_on_signal(int signo)
{
	const struct timespec tick = {.tv_nsec = WATCH_TICK_NS};
	struct watch *watch = watch_alone;

	if (!watch_is_stopper(signo))
		return;
	watch_stop(watch, signo);
	if (watch->pump)
		usp_pump_stop(watch->pump);
	if (watch_has_timer)
		timer_settime(watch_timer, 0, &(struct itimerspec){.it_value = tick, .it_interval = tick}, NULL);
}

static void watch_start_alone(struct watch *watch)
{
	const struct sigaction action = {.sa_handler = watch_on_signal};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = WATCH_POKE};
	int signo;

	watch_alone = watch;
	watch_has_timer = timer_create(CLOCK_MONOTONIC, &event, &watch_timer) == 0;
	for (signo = 1; signo < WATCH_POKE; signo++) {
		if (sigismember(&watch->signals, signo) == 1)
			sigaction(signo, &action, NULL);
	}
	pthread_sigmask(SIG_UNBLOCK, &watch->signals, NULL);
}

/* --- With one ------------------------------------------------------------------------------------------------- */

static void watch_interrupt(struct watch *watch)
{
	if (watch->pump)
		usp_pump_stop(watch->pump);
	if (watch->is_interruptible)
		pthread_kill(watch->poked, WATCH_POKE);
}

static void *watch_run(void *arg)
{
	struct watch *watch = arg;

	while (!watch->is_done) {
		int signo = watch_wait(watch);

		pthread_mutex_lock(&watch->lock);
		if (watch_is_stopper(signo))
			watch_stop(watch, signo);
		else if (signo == SIGUSR1)
			watch->status(watch->arg, watch->pump);
		else if (signo < 0 && watch->tick && watch->pump)
			watch->tick(watch->arg, watch->pump);
		if (watch->signo != 0)
			watch_interrupt(watch);
		pthread_mutex_unlock(&watch->lock);
	}
	return NULL;
}

int watch_start(struct watch *watch)
{
	const struct sigaction poke = {.sa_handler = watch_on_poke};
	sigset_t pokes;
	size_t i;
	int error;

	sigemptyset(&pokes);
	sigaddset(&pokes, WATCH_POKE);
	sigemptyset(&watch->signals);
	for (i = 0; i < sizeof(watch_stoppers) / sizeof(watch_stoppers[0]); i++)
		watch_add_signal(&watch->signals, watch_stoppers[i]);
	watch_add_signal(&watch->signals, SIGUSR1);
	sigaddset(&watch->signals, WATCH_POKE);
	sigaction(WATCH_POKE, &poke, NULL);

	watch->poked = pthread_self();
	watch->is_interruptible = true;
	pthread_mutex_init(&watch->lock, NULL);
	pthread_sigmask(SIG_BLOCK, &watch->signals, NULL);
	error = pthread_create(&watch->thread, NULL, watch_run, watch);
	pthread_sigmask(SIG_UNBLOCK, &pokes, NULL);
	if (error != 0)
		watch_start_alone(watch);
	return -error;
}

void watch_set_pump(struct watch *watch, struct usp_pump *pump)
{
	sigset_t old_mask;

	pthread_sigmask(SIG_BLOCK, &watch->signals, &old_mask); /* the handler itself may be looking at it */
	pthread_mutex_lock(&watch->lock);
	watch->pump = pump;
	watch->is_interruptible = false;
	if (pump && watch->signo != 0)
		usp_pump_stop(pump);
	pthread_mutex_unlock(&watch->lock);
	pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
}

bool watch_set_interruptible(struct watch *watch, bool is_interruptible)
{
	sigset_t pokes;
	bool was;

	sigemptyset(&pokes);
	sigaddset(&pokes, WATCH_POKE);
	pthread_mutex_lock(&watch->lock);
	was = watch->is_interruptible;
	watch->is_interruptible = is_interruptible;
	if (is_interruptible) {
		watch->poked =
			pthread_self(); /* a thread of the library, if a stage reads ahead: it blocks all signals */
		pthread_sigmask(SIG_UNBLOCK, &pokes, NULL);
	}
	pthread_mutex_unlock(&watch->lock);
	return was;
}

int watch_signo(const struct watch *watch)
{
	return watch->signo;
}

void watch_end(struct watch *watch)
{
	watch->is_done = true;
	if (watch_alone) {
		pthread_sigmask(SIG_BLOCK, &watch->signals, NULL);
		if (watch_has_timer)
			timer_delete(watch_timer);
	} else {
		pthread_kill(watch->thread, WATCH_POKE);
		pthread_join(watch->thread, NULL);
	}
	pthread_mutex_destroy(&watch->lock);
}
