/* SPDX-License-Identifier: MIT */
/* cidr - blocks of addresses, such as 10.0.0.0/8, and whether they contain an address. */
#ifndef USP_BASE_CIDR_H
#define USP_BASE_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* A block: the addresses of one family that begin with the same bits. A plain value. */
struct usp_cidr {
	sa_family_t family; /* AF_INET, AF_INET6, or AF_UNIX: all addresses of UNIX sockets */
	unsigned nr_bits;
	unsigned char prefix[16];
};

struct usp_cidr_list {
	size_t nr;
	struct usp_cidr blocks[];
};

/*
 * Read the first len bytes of text: "10.0.0.0/8", "2001:db8::/32", one address without a length, or
 * "unix:" for all UNIX sockets. IPv4 in the form of IPv6, such as ::ffff:10.0.0.0/104, is IPv4.
 * -EINVAL with a reason, also for bits behind the prefix: 10.1.2.3/8 may be a mistake for
 * 10.1.2.3/32. Does not block. ret_cidr is untouched on failure.
 */
int usp_cidr_parse(const char *text, size_t len, struct usp_cidr *ret_cidr, const char **ret_why);

/*
 * Tell whether the address is in the block. IPv4 in the form of IPv6, as a listener for both
 * families gets it, counts as IPv4: it is in 0.0.0.0/0 and not in ::/0.
 */
bool usp_cidr_has(const struct usp_cidr *cidr, const struct sockaddr *address);

/* Read blocks with commas between them. Free the list with usp_free. -EINVAL with a reason, also for none, or -ENOMEM. */
int usp_cidr_list_parse(const char *text, struct usp_cidr_list **ret_list, const char **ret_why);
bool usp_cidr_list_has(const struct usp_cidr_list *list, const struct sockaddr *address);

#endif
