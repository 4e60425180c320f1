/* SPDX-License-Identifier: MIT */
/* place - where a relay listens and connects to: "HOST:PORT" or "unix:PATH", as addresses and back. */
#ifndef USP_RELAY_PLACE_H
#define USP_RELAY_PLACE_H

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/name.h"

/* A resolver that waits 5 seconds for each of two servers has the answer of a third by then. */
#define USP_PLACE_LOOKUP_NS UINT64_C(15000000000)

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
 * Look up the addresses of a text; free them with usp_place_free. Blocks for up to 15 s while a
 * name is looked up. -EINVAL, and the errors of usp_lookup.
 */
int usp_place_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why);

/*
 * Look up where to connect to, without blocking: a list, or the look-up of a name; with a NULL
 * ret_lookup a name gives neither.
 */
struct usp_lookup;
int usp_place_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup, const char **ret_why);
void usp_place_free(struct addrinfo *list); /* NULL is allowed */

/* Read "HOST" or "HOST:PORT", to bind a connection to; the port is 0 if it is left out. */
int usp_place_resolve_source(const char *text, struct addrinfo **ret_list);

/*
 * Bind a TCP socket that is going to connect. The port is chosen at the connect, so that each
 * destination has all ports for itself. A port that is named can be used for each destination, too.
 */
int usp_place_bind(int fd, const struct addrinfo *source);

#define USP_PLACE_DOORS_MAX 8

/* A listening, nonblocking socket. */
struct usp_door {
	int fd;
	unsigned process;		 /* that made it, as of usp_own_nr; 0: another program did */
	struct usp_name name;		 /* for UNIX: its file */
	struct sockaddr_storage address; /* for TCP: where it listens; mapped IPv4 as IPv4 */
	bool has_both_families;		 /* it listens at all addresses of IPv4 and IPv6 */
	bool is_elsewhere;		 /* it is in another network namespace than our connections */
};

/*
 * Make a door of a socket that another program made: 0, or -EINVAL unless it is a stream socket
 * that listens. It becomes nonblocking.
 */
int usp_door_adopt(int fd, struct usp_door *ret_door);

/*
 * Listen at all addresses of a text: the number of doors, or -errno with a sentence. A stale UNIX
 * socket is replaced. rights are for the file of a UNIX socket.
 */
int usp_place_listen(const char *text, const struct usp_name_rights *rights, int backlog,
		     struct usp_door ret_doors[USP_PLACE_DOORS_MAX], const char **ret_why);

/*
 * Refuse clients from now on, also where other processes have the socket open. Works only in the
 * process that made the door. The name of a UNIX socket is removed if it is still the door's own.
 * Does not wait: a name that another program looks at stays. The descriptor stays open. May be
 * called again.
 */
void usp_door_shut(struct usp_door *door);

/*
 * Keep a name in a child that is to remove it when its parent may no longer do so: close a door
 * whose name the parent did not make. usp_door_remove then removes the name, if it is still the
 * door's own.
 */
void usp_door_keep(struct usp_door *door);
void usp_door_remove(struct usp_door *door);

/*
 * Shut a door, wait up to a second for the lock of a name that stayed, and close it; in any
 * process. A closed door is allowed.
 */
void usp_door_close(struct usp_door *door);

/* Write "127.0.0.1:80", "[::1]:80" or "unix:PATH", cut to len. Returns the length. */
size_t usp_place_print(const struct sockaddr *address, socklen_t address_len, char *ret_text, size_t len);

/* Turn an IPv4 address in the form of IPv6, as a listener for both families gets it, into one of IPv4. */
void usp_place_unmap(struct sockaddr_storage *address);

/* Take what a connection keeps of an address; IPv4 in the form of IPv6 becomes IPv4. */
void usp_place_take_peer(const struct sockaddr_storage *address, union usp_peer *ret_peer);

/* Hash a client's address without its port; the same for both forms of an IPv4 address. */
uint32_t usp_place_hash(const struct sockaddr *address);

#endif
