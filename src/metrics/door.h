/* SPDX-License-Identifier: MIT */
/* door - the sockets at which a metrics server listens, for programs that have no other ones. */
#ifndef USP_METRICS_DOOR_H
#define USP_METRICS_DOOR_H

#include "base/name.h"
#include "metrics/server.h"

/* Listening, nonblocking sockets of one address. All zeros: none. */
struct usp_metrics_doors {
	int fds[USP_METRICS_DOORS_MAX];
	unsigned nr_fds;
	struct usp_name name; /* for UNIX: its file */
};

/*
 * Listen at "HOST:PORT", with or without "tcp:" in front, or at "unix:PATH": 0 or -errno, with a static sentence in
 * *ret_why or NULL. Blocks while a name is looked up, at most 15 s.
 */
int usp_metrics_listen(const char *address, struct usp_metrics_doors *ret_doors, const char **ret_why);

/* Close them, and remove the file of a UNIX socket if it is still theirs. */
void usp_metrics_unlisten(struct usp_metrics_doors *doors);

/* Write where they listen, such as "127.0.0.1:9000" or "unix:PATH", cut to len: the length or -errno. */
ssize_t usp_metrics_print_address(const struct usp_metrics_doors *doors, char *ret_text, size_t len);

#endif
