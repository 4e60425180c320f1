/* SPDX-License-Identifier: MIT */
/* pump - what a pump and its branches share. */
#ifndef USP_RUN_PUMP_H
#define USP_RUN_PUMP_H

#include <pthread.h>
#include <usplice/endpoint.h>

#include "run/rate.h"

/* One sink of a pump, with the pipe that feeds it. */
struct usp_branch {
	struct usp_pump *pump;
	struct usp_file *sink;
	unsigned sink_flags;   /* as the caller had set them */
	struct usp_pipe *pipe; /* the pump's own where there is one sink only */
	pthread_t thread;
	bool is_running;	/* the thread has to be joined */
	bool is_live;		/* the source's view: it still takes bytes */
	atomic_bool must_leave; /* too slow */
	_Atomic(uint64_t) bytes;
	_Atomic(uint64_t) stranded;
	_Atomic(uint64_t) not_given; /* bytes that the source had for it when giving failed */
	atomic_int give_error;	     /* why the source gives it no more */
	atomic_int error;
};

struct usp_pump {
	struct usp_file *source;
	unsigned source_flags; /* as the caller had set them */
	struct usp_pump_params params;
	struct usp_pipe *pipe; /* source -> here -> branches */
	struct usp_branch *branches;
	unsigned nr_branches;
	size_t step_bytes; /* the most that one step takes from the source */
	struct usp_rate rate;
	_Atomic(uint64_t) bytes; /* taken from the source */
	atomic_int source_error;
	atomic_bool is_stopped, is_done;
	atomic_bool has_failed; /* a branch failed, and that ends the run */
	int stop_fd;		/* eventfd, readable after a stop */
	struct pollfd *fds;	/* while waiting for the source: the stop, the source, the sinks */
};

/*
 * Wait until a file is ready on a side, the pump is stopped (-ECANCELED), or timeout_ns (negative: none) has passed
 * (-ETIMEDOUT). file may be NULL to wait for time alone.
 */
int usp_pump_wait(struct usp_pump *pump, struct usp_file *file, unsigned side, int64_t timeout_ns);

/*
 * Deliver up to len bytes of the branch's pipe to its sink: bytes, 0 when the pipe is at its end, or -errno (-ECANCELED
 * after a stop). Waits for the sink, and with flags 0 for the pipe as well.
 */
ssize_t usp_branch_step(struct usp_branch *branch, size_t len, unsigned flags);

/* Note how a branch ended, and what it was given and did not deliver. */
void usp_branch_finish(struct usp_branch *branch, int error);

/* A pipe and a thread of its own for the branch: 0 or -errno. Then wait for it to end. */
int usp_branch_start(struct usp_branch *branch, const struct usp_pipe_params *params);
void usp_branch_join(struct usp_branch *branch);

/*
 * Give every live branch the first buf of the pump's pipe, by reference. One that cannot be given it fails, when it has
 * delivered what it has. 0, or -EPIPE when none is left.
 */
int usp_pump_distribute(struct usp_pump *pump);

#endif
