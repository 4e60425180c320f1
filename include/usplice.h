/* SPDX-License-Identifier: MIT */
/*
 * usplice.h - splice, tee and vmsplice in user space: what callers need.
 *
 * Files are endpoints. Pipes are rings of references to memory, or to bytes that the kernel holds.
 * Moving data means moving references. Every hop keeps an account of how many bytes went by
 * reference, how many were copied, and why.
 *
 * Common to all functions: a negative result is -errno, and errno itself is not used. Nothing
 * prints, exits or raises SIGPIPE. SIGXFSZ comes as from write(2), to a process with RLIMIT_FSIZE
 * that does not ignore it. Outputs (ret_*) are untouched on failure. Lengths and offsets are bytes,
 * times are nanoseconds. Files are reference counted: open gives one reference, usp_file_put drops
 * it.
 *
 * Structs of parameters, results and operations begin with a size, which the caller sets to sizeof
 * the struct. So they can grow, and a program built against an older header still works: a member
 * that it does not know keeps its default, which is zero. Parameters without a size are -EINVAL.
 * Newer ones that ask for something that this library does not know are -E2BIG. A result is cut to
 * its size.
 *
 * -EINVAL for every flag, mode, side, lane or index that is not named here, for times beyond
 * INT64_MAX, and for lengths and capacities beyond SSIZE_MAX or the end of the address space.
 *
 * docs/kernel-rules.md lists the rules of the kernel, which usplice follows. docs/differences.md
 * lists where usplice differs from the kernel on purpose.
 */
#ifndef USPLICE_H
#define USPLICE_H

#include <errno.h>
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

/* Flags of the splice calls: the kernel's values and, except where noted, the kernel's meaning. */
#define USP_SPLICE_MOVE 0x01u	  /* a hint: take the pages themselves where that is possible */
#define USP_SPLICE_NONBLOCK 0x02u /* do not wait on a pipe, nor on a file that is not a socket */
#define USP_SPLICE_MORE 0x04u	  /* more data follows soon; never leave it set on the tail */
#define USP_SPLICE_GIFT 0x08u	  /* usp_vmsplice: refer to the caller's memory instead of copying it */

/* What a file may be used for. */
#define USP_READ 0x1u
#define USP_WRITE 0x2u
#define USP_EXCLUSIVE 0x4u /* usp_open_fd: the caller alone has this open file description; it may be changed */

/* Flags of an open file, read and set by usp_file_flags and usp_file_set_flags. */
#define USP_NONBLOCK 0x1u /* like O_NONBLOCK on the descriptor */
#define USP_APPEND 0x2u	  /* like O_APPEND: the file is not a sink for usp_splice */
#define USP_PACKET 0x4u	  /* write end of a pipe: each write is a packet, like O_DIRECT of pipe(2) */
#define USP_DIRECT 0x8u	  /* opened with O_DIRECT; cannot be changed */

/* --- The account of bytes -------------------------------------------------------------------- */

/* How bytes crossed one hop. */
enum usp_way {
	USP_BY_REFERENCE, /* only a reference moved */
	USP_COPIED,	  /* the bytes were copied, by us or by the kernel */
	USP_UNKNOWN,	  /* the kernel carried them and no experiment could tell how */
	USP_REWRITTEN,	  /* a transform computed new bytes: no copy of the old ones, and no reference */
	USP_NR_WAYS,
};
#define USP_WAYS_MAX 8 /* length of arrays by way; leaves room for more ways */

/* A snapshot of one side of a file, which is one hop. Plain values: nothing to free. */
struct usp_hop {
	size_t size;			  /* sizeof(struct usp_hop) */
	const char *lane;		  /* "kernel" or "user": how the hop is carried now; static storage */
	uint64_t bytes[USP_WAYS_MAX];	  /* bytes by way; their sum is all that moved on this hop */
	const char *reason[USP_WAYS_MAX]; /* the last reason for each way, or NULL; static storage */
	uint64_t nr_calls;		  /* calls into the endpoint or the kernel that moved bytes */
	const char *from, *to; /* of a pump: the specs that the hop lies between, or "pipe"; owned by the files */
	enum usp_way expected; /* of a pump: the way that the plan expects; USP_UNKNOWN without a plan */
	uint64_t holes;	       /* bytes of holes, which did not move: read from nowhere, or not written */
	uint64_t lost; /* datagrams that this socket, a source, had no room for; others may have been lost before */
};

