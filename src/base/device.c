/* SPDX-License-Identifier: MIT */
/* device - ask rtnetlink(7) for the route to the peer of a socket, and the device at its end what it can do. */
#include "base/device.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include "base/sys.h"

#define DEVICE_WAIT_NS 100000000

struct device_request {
	struct nlmsghdr header;
	struct rtmsg route;
	char attributes[128];
};

static void device_add(struct device_request *request, unsigned short type, const void *value, size_t len)
{
	struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), value, len);
	request->header.nlmsg_len = (unsigned)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_SPACE(len));
}

/* Add an address. One that maps an IPv4 address into IPv6 is an IPv4 address for the routes. */
static int device_add_address(struct device_request *request, unsigned short type, const struct sockaddr_storage *at)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)at;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)at;
	bool is_mapped = at->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);

	if (at->ss_family != AF_INET && at->ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	request->route.rtm_family = (unsigned char)(is_mapped ? AF_INET : at->ss_family);
	if (at->ss_family == AF_INET)
		device_add(request, type, &in->sin_addr, sizeof(in->sin_addr));
	else if (is_mapped)
		device_add(request, type, &in6->sin6_addr.s6_addr[12], sizeof(in->sin_addr));
	else
		device_add(request, type, &in6->sin6_addr, sizeof(in6->sin6_addr));
	if (type == RTA_DST && at->ss_family == AF_INET6 && in6->sin6_scope_id)
		device_add(request, RTA_OIF, &in6->sin6_scope_id, sizeof(in6->sin6_scope_id));
	return 0;
}

/* The port stands at the same place for both families. */
static in_port_t device_port(const struct sockaddr_storage *at)
{
	return ((const struct sockaddr_in *)at)->sin_port;
}

/* Say what rules may ask for besides the addresses: the protocol, the ports, the user, the type of service. */
static void device_add_flow(int fd, struct device_request *request, in_port_t peer_port, in_port_t own_port)
{
	int tos = usp_sys_getsockopt_int(fd, IPPROTO_IP, IP_TOS);
	unsigned char protocol = IPPROTO_TCP;
	struct stat st;

	device_add(request, RTA_IP_PROTO, &protocol, sizeof(protocol));
	device_add(request, RTA_DPORT, &peer_port, sizeof(peer_port));
	device_add(request, RTA_SPORT, &own_port, sizeof(own_port));
	if (usp_sys_fstat(fd, &st) == 0)
		device_add(request, RTA_UID, &st.st_uid, sizeof(st.st_uid));
	if (tos > 0 && request->route.rtm_family == AF_INET)
		request->route.rtm_tos = (unsigned char)(tos & 0x1c);
}

/* Say what the kernel would look the route of this socket up by. */
static int device_describe(int fd, struct device_request *request)
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	in_port_t port;
	int ret = usp_sys_getpeername(fd, (struct sockaddr *)&at, &len), number;

	if (ret == 0)
		ret = device_add_address(request, RTA_DST, &at);
	port = ret == 0 ? device_port(&at) : 0;
	len = sizeof(at);
	if (ret == 0)
		ret = usp_sys_getsockname(fd, (struct sockaddr *)&at, &len);
	if (ret == 0)
		ret = device_add_address(request, RTA_SRC, &at);
	if (ret == 0)
		device_add_flow(fd, request, port, device_port(&at));
	number = ret == 0 ? usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_MARK) : 0;
	if (number > 0)
		device_add(request, RTA_MARK, &number, sizeof(number));
	number = ret == 0 ? usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX) : 0;
	if (number > 0)
		device_add(request, RTA_OIF, &number, sizeof(number));
	return ret;
}

/* Find the number of the device in the answer: -ENODEV for a route that encapsulates or has several. */
static int device_of_answer(const struct nlmsghdr *header, size_t len)
{
	const struct rtmsg *route = NLMSG_DATA(header);
	unsigned left;
	int index = -ENODEV;

	if (!NLMSG_OK(header, len) || header->nlmsg_type != RTM_NEWROUTE)
		return -ENODEV;
	left = (unsigned)RTM_PAYLOAD(header);
	for (const struct rtattr *at = RTM_RTA(route); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type == RTA_OIF)
			memcpy(&index, RTA_DATA(at), sizeof(index));
		if (at->rta_type == RTA_ENCAP || at->rta_type == RTA_MULTIPATH)
			return -ENODEV;
	}
	return index;
}

static int device_find(int fd)
{
	union {
		struct nlmsghdr header;
		char bytes[2048];
	} answer;
	struct device_request request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			   .nlmsg_type = RTM_GETROUTE,
			   .nlmsg_flags = NLM_F_REQUEST},
	};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct iovec iov = {.iov_base = &request};
	struct msghdr message = {.msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = &iov, .msg_iovlen = 1};
	struct pollfd ready = {.events = POLLIN};
	ssize_t ret = device_describe(fd, &request);

	if (ret < 0)
		return (int)ret;
	iov.iov_len = request.header.nlmsg_len;
	ready.fd = usp_sys_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (ready.fd < 0)
		return ready.fd;
	ret = usp_sys_sendmsg(ready.fd, &message, 0);
	if (ret >= 0 && usp_sys_poll(&ready, 1, DEVICE_WAIT_NS) > 0) {
		iov = (struct iovec){.iov_base = &answer, .iov_len = sizeof(answer)};
		ret = usp_sys_recvmsg(ready.fd, &message, 0);
		ret = ret < 0 ? ret : device_of_answer(&answer.header, (size_t)ret);
	} else {
		ret = -ENODEV;
	}
	usp_sys_close(ready.fd);
	return (int)ret;
}

int usp_device_of(int fd, struct usp_device *ret_device)
{
	int index = device_find(fd), is_loopback, pieces, checksums;

	if (index < 0)
		return index;
	is_loopback = usp_sys_device_is_loopback(fd, (unsigned)index);
	if (is_loopback < 0)
		return is_loopback;
	pieces = usp_sys_device_has(fd, (unsigned)index, ETHTOOL_GSG);
	checksums = usp_sys_device_has(fd, (unsigned)index, ETHTOOL_GTXCSUM);
	*ret_device = (struct usp_device){
		.is_loopback = is_loopback,
		.is_physical = usp_sys_device_is_physical(fd, (unsigned)index) > 0,
		.gathers = pieces < 0 || checksums < 0 ? -ENODATA : pieces && checksums,
	};
	return 0;
}
