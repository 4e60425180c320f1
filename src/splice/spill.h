/* SPDX-License-Identifier: MIT */
/* spill - a ring of bytes in a file without a name: what does not fit into the memory of a buffer. */
#ifndef USP_SPLICE_SPILL_H
#define USP_SPLICE_SPILL_H

#include <usplice/endpoint.h>

/* Do not move it while it is open. */
struct usp_spill {
	struct usp_file *file;
	int64_t head, tail; /* where it is read and written */
	int64_t end;	    /* the file has blocks up to here */
	uint64_t limit;	    /* most bytes of the file */
	uint64_t len;	    /* bytes in it now */
	int failed;	    /* the last write gave this error, or 0 */
	int error;	    /* why it takes no more than the blocks that it has, or 0 */
	bool is_closed;	    /* it takes nothing more at all */
};

/*
 * Make the file in the directory path, or at path, which must not exist, and take its name away: 0 or -errno. Takes no
 * space yet.
 */
int usp_spill_open(struct usp_spill *spill, const char *path, uint64_t limit);

/*
 * Write bufs of a pipe behind what is there, as much as fits: bytes, 0 if nothing fits, -EAGAIN for bytes that come
 * later, or the -errno of these. If the file fails it takes less from then on: error tells, and limit has changed.
 */
ssize_t usp_spill_write(struct usp_spill *spill, struct usp_pipe *from);

/* Push the next bytes into a pipe, whose write turn the caller holds, len at most: bytes, 0 if it is empty, or -errno. */
ssize_t usp_spill_read(struct usp_spill *spill, struct usp_pipe *pipe, size_t len);

/* Close the file, which is gone then. */
void usp_spill_close(struct usp_spill *spill);

#endif
