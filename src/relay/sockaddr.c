/* SPDX-License-Identifier: MIT */
/* sockaddr - "HOST:PORT" or "unix:PATH" as addresses of sockets, and back to text. */
#include "relay/sockaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "endpoints/stream.h"

#define SOCKADDR_HASH_BASIS 2166136261u /* FNV-1a */
#define SOCKADDR_HASH_PRIME 16777619u
#define SOCKADDR_MAPPED_LEN 12 /* before an IPv4 address in the form of IPv6 */

static const char unix_scheme[] = "unix:", tcp_scheme[] = "tcp:";

static bool sockaddr_has_scheme(const char *text, const char *scheme)
{
	return strncmp(text, scheme, strlen(scheme)) == 0;
}

/* --- From text --------------------------------------------------------------------------------------- */

/* A list with one address, in one piece of memory. usp_sockaddr_free recognises it by its family. */
struct sockaddr_path {
	struct addrinfo info;
	struct sockaddr_un address;
};

static int sockaddr_of_path(const char *path, struct addrinfo **ret_list, const char **ret_why)
{
	struct sockaddr_path *made = usp_alloc(sizeof(*made));
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

static int sockaddr_of_name(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why)
{
	return usp_addr_resolve(text, SOCK_STREAM, is_passive, usp_sys_now_ns() + USP_SOCKADDR_LOOKUP_NS, ret_list,
				ret_why);
}

/*
 * Tell whether a text has a scheme that a relay does not take. A word and a colon before an address
 * cannot be a host, unless an IPv6 address without brackets begins so. The schemes of other
 * endpoints before a port count, too. "tcp:" in front allows every host.
 */
static bool sockaddr_has_other_scheme(const char *text)
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
static int sockaddr_take_scheme(const char **text, const char **ret_why)
{
	const char *why = NULL;

	if (strstr(*text, "://"))
		why = "a URL is no address here: HOST:PORT or unix:PATH";
	else if (sockaddr_has_scheme(*text, tcp_scheme))
		*text += strlen(tcp_scheme);
	else if (sockaddr_has_other_scheme(*text))
		why = "a relay is for streams: only tcp: and unix: may stand before an address";
	if (!why)
		return 0;
	*ret_why = why;
	return -EINVAL;
}

int usp_sockaddr_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why)
{
	int ret;

	if (sockaddr_has_scheme(text, unix_scheme))
		return sockaddr_of_path(text + strlen(unix_scheme), ret_list, ret_why);
	ret = sockaddr_take_scheme(&text, ret_why);
	return ret < 0 ? ret : sockaddr_of_name(text, is_passive, ret_list, ret_why);
}

int usp_sockaddr_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
		       const char **ret_why)
{
	int ret;

	if (ret_lookup)
		*ret_lookup = NULL;
	if (sockaddr_has_scheme(text, unix_scheme))
		return sockaddr_of_path(text + strlen(unix_scheme), ret_list, ret_why);
	ret = sockaddr_take_scheme(&text, ret_why);
	return ret < 0 ? ret : usp_addr_begin(text, SOCK_STREAM, ret_list, ret_lookup, ret_why);
}

void usp_sockaddr_free(struct addrinfo *list)
{
	if (list && list->ai_family == AF_UNIX)
		usp_free(usp_container_of(list, struct sockaddr_path, info));
	else if (list)
		freeaddrinfo(list);
}

int usp_sockaddr_resolve_source(const char *text, struct addrinfo **ret_list)
{
	char padded[NI_MAXHOST + NI_MAXSERV];
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']'), *why;
	bool is_bare = colon && !bracket && strchr(text, ':') != colon; /* an IPv6 address, without a port */
	bool has_port = colon && !is_bare && (!bracket || colon > bracket);
	const char *format = is_bare ? "[%s]:0" : has_port ? "%s" : "%s:0";

	if (!*text || colon == text || (size_t)snprintf(padded, sizeof(padded), format, text) >= sizeof(padded))
		return -EINVAL;
	return sockaddr_of_name(padded, true, ret_list, &why);
}

int usp_sockaddr_bind(int fd, const struct addrinfo *source)
{
	usp_sys_setsockopt_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return usp_sys_bind(fd, source->ai_addr, source->ai_addrlen);
}

/* --- To other forms ------------------------------------------------------------------------------------ */

void usp_sockaddr_unmap(struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *mapped = (const struct sockaddr_in6 *)address;
	struct sockaddr_in plain = {.sin_family = AF_INET};

	if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&mapped->sin6_addr))
		return;
	plain.sin_port = mapped->sin6_port;
	memcpy(&plain.sin_addr, &mapped->sin6_addr.s6_addr[SOCKADDR_MAPPED_LEN], sizeof(plain.sin_addr));
	*address = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
	memcpy(address, &plain, sizeof(plain));
}

void usp_peer_take(const struct sockaddr_storage *address, union usp_peer *ret_peer)
{
	struct sockaddr_storage plain = *address;

	usp_sockaddr_unmap(&plain);
	memset(ret_peer, 0, sizeof(*ret_peer));
	if (plain.ss_family == AF_INET)
		memcpy(&ret_peer->in, &plain, sizeof(ret_peer->in));
	else if (plain.ss_family == AF_INET6)
		memcpy(&ret_peer->in6, &plain, sizeof(ret_peer->in6));
	else
		ret_peer->any.sa_family = plain.ss_family;
}

uint32_t usp_sockaddr_hash(const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const unsigned char *bytes = NULL;
	uint32_t hash = SOCKADDR_HASH_BASIS;
	size_t len = 0;

	if (address->sa_family == AF_INET) {
		bytes = (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr;
		len = sizeof(struct in_addr);
	} else if (address->sa_family == AF_INET6) {
		size_t off = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? SOCKADDR_MAPPED_LEN : 0;

		bytes = in6->sin6_addr.s6_addr + off;
		len = sizeof(struct in6_addr) - off;
	}
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * SOCKADDR_HASH_PRIME;
	return hash;
}
