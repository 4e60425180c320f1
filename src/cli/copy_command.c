/* SPDX-License-Identifier: MIT */
/* copy_command - how the commands ended that are endpoints of a copy. */
#include "copy_command.h"
#include "progress.h"
#include "watch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <usplice.h>

#define COMMAND_WAIT_MS 3600000 /* poll(2) takes an int */

void copy_command_prepare(void)
{
	signal(SIGCHLD, SIG_DFL);
}

void copy_command_exited(void *arg, int status)
{
	struct copy_command *command = arg;

	command->has_exited = true;
	command->status = status;
}

bool copy_command_is(const struct usp_file *file)
{
	return strcmp(usp_file_type(file), "exec") == 0;
}

int copy_command_await(struct usp_file *file, struct watch *watch, int64_t timeout_ns)
{
	bool was_interruptible = watch_set_interruptible(watch, true);
	double until = progress_now() + (double)timeout_ns / 1e9;
	int error;

	usp_file_set_flags(file, usp_file_flags(file) | USP_NONBLOCK);
	while ((error = usp_file_sync(file)) == -EAGAIN) {
		double left_ms = timeout_ns < 0 ? -1 : (until - progress_now()) * 1e3;
		struct pollfd exit;

		if (watch_signo(watch) != 0)
			error = -EINTR;
		else if (timeout_ns >= 0 && left_ms <= 0)
			error = -ETIMEDOUT;
		if (error != -EAGAIN)
			break;
		exit.fd = usp_file_poll_fd(file, USP_WRITE, &exit.events);
		poll(&exit, 1, left_ms < 0 ? -1 : left_ms > COMMAND_WAIT_MS ? COMMAND_WAIT_MS : (int)left_ms + 1);
	}
	watch_set_interruptible(watch, was_interruptible);
	return error;
}

bool copy_command_text(const struct copy_command *command, int error, char *text, size_t len)
{
	bool is_early = error == -EPIPE || error == -ECONNRESET;
	int status = command->status;

	if (!command->has_exited || (error != -USP_ECOMMAND && !is_early))
		return false;
	if (status < 0)
		snprintf(text, len, "its command took no more bytes");
	else if (WIFSIGNALED(status))
		snprintf(text, len, "its command was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, len, "its command exited with status %d%s", WEXITSTATUS(status),
			 is_early ? " before it had read everything" : "");
	return true;
}
