/* SPDX-License-Identifier: MIT */
/*
 * usplice.h - splice, tee and vmsplice in user space: what callers need.
 *
 * Files are endpoints, pipes are rings of references to memory (or to bytes that the kernel holds),
 * and moving data means moving references. Every hop keeps an account of how many bytes went by
 * reference, how many were copied, and why.
 *
 * Common to all functions: a negative result is -errno and errno itself is not used; nothing prints,
 * exits or raises SIGPIPE (SIGXFSZ comes as from write(2), to a process with RLIMIT_FSIZE that does not ignore it); outputs
 * (ret_*) are untouched on failure; lengths and offsets are bytes, times are nanoseconds. Files are reference counted: open gives one reference, usp_file_put drops it.
 *
 * Structs of parameters, results and operations begin with a size that the caller fills in: sizeof the struct. So they
 * can grow, and a program built against an older header goes on working: what it does not know of keeps its default, which
 * is zero. -EINVAL for parameters without a size; -E2BIG for newer ones that ask for what this library does not know. A
 * result is cut to its size.
 *
 * -EINVAL for every flag, mode, side, lane or index that is not named here, for times beyond INT64_MAX, and for lengths and
 * capacities beyond SSIZE_MAX or the end of the address space.
 *
 * Rules named S7, T3 and the like are those of docs/kernel-rules.md; docs/differences.md lists where
 * usplice differs from the kernel on purpose.
 */
#ifndef USPLICE_H
#define USPLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define USP_EXPORT __attribute__((visibility("default")))
#else
#define USP_EXPORT
#endif

struct usp_file;
struct usp_gift;
struct usp_pump;

/* Flags of the splice calls: the kernel's values and, except where noted, the kernel's meaning. */
#define USP_SPLICE_MOVE 0x01u	  /* a hint: take the pages themselves where that is possible */
#define USP_SPLICE_NONBLOCK 0x02u /* do not wait: not on a pipe, nor on the file, unless that is a socket */
#define USP_SPLICE_MORE 0x04u	  /* more data follows soon; never leave it set on the tail */
#define USP_SPLICE_GIFT 0x08u	  /* usp_vmsplice: refer to the caller's memory instead of copying it */

/* What a file may be used for. */
#define USP_READ 0x1u
#define USP_WRITE 0x2u
#define USP_EXCLUSIVE 0x4u /* usp_open_fd: nobody else has this open file description, so it may be changed */

/* Flags of an open file, read and set by usp_file_flags and usp_file_set_flags. */
#define USP_NONBLOCK 0x1u /* like O_NONBLOCK on the descriptor */
#define USP_APPEND 0x2u	  /* like O_APPEND: the file is not a sink for usp_splice (S8) */
#define USP_PACKET 0x4u	  /* write end of a pipe: each write is a packet, like O_DIRECT (R12, R22) */
#define USP_DIRECT 0x8u	  /* opened O_DIRECT; cannot be changed */

/* --- The account of bytes -------------------------------------------------------------------- */

/* How bytes crossed one hop. */
enum usp_way {
	USP_BY_REFERENCE, /* only a reference moved */
	USP_COPIED,	  /* the bytes were copied, by us or by the kernel */
	USP_UNKNOWN,	  /* the kernel carried them and no experiment could tell how */
	USP_NR_WAYS,
};
#define USP_WAYS_MAX 8 /* the length of arrays by way, so that there may be more */

/* What happened on one side of a file: one hop. A snapshot, so no ownership. */
struct usp_hop {
	size_t size;			  /* sizeof(struct usp_hop) */
	const char *lane;		  /* "kernel" or "user": how the hop is carried now; static storage */
	uint64_t bytes[USP_WAYS_MAX];	  /* bytes by way; their sum is all that moved on this hop */
	const char *reason[USP_WAYS_MAX]; /* the last reason for each way, or NULL; static storage */
	uint64_t nr_calls;		  /* calls into the endpoint or the kernel that moved bytes */
};

