/* SPDX-License-Identifier: MIT */
/*
 * metrics - a small HTTP server that reports the state of a relay: /metrics for Prometheus, / for
 * people.
 */
#ifndef USP_RELAY_METRICS_H
#define USP_RELAY_METRICS_H

#include <usplice/relay.h>

#include "event/loop.h"
#include "relay/place.h"

#define USP_METRICS_HOSTS_MAX 64

struct usp_metrics;

/*
 * Make a server for one to USP_PLACE_DOORS_MAX doors, which it then owns. On failure they stay with
 * the caller.
 */
int usp_metrics_new(struct usp_relay *relay, const struct usp_door *doors, unsigned nr_doors,
		    struct usp_metrics **ret_metrics);

/*
 * Answer under this name, too, which is copied: 0, -EINVAL with a reason, -ENOSPC after
 * USP_METRICS_HOSTS_MAX, or -ENOMEM.
 */
int usp_metrics_add_host(struct usp_metrics *metrics, const char *name, const char **ret_why);

int usp_metrics_listener(const struct usp_metrics *metrics); /* the first socket, lent */

/* Call act for each door. */
void usp_metrics_for_doors(struct usp_metrics *metrics, void (*act)(struct usp_door *door));

/*
 * Stop listening, from the loop: the addresses are free for a successor, and clients that have
 * asked get their answer. May be called again.
 */
void usp_metrics_shut(struct usp_metrics *metrics);

/*
 * Begin on a loop, whose thread runs all of it: 0 or -errno. Call free before the loop is freed,
 * and not from its callbacks; NULL is allowed.
 */
int usp_metrics_start(struct usp_metrics *metrics, struct usp_loop *loop);
void usp_metrics_free(struct usp_metrics *metrics);

#endif