/*
 * Report what splices and pumps read from (USP_READ) or wrote to (USP_WRITE) a file since it was
 * opened. usp_read and usp_write are copies and are not counted. usp_splice and usp_tee between two
 * pipes cross no hop. Bytes of an unfinished zero-copy send count as unknown until the kernel says
 * how they went; usp_file_sync waits for that. Does not block. Safe while other threads move data.
 */
USP_EXPORT void usp_file_hop(const struct usp_file *file, unsigned side, struct usp_hop *ret_hop);

/* --- Files -------------------------------------------------------------------------------------- */

struct usp_open_params {
	size_t size;	 /* sizeof(struct usp_open_params) */
	unsigned mode;	 /* USP_READ or USP_WRITE, or both where the endpoint can do both */
	int creat_mode;	 /* permission bits, below the umask, of a new regular file; 0 means 0666 */
	bool no_create;	 /* a regular sink must exist already */
	bool keep_bytes; /* do not truncate a regular sink */
	bool append; /* a regular sink is O_APPEND; -EINVAL for what has positions and no end, such as a block device */
	bool no_peer;	  /* -EINPROGRESS where opening involves another process: sockets and FIFOs */
	bool must_create; /* a regular sink must not exist yet, else -EEXIST; decided by the kernel, without a race */
	/* Called before a listener waits for its client, once for each address such as "127.0.0.1:9000", with the port
	 * that the kernel chose for port 0. NULL: not told. */
	void (*listening)(void *listening_arg, const char *address);
	void *listening_arg;
	bool may_run; /* a command (exec:) may be run. Never set it for a spec that comes from somebody else. */
	/* Called once when the command of exec: has ended, with its status as of waitpid(2), or -1 if the library had to
	 * end it: by the call that finds that out, a read at the end of its output or usp_file_close. NULL: not told. */
	void (*exited)(void *exited_arg, int status);
	void *exited_arg;
};

/*
 * The error of a command (exec:) that did not exit with 0, in place of the end of its output, or when its file is
 * closed. No file operation gives this number.
 */
#define USP_ECOMMAND EBADR

/*
 * Open the endpoint that spec names (usplice-endpoints(7)). A regular sink is created if it does
 * not exist, and truncated unless keep_bytes or append is set. A symbolic link that leads nowhere
 * is -ENOENT: no file is made through it. A descriptor ("-", "fd:N") belongs to the file, and is
 * closed with it; the numbers 0 to 2 then lead to /dev/null.
 *
 * Blocks while a name is looked up, and while a connection is made or awaited: -EINTR after a
 * signal, -ETIMEDOUT after the timeout= of the spec. With no_peer such an open is refused, after
 * all other checks. A command is started, and is -EPERM without may_run. The library waits for its own
 * children only, and needs SIGCHLD not to be ignored; -ECHILD if the program has taken the status.
 *
 * The errors are those of open(2), connect(2) and so on. -EINVAL for a spec that does not parse,
 * -EHOSTUNREACH for a name that does not resolve. If ret_why is not NULL it receives a static
 * sentence about the failure, or NULL.
 */
USP_EXPORT int usp_open(const char *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			const char **ret_why);

/*
 * Make a file of a descriptor. The endpoint type follows from the kind of descriptor. name is
 * copied; reports use it. On success the file owns fd and closes it; on failure it stays with the
 * caller.
 *
 * Without USP_EXCLUSIVE the library assumes that others share the open file description. Its offset
 * and flags are then at every moment what a loop of read(2) and write(2) would leave:
 *
 * - The file has no position of its own. Calls without an offset move the shared offset, and a given
 *   offset works as in pread(2).
 * - A regular file is written by write(2) only, which moves data and offset under one lock.
 * - A blocking socket is not spliced, because splice(2) would block. It never sends by MSG_ZEROCOPY.
 * - A FIFO or terminal gets, under the same number, an open file description of its own that is
 *   O_NONBLOCK.
 *
 * With USP_EXCLUSIVE in mode the caller alone has the description: the file keeps a position of its
 * own, a socket or FIFO is set O_NONBLOCK, and the kernel carries what it can.
 *
 * Does not block. -EBADF if the descriptor does not allow mode, -EISDIR for a directory, -EINVAL
 * for a descriptor that carries no data, such as an eventfd or a listening socket.
 */