/*
 * The account of what splices and pumps read from (USP_READ) or wrote to (USP_WRITE) a file since it was opened.
 * usp_read and usp_write are copies and not counted; usp_splice and usp_tee between two pipes cross no hop. Bytes
 * that a zero-copy send has under way count as unknown until the kernel says how they went; usp_file_sync waits for
 * that. Does not block; safe while other threads move data.
 */
USP_EXPORT void usp_file_hop(const struct usp_file *file, unsigned side, struct usp_hop *ret_hop);

/* --- Files -------------------------------------------------------------------------------------- */

struct usp_open_params {
	size_t size;	 /* sizeof(struct usp_open_params) */
	unsigned mode;	 /* USP_READ or USP_WRITE, or both where the endpoint can do both */
	int creat_mode;	 /* permission bits, below the umask, of a regular file that has to be made; 0 means 0666 */
	bool no_create;	 /* a regular sink must exist already */
	bool keep_bytes; /* do not truncate a regular sink */
	bool append; /* a regular sink is O_APPEND; -EINVAL for what has positions and no end, such as a block device */
	bool no_peer; /* -EINPROGRESS for what another process would notice, or be waited for: sockets and FIFOs */
};

/*
 * Open the endpoint that spec names (usplice-endpoints(7)); a regular sink is created, and truncated
 * only if keep_bytes and append are unset. A symbolic link that leads nowhere is -ENOENT: no file is made through it.
 * Blocks while a name is looked up, and while a connection is made or awaited: -EINTR after a signal, -ETIMEDOUT after the
 * timeout= of the spec; no_peer refuses that after all other checks. The errors are those of
 * open(2), connect(2) and so on; -EINVAL for a spec that does not parse, and -EHOSTUNREACH for a name
 * that does not resolve. If ret_why is not NULL it receives a static sentence about the failure, or NULL.
 */
USP_EXPORT int usp_open(const char *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			const char **ret_why);

/*
 * Make a file of a descriptor: the endpoint type follows from what the descriptor is, and name is what reports call
 * it (copied). On success the file owns fd and closes it; on failure it stays with the caller.
 *
 * Others may share the open file description, so its offset and flags are at every moment what a loop of read(2) and
 * write(2) would leave. The file has no position of its own then: calls without an offset move the shared one, a regular
 * file is written by write(2) only, which moves data and offset under one lock, and an offset that is given works as in
 * pread(2). A socket that blocks is not spliced, because splice(2) would block, and never sends by MSG_ZEROCOPY. A FIFO
 * or terminal gets, under the same number, a description of its own that is O_NONBLOCK. With USP_EXCLUSIVE in mode
 * nobody else has the description: the file keeps a position of its own, a socket or FIFO is set O_NONBLOCK, and the
 * kernel carries what it can.
 *
 * Does not block. -EBADF if the descriptor does not allow mode, -EISDIR for a directory, -EINVAL for what bytes do not
 * flow through, such as an eventfd or a listening socket.
 */
USP_EXPORT int usp_open_fd(int fd, unsigned mode, const char *name, struct usp_file **ret_file);

/*
 * A file over len bytes of the caller's memory, at base. Reading gives references to it, writing copies
 * into it; a write beyond the end is -ENOSPC. The memory must stay until done(arg) has been called, which
 * happens exactly once, after the last reference anywhere is gone; done may be NULL. What was read must not be written
 * over before its readers have it. On failure done is not called. -EINVAL for no memory or no mode, -ENOMEM.
 */
USP_EXPORT int usp_open_memory(void *base, size_t len, unsigned mode, void (*done)(void *arg), void *arg,
			       struct usp_file **ret_file);

USP_EXPORT struct usp_file *usp_file_get(struct usp_file *file);

/*
 * Close a file now, also while there are other references: whatever uses it later gets -EBADF, but its name and its
 * account stay. 0, or -errno: of an earlier write whose error had not been told, or of close(2), which is where network
 * file systems tell that written data did not fit (-EDQUOT, -ENOSPC, -EIO). May block for the time that outstanding
 * zero-copy sends need: as long as the peer takes bytes, and some seconds beyond; then the connection is reset. Not while
 * another thread uses the file. A second call gives 0.
 */
USP_EXPORT int usp_file_close(struct usp_file *file);

