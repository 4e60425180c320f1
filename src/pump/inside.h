/* SPDX-License-Identifier: MIT */
/*
 * inside - a pump from the inside, for the files of this folder. Each file is a stair:
 *
 *   wait < sink < limits < source < rcvlowat < adapt < shortcut < single, fanout < thread < run; pump and status beside them
 */
#ifndef USP_PUMP_INSIDE_H
#define USP_PUMP_INSIDE_H

#include <pthread.h>
#include <usplice/endpoint.h>

#include "lanes/plan.h"
#include "pump/driver.h"
#include "pump/rate.h"

/* How far a sink has come that is driven in steps. */
enum usp_sink_stage {
	USP_SINK_OPEN,
	USP_SINK_SETTLE, /* the sink gets no more; its peer may have to take what was sent */
	USP_SINK_DONE,
};

/* One sink of a pump, with the pipe that feeds it. */
struct usp_sink {
	struct usp_pump *pump;
	struct usp_file *file;
	struct usp_pipe *pipe; /* the pump's own where there is one sink only */
	pthread_t thread;
	bool is_running;	   /* the thread has to be joined */
	bool is_live;		   /* the source's view: it still takes bytes */
	atomic_bool must_leave;	   /* too slow */
	bool is_shut;		   /* at the end: the sink's peer is told that this is all */
	bool is_cut;		   /* or must not take it for all */
	bool is_awaiting;	   /* and that it has taken all is to be seen */
	bool was_heard, has_ended; /* it says something by itself; it has ended, too */
	_Atomic(uint64_t) bytes;
	_Atomic(uint64_t) stranded;
	_Atomic(uint64_t) not_given; /* bytes that the source had for it when giving failed */
	atomic_int give_error;	     /* why the source gives it no more */
	atomic_int error;
	_Atomic(uint64_t) progress_ns; /* when the sink or its peer took something last, as far as somebody looked */
	atomic_int backlog;	       /* what the sink's peer had not taken then */
	int close_error;	       /* on the way to the end, from here on */
	int64_t nap_ns;
	enum usp_sink_stage stage; /* of steps, from here on */
	bool is_waiting;
	struct usp_pump_wait wait; /* if it is */
};

/* How far a run has come. */
enum usp_pump_stage {
	USP_PUMP_NEW,
	USP_PUMP_RANGE,	 /* the kernel copies from file to file */
	USP_PUMP_FLOW,	 /* source -> pipe -> sink */
	USP_PUMP_SETTLE, /* all is sent; the peer may have to take it */
	USP_PUMP_DONE,
};

/* What a bulk flow has shown, and what it is trusted with (rcvlowat.c). */
struct usp_rcvlowat {
	uint64_t seen;	      /* bytes of the pump when it waited for its source last */
	uint64_t shown;	      /* bytes in large pieces in a row */
	uint64_t nr_shown;    /* how many pieces these were */
	uint64_t since_ns;    /* since when; 0: none */
	uint64_t needed;      /* bytes to show, once they have been more than at first */
	bool was_late;	      /* the last wake-up was not the mark's */
	uint64_t patience_ns; /* how long the source may be left alone; 0: it has no low-water mark */
};

/* What the source brought, and what follows for the next piece (adapt.c). */
struct usp_adapt {
	size_t step_bytes;	     /* the most that one step takes from the source */
	size_t last_take;	     /* of the flow, since its pipe was empty */
	unsigned nr_large, nr_small; /* takes in a row */
	unsigned nr_messages;	     /* takes in a row that a ring could carry */
	struct usp_rcvlowat rcvlowat;
};

/* Beside params.count and the time-outs of params (limits.c). */
struct usp_pump_limits {
	struct usp_rate rate;
	struct usp_shared_rate *shared_rate; /* of several pumps, or NULL; not owned */
	uint64_t begun_ns, progress_ns;	     /* where a time-out needs them */
};

/* What a run waits for (wait.c). */
struct usp_waits {
	struct usp_pump_wait *told; /* by the last step, [0, nr); &pump->only.wait where there is one sink */
	unsigned nr;
	atomic_int stop_fd;   /* eventfd of a run that blocks, readable after a stop; -1 without one */
	struct pollfd *fds;   /* while waiting: the stop, what is waited for, the sinks */
	atomic_bool is_given; /* the source's thread gives nothing more to those of the sinks */
};

