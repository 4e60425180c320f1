/* SPDX-License-Identifier: MIT */
/* tell - what the program that runs a relay wants to hear of it. */
#ifndef USP_RELAY_TELL_H
#define USP_RELAY_TELL_H

struct usp_conn;

/* A connection ends, and its story is complete. */
void usp_tell_ended(struct usp_conn *conn);

/* The target of a connection failed, after an attempt that did not, with -errno; or the other way round, with 0. */
void usp_tell_target(const struct usp_conn *conn, int error);

#endif