/* Drop a reference; the last one closes the file as usp_file_close does, and its error is lost. NULL is allowed. */
USP_EXPORT void usp_file_put(struct usp_file *file);

/* The name that reports use for this file, and its endpoint type ("regular", "tcp", "pipe" ...). Owned by the file. */
USP_EXPORT const char *usp_file_spec(const struct usp_file *file);
USP_EXPORT const char *usp_file_type(const struct usp_file *file);

/* The descriptor behind a file, or -ENXIO. It stays the file's. */
USP_EXPORT int usp_file_fd(const struct usp_file *file);

/*
 * USP_NONBLOCK | USP_APPEND | USP_PACKET | USP_DIRECT. Setting replaces them all: 0, or -EINVAL if APPEND or DIRECT
 * would change, or for PACKET on anything but the write end of a pipe.
 */
USP_EXPORT unsigned usp_file_flags(const struct usp_file *file);
USP_EXPORT int usp_file_set_flags(struct usp_file *file, unsigned flags);

/*
 * read(2) and write(2): copy between a file at its position and the caller's memory. Bytes moved, 0 at the end of
 * input, or -errno: -EAGAIN, -EBADF for the wrong direction, -EINVAL for a file that has no way to do it or for more
 * than 1024 segments, -EPIPE, -EINTR where a wait on a descriptor was interrupted. Blocks unless USP_NONBLOCK is set; on a
 * socket no longer than its SO_RCVTIMEO or SO_SNDTIMEO (N3), then -EAGAIN.
 * One call moves at most 0x7ffff000 bytes, as all calls that move bytes do (N2). For pipes: rules R9-R25.
 */
USP_EXPORT ssize_t usp_read(struct usp_file *file, void *base, size_t len);
USP_EXPORT ssize_t usp_write(struct usp_file *file, const void *base, size_t len);
/* pread(2): the same at an offset, which is no position of the file. -ESPIPE where there are none. */
USP_EXPORT ssize_t usp_pread(struct usp_file *file, void *base, size_t len, int64_t off);
USP_EXPORT ssize_t usp_readv(struct usp_file *file, const struct iovec *iov, unsigned nr_segs);
USP_EXPORT ssize_t usp_writev(struct usp_file *file, const struct iovec *iov, unsigned nr_segs);

/*
 * lseek(2): the new position, -ESPIPE where there is none, -EINVAL for SEEK_END of a file that has no known end. Of a
 * descriptor that others share, this moves their offset, too.
 */
USP_EXPORT int64_t usp_file_seek(struct usp_file *file, int64_t off, int whence);

/*
 * The bytes up to the end of a file on disk or a block device, from its beginning: a hint, because file systems may not
 * know and others may write. -EINVAL where nothing knows. Does not block.
 */
USP_EXPORT int64_t usp_file_size(const struct usp_file *file);

/*
 * Bring written data to the storage (fsync); for a socket, wait until the peer has acknowledged what zero-copy sends
 * refer to. 0, or -errno, that of a connection which broke meanwhile too; 0 where there is nothing to do. Blocks,
 * except that a socket with USP_NONBLOCK gives -EAGAIN.
 */
USP_EXPORT int usp_file_sync(struct usp_file *file);

/*
 * No more will be written: half-close of a socket, the empty datagram of udp:...,eof; nothing for other files. The
 * file stays readable. 0, or -errno, also that of an earlier write whose error had not been told yet.
 */
USP_EXPORT int usp_file_shutdown(struct usp_file *file);

/*
 * What was written is not all: closing the file must not look like the end. A TCP connection that nobody else has (usp_open,
 * USP_EXCLUSIVE) is reset when it is closed, also by the death of the process, and what the peer has not acknowledged is lost then.
 * usp_file_shutdown takes that back. A pump does both for its sinks. 0, or -errno; nothing for other files, whose peers cannot be told.
 * Does not block.
 */
USP_EXPORT int usp_file_abort(struct usp_file *file);

/* Readiness now, as POLLIN | POLLOUT | POLLERR | POLLHUP (R30 for pipes). Does not block. */
USP_EXPORT unsigned usp_file_poll(struct usp_file *file);

