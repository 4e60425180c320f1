/* SPDX-License-Identifier: MIT */
/* sys_process - the clocks, and what belongs to this process or one of its threads: rights, policy, signals. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/sys_door.h"

#define SYS_STAMP_NS 20000000

/* --- Time, limits and rights ------------------------------------------------------------------------ */

static uint64_t sys_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SYS_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t usp_sys_now_ns(void)
{
	return sys_clock_ns(CLOCK_MONOTONIC);
}

/* The kernel stamps files by a coarse clock, of 10 ms at most. A time ahead of it comes from another clock. */
bool usp_sys_is_recent(const struct timespec *when)
{
	struct timespec now;
	int64_t age_ns;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	age_ns = (now.tv_sec - when->tv_sec) * (int64_t)SYS_NS_PER_S + now.tv_nsec - when->tv_nsec;
	return age_ns < SYS_STAMP_NS;
}

uint64_t usp_sys_thread_cpu_ns(void)
{
	return sys_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

unsigned usp_sys_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
		return INT_MAX;
	return (unsigned)limit.rlim_cur;
}

/* getrandom(2) works once the kernel has booted. Where it is denied, use the 16 bytes of this process at AT_RANDOM. */
void usp_sys_random(void *base, size_t len)
{
	const unsigned char *own = (const unsigned char *)getauxval(AT_RANDOM);
	ssize_t ret = getrandom(base, len, GRND_NONBLOCK);

	for (size_t i = ret > 0 ? (size_t)ret : 0; own && i < len; i++)
		((unsigned char *)base)[i] = own[i % 16];
}

int usp_sys_pid(void)
{
	return getpid();
}

/* setfsuid(2) tells no error, only the value before. A value that is no user asks for it. */
int usp_sys_set_file_user(uid_t user)
{
	if (user == geteuid())
		return -EPERM;
	setfsuid(user);
	return (uid_t)setfsuid((uid_t)-1) == user ? 0 : -EPERM;
}

void usp_sys_restore_file_user(void)
{
	setfsuid(geteuid());
}

int usp_sys_get_policy(void)
{
	return (int)sys_result(sched_getscheduler(0));
}

int usp_sys_set_policy(int policy)
{
	return (int)sys_result(sched_setscheduler(0, policy, &(struct sched_param){.sched_priority = 0}));
}

/* --- Signals --------------------------------------------------------------------------------------- */

static _Thread_local unsigned sigpipe_depth;

static const int sigpipe_signals[] = {SIGPIPE, SIGXFSZ};

/* Only a thread that blocks the signals can have one pending: others need no sigpending(2). */
void usp_sigpipe_begin(struct usp_sigpipe_guard *guard)
{
	sigset_t pending;
	bool was_blocked = false;

	if (sigpipe_depth++)
		return;
	sigemptyset(&guard->discards);
	for (unsigned i = 0; i < usp_array_len(sigpipe_signals); i++)
		sigaddset(&guard->discards, sigpipe_signals[i]);
	pthread_sigmask(SIG_BLOCK, &guard->discards, &guard->old_mask);
	for (unsigned i = 0; i < usp_array_len(sigpipe_signals); i++)
		was_blocked |= sigismember(&guard->old_mask, sigpipe_signals[i]) == 1;
	if (!was_blocked || sigpending(&pending) < 0)
		return;
	for (unsigned i = 0; i < usp_array_len(sigpipe_signals); i++) {
		if (sigismember(&pending, sigpipe_signals[i]) == 1)
			sigdelset(&guard->discards, sigpipe_signals[i]);
	}
}

/* Most callers need one round, which finds no signal. With an empty set none is found either. */
void usp_sigpipe_end(const struct usp_sigpipe_guard *guard)
{
	const struct timespec no_wait = {0};

	if (--sigpipe_depth)
		return;
	while (sigtimedwait(&guard->discards, NULL, &no_wait) > 0 || errno == EINTR)
		;
	pthread_sigmask(SIG_SETMASK, &guard->old_mask, NULL);
}

void usp_sys_block_signals(sigset_t *ret_old_mask)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, ret_old_mask);
}

void usp_sys_restore_signals(const sigset_t *old_mask)
{
	pthread_sigmask(SIG_SETMASK, old_mask, NULL);
}

/* 1 also where the kernel has more processors than fit into the set. */
unsigned usp_sys_nr_processors(void)
{
	cpu_set_t may_run;

	return sched_getaffinity(0, sizeof(may_run), &may_run) == 0 ? (unsigned)CPU_COUNT(&may_run) : 1;
}
