/* SPDX-License-Identifier: MIT */
/* relay - what the files of `usplice relay` share: the request, and the run. */
#ifndef USP_CLI_RELAY_H
#define USP_CLI_RELAY_H

#include <pthread.h>
#include <signal.h>
#include <usplice/relay.h>

#include "access_log.h"
#include "cli.h"
#include "word_list.h"

#define RELAY_METRICS_HOSTS_MAX 64

/* The user and group to change to: a user with its own group, or a group. */
struct relay_identity {
	const char *name; /* NULL: no change */
	unsigned user, group;
	bool has_user, has_group;
};

/* The command line, parsed. */
struct relay_request {
	const char *listen;
	char *const *targets; /* of the command line */
	unsigned nr_targets;
	struct usp_relay_params params;
	const char *targets_file, *metrics;
	const char *metrics_hosts[RELAY_METRICS_HOSTS_MAX];
	unsigned nr_metrics_hosts;
	const char *proxy_from; /* blocks of addresses that must send PROXY headers; NULL: all, if any */
	struct relay_identity user, group;
	bool help;
	enum message_level log_level; /* the last level that is shown */
	const char *access_log;
	enum access_format access_format;
	struct word_list rules; /* of the command line */
	const char *access_file;
};

/* The thread that takes the signals and feeds the service manager's watchdog. It never blocks. */
struct relay_watch {
	const struct relay_request *request;
	struct usp_relay *relay;
	struct relay_reload *reload;
	pthread_t thread;
	sigset_t signals, old_mask;
	bool must_end; /* set before the thread is woken */
};

/* Start the watch: 0 or -errno. Call it in the main thread. Threads made later have the signals blocked. */
int relay_watch_start(struct relay_watch *watch);
void relay_watch_end(struct relay_watch *watch);

/*
 * Read the targets and rules again, in a thread, on request. ask does not block, and end does not
 * wait. new returns NULL without memory.
 */
struct relay_reload;
struct relay_reload *relay_reload_new(const struct relay_request *request, struct usp_relay *relay);
void relay_reload_ask(struct relay_reload *reload);
void relay_reload_end(struct relay_reload *reload);

/*
 * Read the targets, those of the command line and then those of the file, which may block.
 * relay_name_targets names them to the relay, and does not block. An exit code; the error has been
 * said. Free the list also after a failure.
 */
int relay_read_targets(const struct relay_request *request, struct word_list *ret_targets);
int relay_name_targets(struct usp_relay *relay, const struct word_list *targets);

/* Read the rules, and set them, as the targets. Without rules every client is served. */
int relay_read_rules(const struct relay_request *request, struct word_list *ret_rules);
int relay_set_rules(struct usp_relay *relay, const struct relay_request *request, const struct word_list *rules);

/*
 * Parse options (option.h): an identity; the user, group or mode of UNIX sockets in struct
 * usp_relay_params.
 */
const char *relay_parse_user(const char *value, void *field);
const char *relay_parse_group(const char *value, void *field);
const char *relay_parse_unix_user(const char *value, void *field);
const char *relay_parse_unix_group(const char *value, void *field);
const char *relay_parse_unix_mode(const char *value, void *field);

/*
 * Change to the requested user and group, after all that needs rights is open, and before there are
 * threads. A process that keeps the rights removes the names of UNIX sockets in the end:
 * *ret_keeper, to be waited for after the relay is freed, or 0. An exit code.
 */
int relay_become(struct usp_relay *relay, const struct relay_request *request, pid_t *ret_keeper);

/* Say which rights were kept without need, and which were given up that will be missed. */
void relay_say_rights(const struct relay_request *request);

/* Tell whether the relay makes a UNIX socket. */
bool relay_makes_unix(const struct relay_request *request);

/*
 * Tell whether LISTEN means sockets of the service manager. Then *ret_name is the name of them, or
 * NULL for all.
 */
bool relay_is_passed(const struct relay_request *request, const char **ret_name);

/*
 * Check whether the options can be honoured: before anything is made, and when the relay listens.
 * An exit code; the error has been said.
 */
int relay_check_request(const struct relay_request *request);
int relay_check_listeners(struct usp_relay *relay, const struct relay_request *request);

/* Tell whether an error of an address is permanent, so that a service manager need not try again. */
bool relay_is_usage(int error);

/* Print one line on standard error: what has been relayed so far, and how. */
void relay_say_status(struct usp_relay *relay, enum message_level level);

/* Run the whole relay: an exit code. */
int relay_main(const struct relay_request *request);

#endif
