/* SPDX-License-Identifier: MIT */
/*
 * pump.h - one source to one or many sinks, until done. usplice.h includes it.
 */
#ifndef USPLICE_PUMP_H
#define USPLICE_PUMP_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_pump;

/* How a hop is carried: the plan decides for each file, or the caller forces it. */
enum usp_lane_choice {
	USP_LANE_AUTO,
	USP_LANE_KERNEL, /* bytes never enter user space; usp_pump_run gives -EOPNOTSUPP if an end cannot */
	USP_LANE_USER,	 /* bytes sit in memory of this process */
};

/*
 * The answer of USP_PUMP_REQUIRE_ZERO_COPY. No file operation gives this number, so it is not taken for the error of a file, nor for
 * -EOPNOTSUPP, a lane that is impossible.
 */
#define USP_EWOULDCOPY EBADE

/*
 * What becomes of the holes of a regular source, and of zeros. A sink that can be told makes holes: a
 * regular file, by leaving them out or FALLOC_FL_PUNCH_HOLE, and a block device. Others get the zeros.
 * A descriptor that others share neither gives nor gets holes.
 */
enum usp_sparse {
	USP_SPARSE_ANY,	   /* holes are read as zeros; a file system that shares extents keeps them */
	USP_SPARSE_AUTO,   /* holes of the source become holes of the sinks */
	USP_SPARSE_ALWAYS, /* zeros that come in whole blocks, too; the bytes go through this process */
	USP_SPARSE_NEVER,  /* every byte is written; no extents are shared */
};

#define USP_PUMP_SNAPSHOT 0x1u /* copy at the source, so that later changes to it are not seen */
#define USP_PUMP_REQUIRE_ZERO_COPY \
	0x2u /* -USP_EWOULDCOPY before a byte moves if a hop would copy or rewrite, or cannot tell */
#define USP_PUMP_CONTINUE_ON_ERROR 0x4u /* a failed sink leaves; the others go on */
#define USP_PUMP_DETACH_SLOW 0x8u	/* a sink that stays full for slow_ns leaves with -ETIMEDOUT */
#define USP_PUMP_KEEP_STRANDED 0x20u	/* keep what a failed sink left, for usp_pump_salvage */
#define USP_PUMP_COUNT 0x100u		/* move at most params.count bytes */
#define USP_PUMP_TURNS 0x200u		/* several sinks: serve them in turns in one thread; time-outs need that */

/* These only tune: the bytes and the result are the same without them. */
#define USP_PUMP_WIDEN_FIFOS 0x10u /* make the FIFOs of the route large */
#define USP_PUMP_ADAPT_LANE 0x40u  /* for sockets: begin on the user lane, then change by the size of pieces */
#define USP_PUMP_BATCH \
	0x80u /* run as SCHED_BATCH, and preempt no thread: from pipe to pipe while busy, and the threads of several sinks that \
		 do not poll */
#define USP_PUMP_NO_PROBE 0x400u /* find out nothing for the account: what the kernel carries is unknown */
#define USP_PUMP_DROP_CACHE \
	0x800u /* drop what was read and written of regular files and block devices from the page cache, and bring it \
		  to the storage for that; not the source if it is a sequence */

struct usp_pump_params {
	size_t size; /* sizeof(struct usp_pump_params) */
	enum usp_lane_choice lane;
	unsigned flags;	    /* USP_PUMP_* */
	int64_t count;	    /* with COUNT: the most bytes to move, 0 too; else 0 */
	uint64_t rate;	    /* bytes per second at the source, on average; 0 means no limit */
	uint64_t slow_ns;   /* with DETACH_SLOW; 0 means one second */
	uint64_t idle_ns;   /* -ETIMEDOUT of the side waited for, if nothing moves for so long; 0: never */
	uint64_t total_ns;  /* -ETIMEDOUT of the side waited for, if the whole run takes longer; 0: never */
	uint64_t linger_ns; /* at the end, how long to wait for a peer that takes nothing more; 0: 30 s */
	enum usp_sparse sparse;
};

/* A snapshot of a pump: plain values, nothing to free. */
struct usp_pump_status {
	size_t size;	   /* sizeof(struct usp_pump_status) */
	uint64_t bytes;	   /* taken from the source */
	uint64_t stranded; /* taken from the source, not delivered to a failed sink; the most of any sink */
	int source_error;  /* 0 or -errno of the source, at offset bytes */
	unsigned nr_sinks;
	bool is_done;
	int64_t cached; /* after a run with DROP_CACHE: bytes of the source that are in the page cache all the same;
			   -1: not known, or it has no page cache */
};

struct usp_sink_status {
	size_t size;	   /* sizeof(struct usp_sink_status) */
	const char *spec;  /* owned by the sink's file */
	uint64_t bytes;	   /* delivered; for a connection that is reset, what its peer has acknowledged */
	uint64_t stranded; /* taken for this sink, but not delivered: it or the run failed or was stopped */
	int error;	   /* 0 or -errno */
	int64_t cached;	   /* as of the source */
};

