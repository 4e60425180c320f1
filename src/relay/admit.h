/* SPDX-License-Identifier: MIT */
/* admit - is a client to be served, by its address? */
#ifndef USP_RELAY_ADMIT_H
#define USP_RELAY_ADMIT_H

#include <usplice/relay.h>

struct usp_conn;

/*
 * Who the client is has been found out. USP_WHY_CLOSED: it is served, and counts until it leaves; otherwise why it is refused,
 * which is counted.
 */
enum usp_relay_why usp_admit(struct usp_conn *conn);
void usp_admit_leave(struct usp_conn *conn);

#endif
