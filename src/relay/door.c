/* SPDX-License-Identifier: MIT */
/* door - the listening sockets of a relay: made, adopted, shut, and their names removed. */
#include "relay/door.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/own.h"
#include "base/sys.h"
#include "endpoints/stream_address.h"
#include "relay/sockaddr.h"

#define DOOR_NAME_NS 1000000000 /* for the lock of a name, at the end */

/*
 * Tell whether a socket that was passed is of another network namespace. Kernels before 5.14 do not
 * tell.
 */
static bool door_is_elsewhere(int fd)
{
	int64_t there = usp_sys_net_cookie(fd), here;
	int own = there < 0 ? -1 : usp_sys_socket(AF_INET, SOCK_DGRAM, 0);

	if (own < 0)
		return false;
	here = usp_sys_net_cookie(own);
	usp_sys_close(own);
	return here >= 0 && here != there;
}

/* Fill in what the socket itself knows of where it listens. */
static void door_fill(struct usp_door *door)
{
	socklen_t len = sizeof(door->address);

	if (usp_sys_getsockname(door->fd, (struct sockaddr *)&door->address, &len) < 0)
		return;
	if (door->address.ss_family != AF_UNIX && !door->process)
		door->is_elsewhere = door_is_elsewhere(door->fd);
	if (door->address.ss_family == AF_UNIX && !door->process)
		usp_name_find(&door->name, (const struct sockaddr_un *)&door->address);
	usp_sockaddr_unmap(&door->address);
	door->has_both_families = door->address.ss_family == AF_INET6 &&
				  IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&door->address)->sin6_addr) &&
				  usp_sys_getsockopt_int(door->fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
}

int usp_door_listen(const char *text, const struct usp_name_rights *rights, int backlog,
		    struct usp_door ret_doors[USP_DOORS_MAX], const char **ret_why)
{
	struct usp_name name = {.is_bound = false};
	int fds[USP_DOORS_MAX];
	int nr = usp_stream_listen_at(text, rights, backlog, fds, &name, ret_why);

	for (int i = 0; i < nr; i++) {
		ret_doors[i] = (struct usp_door){.fd = fds[i], .process = usp_own_nr(), .name = name};
		door_fill(&ret_doors[i]);
	}
	return nr;
}

int usp_door_adopt(int fd, struct usp_door *ret_door)
{
	int domain = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN);
	int flags = usp_sys_get_flags(fd), ret;

	if (usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 ||
	    usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM ||
	    (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX))
		return -EINVAL;
	ret = flags < 0 ? flags : usp_sys_set_flags(fd, flags | O_NONBLOCK);
	if (ret < 0)
		return ret;
	*ret_door = (struct usp_door){.fd = fd};
	door_fill(ret_door);
	return 0;
}

void usp_door_shut(struct usp_door *door)
{
	if (door->process != usp_own_nr())
		return;
	usp_name_remove(&door->name, 0);
	usp_sys_shutdown(door->fd, SHUT_RD);
}

void usp_door_keep(struct usp_door *door)
{
	if (door->process && door->name.is_bound)
		return;
	usp_sys_close(door->fd);
	door->fd = -1;
}

void usp_door_remove(struct usp_door *door)
{
	if (door->fd >= 0)
		usp_name_remove(&door->name, usp_sys_now_ns() + DOOR_NAME_NS);
}

void usp_door_close(struct usp_door *door)
{
	if (door->fd < 0)
		return;
	usp_door_shut(door);
	if (door->process == usp_own_nr() && door->name.is_bound)
		usp_door_remove(door);
	usp_sys_close(door->fd);
	door->fd = -1;
}
