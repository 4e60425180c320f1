/* SPDX-License-Identifier: MIT */
/*
 * inside - a pump from the inside, for the files of this folder. Each file uses only those to its
 * left:
 *
 *   wait < drop < sink < limits < source < rcvlowat < adapt < shortcut < range < single, fanout < thread < run
 *
 * pump and status stand beside them.
 */
#ifndef USP_PUMP_INSIDE_H
#define USP_PUMP_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <usplice/endpoint.h>

#include "lanes/plan.h"
#include "pump/driver.h"
#include "pump/rate.h"

/* How far a sink that is driven in steps has come. */
enum usp_sink_stage {
	USP_SINK_OPEN,
	USP_SINK_SETTLE, /* it gets no more bytes; what was sent may still be on its way to the peer */
	USP_SINK_DONE,
};

/* One sink of a pump, with the pipe that feeds it. */
struct usp_sink {
	struct usp_pump *pump;
	struct usp_file *file;
	struct usp_pipe *pipe; /* the pump's own if there is only one sink */
	pthread_t thread;
	bool is_running;	   /* the thread has to be joined */
	bool is_live;		   /* the source's view: it still takes bytes */
	atomic_bool must_leave;	   /* it is too slow */
	bool is_shut;		   /* at the end: the peer is told that this is all */
	bool is_cut;		   /* at the end: the peer must not take what came for all */
	atomic_bool is_whole;	   /* it has everything, and only has to end */
	bool is_awaiting;	   /* at the end: wait until the peer has taken all */
	atomic_bool is_late;	   /* the last wait was for bytes that a buf of the source did not have yet */
	bool was_heard, has_ended; /* the peer sends something; the peer has ended, too */
	_Atomic(uint64_t) bytes;
	_Atomic(uint64_t) stranded;
	_Atomic(uint64_t) not_given; /* bytes that were ready for this sink when giving failed */
	atomic_int give_error;	     /* why it is given no more */
	atomic_int error;
	_Atomic(uint64_t) progress_ns; /* when the sink or its peer last took something, as of the last look */
	_Atomic(uint64_t) late_ns;     /* until then it last waited for bytes that the source's buf did not have */
	atomic_int backlog;	       /* what the peer had not taken then */
	int close_error;	       /* result so far; from here on, fields for the end */
	int64_t nap_ns;
	enum usp_sink_stage stage; /* from here on, fields for steps */
	bool is_waiting;
	struct usp_pump_wait wait; /* valid if is_waiting */
};

/* How far a run has come. */
enum usp_pump_stage {
	USP_PUMP_NEW,
	USP_PUMP_RANGE,	 /* the kernel copies from file to file */
	USP_PUMP_FLOW,	 /* source -> pipe -> sink */
	USP_PUMP_SETTLE, /* all is sent; it may still be on its way to the peer */
	USP_PUMP_DONE,
};

/* What a bulk flow has shown, and the low-water mark that follows (rcvlowat.c). */
struct usp_rcvlowat {
	uint64_t seen;	      /* bytes of the pump at its last wait for the source */
	uint64_t shown;	      /* bytes of a row of large pieces */
	uint64_t nr_shown;    /* pieces in that row */
	uint64_t since_ns;    /* when the row began; 0: there is none */
	uint64_t needed;      /* bytes to show before the next low-water mark; 0: as at first */
	bool was_late;	      /* the last wake-up came below the low-water mark */
	uint64_t patience_ns; /* longest wait for the source; 0: without a low-water mark */
};

/* What the source brought, and what follows for the next piece (adapt.c). */
struct usp_adapt {
	size_t step_bytes;	     /* most bytes that one step takes from the source */
	size_t last_take;	     /* length of the last take, since the pipe was empty */
	unsigned nr_large, nr_small; /* large and small takes in a row */
	unsigned nr_messages;	     /* takes in a row that io_uring could carry */
	struct usp_rcvlowat rcvlowat;
};

/* Limits besides params.count and the time-outs of params (limits.c). */
struct usp_pump_limits {
	struct usp_rate rate;
	struct usp_shared_rate *shared_rate; /* of several pumps, or NULL; not owned */
	uint64_t begun_ns, progress_ns;	     /* set where a time-out needs them */
};

