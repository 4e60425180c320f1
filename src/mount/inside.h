/* SPDX-License-Identifier: MIT */
/*
 * inside - a mount from the inside.
 *
 *   kernel ──► serve ──► ops ──► node: is it open? ──► read: bufs of the source ──► all there? ──► reply: writev
 *                                 │ no                                              │ no
 *                                 └──► a thread opens it                             └──► the waiter's thread
 *                                      (request parked)                                   (request parked)
 *
 * No thread that takes requests waits for a source. Where sources are written, one of these threads never does.
 * Stairs: threads, wait, counts, report, metrics, gather, backing, rights, splice, write, forget, node, idle, place, need, work, read, status,
 * rw, ops, session, serve, end, mount.
 */
#ifndef USP_MOUNT_INSIDE_H
#define USP_MOUNT_INSIDE_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <usplice/endpoint.h>
#include <usplice/mapping.h>
#include <usplice/mount.h>

#include "lanes/kpool.h"

struct mount_counts;
struct mount_metrics;

#define MOUNT_READ_BYTES ((size_t)1 << 20) /* most bytes of one request */
#define MOUNT_FIRST_INO 2		   /* of the first source in a directory, which is 1 */
/* Attributes of the root. */
#define USP_MOUNT_STATUS_TEXT "user.usplice.status"
#define USP_MOUNT_STATUS_JSON "user.usplice.status.json"
#define MOUNT_STATUS_MAX ((size_t)64 << 10) /* no attribute is longer: XATTR_SIZE_MAX */
#define MOUNT_SHORTLY_S 1.0		    /* how long the kernel believes in the size of what may change */
#define MOUNT_BUDGET ((size_t)64 << 20)
#define MOUNT_NOTHING INT64_MAX /* no position */
#define MOUNT_NR_WAYS (USP_MOUNT_PLAIN + 1)

/* The ways of enum usp_mount_way, as the status and the metrics call them. */
extern const char *const mount_way_names[MOUNT_NR_WAYS];

/* --- Threads ------------------------------------------------------------------------------------------------ */

/* Start a thread that is counted in *nr until it calls mount_thread_end: 0 or -errno. */
int mount_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, _Atomic(unsigned) *nr);
void mount_thread_end(struct usp_mount *mount, _Atomic(unsigned) *nr);

/*
 * Tell whether threads are to be waited for: some run, end_ns has not come (0: it never does), and it must not hurry. Who
 * polls end_fd for *ret_left_ns then misses nothing.
 */
bool mount_thread_left(struct usp_mount *mount, const _Atomic(unsigned) *nr, uint64_t end_ns, int64_t *ret_left_ns);

/* Wait for them: true if all have ended. */
bool mount_thread_wait(struct usp_mount *mount, const _Atomic(unsigned) *nr, uint64_t end_ns);

/* --- Requests that wait ----------------------------------------------------------------------------------- */

/* A request that waits for a source. Who takes it off its queue answers it. */
struct mount_wait {
	TAILQ_ENTRY(mount_wait) link;
	struct usp_mount *mount;
	fuse_req_t req;
	struct mount_waits *queue; /* where it is parked, or NULL; the lock of the mount guards it */
	bool is_hooked;		   /* libfuse may call back */
	bool is_interrupted;
	void (*interrupted)(struct mount_wait *wait); /* answer with EINTR, and free it */
};

TAILQ_HEAD(mount_waits, mount_wait);

/* Park a request. False if its program was interrupted meanwhile: then it stays with the caller. Takes the lock. */
bool mount_wait_park(struct mount_wait *wait, struct mount_waits *queue);

/* Take a request off its queue. Lock held. */
void mount_wait_take(struct mount_wait *wait);

/* Let libfuse call back no more; call it before the answer, without the lock. */
void mount_wait_end(struct mount_wait *wait);

/* --- Requests that block ---------------------------------------------------------------------------------- */

#define MOUNT_WORKERS_MAX 64 /* so many requests to disks that hang hold nobody back */

/* A request that may wait for a disk. */
struct mount_work {
	struct mount_wait wait;		      /* first */
	void (*run)(struct mount_work *work); /* answer the request. It may be another thread */
	struct mount_node *node;
	struct mount_open *open; /* NULL without one */
	int64_t pos;
	size_t len;
	int flags;	   /* open(2) of a write, mode of fallocate(2), and so on */
	bool is_page;	   /* the kernel writes what a program wrote through a mapping into memory */
	bool holds_node;   /* until it has run, or never will */
	const void *bytes; /* of a write, len of them; valid in run; else NULL */
	struct stat st;	   /* of a change of attributes */
};

