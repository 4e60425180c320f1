/* SPDX-License-Identifier: MIT */
/* proxy - the header of the PROXY protocol, versions 1 and 2, which names the real client. */
#ifndef USP_RELAY_PROXY_H
#define USP_RELAY_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define USP_PROXY_HEADER_MAX 16384 /* longest header that is taken, as in HAProxy; version 1 has at most 107 */
#define USP_PROXY_FORMAT_MAX 232   /* longest header that is written: 16, and two paths of 108 */

/*
 * Source and destination of a connection. is_known is false for a health check of the proxy itself
 * (LOCAL), or if the proxy does not know.
 */
struct usp_proxy_addresses {
	bool is_known;
	bool is_dgram;			      /* by UDP or UNIX datagrams, before it became a stream */
	struct sockaddr_storage source, dest; /* AF_INET, AF_INET6 or AF_UNIX, the same for both */
};

/*
 * Parse the first len bytes of a connection. The length of the header, 0 if it has more bytes than
 * these, -EPROTO if it is not a header, -EMSGSIZE if it is longer than USP_PROXY_HEADER_MAX,
 * -EBADMSG if its CRC32c is wrong. Touches nothing else.
 */
ssize_t usp_proxy_parse(const void *bytes, size_t len, struct usp_proxy_addresses *ret_addresses);

/* Return the version of a header that usp_proxy_parse has found. */
static inline unsigned usp_proxy_version(const unsigned char *header)
{
	return header[0] == 'P' ? 1 : 2;
}

/*
 * Write a header of version 1 or 2, and return its length. Version 1 has no words for AF_UNIX,
 * datagrams and families that differ: they become UNKNOWN.
 */
size_t usp_proxy_format(unsigned version, const struct usp_proxy_addresses *addresses,
			unsigned char ret_bytes[USP_PROXY_FORMAT_MAX]);

#endif