/*
 * A descriptor for somebody's poll or epoll, level-triggered: wait on it for *ret_events until side (USP_READ or
 * USP_WRITE) is ready. For a pipe it is an eventfd and always POLLIN, readable exactly while that side of the pipe is
 * ready or broken. Owned by the file. -EPERM for a file that is always ready, such as a regular one.
 */
USP_EXPORT int usp_file_poll_fd(struct usp_file *file, unsigned side, short *ret_events);

/* --- Pipes -------------------------------------------------------------------------------------- */

struct usp_pipe_params {
	size_t size;	 /* sizeof(struct usp_pipe_params) */
	size_t nr_slots; /* entries of the ring, at most 2^20, rounded up to a power of two; 0 means 16 */
	size_t slot_bytes; /* the most that one entry refers to, at least 4096; 0 means 64 KiB; 4096 is the kernel's rule */
	size_t max_bytes; /* the most that all entries refer to together; 0 means no limit but the slots */
	unsigned flags;	  /* USP_NONBLOCK on both ends, USP_PACKET on the write end */
};

/*
 * A pipe as two files: ret_ends[0] to read, ret_ends[1] to write, one reference each. params may be NULL. Safe to use
 * from several threads. 0, -ENOMEM, or -EINVAL, also where all slots together refer to more than SSIZE_MAX.
 */
USP_EXPORT int usp_pipe_open(const struct usp_pipe_params *params, struct usp_file *ret_ends[2]);

/*
 * F_SETPIPE_SZ and F_GETPIPE_SZ on either end, in bytes (nr_slots x slot_bytes): the capacity that results.
 * -EBUSY if more slots are in use than would remain (R6) or a producer is in the middle of a step that needs
 * them, -EBADF if it is not a pipe, -EINVAL, -ENOMEM.
 */
USP_EXPORT ssize_t usp_pipe_resize(struct usp_file *end, size_t len);
USP_EXPORT ssize_t usp_pipe_capacity(const struct usp_file *end);

/* FIONREAD on either end: the bytes in the pipe. -EBADF if it is not a pipe. */
USP_EXPORT ssize_t usp_pipe_bytes(const struct usp_file *end);

/* --- splice, tee, vmsplice, sendfile ------------------------------------------------------------- */

/*
 * splice(2): move up to len bytes between a pipe and a file, or two pipes. One of the two must be the end of a pipe.
 * off_in and off_out are NULL for a pipe, else NULL to use and advance the file's own position. Bytes moved, 0 at the
 * end of input, or -errno. Order of checks and errors: S1-S26, T1-T8; without SIGPIPE. Blocks on the pipe unless
 * NONBLOCK or the pipe end's USP_NONBLOCK; on a socket unless that has USP_NONBLOCK; on another file unless it has
 * USP_NONBLOCK or the call does not block on the pipe. -EAGAIN: nothing moved, see usp_blocked_side.
 */
USP_EXPORT ssize_t usp_splice(struct usp_file *in, int64_t *off_in, struct usp_file *out, int64_t *off_out, size_t len,
			      unsigned flags);

/*
 * tee(2): duplicate references from pipe to pipe without consuming; bytes duplicated. Errors and blocking: T1-T4,
 * T9-T13; -EAGAIN, or a wait, where tee(2) gives a false 0.
 */
USP_EXPORT ssize_t usp_tee(struct usp_file *in, struct usp_file *out, size_t len, unsigned flags);

/*
 * vmsplice(2). Write end: memory into the pipe, copied once, or with GIFT referred to in place, and then it must
 * stay valid and unchanged until it has been consumed - use a usp_gift to be told when. Read end: bytes out of
 * the pipe into the memory, copied. Rules V1-V6. Blocks unless NONBLOCK; USP_NONBLOCK of the end is ignored (V2).
 */
USP_EXPORT ssize_t usp_vmsplice(struct usp_file *end, const struct iovec *iov, unsigned nr_segs, unsigned flags);

