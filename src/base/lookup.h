/* SPDX-License-Identifier: MIT */
/* lookup - addresses of a host and a port. Names are looked up in the name service. */
#ifndef USP_BASE_LOOKUP_H
#define USP_BASE_LOOKUP_H

#include <netdb.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Look up host (may be NULL) and port as getaddrinfo(3) does. Numbers do not block. A name blocks at
 * most until give_up_ns, a moment of usp_sys_now_ns or USP_NEVER. The caller frees *ret_list with
 * freeaddrinfo(3). -ETIMEDOUT after that moment; -EINTR after a signal; -EHOSTUNREACH for a name that
 * does not resolve; -EINVAL for a service without a port; -EAGAIN if too many abandoned look-ups still
 * run; -ENOMEM. *ret_why then receives a static sentence, or stays as it is. If no thread can be
 * started, the look-up runs in the caller: then neither the moment nor a signal ends it, and
 * -ETIMEDOUT comes late.
 */
int usp_lookup(const char *host, const char *port, const struct addrinfo *hints, uint64_t give_up_ns,
	       struct addrinfo **ret_list, const char **ret_why);

/*
 * The same for event loops. usp_lookup_begin does not block: 0 with a list for numbers, or with a
 * look-up for a name. If ret_lookup is NULL, a name gives 0 with neither, and is not looked up. Errors
 * as usp_lookup, and -EAGAIN if no thread or descriptor is left. The descriptor of a look-up becomes
 * readable when usp_lookup_end has an answer; earlier, end blocks. usp_lookup_drop abandons the
 * look-up. Both end and drop take the look-up: do not use it afterwards.
 */
struct usp_lookup;
int usp_lookup_begin(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list,
		     struct usp_lookup **ret_lookup, const char **ret_why);
int usp_lookup_fd(const struct usp_lookup *lookup);
int usp_lookup_end(struct usp_lookup *lookup, struct addrinfo **ret_list, const char **ret_why);
void usp_lookup_drop(struct usp_lookup *lookup);

/*
 * Find the number of a user, or of a group, by its name or as decimal digits: 0, -ENOENT, or the error of the name
 * service, which may block.
 */
int usp_lookup_user(const char *name, uid_t *ret_user);
int usp_lookup_group(const char *name, gid_t *ret_group);

#endif
