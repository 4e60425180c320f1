/* SPDX-License-Identifier: MIT */
/*
 * mount_run - mount, tell who waits for it, and serve until a signal or umount(8) ends it.
 *
 * With --background a child does all of it, because threads do not survive a fork. The command waits for its news that it is
 * mounted, or for its exit code. Until then the child is of the same session, and ends with the command.
 */
#include "cli.h"
#include "descriptor_limit.h"
#include "mount.h"
#include "progress.h"
#include "service.h"
#include "size.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define RUN_NS_PER_S 1000000000
#define RUN_DRAIN_MAX_NS ((uint64_t)INT64_MAX / 2) /* a century: as without an end */
#define RUN_ADDRESS_MAX 128
#define RUN_STATUS_MAX ((size_t)64 << 10)

struct mount_run {
	struct mount_request *request;
	struct mount_items items;
	struct usp_mount *mount;
	sigset_t signals;
	pthread_t thread;
	atomic_bool is_mounted, must_end;
	int code;	     /* of the process, while sources are closed */
	unsigned nr_signals; /* that asked for the end */
	struct progress progress;
	int news_fd;  /* to the command that waits, or -1 */
	pid_t waiter; /* that command */
};

/* --- Signals ---------------------------------------------------------------------------------------------- */

static void run_say_status(struct usp_mount *mount)
{
	struct usp_mount_status status = {.size = sizeof(status)};

	usp_mount_status(mount, &status);
	message_note(MESSAGE_ANSWER, "mount: %u files, %u failed; %u open, %u requests wait", status.nr_sources,
		     status.nr_failed, status.nr_open, status.nr_waiting);
}

/* Unmount at the first signal, and wait for what is open. End at the second one; a third one waits for no disk. */
static void run_terminate(struct mount_run *run, int signo)
{
	struct usp_mount_status status = {.size = sizeof(status)};
	int error;

	if (!atomic_load(&run->is_mounted)) {
		message_say("mount: stopped by signal %d (%s) before it was mounted", signo, strsignal(signo));
		usp_mount_detach(run->mount);
		_exit(CLI_SIGNAL + signo);
	}
	if (run->nr_signals++ > 0) {
		usp_mount_stop(run->mount);
		return;
	}
	service_try_notify("STOPPING=1");
	error = usp_mount_detach(run->mount);
	if (error < 0) {
		message_say("mount: %s cannot be unmounted: %s", run->request->mountpoint, strerror(-error));
		usp_mount_stop(run->mount);
		return;
	}
	usp_mount_status(run->mount, &status);
	if (status.nr_open > 0)
		message_note(MESSAGE_NOTICE,
			     "mount: waiting for %u open files to be closed (a second signal ends them)",
			     status.nr_open);
}

static int64_t run_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * RUN_NS_PER_S + now.tv_nsec;
}

/* Wait for a signal, until a time if that is not 0. 0: that time has come. */
static int run_wait(const struct mount_run *run, int64_t end_ns)
{
	int signo;

	do {
		int64_t left_ns = end_ns - run_now_ns();
		struct timespec left = {.tv_sec = 0};

		if (left_ns > 0)
			left = (struct timespec){.tv_sec = (time_t)(left_ns / RUN_NS_PER_S),
						 .tv_nsec = (long)(left_ns % RUN_NS_PER_S)};
		signo = end_ns ? sigtimedwait(&run->signals, NULL, &left) : sigwaitinfo(&run->signals, NULL);
	} while (signo < 0 && errno == EINTR);
	return signo < 0 ? 0 : signo;
}

/* Return when a time has passed from now on; 0: never. */
static int64_t run_deadline(uint64_t ns)
{
	return ns > 0 && ns < RUN_DRAIN_MAX_NS ? run_now_ns() + (int64_t)ns : 0;
}

static void *run_watch(void *arg)
{
	struct mount_run *run = arg;
	int64_t end_ns = 0;

	for (;;) {
		int signo = run_wait(run, end_ns);

		if (atomic_load(&run->must_end))
			return NULL;
		if (signo == SIGUSR1) {
			run_say_status(run->mount);
		} else if (signo == 0) {
			usp_mount_stop(run->mount);
			end_ns = 0;
		} else if (signo != SIGUSR2) {
			run_terminate(run, signo);
			if (run->nr_signals == 1)
				end_ns = run_deadline(run->request->drain_ns);
		}
	}
}