/*
 * Gifted memory, and the notification that vmsplice never gave. The caller's buffer enters pipes by reference;
 * done(arg) is called exactly once, when the last reference is gone - the caller's own, every buf in every pipe,
 * and what the kernel holds for zero-copy sends - and from then on the memory may be reused, also inside done.
 * It runs in whichever thread dropped the last reference, with no usplice lock held. done may be NULL. -EINVAL for no
 * memory, -ENOMEM; done is not called then. Two things keep a reference until somebody acts: a pipe without a reader
 * keeps its bufs until the write end is closed too (R34), so watch it for POLLERR; and outside of a pump the notices of
 * zero-copy sends are taken in by calls on the socket's file only: usp_file_sync waits for them.
 */
USP_EXPORT int usp_gift_new(void *base, size_t len, void (*done)(void *arg), void *arg, struct usp_gift **ret_gift);
USP_EXPORT void usp_gift_put(struct usp_gift *gift);

/*
 * Put bytes [off, off + len) of a gift into a pipe's write end, by reference. A short count when the pipe fills;
 * blocks for the first free slot unless NONBLOCK. The caller keeps its reference. -EINVAL if outside the gift, -EBADF
 * if end is not a write end, -EPIPE, -EAGAIN.
 */
USP_EXPORT ssize_t usp_gift_splice(struct usp_gift *gift, size_t off, size_t len, struct usp_file *end, unsigned flags);

/*
 * sendfile(2) between any two files (H19-H23): in must be seekable. Moves up to len bytes over the pipe whose two
 * ends are pipe[0..1], or over an internal one if pipe is NULL. What a short sink leaves in the pipe is dropped
 * and the source position set back to it, so nothing is lost; a caller's pipe must be empty (-EBUSY). Bytes
 * delivered, 0 at the end of input, or -errno. If out is a pipe this is one usp_splice. flags are those of usp_splice.
 */
USP_EXPORT ssize_t usp_splice_direct(struct usp_file *in, int64_t *off_in, struct usp_file *out, int64_t *off_out,
				     size_t len, unsigned flags, struct usp_file *const pipe[2]);

/*
 * After -EAGAIN: which side was blocked. USP_READ if in has nothing to give, USP_WRITE if out can take nothing, both
 * or 0 if that has changed since. Rings are asked for their state, descriptors by poll(2) with no wait.
 */
USP_EXPORT unsigned usp_blocked_side(struct usp_file *in, struct usp_file *out);

/* --- Pump ---------------------------------------------------------------------------------------- */

/* How a hop is carried: decided per file by the plan, or forced. */
enum usp_lane_choice {
	USP_LANE_AUTO,
	USP_LANE_KERNEL, /* bytes never enter user space; usp_pump_run gives -EOPNOTSUPP if an end cannot */
	USP_LANE_USER,	 /* bytes sit in memory of this process */
};

#define USP_PUMP_SNAPSHOT 0x1u		/* copy at the source, so that later changes to it are not seen */
#define USP_PUMP_REQUIRE_ZERO_COPY 0x2u /* -ENOTSUP before a byte moves if a hop would copy or cannot tell */
#define USP_PUMP_CONTINUE_ON_ERROR 0x4u /* a failed sink leaves, the others go on */
#define USP_PUMP_DETACH_SLOW 0x8u	/* a sink that stays full for slow_ns leaves (error -ETIMEDOUT) */
#define USP_PUMP_WIDEN_FIFOS 0x10u	/* set FIFOs that it meets to a large size */
#define USP_PUMP_KEEP_STRANDED 0x20u	/* what a failed sink leaves stays, for usp_pump_salvage */
#define USP_PUMP_ADAPT_LANE 0x40u	/* of a socket: begin on the user lane, and change by the size of what comes */
#define USP_PUMP_BATCH 0x80u		/* a run from pipe to pipe: be SCHED_BATCH while busy, and interrupt nobody */

struct usp_pump_params {
	size_t size; /* sizeof(struct usp_pump_params) */
	enum usp_lane_choice lane;
	unsigned flags;	    /* USP_PUMP_* */
	int64_t count;	    /* bytes to move; negative means until the end of input */
	uint64_t rate;	    /* bytes per second at the source, on average; 0 means no limit */
	uint64_t slow_ns;   /* with DETACH_SLOW; 0 means one second */
	uint64_t idle_ns;   /* nothing moved for so long: -ETIMEDOUT of the side that was waited for; 0: never */
	uint64_t total_ns;  /* the whole run took so long: -ETIMEDOUT, the same way; 0: never */
	uint64_t linger_ns; /* at the end, how long a peer that takes nothing more is waited for; 0: 30 s */
};