/* What failed in a run: plain values, nothing to free. */
struct usp_pump_error {
	size_t size;	       /* sizeof(struct usp_pump_error) */
	int error;	       /* 0 or -errno */
	unsigned side;	       /* USP_READ: the source; USP_WRITE: a sink */
	unsigned sink;	       /* its index, if it is a sink */
	const char *spec;      /* of the file, which owns it */
	const char *operation; /* "read", "write", or "end": shut the sink down and wait for its peer; static */
	uint64_t off;	       /* bytes that this side had moved before */
	uint64_t stranded;     /* bytes taken from the source that did not reach this sink */
};

/* The account of a pump's whole route, summed over its hops and sinks. */
struct usp_route_total {
	size_t size;	       /* sizeof(struct usp_route_total) */
	uint64_t by_reference; /* delivered bytes that no hop copied, summed over the sinks */
	uint64_t copied;       /* delivered bytes that some hop copied */
	uint64_t unknown;      /* delivered bytes that no hop is known to have copied, while some hop cannot tell */
	uint64_t rewritten;    /* delivered bytes that a transform computed, and that no hop behind it copied */
	uint64_t holes;	       /* delivered bytes that a sink has as a hole, and that were not written */
};

/*
 * Make a pump, which drives one source to one or many sinks. Fan-out shares references: every sink
 * gets every byte. The pump takes its own references to the files and uses them alone while it
 * runs. It starts at their positions and advances these. params is copied; NULL means all of the
 * source, with no conditions. Does not block. -EINVAL for a source that cannot be read or a sink
 * that cannot be written, -ENOMEM. Add sinks before the run; later it is -EINVAL.
 */
USP_EXPORT int usp_pump_new(struct usp_file *source, const struct usp_pump_params *params, struct usp_pump **ret_pump);
USP_EXPORT int usp_pump_add_sink(struct usp_pump *pump, struct usp_file *sink);

/*
 * Run until the end of input, count, an error that stops the run, or usp_pump_stop. Blocks. Call it
 * once. With more than one sink each gets a thread for the time of the call, unless no threads can
 * be had. With USP_PUMP_TURNS the calling thread serves all sinks. The files have
 * USP_NONBLOCK while it runs.
 *
 * Returns 0 when every byte reached every sink, else the first error, the source's before a sink's;
 * usp_pump_error tells the side. -ECANCELED after a stop. Before a byte moved: -EOPNOTSUPP for a
 * lane that is impossible; -USP_EWOULDCOPY for REQUIRE_ZERO_COPY, with the reason in the account of
 * the hop; -EINVAL without a sink, for a second run, and for time-outs of several sinks without
 * USP_PUMP_TURNS. What a sink on a network file system took may still fail: see usp_file_close.
 */
USP_EXPORT int usp_pump_run(struct usp_pump *pump);

/*
 * Tell whether a run could begin. 0, or -EOPNOTSUPP or -USP_EWOULDCOPY as from usp_pump_run, and then the reasons
 * stand in the hops. Changes no file, takes nothing, does not block. It is for a caller that has to
 * read from the source first, and must not do so if the run is refused. Two things show only with
 * the first byte, and are assumed to work: that the kernel serves the source, and that extents can
 * be shared. -EINVAL, -ENOMEM.
 */
USP_EXPORT int usp_pump_check(struct usp_pump *pump);

/* What a pump waits for: one side of one of its files, or only a time. */
struct usp_pump_wait {
	size_t size;	       /* sizeof(struct usp_pump_wait) */
	struct usp_file *file; /* lent; NULL: only a time */
	unsigned side;	       /* USP_READ: the source has nothing to give, or what it gave is not there yet; USP_WRITE:
				  the sink takes nothing */
	int fd;		       /* wait on it for events, and for errors, which poll always reports; or -1 */
	short events;
	int64_t timeout_ns; /* step again after this time at the latest; negative: no limit; 0: it only yielded */
};

/*
 * Run a pump in pieces, for the caller's own event loop: do what goes without waiting. -EAGAIN:
 * wait for what ret_wait says, then call again. Any other result ends the run and is that of
 * usp_pump_run. Does not block, except as disks do. Moves a few MiB at most, then yields. One
 * thread at a time.
 *
 * Level- and edge-triggered waits both work. A short read from a socket makes the step wait for the
 * source without having seen -EAGAIN. So an edge-triggered loop that saw EPOLLRDHUP or EPOLLPRI has
 * to call usp_pump_recheck before the next step.
 *
 * Several sinks are served in turns, without threads. ret_wait is then only the first of what
 * usp_pump_waits tells.
 */
