/* SPDX-License-Identifier: MIT */
/* zerocopy - sends that the kernel makes from our memory, and the notices that it has finished. */
#ifndef USP_SPLICE_ZEROCOPY_H
#define USP_SPLICE_ZEROCOPY_H

#include <pthread.h>
#include <usplice/endpoint.h>

#include "splice/from_pipe.h"

struct usp_zerocopy_send;

struct usp_zerocopy {
	pthread_mutex_t lock;
	unsigned process;      /* that made it: the notices are for it, and not for its children */
	_Atomic(bool) may_ask; /* a stream that has not been asked whether it can */
	_Atomic(bool) is_on;   /* the socket can do it, and it has not proved useless here */
	bool is_aborted;       /* what the kernel says from now on tells nothing about delivery */
	unsigned nr_useless;   /* notices in a row that said: copied after all */
	uint32_t next_id;      /* the kernel numbers the sends of a socket, from 0 on */
	uint64_t stall_ns;     /* how long the end waits without progress */
	struct usp_zerocopy_send *oldest;
	_Atomic(bool) is_busy; /* there is one: most sockets never send so, and spare the lock */
};

/*
 * Of a socket, or of something that cannot do it (fd is -1). A child of the process has no sends under way, makes none, and takes no notice.
 */
void usp_zerocopy_init(struct usp_zerocopy *zerocopy, int fd);

/* Can it be done? Asked of the socket the first time, which then stands by it; where it is refused nothing else differs. */
bool usp_zerocopy_is_on(struct usp_file *out, struct usp_zerocopy *zerocopy);

/*
 * Send the bytes of a batch by reference. The kernel may take fewer; second owners of exactly those stay until it says that
 * it has finished, and the bytes are accounted then. -EAGAIN, or -ENOBUFS where memory is short and it is better to copy.
 */
ssize_t usp_zerocopy_send(struct usp_file *out, struct usp_zerocopy *zerocopy, struct usp_pipe *pipe,
			  const struct usp_batch *batch, int flags);

/* Sends that the kernel has not finished with, of all sockets of the process. */
size_t usp_zerocopy_nr_pending(void);

/* Take in the notices that are there: release and account. Does not block. True if there was one. */
bool usp_zerocopy_reap(struct usp_file *out, struct usp_zerocopy *zerocopy);

/* Is there no send that the kernel may still read from? */
bool usp_zerocopy_is_idle(struct usp_zerocopy *zerocopy);

/*
 * Wait for the notices of all sends: 0, -EINTR, or -ETIMEDOUT when the peer has acknowledged nothing for patience_ns
 * (UINT64_MAX: wait as long as the connection lives).
 */
int usp_zerocopy_drain(struct usp_file *out, struct usp_zerocopy *zerocopy, uint64_t patience_ns);

/*
 * Before the socket is closed: drain, and abort the connection if its peer does not take the bytes, or at once where it is to be
 * reset anyway (is_cut); then -errno, else 0.
 */
int usp_zerocopy_fini(struct usp_file *out, struct usp_zerocopy *zerocopy, bool is_cut);

#endif