/* Take the signals in a thread of its own, but for those that were ignored at the start. */
static int run_take_signals(struct mount_run *run)
{
	const int all[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
	struct sigaction old;

	sigemptyset(&run->signals);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (sigaction(all[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&run->signals, all[i]);
	}
	sigaddset(&run->signals, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &run->signals, NULL);
	return -pthread_create(&run->thread, NULL, run_watch, run);
}

/* --- Mounting --------------------------------------------------------------------------------------------- */

/* Show how far a copy is. Several lazy ones may be under way; then the line shows one after the other. */
static void run_progress(void *arg, const char *name, int64_t done, int64_t total)
{
	struct mount_run *run = arg;
	struct progress_view view = {.bytes = (uint64_t)done, .total = total >= done ? total : -1};

	if (atomic_load(&run->is_mounted))
		return;
	run->progress.style.name = name;
	progress_measure(&run->progress, view.bytes);
	progress_draw(&run->progress, &view);
}

static int run_refused(const char *what, const char *name, int error, const char *why)
{
	if (why && error != -EINVAL && error != -EBADMSG && error != -ENOKEY && error != -EPERM && error != -EOPNOTSUPP)
		message_say("%s %s: %s (%s)", what, name, strerror(-error), why);
	else
		message_say("%s %s: %s", what, name, why ? why : strerror(-error));
	return CLI_FAILED;
}

static int run_new(struct mount_run *run)
{
	const struct mount_request *request = run->request;
	const struct usp_mount_params params = {
		.size = sizeof(params),
		.flags = (request->allow_other ? USP_MOUNT_ALLOW_OTHER : 0) | (request->direct ? USP_MOUNT_DIRECT : 0) |
			 (request->prefetch ? USP_MOUNT_PREFETCH : 0) | (request->writes ? USP_MOUNT_WRITE : 0) |
			 (request->no_passthrough ? USP_MOUNT_NO_PASSTHROUGH : 0) |
			 (request->noexec ? USP_MOUNT_NOEXEC : 0) | (request->sync ? USP_MOUNT_SYNC : 0) |
			 (request->noatime ? USP_MOUNT_NOATIME : 0),
		.nr_threads = request->nr_threads,
		.budget = request->budget > 0 ? (size_t)request->budget : 0,
		.spool = request->spool,
		.name = request->nr_sources == 1 ? request->sources[0] : NULL,
		.progress = run_progress,
		.progress_arg = run,
		.sync_timeout_ns = request->sync_ns,
	};
	const char *why = NULL;
	int error = usp_mount_new(request->mountpoint, &params, &run->mount, &why);

	return error < 0 ? run_refused("mount", request->mountpoint, error, why) : CLI_DONE;
}

static int run_add(struct mount_run *run)
{
	mount_hold_places(&run->items);
	for (unsigned i = 0; i < run->items.nr; i++) {
		struct mount_item *item = run->items.items[i];
		const struct usp_mount_source source = {.size = sizeof(source),
							.name = item->name,
							.open = mount_item_open,
							.arg = item,
							.is_lazy = item->is_lazy,
							.can_reopen = item->is_lazy,
							.find = item->place_fd >= 0 ? mount_item_find : NULL};
		int error = usp_mount_add(run->mount, &source);

		if (error == -EINVAL && run->items.nr > 1) {
			message_say("mount %s: it is a regular file, which can show one source; a directory can show "
				    "several",
				    run->request->mountpoint);
			return CLI_USAGE;
		}
		if (error < 0)
			return run_refused("source", item->spec, error, NULL);
	}
	return CLI_DONE;
}

/*
 * Return the address of the metrics, with a path that holds in the background, too, where the folder is another one: its file
 * is removed at the end. A path that is too long for that stays as it is, and its file is replaced the next time.
 */
static const char *run_metrics_address(const struct mount_request *request)
{
	static const char scheme[] = "unix:";
	static char address[sizeof(scheme) + sizeof(((struct sockaddr_un *)0)->sun_path)]; /* used until the end */
	const char *path = request->metrics + strlen(scheme);
	char folder[PATH_MAX];

	if (!request->background || strncmp(request->metrics, scheme, strlen(scheme)) != 0 || path[0] == '/' ||
	    path[0] == '\0' || !getcwd(folder, sizeof(folder)) ||
	    (size_t)snprintf(address, sizeof(address), "%s%s/%s", scheme, folder, path) >= sizeof(address) - 1)
		return request->metrics;
	return address;
}

static int run_serve_metrics(struct mount_run *run)
{
	const struct mount_request *request = run->request;
	const char *why = NULL;
	char address[RUN_ADDRESS_MAX];
	int error = request->metrics ? usp_mount_serve_metrics(run->mount, run_metrics_address(request), &why) : 0;

	if (error < 0) {
		run_refused("mount: cannot serve metrics at", request->metrics, error, why);
		return error == -EINVAL ? CLI_USAGE : CLI_FAILED;
	}
	for (unsigned i = 0; i < request->nr_metrics_hosts; i++) {
		error = usp_mount_add_metrics_host(run->mount, request->metrics_hosts[i], &why);
		if (error < 0) {
			run_refused("mount: cannot serve metrics as", request->metrics_hosts[i], error, why);
			return error == -EINVAL ? CLI_USAGE : CLI_FAILED;
		}
	}
	if (usp_mount_metrics_address(run->mount, address, sizeof(address)) >= 0)
		message_note(MESSAGE_NOTICE, "mount: metrics at %s", address);
	return CLI_DONE;
}

/* Find the spec of a source by the name that it is shown by. */
static const char *run_spec(const struct mount_run *run, const char *name)
{
	for (unsigned i = 0; i < run->items.nr; i++) {
		if (strcmp(run->items.items[i]->name, name) == 0)
			return run->items.items[i]->spec;
	}
	return name;
}

static int run_start(struct mount_run *run)
{
	struct usp_mount_status status = {.size = sizeof(status)};
	const char *why = NULL;
	int error = usp_mount_start(run->mount, &why);

	progress_erase(&run->progress);
	if (error == 0)
		return CLI_DONE;
	usp_mount_status(run->mount, &status);
	if (!status.failed_name)
		return run_refused("mount", run->request->mountpoint, error, why);
	run_refused("source", run_spec(run, status.failed_name), error, why);
	return CLI_SOURCE;
}

/* --- Serving ---------------------------------------------------------------------------------------------- */

/*
 * Leave the terminal, the folder and the session of the command that waits, and tell it that it is mounted. False if it
 * has gone.
 */
static bool run_leave(struct mount_run *run)
{
	const char news = 0;
	int fd;
	bool is_told;

	if (run->news_fd < 0)
		return true;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int standard = 0; fd >= 0 && standard <= 2; standard++)
		dup2(fd, standard);
	if (fd >= 0)
		close(fd);
	if (chdir("/") < 0)
		message_say("mount: it stays in its folder: %s", strerror(errno));
	setsid();
	prctl(PR_SET_PDEATHSIG, 0);
	is_told = write(run->news_fd, &news, 1) == 1;
	close(run->news_fd);
	run->news_fd = -1;
	return is_told;
}

/* Name the sources to which something was written that is not where it should be: how many there are. */
static unsigned run_say_lost(const struct mount_run *run)
{
	struct usp_mount_source_status source = {.size = sizeof(source)};
	unsigned nr_lost = 0;

	for (unsigned i = 0; usp_mount_source_status(run->mount, i, &source) == 0; i++) {
		if (source.sync_error)
			message_say("source %s: what was written did not reach the disk: %s",
				    run_spec(run, source.name), strerror(-source.sync_error));
		else if (source.is_unsynced)
			message_say("source %s: what was written may not be on the disk, which did not answer in time",
				    run_spec(run, source.name));
		else if (source.is_lost)
			message_say(
				"source %s: its name leads to another file now, or to none: what was written to the "
				"one before is not there",
				run_spec(run, source.name));
		nr_lost += source.sync_error || source.is_unsynced || source.is_lost;
	}
	return nr_lost;
}

static int run_serve(struct mount_run *run)
{
	int error;

	atomic_store(&run->is_mounted, true);
	if (!run_leave(run)) {
		usp_mount_detach(run->mount);
		return CLI_FAILED;
	}
	service_try_notify("READY=1\nSTATUS=Mounted at %s", run->request->mountpoint);
	error = usp_mount_run(run->mount);
	if (run_say_lost(run) == 0 && error < 0)
		message_say("mount %s: requests cannot be read any more: %s", run->request->mountpoint,
			    strerror(-error));
	return error < 0 ? CLI_FAILED : CLI_DONE;
}

/* End the thread that takes signals. */
static void run_end_watch(struct mount_run *run)
{
	atomic_store(&run->must_end, true);
	pthread_kill(run->thread, SIGUSR2);
	pthread_join(run->thread, NULL);
	atomic_store(&run->must_end, false);
}

/* See to it that the sources are closed in time: NFS and FUSE may hang there. A signal ends the wait. */
static void *run_watch_close(void *arg)
{
	const struct mount_run *run = arg;
	int64_t end_ns = run_deadline(run->request->sync_ns);
	int signo;

	do
		signo = run_wait(run, end_ns);
	while (signo == SIGUSR1);
	if (!atomic_load(&run->must_end)) {
		message_say("mount: it ends although the sources are not closed yet");
		_exit(run->code);
	}
	return NULL;
}

/* Free all, unless a thread hangs in a source: it would be waited for. */
static void run_end(struct mount_run *run, int code)
{
	struct usp_mount_status status = {.size = sizeof(status)};
	bool has_watch;

	usp_mount_status(run->mount, &status);
	if (status.nr_stuck > 0)
		_exit(code); /* what runs at exit(3) may wait for all threads: the search for leaks does */
	if (status.nr_opening > 0)
		return;
	run->code = code;
	has_watch = pthread_create(&run->thread, NULL, run_watch_close, run) == 0;
	usp_mount_free(run->mount);
	mount_unlist(&run->items);
	stages_wipe(&run->request->stages);
	if (has_watch)
		run_end_watch(run);
}

static int run_all(struct mount_run *run)
{
	int code = run_new(run), error;

	if (code != CLI_DONE) {
		stages_wipe(&run->request->stages);
		mount_unlist(&run->items);
		return code;
	}
	service_begin();
	progress_start(&run->progress, !run->request->quiet && (run->request->progress || isatty(STDERR_FILENO)),
		       &(struct progress_style){.name = NULL});
	error = run_take_signals(run);
	if (error < 0)
		return run_refused("mount", run->request->mountpoint, error, "no thread can be had");
	code = run_add(run);
	if (code == CLI_DONE)
		code = run_serve_metrics(run);
	if (code == CLI_DONE)
		code = run_start(run);
	if (code == CLI_DONE)
		code = run_serve(run);
	run_end_watch(run);
	run_end(run, code);
	return code;
}

/* Wait for the news of the child that it is mounted, or for its end: an exit code. */
static int run_await(int fd, pid_t child)
{
	char news;
	ssize_t len;
	int status;
	pid_t ended;

	do
		len = read(fd, &news, 1);
	while (len < 0 && errno == EINTR);
	close(fd);
	if (len == 1)
		return CLI_DONE;
	do
		ended = waitpid(child, &status, 0);
	while (ended < 0 && errno == EINTR);
	if (ended < 0)
		return CLI_FAILED;
	return WIFSIGNALED(status) ? CLI_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_in_background(struct mount_run *run)
{
	int news[2];
	pid_t child;

	if (pipe2(news, O_CLOEXEC) < 0)
		return run_refused("mount", run->request->mountpoint, -errno, NULL);
	run->waiter = getpid();
	child = fork();
	if (child < 0)
		return run_refused("mount", run->request->mountpoint, -errno, NULL);
	if (child > 0) {
		close(news[1]);
		mount_unlist(&run->items);
		stages_wipe(&run->request->stages);
		return run_await(news[0], child);
	}
	close(news[0]);
	run->news_fd = news[1];
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	return getppid() == run->waiter ? run_all(run) : CLI_FAILED;
}

/* Make room where a command that was killed has left its mount. An exit code; the error has been said. */
static int run_clear(const struct mount_request *request)
{
	int ret = usp_mount_clear(request->mountpoint);

	if (ret > 0)
		message_note(MESSAGE_NOTICE, "mount: %s was mounted by a command that was killed: unmounted it",
			     request->mountpoint);
	if (ret == -ENOTCONN)
		return run_refused("mount", request->mountpoint, ret,
				   "another file system is mounted there whose server has ended: unmount it first");
	if (ret == -EOPNOTSUPP) /* without libfuse3 the mount says so */
		return CLI_DONE;
	return ret < 0 ? run_refused("mount: cannot unmount what was left at", request->mountpoint, ret, NULL)
		       : CLI_DONE;
}

int mount_main(struct mount_request *request)
{
	static struct mount_run run; /* a thread that opens a source may use it at the end */
	int code;

	run.request = request;
	run.news_fd = -1;
	descriptor_limit_raise(); /* each file that is open takes at least one */
	code = run_clear(request);
	if (code == CLI_DONE)
		code = mount_list(request, &run.items);
	if (code == CLI_DONE)
		code = mount_hold_paths(request);
	if (code == CLI_DONE)
		code = stages_read_secrets(&request->stages);
	if (code != CLI_DONE) {
		mount_unlist(&run.items);
		stages_wipe(&request->stages);
		return code;
	}
	return request->background ? run_in_background(&run) : run_all(&run);
}

/* --- The status ------------------------------------------------------------------------------------------- */

int mount_show_status(const char *mountpoint, bool is_json)
{
	const char *name = is_json ? "user.usplice.status.json" : "user.usplice.status";
	char *text = malloc(RUN_STATUS_MAX);
	ssize_t len = text ? getxattr(mountpoint, name, text, RUN_STATUS_MAX) : -1;

	if (len < 0) {
		message_say("mount --status %s: %s", mountpoint,
			    errno == ENODATA || errno == EOPNOTSUPP ? "no usplice is mounted there" : strerror(errno));
		free(text);
		return CLI_FAILED;
	}
	fwrite(text, 1, (size_t)len, stdout);
	free(text);
	return message_close_stdout();
}
