/* SPDX-License-Identifier: MIT */
/*
 * endpoint.h - what authors of endpoints need: the two operations tables, bufs, folios, pipes from
 * the inside, and the helpers to name in a table. docs/writing-an-endpoint.md walks through one;
 * see also usplice-helpers(7).
 */
#ifndef USPLICE_ENDPOINT_H
#define USPLICE_ENDPOINT_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_pipe;
struct usp_buf;
struct usp_mapping;
struct usp_probe_result;

/* Counters and flags that several threads use. Only the library reads and changes them. */
struct usp_atomic_u32 {
	uint32_t opaque;
};

struct usp_atomic_u64 {
	uint64_t opaque;
};

struct usp_atomic_int {
	int opaque;
};

struct usp_atomic_text {
	const char *opaque;
};

/* --- Folios ---------------------------------------------------------------------------------------
 * A folio is contiguous memory with an atomic count of references. The library's own folios come
 * from a pool and are aligned to 4096 bytes. The others wrap memory of another owner, and release
 * tells the owner when it may be reused.
 */
struct usp_folio {
	struct usp_atomic_u32 refs;
	uint32_t order; /* the size class in the pool; unused for wrapped memory */
	size_t len;
	unsigned char *base;
	void (*release)(struct usp_folio *folio); /* called when the last reference is gone */
};

/*
 * Return a folio of at least len bytes (1 byte to 32 MiB) with one reference and undefined
 * contents. NULL without memory.
 */
USP_EXPORT struct usp_folio *usp_folio_new(size_t len);

/*
 * Prepare a folio embedded in the caller's object: memory at base, one reference, and a release of
 * its own.
 */
USP_EXPORT void usp_folio_init(struct usp_folio *folio, void *base, size_t len,
			       void (*release)(struct usp_folio *folio));

/*
 * get adds a reference, or returns false when the count is near overflow. put drops one; the last
 * one releases.
 */
USP_EXPORT bool usp_folio_get(struct usp_folio *folio);
USP_EXPORT void usp_folio_put(struct usp_folio *folio);

/* --- Bufs -----------------------------------------------------------------------------------------
 * One entry of a pipe: a reference to len bytes at offset in some store. A buf is plain data. Make
 * it only as a compound literal, so that no field is forgotten. The holder of the struct holds the
 * reference.
 */
struct usp_buf {
	const struct usp_buf_ops *ops; /* NULL: there is no buf here */
	void *store;		       /* what ops understand; for the ops of the core a struct usp_folio */
	size_t offset, len;
	unsigned flags; /* USP_BUF_* */
	uintptr_t priv;
};

#define USP_BUF_GIFT 0x04u	/* the owner promised not to touch the memory: it may be stolen */
#define USP_BUF_PACKET 0x08u	/* a read ends with this buf and drops what it did not take */
#define USP_BUF_CAN_MERGE 0x10u /* a write may append to it; only on folios that the pipe itself made */
#define USP_BUF_MAPPED 0x20u	/* its bytes were copied into memory by usp_buf_map, on their way through a pipe */

/*
 * The operations of a kind of buf. They are called with no pipe lock held, except where said. A
 * NULL op is the default that its comment names. buf may be a copy that the ring lent, so an op
 * keeps in the store what it learns. pipe is the one that the buf is in or came from, or NULL: a
 * buf can outlive its pipe.
 */
struct usp_buf_ops {
	size_t size; /* sizeof(struct usp_buf_ops) */
	const char *name;

	/* Make the bytes valid. Called right before the bytes are touched, maybe more than once. 0,
	 * -ENODATA if the bytes are gone, or -errno. May block in a table without poll_fd. In a table
	 * with it, -EAGAIN if the bytes are not there yet. If only the first bytes are valid, it may
	 * cut buf->len of the lent copy to these; the next confirm says what is wrong with the rest.
	 * NULL: always valid. */
	int (*confirm)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* Drop the reference. Called exactly once for each live buf, from any thread. buf->ops is
	 * still set for the callee, and the entry is already out of the ring. Must not need the
	 * lock of a pipe. Mandatory. */
	void (*release)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* Take sole ownership. True if this was the only reference to confirmed, writable memory.
	 * The buf stays live and must still be released. NULL: never. */
	bool (*try_steal)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* Make copy a second owner. copy is a struct copy of buf, and its len may be shorter. May
	 * change copy->store. False refuses, and copy is then not live. May be called with the
	 * pipe's lock held: must not need it, nor block. Mandatory. */
	bool (*get)(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy);