struct usp_pump {
	struct usp_file *source;
	struct usp_pump_params params;
	enum usp_pump_stage stage;
	unsigned process;	      /* that began it */
	struct usp_plan plan;	      /* of its hops; applied while it runs */
	struct usp_pipe *pipe;	      /* source -> here -> sinks */
	struct usp_buf undelivered;   /* what the shortcut could not deliver, on its way into the pipe */
	struct usp_folio **scratch;   /* of a driver of many pumps in one thread: memory for the shortcut; or NULL */
	struct usp_sink *sinks, only; /* the place of the sink where there is one */
	unsigned nr_sinks;
	struct usp_adapt adapt;
	struct usp_pump_limits limits;
	struct usp_waits waits;
	_Atomic(uint64_t) bytes; /* taken from the source */
	atomic_int source_error;
	atomic_bool has_all; /* that the source had, or that was asked for */
	atomic_bool is_stopped, is_done;
	atomic_bool is_stepped; /* no threads can be had for the sinks */
	bool is_source_over;	/* nothing more is taken */
	atomic_bool has_failed; /* a sink failed, and that ends the run */
	bool closes_sink; /* the driver closes the sink's file when the run has ended, so it need not be shut down */
	bool recheck;	  /* a short read does not say that nothing is left */
};

/* What carries the source's hop: NULL on the user lane. */
static inline const struct usp_lane *usp_pump_source_lane(const struct usp_pump *pump)
{
	return usp_plan_lane(&pump->plan, 0);
}

/* --- Waiting (wait.c) --------------------------------------------------------------------------------- */

/* -EAGAIN, after noting in *ret_wait that a file has to become ready on a side. */
int usp_pump_blocked(struct usp_file *file, unsigned side, struct usp_pump_wait *ret_wait);

/* -EAGAIN, after noting that time has to pass. */
int usp_pump_pause(struct usp_pump_wait *ret_wait, int64_t timeout_ns);

/* In a run that blocks: wait for what a step said: 0 to look again, -ECANCELED after a stop, or -errno. */
int usp_pump_await(struct usp_pump *pump, const struct usp_pump_wait *wait);

/* The same for all that a step with several sinks said. */
int usp_pump_await_any(struct usp_pump *pump);

/*
 * Wait until the file of a sink can be written or has more_events of poll(2), the pump is stopped (-ECANCELED), or timeout_ns
 * (negative: none) has passed (-ETIMEDOUT).
 */
int usp_pump_await_sink(struct usp_pump *pump, struct usp_file *file, short more_events, int64_t timeout_ns);

/* Wake the thread of the source, which may be waiting for input that nobody needs any more. */
void usp_pump_alarm(struct usp_pump *pump);

/* Nothing but a stop wakes a wait of the pump any more. */
void usp_pump_hush(struct usp_pump *pump);

/* --- Sinks (sink.c) ----------------------------------------------------------------------------------- */

bool usp_sink_may_detach(const struct usp_sink *sink);
uint64_t usp_sink_slow_ns(const struct usp_sink *sink);

/* Has the sink's peer taken something since somebody looked last? Then that is progress. */
void usp_sink_look(struct usp_sink *sink);

/* Look, and tell whether it has taken nothing for too long. */
bool usp_sink_is_slow(struct usp_sink *sink);

/* Write up to len bytes of the sink's pipe to its file, once, and count them: bytes, 0 at the end of the pipe, or -errno. */
ssize_t usp_sink_write(struct usp_sink *sink, size_t len, unsigned flags);

/*
 * It gave -EAGAIN: -EAGAIN, after noting in *ret_wait what has to come. What the peer of a sink that is only written says meanwhile is
 * dropped, at once and when it comes.
 */
int usp_sink_blocked(struct usp_sink *sink, struct usp_pump_wait *ret_wait);

/*
 * The sink takes nothing now. Drop what its peer says: one that answers would wait for us to read, and we for it. True if it may
 * say more. An error is told by the next write.
 */
bool usp_sink_overhear(struct usp_sink *sink);

/*
 * The sink gets no more: count what is stranded, drop it or keep it. One that has everything is shut down; the peer of another
 * one must not take what came for all. The error that it ends with, so far, is its close_error.
 */
void usp_sink_close(struct usp_sink *sink, int error);

/*
 * What was sent is delivered when the peer has it, and the kernel reads no more from our memory: -EAGAIN with *ret_wait, or 0 when it
 * is noted how the sink ended.
 */
int usp_sink_end(struct usp_sink *sink, struct usp_pump_wait *ret_wait);

