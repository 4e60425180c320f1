/* SPDX-License-Identifier: MIT */
/* handover - a client goes to the worker that has the fewest, whoever accepted it. */
#ifndef USP_RELAY_HANDOVER_H
#define USP_RELAY_HANDOVER_H

#include <stdbool.h>

#include "event/loop.h"

struct usp_worker;
struct usp_client;

/* What a worker is handed by others. */
struct usp_handover {
	int fds[2]; /* a pipe, whose read side is the worker's; -1 where there are no others */
	struct usp_watch watch;
};

/* 0 or -errno; fini closes the clients that nobody took. */
int usp_handover_init(struct usp_worker *worker);
void usp_handover_fini(struct usp_worker *worker);

/* From now on the worker's loop takes what it is handed. 0 or -errno. */
int usp_handover_start(struct usp_worker *worker);

/*
 * Hand over a client that the calling worker has just accepted: true if another one has so few that the client is his now. He
 * counts it from now on. Only while the caller is accepting: others do not end before that has ended.
 */
bool usp_handover_give(struct usp_worker *worker, const struct usp_client *client);

#endif