	/* Replace buf in place by one whose bytes are addressable; offset keeps its meaning. This
	 * copies, and the caller accounts for it. 0, or -errno with buf unchanged. NULL: the store
	 * is a struct usp_folio and addressable already. */
	int (*map)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* After confirm gave -EAGAIN: return a descriptor, and in *ret_events what to wait for on it
	 * with poll(2) until confirm may succeed. The store owns it; it stays open while the buf
	 * lives. -EAGAIN: there is nothing to wait for, ask confirm again. Must not block. NULL:
	 * confirm never gives -EAGAIN. */
	int (*poll_fd)(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events);
};

/* The kinds of the core, all over folios. */
USP_EXPORT extern const struct usp_buf_ops usp_anon_buf_ops;  /* made by the pipe's own write; may carry CAN_MERGE */
USP_EXPORT extern const struct usp_buf_ops usp_folio_buf_ops; /* made by copying helpers; its only owner may steal it */
USP_EXPORT extern const struct usp_buf_ops usp_gift_buf_ops;  /* memory of a caller; never stolen, never written */

/*
 * The doors to the ops: each supplies the default of a NULL op. confirm waits for bytes that are not
 * there yet, -EINTR after a signal; with USP_SPLICE_NONBLOCK in flags it gives -EAGAIN instead. -EIO
 * for -EAGAIN from a table without poll_fd.
 */
USP_EXPORT int usp_buf_confirm(struct usp_pipe *pipe, struct usp_buf *buf, unsigned flags);
USP_EXPORT void usp_buf_release(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT bool usp_buf_try_steal(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT bool usp_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy);
USP_EXPORT int usp_buf_map(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT bool usp_buf_is_mapped(const struct usp_buf *buf);

/*
 * After usp_buf_confirm gave -EAGAIN: return a descriptor, and in *ret_events what to wait for on it
 * with poll(2). For the poll_fd of a file that holds bufs back. Does not block. -EIO if the bytes of
 * this kind of buf never come later, -EAGAIN to confirm again. The store owns the descriptor.
 */
USP_EXPORT int usp_buf_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events);

/* Return the bytes of a mapped buf. */
USP_EXPORT unsigned char *usp_buf_bytes(const struct usp_buf *buf);

/*
 * Become an owner of the first len bytes of a buf that is confirmed and addressable, as an actor gets it. With
 * USP_SPLICE_MOVE in flags, and if nobody else refers to it, that is the memory itself, else a copy. Returns
 * USP_BY_REFERENCE, or USP_COPIED, also for bytes of a buf with USP_BUF_MAPPED, or -ENOMEM. *ret_own has no
 * flags, and may be changed in place only if it is a copy or was moved. The caller releases it. Does not block.
 */
USP_EXPORT int usp_buf_take(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, unsigned flags,
			    struct usp_buf *ret_own);

/* --- Pipes, from the inside --------------------------------------------------------------------------
 * Each side of a pipe has a turn, which one thread holds at a time. A producer holds the write turn
 * from begin_write to end_write, a consumer the read turn from begin_read to end_read. While the
 * write turn is held room only grows; while the read turn is held the bufs at the tail stay. Holders
 * may block on anything, because a turn is not a lock.
 */

/*
 * Make a pipe without ends, for use inside one program. It has one reader and one writer until one
 * of them is closed. params as for usp_pipe_open, without the flags. Does not block. Free it when
 * no thread uses it any more; its bufs are released. NULL is allowed.
 */
USP_EXPORT int usp_pipe_new(const struct usp_pipe_params *params, struct usp_pipe **ret_pipe);
USP_EXPORT void usp_pipe_free(struct usp_pipe *pipe);

/*
 * Close the write or the read side: readers get the end of input, writers get -EPIPE. Wakes all
 * that wait.
 */
USP_EXPORT void usp_pipe_close_write(struct usp_pipe *pipe);
USP_EXPORT void usp_pipe_close_read(struct usp_pipe *pipe);

/*
 * Write into a pipe. begin_write waits for a free slot and takes the write turn: 0, -EPIPE without
 * readers, or -EAGAIN with NONBLOCK in flags. room tells how many bufs and bytes fit. push moves
 * bufs in and returns how many went in; it owns all of them from then on, also those that a full
 * pipe refused. end_write gives the turn back. Readers see what was pushed when the turn ends, all
 * of it at once. No buf may be longer than usp_pipe_slot_bytes.
 */
USP_EXPORT int usp_pipe_begin_write(struct usp_pipe *pipe, unsigned flags);
USP_EXPORT unsigned usp_pipe_room(struct usp_pipe *pipe, size_t *ret_bytes);
USP_EXPORT unsigned usp_pipe_push(struct usp_pipe *pipe, const struct usp_buf *bufs, unsigned nr_bufs);
USP_EXPORT void usp_pipe_end_write(struct usp_pipe *pipe);

/*
 * Push references to bytes [off, off + len) of a folio, as many as there is room for. The caller
 * holds the write turn and keeps its own reference. The memory must not change any more. Returns
 * the bytes pushed, 0 if the pipe is full, -EINVAL for bytes outside the folio, or -EFAULT if the
 * folio's count is near overflow. Does not block.
 */
USP_EXPORT ssize_t usp_pipe_push_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len,
				       unsigned buf_flags);

