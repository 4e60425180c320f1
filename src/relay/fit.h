/* SPDX-License-Identifier: MIT */
/* fit - may a relay, with its options and its listeners, connect to an address? */
#ifndef USP_RELAY_FIT_H
#define USP_RELAY_FIT_H

#include <netdb.h>

struct usp_relay;

/*
 * 0; -EAFNOSUPPORT if its source address is of another family, or has none there, or packets cannot be marked there; -ELOOP if
 * the relay itself listens there, so that each client would become the next one.
 */
int usp_fit_address(const struct usp_relay *relay, const struct addrinfo *at);

/* The same of the addresses of a target, of which one that fits is enough; and a sentence. */
int usp_fit_target(const struct usp_relay *relay, const struct addrinfo *list, const char **ret_why);

#endif
