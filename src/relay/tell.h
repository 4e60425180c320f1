/* SPDX-License-Identifier: MIT */
/* tell - report news of a relay to the program that runs it. */
#ifndef USP_RELAY_TELL_H
#define USP_RELAY_TELL_H

struct usp_conn;

/* Report a connection that ends; its story is complete. */
void usp_tell_ended(struct usp_conn *conn);

/*
 * Report the first failure of a connection's target after a success, with -errno; or the first
 * success after a failure, with 0.
 */
void usp_tell_target(const struct usp_conn *conn, int error);

#endif
