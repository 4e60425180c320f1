/* SPDX-License-Identifier: MIT */
/*
 * relay_watch - the thread that takes the signals while the relay runs, and speaks with the service
 * manager.
 *
 * Nothing that it does can block: the manager would miss its messages, and SIGTERM would have no
 * effect. Work that can block has threads of its own: relay_reload, relay_log.
 */
#include "cli.h"
#include "relay.h"
#include "relay_log.h"
#include "service.h"

#include <errno.h>
#include <time.h>

#define WATCH_NS_PER_S 1000000000u
#define WATCH_STATUS_NS (10 * (uint64_t)WATCH_NS_PER_S) /* how often the manager gets the status */

/* Drain at the first signal. Stop at the second one. */
static void watch_terminate(struct relay_watch *watch)
{
	struct usp_relay_status status = {.size = sizeof(status)};

	usp_relay_status(watch->relay, &status);
	if (status.is_draining) {
		usp_relay_stop(watch->relay);
		return;
	}
	service_try_notify("STOPPING=1\nSTATUS=Waiting for %u connections to end", status.nr_connections);
	if (status.nr_connections)
		message_note(MESSAGE_NOTICE, "relay: waiting for %u connections to end (a second signal closes them)",
			     status.nr_connections);
	usp_relay_drain(watch->relay);
}

static void watch_take(struct relay_watch *watch, int signo)
{
	if (signo == SIGHUP) {
		access_log_reopen();
		relay_reload_ask(watch->reload);
	} else if (signo == SIGUSR1) {
		relay_say_status(watch->relay, MESSAGE_ANSWER);
	} else {
		watch_terminate(watch);
	}
}

static void watch_report(const struct relay_watch *watch)
{
	struct usp_relay_status status = {.size = sizeof(status)};

	if (!usp_relay_is_turning(watch->relay)) { /* the manager will notice the missing message */
		service_try_notify("STATUS=A worker does not come round");
		return;
	}
	usp_relay_status(watch->relay, &status);
	service_try_notify("WATCHDOG=1\nSTATUS=%u connections now, %llu served", status.nr_connections,
			   (unsigned long long)status.nr_accepted);
}

static uint64_t watch_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * WATCH_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Wait for the next signal; 0 when the time has come. */
static int watch_wait(const struct relay_watch *watch, uint64_t moment_ns)
{
	uint64_t now_ns = watch_now(), left_ns = moment_ns > now_ns ? moment_ns - now_ns : 0;
	const struct timespec left = {
		.tv_sec = (time_t)(left_ns / WATCH_NS_PER_S),
		.tv_nsec = (long)(left_ns % WATCH_NS_PER_S),
	};
	int signo;

	do
		signo = left_ns ? sigtimedwait(&watch->signals, NULL, &left) : 0;
	while (signo < 0 && errno == EINTR);
	return signo < 0 ? 0 : signo;
}

/* Run the watch. The manager gets its messages on time, however many signals come. */
static void *watch_run(void *arg)
{
	struct relay_watch *watch = arg;
	uint64_t watchdog_ns = service_watchdog_ns();
	uint64_t period_ns = watchdog_ns && watchdog_ns < WATCH_STATUS_NS ? watchdog_ns : WATCH_STATUS_NS;
	uint64_t due_ns = watch_now() + period_ns;

	for (;;) {
		int signo = watch_wait(watch, due_ns);

		if (__atomic_load_n(&watch->must_end, __ATOMIC_ACQUIRE))
			return NULL;
		if (signo > 0) {
			watch_take(watch, signo);
		} else {
			watch_report(watch);
			due_ns = watch_now() + period_ns;
		}
		relay_log_turn(watch->relay, false);
	}
}

/*
 * Add a signal that stops, unless it is ignored at the start: a background job of a script gets the
 * terminal's SIGINT, too.
 */
static void watch_add_stopper(sigset_t *signals, int signo)
{
	struct sigaction old;

	if (sigaction(signo, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaddset(signals, signo);
}

int relay_watch_start(struct relay_watch *watch)
{
	const int ours[] = {SIGHUP, SIGUSR1, SIGUSR2};
	const int stoppers[] = {SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGALRM, SIGVTALRM, SIGPROF};
	int ret;

	sigemptyset(&watch->signals);
	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(&watch->signals, ours[i]);
	for (unsigned i = 0; i < sizeof(stoppers) / sizeof(stoppers[0]); i++)
		watch_add_stopper(&watch->signals, stoppers[i]);
	pthread_sigmask(SIG_BLOCK, &watch->signals, &watch->old_mask);
	watch->reload = relay_reload_new(watch->request, watch->relay);
	if (!watch->reload)
		return -ENOMEM;
	ret = -pthread_create(&watch->thread, NULL, watch_run, watch);
	if (ret < 0)
		relay_reload_end(watch->reload);
	return ret;
}

void relay_watch_end(struct relay_watch *watch)
{
	__atomic_store_n(&watch->must_end, true, __ATOMIC_RELEASE);
	pthread_kill(watch->thread, SIGUSR2);
	pthread_join(watch->thread, NULL);
	relay_reload_end(watch->reload);
	pthread_sigmask(SIG_SETMASK, &watch->old_mask, NULL);
}
