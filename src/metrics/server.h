/* SPDX-License-Identifier: MIT */
/* server - a small HTTP server that reports numbers: /metrics for Prometheus, / for people. */
#ifndef USP_METRICS_SERVER_H
#define USP_METRICS_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "event/loop.h"
#include "metrics/numbers.h"

#define USP_METRICS_DOORS_MAX 8
#define USP_METRICS_HOSTS_MAX 64

struct usp_metrics;

/* A page for people, as tools/embed-page makes it. */
struct usp_metrics_page {
	const char *html;
	size_t html_len;
	const char *policy; /* its Content-Security-Policy: its own script and style, and requests to its own server */
};

/* Where the numbers come from. Functions are called in the thread of the loop; texts live as long as the server. */
struct usp_metrics_source {
	void *arg;
	const char *prefix; /* of the names in /metrics */
	void (*write_numbers)(void *arg, struct usp_numbers *numbers);
	void (*write_json)(void *arg, struct usp_text *text); /* /status.json, which the page reads */
	void (*tick)(void *arg, uint64_t now_ns);	      /* once a second */
	const struct usp_metrics_page *page;		      /* at "/" */
};

/*
 * Make a server for one to USP_METRICS_DOORS_MAX listening, nonblocking sockets of one family. They stay the caller's, and open
 * until the server is shut or freed. source is copied. 0 or -ENOMEM.
 */
int usp_metrics_new(const struct usp_metrics_source *source, const int *fds, unsigned nr_fds,
		    struct usp_metrics **ret_metrics);

/*
 * Answer under this name, too, which is copied: 0, -EINVAL with a reason, -ENOSPC after
 * USP_METRICS_HOSTS_MAX, or -ENOMEM.
 */
int usp_metrics_add_host(struct usp_metrics *metrics, const char *name, const char **ret_why);

/*
 * Stop listening, from the loop: the caller may close the sockets. Clients that have asked get their answer. May be called
 * again.
 */
void usp_metrics_shut(struct usp_metrics *metrics);

/*
 * Begin on a loop, whose thread runs all of it: 0 or -errno. Call free before the loop is freed,
 * and not from its callbacks; NULL is allowed.
 */
int usp_metrics_start(struct usp_metrics *metrics, struct usp_loop *loop);
void usp_metrics_free(struct usp_metrics *metrics);

#endif
