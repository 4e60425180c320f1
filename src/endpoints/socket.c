/* SPDX-License-Identifier: MIT */
/* socket - sockets that this process was started with, or that a module has connected. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/atomic.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/stream.h"
#include "splice/sock.h"

int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file)
{
	const struct usp_stream_family *family = is_tcp ? &usp_tcp_family : &usp_unix_family;
	int ret = usp_sock_file_make(family->ops, fd, false, USP_READ | USP_WRITE, name, ret_file);

	if (ret == 0) {
		usp_stream_set_traits(*ret_file, family);
		atomic_store(usp_u32(&(*ret_file)->flags), USP_NONBLOCK);
	}
	return ret;
}

/* Find the family of a stream socket, or NULL. */
static const struct usp_stream_family *socket_find_family(int domain)
{
	switch (domain) {
	case AF_INET:
	case AF_INET6:
		return &usp_tcp_family;
	case AF_UNIX:
		return &usp_unix_family;
	case AF_VSOCK:
		return &usp_vsock_family;
	default:
		return NULL;
	}
}

/* Find the table for a socket, and its family if it is a stream. NULL for one that listens, and for unknown types. */
static const struct usp_file_ops *socket_find_ops(int fd, const struct usp_stream_family **ret_family)
{
	int domain = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN);
	int type = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE);

	*ret_family = type == SOCK_STREAM ? socket_find_family(domain) : NULL;
	if (usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 0)
		return NULL;
	if (type == SOCK_STREAM)
		return *ret_family ? (*ret_family)->ops : NULL;
	if (type == SOCK_DGRAM && (domain == AF_INET || domain == AF_INET6))
		return &usp_udp_ops;
	return domain == AF_UNIX ? &usp_unix_dgram_ops : NULL;
}

/*
 * Whether splice(2) waits for a socket depends on O_NONBLOCK of its description only, not on the flags
 * of the call. So a shared socket that blocks is not spliced: it is read and written with
 * MSG_DONTWAIT, and its O_NONBLOCK is not changed.
 */
static int socket_adopt(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
			struct usp_file **ret_file)
{
	const struct usp_stream_family *family;
	const struct usp_file_ops *ops = socket_find_ops(fd, &family);
	int flags = ops ? usp_sys_get_flags(fd) : -EINVAL, ret = flags;
	struct usp_file *file;

	(void)st;
	if (ret >= 0)
		ret = usp_sock_file_new(ops, fd, mode, traits, name, &file);
	if (ret < 0)
		return ret;
	if (family)
		usp_stream_set_traits(file, family);
	else
		usp_dgram_init(file, ops == &usp_udp_ops ? USP_DATAGRAM_BYTES : USP_DATAGRAM_BYTES_MAX, false);
	if (flags & O_NONBLOCK)
		atomic_store(usp_u32(&file->flags), USP_NONBLOCK);
	else if (traits & USP_FILE_SHARED)
		file->traits &= ~USP_FILE_SPLICEABLE;
	*ret_file = file;
	return 0;
}

const struct usp_endpoint usp_socket_endpoint = {
	.form = "fd:N",
	.summary = "a socket that this process was started with",
	.modes = USP_READ | USP_WRITE,
	.adopts = S_IFSOCK,
	.adopt = socket_adopt,
};