/* A moment of a pump: plain values, no ownership. */
struct usp_pump_status {
	size_t size;	   /* sizeof(struct usp_pump_status) */
	uint64_t bytes;	   /* taken from the source */
	uint64_t stranded; /* taken from the source and not delivered to a sink that failed, most of any sink */
	int source_error;  /* 0 or -errno of the source, at offset bytes */
	unsigned nr_sinks;
	bool is_done;
};

struct usp_sink_status {
	size_t size;	   /* sizeof(struct usp_sink_status) */
	const char *spec;  /* owned by the sink's file */
	uint64_t bytes;	   /* delivered; of a connection that is reset, what its peer has acknowledged */
	uint64_t stranded; /* taken for this sink and not delivered, because it or the run failed or was stopped */
	int error;	   /* 0 or -errno */
};

/* The whole account of a pump's route, per hop and in sum. */
struct usp_route_total {
	size_t size;	       /* sizeof(struct usp_route_total) */
	uint64_t by_reference; /* delivered bytes that no hop copied, summed over the sinks */
	uint64_t copied;       /* delivered bytes that some hop copied */
	uint64_t unknown;      /* delivered bytes that no hop is known to have copied, and some hop cannot tell */
};

/*
 * A pump drives one source to one or many sinks: fan-out shares references, every sink gets every byte. It takes its
 * own references of the files and uses them alone while it runs. It starts at their positions and advances these.
 * params is copied; NULL means all of the source with no conditions. -EINVAL for files that cannot be read (written),
 * -ENOMEM. Sinks are added before the run, later ones are -EINVAL.
 */
USP_EXPORT int usp_pump_new(struct usp_file *source, const struct usp_pump_params *params, struct usp_pump **ret_pump);
USP_EXPORT int usp_pump_add_sink(struct usp_pump *pump, struct usp_file *sink);

/*
 * Run until the end of input, count, an error that stops it, or usp_pump_stop. Blocks; with more than one sink each
 * gets a thread of its own for the time of the call, unless there are time-outs or no threads can be had. Once. 0 when every byte reached every sink; else the first
 * error, the source's before a sink's: ask usp_pump_status and usp_pump_sink_status which side it was. -ECANCELED
 * after a stop. Before a byte moved: -EOPNOTSUPP for a lane that is impossible; -ENOTSUP (the same number) for
 * REQUIRE_ZERO_COPY, and the reason stands in the account of the hop; -EINVAL without a sink or for a second run. The
 * files have USP_NONBLOCK afterwards. What a sink on a network file system got may still fail: see usp_file_close.
 */
USP_EXPORT int usp_pump_run(struct usp_pump *pump);

/*
 * Would a run begin? 0, or -EOPNOTSUPP as usp_pump_run says it, and then the reasons stand in the hops. Changes no file, takes
 * nothing, does not block: for a caller that has to read from the source first, and must not if the run is refused then. What only
 * the first byte shows, whether the kernel serves the source and whether extents can be shared, is taken for good. -EINVAL, -ENOMEM.
 */
USP_EXPORT int usp_pump_check(struct usp_pump *pump);

/* What a pump waits for: one side of one of its files, or time alone. */
struct usp_pump_wait {
	size_t size;	       /* sizeof(struct usp_pump_wait) */
	struct usp_file *file; /* lent; NULL: time alone */
	unsigned side;	       /* USP_READ: its source has nothing to give; USP_WRITE: its sink takes nothing */
	int fd;		       /* to wait on for events (and for errors, which poll tells unasked), or -1 */
	short events;
	int64_t timeout_ns; /* step again after this time at the latest; negative: no limit; 0: it only let others go first */
};

