/* SPDX-License-Identifier: MIT */
/*
 * inside - a mount from the inside.
 *
 *   kernel ──► serve ──► ops ──► node: is it open? ──► read: bufs of the source ──► all there? ──► reply: writev
 *                                 │ no                                              │ no
 *                                 └──► a thread opens it                             └──► the waiter's thread
 *                                      (request parked)                                   (request parked)
 *
 * No thread that takes requests waits for a source. Stairs: wait, gather, backing, node, read, status, ops, session,
 * serve, mount.
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

#define MOUNT_READ_BYTES ((size_t)1 << 20) /* most bytes of one request */
#define MOUNT_FIRST_INO 2		   /* of the first source in a directory, which is 1 */
/* Attributes of the root. */
#define USP_MOUNT_STATUS_TEXT "user.usplice.status"
#define USP_MOUNT_STATUS_JSON "user.usplice.status.json"
#define MOUNT_BUDGET ((size_t)64 << 20)

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

/* --- Sources ---------------------------------------------------------------------------------------------- */

/* A source. The lock guards way, error, why, waits and seen; the rest is constant once it is open. */
struct mount_node {
	struct usp_mount *mount;
	char *name;
	struct usp_mount_source source;
	fuse_ino_t ino;
	enum usp_mount_way way;
	int error;
	const char *why;
	struct mount_waits waits;
	struct usp_file *file; /* over a mapping or memory; NULL without a byte */
	int fd;		       /* a file with all bytes, for passthrough and copies; -1 without one */
	bool owns_fd;
	bool is_chosen;		       /* with passthrough or without; the lock guards it */
	int backing;		       /* the number of fd for the kernel; 0: no passthrough */
	bool is_copy;		       /* it cannot change */
	uint64_t memory;	       /* bytes of the budget that the copy takes */
	struct usp_mapping_state seen; /* what it was when somebody opened or looked at it */
	struct stat st;		       /* what stat(2) shows, without the size */
	_Atomic(uint64_t) nr_reads, copied, nr_errors;
};

/* An open of a program. Each has its own readahead. */
struct mount_open {
	LIST_ENTRY(mount_open) link;
	struct mount_node *node;
	struct usp_file *file; /* of its own, or that of the node; NULL without a byte */
};

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
	pthread_cond_t idle; /* nr_openers is 0 */
	unsigned nr_openers; /* threads that open sources */
	LIST_HEAD(, mount_open) opens;
	pthread_mutex_t session_lock; /* a detach and the end exclude each other */
	struct mount_waits reads;     /* parked: the waiter goes on with them */
	struct mount_read *pool;      /* for the next requests */
	unsigned nr_pool;
	struct pollfd *waiter_fds;
	struct mount_read **waiter_reads;
	int wake_fd; /* of the waiter */
	int stop_fd;
	atomic_bool must_end; /* no thread begins anything new */
	struct fuse_session *session;
	int fuse_fd;
	atomic_bool is_mounted, is_detached;
	atomic_bool offers_parallel, offers_passthrough, has_passthrough, is_initialised;
	_Atomic(unsigned) nr_open, nr_waiting;
	_Atomic(uint64_t) copies; /* bytes of memory that copies take */
	atomic_int error;	  /* why requests cannot be read any more */
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

/* Open a source, and note how it ends: 0 or -errno. Blocks. Called once at a time for each node. */
int mount_node_open(struct mount_node *node);

/* Close and free it. */
void mount_node_close(struct mount_node *node);

/*
 * Look at the source again. Returns its size or -errno. *ret_changed: it is not what it was the last time. May be called
 * by several threads.
 */
int64_t mount_node_look(struct mount_node *node, bool *ret_changed);

/* Tell what stat(2) shows: 0 or -errno. */
int mount_node_stat(struct mount_node *node, struct stat *ret_stat);

/*
 * Call go_on with the request when the source is open, or answer it with an error. It may be at once; otherwise a thread
 * opens the source meanwhile.
 */
void mount_node_need(struct mount_node *node, fuse_req_t req, void (*go_on)(fuse_req_t req, struct mount_node *node));

/* Answer all that wait for a source, which will not be opened any more, with ECANCELED. */
void mount_node_give_up(struct mount_node *node);

/* Choose passthrough for a source that a program opens first, if that is possible. */
void mount_backing_choose(struct mount_node *node);
void mount_backing_close(struct mount_node *node);

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

extern const struct fuse_lowlevel_ops mount_ops;

/* Mount, or unmount. */
int mount_session_begin(struct usp_mount *mount);
int mount_session_detach(struct usp_mount *mount);
void mount_session_end(struct usp_mount *mount);

/* Note what the kernel offers, of a request that libfuse has not seen yet. */
void mount_session_note(struct usp_mount *mount, const void *request, size_t len);

/* The last reply of this thread did not reach the program, which has gone. */
bool mount_session_was_refused(void);

/* Take requests until there are no more: 0 or -errno. */
int mount_serve(struct usp_mount *mount);

#endif