/* Run it now if another thread can take requests meanwhile; else a copy of it in another thread. */
void mount_work_do(struct usp_mount *mount, struct mount_work *work);

/* Answer what is queued with ENOTCONN, and let the threads end. */
void mount_work_cancel(struct usp_mount *mount);

/* Join the threads. Blocks while a request runs. */
void mount_work_join(struct usp_mount *mount);

/* --- Sources ---------------------------------------------------------------------------------------------- */

/* A source. The lock guards way, error, why, waits and seen; the rest is constant while it is open. */
struct mount_node {
	struct usp_mount *mount;
	char *name;
	struct usp_mount_source source;
	_Atomic(fuse_ino_t) ino; /* another file in its place has another number */
	enum usp_mount_way way;
	int error;
	const char *why;
	struct mount_waits waits;
	struct usp_file *file; /* over a mapping or memory; NULL without a byte */
	int fd;		       /* a file with all bytes, for passthrough and copies; -1 without one */
	bool owns_fd;
	atomic_bool is_plain; /* fd has the bytes of the source, and its page cache can be read */
	bool is_in_memory;    /* and never has to be waited for */
	bool may_splice;      /* its pages can be spliced */
	bool is_chosen;	      /* with passthrough or without; the lock guards it */
	int backing;	      /* the number of fd for the kernel; 0: no passthrough */
	bool is_copy;	      /* it cannot change */
	bool was_open;	      /* not a copy; device and object tell which file it was */
	dev_t device;
	ino_t object;
	unsigned nr_holds;	/* opens, and requests under way; the lock guards it and the next ones */
	unsigned nr_opens;	/* of programs */
	bool is_looking;	/* a thread looks where its name leads; who needs it waits */
	atomic_bool is_closing; /* a thread syncs and closes it */
	int place_error;	/* of a request that comes by its name: -errno, or 0 */
	bool is_lost;		/* it was written, and its name leads elsewhere */
	bool is_closable;	/* when nobody holds it */
	bool is_idle;		/* it is in the list of the mount */
	TAILQ_ENTRY(mount_node) idle_link;
	uint64_t memory;	       /* bytes of the budget that the copy takes */
	struct usp_mapping_state seen; /* what it was when somebody opened or looked at it */
	struct stat st;		       /* what stat(2) shows, without the size */
	int rights_fd;		       /* whose mode tells who may open it, also now; -1: st does */
	mode_t rights; /* 0400, 0200: what this process could do when it was opened, without the descriptor */
	_Atomic(uint64_t) nr_reads, copied, nr_errors;
	_Atomic(uint64_t) spliced; /* bytes of copied that were copied once, out of the kernel's cache of the source */
	bool can_write;		   /* at any offset; then it has no page cache here */
	atomic_bool was_changed;   /* or opened for writing: the kernel may write without a request to us */
	atomic_bool is_dirty;	   /* the same, since it was synced and closed */
	_Atomic(uint64_t) nr_writes, written;
	_Atomic(int64_t) gathered, gather_total; /* bytes of a copy that is being made; the total may be -1 */
	int64_t forget_from; /* the kernel has to forget what is behind it; MOUNT_NOTHING: none of it. The lock guards it */
	unsigned nr_sync_errors; /* the lock guards it and sync_error: each open is told of each of them once */
	int sync_error;		 /* the last one: -errno, or 0 */
	atomic_bool is_synced;	 /* it was at the end; sync_error tells how */
	bool is_unsynced;	 /* it was not, when usp_mount_run waited no longer; the lock guards it */
};

/* An open of a program. Each has its own readahead. */
struct mount_open {
	LIST_ENTRY(mount_open) link;
	struct mount_node *node;
	struct usp_file *file; /* of its own, or that of the node; NULL without a byte */
	bool can_write;
	unsigned nr_sync_errors; /* of the node, which it was told of */
};

struct serve;

