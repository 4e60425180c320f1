/* SPDX-License-Identifier: MIT */
/* proxy - the header of the PROXY protocol, versions 1 and 2: who the client really is. */
#ifndef USP_RELAY_PROXY_H
#define USP_RELAY_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define USP_PROXY_HEADER_MAX 16384 /* of what is taken; as much as HAProxy takes. Version 1 has at most 107 */
#define USP_PROXY_FORMAT_MAX 232   /* of what is written: 16, and two paths of 108 */

/* Who talks to whom. is_known is false for a health check of the proxy itself (LOCAL), or if the proxy does not know. */
struct usp_proxy_addresses {
	bool is_known;
	bool is_dgram;			      /* by UDP or UNIX datagrams, before it came to a stream */
	struct sockaddr_storage source, dest; /* AF_INET, AF_INET6 or AF_UNIX, the same for both */
};

/*
 * Look at the first len bytes of a connection. The length of the header, 0 if it has more bytes than these, -EPROTO if this
 * is none, -EMSGSIZE if it is longer than USP_PROXY_HEADER_MAX, -EBADMSG if its CRC32c is wrong. Touches nothing else.
 */
ssize_t usp_proxy_parse(const void *bytes, size_t len, struct usp_proxy_addresses *ret_addresses);

/* The version of a header that usp_proxy_parse has found. */
static inline unsigned usp_proxy_version(const unsigned char *header)
{
	return header[0] == 'P' ? 1 : 2;
}

/*
 * Write a header of version 1 or 2: its length. What version 1 cannot say (AF_UNIX, datagrams) is UNKNOWN there; families that
 * differ, too.
 */
size_t usp_proxy_format(unsigned version, const struct usp_proxy_addresses *addresses,
			unsigned char ret_bytes[USP_PROXY_FORMAT_MAX]);

#endif