/*
 * Read from a pipe. begin_read waits for data and takes the read turn: 1, 0 at the end (empty and
 * no writers; no turn is taken), or -EAGAIN with NONBLOCK in flags. peek lends copies of the first
 * bufs and returns how many. set puts a buf that was mapped or confirmed back in its place. advance
 * consumes len bytes, releases the bufs that are used up, and wakes writers of a pipe that was full.
 * end_read gives the turn back to the next reader.
 */
USP_EXPORT int usp_pipe_begin_read(struct usp_pipe *pipe, unsigned flags);
USP_EXPORT unsigned usp_pipe_peek(struct usp_pipe *pipe, struct usp_buf *ret_bufs, unsigned nr_bufs);
USP_EXPORT void usp_pipe_set(struct usp_pipe *pipe, unsigned index, const struct usp_buf *buf);
USP_EXPORT void usp_pipe_advance(struct usp_pipe *pipe, size_t len);
USP_EXPORT void usp_pipe_end_read(struct usp_pipe *pipe);

USP_EXPORT size_t usp_pipe_slot_bytes(const struct usp_pipe *pipe);
USP_EXPORT size_t usp_pipe_len(const struct usp_pipe *pipe); /* bytes in the pipe */

/* --- Files, from the inside ----------------------------------------------------------------------- */

/*
 * Memory to read into or to write from. The callee does not change it, and returns how many of
 * count bytes it used.
 */
struct usp_iter {
	const struct iovec *iov;
	unsigned nr_segs;
	size_t count; /* sum of the segments */
};

/*
 * What is known of the holes of a file. The hook find_hole sets is_hole and end, and make_hole may set
 * grown; only the library uses the rest.
 */
struct usp_holes {
	uint8_t mode; /* an enum usp_sparse */
	bool is_hole, is_sized;
	uint8_t trust;	    /* in what the file system says: 0 not known yet, 1 yes, 2 no */
	int64_t start, end; /* [start, end) is a hole, or is none */
	int64_t old_size;   /* of a regular sink, before it was written */
	int64_t grown;	    /* at the end of the run the sink must be at least so long */
};

/*
 * The hooks of a file type. pos is never NULL; a hook advances it by exactly what it returns, and a
 * stream ignores it. A hook returns bytes, 0 at the end of input, or -errno. A sink never returns 0
 * for len > 0. Once something moved the hook returns that count, and the error comes with the next
 * call. -EAGAIN means that nothing moved; the doors turn it into a wait where the file blocks. A
 * NULL hook is -EINVAL.
 */
