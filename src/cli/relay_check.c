/* SPDX-License-Identifier: MIT */
/* relay_check - refuse options that cannot be honoured with the addresses that the relay listens at. */
#include "cli.h"
#include "relay.h"

#include <errno.h>
#include <string.h>

#define CHECK_ADDRESS_MAX 128

static const char systemd_scheme[] = "systemd", unix_scheme[] = "unix:";

static const char check_no_unix[] = "no UNIX socket is made here";

static bool check_begins(const char *text, const char *scheme)
{
	return strncmp(text, scheme, strlen(scheme)) == 0;
}

bool relay_is_passed(const struct relay_request *request, const char **ret_name)
{
	const char *behind = request->listen + strlen(systemd_scheme);

	if (!check_begins(request->listen, systemd_scheme) || (*behind && *behind != ':'))
		return false;
	*ret_name = *behind ? behind + 1 : NULL;
	return true;
}

bool relay_makes_unix(const struct relay_request *request)
{
	return check_begins(request->listen, unix_scheme) ||
	       (request->metrics && check_begins(request->metrics, unix_scheme));
}

bool relay_is_usage(int error)
{
	return error == -EINVAL || error == -ENAMETOOLONG || error == -EAFNOSUPPORT || error == -ELOOP;
}

static int check_refuse(const char *option, const char *why)
{
	message_say("relay: %s: %s", option, why);
	return CLI_USAGE;
}

int relay_check_request(const struct relay_request *request)
{
	const char *name;

	if (request->params.backlog && relay_is_passed(request, &name))
		return check_refuse("--backlog", "the service manager makes the sockets: Backlog= of their unit");
	if (request->user.name && !request->user.has_group && !request->group.has_group)
		return check_refuse("--user", "a number without an entry has no group of its own: --group is needed");
	if (relay_makes_unix(request))
		return CLI_DONE;
	if (request->params.unix_mode)
		return check_refuse("--unix-mode", check_no_unix);
	if (request->params.has_unix_user)
		return check_refuse("--unix-user", check_no_unix);
	if (request->params.has_unix_group)
		return check_refuse("--unix-group", check_no_unix);
	return CLI_DONE;
}

int relay_check_listeners(struct usp_relay *relay, const struct relay_request *request)
{
	const struct usp_relay_params *params = &request->params;
	char address[CHECK_ADDRESS_MAX];
	bool has_unix = false;

	for (unsigned i = 0; usp_relay_address(relay, i, address, sizeof(address)) >= 0; i++)
		has_unix |= check_begins(address, unix_scheme);
	if (has_unix && params->balance == USP_BALANCE_SOURCE && !params->proxy_accept)
		return check_refuse("--balance source", "clients of a UNIX socket have no address");
	return CLI_DONE;
}
