/* SPDX-License-Identifier: MIT */
/* fit - whether a relay, with its options and its listeners, may connect to an address. */
#ifndef USP_RELAY_FIT_H
#define USP_RELAY_FIT_H

#include <netdb.h>

struct usp_relay;

/*
 * Check an address: 0, or -EAFNOSUPPORT if the source address is of another family, or it can have
 * no source, or packets to it cannot be marked. -ELOOP if the relay itself listens there, so that
 * each client would become the next one.
 */
int usp_fit_address(const struct usp_relay *relay, const struct addrinfo *at);

/*
 * Check the addresses of a target, as usp_fit_address; one that fits is enough. On failure *ret_why
 * is a sentence.
 */
int usp_fit_target(const struct usp_relay *relay, const struct addrinfo *list, const char **ret_why);

#endif
