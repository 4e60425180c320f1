/* SPDX-License-Identifier: MIT */
/* header - the PROXY header of a connection: taken from its client, made for its target, given to that. */
#ifndef USP_RELAY_HEADER_H
#define USP_RELAY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

struct usp_conn;

/* First what the client has said of its header, then what the target is to get. */
struct usp_header {
	size_t len, nr_given; /* bytes that are here, and that the target has taken */
	unsigned char bytes[];
};

/* Has the client to send one? It may not, otherwise: then it is data. */
bool usp_header_is_due(const struct usp_conn *conn);

/*
 * Take what has come of the client's header out of its socket, and nothing behind it: 1 when that was all, and who the client
 * is stands in conn->addresses; 0 if more has to come; -errno as of usp_proxy_parse, -ECONNABORTED if nothing more
 * comes, -ENOMEM, or the socket's. Does not block.
 */
int usp_header_take(struct usp_conn *conn);

/* Count why a client was refused that owed a header: a result of usp_header_take, or -ETIMEDOUT. */
void usp_header_count(struct usp_conn *conn, int error);

/* Make conn->header what the target gets first, or nothing: 0 or -ENOMEM. One of version 2 is passed on as it came. */
int usp_header_make(struct usp_conn *conn);

/* Give it to the target: 0 when it has all, -EAGAIN when it takes no more now, or -errno. Does not block. */
int usp_header_give(struct usp_conn *conn);

#endif
