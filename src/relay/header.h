/* SPDX-License-Identifier: MIT */
/*
 * header - the PROXY header of a connection: take it from the client, make it for the target, give
 * it to the target.
 */
#ifndef USP_RELAY_HEADER_H
#define USP_RELAY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

struct usp_conn;

/* First what has come of the client's header, then what the target gets. */
struct usp_header {
	size_t len, nr_given; /* bytes that are here, and bytes that the target has taken */
	unsigned char bytes[];
};

/* Tell whether the client must send a header. If not, a header is data. */
bool usp_header_is_due(const struct usp_conn *conn);

/*
 * Take what has come of the client's header out of its socket, and nothing behind it. 1 when that
 * was all, and conn->addresses tells the client; 0 if more has to come. -errno as of
 * usp_proxy_parse, -ECONNABORTED if the client ends, -ENOMEM, or the socket's. Does not block.
 */
int usp_header_take(struct usp_conn *conn);

/* Count why a client was refused that had to send a header: a result of usp_header_take, or -ETIMEDOUT. */
void usp_header_count(struct usp_conn *conn, int error);

/*
 * Make conn->header what the target gets first, or nothing: 0 or -ENOMEM. A header of version 2 is
 * passed on as it came.
 */
int usp_header_make(struct usp_conn *conn);

/*
 * Give the header to the target: 0 when it has all, -EAGAIN when it takes no more now, or -errno.
 * Does not block.
 */
int usp_header_give(struct usp_conn *conn);

#endif
