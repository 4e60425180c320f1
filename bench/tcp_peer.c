/* SPDX-License-Identifier: MIT */
/*
 * tcp_peer - both ends of a TCP connection over loopback whose congestion control is known.
 *
 *   tcp_peer receive discard|read CC                says its port and the congestion control, takes one connection to its end
 *   tcp_peer connect PORT CC HOW COMMAND [ARG...]   runs a command whose descriptor 3 is the connection; HOW: blocking, nonblocking
 *   tcp_peer sendfile FILE CHUNK                    a bare sendfile(2) loop into descriptor 3
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define PEER_FD 3
#define PEER_READ_BYTES ((size_t)1 << 20)
#define PEER_NAME_MAX 16 /* TCP_CA_NAME_MAX, which not every C library has */

static int peer_socket(const char *congestion)
{
	int fd = (int)bench_check(socket(AF_INET, SOCK_STREAM, 0), "socket");

	bench_check(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)), congestion);
	return fd;
}

static struct sockaddr_in peer_address(unsigned port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static void peer_say_port(int listener, int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr), name_len = PEER_NAME_MAX;
	char name[PEER_NAME_MAX + 1] = "";

	bench_check(getsockname(listener, (struct sockaddr *)&addr, &len), "getsockname");
	bench_check(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &name_len), "TCP_CONGESTION");
	printf("%u %s\n", ntohs(addr.sin_port), name);
	fflush(stdout);
}

/* MSG_TRUNC drops the bytes inside the kernel: the cost of the sender shows. */
static void peer_receive(const char *how, const char *congestion)
{
	int listener = peer_socket(congestion), flags = strcmp(how, "discard") == 0 ? MSG_TRUNC : 0, fd;
	unsigned char *buffer = bench_memory(PEER_READ_BYTES);
	struct sockaddr_in addr = peer_address(0);

	bench_check(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), "bind");
	bench_check(listen(listener, 1), "listen");
	peer_say_port(listener, listener);
	fd = (int)bench_check(accept(listener, NULL, NULL), "accept");
	while (bench_check(recv(fd, flags ? NULL : buffer, PEER_READ_BYTES, flags), "recv") > 0)
		;
}

static void peer_connect(const char *port, const char *congestion, const char *how, char **command)
{
	struct sockaddr_in addr = peer_address((unsigned)bench_bytes(port));
	int fd = peer_socket(congestion);

	bench_check(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), "connect");
	if (strcmp(how, "nonblocking") == 0)
		bench_check(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), "F_SETFL");
	if (fd != PEER_FD)
		bench_check(dup2(fd, PEER_FD), "dup2");
	execv(command[0], command);
	bench_die(command[0], errno);
}

static void peer_sendfile(const char *path, size_t chunk)
{
	int fd = (int)bench_check(open(path, O_RDONLY), path);

	while (bench_check(sendfile(PEER_FD, fd, NULL, chunk), "sendfile") > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "receive") == 0)
		peer_receive(argv[2], argv[3]);
	else if (argc >= 6 && strcmp(argv[1], "connect") == 0)
		peer_connect(argv[2], argv[3], argv[4], argv + 5);
	else if (argc == 4 && strcmp(argv[1], "sendfile") == 0)
		peer_sendfile(argv[2], bench_bytes(argv[3]));
	else
		bench_die("tcp_peer", EINVAL);
	return 0;
}
