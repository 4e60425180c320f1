/* SPDX-License-Identifier: MIT */
/* sock - the hooks of sockets, and the state that they keep. */
#ifndef USP_SPLICE_SOCK_H
#define USP_SPLICE_SOCK_H

#include "splice/zerocopy.h"

#define USP_DATAGRAM_BYTES_MAX 65507 /* what UDP over IPv4 can carry */
#define USP_DATAGRAM_BYTES 1472	     /* what fits into one Ethernet frame, behind the headers of IPv4 and UDP */

/* The priv of every file whose ops have usp_sock_release. */
struct usp_sock {
	struct usp_zerocopy zerocopy; /* of a stream */
	_Atomic(size_t)
		nr_mapped;     /* next bytes to send that were copied into memory, so they cannot count as references */
	size_t datagram_bytes; /* the largest that we send */
	bool is_tcp;	       /* a short read took all that was there (a UNIX socket stops where the sender changes) */
	bool sends_end;	       /* an empty datagram says that no more will come */
	bool is_ours;	       /* nobody else has the connection, and nobody else ends it */
	bool is_cut;	       /* what was sent is not all: release resets it */
};

/*
 * A file over a socket. traits is 0, and the description is set O_NONBLOCK, or USP_FILE_SHARED, and it stays as it is. On
 * failure fd stays with the caller, as it was.
 */
int usp_sock_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, unsigned traits, const char *spec,
		      struct usp_file **ret_file);

/* The same of a socket that is ours alone and O_NONBLOCK already: asks the kernel nothing. */
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
 * Wait until the kernel has finished with our memory: the peer has acknowledged the bytes, and the account is complete. A
 * nonblocking file gives -EAGAIN, whereupon poll(2) on fd shows POLLERR when there is news. The error of a connection that
 * broke meanwhile, or -EINTR. Without this, release waits only for a peer that goes on taking bytes, and aborts otherwise.
 */
int usp_sock_sync(struct usp_file *file);

/*
 * A stream of ours that is only written to: what its peer sends is for nobody, and must not be there when it is closed, or the
 * kernel resets the connection and discards what the peer has not acknowledged. No other file is.
 */
bool usp_sock_is_deaf(const struct usp_file *file);

/* Take in what the peer of a socket sends, and drop it: bytes, 0 when it has ended, -EAGAIN, or -errno. */
ssize_t usp_sock_drop(int fd);

/*
 * Reading gave 0. So it does also when the error of a TCP connection was told to a send, or to whoever asked for it: 0 if the
 * peer has ended, or nobody can know; -ECONNRESET if it has not. (tcp_inq_hint: a FIN counts as a byte to read.)
 */
int usp_sock_end_error(const struct usp_file *file);

/* Has the peer of a socket taken something since *left was noted? Notes what it has not taken now (SIOCOUTQ). */
bool usp_sock_was_taken_from(int fd, atomic_int *left);

/*
 * What the peer's system has not got yet of a TCP connection of ours, its end counting as a byte; or -errno. 0 for others: the
 * bytes of a UNIX socket are in the peer's hands at once.
 */
int usp_sock_unsent(const struct usp_file *file);

/* Closing the socket resets the connection, or does not any more: 0 or -errno. */
int usp_sock_set_reset(int fd, bool is_on);

/* Datagrams: one call is one datagram. The tables stand here because two endpoint files make files of them. */
extern const struct usp_file_ops usp_udp_ops, usp_unix_dgram_ops;
void usp_dgram_init(struct usp_file *file, size_t datagram_bytes, bool sends_end);

#endif
