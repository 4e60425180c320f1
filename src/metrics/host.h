/* SPDX-License-Identifier: MIT */
/* host - the host that a request names, and whether it is this server. */
#ifndef USP_METRICS_HOST_H
#define USP_METRICS_HOST_H

#include <stdbool.h>
#include <stddef.h>

#define USP_HOST_NAME_MAX 254 /* with its 0 */

/* Copy a name as names are compared: in small letters, without a dot at its end. -EINVAL with a reason. */
int usp_host_name(const char *text, char ret_name[USP_HOST_NAME_MAX], const char **ret_why);

/*
 * Tell whether "HOST" or "HOST:PORT" is a numeric address, localhost, a name below localhost, or
 * one of names, which are as usp_host_name makes them. Any port will do. The owner of any other
 * name can make it lead to this machine. Then a page there may read what is answered under that
 * name (DNS rebinding). A number or localhost cannot be used like that.
 */
bool usp_host_is_ours(const char *value, size_t len, char *const *names, unsigned nr_names);

#endif
