/* SPDX-License-Identifier: MIT */
/* proxy - the header of the PROXY protocol, versions 1 and 2: who the client really is. */
#ifndef USP_RELAY_PROXY_H
#define USP_RELAY_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define USP_PROXY_HEADER_MAX \
	536 /* of what we accept: 16 + 520, which leaves room for TLVs; version 1 has at most 107 */

/* Who talks to whom. is_known is false for a health check of the proxy itself (LOCAL) or UNKNOWN; then there is no address. */
struct usp_proxy_addresses {
	bool is_known;
	struct sockaddr_storage source, dest; /* AF_INET, AF_INET6 or AF_UNIX, the same for both */
};

/*
 * Look at the first len bytes of a connection. The length of the header, 0 if more bytes are needed to tell, -EPROTO if this
 * is none, -EMSGSIZE if it is longer than USP_PROXY_HEADER_MAX. Touches nothing else.
 */
ssize_t usp_proxy_parse(const void *bytes, size_t len, struct usp_proxy_addresses *ret_addresses);

/*
 * Write a header of version 1 or 2: its length. Addresses that version 1 cannot say (AF_UNIX) are UNKNOWN there; families
 * that differ, too.
 */
size_t usp_proxy_format(unsigned version, const struct usp_proxy_addresses *addresses,
			unsigned char ret_bytes[USP_PROXY_HEADER_MAX]);

#endif
