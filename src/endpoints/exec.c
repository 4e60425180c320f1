/* SPDX-License-Identifier: MIT */
/*
 * exec - a command of the shell: what it writes is the source, what it reads is the sink.
 *
 *   source   pipe ◄── standard output      standard input is /dev/null
 *   sink     pipe ──► standard input       standard output is that of this process
 *   both     one socket, which is both
 *
 * The end of a source is no end before the command has exited with 0: a command that failed may have written only a part.
 * A sink is closed only after its command has exited. A command that got only a part, or whose output is not wanted any
 * more, is terminated before its pipe is closed, so that it does not take the part for all.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/wait.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/fd.h"
#include "splice/file.h"

#define EXEC_TRAITS (USP_FILE_SPLICEABLE | USP_FILE_POLLABLE | USP_FILE_SIGPIPE)
#define EXEC_TERM_NS 2000000000 /* for a command to clean up after SIGTERM, before SIGKILL */

struct exec {
	int pidfd;
	unsigned process; /* whose child the command is */
	int status;	  /* of waitpid(2), or -errno */
	bool has_exited;  /* status is known */
	bool is_read;	  /* its output was read to the end; it may not have exited yet */
	bool is_cut;	  /* what was written is only a part */
	bool is_ended;	  /* it was told to end */
	void (*exited)(void *exited_arg, int status);
	void *exited_arg;
};

/* --- The end of the command ------------------------------------------------------------------------------- */

/* Tell whether it ended because it was told to. It may have exited by itself just before. */
static bool exec_was_killed(const struct exec *exec)
{
	return exec->is_ended && WIFSIGNALED(exec->status);
}

/* Ask for the status: 0 when it is known, or -EAGAIN. */
static int exec_look(struct exec *exec, bool blocks)
{
	int ret;

	if (exec->has_exited)
		return 0;
	ret = usp_sys_wait_child(exec->pidfd, blocks, &exec->status);
	if (ret == -EAGAIN)
		return ret;
	exec->has_exited = true;
	if (ret < 0)
		exec->status = ret;
	else if (exec->exited)
		exec->exited(exec->exited_arg, exec_was_killed(exec) ? -1 : exec->status);
	return 0;
}

/* Return what its status means for the bytes. */
static int exec_result(const struct exec *exec)
{
	return exec->status > 0 ? -USP_ECOMMAND : exec->status;
}

/* Wait until the command has exited: 0, -EINTR after a signal, or -ETIMEDOUT. SIGCHLD comes when it has. */
static int exec_await(struct exec *exec, uint64_t until_ns)
{
	int ret = 0;

	while (exec_look(exec, false) == -EAGAIN) {
		if (ret < 0)
			return ret;
		ret = usp_wait_until(exec->pidfd, POLLIN, until_ns);
	}
	return 0;
}

/* As exec_await, whatever signals come. Where it cannot wait, it does not poll. */
static void exec_outlast(struct exec *exec, uint64_t until_ns)
{
	int ret;

	do
		ret = exec_await(exec, until_ns);
	while (ret == -EINTR);
	if (ret < 0 && until_ns == USP_NEVER)
		exec_look(exec, true);
}

static void exec_terminate(struct exec *exec)
{
	if (exec_look(exec, false) == 0)
		return;
	usp_sys_signal_child(exec->pidfd, SIGTERM);
	usp_sys_signal_child(exec->pidfd, SIGCONT);
	exec->is_ended = true;
}

/* --- The hooks --------------------------------------------------------------------------------------------- */

/* See endpoint.h. */
static int exec_end(struct usp_file *file)
{
	struct exec *exec = file->priv;
	int ret;

	exec->is_read = true;
	ret = exec_look(exec, false);
	return ret < 0 ? ret : exec_result(exec);
}

/* Behind the end of the output, or of the input, the command itself is waited for. */
static int exec_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	const struct exec *exec = file->priv;
	bool is_over = side == USP_READ ? exec->is_read && !exec->has_exited : file->fd < 0;

	*ret_events = side == USP_READ || is_over ? POLLIN : POLLOUT;
	return is_over ? exec->pidfd : file->fd;
}

static int exec_abort(struct usp_file *file)
{
	((struct exec *)file->priv)->is_cut = file->mode & USP_WRITE;
	return 0;
}

/* A pipe ends when it is closed. A socket is still read from. */
static int exec_shutdown(struct usp_file *file)
{
	struct exec *exec = file->priv;
	int ret = 0;

	if (file->mode & USP_READ) {
		ret = usp_sys_shutdown(file->fd, SHUT_WR);
	} else {
		usp_sys_close(file->fd);
		file->fd = -1;
		file->traits &= ~USP_FILE_SPLICEABLE;
	}
	if (ret == 0)
		exec->is_cut = false;
	return ret;
}

/* A command that has all its input is done when it has exited. */
static int exec_sync(struct usp_file *file)
{
	struct exec *exec = file->priv;
	int ret;

	if (file->fd >= 0)
		return 0;
	ret = usp_file_blocks(file, 0) ? exec_await(exec, USP_NEVER) : exec_look(exec, false);
	return ret < 0 ? ret : exec_result(exec);
}

/*
 * Close our end, and see the command exit: 0 or its failure. One that has not got or given everything is terminated first.
 * A child of fork(2) leaves the command to its parent.
 */
