/*
 * credit - a sink of a protocol that has to read before it can write: the peer grants bytes, one for
 * each byte that it sends, and only granted bytes may be sent to it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usplice/endpoint.h>

struct credit {
	size_t granted; /* bytes that may be sent */
};

/* Take in what the peer grants: 0, or -errno. */
static int credit_receive(int fd, struct credit *credit)
{
	char grants[256];
	ssize_t ret;

	while ((ret = recv(fd, grants, sizeof(grants), MSG_DONTWAIT)) > 0)
		credit->granted += (size_t)ret;
	return ret == 0 ? -EPIPE : errno == EAGAIN ? 0 : -errno;
}

/* Try once. On -EAGAIN the door asks poll_fd, and waits where the caller wants to wait. */
static ssize_t credit_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct credit *credit = out->priv;
	size_t len = from->iov[0].iov_len;
	int ret = credit_receive(out->fd, credit);
	ssize_t sent;

	(void)pos, (void)flags;
	if (ret < 0 && !credit->granted)
		return ret;
	if (!credit->granted)
		return -EAGAIN;
	if (len > credit->granted)
		len = credit->granted;
	sent = send(out->fd, from->iov[0].iov_base, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	credit->granted -= (size_t)sent;
	return sent;
}

/* To write, wait for room in the socket, or for the peer to grant something. */
static int credit_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	const struct credit *credit = file->priv;

	if (side != USP_WRITE)
		return -EPERM;
	*ret_events = credit->granted ? POLLOUT : POLLIN;
	return file->fd;
}

static const struct usp_file_ops credit_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "credit",
	.write_iter = credit_write_iter,
	.splice_write = usp_iter_splice_write,
	.poll_fd = credit_poll_fd,
	.release = usp_fd_release,
};

/* The peer: grants seven bytes at a time, and prints what comes. */
static void peer(int fd)
{
	char bytes[64];
	ssize_t len;

	do {
		send(fd, "+++++++", 7, MSG_NOSIGNAL); /* in vain at the end */
		len = read(fd, bytes, sizeof(bytes));
		if (len > 0)
			printf("%.*s\n", (int)len, bytes);
	} while (len > 0);
}

int main(void)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *source = NULL, *sink = NULL;
	struct credit credit = {.granted = 0};
	int fds[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 1;
	if (fork() == 0) {
		close(fds[0]);
		peer(fds[1]);
		return 0;
	}
	close(fds[1]);
	ret = usp_open("mem:only what was granted is sent", &params, &source, NULL);
	if (ret == 0)
		ret = usp_file_new(&credit_ops, USP_WRITE, "credit", &credit, &sink);
	if (ret == 0) {
		sink->fd = fds[0];
		ret = usp_copy_files(source, sink, NULL, NULL);
	}
	usp_file_put(source);
	usp_file_put(sink);
	if (ret < 0)
		fprintf(stderr, "credit: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