/* What a run waits for (wait.c). */
struct usp_waits {
	struct usp_pump_wait *told; /* by the last step, [0, nr); &pump->only.wait where there is one sink */
	unsigned nr;
	atomic_int stop_fd;   /* eventfd of a run that blocks, readable after a stop; -1 without one */
	struct pollfd *fds;   /* for poll(2): the stop, what is waited for, the sinks */
	atomic_bool is_given; /* the source's thread gives no more to the threads of the sinks */
};

/* How far one file has left the page cache (drop.c). */
struct usp_drop {
	bool is_on;	 /* it has a page cache */
	int64_t first;	 /* position of the first byte */
	int64_t start;	 /* the same, of its page */
	int64_t moved;	 /* what the file's account had then */
	int64_t begun;	 /* up to here the kernel was told to write */
	int64_t dropped; /* up to here pages were dropped */
	int64_t cached;	 /* bytes that were there after the run, or -1 */
	int error;	 /* of bytes on their way to the storage, a negative errno value */
};

struct usp_pump {
	struct usp_file *source;
	struct usp_file *
		*sources; /* the source behind the files that lie below it, the lowest first; &source without these */
	unsigned nr_sources;
	struct usp_pump_params params;
	enum usp_pump_stage stage;
	unsigned process;	      /* number of the process that began the run */
	struct usp_plan plan;	      /* of the hops; applied during the run */
	struct usp_pipe *pipe;	      /* source -> here -> sinks */
	struct usp_buf undelivered;   /* what the shortcut could not deliver, on its way into the pipe */
	struct usp_folio **scratch;   /* memory for the shortcut, of a driver of many pumps in one thread; or NULL */
	struct usp_sink *sinks, only; /* only: room for one sink, without an array */
	unsigned nr_sinks;
	struct usp_adapt adapt;
	struct usp_pump_limits limits;
	struct usp_waits waits;
	struct usp_drop *drops;		      /* of the source, then of each sink; NULL without USP_PUMP_DROP_CACHE */
	_Atomic(uint64_t) bytes;	      /* taken from the source */
	_Atomic(uint64_t) range[USP_NR_WAYS]; /* of these, from file to file without a pipe, by way */
	_Atomic(uint64_t) range_holes;	      /* the same of holes */
	uint64_t range_begun;		      /* bytes when the range that is copied now began */
	atomic_int source_error;
	_Atomic(uint64_t) end; /* the source failed or ended here, in bytes that were taken already; else UINT64_MAX */
	atomic_bool has_all;   /* all that the source had, or that was asked for, is taken */
	atomic_bool is_stopped, is_done;
	atomic_bool is_stepped; /* run in steps, because no threads can be had for the sinks */
	bool is_source_over;	/* take no more */
	atomic_bool has_failed; /* a sink failed, and that ends the run */
	bool has_no_clones;	/* the file system of the sink shares no extents */
	bool closes_sink;	/* the driver closes the sink's file after the run: no shutdown needed */
	bool recheck;		/* do not take a short read for an empty source */
};

/* Return the lane of the source's hop; NULL on the user lane. */
static inline const struct usp_lane *usp_pump_source_lane(const struct usp_pump *pump)
{
	return usp_plan_source_lane(&pump->plan);
}

/* --- Waiting (wait.c) --------------------------------------------------------------------------------- */

/* Note in *ret_wait that a file has to become ready on a side. Returns -EAGAIN. */
int usp_pump_blocked(struct usp_file *file, unsigned side, struct usp_pump_wait *ret_wait);

/*
 * Tell whether the first buf of a pipe keeps a sink from going on, because its bytes are not there yet.
 * Then *ret_wait is a wait for the source.
 */
bool usp_pump_is_late(struct usp_pump *pump, struct usp_pipe *pipe, struct usp_pump_wait *ret_wait);

/* Note in *ret_wait that time has to pass. Returns -EAGAIN. */
int usp_pump_pause(struct usp_pump_wait *ret_wait, int64_t timeout_ns);

/*
 * Wait for what a step reported, in a run that blocks: 0 to step again, -ECANCELED after a stop, or
 * -errno.
 */
int usp_pump_await(struct usp_pump *pump, const struct usp_pump_wait *wait);

/* Wait for all that a step with several sinks reported: 0 to step again, also after a stop, or -errno. */
int usp_pump_await_any(struct usp_pump *pump);

/*
 * As usp_pump_await, in the thread of a sink: for what usp_sink_blocked noted. -ETIMEDOUT after
 * timeout_ns (negative: no limit).
 */
