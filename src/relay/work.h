/* SPDX-License-Identifier: MIT */
/* work - what a connection needs while something moves: a file for each side, and a pump each way. */
#ifndef USP_RELAY_WORK_H
#define USP_RELAY_WORK_H

#include "relay/conn.h"

/*
 * Make conn->work, with a pump for each direction that is not over. fired is for the timers of the flows. 0 or -errno; then
 * conn->work is there in part, for usp_work_end.
 */
int usp_work_begin(struct usp_conn *conn, void (*fired)(struct usp_timer *timer));

/* Free one flow. Nothing moves in this direction any more. */
void usp_work_end_flow(struct usp_conn *conn, unsigned direction);

/* Free all of it, if there is any. The descriptors stay. */
void usp_work_end(struct usp_conn *conn);

#endif
