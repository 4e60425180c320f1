/* SPDX-License-Identifier: MIT */
/* zerocopy - sends from the memory of bufs (MSG_ZEROCOPY), and the kernel's notices that it has finished. */
#ifndef USP_SPLICE_ZEROCOPY_H
#define USP_SPLICE_ZEROCOPY_H

#include <pthread.h>
#include <stdatomic.h>
#include <usplice/endpoint.h>

#include "splice/from_pipe.h"

struct usp_zerocopy_send;

struct usp_zerocopy {
	pthread_mutex_t lock;
	unsigned process;      /* that made it: the notices are for this process, not for its children */
	_Atomic(bool) may_ask; /* a stream for which SO_ZEROCOPY has not been tried yet */
	_Atomic(bool) is_on;   /* the socket can do it, and its sends are not always copied */
	bool is_aborted;       /* notices from now on say nothing about delivery */
	unsigned nr_useless;   /* notices in a row that said: copied */
	uint32_t next_id;      /* the kernel numbers the sends of a socket from 0 on */
	uint64_t stall_ns;     /* how long usp_zerocopy_fini waits without progress */
	struct usp_zerocopy_send *oldest;
	_Atomic(bool) is_busy; /* oldest is set: most sockets never send so, and need no lock */
};

/*
 * Prepare for a socket, or for a file that cannot send so (fd is -1). In a child of the process it has
 * no sends under way, makes none, and reads no notices.
 */
void usp_zerocopy_init(struct usp_zerocopy *zerocopy, int fd);

/*
 * Never send so. For vsock: Linux 6.7 and later take MSG_ZEROCOPY there, but number each piece into which they cut a send for want of
 * room, and not the send. A notice would then name another send than ours, whose memory is still read.
 */
void usp_zerocopy_forbid(struct usp_zerocopy *zerocopy);

/* Tell whether the socket can send so. The first call sets SO_ZEROCOPY; if that fails, sends copy. */
bool usp_zerocopy_is_on(struct usp_file *out, struct usp_zerocopy *zerocopy);

/*
 * Send the bytes of a batch by reference: the bytes that the kernel took, or -errno. Second owners of
 * exactly these bytes stay until the notice; the bytes are accounted then. -EAGAIN if the socket is
 * full; -ENOBUFS if memory is short: copy instead.
 */
ssize_t usp_zerocopy_send(struct usp_file *out, struct usp_zerocopy *zerocopy, struct usp_pipe *pipe,
			  const struct usp_batch *batch, int flags);

/* Count the sends that the kernel has not finished with, of all sockets of the process. */
size_t usp_zerocopy_nr_pending(void);

/* Read the notices that are there, release the bufs, and account. Does not block. True if there was a notice. */
bool usp_zerocopy_reap(struct usp_file *out, struct usp_zerocopy *zerocopy);

/* Tell whether the kernel has finished with all sends. */
bool usp_zerocopy_is_idle(struct usp_zerocopy *zerocopy);

/*
 * Wait for the notices of all sends: 0, -EINTR, or -ETIMEDOUT when the peer has acknowledged nothing for patience_ns
 * (UINT64_MAX: wait as long as the connection lives).
 */
int usp_zerocopy_drain(struct usp_file *out, struct usp_zerocopy *zerocopy, uint64_t patience_ns);

/*
 * Drain before the socket is closed. Abort the connection if the peer does not take the bytes, or at
 * once if it will be reset anyway (is_cut). 0, or -errno after an abort.
 */
int usp_zerocopy_fini(struct usp_file *out, struct usp_zerocopy *zerocopy, bool is_cut);

#endif