struct usp_mount {
	struct usp_mount_params params;
	char *mountpoint, *spool, *device;
	bool is_file; /* it is mounted on a regular file, which is the root */
	uid_t user;
	gid_t group;
	struct timespec born;
	struct mount_node **nodes;
	unsigned nr_nodes;
	const struct mount_node *failed; /* the last one that could not be opened, or NULL */
	pthread_mutex_t lock;
	pthread_cond_t idle;	    /* nr_openers is 0 */
	pthread_cond_t has_settled; /* of a source that is looked at or closed: nr_holds, nr_opens, is_closing */
	unsigned nr_openers;	    /* threads that open sources */
	TAILQ_HEAD(mount_idles, mount_node) idles; /* sources that may be closed, the one used last at the end */
	unsigned nr_closable;			   /* sources that are open and will be idle, or are */
	unsigned nr_closable_max;
	LIST_HEAD(, mount_open) opens;
	pthread_mutex_t session_lock; /* a detach and the end exclude each other */
	struct mount_waits reads;     /* parked: the waiter goes on with them */
	struct mount_waits works;     /* parked: a thread takes them */
	pthread_cond_t has_work;
	pthread_t workers[MOUNT_WORKERS_MAX];
	unsigned nr_workers, nr_idle_workers;
	bool workers_must_end;
	_Atomic(unsigned) nr_serving,
		nr_busy;	 /* threads that take requests; those of them that run one that may block */
	struct mount_read *pool; /* for the next requests */
	unsigned nr_pool;
	struct pollfd *waiter_fds;
	struct mount_read **waiter_reads;
	int wake_fd; /* of the waiter */
	int stop_fd;
	atomic_bool must_end;			    /* no thread begins anything new */
	int end_fd;				    /* of the end: a thread has ended, or must_hurry */
	atomic_bool is_ending, must_hurry, is_over; /* is_over: usp_mount_run waits no longer */
	struct serve *serves;			    /* with the threads that take requests */
	unsigned nr_serves, nr_served;
	pthread_t waiter;
	bool has_waiter;
	_Atomic(unsigned) nr_threads; /* that take or run requests now */
	pthread_t forgetter;	      /* in forget.c */
	pthread_cond_t has_forget;
	_Atomic(unsigned) nr_forgetting; /* 1 while that thread runs */
	bool has_forgetter, forgetter_must_end;
	pthread_t syncers[MOUNT_WORKERS_MAX];
	unsigned nr_syncers;
	_Atomic(unsigned) nr_syncing, next_sync; /* threads that sync now, and the node that the next one takes */
	atomic_bool is_severed;			 /* replies go nowhere */
	struct fuse_session *session;
	int fuse_fd;
	atomic_bool is_mounted, is_detached;
	bool reads_ahead; /* the kernel does so as far as it was asked to; it has not read yet */
	atomic_bool offers_parallel, offers_kill, offers_passthrough, has_passthrough, is_initialised;
	_Atomic(unsigned) nr_open, nr_waiting;
	_Atomic(uint64_t) nr_opens[2]; /* that were made: without passthrough, and with it */
	struct mount_counts *counts;   /* NULL without metrics */
	struct mount_metrics *metrics; /* NULL: there are none */
	_Atomic(uint64_t) copies;      /* bytes of memory that copies take */
	atomic_int error;	       /* why requests cannot be read any more */
};

/* A copy of a source. The owner closes fd, and gives the memory of the budget back. */
struct mount_copy {
	int fd;
	int64_t len;
	uint64_t memory; /* 0 in the spool */
};

/* Copy all bytes of a file up to its end: 0 or -errno, of a check that failed, too. Blocks. */
int mount_gather(struct usp_mount *mount, const char *name, struct usp_file *from, struct mount_copy *ret_copy,
		 const char **ret_why);

/* Tell whether a source is opened by a request that needs it. */
static inline bool mount_node_is_lazy(const struct mount_node *node)
{
	return node->source.is_lazy && !node->mount->is_file;
}

/* Open a source, and note how it ends: 0 or -errno. Blocks. Called once at a time for each node. */
int mount_node_open(struct mount_node *node);

/* The two halves of mount_node_open. */
int mount_node_try(struct mount_node *node, const char **ret_why);
void mount_node_settle(struct mount_node *node, int error, const char *why);

/* Close what mount_node_try has opened. */
void mount_node_shut(struct mount_node *node);

/* Read no more from the file of a source: its file system cannot tell what it has cached. */
void mount_node_not_plain(struct mount_node *node);

/* Close and free it. */
void mount_node_close(struct mount_node *node);

/*
 * Look at the source again. Returns its size or -errno. *ret_changed: it is not what it was the last time. May be called
 * by several threads.
 */
int64_t mount_node_look(struct mount_node *node, bool *ret_changed);

/* Tell what stat(2) shows: 0 or -errno. */
int mount_node_stat(struct mount_node *node, struct stat *ret_stat);

/* Note whose rights a source has: those of fd, or none with -1. */
void mount_rights_begin(struct mount_node *node, int fd);

