/* SPDX-License-Identifier: MIT */
/* socket - stream sockets for those who connect and listen by themselves. */
#ifndef USP_ENDPOINTS_SOCKET_H
#define USP_ENDPOINTS_SOCKET_H

#include <netdb.h>
#include <stdbool.h>

#include "base/name.h"

struct usp_file;

/*
 * A file of a connected stream socket, TCP or UNIX, that is O_NONBLOCK and nobody else's: as usp_open_fd, without asking the
 * kernel what is known already, USP_NONBLOCK, and without zero-copy sends, so that putting it never waits. On failure fd stays with the caller.
 */
int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file);

/*
 * Listen at all addresses of a list, up to max, that this machine has, with one port. IPv6 is first, because its wildcard takes
 * IPv4 clients, too. How many descriptors there are, O_NONBLOCK, or -errno.
 */
int usp_stream_listen(const struct addrinfo *list, int backlog, int *ret_fds, unsigned max);

/* Listen at a path, with the contract of usp_name_listen: the descriptor, O_NONBLOCK, or -errno. */
int usp_unix_listen(const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name);

/* A connection to a free local port may by chance use that same port at its own end, and so have met itself. */
bool usp_stream_is_self(int fd, const struct addrinfo *to);

/* A sentence about an error of connecting or listening, or NULL. */
const char *usp_stream_why(int error);

#endif
