/* SPDX-License-Identifier: MIT */
/* uring - io_uring in a loop: forward small messages from socket to socket, connect sockets, and close them. */
#ifndef USP_EVENT_URING_H
#define USP_EVENT_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "event/loop.h"

struct usp_uring;
struct usp_uring_stream;
struct usp_uring_connect;

/*
 * Report on a stream, in the loop's thread: bytes taken from its source and given to its sink since
 * the last report. why is 0 while the stream goes on. Any other why ends it: do not use the stream
 * again. With these, all taken bytes were given:
 *
 * - USP_URING_END: the source has ended.
 * - USP_URING_SILENCE: the source has ended, or a send got its error. usp_sock_end_error tells which.
 * - -EAGAIN: the caller has to go on by itself. Pieces are large, buffers are short, or the caller
 *   asked for it.
 * - the -errno of the source.
 *
 * With these, bytes that were taken and not given are lost: USP_URING_REFUSED (the sink failed),
 * -ENOMEM and -ENOBUFS.
 */
#define USP_URING_END 1
#define USP_URING_SILENCE 2
#define USP_URING_REFUSED 3
typedef void usp_uring_told(void *arg, size_t taken, size_t given, int why);

/*
 * Make a ring in a loop; only the loop's thread uses it. The loop's own wait covers the ring. 0;
 * -ENOSYS if the build or the kernel lacks io_uring or a part of it; or -errno. Free the ring before
 * the loop: that drops its streams.
 */
int usp_uring_new(struct usp_loop *loop, struct usp_uring **ret_uring);
void usp_uring_free(struct usp_uring *uring); /* NULL is allowed */

/*
 * Begin a stream between two sockets, which the caller keeps. from_is_tcp: the source tells whether it
 * has more, so the end of a message is known. NULL if memory or requests are short.
 */
struct usp_uring_stream *usp_uring_begin(struct usp_uring *uring, int from_fd, bool from_is_tcp, int to_fd,
					 usp_uring_told *told, void *arg);

/* Ask a stream to end: the bytes under way are delivered, then the report has why -EAGAIN. */
void usp_uring_leave(struct usp_uring_stream *stream);

/* Drop a stream: report what was given so far, and nothing more. Afterwards the caller may close its descriptors. */
void usp_uring_drop(struct usp_uring_stream *stream);

/*
 * Connect a TCP socket, which the caller keeps. The address must stay valid until the report or the
 * drop. connected is called once, with 0 or -errno, in the loop's thread and after this call has
 * returned. NULL if memory is short. (Not for UNIX sockets: they give EAGAIN where TCP waits, and no
 * event tells when to try again.)
 */
typedef void usp_uring_connected(void *arg, int error);
struct usp_uring_connect *usp_uring_connect(struct usp_uring *uring, int fd, const struct sockaddr *address,
					    socklen_t len, usp_uring_connected *connected, void *arg);

/* Drop a connect: connected is not called any more, and the caller may close the descriptor. */
void usp_uring_drop_connect(struct usp_uring_connect *connect);

/*
 * Close a descriptor together with the other requests of this round; its number stays in use until
 * then. Unwatch it first, or the loop gets its events until then. False if there is no room: then the
 * caller has to close it.
 */
bool usp_uring_close(struct usp_uring *uring, int fd);

#endif
