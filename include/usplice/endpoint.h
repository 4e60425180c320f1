/* SPDX-License-Identifier: MIT */
/*
 * endpoint.h - what authors of endpoints need: the two operations tables, bufs, folios, pipes from the inside, and
 * the helpers to name in a table. See docs/writing-an-endpoint.md for a walk through, and usplice-helpers(7).
 */
#ifndef USPLICE_ENDPOINT_H
#define USPLICE_ENDPOINT_H

#include <stdatomic.h>
#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_pipe;
struct usp_buf;

/* --- Folios ---------------------------------------------------------------------------------------
 * A folio is contiguous memory with an atomic count of references. Folios of our own come from a pool and are
 * aligned to 4096 bytes; the others wrap memory that somebody else owns and is told about through release.
 */
struct usp_folio {
	atomic_uint refs;
	uint32_t order; /* of the pool's size classes; unused for wrapped memory */
	size_t len;
	unsigned char *base;
	void (*release)(struct usp_folio *folio); /* called with the last reference gone */
};

/* A folio of at least len bytes (1 byte to 32 MiB) with one reference, contents undefined. NULL if memory is short. */
USP_EXPORT struct usp_folio *usp_folio_new(size_t len);

/* Prepare a folio embedded in the caller's object, over memory at base, with one reference and a release of its own. */
USP_EXPORT void usp_folio_init(struct usp_folio *folio, void *base, size_t len,
			       void (*release)(struct usp_folio *folio));

/* Add a reference, or refuse (false) when the count is near overflow (C2). Drop one; the last one releases. */
USP_EXPORT bool usp_folio_get(struct usp_folio *folio);
USP_EXPORT void usp_folio_put(struct usp_folio *folio);

/* --- Bufs -----------------------------------------------------------------------------------------
 * One entry of a pipe: a reference to len bytes at offset in some store. A buf is plain data, born only as a
 * compound literal so that no field is forgotten (C1); whoever holds the struct holds the reference.
 */
struct usp_buf {
	const struct usp_buf_ops *ops; /* NULL: there is no buf here */
	void *store;		       /* what ops understand: a struct usp_folio for the ops of the core */
	size_t offset, len;
	unsigned flags; /* USP_BUF_* */
	uintptr_t priv;
};

#define USP_BUF_GIFT 0x04u	/* the user promised not to touch it: it may be stolen */
#define USP_BUF_PACKET 0x08u	/* a read ends with this buf and drops what it did not take (R22) */
#define USP_BUF_CAN_MERGE 0x10u /* a write may append to it (R10); only on folios the pipe itself made */

/*
 * What a kind of buf can do. Called with no pipe lock held except where said; a NULL op is the stated default. buf
 * may be a copy that the ring lent, so what an op learns belongs into the store. pipe is the one that the buf is in
 * or came from, or NULL: a buf can outlive its pipe.
 */
struct usp_buf_ops {
	size_t size; /* sizeof(struct usp_buf_ops) */
	const char *name;

	/* Make the bytes valid; may block. Called right before bytes are touched. 0, -ENODATA if they are gone, -errno.
	 * NULL: always valid. May be called more than once. (O1, O4) */
	int (*confirm)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* Drop the reference. Called exactly once for each live buf, with buf->ops still set for the callee and the
	 * entry already out of the ring. Any thread. Must not need a pipe's lock. Mandatory. (O2) */
	void (*release)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* Take sole ownership: true if this was the only reference to confirmed, writable memory. The buf is still live and
	 * must still be released. NULL: never. (O3) */
	bool (*try_steal)(struct usp_pipe *pipe, struct usp_buf *buf);

	/* Make copy, a struct copy of buf whose len may have been cut, a second owner. May change copy->store. False refuses,
	 * and copy is then not live. May be called with the pipe's lock held: must not need it, nor block. Mandatory. (O5) */
	bool (*get)(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy);

	/* Turn buf into one whose bytes are addressable, replacing it in place, and keep offset's meaning. Copies, so it is
	 * accounted by the caller. 0 or -errno, buf unchanged. NULL: the store is a struct usp_folio and addressable already. */
	int (*map)(struct usp_pipe *pipe, struct usp_buf *buf);
};

