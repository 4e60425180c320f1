/* SPDX-License-Identifier: MIT */
/* copy_command - how the commands ended that are endpoints of a copy. */
#ifndef USP_CLI_COPY_COMMAND_H
#define USP_CLI_COPY_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The command of exec:. All zero for other endpoints, and until it has exited. */
struct copy_command {
	bool has_exited;
	int status; /* of waitpid(2); -1: the library had to end it */
};

/* Let the status of children reach this process, also if the parent ignored SIGCHLD. Before anything is opened. */
void copy_command_prepare(void);

/* The hook exited of usp_open_params. arg is the struct copy_command. */
void copy_command_exited(void *arg, int status);

struct usp_file;
struct watch;

/* Tell whether a file is a command. */
bool copy_command_is(const struct usp_file *file);

/*
 * Wait until the command of a sink, which was shut down, has exited: 0, -EINTR if a signal asks to stop, -ETIMEDOUT after
 * so long (negative: never), or what usp_file_sync says. Blocks. In the main thread.
 */
int copy_command_await(struct usp_file *file, struct watch *watch, int64_t timeout_ns);

/*
 * Say in text how a command ended, if that is what an error of its endpoint means. Returns whether it is: then text has a
 * sentence of at most len bytes.
 */
bool copy_command_text(const struct copy_command *command, int error, char *text, size_t len);

#endif