int usp_pump_await_sink(struct usp_pump *pump, const struct usp_pump_wait *wait, int64_t timeout_ns);

/* Wake the thread of the source, which may be waiting for input that no sink needs. */
void usp_pump_alarm(struct usp_pump *pump);

/* Undo usp_pump_alarm: from now on only a stop wakes a wait of the pump. */
void usp_pump_hush(struct usp_pump *pump);

/* --- The page cache (drop.c) -------------------------------------------------------------------------- */

/* Prepare a run: 0 or -ENOMEM. */
int usp_drop_begin(struct usp_pump *pump);

/*
 * Drop what lies some windows behind the source's or the sink's position, in the thread that moved it. A sink's
 * bytes are brought to the storage before: blocks while too many are on their way. An error is that of the next write.
 */
void usp_drop_source(struct usp_pump *pump);
void usp_drop_sink(struct usp_sink *sink);

/* Drop the rest, and look what stays. An error of a sink is noted as its own. */
void usp_drop_end(struct usp_pump *pump);

/* Return what stayed of the source, 0, or of a sink, its index + 1. */
static inline int64_t usp_drop_cached(const struct usp_pump *pump, unsigned index)
{
	return atomic_load(&pump->is_done) && pump->drops ? pump->drops[index].cached : -1;
}

/* --- Sinks (sink.c) ----------------------------------------------------------------------------------- */

bool usp_sink_may_detach(const struct usp_sink *sink);
uint64_t usp_sink_slow_ns(const struct usp_sink *sink);

/* Return since when the sink has taken nothing of what it could take. Bytes that came late do not make it slow. */
uint64_t usp_sink_blocked_since_ns(const struct usp_sink *sink);

/* Look whether the sink's peer has taken something since the last look, and note that as progress. */
void usp_sink_look(struct usp_sink *sink);

/* Look, and tell whether the sink has taken nothing for too long. */
bool usp_sink_is_slow(struct usp_sink *sink);

/*
 * Write up to len bytes of the sink's pipe to its file, once and without waiting, and count them: bytes,
 * 0 at the end of the pipe, or -errno. Bytes of the source that turn out to be missing are the end of the
 * pipe, and cut the pump.
 */
ssize_t usp_sink_write(struct usp_sink *sink, size_t len);

/* Tell whether the source has failed or ended behind what it gave: then nothing more is taken or written. */
static inline bool usp_pump_was_cut(const struct usp_pump *pump)
{
	return atomic_load(&pump->end) != UINT64_MAX;
}

/*
 * Note in *ret_wait what has to come after the sink gave -EAGAIN: the sink, or bytes that a buf of the
 * source does not have yet. Returns -EAGAIN. If the sink is only written, what its peer sends is
 * dropped, now and while waiting.
 */
int usp_sink_blocked(struct usp_sink *sink, struct usp_pump_wait *ret_wait);

/*
 * End the delivery to a sink: count what is stranded, and drop it or keep it. A sink that has
 * everything is shut down. In any other case the peer must not take what came for all. close_error
 * is the error so far.
 */
void usp_sink_close(struct usp_sink *sink, int error);

/*
 * Wait until the peer has what was sent, and the kernel reads no more from our memory: -EAGAIN with
 * *ret_wait. 0 when the end is noted.
 */
int usp_sink_end(struct usp_sink *sink, struct usp_pump_wait *ret_wait);

/* Count as stranded all that the source gave and the sink did not get. A stop can come in between. */
void usp_sink_strand_all(struct usp_sink *sink);

/* Note how the sink ended, and whether that ends the run. */
void usp_sink_note(struct usp_sink *sink, int error);

/* Take the first len bytes out of a pipe and release them. */
void usp_sink_discard(struct usp_pipe *pipe, size_t len);

/* --- Limits (limits.c) -------------------------------------------------------------------------------- */

/*
 * Return how much of len may go now, by count and rates: 0 when count is reached, -EAGAIN with the
 * time to wait in *ret_wait.
 */
ssize_t usp_pump_allowance(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait);

/* Note that bytes were taken. */
void usp_pump_count(struct usp_pump *pump, ssize_t taken);

/*
 * Shorten *wait to the next deadline, and return -EAGAIN. -ETIMEDOUT if the deadline has passed.
 * sink is the sink that is waited for, NULL for the source. What the peers of the sinks take
 * meanwhile counts as progress.
 */
