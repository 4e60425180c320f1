/* SPDX-License-Identifier: MIT */
/*
 * header - the PROXY header of a connection: take it from the client, make it for the target, give
 * it to the target.
 *
 * Bytes are peeked before they are taken, because the stream begins right behind a header, and a
 * text line does not tell its length. All bytes before the end of the header are taken at once: a
 * sender of single bytes would fill the socket otherwise.
 */
#include "relay/header.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/cidr.h"
#include "base/sys.h"
#include "relay/proxy.h"
#include "relay/worker.h"

static struct usp_header *header_new(size_t room)
{
	return usp_alloc(sizeof(struct usp_header) + room);
}

bool usp_header_is_due(const struct usp_conn *conn)
{
	const struct usp_cidr_list *from = conn->worker->relay->proxy_from;

	return usp_conn_params(conn)->proxy_accept &&
	       (!from || usp_cidr_list_has(from, (const struct sockaddr *)&conn->addresses->source));
}

/*
 * Peek or read up to len bytes behind those of the header: how many, 0 if there are none now, or
 * -errno, -ECONNABORTED at the end.
 */
static ssize_t header_receive(struct usp_conn *conn, size_t len, int flags)
{
	struct iovec iov = {.iov_base = conn->header->bytes + conn->header->len, .iov_len = len};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t ret;

	do
		ret = usp_sys_recvmsg(conn->ends[0].fd, &message, flags | MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret == -EAGAIN ? 0 : ret ? ret : -ECONNABORTED;
}

/*
 * Note the client that the header names. If it names none, as LOCAL does, the addresses of the
 * connection itself stay.
 */
static void header_is_taken(struct usp_conn *conn, const struct usp_proxy_addresses *addresses)
{
	if (addresses->is_known)
		*conn->addresses = *addresses;
	else
		conn->addresses->is_known = false;
}

int usp_header_take(struct usp_conn *conn)
{
	struct usp_proxy_addresses addresses;
	ssize_t len, whole_len = 0;

	if (!conn->header)
		conn->header = header_new(USP_PROXY_HEADER_MAX);
	if (!conn->header)
		return -ENOMEM;
	while (!whole_len || conn->header->len < (size_t)whole_len) {
		struct usp_header *header = conn->header;

		len = header_receive(conn, USP_PROXY_HEADER_MAX - header->len, MSG_PEEK);
		if (len <= 0)
			return (int)len;
		whole_len = usp_proxy_parse(header->bytes, header->len + (size_t)len, &addresses);
		if (whole_len < 0)
			return (int)whole_len;
		len = header_receive(conn, whole_len ? (size_t)whole_len - header->len : (size_t)len, 0);
		if (len <= 0)
			return (int)len;
		header->len += (size_t)len;
	}
	header_is_taken(conn, &addresses);
	return 1;
}

void usp_header_count(struct usp_conn *conn, int error)
{
	enum usp_header_fault fault = error == -EPROTO	    ? USP_HEADER_MALFORMED
				      : error == -EMSGSIZE  ? USP_HEADER_TOO_LONG
				      : error == -EBADMSG   ? USP_HEADER_WRONG_SUM
				      : error == -ETIMEDOUT ? USP_HEADER_LATE
							    : USP_HEADER_CUT;

	if (error != -ENOMEM) /* which the client did not cause */
		usp_counter_add(&usp_conn_counters(conn)->header_faults[fault], 1);
}

int usp_header_make(struct usp_conn *conn)
{
	unsigned version = usp_conn_params(conn)->proxy_send;

	if (version == 2 && conn->header && usp_proxy_version(conn->header->bytes) == 2)
		return 0;
	usp_free(conn->header);
	conn->header = version ? header_new(USP_PROXY_FORMAT_MAX) : NULL;
	if (conn->header)
		conn->header->len = usp_proxy_format(version, conn->addresses, conn->header->bytes);
	return version && !conn->header ? -ENOMEM : 0;
}

int usp_header_give(struct usp_conn *conn)
{
	struct usp_header *header = conn->header;

	while (header && header->nr_given < header->len) {
		struct iovec iov = {.iov_base = header->bytes + header->nr_given,
				    .iov_len = header->len - header->nr_given};
		ssize_t ret = usp_sys_sendmsg(conn->ends[1].fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1},
					      MSG_DONTWAIT);

		if (ret < 0 && ret != -EINTR)
			return (int)ret;
		header->nr_given += ret > 0 ? (size_t)ret : 0;
	}
	usp_free(header);
	conn->header = NULL;
	return 0;
}
