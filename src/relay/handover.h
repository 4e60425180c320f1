/* SPDX-License-Identifier: MIT */
/* handover - give each client to the worker that has the fewest. */
#ifndef USP_RELAY_HANDOVER_H
#define USP_RELAY_HANDOVER_H

#include <stdbool.h>

#include "event/loop.h"

struct usp_worker;
struct usp_client;

/* The clients that other workers hand to a worker. */
struct usp_handover {
	int fds[2]; /* a pipe, which the worker reads; -1 without other workers */
	struct usp_watch watch;
};

/* Make the pipe: 0 or -errno. fini closes the clients that no worker took. */
int usp_handover_init(struct usp_worker *worker);
void usp_handover_fini(struct usp_worker *worker);

/* Start to take clients from other workers, in the worker's loop. 0 or -errno. */
int usp_handover_start(struct usp_worker *worker);

/*
 * Hand over a client that this worker has just accepted. True if another worker has clearly fewer
 * connections: it now owns and counts the client. Call it only while this worker accepts: the
 * others do not end before that has ended.
 */
bool usp_handover_give(struct usp_worker *worker, const struct usp_client *client);

#endif
