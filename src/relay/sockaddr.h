/* SPDX-License-Identifier: MIT */
/* sockaddr - "HOST:PORT" or "unix:PATH" as addresses of sockets, and back to text. */
#ifndef USP_RELAY_SOCKADDR_H
#define USP_RELAY_SOCKADDR_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* A resolver that waits 5 seconds for each of two servers has the answer of a third by then. */
#define USP_SOCKADDR_LOOKUP_NS UINT64_C(15000000000)

/*
 * The address of a client, as small as a connection can keep it. For a UNIX socket this is the
 * family only.
 */
union usp_peer {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/*
 * Look up the addresses of a text; free them with usp_sockaddr_free. Blocks for up to 15 s while a
 * name is looked up. -EINVAL, and the errors of usp_lookup.
 */
int usp_sockaddr_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why);

/*
 * Look up where to connect to, without blocking: a list, or the look-up of a name; with a NULL
 * ret_lookup a name gives neither.
 */
struct usp_lookup;
int usp_sockaddr_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
		       const char **ret_why);
void usp_sockaddr_free(struct addrinfo *list); /* NULL is allowed */

/* Read "HOST" or "HOST:PORT", to bind a connection to; the port is 0 if it is left out. */
int usp_sockaddr_resolve_source(const char *text, struct addrinfo **ret_list);

/*
 * Bind a TCP socket that is going to connect. The port is chosen at the connect, so that each
 * destination has all ports for itself. A port that is named can be used for each destination, too.
 */
int usp_sockaddr_bind(int fd, const struct addrinfo *source);

/* Turn an IPv4 address in the form of IPv6, as a listener for both families gets it, into one of IPv4. */
void usp_sockaddr_unmap(struct sockaddr_storage *address);

/* Take what a connection keeps of an address; IPv4 in the form of IPv6 becomes IPv4. */
void usp_peer_take(const struct sockaddr_storage *address, union usp_peer *ret_peer);

/* Hash a client's address without its port; the same for both forms of an IPv4 address. */
uint32_t usp_sockaddr_hash(const struct sockaddr *address);

#endif
