/* SPDX-License-Identifier: MIT */
/* lookup - addresses of a host and a port, from the name service where one of them is a name. */
#ifndef USP_BASE_LOOKUP_H
#define USP_BASE_LOOKUP_H

#include <netdb.h>
#include <stdint.h>

/*
 * Look up host (may be NULL) and port as getaddrinfo(3) does. Blocks until a moment of usp_sys_now_ns, or USP_NEVER, but
 * not for numbers. The list goes to freeaddrinfo. -ETIMEDOUT after that moment; -EINTR after a signal; -EHOSTUNREACH for
 * a name that does not resolve; -EINVAL for a service without a port; -EAGAIN if too many look-ups that were given up
 * still run; -ENOMEM. ret_why then receives a static sentence, or is left as it is. Where no thread can be had the
 * look-up runs in the caller: neither the moment nor a signal ends it then, and -ETIMEDOUT comes late.
 */
int usp_lookup(const char *host, const char *port, const struct addrinfo *hints, uint64_t give_up_ns,
	       struct addrinfo **ret_list, const char **ret_why);

/*
 * The same for those that wait for more than one thing. begin does not block: 0 with a list for numbers; 0 with a look-up for a
 * name, or, if ret_lookup is NULL, with neither, and nothing is asked. The errors of usp_lookup, and -EAGAIN if no thread or
 * descriptor could be had. The descriptor of a look-up is readable when end has an answer; before that, end blocks. drop leaves
 * the look-up behind. Each of the two takes the look-up.
 */
struct usp_lookup;
int usp_lookup_begin(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list,
		     struct usp_lookup **ret_lookup, const char **ret_why);
int usp_lookup_fd(const struct usp_lookup *lookup);
int usp_lookup_end(struct usp_lookup *lookup, struct addrinfo **ret_list, const char **ret_why);
void usp_lookup_drop(struct usp_lookup *lookup);

#endif