USP_EXPORT int usp_open_fd(int fd, unsigned mode, const char *name, struct usp_file **ret_file);

/*
 * Make a file of len bytes of the caller's memory at base. Reading gives references to it, writing
 * copies into it; a write beyond the end is -ENOSPC. The memory must stay until done(arg) has been
 * called. That happens exactly once, after the last reference anywhere is gone; done may be NULL.
 * Do not overwrite bytes that were read before their consumers have them. Does not block. On
 * failure done is not called: -EINVAL without memory or mode, -ENOMEM.
 */
USP_EXPORT int usp_open_memory(void *base, size_t len, unsigned mode, void (*done)(void *arg), void *arg,
			       struct usp_file **ret_file);

/* What comes next in a sequence of files. */
struct usp_sequence_params {
	size_t size; /* sizeof(struct usp_sequence_params) */
	/*
	 * Open the next file, for reading, and give its reference to the sequence: 1, 0 behind the last one,
	 * or -errno, which becomes an error of the sequence. No end of a pipe of usplice. May block.
	 */
	int (*next)(void *arg, struct usp_file **ret_file);
	void *arg;
};

/*
 * Make one file of several: reading it gives the bytes of one file behind those of the other. It calls
 * next for the first file now, and for each other file when it is at the end of the one before, in the
 * thread that reads. A file is put when it has ended. Bytes go by reference and in the kernel as from
 * the file itself. The account is that of all files. The sequence has no positions. May block as next
 * does. A pump with REQUIRE_ZERO_COPY refuses it, because nothing is known of the files that come later.
 * -EINVAL without next or without a first file, -ENOMEM.
 */
USP_EXPORT int usp_sequence_open(const struct usp_sequence_params *params, const char *spec,
				 struct usp_file **ret_file);

/* Add a reference; returns file. */
USP_EXPORT struct usp_file *usp_file_get(struct usp_file *file);

/*
 * Close a file now, even if other references exist. Later uses give -EBADF, but its name and its
 * account stay. 0, or -errno: of an earlier write whose error is not yet reported, or of close(2).
 * Network file systems report there that written data did not fit (-EDQUOT, -ENOSPC, -EIO). May
 * block for outstanding zero-copy sends: as long as the peer takes bytes, and some seconds beyond;
 * then the connection is reset. Waits until a command (exec:) has exited. It
 * gets SIGTERM before, and SIGKILL 2 s later, if its bytes were not all written or read. Do not call
 * it while another thread uses the file. A second call gives 0.
 */
USP_EXPORT int usp_file_close(struct usp_file *file);

/*
 * Drop a reference. The last one closes the file as usp_file_close does, and its error is lost.
 * NULL is allowed.
 */
USP_EXPORT void usp_file_put(struct usp_file *file);

/*
 * Return the name that reports use for this file, and its endpoint type ("regular", "tcp", "pipe"
 * ...). Owned by the file.
 */
USP_EXPORT const char *usp_file_spec(const struct usp_file *file);
USP_EXPORT const char *usp_file_type(const struct usp_file *file);

/* Return the descriptor behind a file, or -ENXIO. The file keeps it. */
USP_EXPORT int usp_file_fd(const struct usp_file *file);

/*
 * Get or set USP_NONBLOCK | USP_APPEND | USP_PACKET | USP_DIRECT. Setting replaces them all: 0, or
 * -EINVAL if APPEND or DIRECT would change, or for PACKET on anything but the write end of a pipe.
 */
USP_EXPORT unsigned usp_file_flags(const struct usp_file *file);
USP_EXPORT int usp_file_set_flags(struct usp_file *file, unsigned flags);

