/* SPDX-License-Identifier: MIT */
/* relay_run - set a relay up as the command line says, and run it. */
#include "cli.h"
#include "descriptor_limit.h"
#include "relay.h"
#include "relay_log.h"
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_ADDRESS_MAX 128

static const char systemd_scheme[] = "systemd";

/* --- Listening ------------------------------------------------------------------------------------------- */

static int run_refused(const char *what, const char *name, int error, const char *why)
{
	message_say("relay: %s '%s': %s", what, name, why ? why : strerror(-error));
	return relay_is_usage(error) ? CLI_USAGE : CLI_SOURCE;
}

/* Listen at the sockets that the service manager passed, all or those of one name; close the others. */
static int run_listen_passed(struct usp_relay *relay, const char *name)
{
	struct service_fd *fds;
	int nr = service_take_fds(&fds), nr_used = 0, exit_code = CLI_DONE;

	if (nr < 0)
		return run_refused("sockets of", systemd_scheme, nr, NULL);
	for (int i = 0; i < nr; i++) {
		int error = name && strcmp(name, fds[i].name) != 0 ? 1 : usp_relay_listen_fd(relay, fds[i].fd);

		if (error < 0 && exit_code == CLI_DONE)
			exit_code = run_refused("socket", fds[i].name, error,
						error == -ELOOP ? "a target is this very address"
								: "it is no stream socket that listens");
		if (error)
			close(fds[i].fd);
		else
			nr_used++;
	}
	if (!nr_used && exit_code == CLI_DONE)
		exit_code = run_refused("socket", name ? name : systemd_scheme, 0, "the service manager passed none");
	free(fds);
	return exit_code;
}

static int run_listen(struct usp_relay *relay, const struct relay_request *request)
{
	const char *why = NULL, *name;
	int error;

	if (relay_is_passed(request, &name))
		return run_listen_passed(relay, name);
	error = usp_relay_listen(relay, request->listen, &why);
	return error < 0 ? run_refused("cannot listen at", request->listen, error, why) : CLI_DONE;
}

static int run_serve_metrics(struct usp_relay *relay, const struct relay_request *request)
{
	const char *why = NULL;
	int error = request->metrics ? usp_relay_serve_metrics(relay, request->metrics, &why) : 0;

	if (error < 0)
		return run_refused("cannot serve metrics at", request->metrics, error, why);
	for (unsigned i = 0; i < request->nr_metrics_hosts; i++) {
		error = usp_relay_add_metrics_host(relay, request->metrics_hosts[i], &why);
		if (error < 0) {
			run_refused("cannot serve metrics as", request->metrics_hosts[i], error, why);
			return error == -EINVAL ? CLI_USAGE : CLI_FAILED;
		}
	}
	return CLI_DONE;
}

static void run_say_addresses(struct usp_relay *relay)
{
	char address[RUN_ADDRESS_MAX];

	if (usp_relay_metrics_address(relay, address, sizeof(address)) >= 0)
		message_note(MESSAGE_NOTICE, "relay: metrics at %s", address);
	for (unsigned i = 0; usp_relay_address(relay, i, address, sizeof(address)) >= 0; i++)
		message_note(MESSAGE_NOTICE, "relay: listening at %s", address);
}

/* --- The run ----------------------------------------------------------------------------------------------- */

static int run_failed(int error)
{
	message_say("relay: %s", strerror(-error));
	return CLI_FAILED;
}

static int run_watched(struct usp_relay *relay, const struct relay_request *request)
{
	struct relay_watch watch = {.request = request, .relay = relay};
	int error = relay_watch_start(&watch);

	if (error < 0)
		return run_failed(error);
	relay_say_rights(request);
	run_say_addresses(relay);
	service_begin();
	service_notify("READY=1\nSTATUS=Listening");
	error = usp_relay_run(relay);
	relay_watch_end(&watch);
	if (error < 0)
		run_failed(error);
	relay_log_turn(relay, true);
	relay_say_status(relay, MESSAGE_INFO);
	return error < 0 ? CLI_FAILED : CLI_DONE;
}