/*
 * usp_pump_run in pieces, for somebody's own event loop: do what goes without waiting. -EAGAIN: wait for what ret_wait says,
 * then call again. Else the run is over and the result is that of usp_pump_run. Does not block (except as disks do), and
 * moves a few MiB at most before it lets others go first. Level- or edge-triggered waits will do; after a
 * short read from a socket it says that it waits for the source without having seen -EAGAIN, and so an edge-triggered
 * loop that saw EPOLLRDHUP or EPOLLPRI has to call usp_pump_look first. One thread at a time.
 *
 * With several sinks, which are served in turns and without threads, ret_wait is only the first of what usp_pump_waits tells.
 */
USP_EXPORT int usp_pump_step(struct usp_pump *pump, struct usp_pump_wait *ret_wait);

/*
 * All that the last step waits for, at most nr of them (one more than there are sinks will do); returns how many there are.
 * The size in ret_waits[0] is that of each.
 * Step again when any of them is ready, or the shortest time is over.
 */
USP_EXPORT unsigned usp_pump_waits(const struct usp_pump *pump, struct usp_pump_wait *ret_waits, unsigned nr);

/* Do not believe a short read until a step has seen -EAGAIN or the end: there is news that will not be told again. */
USP_EXPORT void usp_pump_look(struct usp_pump *pump);

/*
 * After a run with KEEP_STRANDED: deliver to another file, in order, what the sink of that index left behind. Bytes, of
 * which several calls may be needed, 0 when nothing is left, or -errno of the file. What a connection had taken and its peer
 * had not acknowledged lies before that, and stays in stranded.
 */
USP_EXPORT ssize_t usp_pump_salvage(struct usp_pump *pump, unsigned index, struct usp_file *to);

/* Make a running pump return soon, or a later run at once. Safe from any thread and from a signal handler. */
USP_EXPORT void usp_pump_stop(struct usp_pump *pump);

/* Counters, also while it runs in another thread. -EINVAL if there is no such sink. */
USP_EXPORT void usp_pump_status(const struct usp_pump *pump, struct usp_pump_status *ret_status);
USP_EXPORT int usp_pump_sink_status(const struct usp_pump *pump, unsigned index, struct usp_sink_status *ret_status);

/*
 * The ledger: the source's hop into the pipe, a sink's hop out of it, the sum, and the lane in one word: "kernel",
 * "user" or "mixed". Of file to file inside the kernel, both hops tell the same. Also while it runs; -EINVAL if there
 * is no such sink.
 */
USP_EXPORT void usp_pump_source_hop(const struct usp_pump *pump, struct usp_hop *ret_hop);
USP_EXPORT int usp_pump_sink_hop(const struct usp_pump *pump, unsigned index, struct usp_hop *ret_hop);
USP_EXPORT void usp_pump_total(const struct usp_pump *pump, struct usp_route_total *ret_total);
USP_EXPORT const char *usp_pump_lane(const struct usp_pump *pump);

/* Free it; bytes still in its pipes are gone (usp_pump_status said how many). NULL is allowed. */
USP_EXPORT void usp_pump_free(struct usp_pump *pump);

/* --- The process --------------------------------------------------------------------------------- */

/*
 * A child of fork(2) begins with empty caches and open locks; usplice(3), "After a fork", says what it may do with the
 * objects that it inherits. -ESTALE is what it gets where only its parent can go on.
 *
 * Memory and kernel pipes are cached for reuse, which changes speed and never behaviour. Give back all that is not
 * in use now; what is in use is counted in the result, so a test can see that nothing leaked.
 */
struct usp_usage {
	size_t size;		      /* sizeof(struct usp_usage) */
	size_t nr_folios;	      /* folios and gifts alive */
	size_t folio_bytes;	      /* memory in use by folios, gifts not counted */
	size_t nr_kpipes;	      /* kernel pipes in use by this process, and not by one that it descends from */
	uint64_t nr_kpipes_destroyed; /* kernel pipes that still held data when they were released */
};
USP_EXPORT void usp_trim(struct usp_usage *ret_usage); /* NULL is allowed */

/* "1.2.3": of the library that runs. */
USP_EXPORT const char *usp_version(void);

#ifdef __cplusplus
}
#endif
#endif