struct usp_file_ops {
	size_t size; /* sizeof(struct usp_file_ops) */
	const char *name;
	ssize_t (*read_iter)(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
	ssize_t (*write_iter)(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
	/* The caller holds the pipe's write turn: there are readers and at least one free slot. */
	ssize_t (*splice_read)(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags);
	/* Called without the read turn; takes it itself. */
	ssize_t (*splice_write)(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags);
	/* What is ready now, as usp_file_poll. NULL: poll(2) on what poll_fd says, or on fd; without
	 * them always ready. */
	unsigned (*poll)(struct usp_file *file);
	int (*sync)(struct usp_file *file);	/* NULL: nothing to do */
	int (*shutdown)(struct usp_file *file); /* NULL: nothing to do */
	int (*release)(struct usp_file *file);	/* free priv and close: 0, or -errno of close(2); NULL: nothing to do */
	/* Keep release from looking like the end, unless shutdown comes first. NULL: not possible. */
	int (*abort)(struct usp_file *file);
	/* What to wait for until side (USP_READ or USP_WRITE) is ready: a descriptor of the file, and
	 * the events in *ret_events. Asked anew for each wait, so the answer may change: a protocol may
	 * have to read before it can write. -EPERM: always ready. NULL: fd, if it is POLLABLE. */
	int (*poll_fd)(struct usp_file *file, unsigned side, short *ret_events);
	/* The size in bytes, or -EINVAL if it is unknown. NULL: fstat(2) of fd, of a file on disk or a
	 * block device. */
	int64_t (*get_size)(const struct usp_file *file);
	/* Move the position, as lseek(2), for a SEEKABLE file: the new position, which the door notes in
	 * file->pos, or -errno. NULL: file->pos is set, and get_size tells where SEEK_END is. */
	int64_t (*seek)(struct usp_file *file, int64_t off, int whence);
	/* Find out how the kernel carries the bytes of this file on one side, as usp_probe, and set way
	 * and reason. May make objects for an experiment; must not change the file. NULL: unknown. */
	void (*probe)(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);
	/* Where reading has come to an end: go on with what comes behind it. 1 if there is something, 0 at
	 * the real end, or -errno. May block, as usp_open does. NULL: this is the end. */
	int (*next)(struct usp_file *file);
	/* Find out whether there is a hole at pos, which is not negative, and where what is there ends: is_hole
	 * and end of *ret_holes. 0, or -errno if that is not known. Called while holes are asked for
	 * (sparse of usp_pump_params). Must not block, nor change an offset that others share. NULL: no holes. */
	int (*find_hole)(struct usp_file *in, int64_t pos, struct usp_holes *ret_holes);
	/* Make [pos, pos + len) read as zeros without writing them: bytes, which may be fewer, or -errno.
	 * What lies behind the end of a regular file may be left to holes.grown. -EOPNOTSUPP: zeros are
	 * then written. NULL: they always are. */
	ssize_t (*make_hole)(struct usp_file *out, int64_t pos, size_t len);
	/* Enter len bytes that splice(2) has just carried on one side, by usp_file_account: for a device that
	 * tells which of them it took and which it copied. NULL: they went as probe found. */
	void (*account)(struct usp_file *file, unsigned side, size_t len);
	/* Reading has come to the real end, or gave -ECONNRESET: judge that. 0, -EAGAIN if that is not known yet, and then poll_fd
	 * says what to wait for, or -errno in place of the end. May be called again. Must not block. NULL: 0. */
	int (*end)(struct usp_file *file);
};

/* A lane: it replaces the splice hook of one side of a file where the plan says so. */
struct usp_lane {
	size_t size; /* sizeof(struct usp_lane) */
	const char *name;
	ssize_t (*splice_read)(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags);
	ssize_t (*splice_write)(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags);
};

/* The account of one side of a file. */
struct usp_account {
	struct usp_atomic_u64 bytes[USP_NR_WAYS];
	struct usp_atomic_text reason[USP_NR_WAYS];
	struct usp_atomic_u64 holes; /* bytes that did not move */
	struct usp_atomic_u64 nr_calls;
};

/* One side of a file: what belongs to reading from it, or to writing to it. */
struct usp_side {
	const struct usp_lane *lane; /* carries the hop while a pump runs; NULL: the hooks of the ops */
	const char *lane_reason;     /* why the bytes go this way; static, or NULL */
	uint8_t lane_way;	     /* an enum usp_way: how bytes go on this lane, as far as it is known in advance */
	bool lane_is_forced;	     /* a lane that refuses is an error; do not fall back */
	struct usp_atomic_int late_error; /* met after bytes had moved; the next call on this side returns it */
	struct usp_account account;
};

/* Properties of a file that hold from open to release. */
#define USP_FILE_SEEKABLE 0x1u	 /* has positions: off_in, off_out, seek and usp_splice_direct work */
#define USP_FILE_SPLICEABLE 0x2u /* fd may be tried with splice(2): it can go on the kernel lane */
#define USP_FILE_POLLABLE 0x4u	 /* poll(2) on fd tells readiness; without it the file is always ready */
#define USP_FILE_SOCKET 0x8u	 /* only its own USP_NONBLOCK keeps it from waiting, not a flag of the call */
#define USP_FILE_DATAGRAM 0x10u	 /* one splice is one datagram */
#define USP_FILE_SIGPIPE 0x20u	 /* write(2) and splice(2) to it can raise SIGPIPE; callers never see it */
#define USP_FILE_SHARED 0x40u	 /* others share the description of fd: change it only as read(2) and write(2) do */
#define USP_FILE_OBSERVES 0x100u /* a file over a file that passes on all bytes, one for one */
#define USP_FILE_REWRITES 0x200u /* a file over a file that makes other bytes of those below */
#define USP_FILE_HOLDS \
	0x800u /* a file over a file that passes on bufs as they are, also of kernel pipes, in a thread of its own */
#define USP_FILE_HAS_POS \
	0x400u /* pos is the offset in fd for the hooks, but callers have no positions: usp_sequence_open */
#define USP_FILE_SIDE_BELOW \
	0x2000u /* a file over a file: the sides are those of the file below, whose hooks carry the bytes */
#define USP_FILE_TAKES 0x1000u	     /* a sink that splice(2) may give pages to for keeps: SPLICE_F_MOVE */
#define USP_FILE_LOCKED_WRITES 0x80u /* only write(2) moves data and offset under one lock: no sink for splice(2) */

/* How a file over a mapping is being read: file_ra_state of the kernel. Only the library reads and changes it. */
struct usp_readahead {
	int64_t next;	    /* where a read in order goes on */
	int64_t ahead;	    /* up to here folios were asked for */
	size_t window;	    /* bytes to have ahead; 0: not read in order */
	uint64_t last;	    /* the folio of the last read */
	int64_t behind;	    /* up to here it was given up what was read in order */
	bool is_kept_above; /* another cache keeps what this file gives: what was read in order is given up */
};

struct usp_file {
	const struct usp_file_ops *ops;
	struct usp_atomic_u32 refs;
	unsigned mode;		     /* USP_READ | USP_WRITE */
	unsigned traits;	     /* USP_FILE_* */
	struct usp_atomic_u32 flags; /* USP_NONBLOCK ... */
	int fd;			     /* -1 without a descriptor */
	struct usp_atomic_u32
		is_drained; /* set by hooks of the library that read all there is now: the next read would give -EAGAIN */
	int64_t pos;	    /* position for calls without an offset */
	struct usp_file *below;	     /* of a file over a file (usp_stack_new), which owns it; else NULL */
	struct usp_mapping *mapping; /* of a file with a page cache; it has a reference; else NULL */
	struct usp_readahead ra;
	struct usp_holes holes;
	size_t io_bytes; /* most bytes that one write should move, or 0: chunk of a disk file, datagram of UDP */
	char *spec;
	void *priv;
	struct usp_side sides[2]; /* see usp_file_side; the last member, so that a side may grow */
};

/*
 * Allocate a file with one reference, fd -1 and no traits. spec is copied. The caller sets what
 * differs from the defaults before it shares the file. On failure priv stays with the caller:
 * -ENOMEM, or -EINVAL or -E2BIG for an unknown mode, or a table without its size or with hooks that
 * this library does not know. Does not block.
 */
USP_EXPORT int usp_file_new(const struct usp_file_ops *ops, unsigned mode, const char *spec, void *priv,
			    struct usp_file **ret_file);

/* Return the side of a file that is for USP_READ or USP_WRITE. Does not block. Owned by the file. */
USP_EXPORT struct usp_side *usp_file_side(const struct usp_file *file, unsigned side);

/*
 * Record in the account of a side (USP_READ or USP_WRITE) that len bytes went this way. reason is
 * static. The function that moves the bytes calls it, once. A hook that a copying helper calls
 * (read_iter, write_iter) does not. Does not block. Safe from several threads.
 */
USP_EXPORT void usp_file_account(struct usp_file *file, unsigned side, enum usp_way way, size_t len,
				 const char *reason);

/*
 * Combine the results of a hook that moved done bytes and then met ret. Returns done if it is above
 * 0, and keeps an error for the next call, because a socket reports its error only once. Else
 * returns ret.
 */
USP_EXPORT ssize_t usp_file_progress(struct usp_file *file, unsigned side, size_t done, ssize_t ret);

/*
 * The doors: every hook is called through one of these, which check its contract. -EIO for a hook
 * that claims bytes which it was not given or did not push, -EBADF for the wrong direction, -EINVAL
 * without a hook. On -EAGAIN read_iter and write_iter wait for what poll_fd says and try again. They
 * do not wait if the file is USP_NONBLOCK, if NONBLOCK is in flags (sockets ignore it), or if there
 * is no descriptor to wait on. The caller of splice_read holds the write turn; the caller of splice_write holds none.
 */
USP_EXPORT ssize_t usp_file_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_file_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_file_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					unsigned flags);
USP_EXPORT ssize_t usp_file_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/* --- Helpers to name in a table (usplice-helpers(7): which one, and what it costs) ------------------- */

/*
 * splice_read by read_iter into fresh folios: one copy. Accounts. -EINVAL without read_iter,
 * -ENOMEM, -EAGAIN.
 */
USP_EXPORT ssize_t usp_copy_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					unsigned flags);

