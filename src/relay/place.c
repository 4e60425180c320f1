/* SPDX-License-Identifier: MIT */
/* place - where a relay listens and connects to: "HOST:PORT" or "unix:PATH", as addresses and back. */
#include "relay/place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "endpoints/socket.h"

#define PLACE_HASH_BASIS 2166136261u /* FNV-1a */
#define PLACE_HASH_PRIME 16777619u
#define PLACE_MAPPED_LEN 12 /* before an IPv4 address in the form of IPv6 */

#define PLACE_NAME_NS 1000000000 /* for the lock of a name, at the end */

static const char unix_scheme[] = "unix:", tcp_scheme[] = "tcp:";

static bool place_has_scheme(const char *text, const char *scheme)
{
	return strncmp(text, scheme, strlen(scheme)) == 0;
}

/* --- From text --------------------------------------------------------------------------------------- */

/* A list with one address, in one piece of memory. usp_place_free recognises it by its family. */
struct place_path {
	struct addrinfo info;
	struct sockaddr_un address;
};

static int place_of_path(const char *path, struct addrinfo **ret_list, const char **ret_why)
{
	struct place_path *place = usp_alloc(sizeof(*place));
	int ret = place ? usp_addr_of_path(path, &place->address) : -ENOMEM;

	if (ret < 0) {
		*ret_why = ret == -EINVAL ? "the path of the socket is missing" : usp_stream_why(ret);
		usp_free(place);
		return ret;
	}
	place->info = (struct addrinfo){
		.ai_family = AF_UNIX,
		.ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)&place->address,
		.ai_addrlen = sizeof(place->address),
	};
	*ret_list = &place->info;
	return 0;
}

static int place_of_name(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why)
{
	return usp_addr_resolve(text, SOCK_STREAM, is_passive, usp_sys_now_ns() + USP_PLACE_LOOKUP_NS, ret_list,
				ret_why);
}

/*
 * Tell whether a text has a scheme that a relay does not take. A word and a colon before an address
 * cannot be a host, unless an IPv6 address without brackets begins so. The schemes of other
 * endpoints before a port count, too. "tcp:" in front allows every host.
 */
static bool place_has_other_scheme(const char *text)
{
	static const char *const others[] = {"udp", "udp-listen", "tcp-listen", "unix-listen", "fd"};
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
static int place_take_scheme(const char **text, const char **ret_why)
{
	const char *why = NULL;

	if (strstr(*text, "://"))
		why = "a URL is no address here: HOST:PORT or unix:PATH";
	else if (place_has_scheme(*text, tcp_scheme))
		*text += strlen(tcp_scheme);
	else if (place_has_other_scheme(*text))
		why = "a relay is for streams: only tcp: and unix: may stand before an address";
	if (!why)
		return 0;
	*ret_why = why;
	return -EINVAL;
}

int usp_place_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why)
{
	int ret;

	if (place_has_scheme(text, unix_scheme))
		return place_of_path(text + strlen(unix_scheme), ret_list, ret_why);
	ret = place_take_scheme(&text, ret_why);
	return ret < 0 ? ret : place_of_name(text, is_passive, ret_list, ret_why);
}

int usp_place_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup, const char **ret_why)
{
	int ret;

	if (ret_lookup)
		*ret_lookup = NULL;
	if (place_has_scheme(text, unix_scheme))
		return place_of_path(text + strlen(unix_scheme), ret_list, ret_why);
	ret = place_take_scheme(&text, ret_why);
	return ret < 0 ? ret : usp_addr_begin(text, SOCK_STREAM, ret_list, ret_lookup, ret_why);
}

void usp_place_free(struct addrinfo *list)
{
	if (list && list->ai_family == AF_UNIX)
		usp_free(usp_container_of(list, struct place_path, info));
	else if (list)
		freeaddrinfo(list);
}

