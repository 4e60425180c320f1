/* SPDX-License-Identifier: MIT */
/*
 * print_probe - what the probe finds on this kernel: a line for each kind of file and side, with the way and the reason,
 * separated by tabs. TMPDIR is where the file on a disk is made.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lanes/probe.h"

#ifndef IPPROTO_MPTCP /* newer than the oldest supported headers */
#define IPPROTO_MPTCP 262
#endif

/* Each opens a file to be read from or written to; other ends stay open until the program ends. */

static int open_tmpfs(unsigned side)
{
	(void)side;
	return memfd_create("print_probe", MFD_CLOEXEC);
}

static int open_disk(unsigned side)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	int fd;

	(void)side;
	snprintf(path, sizeof(path), "%s/print-probe-XXXXXX", folder ? folder : "/var/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int open_pipe(unsigned side)
{
	int fds[2];

	return pipe2(fds, O_CLOEXEC) < 0 ? -1 : fds[side == USP_WRITE];
}

static int open_unix(unsigned side)
{
	int fds[2];

	(void)side;
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -1 : fds[0];
}

static int open_connection(int protocol)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *sockaddr = (struct sockaddr *)&address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	socklen_t len = sizeof(address);

	if (bind(listener, sockaddr, len) < 0 || listen(listener, 1) < 0 || getsockname(listener, sockaddr, &len) < 0)
		return -1;
	return connect(fd, sockaddr, len) < 0 ? -1 : fd;
}

static int open_tcp(unsigned side)
{
	(void)side;
	return open_connection(0);
}

static int open_mptcp(unsigned side)
{
	(void)side;
	return open_connection(IPPROTO_MPTCP);
}

static int open_null(unsigned side)
{
	return open("/dev/null", (side == USP_WRITE ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

static const struct {
	const char *name;
	int (*open)(unsigned side);
} kinds[] = {
	{"file on a disk", open_disk}, {"file on tmpfs", open_tmpfs}, {"pipe", open_pipe},
	{"TCP socket", open_tcp},      {"MPTCP socket", open_mptcp},  {"UNIX socket", open_unix},
	{"null device", open_null},
};

static const char *const ways[] = {
	[USP_BY_REFERENCE] = "by reference",
	[USP_COPIED] = "copied",
	[USP_UNKNOWN] = "unknown",
};

static int print_kind(unsigned kind, unsigned side)
{
	const char *name = kinds[kind].name;
	struct usp_probe_result result = {.size = sizeof(result)};
	struct usp_file *file;
	int fd = kinds[kind].open(side), ret;

	ret = fd < 0 ? -1 : usp_open_fd(fd, side | USP_EXCLUSIVE, name, &file);
	if (ret < 0) {
		fprintf(stderr, "print_probe: cannot open a %s\n", name);
		return 1;
	}
	usp_probe(file, side, &result);
	printf("%s\t%s\t%s\t%s\n", name, side == USP_READ ? "source" : "sink", ways[result.way], result.reason);
	usp_file_put(file);
	return 0;
}

int main(void)
{
	int status = 0;

	for (unsigned kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		status |= print_kind(kind, USP_READ);
		status |= print_kind(kind, USP_WRITE);
	}
	return status;
}