/*
 * Copy between a file at its position and the caller's memory, as read(2) and write(2). Bytes
 * moved, 0 at the end of input, or -errno: -EAGAIN, -EBADF for the wrong direction, -EINVAL for a
 * file without such an operation or for more than 1024 segments, -EPIPE, -EINTR if a signal ended a
 * wait on a descriptor. Blocks unless USP_NONBLOCK is set. A socket blocks for at most its
 * SO_RCVTIMEO or SO_SNDTIMEO, then -EAGAIN. One call moves at most 0x7ffff000 bytes, as all calls
 * that move bytes do. Pipes follow pipe(7): docs/kernel-rules.md.
 */
USP_EXPORT ssize_t usp_read(struct usp_file *file, void *base, size_t len);
USP_EXPORT ssize_t usp_write(struct usp_file *file, const void *base, size_t len);
/*
 * Read at an offset and leave the position alone, as pread(2). -ESPIPE for a file without
 * positions. Else as usp_read.
 */
USP_EXPORT ssize_t usp_pread(struct usp_file *file, void *base, size_t len, int64_t off);
USP_EXPORT ssize_t usp_readv(struct usp_file *file, const struct iovec *iov, unsigned nr_segs);
USP_EXPORT ssize_t usp_writev(struct usp_file *file, const struct iovec *iov, unsigned nr_segs);

/*
 * Set the position, as lseek(2). Returns the new position, -ESPIPE for a file without positions,
 * -EINVAL for SEEK_END of a file without a known end. For a descriptor that others share this moves
 * the shared offset.
 */
USP_EXPORT int64_t usp_file_seek(struct usp_file *file, int64_t off, int whence);

/*
 * Return the size in bytes of a file on disk, a block device or memory, or what the get_size hook of
 * an endpoint says. It is a hint: file systems may not know it, and others may write. -EINVAL if the
 * size is unknown. Does not block.
 */
USP_EXPORT int64_t usp_file_size(const struct usp_file *file);

/*
 * Bring written data to the storage, as fsync(2). For a socket, wait until the peer has
 * acknowledged what zero-copy sends refer to. 0, also where there is nothing to do, or -errno, also
 * that of a connection that broke meanwhile. Blocks, except that a socket with USP_NONBLOCK gives
 * -EAGAIN. For a command (exec:) that is only written, and was shut down, wait until it has exited:
 * -EINTR after a signal, and -EAGAIN with USP_NONBLOCK; usp_file_poll_fd for USP_WRITE says what to wait for.
 */
USP_EXPORT int usp_file_sync(struct usp_file *file);

/*
 * Declare the end of writing: half-close a socket, as shutdown(2); send the empty datagram of
 * udp:...,eof; do nothing for other files. The file stays readable. 0, or -errno, also that of an
 * earlier write whose error is not yet reported.
 */
USP_EXPORT int usp_file_shutdown(struct usp_file *file);

/*
 * Declare that what was written is incomplete, so that closing the file does not look like the end.
 * A TCP connection that the caller alone has (usp_open, USP_EXCLUSIVE) is then reset when it is
 * closed, also by the death of the process. Bytes that the peer has not acknowledged are lost then.
 * usp_file_shutdown takes the declaration back. A pump does both for its sinks. Does nothing for
 * other files, whose peers cannot be told. 0, or -errno. Does not block.
 */
USP_EXPORT int usp_file_abort(struct usp_file *file);

/*
 * Return what is ready now, as POLLIN | POLLOUT | POLLERR | POLLHUP of poll(2). Does not block.
 * Read end of a pipe: IN with a buf in it whose bytes are there, HUP without writers. Write end: OUT with a free slot,
 * ERR without readers.
 */
USP_EXPORT unsigned usp_file_poll(struct usp_file *file);

/*
 * Return a descriptor for the caller's poll or epoll, level-triggered. Wait on it for *ret_events
 * until side (USP_READ or USP_WRITE) is ready. Ask anew for each wait. For a pipe it is an eventfd and
 * *ret_events is POLLIN: it is readable exactly while that side of the pipe is ready or broken. While
 * the first buf of the pipe waits for its bytes, it is that buf's descriptor. Owned by the file.
 * -EPERM for a file that is always ready, such as a regular one.
 */
USP_EXPORT int usp_file_poll_fd(struct usp_file *file, unsigned side, short *ret_events);

/* --- Pipes -------------------------------------------------------------------------------------- */

