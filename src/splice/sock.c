/* SPDX-License-Identifier: MIT */
/* sock - stream sockets as sources and sinks: recvmsg, and bufs attached to sendmsg. */
#include "splice/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define SOCK_BATCH_BUFS 64
#define SOCK_SEGS_MAX 1024 /* IOV_MAX: what one sendmsg or recvmsg takes */
#define SOCK_DROP_BYTES (16 << 10)

/*
 * Processor time of a zero-copy send with its notice, relative to a copying send. Where the kernel
 * copies nothing (a device that drops): 1.5 at 4 KiB, 0.95 at 32 KiB and 0.6 at 64 KiB. Over loopback,
 * which copies all the same: 1.1 to 1.7 at any size. Measured by bench/zerocopy_threshold.
 */
#define SOCK_ZEROCOPY_BYTES ((size_t)64 << 10)

static const char copy_reason[] = "copied into the socket by sendmsg(2)";
static const char map_reason[] = "read into a folio, then copied into the socket";

/* Return the state of a file. NULL if it is another author's endpoint with usp_sock_splice_write in its table. */
static struct usp_sock *sock_of(const struct usp_file *file)
{
	return file->ops->release == usp_sock_release ? file->priv : NULL;
}

/* --- Life --------------------------------------------------------------------------------------- */

int usp_sock_file_make(const struct usp_file_ops *ops, int fd, bool may_zerocopy, unsigned mode, const char *spec,
		       struct usp_file **ret_file)
{
	struct usp_sock *sock = usp_alloc(sizeof(*sock));
	int ret = sock ? usp_file_new(ops, mode, spec, sock, ret_file) : -ENOMEM;

	if (ret < 0) {
		usp_free(sock);
		return ret;
	}
	usp_zerocopy_init(&sock->zerocopy, mode & USP_WRITE && may_zerocopy ? fd : -1);
	(*ret_file)->fd = fd;
	(*ret_file)->traits = USP_FILE_POLLABLE | USP_FILE_SOCKET;
	return 0;
}

/* Any process that shares a socket may get the notices of zero-copy sends: a shared socket makes none. */
int usp_sock_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, unsigned traits, const char *spec,
		      struct usp_file **ret_file)
{
	bool is_stream = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
	bool is_shared = traits & USP_FILE_SHARED;
	int flags = is_shared ? 0 : usp_sys_get_flags(fd), ret = flags;

	if (ret >= 0 && !is_shared)
		ret = usp_sys_set_flags(fd, flags | O_NONBLOCK);
	if (ret < 0)
		return ret;
	ret = usp_sock_file_make(ops, fd, is_stream && !is_shared, mode, spec, ret_file);
	if (ret == 0) {
		(*ret_file)->traits |= traits;
		((struct usp_sock *)(*ret_file)->priv)->is_ours = is_stream && !is_shared;
	} else if (!is_shared) {
		usp_sys_set_flags(fd, flags);
	}
	return ret;
}

/* Tell whether SO_ERROR may be read. Reading clears it for all that share the socket, such as a parent process. */
static bool sock_owns_error(const struct usp_file *file)
{
	const struct usp_sock *sock = file->priv;

	return !(file->traits & USP_FILE_SHARED) && sock->zerocopy.process == usp_own_nr();
}

int usp_sock_release(struct usp_file *file)
{
	struct usp_sock *sock = file->priv;
	int error = usp_zerocopy_fini(file, &sock->zerocopy, sock->is_cut), late = 0, ret;

	/* close(2) of a socket does not tell whether the last bytes arrived: SO_ERROR may. */
	if (file->mode & USP_WRITE && sock_owns_error(file))
		late = usp_sys_getsockopt_int(file->fd, SOL_SOCKET, SO_ERROR);
	if (error == 0 && late > 0)
		error = -late;
	ret = usp_sys_close(file->fd);
	usp_free(sock);
	return error < 0 ? error : ret;
}

/* --- Bytes -------------------------------------------------------------------------------------- */

ssize_t usp_sock_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct usp_sock *sock = in->priv;
	struct msghdr message = {
		.msg_iov = (struct iovec *)to->iov,
		.msg_iovlen = usp_min(to->nr_segs, SOCK_SEGS_MAX),
	};

	ssize_t ret;

	(void)pos;
	(void)flags;
	if (!to->count)
		return 0;
	usp_zerocopy_reap(in, &sock->zerocopy); /* poll(2) never sleeps while notices wait */
	ret = usp_sys_recvmsg(in->fd, &message, MSG_DONTWAIT);
	if (ret > 0 && sock->is_tcp)
		atomic_store_explicit(usp_u32(&in->is_drained), (size_t)ret < to->count, memory_order_relaxed);
	return ret;
}

