/* SPDX-License-Identifier: MIT */
/* stream_address - "HOST:PORT" or "unix:PATH" as addresses of stream sockets, and sockets that listen there. */
#ifndef USP_ENDPOINTS_STREAM_ADDRESS_H
#define USP_ENDPOINTS_STREAM_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/name.h"
#include "endpoints/stream.h"

/* A resolver that waits 5 seconds for each of two servers has the answer of a third by then. */
#define USP_STREAM_LOOKUP_NS UINT64_C(15000000000)

/*
 * Look up the addresses of a text, with "tcp:" in front or without; free them with usp_stream_resolve_free. Blocks for up
 * to 15 s while a name is looked up. -EINVAL, and the errors of usp_lookup, with a static sentence or NULL in *ret_why.
 */
int usp_stream_resolve(const char *text, bool is_passive, struct addrinfo **ret_list, const char **ret_why);

/*
 * Look up where to connect to, without blocking: a list, or the look-up of a name; with a NULL
 * ret_lookup a name gives neither.
 */
struct usp_lookup;
int usp_stream_resolve_begin(const char *text, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
			     const char **ret_why);
void usp_stream_resolve_free(struct addrinfo *list); /* NULL is allowed; also one of getaddrinfo(3) */

/*
 * Listen at all addresses of a text: the number of descriptors, which are O_NONBLOCK, or -errno with a static sentence or
 * NULL in *ret_why. A stale UNIX socket is replaced; rights (NULL: as bind(2) makes it) are for its file, which *ret_name
 * then is. Blocks as usp_stream_resolve.
 */
int usp_stream_listen_at(const char *text, const struct usp_name_rights *rights, int backlog,
			 int ret_fds[USP_STREAM_DOORS_MAX], struct usp_name *ret_name, const char **ret_why);

#endif