struct usp_pipe_params {
	size_t size;	   /* sizeof(struct usp_pipe_params) */
	size_t nr_slots;   /* entries of the ring, at most 2^20, rounded up to a power of two; 0 means 16 */
	size_t slot_bytes; /* most bytes in one entry, at least 4096; 0 means 64 KiB; the kernel's is 4096 */
	size_t max_bytes;  /* most bytes in all entries together; 0: only the slots limit them */
	unsigned flags;	   /* USP_NONBLOCK on both ends, USP_PACKET on the write end */
};

/*
 * Make a pipe as two files, as pipe(2): ret_ends[0] to read, ret_ends[1] to write, one reference
 * each. params may be NULL. Safe to use from several threads. 0, -ENOMEM, or -EINVAL, also if all
 * slots together could refer to more than SSIZE_MAX bytes.
 */
USP_EXPORT int usp_pipe_open(const struct usp_pipe_params *params, struct usp_file *ret_ends[2]);

/*
 * Set and get the capacity in bytes (nr_slots x slot_bytes), as F_SETPIPE_SZ and F_GETPIPE_SZ on
 * either end. Both return the capacity that holds then. -EBUSY if more slots are in use than would
 * remain (bytes do not count), or while a producer that holds the write turn needs them. -EBADF if
 * end is not a pipe, -EINVAL, -ENOMEM.
 */
USP_EXPORT ssize_t usp_pipe_resize(struct usp_file *end, size_t len);
USP_EXPORT ssize_t usp_pipe_capacity(const struct usp_file *end);

/* Return the bytes in the pipe, as FIONREAD on either end. -EBADF if end is not a pipe. */
USP_EXPORT ssize_t usp_pipe_bytes(const struct usp_file *end);

/* --- splice, tee, vmsplice, sendfile ------------------------------------------------------------- */

/*
 * Move up to len bytes between a pipe and a file, or between two pipes, as splice(2). in or out
 * must be the end of a pipe. For a pipe, off_in or off_out must be NULL. For a file, NULL means to
 * use and advance the file's own position. Bytes moved, 0 at the end of input, or -errno. Errors
 * and the order of checks are those of the kernel (docs/kernel-rules.md); there is no SIGPIPE.
 *
 * Blocks on the pipe unless NONBLOCK is given or the pipe end is USP_NONBLOCK; on a socket unless
 * the socket is USP_NONBLOCK; on another file unless it is USP_NONBLOCK or the call does not block
 * on the pipe. -EAGAIN means that nothing moved: see usp_blocked_side.
 */
USP_EXPORT ssize_t usp_splice(struct usp_file *in, int64_t *off_in, struct usp_file *out, int64_t *off_out, size_t len,
			      unsigned flags);

/*
 * Duplicate references from pipe to pipe without consuming them, as tee(2). Returns the bytes
 * duplicated, 0 at the end of input, or -errno. Errors, blocking and the order of checks are those
 * of the kernel (docs/kernel-rules.md). After a lost race tee(2) returns a false 0; this call waits
 * or gives -EAGAIN.
 */
USP_EXPORT ssize_t usp_tee(struct usp_file *in, struct usp_file *out, size_t len, unsigned flags);

/*
 * Move memory into a pipe, or bytes out of it, as vmsplice(2). Write end: copy the memory into the
 * pipe. With GIFT the pipe refers to the memory itself, which must stay valid and unchanged until
 * it has been consumed; use a usp_gift to learn when. Read end: copy bytes out of the pipe into the
 * memory. Returns the bytes moved, or -errno. Errors are those of vmsplice(2), and their order is
 * that of the kernel (docs/kernel-rules.md). Blocks unless NONBLOCK is given; USP_NONBLOCK of the
 * end is ignored, as in the kernel.
 */
USP_EXPORT ssize_t usp_vmsplice(struct usp_file *end, const struct iovec *iov, unsigned nr_segs, unsigned flags);

/*
 * Make a gift: memory of the caller that enters pipes by reference, with a notification that
 * vmsplice(2) does not have. done(arg) is called exactly once, when the last reference is gone: the
 * caller's own, every buf in every pipe, and what the kernel holds for zero-copy sends. From then
 * on the memory may be reused, also inside done. done runs in the thread that dropped the last
 * reference, with no usplice lock held. done may be NULL. Does not block. -EINVAL without memory,
 * -ENOMEM; done is not called then.
 *
 * Two things keep a reference until the caller acts. A pipe without readers keeps its bufs until
 * the write end is closed too, so watch that end for POLLERR. Outside of a pump, only calls on the
 * socket's file take in the notices of zero-copy sends; usp_file_sync waits for them.
 */
