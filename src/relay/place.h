/* SPDX-License-Identifier: MIT */
/* place - where a relay listens and connects to: "HOST:PORT" or "unix:PATH", as addresses and back. */
#ifndef USP_RELAY_PLACE_H
#define USP_RELAY_PLACE_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/name.h"

/* A resolver that has waited 5 seconds for each of two servers has an answer of the third by then. */
#define USP_PLACE_LOOKUP_NS UINT64_C(15000000000)

/* Where a client comes from, in the room that a connection has for it. Of a UNIX socket this is the family only. */
union usp_peer {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/*
 * Addresses of a text, to be freed by usp_place_free. Blocks for up to 15 s while a name is looked up. -EINVAL, and the
 * errors of usp_lookup.
 */
int usp_place_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why);

/* The same where connections go, without blocking: a list, or the look-up of a name, or with a NULL ret_lookup neither. */
struct usp_lookup;
int usp_place_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup, const char **ret_why);
void usp_place_free(struct addrinfo *list); /* NULL is allowed */

/* "HOST" or "HOST:PORT", to bind a connection to; the port is 0 where it is left out. */
int usp_place_resolve_source(const char *text, struct addrinfo **ret_list);

/*
 * Bind a TCP socket that is going to connect. A port is chosen when it is known where to, so that each address has all ports for
 * itself; one that is named can be had for each address, too.
 */
int usp_place_bind(int fd, const struct addrinfo *source);

#define USP_PLACE_DOORS_MAX 8

/* A listening, nonblocking socket. */
struct usp_door {
	int fd;
	unsigned process;		 /* that made it, as of usp_own_nr; 0: somebody else did */
	struct usp_name name;		 /* of UNIX: its file */
	struct sockaddr_storage address; /* of TCP: where it listens, IPv4 as such */
	bool has_both_families;		 /* it listens at all addresses of both */
	bool is_elsewhere;		 /* it is of another network namespace than the connections that we make */
};

/* A socket that somebody else made, as a door: 0, or -EINVAL if it is no stream socket that listens. It becomes nonblocking. */
int usp_door_adopt(int fd, struct usp_door *ret_door);

/*
 * Listen at all addresses of a text: how many doors there are, or -errno with a sentence. A stale UNIX socket is replaced. rights
 * are for the file of a UNIX socket.
 */
int usp_place_listen(const char *text, const struct usp_name_rights *rights, int backlog,
		     struct usp_door ret_doors[USP_PLACE_DOORS_MAX], const char **ret_why);

/*
 * Of the process that made it: refuse clients from now on, also where others have the socket open. One of UNIX would leave its
 * name behind, so that goes if it is still its own. Does not wait: a name that another program looks at stays. The descriptor
 * stays open. May be called again.
 */
void usp_door_shut(struct usp_door *door);

/*
 * Of a child that is to remove names when its parent may no longer: close what has no name that the parent made; and then remove
 * the name, if it is still its own.
 */
void usp_door_keep(struct usp_door *door);
void usp_door_remove(struct usp_door *door);

/* Shut it, wait up to a second for the lock of a name that stayed, and close it; in any process. One that is closed is allowed. */
void usp_door_close(struct usp_door *door);

/* "127.0.0.1:80", "[::1]:80" or "unix:PATH": the length, cut to len. */
size_t usp_place_print(const struct sockaddr *address, socklen_t address_len, char *ret_text, size_t len);

/* An IPv4 address in the form of IPv6, as a listener for both gets it, becomes one of IPv4. */
void usp_place_unmap(struct sockaddr_storage *address);

/* Take what a connection keeps of an address; IPv4 in the form of IPv6 becomes IPv4. */
void usp_place_take_peer(const struct sockaddr_storage *address, union usp_peer *ret_peer);

/* A hash of a client's address, without its port; of an IPv4 address in either form the same. */
uint32_t usp_place_hash(const struct sockaddr *address);

#endif