/*
 * splice_write of all ready bufs as one iovec by write_iter. Accounts for a copy; with USP_DIRECT it
 * is unknown. Keeps an error behind progress for the next call, unless the file is SEEKABLE. -EINVAL
 * without write_iter.
 */
USP_EXPORT ssize_t usp_iter_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/* splice_write that drops the bytes, as a write to /dev/null; confirm still runs. No copy. Accounts. */
USP_EXPORT ssize_t usp_drop_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/*
 * splice_write by an actor, as splice_from_pipe() of the kernel. The actor sees one buf after the
 * other, confirmed, and returns the bytes it used, 1..len, or <= 0 to stop. The buf is lent,
 * confirmed and addressable. The actor may usp_buf_get a copy of it, and must not change the bytes.
 * It runs with the read turn held: it may block, but must not use the pipe. The caller of
 * usp_splice_from_pipe accounts: bytes of a buf with USP_BUF_MAPPED were copied.
 */
typedef ssize_t usp_splice_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg);
USP_EXPORT ssize_t usp_splice_from_pipe(struct usp_pipe *pipe, size_t len, unsigned flags, usp_splice_actor *actor,
					void *arg);

/*
 * splice_write of a sink that keeps what it gets: keep is given bufs that it owns from then on, as usp_buf_take
 * makes them. If it returns -errno the call stops there, and the buf is released. Accounts. It runs with the read
 * turn held, as an actor does.
 */