ssize_t usp_sock_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct usp_sock *sock = out->priv;
	const struct msghdr message = {
		.msg_iov = (struct iovec *)from->iov,
		.msg_iovlen = usp_min(from->nr_segs, SOCK_SEGS_MAX),
	};

	(void)pos;
	usp_zerocopy_reap(out, &sock->zerocopy);
	return usp_sys_sendmsg(out->fd, &message, MSG_DONTWAIT | (flags & USP_SPLICE_MORE ? MSG_MORE : 0));
}

/* --- From a pipe -------------------------------------------------------------------------------- */

static bool sock_wants_zerocopy(struct usp_file *out, struct usp_sock *sock, const struct usp_batch *batch)
{
	return sock && batch->count >= SOCK_ZEROCOPY_BYTES && !batch->mapped &&
	       usp_zerocopy_is_on(out, &sock->zerocopy);
}

static ssize_t sock_send_copy(struct usp_file *out, const struct usp_batch *batch, int flags)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)batch->iov, .msg_iovlen = batch->nr_segs};
	ssize_t ret = usp_sys_sendmsg(out->fd, &message, flags);

	if (ret <= 0)
		return ret;
	usp_file_account(out, USP_WRITE, USP_COPIED, (size_t)ret, batch->mapped ? map_reason : copy_reason);
	return ret;
}

static ssize_t sock_send(struct usp_pipe *pipe, struct usp_file *out, struct usp_sock *sock,
			 const struct usp_batch *batch, int flags)
{
	ssize_t ret = -ENOBUFS;

	if (sock_wants_zerocopy(out, sock, batch))
		ret = usp_zerocopy_send(out, &sock->zerocopy, pipe, batch, flags);
	return ret == -ENOBUFS ? sock_send_copy(out, batch, flags) : ret;
}

/* Send the ready bytes with one sendmsg(2). If a confirm fails, the bytes in front of it are still sent (H13). */
static ssize_t sock_send_batch(struct usp_pipe *pipe, struct usp_file *out, struct usp_sock *sock, size_t len,
			       unsigned flags)
{
	int send_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	struct usp_batch batch;
	ssize_t ret;

	if (!usp_pipe_gather(pipe, len, SOCK_BATCH_BUFS, usp_file_blocks(out, flags) ? 0 : USP_SPLICE_NONBLOCK, &batch))
		return batch.error == -ENODATA ? 0 : batch.error;
	if (flags & USP_SPLICE_MORE || (batch.count < len && !batch.error))
		send_flags |= MSG_MORE;
	ret = sock_send(pipe, out, sock, &batch, send_flags);
	if (ret > 0)
		usp_pipe_advance(pipe, (size_t)ret);
	return ret;
}

/* As sock_send_batch, but wait if the file blocks. */
static ssize_t sock_send_or_wait(struct usp_pipe *pipe, struct usp_file *out, struct usp_sock *sock, size_t len,
				 unsigned flags)
{
	ssize_t ret;

	while ((ret = sock_send_batch(pipe, out, sock, len, flags)) == -EAGAIN) {
		ret = usp_file_await(out, USP_WRITE, flags);
		if (ret < 0)
			break;
		if (sock)
			usp_zerocopy_reap(out, &sock->zerocopy);
	}
	return ret;
}

ssize_t usp_sock_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	struct usp_sock *sock = sock_of(out);
	size_t done = 0;
	ssize_t ret;

	(void)pos;
	if (sock)
		usp_zerocopy_reap(out, &sock->zerocopy);
	ret = usp_pipe_take_read(pipe, flags, &len);
	if (ret <= 0)
		return ret;
	do {
		ret = sock_send_or_wait(pipe, out, sock, len - done, flags);
		if (ret > 0)
			done += (size_t)ret;
	} while (ret > 0 && done < len);
	usp_pipe_end_read(pipe);
	return usp_file_progress(out, USP_WRITE, done, ret);
}

/* --- Readiness and the end ---------------------------------------------------------------------- */

unsigned usp_sock_poll(struct usp_file *file)
{
	struct usp_sock *sock = file->priv;
	struct pollfd fd = {.fd = file->fd, .events = POLLIN | POLLOUT};

	usp_zerocopy_reap(file, &sock->zerocopy); /* else its notices show as POLLERR */
	return usp_sys_poll(&fd, 1, 0) < 0 ? 0 : (unsigned)fd.revents;
}