int usp_place_resolve_source(const char *text, struct addrinfo **ret_list)
{
	char padded[NI_MAXHOST + NI_MAXSERV];
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']'), *why;
	bool is_bare = colon && !bracket && strchr(text, ':') != colon; /* an IPv6 address, without a port */
	bool has_port = colon && !is_bare && (!bracket || colon > bracket);
	const char *format = is_bare ? "[%s]:0" : has_port ? "%s" : "%s:0";

	if (!*text || colon == text || (size_t)snprintf(padded, sizeof(padded), format, text) >= sizeof(padded))
		return -EINVAL;
	return place_of_name(padded, true, ret_list, &why);
}

int usp_place_bind(int fd, const struct addrinfo *source)
{
	usp_sys_setsockopt_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return usp_sys_bind(fd, source->ai_addr, source->ai_addrlen);
}

/*
 * Tell whether a socket that was passed is of another network namespace. Kernels before 5.14 do not
 * tell.
 */
static bool place_is_elsewhere(int fd)
{
	int64_t there = usp_sys_net_cookie(fd), here;
	int own = there < 0 ? -1 : usp_sys_socket(AF_INET, SOCK_DGRAM, 0);

	if (own < 0)
		return false;
	here = usp_sys_net_cookie(own);
	usp_sys_close(own);
	return here >= 0 && here != there;
}

/* Fill in what the socket itself knows of where it listens. */
static void place_fill_door(struct usp_door *door)
{
	socklen_t len = sizeof(door->address);

	if (usp_sys_getsockname(door->fd, (struct sockaddr *)&door->address, &len) < 0)
		return;
	if (door->address.ss_family != AF_UNIX && !door->process)
		door->is_elsewhere = place_is_elsewhere(door->fd);
	if (door->address.ss_family == AF_UNIX && !door->process)
		usp_name_find(&door->name, (const struct sockaddr_un *)&door->address);
	usp_place_unmap(&door->address);
	door->has_both_families = door->address.ss_family == AF_INET6 &&
				  IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&door->address)->sin6_addr) &&
				  usp_sys_getsockopt_int(door->fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
}

static int place_listen_at(const struct addrinfo *list, const struct usp_name_rights *rights, int backlog,
			   struct usp_door *ret_doors)
{
	int fds[USP_PLACE_DOORS_MAX], nr;

	for (unsigned i = 0; i < USP_PLACE_DOORS_MAX; i++)
		ret_doors[i] = (struct usp_door){.fd = -1, .process = usp_own_nr()};
	if (list->ai_family == AF_UNIX) {
		nr = ret_doors->fd =
			usp_unix_listen((const struct sockaddr_un *)list->ai_addr, rights, backlog, &ret_doors->name);
		return nr < 0 ? nr : 1;
	}
	nr = usp_stream_listen(list, backlog, fds, USP_PLACE_DOORS_MAX);
	for (int i = 0; i < nr; i++)
		ret_doors[i].fd = fds[i];
	return nr;
}

int usp_place_listen(const char *text, const struct usp_name_rights *rights, int backlog,
		     struct usp_door ret_doors[USP_PLACE_DOORS_MAX], const char **ret_why)
{
	struct addrinfo *list;
	int ret = usp_place_resolve(text, true, &list, ret_why);

	if (ret < 0)
		return ret;
	ret = place_listen_at(list, rights, backlog, ret_doors);
	usp_place_free(list);
	for (int i = 0; i < ret; i++)
		place_fill_door(&ret_doors[i]);
	if (ret < 0)
		*ret_why = ret == -ENOENT ? "there is no such directory" : usp_stream_why(ret);
	return ret;
}

int usp_door_adopt(int fd, struct usp_door *ret_door)
{
	int domain = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN);
	int flags = usp_sys_get_flags(fd), ret;

	if (usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 ||
	    usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM ||
	    (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX))
		return -EINVAL;
	ret = flags < 0 ? flags : usp_sys_set_flags(fd, flags | O_NONBLOCK);
	if (ret < 0)
		return ret;
	*ret_door = (struct usp_door){.fd = fd};
	place_fill_door(ret_door);
	return 0;
}

