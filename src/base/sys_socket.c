/* SPDX-License-Identifier: MIT */
/* sys_socket - the system calls of sockets, and what network devices say of themselves. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/sys_door.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

#ifndef SO_NETNS_COOKIE /* newer than the oldest supported headers */
#define SO_NETNS_COOKIE 71
#endif

int usp_sys_socket(int domain, int type, int protocol)
{
	return (int)sys_result(socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
}

int usp_sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)sys_result(connect(fd, addr, len));
}

int usp_sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)sys_result(bind(fd, addr, len));
}

int usp_sys_listen(int fd, int backlog)
{
	return (int)sys_result(listen(fd, backlog));
}

int usp_sys_accept(int fd, struct sockaddr_storage *ret_peer)
{
	socklen_t len = sizeof(*ret_peer);

	return (int)sys_result(
		accept4(fd, (struct sockaddr *)ret_peer, ret_peer ? &len : NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int usp_sys_getsockname(int fd, struct sockaddr *ret_addr, socklen_t *len)
{
	return (int)sys_result(getsockname(fd, ret_addr, len));
}

int usp_sys_getsockopt_int(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);
	int result = (int)sys_result(getsockopt(fd, level, name, &value, &len));

	return result < 0 ? result : value;
}

int64_t usp_sys_socket_timeout(int fd, int name)
{
	struct timeval value = {.tv_sec = 0};
	socklen_t len = sizeof(value);
	int result = (int)sys_result(getsockopt(fd, SOL_SOCKET, name, &value, &len));

	return result < 0 ? result : (int64_t)value.tv_sec * SYS_NS_PER_S + (int64_t)value.tv_usec * 1000;
}

int usp_sys_getpeername(int fd, struct sockaddr *ret_addr, socklen_t *len)
{
	return (int)sys_result(getpeername(fd, ret_addr, len));
}

int usp_sys_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *len)
{
	return (int)sys_result(getsockopt(fd, level, name, ret_value, len));
}

/* Ask a device for something by its name, which *request gets first. */
static int sys_device_ask(int fd, unsigned index, unsigned long what, struct ifreq *request)
{
	request->ifr_ifindex = (int)index;
	if (ioctl(fd, SIOCGIFNAME, request) < 0 || (what != SIOCGIFNAME && ioctl(fd, what, request) < 0))
		return -errno;
	return 0;
}

int usp_sys_device_is_loopback(int fd, unsigned index)
{
	struct ifreq request = {.ifr_flags = 0};
	int result = sys_device_ask(fd, index, SIOCGIFFLAGS, &request);

	return result < 0 ? result : (request.ifr_flags & IFF_LOOPBACK) != 0;
}

int usp_sys_device_has(int fd, unsigned index, unsigned ethtool_get)
{
	struct ethtool_value value = {.cmd = ethtool_get};
	struct ifreq request = {.ifr_flags = 0};
	int result = sys_device_ask(fd, index, SIOCGIFNAME, &request);

	if (result < 0)
		return result;
	request.ifr_data = (char *)&value;
	result = (int)sys_result(ioctl(fd, SIOCETHTOOL, &request));
	return result < 0 ? result : value.data != 0;
}

/* A veth, a bridge, a tunnel and a bond have no device of the hardware below them, and no bus. */
int usp_sys_device_is_physical(int fd, unsigned index)
{
	char path[sizeof("/sys/class/net//device") + IFNAMSIZ];
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_flags = 0};
	int result = sys_device_ask(fd, index, SIOCGIFNAME, &request);

	if (result < 0)
		return result;
	snprintf(path, sizeof(path), "/sys/class/net/%.*s/device", IFNAMSIZ, request.ifr_name);
	request.ifr_data = (char *)&info;
	result = (int)sys_result(ioctl(fd, SIOCETHTOOL, &request));
	return result < 0 ? result : info.bus_info[0] && access(path, F_OK) == 0;
}

int64_t usp_sys_net_cookie(int fd)
{
	uint64_t value = 0;
	socklen_t len = sizeof(value);
	int result = (int)sys_result(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &value, &len));

	return result < 0 ? result : value > INT64_MAX ? -EOVERFLOW : (int64_t)value;
}

int usp_sys_setsockopt_int(int fd, int level, int name, int value)
{
	return usp_sys_setsockopt(fd, level, name, &value, sizeof(value));
}

int usp_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)sys_result(setsockopt(fd, level, name, value, len));
}

int usp_sys_shutdown(int fd, int how)
{
	return (int)sys_result(shutdown(fd, how));
}

int usp_sys_socketpair(int domain, int type, int ret_fds[2])
{
	return (int)sys_result(socketpair(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds));
}

int64_t usp_sys_dropped(int fd)
{
	uint32_t numbers[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(numbers);
	int result = (int)sys_result(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, numbers, &len));

	if (result < 0)
		return result;
	return len > SK_MEMINFO_DROPS * sizeof(numbers[0]) ? (int64_t)numbers[SK_MEMINFO_DROPS] : -ENOTSUP;
}

int usp_sys_bytes_unsent(int fd)
{
	int len;
	int result = (int)sys_result(ioctl(fd, SIOCOUTQ, &len));

	return result < 0 ? result : len;
}

int usp_sys_at_mark(int fd)
{
	return (int)sys_result(sockatmark(fd));
}