static int run_load_targets(struct usp_relay *relay, const struct relay_request *request)
{
	struct word_list targets;
	int exit_code = relay_read_targets(request, &targets);

	if (exit_code == CLI_DONE)
		exit_code = relay_name_targets(relay, &targets);
	word_list_fini(&targets);
	return exit_code;
}

static int run_load_rules(struct usp_relay *relay, const struct relay_request *request)
{
	struct word_list rules;
	int exit_code = relay_read_rules(request, &rules);

	if (exit_code == CLI_DONE)
		exit_code = relay_set_rules(relay, request, &rules);
	word_list_fini(&rules);
	return exit_code;
}

/*
 * Say why a relay cannot be made. Only a mark needs a privilege, and only a source has an address,
 * so the error tells which was refused.
 */
static int run_cannot_begin(const struct relay_request *request, int error)
{
	if (error == -EPERM && request->params.mark)
		message_say("relay: cannot mark packets: %s", strerror(-error));
	else if (request->params.source)
		message_say("relay: cannot connect from '%s': %s", request->params.source, strerror(-error));
	else
		message_say("relay: %s", strerror(-error));
	return error == -EINVAL ? CLI_USAGE : CLI_FAILED;
}

static int run_accept_proxy(struct usp_relay *relay, const struct relay_request *request)
{
	const char *why = NULL;
	int error = request->proxy_from ? usp_relay_accept_proxy(relay, request->proxy_from, &why) : 0;

	if (error < 0)
		message_say("relay: cannot accept PROXY headers of '%s': %s", request->proxy_from,
			    why ? why : strerror(-error));
	return error == -EINVAL ? CLI_USAGE : error < 0 ? CLI_FAILED : CLI_DONE;
}

/* --- What it tells while it runs ------------------------------------------------------------------------ */

static bool run_ended(void *arg, const struct usp_relay_ended *ended)
{
	(void)arg;
	relay_log_ended(ended);
	return access_log_put(ended);
}

static void run_told(void *arg, const struct usp_relay_news *news)
{
	(void)arg;
	relay_log_news(news);
}

/* Run the relay with the log: from here on no message blocks its caller. */
static int run_logged(struct usp_relay *relay, const struct relay_request *request)
{
	int error = relay_log_begin(), exit_code;

	if (error < 0)
		return run_failed(error);
	error = request->access_log ? access_log_open(request->access_log, request->access_format) : 0;
	if (error < 0) {
		message_say("relay: access log %s: %s", request->access_log, strerror(-error));
		exit_code = CLI_FAILED;
	} else {
		access_log_begin(relay);
		exit_code = run_watched(relay, request);
		access_log_close();
	}
	relay_log_end();
	return exit_code;
}

/* --- All of it ---------------------------------------------------------------------------------------- */

int relay_main(const struct relay_request *request)
{
	struct usp_relay_params params = request->params;
	struct usp_relay *relay;
	pid_t keeper = 0;
	int error, exit_code = relay_check_request(request);

	params.ended = run_ended;
	params.told = run_told;
	message_show_to(request->log_level);
	if (exit_code != CLI_DONE)
		return exit_code;
	error = usp_relay_new(&params, &relay);
	if (error < 0)
		return run_cannot_begin(request, error);
	exit_code = run_accept_proxy(relay, request);
	descriptor_limit_raise(); /* each connection takes two, and more for pipes */
	if (exit_code == CLI_DONE)
		exit_code = run_load_targets(relay, request);
	if (exit_code == CLI_DONE)
		exit_code = run_load_rules(relay, request);
	if (exit_code == CLI_DONE)
		exit_code = run_listen(relay, request);
	if (exit_code == CLI_DONE)
		exit_code = relay_check_listeners(relay, request);
	if (exit_code == CLI_DONE)
		exit_code = run_serve_metrics(relay, request);
	if (exit_code == CLI_DONE)
		exit_code = relay_become(relay, request, &keeper);
	if (exit_code == CLI_DONE)
		exit_code = run_logged(relay, request);
	usp_relay_free(relay);
	while (keeper && waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
		;
	return exit_code;
}
