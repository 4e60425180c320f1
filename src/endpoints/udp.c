/* SPDX-License-Identifier: MIT */
/* udp - datagrams to and from one peer, or from any peer. */
#include <errno.h>
#include <netinet/in.h>

#include "base/addr.h"
#include "base/sys.h"
#include "base/wait.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "splice/sock.h"

#define UDP_TEXT_MAX 128 /* an address */

/* The descriptor, or -errno. */
static int udp_socket(const struct addrinfo *address, bool is_listener)
{
	int fd = usp_sys_socket(address->ai_family, SOCK_DGRAM, 0), ret;

	if (fd < 0)
		return fd;
	if (is_listener && address->ai_family == AF_INET6)
		usp_sys_setsockopt_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	ret = is_listener ? usp_sys_bind(fd, address->ai_addr, address->ai_addrlen)
			  : usp_sys_connect(fd, address->ai_addr, address->ai_addrlen);
	if (ret < 0) {
		usp_sys_close(fd);
		return ret;
	}
	return fd;
}

/* A listener prefers IPv6, whose wildcard takes IPv4, too. A sender keeps the order of the list. */
static int udp_socket_any(const struct addrinfo *list, bool is_listener)
{
	const struct addrinfo *address;
	int ret = -EHOSTUNREACH;

	for (address = list; is_listener && address; address = address->ai_next) {
		if (address->ai_family != AF_INET6)
			continue;
		ret = udp_socket(address, is_listener);
		if (ret != -EAFNOSUPPORT && ret != -EADDRNOTAVAIL)
			return ret;
	}
	for (address = list; address; address = address->ai_next) {
		ret = udp_socket(address, is_listener);
		if (ret >= 0)
			return ret;
	}
	return ret;
}

static int udp_parse_datagram(const struct usp_spec *spec, size_t *ret_bytes, const char **ret_why)
{
	const char *text = usp_spec_option(spec, "datagram");
	int64_t len = USP_DATAGRAM_BYTES;

	if (text && (usp_size_parse(text, &len, NULL) < 0 || len < 1 || len > USP_DATAGRAM_BYTES_MAX)) {
		*ret_why = "datagram takes a number of bytes from 1 to 65507";
		return -EINVAL;
	}
	*ret_bytes = (size_t)len;
	return 0;
}

/* The moment until which a name is looked up. */
static int udp_parse_give_up(const struct usp_spec *spec, uint64_t *ret_give_up, const char **ret_why)
{
	*ret_give_up = USP_NEVER;
	if (usp_spec_moment(spec, "timeout", ret_give_up) == 0)
		return 0;
	*ret_why = "timeout takes a time, such as 2.5 or 500ms";
	return -EINVAL;
}

/* Tell the caller where a listener is. */
static void udp_tell(const struct usp_open_params *params, int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char text[UDP_TEXT_MAX];

	if (!params->listening || usp_sys_getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return;
	usp_addr_print((const struct sockaddr *)&address, len, text, sizeof(text));
	params->listening(params->listening_arg, text);
}

static int udp_connect_or_bind(const struct usp_spec *spec, const struct usp_open_params *params, bool is_listener,
			       const char **ret_why)
{
	struct addrinfo *list;
	uint64_t give_up;
	int ret = udp_parse_give_up(spec, &give_up, ret_why);

	if (ret == 0)
		ret = usp_addr_resolve(spec->address, SOCK_DGRAM, is_listener, give_up, params->no_peer ? NULL : &list,
				       ret_why);

	if (ret < 0 || params->no_peer)
		return ret < 0 ? ret : -EINPROGRESS;
	ret = udp_socket_any(list, is_listener);
	freeaddrinfo(list);
	if (ret >= 0 && is_listener)
		udp_tell(params, ret);
	if (ret == -EADDRINUSE)
		*ret_why = "somebody else listens there";
	else if (ret == -EADDRNOTAVAIL)
		*ret_why = "this machine does not have that address";
	else if (ret == -ENETUNREACH || ret == -EHOSTUNREACH)
		*ret_why = "there is no way to that host";
	return ret;
}

static int udp_file_new(const struct usp_spec *spec, const struct usp_open_params *params, bool is_listener,
			size_t datagram_bytes, struct usp_file **ret_file, const char **ret_why)
{
	int fd = udp_connect_or_bind(spec, params, is_listener, ret_why), ret;

	if (fd < 0)
		return fd;
	ret = usp_sock_file_new(&usp_udp_ops, fd, params->mode, 0, usp_spec_text(spec), ret_file);
	if (ret < 0) {
		usp_sys_close(fd);
		return ret;
	}
	usp_dgram_init(*ret_file, datagram_bytes, usp_spec_option(spec, "eof"));
	return 0;
}

static int udp_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		    const char **ret_why)
{
	const char *eof = usp_spec_option(spec, "eof");
	size_t datagram_bytes;
	int ret = udp_parse_datagram(spec, &datagram_bytes, ret_why);

	if (ret == 0 && eof && *eof) {
		*ret_why = "eof takes no value";
		ret = -EINVAL;
	} else if (ret == 0 && (eof || usp_spec_option(spec, "datagram")) && !(params->mode & USP_WRITE)) {
		*ret_why = "datagram and eof are for datagrams that are sent";
		ret = -EINVAL;
	}
	return ret < 0 ? ret : udp_file_new(spec, params, false, datagram_bytes, ret_file, ret_why);
}

static int udp_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			   struct usp_file **ret_file, const char **ret_why)
{
	if (params->mode & USP_WRITE) {
		*ret_why = "udp-listen is a source: there is nobody to send to";
		return -EINVAL;
	}
	return udp_file_new(spec, params, true, USP_DATAGRAM_BYTES, ret_file, ret_why);
}

static const char *const udp_options[] = {"datagram", "eof", "timeout", NULL};
static const char *const udp_listen_options[] = {"timeout", NULL};

const struct usp_endpoint usp_udp_endpoint = {
	.scheme = "udp",
	.form = "udp:HOST:PORT",
	.summary = "datagrams to and from one peer",
	.modes = USP_READ | USP_WRITE,
	.options = udp_options,
	.open = udp_open,
};

const struct usp_endpoint usp_udp_listen_endpoint = {
	.scheme = "udp-listen",
	.form = "udp-listen:[HOST:]PORT",
	.summary = "datagrams from anybody; an empty one ends the input",
	.modes = USP_READ,
	.options = udp_listen_options,
	.open = udp_listen_open,
};
