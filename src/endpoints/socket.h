/* SPDX-License-Identifier: MIT */
/* socket - stream sockets, for modules that connect and listen themselves. */
#ifndef USP_ENDPOINTS_SOCKET_H
#define USP_ENDPOINTS_SOCKET_H

#include <netdb.h>
#include <stdbool.h>

#include "base/name.h"

struct usp_file;

/*
 * Make a file of a connected stream socket, TCP or UNIX, that is O_NONBLOCK and that no other process
 * has. As usp_open_fd, but without system calls on fd. The file is USP_NONBLOCK, and makes no
 * zero-copy sends, so that closing it never waits. On failure the caller keeps fd.
 */
int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file);

/*
 * Listen at all addresses of a list that this machine has, at most max, all on one port. IPv6 comes
 * first, because its wildcard takes IPv4 clients, too. Returns the number of descriptors, which are
 * O_NONBLOCK, or -errno.
 */
int usp_stream_listen(const struct addrinfo *list, int backlog, int *ret_fds, unsigned max);

/* Listen at a path, as usp_name_listen: the descriptor, which is O_NONBLOCK, or -errno. */
int usp_unix_listen(const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name);

/* Tell whether fd is connected to itself: its own end may by chance have the free local port that it connects to. */
bool usp_stream_is_self(int fd, const struct addrinfo *to);

/* Return a sentence for an error of connecting or listening, or NULL. */
const char *usp_stream_why(int error);

#endif