USP_EXPORT int usp_pump_step(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/*
 * Tell all that the last step waits for. Writes at most nr entries and returns how many there are;
 * one more than the number of sinks is enough. The size in ret_waits[0] is that of each entry. Call
 * step again when one of them is ready, or when the shortest time is over. Does not block.
 */
USP_EXPORT unsigned usp_pump_waits(const struct usp_pump *pump, struct usp_pump_wait *ret_waits, unsigned nr);

/*
 * Forget that the last short read emptied the source, until a step has seen -EAGAIN or the end. For
 * edge-triggered loops: EPOLLRDHUP and EPOLLPRI are not reported twice.
 */
USP_EXPORT void usp_pump_recheck(struct usp_pump *pump);

/*
 * Deliver to another file, in order, what the sink of that index left behind, after a run with
 * KEEP_STRANDED. Returns bytes, 0 when nothing is left, or -errno of the file; several calls may be
 * needed. Bytes that a connection took and its peer did not acknowledge come before that; they are
 * gone, and stay counted in stranded.
 */
USP_EXPORT ssize_t usp_pump_salvage(struct usp_pump *pump, unsigned index, struct usp_file *to);

/*
 * Make a running pump return soon, or a later run at once. Safe from any thread and from a signal
 * handler.
 */
USP_EXPORT void usp_pump_stop(struct usp_pump *pump);

/* Read the counters, also while the pump runs in another thread. -EINVAL if there is no such sink. */
USP_EXPORT void usp_pump_status(const struct usp_pump *pump, struct usp_pump_status *ret_status);
USP_EXPORT int usp_pump_sink_status(const struct usp_pump *pump, unsigned index, struct usp_sink_status *ret_status);

/*
 * Tell which file failed, and at what: the source, else the first sink that did. error is 0 if none
 * has failed, also for a run that was refused or stopped. Does not block; also while the pump runs.
 */
USP_EXPORT void usp_pump_error(const struct usp_pump *pump, struct usp_pump_error *ret_error);

/*
 * Read the ledger: a hop of the route by its index, the sum, and the lane in one word: "kernel",
 * "user" or "mixed". Hop 0 leads from the source into the pipe, hop 1 + i out of the pipe to sink i.
 * A source that is a file over a file (usp_stack_new, usp_transform_open) has a hop for each file of its
 * chain, and they come first: out of the lowest file into the next one, and so on, into the pipe.
 * When all bytes go from file to file inside the kernel there is no pipe, and hop 0 leads from the source
 * to the sink. Does not block; also while the pump runs. -EINVAL if there is no such hop.
 */
USP_EXPORT int usp_pump_hop(const struct usp_pump *pump, unsigned index, struct usp_hop *ret_hop);
USP_EXPORT unsigned usp_pump_nr_hops(const struct usp_pump *pump);
USP_EXPORT void usp_pump_total(const struct usp_pump *pump, struct usp_route_total *ret_total);
USP_EXPORT const char *usp_pump_lane(const struct usp_pump *pump);

/*
 * Move everything from one endpoint to another: open both as usp_open does, copy as usp_copy_files does,
 * and close them. A late error of the sink, as of close(2), is an error of the call. An old file is cut
 * behind the new bytes at the end; a run that is refused leaves it as it is. A descriptor of the caller
 * ("-", "fd:N") stays open. params and ret_total may be NULL. Blocks. The result is 0, or that of usp_open,
 * usp_copy_files or usp_file_close.
 */
USP_EXPORT int usp_copy(const char *from, const char *to, const struct usp_pump_params *params,
			struct usp_route_total *ret_total);

/*
 * Move everything from one open file to another: make a pump, run it, free it. params and ret_total may be
 * NULL. Blocks. The files stay open. The result is that of usp_pump_new or usp_pump_run, or -EINVAL if both
 * are one object (usp_copy_is_same); *ret_total is the account, of a run that failed, too.
 */
USP_EXPORT int usp_copy_files(struct usp_file *from, struct usp_file *to, const struct usp_pump_params *params,
			      struct usp_route_total *ret_total);

/*
 * Tell whether a copy from one object to the other would read what it has written: both are one regular file, FIFO or
 * block device. A loop device is the file behind it, where sysfs tells that. Does not block; safe from any thread.
 */
struct stat;
USP_EXPORT bool usp_copy_is_same(const struct stat *a, const struct stat *b);

/*
 * The same with one end open, which stays open: open the other one as usp_copy does, copy, and close it. A late
 * error of a sink that the call opened is an error of the call. Blocks. The result is that of usp_copy.
 */
USP_EXPORT int usp_copy_to(struct usp_file *from, const char *to, const struct usp_pump_params *params,
			   struct usp_route_total *ret_total);
USP_EXPORT int usp_copy_from(const char *from, struct usp_file *to, const struct usp_pump_params *params,
			     struct usp_route_total *ret_total);

/* Free a pump. Bytes still in its pipes are lost; usp_pump_status tells how many. NULL is allowed. */
USP_EXPORT void usp_pump_free(struct usp_pump *pump);

#ifdef __cplusplus
}
#endif
#endif
