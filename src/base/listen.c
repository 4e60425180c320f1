/* SPDX-License-Identifier: MIT */
/* listen - sockets that listen: at the addresses of one name, at a path, or at one address. */
#include "base/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/sys.h"

#define LISTEN_PORTS_MAX 16

int usp_socket_listen(const struct sockaddr *at, socklen_t len, int backlog)
{
	int fd = usp_sys_socket(at->sa_family, SOCK_STREAM, 0), ret;

	if (fd < 0)
		return fd;
	usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (at->sa_family == AF_INET6)
		usp_sys_setsockopt_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	ret = usp_sys_bind(fd, at, len);
	if (ret == 0)
		ret = usp_sys_listen(fd, backlog);
	if (ret < 0)
		usp_sys_close(fd);
	return ret < 0 ? ret : fd;
}

/* Sockets that listen at the addresses of one name, all on one port. */
struct listen_doors {
	int *fds;
	unsigned nr, max;
	in_port_t port;	   /* in network order; 0 until the first socket has one */
	bool has_both;	   /* the first socket is the wildcard of both families */
	bool is_free_port; /* the kernel chose the port */
};

static in_port_t *listen_port_of(struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)address)->sin6_port
					      : &((struct sockaddr_in *)address)->sin_port;
}

/* Tell whether an address is there already: a name service may give one more than once. */
static bool listen_doors_have(const struct listen_doors *doors, const struct sockaddr_storage *address, socklen_t len)
{
	struct sockaddr_storage other;

	for (unsigned i = 0; i < doors->nr; i++) {
		socklen_t other_len = sizeof(other);

		if (usp_sys_getsockname(doors->fds[i], (struct sockaddr *)&other, &other_len) == 0 &&
		    other_len == len && memcmp(&other, address, len) == 0)
			return true;
	}
	return false;
}

/* Listen at one more address: 0, also if it is there already, or -errno. */
static int listen_doors_add(struct listen_doors *doors, const struct addrinfo *at, int backlog)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(address);
	int fd;

	memcpy(&address, at->ai_addr, at->ai_addrlen);
	if (doors->nr)
		*listen_port_of(&address) = doors->port;
	if (doors->nr == doors->max || (doors->has_both && at->ai_family == AF_INET) ||
	    listen_doors_have(doors, &address, at->ai_addrlen))
		return 0;
	fd = usp_socket_listen((struct sockaddr *)&address, at->ai_addrlen, backlog);
	if (fd < 0)
		return fd;
	doors->fds[doors->nr++] = fd;
	if (doors->nr > 1)
		return 0;
	doors->has_both = at->ai_family == AF_INET6 &&
			  IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)at->ai_addr)->sin6_addr);
	usp_sys_getsockname(fd, (struct sockaddr *)&address, &len);
	doors->is_free_port = *listen_port_of(&address) != *listen_port_of((struct sockaddr_storage *)at->ai_addr);
	doors->port = *listen_port_of(&address);
	return 0;
}

/*
 * Add the addresses of one family. Skip those that the machine does not have: their error counts only
 * if none is left.
 */
static int listen_doors_add_family(struct listen_doors *doors, const struct addrinfo *list, bool is_ipv6, int backlog)
{
	int ret = doors->nr ? 0 : -EAFNOSUPPORT, error;

	for (; list; list = list->ai_next) {
		if ((list->ai_family == AF_INET6) != is_ipv6)
			continue;
		error = listen_doors_add(doors, list, backlog);
		if (error < 0 && error != -EAFNOSUPPORT && error != -EADDRNOTAVAIL)
			return error;
		if (error < 0 && !doors->nr)
			ret = error;
	}
	return doors->nr ? 0 : ret;
}

static void listen_doors_close(struct listen_doors *doors)
{
	while (doors->nr)
		usp_sys_close(doors->fds[--doors->nr]);
}

/* A port that the kernel chose for the first address may be in use at another. Then try another port, a few times. */
int usp_stream_listen(const struct addrinfo *list, int backlog, int *ret_fds, unsigned max)
{
	struct listen_doors doors;
	unsigned nr_tries = LISTEN_PORTS_MAX;
	int ret, error;

	do {
		doors = (struct listen_doors){.fds = ret_fds, .max = max};
		ret = listen_doors_add_family(&doors, list, true, backlog);
		if (ret == 0 || ret == -EAFNOSUPPORT || ret == -EADDRNOTAVAIL) {
			error = listen_doors_add_family(&doors, list, false, backlog);
			ret = error == -EAFNOSUPPORT ? ret : error;
		}
		if (ret == 0)
			return (int)doors.nr;
		listen_doors_close(&doors);
	} while (ret == -EADDRINUSE && doors.is_free_port && --nr_tries);
	return ret;
}

int usp_unix_listen(const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name)
{
	int fd = usp_sys_socket(AF_UNIX, SOCK_STREAM, 0), ret;

	if (fd < 0)
		return fd;
	ret = usp_name_listen(fd, address, rights, backlog, ret_name);
	if (ret < 0)
		usp_sys_close(fd);
	return ret < 0 ? ret : fd;
}
