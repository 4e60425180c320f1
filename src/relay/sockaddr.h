/* SPDX-License-Identifier: MIT */
/* sockaddr - addresses of clients, and those that connections are bound to. */
#ifndef USP_RELAY_SOCKADDR_H
#define USP_RELAY_SOCKADDR_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The address of a client, as small as a connection can keep it. For a UNIX socket this is the
 * family only.
 */
union usp_peer {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Read "HOST" or "HOST:PORT", to bind a connection to; the port is 0 if it is left out. Free the list with usp_stream_resolve_free. */
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
