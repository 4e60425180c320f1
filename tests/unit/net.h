/* SPDX-License-Identifier: MIT */
/* net - sockets on the loopback for the unit tests, made without the library. */
#ifndef USP_TESTS_NET_H
#define USP_TESTS_NET_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support.h"

/* A socket bound to a free port of 127.0.0.1, and that port. */
static inline int net_bound(int type, unsigned *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static inline bool net_has_ipv6(void)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has_it = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	if (fd >= 0)
		close(fd);
	return has_it;
}

/* A port that nobody uses, for a moment at least. */
static inline unsigned net_free_port(int type)
{
	unsigned port;
	int fd = net_bound(type, &port);

	close(fd);
	return port;
}

/* Connect fd to a port of 127.0.0.1; the result of connect(2), or -errno. */
static inline int net_connect(int fd, unsigned port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port),
	};

	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

/* Two ends of a TCP connection; rcvbuf of end 1 is set if it is not 0. */
static inline void net_tcp_pair(int ret_fds[2], int rcvbuf)
{
	unsigned port;
	int listener = net_bound(SOCK_STREAM, &port);

	if (rcvbuf)
		assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)), 0);
	assert_int_equal(listen(listener, 1), 0);
	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(ret_fds[0] >= 0);
	assert_int_equal(net_connect(ret_fds[0], port), 0);
	ret_fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(ret_fds[1] >= 0);
	close(listener);
}

/* Make a file of a descriptor that then belongs to it. */
static inline struct usp_file *net_file(int fd, unsigned mode)
{
	struct usp_file *file;

	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, "net", &file), 0);
	return file;
}

/* Close with a reset instead of an end. */
static inline void net_reset(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
}

/* Read exactly the pattern bytes [off, off + len) from a blocking descriptor. */
static inline void net_take(int fd, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len);

	assert_non_null(bytes);
	for (size_t done = 0; done < len;) { /* a UNIX socket does not glue together what came in different ways */
		ssize_t ret = recv(fd, bytes + done, len - done, MSG_WAITALL);

		assert_true(ret > 0);
		done += (size_t)ret;
	}
	assert_pattern(bytes, off, len);
	free(bytes);
}

static inline struct usp_hop net_hop(const struct usp_file *file, unsigned side)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, side, &hop);
	return hop;
}

#endif
