/* SPDX-License-Identifier: MIT */
/* connect - which target a client gets: the first address that takes the connection. */
#ifndef USP_RELAY_CONNECT_H
#define USP_RELAY_CONNECT_H

#include "relay/conn.h"

/* Choose a target for a client that is served, and try its addresses. The connection flows then, or ends. */
void usp_connect_begin(struct usp_conn *conn);

/* Handle EPOLL* events of the target, in any state. For usp_conn_end.watch. */
void usp_connect_ready(struct usp_watch *watch, unsigned events);

#endif
