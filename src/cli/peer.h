/* SPDX-License-Identifier: MIT */
/* peer - addresses of clients as text. */
#ifndef USP_CLI_PEER_H
#define USP_CLI_PEER_H

#include <stddef.h>
#include <sys/socket.h>

#define PEER_TEXT_MAX 64

/* Write "192.0.2.1:80", "[2001:db8::1]:80", or "unix". Returns the length. */
size_t peer_print(const struct sockaddr *peer, char ret_text[PEER_TEXT_MAX]);

#endif
