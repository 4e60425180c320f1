/* SPDX-License-Identifier: MIT */
/* place - where a relay listens and connects to: "HOST:PORT" or "unix:PATH", as addresses and back. */
#ifndef USP_RELAY_PLACE_H
#define USP_RELAY_PLACE_H

#include <netdb.h>
#include <stdbool.h>

/*
 * Addresses of a text, to be freed by usp_place_free. Blocks for up to 15 s while a name is looked up. -EINVAL, and the
 * errors of usp_lookup.
 */
int usp_place_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why);
void usp_place_free(struct addrinfo *list); /* NULL is allowed */

/* "HOST" or "HOST:PORT", to bind a connection to; the port is 0 where it is left out. */
int usp_place_resolve_source(const char *text, struct addrinfo **ret_list);

/* A listening, nonblocking socket: the descriptor, or -errno with a sentence. A stale UNIX socket is replaced. */
int usp_place_listen(const char *text, int backlog, const char **ret_why);

/*
 * Clients are refused from now on, also where others have it open; a UNIX socket would leave its name behind, so that goes. The
 * descriptor stays open.
 */
void usp_place_end_listener(int fd);

/* "127.0.0.1:80", "[::1]:80" or "unix:PATH": the length, cut to len. */
size_t usp_place_print(const struct sockaddr *address, socklen_t address_len, char *ret_text, size_t len);

/* An IPv4 address in the form of IPv6, as a listener for both gets it, becomes one of IPv4. */
void usp_place_unmap(struct sockaddr_storage *address);

/* A hash of a client's address, without its port. */
uint32_t usp_place_hash(const struct sockaddr *address);

#endif
