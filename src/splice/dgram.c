/* SPDX-License-Identifier: MIT */
/* dgram - datagram sockets: one splice is one datagram, or an error with nothing consumed. */
#include <errno.h>
#include <sys/socket.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "splice/file.h"
#include "splice/sock.h"

#define DGRAM_SEGS_MAX 1024 /* IOV_MAX */
#define DGRAM_ROOM 65536    /* no datagram is larger */

static const char copy_reason[] = "copied into the socket by sendmsg(2)";
static const char map_reason[] = "read into a folio, then copied into the socket";

/* Set io_bytes, what a pump asks for at once: the datagram to send, or room for the largest one that may come. */
void usp_dgram_init(struct usp_file *file, size_t datagram_bytes, bool sends_end)
{
	struct usp_sock *sock = file->priv;

	sock->datagram_bytes = datagram_bytes;
	sock->sends_end = sends_end;
	if (file->mode == USP_WRITE)
		file->io_bytes = datagram_bytes;
	else
		file->io_bytes = file->mode == USP_READ ? DGRAM_ROOM : USP_DATAGRAM_BYTES_MAX;
	file->traits |= USP_FILE_DATAGRAM;
}

/* A datagram that does not fit is an error: recvmsg(2) would cut it, and bytes would be lost silently. */
static ssize_t dgram_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct msghdr message = {
		.msg_iov = (struct iovec *)to->iov,
		.msg_iovlen = usp_min(to->nr_segs, DGRAM_SEGS_MAX),
	};
	ssize_t ret;

	(void)pos;
	(void)flags;
	if (!to->count)
		return 0; /* or recvmsg would drop a whole datagram */
	ret = usp_sys_recvmsg(in->fd, &message, MSG_DONTWAIT);
	return ret >= 0 && message.msg_flags & MSG_TRUNC ? -EMSGSIZE : ret;
}

static ssize_t dgram_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)from->iov, .msg_iovlen = from->nr_segs};

	(void)pos;
	(void)flags;
	return usp_sys_sendmsg(out->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Send the ready bytes as one datagram. The kernel's own splice may send several, or lose one (H15). */
static ssize_t dgram_send(struct usp_pipe *pipe, struct usp_file *out, size_t len, unsigned flags)
{
	struct msghdr message;
	struct usp_batch batch;
	ssize_t ret;

	if (!usp_pipe_gather(pipe, len, USP_BATCH_BUFS, usp_file_blocks(out, flags) ? 0 : USP_SPLICE_NONBLOCK, &batch))
		return batch.error == -ENODATA ? 0 : batch.error;
	message = (struct msghdr){.msg_iov = batch.iov, .msg_iovlen = batch.nr_segs};
	ret = usp_sys_sendmsg(out->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (ret <= 0)
		return ret;
	usp_pipe_advance(pipe, (size_t)ret);
	usp_file_account(out, USP_WRITE, USP_COPIED, (size_t)ret, batch.mapped ? map_reason : copy_reason);
	return ret;
}

static ssize_t dgram_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	const struct usp_sock *sock = out->priv;
	ssize_t ret;

	(void)pos;
	if (len > USP_DATAGRAM_BYTES_MAX)
		return -EMSGSIZE;
	ret = usp_pipe_begin_read(pipe, flags);
	if (ret <= 0)
		return ret;
	do
		ret = dgram_send(pipe, out, usp_min(len, sock->datagram_bytes), flags);
	while (ret == -EAGAIN && (ret = usp_file_await(out, USP_WRITE, flags)) == 0);
	usp_pipe_end_read(pipe);
	return ret;
}

static int dgram_shutdown(struct usp_file *file)
{
	const struct usp_sock *sock = file->priv;
	const struct msghdr end = {.msg_iovlen = 0};
	ssize_t ret;

	if (!sock->sends_end)
		return 0;
	while ((ret = usp_sys_sendmsg(file->fd, &end, MSG_DONTWAIT | MSG_NOSIGNAL)) == -EAGAIN) {
		ret = usp_file_wait(file, USP_WRITE);
		if (ret < 0)
			break;
	}
	return ret < 0 ? (int)ret : 0;
}

const struct usp_file_ops usp_udp_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "udp",
	.read_iter = dgram_read_iter,
	.write_iter = dgram_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = dgram_splice_write,
	.shutdown = dgram_shutdown,
	.release = usp_sock_release,
};

const struct usp_file_ops usp_unix_dgram_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "unix-dgram",
	.read_iter = dgram_read_iter,
	.write_iter = dgram_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = dgram_splice_write,
	.shutdown = dgram_shutdown,
	.release = usp_sock_release,
};
