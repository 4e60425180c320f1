/* SPDX-License-Identifier: MIT */
/* uring - what io_uring does for a loop: it carries small messages from socket to socket, connects sockets, and closes them. */
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
 * What became of a stream, told in the loop's thread: bytes that were taken from its source and given to its sink since the
 * last time, and why: 0 while it goes on. Else it is over and must not be named again. All that was taken is given where it is
 * USP_URING_END, the source has ended; USP_URING_SILENCE, the source has ended or its error was told to a send (usp_sock_end_error
 * knows); -EAGAIN, the caller has to go on, because pieces are large, or buffers are short, or the caller asked for it; or
 * the -errno with which the source broke. What was taken and not given is lost with USP_URING_REFUSED, the sink broke, and with
 * -ENOMEM and -ENOBUFS.
 */
#define USP_URING_END 1
#define USP_URING_SILENCE 2
#define USP_URING_REFUSED 3
typedef void usp_uring_told(void *arg, size_t taken, size_t given, int why);

/*
 * A ring in a loop, whose thread alone uses it. It waits inside the loop's own wait. -ENOSYS where the build or the kernel is
 * without what it needs, or -errno. Free it before the loop; streams that still go on are dropped.
 */
int usp_uring_new(struct usp_loop *loop, struct usp_uring **ret_uring);
void usp_uring_free(struct usp_uring *uring); /* NULL is allowed */

/* Begin a stream between two sockets, which stay the caller's; TCP says where a message ends. NULL if memory is short. */
struct usp_uring_stream *usp_uring_begin(struct usp_uring *uring, int from_fd, bool from_is_tcp, int to_fd,
					 usp_uring_told *told, void *arg);

/* Ask a stream to come to its end: what is under way is delivered, then it is told -EAGAIN. */
void usp_uring_leave(struct usp_uring_stream *stream);

/* Drop a stream: it is told what was given until now, and then no more. Its descriptors may be closed afterwards. */
void usp_uring_drop(struct usp_uring_stream *stream);

/*
 * Connect a TCP socket, which stays the caller's, as does the address until the connection is told of or dropped. It is
 * told of once, with 0 or -errno, in the loop's thread and not before the call is over. NULL if memory is short. (A UNIX
 * socket says EAGAIN where TCP waits, and no event says when to try again: the ring is not for these.)
 */
typedef void usp_uring_connected(void *arg, int error);
struct usp_uring_connect *usp_uring_connect(struct usp_uring *uring, int fd, const struct sockaddr *address,
					    socklen_t len, usp_uring_connected *connected, void *arg);

/* Nothing is told of it any more, and the descriptor may be closed. */
void usp_uring_drop_connect(struct usp_uring_connect *connect);

/*
 * Close a descriptor together with what else is asked for in this round; its number stays taken until then. A loop that still
 * watches it would hear of it for as long. false if there is no room: then it is the caller's to close.
 */
bool usp_uring_close(struct usp_uring *uring, int fd);

#endif
