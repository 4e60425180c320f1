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
#include <sys/syscall.h>
#include <sys/wait.h>
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

void usp_sys_date(struct timespec *ret_now)
{
	clock_gettime(CLOCK_REALTIME, ret_now);
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

bool usp_sys_is_own_thread(int thread)
{
	return thread > 0 && sys_result((int)syscall(SYS_tgkill, getpid(), thread, 0)) == 0;
}

uid_t usp_sys_user(void)
{
	return geteuid();
}

gid_t usp_sys_group(void)
{
	return getegid();
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

/* --- Children -------------------------------------------------------------------------------------- */

#ifndef P_PIDFD /* newer than the oldest supported headers */
#define P_PIDFD ((idtype_t)3)
#endif

/* What a child begins with. */
struct sys_child {
	const char *command;
	int in, out;
	volatile int error; /* of execve(2); the child has the memory of its parent */
};

/*
 * Handlers are code of the parent, which must not run here. What is ignored stays ignored, but the signals that the command
 * of usplice ignores for itself.
 */
static void sys_child_reset_signals(void)
{
	const struct sigaction usual = {.sa_handler = SIG_DFL};
	struct sigaction old;
	sigset_t none;

	for (int signo = 1; signo <= SIGRTMAX; signo++) {
		if (sigaction(signo, NULL, &old) == 0 &&
		    (old.sa_handler != SIG_IGN || signo == SIGPIPE || signo == SIGXFSZ))
			sigaction(signo, &usual, NULL);
	}
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* Give the child a standard descriptor. in or out may have the number of the other one: both are above 2. */
static bool sys_child_has(int fd, int target)
{
	return fd < 0 || dup2(fd, target) == target;
}

/* The child, between vfork(2) and execve(2): it calls only what is async-signal-safe, and never returns. */
__attribute__((noinline, noreturn)) static void sys_child_run(struct sys_child *child)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)"--", (char *)child->command, NULL};

	sys_child_reset_signals();
	if (sys_child_has(child->in, STDIN_FILENO) && sys_child_has(child->out, STDOUT_FILENO)) {
		syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
		execve("/bin/sh", argv, environ);
	}
	child->error = errno;
	_exit(127);
}

/* Get hold of a child. One that cannot be held must not run on. */
static int sys_child_hold(pid_t pid)
{
	int pidfd = (int)sys_result(syscall(SYS_pidfd_open, pid, 0));

	if (pidfd < 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return pidfd;
}

/* vfork(2), because the memory of a large process takes long to copy. The parent sleeps until the child has it no more. */
int usp_sys_spawn(const char *command, int in, int out)
{
	struct sys_child child = {.command = command, .in = in, .out = out};
	sigset_t old_mask;
	pid_t pid;
	int ret;

	usp_sys_block_signals(&old_mask);
	pid = vfork();
	if (pid == 0)
		sys_child_run(&child);
	ret = (int)sys_result(pid);
	usp_sys_restore_signals(&old_mask);
	if (ret >= 0)
		ret = sys_child_hold(pid);
	if (ret >= 0 && child.error) {
		usp_sys_wait_child(ret, true, NULL);
		close(ret);
		ret = -child.error;
	}
	return ret;
}

int usp_sys_signal_child(int pidfd, int signo)
{
	return (int)sys_result(syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0));
}

int usp_sys_wait_child(int pidfd, bool blocks, int *ret_status)
{
	siginfo_t info = {.si_pid = 0};
	int ret;

	do
		ret = (int)sys_result(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | (blocks ? 0 : WNOHANG)));
	while (ret == -EINTR);
	if (ret == 0 && info.si_pid == 0)
		return -EAGAIN;
	if (ret == 0 && ret_status)
		*ret_status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
							 : info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
	return ret;
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
