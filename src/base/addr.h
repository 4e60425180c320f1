/* SPDX-License-Identifier: MIT */
/* addr - socket addresses from the words of a user. */
#ifndef USP_BASE_ADDR_H
#define USP_BASE_ADDR_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

/*
 * Resolve "HOST:PORT" or "[V6]:PORT", of which a listener (is_passive) may leave out the host. Blocks while a name is
 * looked up, until a moment of usp_sys_now_ns, or USP_NEVER. The list goes to freeaddrinfo. -EINVAL for text that is no
 * address, and the errors of usp_lookup; ret_why then receives a static sentence, or is left as it is. With a NULL
 * list only the words are checked, and nothing is asked. A stream listener at "localhost" gets the addresses of both families,
 * whichever the name service knows.
 */
int usp_addr_resolve(const char *text, int type, bool is_passive, uint64_t give_up_ns, struct addrinfo **ret_list,
		     const char **ret_why);

/* Begin to resolve "HOST:PORT", without blocking: as usp_lookup_begin, and -EINVAL for text that is no address. */
struct usp_lookup;
int usp_addr_begin(const char *text, int type, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
		   const char **ret_why);

/* The address of a path: -ENAMETOOLONG, or -EINVAL if it is empty. */
int usp_addr_of_path(const char *path, struct sockaddr_un *ret_addr);

#endif