USP_EXPORT int usp_gift_new(void *base, size_t len, void (*done)(void *arg), void *arg, struct usp_gift **ret_gift);
/* Drop the caller's reference. NULL is allowed. */
USP_EXPORT void usp_gift_put(struct usp_gift *gift);

/*
 * Put bytes [off, off + len) of a gift into the write end of a pipe, by reference. Returns the
 * bytes put, a short count when the pipe fills. Blocks for the first free slot unless NONBLOCK is
 * given. The caller keeps its reference. -EINVAL for bytes outside the gift, -EBADF if end is not a
 * write end, -EPIPE, -EAGAIN.
 */
USP_EXPORT ssize_t usp_gift_splice(struct usp_gift *gift, size_t off, size_t len, struct usp_file *end, unsigned flags);

/*
 * Rings. A file of "ring:" is a ring of the driver of kmod/ (docs/writing-a-driver.md): memory in slots of one page, whose pages
 * the kernel lends to pipes, and takes from them. Each slot belongs to the program, until lend or offer hand it over; reap tells when
 * it is back. These functions give -EINVAL for another file, and may be called from any thread, also while a pump uses the file.
 */

/*
 * Return the memory of a ring: its base, its bytes, and the bytes of a slot. It is there until the file is freed. vmsplice(2) and
 * O_DIRECT from it give -EFAULT: lend it. Each ret may be NULL. 0. Does not block.
 */
USP_EXPORT int usp_ring_memory(const struct usp_file *ring, void **ret_base, size_t *ret_len, size_t *ret_slot_len);

/*
 * Make bytes [off, off + len) of a gift, whose memory lies in the ring, the next bytes of the ring as a source. Each slot that they touch
 * is lent until no pipe and no socket refers to its page any more. The ring keeps references to the gift: done of the gift is called
 * by usp_ring_reap, when the last slot is back and the caller's own reference is gone. Returns the bytes lent, also fewer if a slot is
 * not the program's; -EBUSY if that is the first, -EINVAL for other memory, -EPIPE after usp_ring_end, -EBADF for a ring that is not
 * open for reading, -ENOMEM. Does not block.
 */
USP_EXPORT ssize_t usp_ring_lend(struct usp_file *ring, struct usp_gift *gift, size_t off, size_t len);

/* Let the source end behind what was lent, and the sink behind what was offered. 0 or -errno. Does not block. */
USP_EXPORT int usp_ring_end(struct usp_file *ring);

/*
 * Offer the slot that begins at off of the ring, to be filled by a splice into the ring. usp_ring_reap calls filled(arg, base, len, way)
 * when it has its first len bytes: USP_BY_REFERENCE if it has another page now, USP_COPIED if bytes were copied. The slot is the
 * program's from then on, also inside filled. 0, -EBUSY, -EPIPE, -EINVAL for another offset, or -EBADF for a ring that is not open
 * for writing or that drops. Does not block.
 */
USP_EXPORT int usp_ring_offer(struct usp_file *ring, size_t off,
			      void (*filled)(void *arg, void *base, size_t len, enum usp_way way), void *arg);

/*
 * Take in what the driver tells, and call done and filled for it. Waits for the first news unless NONBLOCK is in flags; poll(2)
 * usp_file_fd for POLLPRI to know before. Returns how many slots came back, 0 if all are the program's, -EAGAIN, -EINTR, or -ETIME: no slot came
 * back, but some are lent for longer than the option "late" says, which keep being lent.
 */
USP_EXPORT int usp_ring_reap(struct usp_file *ring, unsigned flags);

/* What a ring did since it was opened, as the driver counts. */
struct usp_ring_stat {
	size_t size; /* sizeof(struct usp_ring_stat) */
	unsigned nr_slots;
	unsigned nr_out;       /* slots that are not the program's, as far as reap has told */
	uint64_t lent_bytes;   /* out of the ring */
	uint64_t freed_slots;  /* were lent, and came back */
	uint64_t late_slots;   /* were told to be late */
	uint64_t taken_bytes;  /* into the ring, with their pages */
	uint64_t copied_bytes; /* into the ring */
};

