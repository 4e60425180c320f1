/* SPDX-License-Identifier: MIT */
/*
 * vsock_shim - a library to preload: vsock(7) over UNIX sockets, for machines without its loopback.
 *
 * The address vsock:CID:PORT becomes the abstract name "usplice-vsock-PORT", for CID 1 (local) and any. Another CID
 * gives ENODEV, as without a driver. Only what a client or listener calls is here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define FIRST_PORT 1024
#define FDS_MAX 1024

static unsigned ports[FDS_MAX]; /* of the sockets that are bound */

static socklen_t shim_name(struct sockaddr_un *name, unsigned port)
{
	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(name->sun_path + 1, sizeof(name->sun_path) - 1, "usplice-vsock-%s-%u", getenv("VSOCK_SHIM"), port);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name->sun_path + 1));
}

int socket(int domain, int type, int protocol)
{
	int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");

	return real(domain == AF_VSOCK ? AF_UNIX : domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	int (*real)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
	struct sockaddr_un name;
	unsigned port;

	if (address->sa_family != AF_VSOCK)
		return real(fd, address, len);
	port = ((const struct sockaddr_vm *)address)->svm_port;
	if (port == VMADDR_PORT_ANY)
		port = FIRST_PORT;
	len = shim_name(&name, port);
	if (fd < FDS_MAX)
		ports[fd] = port;
	return real(fd, (struct sockaddr *)&name, len);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	int (*real)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
	const struct sockaddr_vm *to = (const struct sockaddr_vm *)address;
	struct sockaddr_un name;

	if (address->sa_family != AF_VSOCK)
		return real(fd, address, len);
	if (to->svm_cid != 1) {
		errno = ENODEV;
		return -1;
	}
	len = shim_name(&name, to->svm_port);
	if (real(fd, (struct sockaddr *)&name, len) == 0)
		return 0;
	if (errno == ECONNREFUSED)
		errno = ECONNRESET; /* as vsock says it */
	return -1;
}

int getsockname(int fd, struct sockaddr *restrict address, socklen_t *restrict len)
{
	int (*real)(int, struct sockaddr *, socklen_t *) =
		(int (*)(int, struct sockaddr *, socklen_t *))dlsym(RTLD_NEXT, "getsockname");
	const struct sockaddr_vm own = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = fd < FDS_MAX ? ports[fd] : 0};

	if (fd >= FDS_MAX || !ports[fd])
		return real(fd, address, len);
	memcpy(address, &own, sizeof(own) < *len ? sizeof(own) : *len);
	*len = sizeof(own);
	return 0;
}
