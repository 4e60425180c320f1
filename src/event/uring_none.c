/* SPDX-License-Identifier: MIT */
/* uring_none - a build without liburing has no ring. */
#include "event/uring.h"

#include <errno.h>

int usp_uring_new(struct usp_loop *loop, struct usp_uring **ret_uring)
{
	(void)loop;
	(void)ret_uring;
	return -ENOSYS;
}

void usp_uring_free(struct usp_uring *uring)
{
	(void)uring;
}

struct usp_uring_stream *usp_uring_begin(struct usp_uring *uring, int from_fd, bool from_is_tcp, int to_fd,
					 usp_uring_told *told, void *arg)
{
	(void)uring;
	(void)from_fd;
	(void)from_is_tcp;
	(void)to_fd;
	(void)told;
	(void)arg;
	return NULL;
}

void usp_uring_leave(struct usp_uring_stream *stream)
{
	(void)stream;
}

void usp_uring_drop(struct usp_uring_stream *stream)
{
	(void)stream;
}

struct usp_uring_connect *usp_uring_connect(struct usp_uring *uring, int fd, const struct sockaddr *address,
					    socklen_t len, usp_uring_connected *connected, void *arg)
{
	(void)uring;
	(void)fd;
	(void)address;
	(void)len;
	(void)connected;
	(void)arg;
	return NULL;
}

void usp_uring_drop_connect(struct usp_uring_connect *connect)
{
	(void)connect;
}

bool usp_uring_close(struct usp_uring *uring, int fd)
{
	(void)uring;
	(void)fd;
	return false;
}
