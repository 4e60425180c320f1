/* SPDX-License-Identifier: MIT */
/* keepalive - how TCP finds out that a peer has vanished. */
#ifndef USP_RELAY_KEEPALIVE_H
#define USP_RELAY_KEEPALIVE_H

#include <usplice/relay.h>

/* Tell whether the kernel takes these times. */
bool usp_keepalive_can(const struct usp_relay_params *params);

/*
 * Set a TCP socket as params say; sockets that a listener accepts inherit it. Ignores an error: the
 * kernel's defaults stay.
 */
void usp_keepalive_set(int fd, const struct usp_relay_params *params);

/* Set a listener that another program made. What that program chose stays, unless params set a value. */
void usp_keepalive_set_passed(int fd, const struct usp_relay_params *params);

#endif