/* Return the mode that is shown of a file of which fstat(2) told st. */
mode_t mount_rights_mode(const struct mount_node *node, int fd, const struct stat *st);

/* Put the mode and the group of now into what stat(2) shows. */
void mount_rights_look(const struct mount_node *node, struct stat *ret_stat);

/* Hold an open source: it is not closed. Lock held. */
void mount_idle_hold(struct mount_node *node);

/* Drop a hold. Takes the lock. */
void mount_idle_release(struct mount_node *node);

/* Count an open of a program, which holds the source. Lock held. */
void mount_idle_add_open(struct mount_node *node);

/* Note that a source was opened that may be closed when nobody holds it. */
void mount_idle_add(struct mount_node *node);

/* Tell whether as many sources are open as should be. */
bool mount_idle_is_full(struct usp_mount *mount);

/* Close the source that was used longest ago, and that nobody holds. May block. NULL if there is none. */
struct mount_node *mount_idle_close(struct usp_mount *mount);

/* Sync and close a source to open what has taken its place: true, if only the caller holds it. May block. Takes the lock. */
bool mount_idle_close_for_another(struct mount_node *node);

/*
 * Look whether the name of a source still leads to its file, and note it: 0 also where that cannot be told, -ESTALE: to
 * another one, -EAGAIN: call it with may_block, or -errno. The source is held, or not used any more. Takes the lock.
 */
int mount_place_look(struct mount_node *node, bool may_block);

/* Tell whether the file that has taken the place of the source can be opened, and shown as a new one. */
bool mount_place_can_renew(const struct mount_node *node);

/* Look at the end, and note whether what was written can be found. May block. Takes the lock. */
void mount_place_judge(struct mount_node *node);

/* A request that needs a source. */
struct mount_ask {
	fuse_req_t req;
	struct mount_node *node;
	fuse_ino_t ino; /* that the kernel asked for; 0: for the name */
	bool by_name;	/* it has come by the name; otherwise it may be of a program that has the source open */
	int what;	/* of a change of attributes, and st */
	struct stat st;
	void (*go_on)(const struct mount_ask *ask);
};

/*
 * Call go_on when the source is open, or answer with an error. It may be at once; otherwise a thread opens the source
 * meanwhile.
 */
void mount_node_need(const struct mount_ask *ask);

/* Answer all that wait for a source, which will not be opened any more, with ECANCELED. */
void mount_node_give_up(struct mount_node *node);

/* Choose passthrough for a source that a program opens first, if that is possible. */
void mount_backing_choose(struct mount_node *node);
void mount_backing_close(struct mount_node *node);

/* --- Sources that are written ------------------------------------------------------------------------------ */

/* Note that a program may write from now on. */
void mount_write_begin(struct mount_node *node);

/* Take a file that was opened for writing as the source of a node: 0, or -errno and why. The reference stays with the caller. */
int mount_write_open(struct mount_node *node, struct usp_file *file, const char **ret_why);

/* Write len bytes: how many, or -errno. is_append: at the end, wherever pos is; *ret_pos is where they are, or -1. Blocks. */
ssize_t mount_write_bytes(struct mount_node *node, const void *bytes, size_t len, int64_t pos, bool is_append,
			  int64_t *ret_pos);

/* Write everything to the disk: 0 or -errno, of earlier writes, too. open: is told of each error once; NULL: none. Blocks. */
int mount_write_sync(struct mount_node *node, struct mount_open *open);

/* As close(2) of one of several descriptors: NFS tells errors then. Blocks. */
int mount_write_flush(struct mount_node *node);

int mount_write_truncate(struct mount_node *node, int64_t len);
int mount_write_allocate(struct mount_node *node, int mode, int64_t off, int64_t len);

/* Set the times of access and of change; as utimensat(2) takes them. */
int mount_write_set_times(struct mount_node *node, const struct timespec times[2]);

/* Add to what stat(2) shows what changes with each write. */
void mount_write_stat(const struct mount_node *node, struct stat *st);

struct statvfs;

/* Tell how much room there is to write: that of the file system below a file, what is free for memory, none for a device. */
int mount_write_space(const struct mount_node *node, struct statvfs *ret_stat);

/* Let the kernel forget what it has cached of a source from a position on, soon. Takes the lock. */
void mount_forget(struct mount_node *node, int64_t pos);

/* Start and end the thread for that: 0 or -errno. It ends when no request holds it back, and is joined then. */
int mount_forget_begin(struct usp_mount *mount);
void mount_forget_stop(struct usp_mount *mount);
void mount_forget_join(struct usp_mount *mount);

