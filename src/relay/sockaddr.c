/* SPDX-License-Identifier: MIT */
/* sockaddr - addresses of clients, and those that connections are bound to. */
#include "relay/sockaddr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/sys.h"
#include "endpoints/stream_address.h"

#define SOCKADDR_HASH_BASIS 2166136261u /* FNV-1a */
#define SOCKADDR_HASH_PRIME 16777619u
#define SOCKADDR_MAPPED_LEN 12 /* before an IPv4 address in the form of IPv6 */

int usp_sockaddr_resolve_source(const char *text, struct addrinfo **ret_list)
{
	char padded[NI_MAXHOST + NI_MAXSERV];
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']'), *why;
	bool is_bare = colon && !bracket && strchr(text, ':') != colon; /* an IPv6 address, without a port */
	bool has_port = colon && !is_bare && (!bracket || colon > bracket);
	const char *format = is_bare ? "[%s]:0" : has_port ? "%s" : "%s:0";

	if (!*text || colon == text || (size_t)snprintf(padded, sizeof(padded), format, text) >= sizeof(padded))
		return -EINVAL;
	return usp_addr_resolve(padded, SOCK_STREAM, true, usp_sys_now_ns() + USP_STREAM_LOOKUP_NS, ret_list, &why);
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