void usp_door_shut(struct usp_door *door)
{
	if (door->process != usp_own_nr())
		return;
	usp_name_remove(&door->name, 0);
	usp_sys_shutdown(door->fd, SHUT_RD);
}

void usp_door_keep(struct usp_door *door)
{
	if (door->process && door->name.is_bound)
		return;
	usp_sys_close(door->fd);
	door->fd = -1;
}

void usp_door_remove(struct usp_door *door)
{
	if (door->fd >= 0)
		usp_name_remove(&door->name, usp_sys_now_ns() + PLACE_NAME_NS);
}

void usp_door_close(struct usp_door *door)
{
	if (door->fd < 0)
		return;
	usp_door_shut(door);
	if (door->process == usp_own_nr() && door->name.is_bound)
		usp_door_remove(door);
	usp_sys_close(door->fd);
	door->fd = -1;
}

/* --- To text and numbers ------------------------------------------------------------------------------- */

static size_t place_print_path(const struct sockaddr_un *address, socklen_t address_len, char *ret_text, size_t len)
{
	size_t path_len = address_len > offsetof(struct sockaddr_un, sun_path)
				  ? address_len - offsetof(struct sockaddr_un, sun_path)
				  : 0;
	const char *path = address->sun_path;
	bool is_abstract = path_len && !path[0];

	if (is_abstract) {
		path++;
		path_len--;
	}
	return (size_t)snprintf(ret_text, len, "unix:%s%.*s", is_abstract ? "@" : "", (int)strnlen(path, path_len),
				path);
}

size_t usp_place_print(const struct sockaddr *address, socklen_t address_len, char *ret_text, size_t len)
{
	char host[INET6_ADDRSTRLEN];

	if (address->sa_family == AF_UNIX)
		return place_print_path((const struct sockaddr_un *)address, address_len, ret_text, len);
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return (size_t)snprintf(ret_text, len, "%s:%u", host, ntohs(in->sin_port));
	}
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		return (size_t)snprintf(ret_text, len, "[%s]:%u", host, ntohs(in6->sin6_port));
	}
	return (size_t)snprintf(ret_text, len, "unknown");
}

void usp_place_unmap(struct sockaddr_storage *address)
{
	const struct sockaddr_in6 *mapped = (const struct sockaddr_in6 *)address;
	struct sockaddr_in plain = {.sin_family = AF_INET};

	if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&mapped->sin6_addr))
		return;
	plain.sin_port = mapped->sin6_port;
	memcpy(&plain.sin_addr, &mapped->sin6_addr.s6_addr[PLACE_MAPPED_LEN], sizeof(plain.sin_addr));
	*address = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
	memcpy(address, &plain, sizeof(plain));
}

void usp_place_take_peer(const struct sockaddr_storage *address, union usp_peer *ret_peer)
{
	struct sockaddr_storage plain = *address;

	usp_place_unmap(&plain);
	memset(ret_peer, 0, sizeof(*ret_peer));
	if (plain.ss_family == AF_INET)
		memcpy(&ret_peer->in, &plain, sizeof(ret_peer->in));
	else if (plain.ss_family == AF_INET6)
		memcpy(&ret_peer->in6, &plain, sizeof(ret_peer->in6));
	else
		ret_peer->any.sa_family = plain.ss_family;
}

uint32_t usp_place_hash(const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const unsigned char *bytes = NULL;
	uint32_t hash = PLACE_HASH_BASIS;
	size_t len = 0;

	if (address->sa_family == AF_INET) {
		bytes = (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr;
		len = sizeof(struct in_addr);
	} else if (address->sa_family == AF_INET6) {
		size_t off = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? PLACE_MAPPED_LEN : 0;

		bytes = in6->sin6_addr.s6_addr + off;
		len = sizeof(struct in6_addr) - off;
	}
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * PLACE_HASH_PRIME;
	return hash;
}
