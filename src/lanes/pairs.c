/* SPDX-License-Identifier: MIT */
/* pairs - two connected sockets over loopback, for experiments. */
#include "lanes/pairs.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/sys.h"
#include "lanes/alias.h"

/* Bind a socket to a free port of loopback, and tell which. */
static int pair_bind(int fd, struct sockaddr_in *ret_address)
{
	socklen_t len = sizeof(*ret_address);
	int ret;

	*ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	ret = usp_sys_bind(fd, (const struct sockaddr *)ret_address, len);
	return ret < 0 ? ret : usp_sys_getsockname(fd, (struct sockaddr *)ret_address, &len);
}

static int pair_listen(int listener, struct sockaddr_in *ret_address)
{
	int ret = listener < 0 ? listener : pair_bind(listener, ret_address);

	return ret < 0 ? ret : usp_sys_listen(listener, 1);
}

static int pair_connect(int fd, const struct sockaddr_in *address)
{
	return usp_sys_connect(fd, (const struct sockaddr *)address, sizeof(*address));
}

int usp_pair_stream(int protocol, int ret_pair[2])
{
	const struct linger reset = {.l_onoff = 1};
	int listener = usp_sys_socket(AF_INET, SOCK_STREAM, protocol);
	struct sockaddr_in address;
	int ret = pair_listen(listener, &address);

	if (ret >= 0)
		ret = ret_pair[1] = usp_sys_socket(AF_INET, SOCK_STREAM, protocol);
	if (ret >= 0)
		ret = pair_connect(ret_pair[1], &address);
	if (ret >= 0 || ret == -EINPROGRESS)
		ret = ret_pair[0] = usp_alias_await(listener) ? usp_sys_accept(listener, NULL) : -ETIMEDOUT;
	usp_sys_close(listener);
	if (ret < 0)
		return ret;
	usp_sys_setsockopt(ret_pair[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	usp_sys_setsockopt(ret_pair[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return 0;
}

int usp_pair_udp(int ret_pair[2])
{
	struct sockaddr_in addresses[2];
	int ret = 0;

	for (unsigned i = 0; i < 2 && ret >= 0; i++) {
		ret = ret_pair[i] = usp_sys_socket(AF_INET, SOCK_DGRAM, 0);
		if (ret >= 0)
			ret = pair_bind(ret_pair[i], &addresses[i]);
	}
	for (unsigned i = 0; i < 2 && ret >= 0; i++)
		ret = pair_connect(ret_pair[i], &addresses[!i]);
	return ret < 0 ? ret : 0;
}