/* When a connection breaks, the kernel drops its queue, and the notices do not say so: read SO_ERROR. */
int usp_sock_sync(struct usp_file *file)
{
	struct usp_sock *sock = file->priv;
	int ret = 0;

	if (usp_zerocopy_is_idle(&sock->zerocopy))
		return 0;
	usp_zerocopy_reap(file, &sock->zerocopy);
	if (usp_file_blocks(file, 0))
		ret = usp_zerocopy_drain(file, &sock->zerocopy, UINT64_MAX);
	else if (!usp_zerocopy_is_idle(&sock->zerocopy))
		ret = -EAGAIN;
	if (ret == 0)
		ret = usp_sys_getsockopt_int(file->fd, SOL_SOCKET, SO_ERROR);
	return ret > 0 ? -ret : ret;
}

/* Tell whether only this process has the connection: a child shares that of its parent. */
static bool sock_is_ours(const struct usp_sock *sock)
{
	return sock->is_ours && sock->zerocopy.process == usp_own_nr();
}

int usp_sock_set_reset(int fd, bool is_on)
{
	const struct linger linger = {.l_onoff = is_on, .l_linger = 0};

	return usp_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static int sock_set_cut(struct usp_file *file, struct usp_sock *sock, bool is_cut)
{
	int ret = sock->is_cut == is_cut ? 0 : usp_sock_set_reset(file->fd, is_cut);

	if (ret == 0)
		sock->is_cut = is_cut;
	return ret;
}

/* Only TCP can reset. The peer of a UNIX socket has the bytes already, and sees a normal end behind them. */
int usp_sock_abort(struct usp_file *file)
{
	struct usp_sock *sock = file->priv;

	return sock_is_ours(sock) && sock->is_tcp ? sock_set_cut(file, sock, true) : 0;
}

/* After a reset, shutdown(2) gives only ENOTCONN: read the reason from SO_ERROR. */
int usp_sock_shutdown(struct usp_file *file)
{
	struct usp_sock *sock = file->priv;
	int error = 0, ret;

	usp_zerocopy_reap(file, &sock->zerocopy);
	ret = usp_sys_shutdown(file->fd, SHUT_WR);
	if (ret == 0)
		ret = sock_set_cut(file, sock, false);
	if (ret == -ENOTCONN)
		error = usp_sys_getsockopt_int(file->fd, SOL_SOCKET, SO_ERROR);
	return error > 0 ? -error : ret;
}

bool usp_sock_is_deaf(const struct usp_file *file)
{
	const struct usp_sock *sock = sock_of(file);

	return sock && sock_is_ours(sock) && !(file->mode & USP_READ);
}

ssize_t usp_sock_drop(int fd)
{
	unsigned char bytes[SOCK_DROP_BYTES];
	struct msghdr message = {.msg_iov = &(struct iovec){.iov_base = bytes, .iov_len = sizeof(bytes)},
				 .msg_iovlen = 1};

	return usp_sys_recvmsg(fd, &message, MSG_DONTWAIT);
}

/* Count what TCP_INQ reports behind the last byte: 1 with a FIN, 0 without; -errno if the kernel does not tell. */
static int sock_count_end(int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct msghdr message = {
		.msg_iov = &(struct iovec){.iov_base = &byte, .iov_len = sizeof(byte)},
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int ret = usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_INQ, 1), left = -ENODATA;

	if (ret == 0)
		ret = (int)usp_sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_PEEK);
	if (ret == 0 && CMSG_FIRSTHDR(&message))
		memcpy(&left, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(left));
	return ret < 0 ? ret : left;
}

int usp_sock_end_error(const struct usp_file *file)
{
	const struct usp_sock *sock = sock_of(file);

	return sock && sock->is_tcp && sock_owns_error(file) && sock_count_end(file->fd) == 0 ? -ECONNRESET : 0;
}

bool usp_sock_was_taken_from(int fd, atomic_int *left)
{
	int now = usp_sys_bytes_unsent(fd);

	return atomic_exchange(left, now) != now;
}

int usp_sock_unsent(const struct usp_file *file)
{
	const struct usp_sock *sock;

	while (file->below)
		file = file->below;
	sock = sock_of(file);
	return sock && sock_is_ours(sock) && sock->is_tcp ? usp_sys_bytes_unsent(file->fd) : 0;
}
