/* SPDX-License-Identifier: MIT */
/* peer - addresses of clients as text. */
#include "peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Write a number. For the access log, where inet_ntop and snprintf would be half the cost of a line. */
static char *peer_number(char *at, unsigned number)
{
	char digits[10];
	unsigned nr = 0;

	do
		digits[nr++] = (char)('0' + number % 10);
	while (number /= 10);
	while (nr)
		*at++ = digits[--nr];
	return at;
}

static size_t peer_print_in(const struct sockaddr_in *in, char *ret_text)
{
	const unsigned char *bytes = (const unsigned char *)&in->sin_addr;
	char *at = ret_text;

	for (unsigned i = 0; i < 4; i++) {
		at = peer_number(at, bytes[i]);
		*at++ = i < 3 ? '.' : ':';
	}
	at = peer_number(at, ntohs(in->sin_port));
	*at = '\0';
	return (size_t)(at - ret_text);
}

size_t peer_print(const struct sockaddr *peer, char ret_text[PEER_TEXT_MAX])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
	char host[INET6_ADDRSTRLEN];

	if (peer->sa_family == AF_INET)
		return peer_print_in((const struct sockaddr_in *)peer, ret_text);
	if (peer->sa_family != AF_INET6)
		return strlen(strcpy(ret_text, "unix"));
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	return (size_t)snprintf(ret_text, PEER_TEXT_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
}
