/* SPDX-License-Identifier: MIT */
/* admit - decide by the address of a client whether it is served. */
#ifndef USP_RELAY_ADMIT_H
#define USP_RELAY_ADMIT_H

#include <usplice/relay.h>

struct usp_conn;

/*
 * Decide whether a client is served, once its address is known. USP_WHY_CLOSED: it is served, and
 * counts until it leaves. Else why it is refused, which is counted.
 */
enum usp_relay_why usp_admit(struct usp_conn *conn);
void usp_admit_leave(struct usp_conn *conn);

#endif