/* The kinds of the core, all over folios. */
USP_EXPORT extern const struct usp_buf_ops usp_anon_buf_ops;  /* written by the pipe's own write; may carry CAN_MERGE */
USP_EXPORT extern const struct usp_buf_ops usp_folio_buf_ops; /* by a copying helper; its only owner may steal it */
USP_EXPORT extern const struct usp_buf_ops usp_gift_buf_ops;  /* somebody's memory; never stolen, never written */

/* The doors to the ops: each holds the default of a NULL op. */
USP_EXPORT int usp_buf_confirm(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT void usp_buf_release(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT bool usp_buf_try_steal(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT bool usp_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy);
USP_EXPORT int usp_buf_map(struct usp_pipe *pipe, struct usp_buf *buf);
USP_EXPORT bool usp_buf_is_mapped(const struct usp_buf *buf);

/* The bytes of a mapped buf. */
USP_EXPORT unsigned char *usp_buf_bytes(const struct usp_buf *buf);

/* --- Pipes, from the inside --------------------------------------------------------------------------
 * The two sides of a pipe are taken in turns: a producer holds the write turn from begin_write to end_write, a consumer
 * the read turn. The holder of the write turn knows that room only grows, the holder of the read turn that bufs at the
 * tail stay; both may block on whatever they like in between, because no lock is held.
 */

/*
 * A pipe without ends, for use inside one program: it has one reader and one writer until told otherwise. params as of
 * usp_pipe_open, without the flags. Free it when nobody uses it any more; bufs in it are released. NULL is allowed.
 */
USP_EXPORT int usp_pipe_new(const struct usp_pipe_params *params, struct usp_pipe **ret_pipe);
USP_EXPORT void usp_pipe_free(struct usp_pipe *pipe);

/* The last writer, or the last reader, is gone: EOF for readers (-EPIPE for writers). Wakes everybody. */
USP_EXPORT void usp_pipe_close_write(struct usp_pipe *pipe);
USP_EXPORT void usp_pipe_close_read(struct usp_pipe *pipe);

/*
 * Wait for a free slot and take the write turn. 0, -EPIPE without readers, or -EAGAIN with NONBLOCK in flags. Then
 * room says how many bufs and bytes fit, push moves bufs in (it owns them from then on, also those that it refuses
 * because the pipe is full; returns how many went in), and end_write gives the turn back. Readers see what was pushed
 * when the turn ends, all of it at once (N1). No buf may be longer than usp_pipe_slot_bytes.
 */
USP_EXPORT int usp_pipe_begin_write(struct usp_pipe *pipe, unsigned flags);
USP_EXPORT unsigned usp_pipe_room(struct usp_pipe *pipe, size_t *ret_bytes);
USP_EXPORT unsigned usp_pipe_push(struct usp_pipe *pipe, const struct usp_buf *bufs, unsigned nr_bufs);
USP_EXPORT void usp_pipe_end_write(struct usp_pipe *pipe);

/*
 * Push references to bytes [off, off + len) of a folio, as many as there is room for; the caller holds the write turn
 * and keeps its own reference. The memory must not change any more. Bytes pushed, -EFAULT if the folio's count is
 * near overflow, -EPIPE.
 */
USP_EXPORT ssize_t usp_pipe_push_folio(struct usp_pipe *pipe, struct usp_folio *folio, size_t off, size_t len,
				       unsigned buf_flags);

/*
 * Wait for data and take the read turn. 1, 0 at the end (empty and no writers; no turn is taken), or -EAGAIN with
 * NONBLOCK in flags. Then peek lends copies of the first bufs (returns how many), set puts one that was mapped or
 * confirmed back in its place, advance consumes len bytes and releases what is used up, and end_read gives the turn
 * back and wakes writers.
 */
USP_EXPORT int usp_pipe_begin_read(struct usp_pipe *pipe, unsigned flags);
USP_EXPORT unsigned usp_pipe_peek(struct usp_pipe *pipe, struct usp_buf *ret_bufs, unsigned nr_bufs);
USP_EXPORT void usp_pipe_set(struct usp_pipe *pipe, unsigned index, const struct usp_buf *buf);
USP_EXPORT void usp_pipe_advance(struct usp_pipe *pipe, size_t len);
USP_EXPORT void usp_pipe_end_read(struct usp_pipe *pipe);

USP_EXPORT size_t usp_pipe_slot_bytes(const struct usp_pipe *pipe);
USP_EXPORT size_t usp_pipe_len(const struct usp_pipe *pipe); /* bytes in it */

/* --- Files, from the inside ----------------------------------------------------------------------- */

/* Memory to read into or write from; the callee does not change it and returns how many of count bytes it used. */
struct usp_iter {
	const struct iovec *iov;
	unsigned nr_segs;
	size_t count; /* sum of the segments */
};

/*
 * The hooks of a file type. pos is never NULL and is advanced by exactly what is returned; a stream ignores it. A hook
 * returns bytes, 0 at the end of input (a sink never returns 0 for len > 0), or -errno; once something moved it returns
 * that, and the error comes with the next call. -EAGAIN means that nothing moved; the doors turn it into a wait where
 * the file blocks. A NULL hook is -EINVAL.
 */
struct usp_file_ops {
	size_t size; /* sizeof(struct usp_file_ops) */
	const char *name;
	ssize_t (*read_iter)(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
	ssize_t (*write_iter)(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
	/* The caller holds the pipe's write turn: there are readers and at least one free slot (H1). */
	ssize_t (*splice_read)(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags);
	/* Called without the read turn; takes it (H30). */
	ssize_t (*splice_write)(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags);
	unsigned (*poll)(struct usp_file *file); /* NULL: poll(2) on fd, or always ready without one */
	int (*sync)(struct usp_file *file);	 /* NULL: nothing to do */
	int (*shutdown)(struct usp_file *file);	 /* NULL: nothing to do */
	int (*release)(struct usp_file *file); /* free priv and close: 0, or what close(2) said; NULL: nothing to do */
	/* Release must not look like the end, unless shutdown comes first. NULL: it cannot be told. */
	int (*abort)(struct usp_file *file);
};

/* What replaces the splice hook of a side of a file when the plan puts it on another lane. */
struct usp_lane {
	size_t size; /* sizeof(struct usp_lane) */
	const char *name;
	ssize_t (*splice_read)(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags);
	ssize_t (*splice_write)(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags);
};

/* The account of one side of a file. */
struct usp_account {
	_Atomic(uint64_t) bytes[USP_NR_WAYS];
	_Atomic(const char *) reason[USP_NR_WAYS];
	_Atomic(uint64_t) nr_calls;
};

/* One side of a file: what belongs to reading from it, or to writing to it. */
struct usp_side {
	const struct usp_lane *lane; /* what carries the hop while a pump runs; NULL: the hooks of the ops */
	const char *lane_reason;     /* why its bytes go as they do; static, or NULL */
	uint8_t lane_way;      /* an enum usp_way: how they go there, as far as it is known before they have gone */
	bool lane_is_forced;   /* a lane that refuses is an error, and no reason to go on without it */
	atomic_int late_error; /* met behind bytes that moved; the next call on this side returns it */
	struct usp_account account;
};

/* Properties of a file that hold from open to release. */
#define USP_FILE_SEEKABLE 0x1u	 /* has positions: off_in, off_out, seek and usp_splice_direct work */
#define USP_FILE_SPLICEABLE 0x2u /* fd may be tried with splice(2): it can go on the kernel lane */
#define USP_FILE_POLLABLE 0x4u	 /* poll(2) on fd tells readiness; without it the file is always ready */
#define USP_FILE_SOCKET 0x8u	 /* waits by its own USP_NONBLOCK only (docs/kernel-rules.md, S) */
#define USP_FILE_DATAGRAM 0x10u	 /* one splice is one datagram */
#define USP_FILE_SIGPIPE 0x20u	 /* write(2) and splice(2) to it can raise SIGPIPE, which is kept from the caller */
#define USP_FILE_SHARED 0x40u	 /* others share the description of fd: nothing of it is changed but as read(2) does */
#define USP_FILE_LOCKED_WRITES 0x80u /* write(2) alone moves data and offset under one lock: no sink for splice(2) */

struct usp_file {
	const struct usp_file_ops *ops;
	atomic_uint refs;
	unsigned mode;	   /* USP_READ | USP_WRITE */
	unsigned traits;   /* USP_FILE_* */
	atomic_uint flags; /* USP_NONBLOCK ... */
	int fd;		   /* -1 without a descriptor */
	atomic_bool
		is_drained; /* set by a hook that read: it took all that is there now, and to ask again would be vain */
	int64_t pos;	    /* position for calls without an offset */
	size_t io_bytes; /* the most that one write should move, or 0: chunk of a disk file, datagram of a UDP socket */
	char *spec;
	void *priv;
	struct usp_side sides[2]; /* usp_file_side finds one; the last member, so that a side may grow */
};

/*
 * Allocate a file with one reference, fd -1, no traits. spec is copied. On failure -ENOMEM and priv stays with the
 * caller; -EINVAL or -E2BIG for a table without its size, or with hooks that this library does not know. What differs
 * from the defaults is set by the caller before the file is shared.
 */
USP_EXPORT int usp_file_new(const struct usp_file_ops *ops, unsigned mode, const char *spec, void *priv,
			    struct usp_file **ret_file);

/* The side of a file that is for USP_READ or USP_WRITE. Does not block; owned by the file. */
USP_EXPORT struct usp_side *usp_file_side(const struct usp_file *file, unsigned side);

/*
 * Record in the account of a side (USP_READ or USP_WRITE) that len bytes went this way. reason is static. Whoever
 * moves the bytes does it, once: a hook that a copying helper calls (read_iter, write_iter) does not. Safe from
 * several threads.
 */
USP_EXPORT void usp_file_account(struct usp_file *file, unsigned side, enum usp_way way, size_t len,
				 const char *reason);

/*
 * What a hook returns that moved done bytes and then met ret: done if there is any progress, and then an error is
 * kept for the next call, because a socket tells its error only once; else ret.
 */
USP_EXPORT ssize_t usp_file_progress(struct usp_file *file, unsigned side, size_t done, ssize_t ret);

/*
 * The doors: every hook is called through one of these, which check its contract: -EIO for one that claims bytes
 * which it was not given or did not push. -EBADF for the wrong direction, -EINVAL without a hook. read_iter and
 * write_iter poll fd and try again on -EAGAIN, unless the file is USP_NONBLOCK or NONBLOCK is in flags (which sockets
 * ignore) or there is no fd. The caller of splice_read holds the write turn; the caller of splice_write holds
 * nothing.
 */
USP_EXPORT ssize_t usp_file_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_file_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_file_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					unsigned flags);
USP_EXPORT ssize_t usp_file_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/* --- Helpers to name in a table (usplice-helpers(7): which one, and what it costs) ------------------- */

/* splice_read by read_iter into fresh folios: one copy (H3). Accounts. -EINVAL without read_iter, -ENOMEM, -EAGAIN. */
USP_EXPORT ssize_t usp_copy_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					unsigned flags);

/* splice_write of all ready bufs as one iovec by write_iter, accounted as a copy (H11). -EINVAL without write_iter. */
USP_EXPORT ssize_t usp_iter_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/* splice_write that drops the bytes; confirm still runs (H16). No copy. Accounts. */
USP_EXPORT ssize_t usp_drop_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/*
 * splice_write by an actor that is shown one buf after the other, confirmed: it returns bytes used, 1..len, or <= 0
 * to stop (H8-H10). The buf is lent, confirmed and addressable; the actor may usp_buf_get a copy of it, and must not
 * change the bytes. It runs with the read turn held, so it may block but not use the pipe. Whoever calls this
 * accounts.
 */
typedef ssize_t usp_splice_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg);
USP_EXPORT ssize_t usp_splice_from_pipe(struct usp_pipe *pipe, size_t len, unsigned flags, usp_splice_actor *actor,
					void *arg);

/*
 * splice_write to a stream socket: bufs attached to sendmsg, MORE while there is more (H13); MSG_ZEROCOPY where it
 * pays, for files that the library opened. Accounts.
 */
USP_EXPORT ssize_t usp_sock_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					 unsigned flags);

/*
 * The kernel lane: splice(2) between the file's descriptor and a kernel pipe that becomes (was) a buf. Where the
 * kernel refuses before a byte has moved, the file goes on with the hooks of its ops. Accounts what the probe found,
 * or unknown.
 */
USP_EXPORT ssize_t usp_kernel_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
					  unsigned flags);
USP_EXPORT ssize_t usp_kernel_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
					   unsigned flags);

/* Plain descriptors: preadv/readv and pwritev/writev at *pos or in stream order, fsync, close. */
USP_EXPORT ssize_t usp_fd_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
USP_EXPORT ssize_t usp_fd_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);
USP_EXPORT int usp_fd_sync(struct usp_file *file);
USP_EXPORT int usp_fd_release(struct usp_file *file);

#ifdef __cplusplus
}
#endif
#endif
