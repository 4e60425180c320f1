/* SPDX-License-Identifier: MIT */
/* flow - the two directions of a connection, from the moment when both of its sides are there. */
#ifndef USP_RELAY_FLOW_H
#define USP_RELAY_FLOW_H

#include "relay/conn.h"

/* The target is there: carry what comes from now on. The target's end is watched already. */
void usp_flow_begin(struct usp_conn *conn);

/* EPOLL* events of one end, of a connection that flows. */
void usp_flow_ready(struct usp_conn *conn, unsigned index, unsigned events);

/* Give back what only a connection needs on which something moves. The descriptors stay. */
void usp_flow_end_work(struct usp_conn *conn);

#endif
