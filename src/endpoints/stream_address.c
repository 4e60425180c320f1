/* SPDX-License-Identifier: MIT */
/* stream_address - "HOST:PORT" or "unix:PATH" as addresses of stream sockets, and sockets that listen there. */
#include "endpoints/stream_address.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/compiler.h"
#include "base/listen.h"
#include "base/sys.h"
#include "endpoints/stream.h"

static const char unix_scheme[] = "unix:", tcp_scheme[] = "tcp:";

static bool address_has_scheme(const char *text, const char *scheme)
{
	return strncmp(text, scheme, strlen(scheme)) == 0;
}

/* A list with one address, in one piece of memory. usp_stream_resolve_free recognises it by its family. */
struct address_path {
	struct addrinfo info;
	struct sockaddr_un address;
};

static int address_of_path(const char *path, struct addrinfo **ret_list, const char **ret_why)
{
	struct address_path *made = usp_alloc(sizeof(*made));
	int ret = made ? usp_addr_of_path(path, &made->address) : -ENOMEM;

	if (ret < 0) {
		*ret_why = ret == -EINVAL ? "the path of the socket is missing" : usp_stream_why(ret);
		usp_free(made);
		return ret;
	}
	made->info = (struct addrinfo){
		.ai_family = AF_UNIX,
		.ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)&made->address,
		.ai_addrlen = sizeof(made->address),
	};
	*ret_list = &made->info;
	return 0;
}

static int address_of_name(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why)
{
	return usp_addr_resolve(text, SOCK_STREAM, is_passive, usp_sys_now_ns() + USP_STREAM_LOOKUP_NS, ret_list,
				ret_why);
}

/*
 * Tell whether a text has a scheme that is none of a stream socket. A word and a colon before an address
 * cannot be a host, unless an IPv6 address without brackets begins so. The schemes of other
 * endpoints before a port count, too. "tcp:" in front allows every host.
 */
static bool address_has_other_scheme(const char *text)
{
	static const char *const others[] = {"udp", "udp-listen", "tcp-listen", "unix-listen", "fd", "exec"};
	size_t len = strcspn(text, ":[");

	if (!len || text[len] != ':')
		return false;
	for (unsigned i = 0; i < usp_array_len(others); i++) {
		if (strlen(others[i]) == len && memcmp(text, others[i], len) == 0)
			return true;
	}
	return strchr(text + len + 1, ':') && strspn(text, "0123456789abcdefABCDEF") < len;
}

/* Take the scheme off the front of an address: 0, or -EINVAL. */
static int address_take_scheme(const char **text, const char **ret_why)
{
	const char *why = NULL;

	if (strstr(*text, "://"))
		why = "a URL is no address here: HOST:PORT or unix:PATH";
	else if (address_has_scheme(*text, tcp_scheme))
		*text += strlen(tcp_scheme);
	else if (address_has_other_scheme(*text))
		why = "this is for streams: only tcp: and unix: may stand before an address";
	if (!why)
		return 0;
	*ret_why = why;
	return -EINVAL;
}

int usp_stream_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why)
{
	int ret;

	if (address_has_scheme(text, unix_scheme))
		return address_of_path(text + strlen(unix_scheme), ret_list, ret_why);
	ret = address_take_scheme(&text, ret_why);
	return ret < 0 ? ret : address_of_name(text, is_passive, ret_list, ret_why);
}

int usp_stream_resolve_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
			     const char **ret_why)
{
	int ret;

	if (ret_lookup)
		*ret_lookup = NULL;
	if (address_has_scheme(text, unix_scheme))
		return address_of_path(text + strlen(unix_scheme), ret_list, ret_why);
	ret = address_take_scheme(&text, ret_why);
	return ret < 0 ? ret : usp_addr_begin(text, SOCK_STREAM, ret_list, ret_lookup, ret_why);
}

void usp_stream_resolve_free(struct addrinfo *list)
{
	if (list && list->ai_family == AF_UNIX)
		usp_free(usp_container_of(list, struct address_path, info));
	else if (list)
		freeaddrinfo(list);
}

static int address_listen(const struct addrinfo *list, const struct usp_name_rights *rights, int backlog,
			  int ret_fds[USP_STREAM_DOORS_MAX], struct usp_name *ret_name)
{
	if (list->ai_family != AF_UNIX)
		return usp_stream_listen(list, backlog, ret_fds, USP_STREAM_DOORS_MAX);
	ret_fds[0] = usp_unix_listen((const struct sockaddr_un *)list->ai_addr, rights, backlog, ret_name);
	return ret_fds[0] < 0 ? ret_fds[0] : 1;
}

int usp_stream_listen_at(const char *text, const struct usp_name_rights *rights, int backlog,
			 int ret_fds[USP_STREAM_DOORS_MAX], struct usp_name *ret_name, const char **ret_why)
{
	struct addrinfo *list;
	int ret = usp_stream_resolve(text, true, &list, ret_why);

	if (ret < 0)
		return ret;
	ret = address_listen(list, rights, backlog, ret_fds, ret_name);
	usp_stream_resolve_free(list);
	if (ret < 0)
		*ret_why = ret == -ENOENT ? "there is no such directory" : usp_stream_why(ret);
	return ret;
}
