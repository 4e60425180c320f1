/* SPDX-License-Identifier: MIT */
/* host - the host that a request names: is it this server? */
#ifndef USP_RELAY_HOST_H
#define USP_RELAY_HOST_H

#include <stdbool.h>
#include <stddef.h>

#define USP_HOST_NAME_MAX 254 /* with its 0 */

/* A name as names are compared: in small letters, without a dot at its end. -EINVAL with a reason. */
int usp_host_name(const char *text, char ret_name[USP_HOST_NAME_MAX], const char **ret_why);

/*
 * Is "HOST" or "HOST:PORT" a numeric address, localhost, a name below localhost, or one of names, which are as usp_host_name makes
 * them? Any port will do. Anybody can make a name of their own lead to this machine, and then a page there may read what
 * is answered under that name (DNS rebinding); with a number, or with localhost, nobody can.
 */
bool usp_host_is_ours(const char *value, size_t len, char *const *names, unsigned nr_names);

#endif
