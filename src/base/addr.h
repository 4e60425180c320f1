/* SPDX-License-Identifier: MIT */
/* addr - parse the socket addresses that a user writes. */
#ifndef USP_BASE_ADDR_H
#define USP_BASE_ADDR_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

/*
 * Resolve "HOST:PORT" or "[V6]:PORT"; a listener (is_passive) may leave out the host. Blocks while a
 * name is looked up, at most until give_up_ns, a moment of usp_sys_now_ns or USP_NEVER. The caller
 * frees *ret_list with freeaddrinfo(3). With ret_list NULL only the text is checked, and no name is
 * looked up. A stream listener at "localhost" gets the addresses of both families, even if the name
 * service knows one only. -EINVAL for text that does not have this form, and the errors of usp_lookup.
 * *ret_why then receives a static sentence, or stays as it is.
 */
int usp_addr_resolve(const char *text, int type, bool is_passive, uint64_t give_up_ns, struct addrinfo **ret_list,
		     const char **ret_why);

/* Begin to resolve "HOST:PORT", without blocking: as usp_lookup_begin, and -EINVAL for text of another form. */
struct usp_lookup;
int usp_addr_begin(const char *text, int type, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
		   const char **ret_why);

/*
 * Parse "CID:PORT" of vsock(7), both numbers; a listener (is_passive) may leave out the CID, and port 0 is one that the
 * kernel chooses. "any", "hypervisor", "local" and "host" are the CIDs that have names. 0, or -EINVAL with a sentence.
 */
struct sockaddr_vm;
int usp_addr_of_vsock(const char *text, bool is_passive, struct sockaddr_vm *ret_addr, const char **ret_why);

/* Make the UNIX address of a path: 0, -ENAMETOOLONG, or -EINVAL if the path is empty. */
int usp_addr_of_path(const char *path, struct sockaddr_un *ret_addr);

/* Write "127.0.0.1:80", "[::1]:80", "unix:PATH" or "vsock:CID:PORT", cut to len. Returns the length. */
size_t usp_addr_print(const struct sockaddr *address, socklen_t address_len, char *ret_text, size_t len);

#endif
