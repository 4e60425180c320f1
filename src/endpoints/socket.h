/* SPDX-License-Identifier: MIT */
/* socket - stream sockets, for modules that connect and listen themselves. */
#ifndef USP_ENDPOINTS_SOCKET_H
#define USP_ENDPOINTS_SOCKET_H

#include <netdb.h>
#include <stdbool.h>

struct usp_file;

/*
 * Make a file of a connected stream socket, TCP or UNIX, that is O_NONBLOCK and that no other process
 * has. As usp_open_fd, but without system calls on fd. The file is USP_NONBLOCK, and makes no
 * zero-copy sends, so that closing it never waits. On failure the caller keeps fd.
 */
int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file);

/* Tell whether fd is connected to itself: its own end may by chance have the free local port that it connects to. */
bool usp_stream_is_self(int fd, const struct addrinfo *to);

/* Return a sentence for an error of connecting or listening, or NULL. */
const char *usp_stream_why(int error);

#endif
