/* SPDX-License-Identifier: MIT */
/* listen - sockets that listen: at the addresses of one name, at a path, or at one address. */
#ifndef USP_BASE_LISTEN_H
#define USP_BASE_LISTEN_H

#include <netdb.h>

#include "base/name.h"

/*
 * Listen at all addresses of a list that this machine has, at most max, all on one port. IPv6 comes
 * first, because its wildcard takes IPv4 clients, too. Returns the number of descriptors, which are
 * O_NONBLOCK, or -errno.
 */
int usp_stream_listen(const struct addrinfo *list, int backlog, int *ret_fds, unsigned max);

/* Listen at one address: the descriptor, which is O_NONBLOCK, or -errno. The wildcard of IPv6 takes IPv4 clients, too. */
int usp_socket_listen(const struct sockaddr *at, socklen_t len, int backlog);

/* Listen at a path, as usp_name_listen: the descriptor, which is O_NONBLOCK, or -errno. */
int usp_unix_listen(const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name);

#endif
