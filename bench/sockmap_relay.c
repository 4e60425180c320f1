/* SPDX-License-Identifier: MIT */
/*
 * sockmap_relay - a relay of TCP connections whose bytes are redirected from socket to socket by BPF, inside the kernel.
 *
 *   sockmap_relay PORT TARGET_PORT        on 127.0.0.1; needs CAP_BPF and CAP_NET_ADMIN
 *
 * What such a relay could be at its best, to be measured and nothing else: both sockets of a connection are in a SOCKHASH by their
 * ports, and a verdict program of four lines sends what comes on one of them out of the other. It takes nobody's slowness into
 * account, and the end of one side is told to the other without knowing whether all that was redirected has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

#define NR_SOCKETS_MAX 65536
#define NR_FDS_MAX (1 << 20)

/* A socket by what the program sees of it: the peer's port as htonl gives it, and its own as it is. */
struct key {
	uint32_t remote_port, local_port;
};

static int peers[NR_FDS_MAX]; /* the other socket of a connection */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- BPF ------------------------------------------------------------------------------------------------- */

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int make_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_SOCKHASH,
		.key_size = sizeof(struct key),
		.value_size = sizeof(int),
		.max_entries = NR_SOCKETS_MAX,
	};
	long fd = bpf(BPF_MAP_CREATE, &attr);

	if (fd < 0)
		die("BPF_MAP_CREATE");
	return (int)fd;
}

#define LOAD_FIELD(to, field)                                                             \
	{                                                                                 \
		.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = BPF_REG_1, \
		.off = offsetof(struct __sk_buff, field)                                  \
	}
#define STORE(at, from)                                                                                  \
	{                                                                                                \
		.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .src_reg = (from), .off = (at) \
	}

/* return bpf_sk_redirect_hash(skb, map, &(struct key){skb->remote_port, skb->local_port}, 0); */
static void attach_verdict(int map)
{
	const struct bpf_insn program[] = {
		LOAD_FIELD(BPF_REG_2, remote_port),
		LOAD_FIELD(BPF_REG_3, local_port),
		STORE(-8, BPF_REG_2),
		STORE(-4, BPF_REG_3),
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_2, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map},
		{.code = 0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_3, .imm = -8},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4, .imm = 0},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_sk_redirect_hash},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static char log[65536];
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SK_SKB,
		.insns = (uintptr_t)program,
		.insn_cnt = sizeof(program) / sizeof(program[0]),
		.license = (uintptr_t) "Dual MIT/GPL",
		.log_buf = (uintptr_t)log,
		.log_size = sizeof(log),
		.log_level = 1,
		.expected_attach_type = BPF_SK_SKB_VERDICT,
	};
	long fd = bpf(BPF_PROG_LOAD, &load);
	union bpf_attr attach = {
		.target_fd = (uint32_t)map,
		.attach_bpf_fd = (uint32_t)fd,
		.attach_type = BPF_SK_SKB_VERDICT,
	};

	if (fd < 0) {
		fputs(log, stderr);
		die("BPF_PROG_LOAD");
	}
	if (bpf(BPF_PROG_ATTACH, &attach) < 0)
		die("BPF_PROG_ATTACH");
}

/* What comes on from goes out of to. */
static void redirect(int map, int from, int to)
{
	struct sockaddr_in local, remote;
	socklen_t len = sizeof(local);
	struct key key;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&to,
	};

	if (getsockname(from, (struct sockaddr *)&local, &len) < 0 ||
	    getpeername(from, (struct sockaddr *)&remote, &len) < 0)
		die("ports");
	key = (struct key){.remote_port = htonl(ntohs(remote.sin_port)), .local_port = ntohs(local.sin_port)};
	if (bpf(BPF_MAP_UPDATE_ELEM, &attr) < 0)
		die("BPF_MAP_UPDATE_ELEM");
}

/* --- Connections ------------------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)atoi(port)),
	};
}

static int listen_at(const char *port)
{
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

static void watch(int epoll_fd, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

/* The target first: what the client sends before it is in the map would be lost to it. */
static void begin(int epoll_fd, int map, int client, const char *target_port)
{
	struct sockaddr_in address = loopback(target_port);
	int target = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (target < 0 || connect(target, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	peers[client] = target;
	peers[target] = client;
	redirect(map, target, client);
	redirect(map, client, target);
	watch(epoll_fd, client, EPOLLRDHUP | EPOLLET);
	watch(epoll_fd, target, EPOLLRDHUP | EPOLLET);
}

/* One side has ended, or broken. */
static void end(int fd)
{
	int peer = peers[fd];

	if (!peer)
		return;
	shutdown(peer, SHUT_WR);
	peers[fd] = 0;
	if (!peers[peer]) {
		close(fd);
		close(peer);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];
	struct rlimit limit;
	int map, listener, epoll_fd = epoll_create1(0);

	if (argc != 3) {
		fprintf(stderr, "usage: sockmap_relay PORT TARGET_PORT\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max < NR_FDS_MAX ? limit.rlim_max : NR_FDS_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
	map = make_map();
	attach_verdict(map);
	listener = listen_at(argv[1]);
	watch(epoll_fd, listener, EPOLLIN);
	for (;;) {
		int nr = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < nr; i++) {
			int fd = events[i].data.fd, client;

			if (fd != listener)
				end(fd);
			else
				while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					begin(epoll_fd, map, client, argv[2]);
		}
	}
}
