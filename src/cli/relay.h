/* SPDX-License-Identifier: MIT */
/* relay - what the files that make up `usplice relay` share: what was asked for, and the run. */
#ifndef USP_CLI_RELAY_H
#define USP_CLI_RELAY_H

#include <pthread.h>
#include <signal.h>
#include <usplice/relay.h>

#define RELAY_METRICS_HOSTS_MAX 64

/* The command line, as it was parsed. */
struct relay_request {
	const char *listen;
	char *const *targets; /* of the command line */
	unsigned nr_targets;
	struct usp_relay_params params;
	const char *targets_file, *metrics;
	const char *metrics_hosts[RELAY_METRICS_HOSTS_MAX];
	unsigned nr_metrics_hosts;
	const char *proxy_from; /* blocks of addresses of which PROXY headers are taken; NULL: of all, if of any */
	bool quiet, help;
};

/* The thread that takes the signals, feeds the service manager's watchdog, and reads the target file again. */
struct relay_watch {
	const struct relay_request *request;
	struct usp_relay *relay;
	pthread_t thread;
	sigset_t signals, old_mask;
	bool must_end; /* written before the thread is woken up */
};

/* 0 or -errno. Called in the main thread; from then on threads are born with the signals blocked. */
int relay_watch_start(struct relay_watch *watch);
void relay_watch_end(struct relay_watch *watch);

/* Give the relay its targets, those of the command line and of the file. An exit code; what is wrong has been told. */
int relay_load_targets(struct usp_relay *relay, const struct relay_request *request);

/* Does LISTEN mean sockets of the service manager? Then *ret_name is which of them, or NULL for all. */
bool relay_is_passed(const struct relay_request *request, const char **ret_name);

/* Can the options be honoured, before anything is made and when it listens? An exit code; what is wrong has been told. */
int relay_check_request(const struct relay_request *request);
int relay_check_listeners(struct usp_relay *relay, const struct relay_request *request);

/* Is an error of an address one that no other moment mends? Then service managers need not try again. */
bool relay_is_usage(int error);

/* One line on standard error: what has been relayed so far, and how. */
void relay_say_status(struct usp_relay *relay);

/* Do all that was asked for: an exit code. */
int relay_main(const struct relay_request *request);

#endif