typedef int usp_splice_keeper(void *arg, const struct usp_buf *own);
USP_EXPORT ssize_t usp_take_from_pipe(struct usp_pipe *pipe, struct usp_file *out, size_t len, unsigned flags,
				      usp_splice_keeper *keep, void *arg);

/*
 * splice_write to a stream socket: bufs are attached to sendmsg(2), with MSG_MORE while there is
 * more. For files that the library opened, MSG_ZEROCOPY where it pays. Accounts.
 */
USP_EXPORT ssize_t usp_sock_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/*
 * The kernel lane: splice(2) between the file's descriptor and the kernel pipe of a buf. Where the
 * kernel refuses before a byte has moved, the file falls back to the hooks of its ops. Accounts
 * what the probe found, or unknown.
 */
USP_EXPORT ssize_t usp_kernel_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					  unsigned flags);
USP_EXPORT ssize_t usp_kernel_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					   unsigned flags);

/*
 * A file over a file. Make one with usp_stack_new, name these in its table where the call is for the
 * file below, and call that file's doors in your own hooks.
 *
 * usp_stack_new is usp_file_new, and gives the new file `below`, whose reference it takes over. The
 * new file has positions if below has them. On failure below stays with the caller.
 */
USP_EXPORT int usp_stack_new(const struct usp_file_ops *ops, struct usp_file *below, unsigned mode, const char *spec,
			     void *priv, struct usp_file **ret_file);

