/* SPDX-License-Identifier: MIT */
/* keepalive - how TCP finds out that a peer has vanished. */
#ifndef USP_RELAY_KEEPALIVE_H
#define USP_RELAY_KEEPALIVE_H

#include <usplice/relay.h>

/* Does the kernel take these times? */
bool usp_keepalive_can(const struct usp_relay_params *params);

/* Set a TCP socket as params say; what is accepted at a listener has the same. A kernel that refuses has its own way. */
void usp_keepalive_set(int fd, const struct usp_relay_params *params);

/* The same for a listener of others: what they chose for it stays, unless params say something. */
void usp_keepalive_set_passed(int fd, const struct usp_relay_params *params);

#endif