/* 0 or -errno. Does not block. */
USP_EXPORT int usp_ring_stat(const struct usp_file *ring, struct usp_ring_stat *ret_stat);

/*
 * Move up to len bytes between any two files, as sendfile(2); in must be seekable. The bytes go
 * through the pipe whose ends are pipe[0] and pipe[1], or through an internal one if pipe is NULL.
 * What a short sink leaves in the pipe is dropped, and the position of the source is set back to
 * it, so nothing is lost. A caller's pipe must be empty, else -EBUSY. Bytes delivered, 0 at the end
 * of input, or -errno. If out is a pipe this is one usp_splice. flags and blocking are those of
 * usp_splice.
 */
USP_EXPORT ssize_t usp_splice_direct(struct usp_file *in, int64_t *off_in, struct usp_file *out, int64_t *off_out,
				     size_t len, unsigned flags, struct usp_file *const pipe[2]);

/*
 * Tell which side was blocked, after -EAGAIN. USP_READ if in has nothing to give, USP_WRITE if out
 * can take nothing, both, or 0 if that has changed since. Does not block: asks a pipe for its
 * state, and a descriptor by poll(2).
 */
USP_EXPORT unsigned usp_blocked_side(struct usp_file *in, struct usp_file *out);

/* --- The process --------------------------------------------------------------------------------- */

/*
 * Give back the memory and kernel pipes that are cached for reuse and not in use now. Caching
 * changes speed and never behaviour. The result counts what is in use, so that a test can find
 * leaks.
 *
 * A child of fork(2) begins with empty caches and open locks. usplice(3), "After a fork", says what
 * a child may do with the objects that it inherits. -ESTALE where only its parent can go on.
 */
struct usp_usage {
	size_t size;		      /* sizeof(struct usp_usage) */
	size_t nr_folios;	      /* folios and gifts alive */
	size_t folio_bytes;	      /* memory in use by folios, gifts not counted */
	size_t nr_kpipes;	      /* kernel pipes in use by this process, without those of its parents */
	uint64_t nr_kpipes_destroyed; /* kernel pipes that still held data when they were released */
};
USP_EXPORT void usp_trim(struct usp_usage *ret_usage); /* NULL is allowed */

/* Return the version of the library that runs, such as "1.2.3". */
USP_EXPORT const char *usp_version(void);

/* What a part of the library is. */
enum usp_part_kind {
	USP_PART_ENDPOINT,
	USP_PART_TRANSFORM, /* see usplice/transform.h */
	USP_PART_FORMAT,    /* of compression */
	USP_PART_DIGEST,    /* an algorithm */
	USP_PART_LANE,
	USP_PART_FEATURE, /* something else that a build or a machine may lack */
	USP_NR_PART_KINDS,
};

/* A part of the library. All texts are static. */
struct usp_part {
	size_t size; /* sizeof(struct usp_part) */
	enum usp_part_kind kind;
	const char *name;	       /* such as "tcp"; NULL: an endpoint that has no scheme */
	const char *form;	       /* how it is written, "tcp:HOST:PORT", or NULL */
	const char *summary;	       /* what it is, in a few words */
	const char *const *options;    /* of an endpoint: the names, ended by NULL; NULL: none */
	unsigned modes;		       /* of an endpoint: what it may be opened for, USP_READ, USP_WRITE or both */
	const char *library, *version; /* the library that it uses, and which one is here; NULL: none, not known */
	const char *missing;	       /* NULL: it can be used. Else a predicate, such as "needs X, which ..." */
};

/*
 * Tell what this library has, and what of it this build and this machine can use: the part of that index, from
 * 0 on. The parts of a kind stand together. 0, or -EINVAL: there are no more. Loads the library of a part; a lane or
 * a feature makes an experiment with descriptors of its own, which it closes. Safe from several threads.
 */
USP_EXPORT int usp_part_at(unsigned index, struct usp_part *ret_part);

#ifdef __cplusplus
}
#endif

#include <usplice/pump.h>

#endif
