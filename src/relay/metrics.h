/* SPDX-License-Identifier: MIT */
/* metrics - a small HTTP server that tells how a relay is: /metrics for Prometheus, / for people. */
#ifndef USP_RELAY_METRICS_H
#define USP_RELAY_METRICS_H

#include <usplice/relay.h>

#include "run/loop.h"

struct usp_metrics;

/* Serve on a listening, nonblocking socket, which it then owns. On failure the socket stays with the caller. */
int usp_metrics_new(struct usp_relay *relay, int listener, struct usp_metrics **ret_metrics);
int usp_metrics_listener(const struct usp_metrics *metrics); /* that socket, lent */

/*
 * Begin on a loop, in whose thread all of it runs: 0 or -errno. free ends it, before the loop goes and not from within its
 * calls; NULL is allowed.
 */
int usp_metrics_start(struct usp_metrics *metrics, struct usp_loop *loop);
void usp_metrics_free(struct usp_metrics *metrics);

#endif