/*
 * The hooks. read_iter and write_iter never wait: the door of the upper file does, by poll_fd.
 * splice_read takes bufs of the file below as they are, also out of a pipe; the file below accounts, and
 * its own USP_NONBLOCK counts. Where pos is the position of the upper file they use and move that of the file below, too. release
 * closes the file below, and gives its result.
 */
USP_EXPORT ssize_t usp_stack_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_stack_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					 unsigned flags);
USP_EXPORT ssize_t usp_stack_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos,
					unsigned flags);
USP_EXPORT unsigned usp_stack_poll(struct usp_file *file);
USP_EXPORT int usp_stack_poll_fd(struct usp_file *file, unsigned side, short *ret_events);
USP_EXPORT int64_t usp_stack_size(const struct usp_file *file);
USP_EXPORT int64_t usp_stack_seek(struct usp_file *file, int64_t off, int whence);
USP_EXPORT int usp_stack_sync(struct usp_file *file);
USP_EXPORT int usp_stack_shutdown(struct usp_file *file);
USP_EXPORT int usp_stack_abort(struct usp_file *file);
USP_EXPORT int usp_stack_release(struct usp_file *file);

/*
 * A stage of your own, by one function that looks at the bytes of the file below, or changes them. It sees all
 * bytes in order, each once, in pieces of any length, and returns how many it has used: 1..len, or -errno for
 * the first one. The bytes before go on; the error comes behind them, and stays. look passes bufs on as they
 * are. change may write to the bytes: they are those of the buf if nobody else refers to it, else a copy. The
 * account of the stage tells which. Called by one thread at a time.
 */
struct usp_stage_ops {
	size_t size; /* sizeof(struct usp_stage_ops) */
	const char *name;
	/* Exactly one of these two. */
	ssize_t (*look)(void *arg, const unsigned char *bytes, size_t len);
	ssize_t (*change)(void *arg, unsigned char *bytes, size_t len);
	/* The input has ended: 0, or -errno instead of the end. Called once. NULL: nothing to do. */
	int (*end)(void *arg);
	/* The stage is closed. NULL: nothing to do. */
	void (*release)(void *arg);
};

/*
 * Lay such a stage over a file. The new file is a stream. It owns below and arg; on failure both stay with the
 * caller. It waits, or not, by its own USP_NONBLOCK, and for a socket below by that of the socket. Does not
 * block. -EINVAL for a file that cannot be read, or a table without its size, name or function; -E2BIG for
 * functions that this library does not know; -ENOMEM.
 */
USP_EXPORT int usp_stage_open(const struct usp_stage_ops *ops, void *arg, struct usp_file *below,
			      struct usp_file **ret_file);

/*
 * The hooks of a file over a mapping (usplice/mapping.h), which is file->mapping, and which release gives
 * back. splice_read lends folios by reference, also those that are still being read. read_iter copies. Both
 * give -EAGAIN only where the budget of the mapping is used up: poll_fd says what to wait for.
 */
USP_EXPORT ssize_t usp_filemap_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					   unsigned flags);
USP_EXPORT ssize_t usp_filemap_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
USP_EXPORT int usp_filemap_poll_fd(struct usp_file *file, unsigned side, short *ret_events);
USP_EXPORT int64_t usp_filemap_size(const struct usp_file *file);
USP_EXPORT int usp_filemap_release(struct usp_file *file);

/* For plain descriptors: preadv/readv and pwritev/writev at *pos or in stream order, fsync, close. */
USP_EXPORT ssize_t usp_fd_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_fd_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
USP_EXPORT int usp_fd_sync(struct usp_file *file);
USP_EXPORT int usp_fd_release(struct usp_file *file);

#ifdef __cplusplus
}
#endif
#endif
