/* SPDX-License-Identifier: MIT */
/* unix - a connection of a UNIX socket, made or awaited: at a path, or at an abstract name. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/listen.h"
#include "base/lookup.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "endpoints/stream.h"
#include "lanes/probe.h"

static const struct usp_file_ops unix_ops = {USP_STREAM_HOOKS, .name = "unix", .probe = usp_probe_unix};

/* --- The file of a socket ------------------------------------------------------------------------ */

static int unix_parse_mode(const char *text, unsigned *ret_mode)
{
	unsigned mode = 0;

	if (!*text || strlen(text) > strlen("0777"))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '7')
			return -EINVAL;
		mode = mode * 8 + (unsigned)(*text - '0');
	}
	*ret_mode = mode;
	return mode && mode <= 0777 ? 0 : -EINVAL;
}

/* Parse USER, USER:GROUP or :GROUP. */
static int unix_parse_owner(const char *text, struct usp_name_rights *ret_rights)
{
	size_t len = strcspn(text, ":");
	char *user = usp_alloc_string(text);
	int ret = user ? 0 : -ENOMEM;

	if (ret == 0) {
		user[len] = '\0';
		ret_rights->has_user = len;
		ret_rights->has_group = text[len];
		if (len)
			ret = usp_lookup_user(user, &ret_rights->user);
		if (ret == 0 && text[len])
			ret = usp_lookup_group(text + len + 1, &ret_rights->group);
	}
	usp_free(user);
	return ret;
}

/* Parse what the file of the socket gets. */
static int unix_parse_rights(struct usp_stream *stream, const char **ret_why)
{
	const char *mode = usp_spec_option(stream->spec, "mode"), *owner = usp_spec_option(stream->spec, "owner");

	stream->has_rights = mode || owner;
	if (mode && unix_parse_mode(mode, &stream->rights.mode) < 0) {
		*ret_why = "mode takes permissions in octal digits, such as 0660";
		return -EINVAL;
	}
	if (owner && unix_parse_owner(owner, &stream->rights) < 0) {
		*ret_why = "owner takes a user and a group that exist: USER, USER:GROUP or :GROUP";
		return -EINVAL;
	}
	if (stream->has_rights && stream->spec->address[0] == '@') {
		*ret_why = "an abstract socket has no file: mode and owner are for a path";
		return -EINVAL;
	}
	return 0;
}

/* --- The family ---------------------------------------------------------------------------------- */

/* Parse a path. "@name" is an abstract name, which has no file: it begins with a NUL. */
static int unix_find(struct usp_stream *stream, bool is_passive, const char **ret_why)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&stream->address;
	const char *path = stream->spec->address;
	int ret = is_passive ? unix_parse_rights(stream, ret_why) : 0;

	if (ret < 0)
		return ret;
	ret = usp_addr_of_path(path, address);
	if (ret < 0) {
		*ret_why = ret == -EINVAL ? "the path of the socket is missing" : usp_stream_why(ret);
		return ret;
	}
	if (path[0] == '@')
		address->sun_path[0] = '\0';
	usp_stream_set_address(
		stream,
		(socklen_t)(path[0] == '@' ? offsetof(struct sockaddr_un, sun_path) + strlen(path) : sizeof(*address)));
	return 0;
}

static int unix_listen(struct usp_stream *stream, int ret_fds[USP_STREAM_DOORS_MAX])
{
	if (stream->spec->address[0] == '@')
		return usp_stream_listen_one(stream, ret_fds);
	ret_fds[0] = usp_unix_listen((const struct sockaddr_un *)&stream->address,
				     stream->has_rights ? &stream->rights : NULL, 1, &stream->name);
	return ret_fds[0] < 0 ? ret_fds[0] : 1;
}

const struct usp_stream_family usp_unix_family = {
	.ops = &unix_ops,
	.find = unix_find,
	.listen = unix_listen,
	.why = usp_stream_why,
};

/* --- The list ----------------------------------------------------------------------------------- */

static int unix_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	return usp_stream_connect(&usp_unix_family, spec, params, ret_file, ret_why);
}

static int unix_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			    struct usp_file **ret_file, const char **ret_why)
{
	return usp_stream_await(&usp_unix_family, spec, params, ret_file, ret_why);
}

static const char *const unix_options[] = {"retry", "timeout", NULL};
static const char *const unix_listen_options[] = {"timeout", "mode", "owner", NULL};

const struct usp_endpoint usp_unix_endpoint = {
	.scheme = "unix",
	.form = "unix:PATH",
	.summary = "a connection to a UNIX socket",
	.modes = USP_READ | USP_WRITE,
	.options = unix_options,
	.open = unix_open,
};

const struct usp_endpoint usp_unix_listen_endpoint = {
	.scheme = "unix-listen",
	.form = "unix-listen:PATH",
	.summary = "the first client of a UNIX socket that is made",
	.modes = USP_READ | USP_WRITE,
	.options = unix_listen_options,
	.open = unix_listen_open,
};
