/* SPDX-License-Identifier: MIT */
/*
 * fill - read pieces of a source into memory, outside of the caller's thread. Pieces that stand behind each
 * other in the queue and in the source are read in one call.
 */
#ifndef USP_MM_FILL_H
#define USP_MM_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

/* One piece. The asker sets base, len and off, and keeps the memory until the report. */
struct usp_fill {
	TAILQ_ENTRY(usp_fill) link;
	void *base;
	size_t len;
	int64_t off;
	size_t nr_read; /* result: bytes at base; fewer than len at the end of the source, or before an error */
	int error;	/* result: 0 or -errno behind them */
	enum { USP_FILL_IDLE, USP_FILL_AHEAD, USP_FILL_URGENT } queue;
};

struct usp_filler;

struct usp_filler_params {
	/* Read len bytes of all segments at off: bytes, 0 at the end, or -errno. Called by several threads at once. */
	ssize_t (*read)(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off);
	/* Report a piece. Called in a thread of the filler, or in usp_filler_run, with no lock held. */
	void (*done)(void *arg, struct usp_fill *fill);
	void *arg;
	unsigned nr_threads; /* at most; made when they are needed */
};

int usp_filler_new(const struct usp_filler_params *params, struct usp_filler **ret_filler);

/* Read all that was asked for, end the threads, and free the filler. Blocks. */
void usp_filler_free(struct usp_filler *filler);

/*
 * Ask for a piece. An urgent one comes before all that is read ahead. False if there is no thread for it: then the
 * caller reads it by usp_filler_run. Does not block.
 */
bool usp_filler_ask(struct usp_filler *filler, struct usp_fill *fill, bool is_urgent);

/* Make a piece urgent that was asked for ahead, if no thread has it yet. */
void usp_filler_hurry(struct usp_filler *filler, struct usp_fill *fill);

/* Take a piece back: true if no thread has it yet. Then there is no report. */
bool usp_filler_cancel(struct usp_filler *filler, struct usp_fill *fill);

/* Read a piece in this thread, and report it. Blocks. */
void usp_filler_run(struct usp_filler *filler, struct usp_fill *fill);

#endif