/* Answer requests about sources that can be written, in rw.c. */
void mount_rw_read(fuse_req_t req, struct mount_open *open, int64_t pos, size_t len);
void mount_rw_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t len, off_t pos,
		    struct fuse_file_info *info);
void mount_rw_sync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *info);
void mount_rw_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void mount_rw_allocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *info);
void mount_rw_space(fuse_req_t req, struct usp_mount *mount, struct mount_node *node); /* NULL: of all together */
void mount_rw_set(const struct mount_ask *ask);

/* --- Requests ---------------------------------------------------------------------------------------------- */

/* Answer a request to read, now or later. */
void mount_read(fuse_req_t req, struct mount_open *open, int64_t pos, size_t len);

/* Go on with reads whose bytes may be there, until must_end. The waiter's thread. */
void *mount_read_waiter(void *mount);

int mount_read_init(struct usp_mount *mount);
void mount_read_fini(struct usp_mount *mount); /* no read is under way */

/* Answer all reads that are parked with ENOTCONN. The waiter has ended. */
void mount_read_cancel(struct usp_mount *mount);

/* Close what programs have open, when there is no connection to them any more. */
void mount_ops_fini(struct usp_mount *mount);

/*
 * Describe the mount, as text or as JSON: the length. len is 1024 at least. Sources for which there is no room are left
 * out, and counted.
 */
size_t mount_status_text(struct usp_mount *mount, bool is_json, char *ret_text, size_t len);

/* Note how far the copy of the source of this name is, the very string of its node. */
void mount_metrics_gathered(struct usp_mount *mount, const char *name, int64_t done, int64_t total);

/* Begin to answer those who ask for metrics, if there are any: 0 or -errno. */
int mount_metrics_begin(struct usp_mount *mount);
void mount_metrics_end(struct usp_mount *mount);

/* --- Pages of a plain file --------------------------------------------------------------------------------- */

/* A reply whose bytes are pages in a kernel pipe. */
struct mount_splice {
	struct usp_kpipe_ends data, reply;
	size_t len;
};

/* Tell whether file systems of a type, as usp_sys_fs_type has it, keep their bytes in this machine, and splice their pages. */
bool mount_splice_may(long type);

/*
 * Hold what the file of a node has of len bytes at pos, if all of it is in its page cache. False: nothing is held. Does not
 * wait, unless a page goes in between.
 */
bool mount_splice_begin(const struct mount_node *node, int64_t pos, size_t len, struct mount_splice *splice);

/* Answer a request with what is held, of which nothing is held then. */
void mount_splice_reply(fuse_req_t req, const struct mount_splice *splice);

/* For the session: the reply that libfuse is sending is such a one. Send its header and what is held: bytes or -errno. */
bool mount_splice_is_pending(void);
ssize_t mount_splice_send(int fd, const void *header, size_t len);

extern const struct fuse_lowlevel_ops mount_ops;

/* Mount, or unmount. */
int mount_session_begin(struct usp_mount *mount);
int mount_session_detach(struct usp_mount *mount);
void mount_session_end(struct usp_mount *mount);

/* End the connection while threads still have requests: what programs wait for gives ENOTCONN. */
void mount_session_abandon(struct usp_mount *mount);

/* Note what the kernel offers, of a request that libfuse has not seen yet. */
void mount_session_note(struct usp_mount *mount, const void *request, size_t len);

/* The last reply of this thread did not reach the program, which has gone. */
bool mount_session_was_refused(void);

/* Take requests in threads, and return when these must end: 0, or -errno if there are none. */
int mount_serve(struct usp_mount *mount);

/* Join the threads that take requests. Blocks while a request runs. */
void mount_serve_join(struct usp_mount *mount);

/* Answer a request with ENOTCONN, if there is one, when no thread takes any. buf is as long as mount_serve_len says. */
void mount_serve_refuse(struct usp_mount *mount, void *buf);
size_t mount_serve_len(void);

/* Let all threads end. Async-signal-safe. */
void mount_serve_stop(struct usp_mount *mount);

/* --- The end ----------------------------------------------------------------------------------------------- */

/* End requests and the connection, and write to the disk what was written: 0 or -errno. Blocks up to sync_timeout_ns. */
int mount_end(struct usp_mount *mount);

/* Join what mount_end has left behind. Blocks as long as a source does. */
void mount_end_join(struct usp_mount *mount);

#endif
