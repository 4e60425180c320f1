/* SPDX-License-Identifier: MIT */
/*
 * relay_user - the user that a relay changes to when it listens, and the process that then removes
 * the names of its UNIX sockets.
 *
 * To remove a name takes the right to write to its directory, such as /run, which the new user does
 * not have. An open descriptor of the directory does not help: the kernel checks the user that
 * removes. The directory cannot be handed over either. So a small process, made before the change,
 * keeps the rights. It waits for the end of a pipe, which comes when the relay drains, ends or is
 * killed. Then it removes the names that are still the relay's own.
 */
#include "cli.h"
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USER_PORT_PRIVILEGED 1024
#define USER_MODE_MAX 0777

/* --- Options ------------------------------------------------------------------------------------------ */

/* Parse a number other than (unsigned)-1, which means "leave it" to chown(2) and setresuid(2). */
static bool user_parse_number(const char *value, unsigned *ret_id)
{
	char *end;
	unsigned long id = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || id >= UINT32_MAX)
		return false;
	*ret_id = (unsigned)id;
	return true;
}

const char *relay_parse_user(const char *value, void *field)
{
	struct relay_identity *identity = field;
	const struct passwd *entry = getpwnam(value);

	*identity = (struct relay_identity){.name = value, .has_user = true};
	if (!entry && !user_parse_number(value, &identity->user))
		return "is no user here";
	if (!entry)
		entry = getpwuid(identity->user);
	if (entry) {
		identity->user = entry->pw_uid;
		identity->group = entry->pw_gid;
		identity->has_group = true;
	}
	return NULL;
}

static const char *user_find_group(const char *value, unsigned *ret_group)
{
	const struct group *entry = getgrnam(value);

	if (entry)
		*ret_group = entry->gr_gid;
	return entry || user_parse_number(value, ret_group) ? NULL : "is no group here";
}

const char *relay_parse_group(const char *value, void *field)
{
	struct relay_identity *identity = field;

	*identity = (struct relay_identity){.name = value, .has_group = true};
	return user_find_group(value, &identity->group);
}

const char *relay_parse_unix_user(const char *value, void *field)
{
	struct usp_relay_params *params = field;
	struct relay_identity identity;
	const char *why = relay_parse_user(value, &identity);

	params->unix_user = identity.user;
	params->has_unix_user = true;
	return why;
}

const char *relay_parse_unix_group(const char *value, void *field)
{
	struct usp_relay_params *params = field;

	params->has_unix_group = true;
	return user_find_group(value, &params->unix_group);
}

const char *relay_parse_unix_mode(const char *value, void *field)
{
	struct usp_relay_params *params = field;
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (value[0] < '0' || value[0] > '7' || *end || !mode || mode > USER_MODE_MAX)
		return "is no mode between 1 and 0777";
	params->unix_mode = (unsigned)mode;
	return NULL;
}

/* --- The keeper of names --------------------------------------------------------------------------------- */

/*
 * Start the keeper. It ends with its pipe and blocks all signals: a service manager sends those to all
 * processes of a service at once.
 */
static int user_start_keeper(struct usp_relay *relay, pid_t *ret_keeper)
{
	sigset_t all, old;
	int fds[2], error;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	error = pid < 0 ? -errno : 0;
	if (pid == 0) {
		close(fds[1]);
		_exit(usp_relay_keep_names(relay, fds[0]) < 0);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(fds[0]);
	if (error == 0)
		error = usp_relay_set_keeper(relay, fds[1]);
	if (error < 0)
		close(fds[1]);
	else
		*ret_keeper = pid;
	return error;
}

/* --- The change -------------------------------------------------------------------------------------------- */

static bool user_source_has_low_port(const char *source)
{
	const char *colon = source ? strrchr(source, ':') : NULL;
	unsigned port;

	if (!colon || (strchr(source, ':') != colon && colon[-1] != ']')) /* an IPv6 address without a port */
		return false;
	return user_parse_number(colon + 1, &port) && port > 0 && port < USER_PORT_PRIVILEGED;
}

/* Return the capabilities that each connection to a target needs, and no more. */
static unsigned user_capabilities(const struct usp_relay_params *params)
{
	unsigned wanted = params->mark ? 1u << CAP_NET_ADMIN : 0;

	return wanted | (user_source_has_low_port(params->source) ? 1u << CAP_NET_BIND_SERVICE : 0);
}

static int user_keep_capabilities(unsigned wanted)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = wanted, .permitted = wanted},
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int user_change(unsigned user, unsigned group, unsigned capabilities)
{
	if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0)
		return -errno;
	if (user != geteuid() && capabilities && prctl(PR_SET_KEEPCAPS, 1L) < 0)
		return -errno;
	if (setresuid(user, user, user) < 0)
		return -errno;
	return user && capabilities ? user_keep_capabilities(capabilities) : 0;
}

static int user_become(struct usp_relay *relay, const struct relay_request *request, unsigned user, unsigned group,
		       pid_t *ret_keeper)
{
	int error = 0;

	if (user == geteuid() && group == getegid() && user) /* an ordinary user, which cannot drop groups either */
		return 0;
	if (user && relay_makes_unix(request))
		error = user_start_keeper(relay, ret_keeper);
	return error < 0 ? error : user_change(user, group, user_capabilities(&request->params));
}

static void user_try_file(const struct relay_request *request, const char *path)
{
	if (request->user.name && path && access(path, R_OK) < 0)
		message_note(MESSAGE_WARNING, "relay: %s: %s: SIGHUP cannot read it again as user %s", path,
			     strerror(errno), request->user.name);
}

void relay_say_rights(const struct relay_request *request)
{
	if (geteuid() == 0)
		message_note(MESSAGE_WARNING, "relay: runs as root, and stays so; --user gives that up");
	user_try_file(request, request->targets_file);
	user_try_file(request, request->access_file);
}

int relay_become(struct usp_relay *relay, const struct relay_request *request, pid_t *ret_keeper)
{
	unsigned user = request->user.has_user ? request->user.user : geteuid(), group = getegid();
	const char *name = request->user.name ? request->user.name : request->group.name;
	int error = 0;

	if (request->user.has_group)
		group = request->user.group;
	if (request->group.has_group)
		group = request->group.group;
	if (name)
		error = user_become(relay, request, user, group, ret_keeper);
	if (error < 0) {
		message_say("relay: cannot become '%s': %s", name, strerror(-error));
		return CLI_FAILED;
	}
	return CLI_DONE;
}
