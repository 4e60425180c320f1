/* SPDX-License-Identifier: MIT */
/* flow - the two directions of a connection, from the moment when both of its sides are there. */
#ifndef USP_RELAY_FLOW_H
#define USP_RELAY_FLOW_H

#include "relay/conn.h"

/* Begin to carry what comes, now that the target is connected. The target's end is watched already. */
void usp_flow_begin(struct usp_conn *conn);

/* Handle EPOLL* events of one end, of a connection that flows. */
void usp_flow_ready(struct usp_conn *conn, unsigned index, unsigned events);

#endif