/* A stop can come between what the source gave and what the sink got of it: all of that is stranded. */
void usp_sink_strand_all(struct usp_sink *sink);

/* Note how it ended, and whether that ends the run. */
void usp_sink_note(struct usp_sink *sink, int error);

/* Take the first len bytes out of a pipe and release them. */
void usp_sink_discard(struct usp_pipe *pipe, size_t len);

/* --- Limits (limits.c) -------------------------------------------------------------------------------- */

/* How much of len may go now, by count and rates: 0 when count is reached, -EAGAIN with the time to wait in *ret_wait. */
ssize_t usp_pump_allowance(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait);

/* Note that bytes were taken. */
void usp_pump_count(struct usp_pump *pump, ssize_t taken);

/*
 * No longer than there is time: -EAGAIN with *wait shortened, or -ETIMEDOUT. sink is the one that is waited for, NULL if
 * that is the source. What the peers of the sinks take meanwhile is movement, too.
 */
int usp_pump_check_time(struct usp_pump *pump, const struct usp_sink *sink, struct usp_pump_wait *wait);

/* --- The source (source.c) ---------------------------------------------------------------------------- */

/*
 * Take one step's worth from the source into the pump's pipe: bytes, 0 at the end or when count is reached, -EAGAIN with
 * *ret_wait, or -errno, which is noted as the source's.
 */
ssize_t usp_pump_take(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/* As usp_pump_allowance, and -EAGAIN if the source is known to have nothing now. What became of reading is then told to usp_pump_took. */
ssize_t usp_pump_may_take(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait);

/* Bytes, 0 at the end, or -errno, as a read gave them: counted or noted, and -EAGAIN with *ret_wait. */
ssize_t usp_pump_took(struct usp_pump *pump, ssize_t taken, struct usp_pump_wait *ret_wait);

/* A source that the kernel refused to splice went on in memory: nothing comes to the sinks in kernel pipes any more. */
void usp_pump_follow_source(struct usp_pump *pump);

/* --- What the next piece gets (rcvlowat.c, adapt.c) ------------------------------------------------------ */

/*
 * A step is over, and waits for the source: would its next pieces be better if it were woken later? Shortens *wait where what is
 * there must be looked at in time.
 */
void usp_rcvlowat_adapt(struct usp_pump *pump, struct usp_pump_wait *wait);

/* The source wakes whoever waits for it as soon as it has a byte, as it did before. */
void usp_rcvlowat_drop(struct usp_pump *pump);

/* All is delivered, and the last piece had this length: is another lane better for the next one? */
void usp_adapt_lane(struct usp_pump *pump, size_t taken);

/* Put the flow on a lane, and count anew. */
void usp_adapt_set_lane(struct usp_pump *pump, bool is_kernel);

/* --- The shortcut (shortcut.c) ------------------------------------------------------------------------ */

/* Can the next bytes take the shortcut? */
bool usp_shortcut_fits(const struct usp_pump *pump);

/*
 * Copy directly. Return 1 if the caller must continue through the pipe, 0 at the end, -EAGAIN with *ret_wait, or the -errno of the
 * sink or a stop.
 */
int usp_shortcut_go(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/* --- A pump with one sink (single.c) ------------------------------------------------------------------ */

#define USP_PUMP_BUDGET ((uint64_t)1 << 20) /* bytes of one step, until others get their turn */

/* One step of whatever stage it is in; -EAGAIN with *ret_wait, or 0 when the stage has become USP_PUMP_DONE. */
int usp_single_advance(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/* --- A pump with several sinks (fanout.c, thread.c) ----------------------------------------------------- */

/* The pipe of each sink. */
struct usp_pipe_params usp_fanout_params(const struct usp_pump *pump);

/*
 * Give every live sink the first buf of the pump's pipe, by reference. One that cannot be given it fails, when it has
 * delivered what it has. 0, or -EPIPE when none is left.
 */
int usp_fanout_give(struct usp_pump *pump);

/* In turns: make the pipes, 0 or -errno; then, as usp_single_advance, -EAGAIN with pump->waits. */
int usp_fanout_begin(struct usp_pump *pump);
int usp_fanout_advance(struct usp_pump *pump);

/* In turns, and wait: 0, or -errno before a byte has moved. */
int usp_fanout_run(struct usp_pump *pump);

/* With a thread for each sink, or in turns if none can be had: the same. */
int usp_threads_run(struct usp_pump *pump);

#endif