static int exec_finish(struct exec *exec, int fd, bool is_whole)
{
	bool is_ours = exec->process == usp_own_nr();

	if (is_ours && !is_whole)
		exec_terminate(exec);
	usp_sys_close(fd);
	if (is_ours)
		exec_outlast(exec, is_whole ? USP_NEVER : usp_sys_now_ns() + EXEC_TERM_NS);
	if (is_ours && !exec->has_exited) {
		usp_sys_signal_child(exec->pidfd, SIGKILL);
		exec_look(exec, true);
	}
	usp_sys_close(exec->pidfd);
	return is_ours && is_whole ? exec_result(exec) : 0;
}

static int exec_release(struct usp_file *file)
{
	struct exec *exec = file->priv;
	int ret = exec_finish(exec, file->fd, !exec->is_cut && (!(file->mode & USP_READ) || exec->has_exited));

	usp_free(exec);
	return ret;
}

/* A pipe, or with both directions a socket. */
static void exec_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	if (file->mode == (USP_READ | USP_WRITE))
		usp_probe_unix(file, side, ret_result);
	else
		usp_probe_fifo(file, side, ret_result);
}

static const struct usp_file_ops exec_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "exec",
	.read_iter = usp_fd_read_iter,
	.write_iter = usp_fd_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.sync = exec_sync,
	.shutdown = exec_shutdown,
	.release = exec_release,
	.abort = exec_abort,
	.poll_fd = exec_poll_fd,
	.probe = exec_probe,
	.end = exec_end,
};

/* --- Starting ----------------------------------------------------------------------------------------------- */

/* What a command is connected by: our end, and its own. -1: none. in and out may be one descriptor. */
struct exec_ends {
	int own, in, out;
};

static void exec_close_child_ends(const struct exec_ends *ends)
{
	if (ends->out != ends->in)
		usp_sys_close(ends->out);
	usp_sys_close(ends->in);
}

/* Give a descriptor of the child a number that is none of the standard ones. */
static int exec_lift(int *fd)
{
	int lifted = *fd > 2 ? *fd : usp_sys_dup(*fd);

	if (lifted < 0)
		return lifted;
	if (lifted != *fd)
		usp_sys_close(*fd);
	*fd = lifted;
	return 0;
}

static int exec_make_read_ends(struct exec_ends *ends)
{
	int fds[2], ret = usp_sys_pipe(fds, 0);

	if (ret < 0)
		return ret;
	ends->own = fds[0];
	ends->out = fds[1];
	ret = usp_sys_open("/dev/null", O_RDONLY, 0);
	if (ret >= 0) {
		ends->in = ret;
		ret = exec_lift(&ends->in);
	}
	return ret < 0 ? ret : exec_lift(&ends->out);
}

static int exec_make_write_ends(struct exec_ends *ends)
{
	int fds[2], ret = usp_sys_pipe(fds, 0);

	if (ret < 0)
		return ret;
	ends->own = fds[1];
	ends->in = fds[0];
	return exec_lift(&ends->in);
}

/* The command expects a descriptor that blocks. */
static int exec_make_both_ends(struct exec_ends *ends)
{
	int fds[2], ret = usp_sys_socketpair(AF_UNIX, SOCK_STREAM, fds);

	if (ret < 0)
		return ret;
	ends->own = fds[0];
	ends->in = fds[1];
	ret = exec_lift(&ends->in);
	ends->out = ends->in;
	return ret < 0 ? ret : usp_sys_set_flags(ends->in, O_RDWR);
}

/* Start a command: 0 with our end in *ret_fd, or -errno. */
static int exec_start(const char *command, unsigned mode, struct exec *exec, int *ret_fd)
{
	struct exec_ends ends = {-1, -1, -1};
	int ret = mode == USP_READ    ? exec_make_read_ends(&ends)
		  : mode == USP_WRITE ? exec_make_write_ends(&ends)
				      : exec_make_both_ends(&ends);

	if (ret == 0)
		ret = usp_fd_set_nonblock(ends.own);
	if (ret == 0)
		ret = usp_sys_spawn(command, ends.in, ends.out);
	exec_close_child_ends(&ends);
	if (ret < 0) {
		usp_sys_close(ends.own);
		return ret;
	}
	exec->pidfd = ret;
	exec->process = usp_own_nr();
	*ret_fd = ends.own;
	return 0;
}

/* Check what can be checked without running it. */
static int exec_check(const struct usp_spec *spec, const struct usp_open_params *params, const char **ret_why)
{
	if (!spec->address[strspn(spec->address, " \t\n")]) {
		*ret_why = "the command is missing";
		return -EINVAL;
	}
	if (!params->may_run) {
		*ret_why = "commands are not run here";
		return -EPERM;
	}
	return params->no_peer ? -EINPROGRESS : 0;
}

static int exec_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	int fd, ret = exec_check(spec, params, ret_why);
	struct exec *exec = ret == 0 ? usp_alloc(sizeof(*exec)) : NULL;

	if (!exec)
		return ret < 0 ? ret : -ENOMEM;
	exec->exited = params->exited;
	exec->exited_arg = params->exited_arg;
	ret = exec_start(spec->address, params->mode, exec, &fd);
	if (ret == 0) {
		ret = usp_file_new(&exec_ops, params->mode, usp_spec_text(spec), exec, ret_file);
		if (ret < 0)
			exec_finish(exec, fd, false);
	}
	if (ret < 0) {
		usp_free(exec);
		return ret;
	}
	(*ret_file)->fd = fd;
	(*ret_file)->traits = EXEC_TRAITS;
	return 0;
}

const struct usp_endpoint usp_exec_endpoint = {
	.scheme = "exec",
	.form = "exec:COMMAND",
	.summary = "what a command of the shell writes or reads",
	.modes = USP_READ | USP_WRITE,
	.is_plain = true,
	.open = exec_open,
};
