/* SPDX-License-Identifier: MIT */
/*
 * linger - the last phase of a connection of which one side broke: the other gets all that was sent
 * to it.
 */
#ifndef USP_RELAY_LINGER_H
#define USP_RELAY_LINGER_H

#include "relay/conn.h"

/*
 * Begin to linger, when both flows are over and a side is broken or deaf. That side is closed now,
 * the other one when it has all.
 */
void usp_linger_begin(struct usp_conn *conn);

/* Handle EPOLL* events of one side. */
void usp_linger_ready(struct usp_conn *conn, unsigned index, unsigned events);

/*
 * Drop what a side sends, and count it as stranded: > 0 if there is more, 0 at its end, -EAGAIN, or
 * -errno.
 */
int usp_linger_drop(struct usp_conn *conn, unsigned index);

/* Return how long a side may take nothing of what was sent to it, after the other one broke. */
uint64_t usp_linger_ns(const struct usp_conn *conn);

#endif
