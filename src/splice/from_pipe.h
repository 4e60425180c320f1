/* SPDX-License-Identifier: MIT */
/* from_pipe - what splice_write helpers share: a batch of ready bufs as one iovec. */
#ifndef USP_SPLICE_FROM_PIPE_H
#define USP_SPLICE_FROM_PIPE_H

#include <usplice/endpoint.h>

#define USP_BATCH_BUFS 256

struct usp_batch {
	struct usp_buf bufs[USP_BATCH_BUFS]; /* lent by the ring, in order, also empty ones */
	struct iovec iov[USP_BATCH_BUFS];
	unsigned nr_bufs, nr_segs;
	size_t count;  /* bytes in iov */
	size_t mapped; /* bytes that were copied to become addressable, now or earlier */
	int error;     /* why the batch ends before len, or 0 */
};

/*
 * Collect up to len bytes from the front of the pipe, confirmed and addressable, in at most max_bufs
 * bufs. Bytes in a kernel pipe are mapped if they come first; else they end the batch. So do bytes
 * that are not there yet; for the first ones the call waits, or with NONBLOCK in flags the error is
 * -EAGAIN. Behind other bytes it is -EAGAIN also if they cannot come: the next call tells why. The
 * caller holds the read turn. Returns count: 0 with error set if the first buf cannot be used.
 */
size_t usp_pipe_gather(struct usp_pipe *pipe, size_t len, unsigned max_bufs, unsigned flags,
		       struct usp_batch *ret_batch);

#endif
