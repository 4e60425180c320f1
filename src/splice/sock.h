/* SPDX-License-Identifier: MIT */
/* sock - the hooks of sockets, and their state. */
#ifndef USP_SPLICE_SOCK_H
#define USP_SPLICE_SOCK_H

#include <stdatomic.h>

#include "splice/zerocopy.h"

#define USP_DATAGRAM_BYTES_MAX 65507 /* what UDP over IPv4 can carry */
#define USP_DATAGRAM_BYTES 1472	     /* fits into one Ethernet frame, behind the headers of IPv4 and UDP */

/* The priv of every file whose ops have usp_sock_release. */
struct usp_sock {
	struct usp_zerocopy zerocopy; /* of a stream */
	size_t datagram_bytes;	      /* the largest to send */
	bool is_tcp;		      /* a short read emptied it (a UNIX socket also stops where the sender changes) */
	bool sends_end;		      /* the end of input is sent as an empty datagram */
	bool is_ours;		      /* no other process has the connection, so none but this file ends it */
	bool is_cut;		      /* the bytes sent are incomplete: release resets the connection */
};

/*
 * Make a file over a socket. With traits 0 the description becomes O_NONBLOCK. With USP_FILE_SHARED it
 * stays as it is. On failure the caller keeps fd, unchanged.
 */
int usp_sock_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, unsigned traits, const char *spec,
		      struct usp_file **ret_file);

/* The same for a socket that no other process has and that is O_NONBLOCK already: no system call on fd. */
int usp_sock_file_make(const struct usp_file_ops *ops, int fd, bool may_zerocopy, unsigned mode, const char *spec,
		       struct usp_file **ret_file);

/* The hooks of streams; their splice_write is usp_sock_splice_write. */
ssize_t usp_sock_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
ssize_t usp_sock_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
unsigned usp_sock_poll(struct usp_file *file);
int usp_sock_shutdown(struct usp_file *file);
int usp_sock_abort(struct usp_file *file);
int usp_sock_release(struct usp_file *file);

/*
 * Wait until the kernel has finished with the memory of all sends: the peer has acknowledged the
 * bytes, and the account is complete. 0, -EINTR, or the error of a connection that broke meanwhile. A
 * nonblocking file gives -EAGAIN; then poll(2) on fd shows POLLERR when a notice comes. Without this
 * call, release waits only while the peer goes on taking bytes, and else aborts.
 */
int usp_sock_sync(struct usp_file *file);

/*
 * Tell whether file is a stream of this process that is opened for writing only. Its peer's bytes must
 * be dropped before it is closed: else the kernel resets the connection and discards what the peer has
 * not acknowledged.
 */
bool usp_sock_is_deaf(const struct usp_file *file);

/* Receive bytes of the peer and drop them: their number, 0 if the peer has ended, -EAGAIN, or -errno. */
ssize_t usp_sock_drop(int fd);

/*
 * Find out why reading gave 0. It does so at the end, and also after a send, or a read of SO_ERROR,
 * got the error of a TCP connection. 0 if the peer has ended or that cannot be known; -ECONNRESET if
 * it has not ended. (tcp_inq_hint: a FIN counts as a byte to read.)
 */
int usp_sock_end_error(const struct usp_file *file);

/* Tell whether the peer has taken bytes since *left was noted. Note in *left what it has not taken now (SIOCOUTQ). */
bool usp_sock_was_taken_from(int fd, atomic_int *left);

/*
 * Count the bytes that the peer's system has not acknowledged, where a FIN counts as one; or -errno.
 * Of TCP connections that only this process has. 0 for others: the bytes of a UNIX socket reach the
 * peer at once. A file over a connection has those of the connection, with all that it puts around its own.
 */
int usp_sock_unsent(const struct usp_file *file);

/* Choose whether closing the socket resets the connection: 0 or -errno. */
int usp_sock_set_reset(int fd, bool is_on);

/* Datagrams: one call is one datagram. The tables stand here because two endpoint files use them. */
extern const struct usp_file_ops usp_udp_ops, usp_unix_dgram_ops;
void usp_dgram_init(struct usp_file *file, size_t datagram_bytes, bool sends_end);

#endif