int usp_pump_check_time(struct usp_pump *pump, const struct usp_sink *sink, struct usp_pump_wait *wait);

/* --- The source (source.c) ---------------------------------------------------------------------------- */

/*
 * Take one step's worth from the source into the pump's pipe: bytes, 0 at the end or when count is
 * reached, -EAGAIN with *ret_wait, or -errno, which is noted as the source's error.
 */
ssize_t usp_pump_take(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/*
 * Return the allowance, as usp_pump_allowance, and -EAGAIN if the source is known to be empty. Pass
 * the result of the read to usp_pump_took.
 */
ssize_t usp_pump_may_take(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait);

/*
 * Count or note the result of a read. Returns it: bytes, 0 at the end, -errno, or -EAGAIN with
 * *ret_wait.
 */
ssize_t usp_pump_took(struct usp_pump *pump, ssize_t taken, struct usp_pump_wait *ret_wait);

/* Take the sinks off the kernel lane if the source has left it: no more kernel pipes come to them. */
void usp_pump_follow_source(struct usp_pump *pump);

/* --- What the next piece gets (rcvlowat.c, adapt.c) ------------------------------------------------------ */

/*
 * Decide at the end of a step whether the source should wake us later, for larger pieces. Shortens
 * *wait if what is there must be looked at in time.
 */
void usp_rcvlowat_adapt(struct usp_pump *pump, struct usp_pump_wait *wait);

/* Remove the low-water mark: the source is readable again as soon as it has a byte. */
void usp_rcvlowat_drop(struct usp_pump *pump);

/* Choose the lane for the next piece, after a piece of this length was delivered and the pipe is empty. */
void usp_adapt_lane(struct usp_pump *pump, size_t taken);

/* Put the flow on a lane, and count anew. */
void usp_adapt_set_lane(struct usp_pump *pump, bool is_kernel);

/* --- The shortcut (shortcut.c) ------------------------------------------------------------------------ */

/* Tell whether the next bytes can take the shortcut. */
bool usp_shortcut_fits(const struct usp_pump *pump);

/*
 * Copy directly. Return 1 if the caller must continue through the pipe, 0 at the end, -EAGAIN with *ret_wait, or the -errno of the
 * sink or a stop.
 */
int usp_shortcut_go(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/* --- File to file (range.c) --------------------------------------------------------------------------- */

/* Tell whether the kernel may share or copy the range from file to file, without a pipe. */
bool usp_range_is_possible(const struct usp_pump *pump);

/* Let the kernel share the extents: true if that covered the size that the source reported. */
bool usp_range_clone(struct usp_pump *pump);

/* Pass by files of a sequence that are empty, in front of the first byte: 0 or -errno. */
int usp_range_skip_empty(struct usp_pump *pump);

/*
 * Copy one piece: -EAGAIN with *ret_wait, or 0 at the end of the stage. The stage becomes USP_PUMP_FLOW if
 * the flow must take over.
 */
int usp_range_advance(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/* --- A pump with one sink (single.c) ------------------------------------------------------------------ */

#define USP_PUMP_BUDGET ((uint64_t)1 << 20) /* bytes of one step, then it yields */

/*
 * Run one step of the current stage: -EAGAIN with *ret_wait, or 0 when the stage has become
 * USP_PUMP_DONE.
 */
int usp_single_advance(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/* --- A pump with several sinks (fanout.c, thread.c) ----------------------------------------------------- */

/* Return the parameters of each sink's pipe. */
struct usp_pipe_params usp_fanout_params(const struct usp_pump *pump);

/*
 * Give every live sink the first buf of the pump's pipe, by reference. A sink that cannot get it
 * delivers what it has, and then fails. 0, or -EPIPE when no sink is left.
 */
int usp_fanout_give(struct usp_pump *pump);

/*
 * Serve all sinks in turns. begin makes the pipes: 0 or -errno. advance is as usp_single_advance,
 * and -EAGAIN comes with pump->waits.
 */
int usp_fanout_begin(struct usp_pump *pump);
int usp_fanout_advance(struct usp_pump *pump);

/* Serve all sinks in turns, and wait: 0, or -errno before a byte has moved. */
int usp_fanout_run(struct usp_pump *pump);

/*
 * Serve each sink in a thread, or all in turns if no threads can be had: 0, or -errno before a byte
 * has moved.
 */
int usp_threads_run(struct usp_pump *pump);

#endif
