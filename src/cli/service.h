/* SPDX-License-Identifier: MIT */
/*
 * service - what a service manager such as systemd passes to a process, and what it expects from
 * it.
 *
 * These are the conventions of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3):
 * environment variables and datagrams. Without such a manager nothing is found, sent or due, and
 * that is not an error.
 */
#ifndef USP_CLI_SERVICE_H
#define USP_CLI_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor that the manager opened for this process, usually a socket that listens. */
struct service_fd {
	int fd;
	const char *name; /* FileDescriptorName= of its unit; "unknown" without one */
};

/*
 * Take over the descriptors that were passed: how many there are, or -errno. The caller owns them,
 * and exec closes them. The variables that announced them are removed, so neither a second call nor
 * a child finds any. *ret_fds and the names are one piece of memory, for free(); NULL without any.
 * -EINVAL if the variables contradict each other, -EBADF if a descriptor is not open, -ENOMEM.
 * Changes the environment: call it before there are threads.
 */
int service_take_fds(struct service_fd **ret_fds);

/*
 * Keep a socket for news from now on, for times when descriptors have run out: 0, also without a
 * manager, or -errno.
 */
int service_begin(void);

/*
 * Send the manager the lines of a message: "READY=1", "STOPPING=1\nSTATUS=%u connections" ... 0,
 * also without a manager, or -errno. If the manager does not read it waits for a second, then
 * -EAGAIN. Safe from any thread.
 */
int service_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Send without waiting: -EAGAIN at once if the manager does not read. For messages that are
 * repeated, or may be lost.
 */
int service_try_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Tell whether the journal reads a descriptor. A line may then begin with its priority, such as
 * "<4>" (sd-daemon(3)).
 */
bool service_is_journal(int fd);

/*
 * Return how often "WATCHDOG=1" is due, half of what the manager allows; 0 if it does not watch
 * this process.
 */
uint64_t service_watchdog_ns(void);

#endif
