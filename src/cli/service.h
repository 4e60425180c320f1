/* SPDX-License-Identifier: MIT */
/*
 * service - what a service manager such as systemd hands to a process and wants to hear from it.
 *
 * These are the conventions of sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3): environment variables and
 * datagrams. Where no such manager started the process, nothing is found, sent or due, and that is no error.
 */
#ifndef USP_CLI_SERVICE_H
#define USP_CLI_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor that the manager opened for us, in most cases a socket that listens. */
struct service_fd {
	int fd;
	const char *name; /* FileDescriptorName= of its unit; "unknown" if the manager names none */
};

/*
 * Take over the descriptors that were passed: how many there are, or -errno. They are the caller's from then on and
 * closed by exec; the variables that announced them are gone, so neither a second call nor a child finds any. *ret_fds
 * and the names are one piece of memory, for free(); NULL if there is none. -EINVAL if the variables contradict each
 * other, -EBADF if a descriptor is not open, -ENOMEM. Changes the environment: before there are threads.
 */
int service_take_fds(struct service_fd **ret_fds);

/* Keep a socket for news from now on, so that there is one when descriptors have run out: 0, also without a manager, or -errno. */
int service_begin(void);

/*
 * Tell the manager the lines of a message: "READY=1", "STOPPING=1\nSTATUS=%u connections" ... 0, also where nobody
 * wants to hear, or -errno. If the manager does not read it waits for a second, then -EAGAIN. Safe from any thread.
 */
int service_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same without waiting: -EAGAIN at once if the manager does not read. For what is said again, or need not be heard. */
int service_try_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Is a descriptor the one that the journal reads? Then a line may begin with its priority, as "<4>" (sd-daemon(3)). */
bool service_is_journal(int fd);

/* How often "WATCHDOG=1" is due, half of what the manager allows; 0 if it does not watch this process. */
uint64_t service_watchdog_ns(void);

#endif
