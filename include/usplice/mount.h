/* SPDX-License-Identifier: MIT */
/*
 * usplice/mount.h - sources as regular files for any program: a FUSE file system. See usp_mount(3).
 *
 * A mount shows each source under a name in a directory, or one source in the place of a regular file. What is read
 * comes from the folios of a page cache, which stay referenced until the kernel has copied them: one copy. Where the
 * kernel and the rights allow it, it reads the file behind a source itself (passthrough). A source without positions
 * is copied first, into memory or into a file without a name. If it ends with an error none of it can be read.
 *
 * The rules common to all functions are those of usplice.h. A build without libfuse3 gives -EOPNOTSUPP.
 */
#ifndef USPLICE_MOUNT_H
#define USPLICE_MOUNT_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_mount;

#define USP_MOUNT_ALLOW_OTHER 0x1u    /* other users may use it, too; fuse.conf may have to allow that */
#define USP_MOUNT_DIRECT 0x2u	      /* reads go past the kernel's page cache */
#define USP_MOUNT_PREFETCH 0x4u	      /* copy each source before it can be read */
#define USP_MOUNT_NO_PASSTHROUGH 0x8u /* let the kernel read no file by itself */
#define USP_MOUNT_WRITE 0x10u	      /* sources that were opened for writing can be written; not with PREFETCH */
#define USP_MOUNT_NOEXEC \
	0x20u /* MS_NOEXEC of mount(2): nothing can be mapped to be executed. NOSUID and NODEV are always set */
#define USP_MOUNT_SYNC 0x40u	/* MS_SYNCHRONOUS: each write is on the disk when it returns */
#define USP_MOUNT_NOATIME 0x80u /* MS_NOATIME */

struct usp_mount_params {
	size_t size;	     /* sizeof(struct usp_mount_params) */
	unsigned flags;	     /* USP_MOUNT_* */
	unsigned nr_threads; /* that take requests, at most 64; 0: one for each processor, at most 8 */
	size_t budget;	     /* most memory of each page cache, and of all copies together; at least 1 MiB; 0: 64 MiB */
	const char *spool;   /* the folder of copies that do not fit into memory; NULL: -EFBIG for these */
	const char *name;    /* what the list of mounts shows as the device; NULL: "usplice" */
	/* Called while a source is copied, in the thread that copies. total: -1 if it is not known. NULL: not told. */
	void (*progress)(void *progress_arg, const char *name, int64_t done, int64_t total);
	void *progress_arg;
	/*
	 * How long usp_mount_run waits at its end for requests under way and for disks, in nanoseconds; 0: for ever. Requests
	 * have half of it.
	 */
	uint64_t sync_timeout_ns;
};

/* A source, and how to open it. */
struct usp_mount_source {
	size_t size;	  /* sizeof(struct usp_mount_source) */
	const char *name; /* of the file in the directory */
	/*
	 * Open it for reading, or with USP_MOUNT_WRITE for writing, too: 0, or -errno and in *ret_why a static sentence or
	 * NULL. The mount owns the file. Called once if it succeeds, but see can_reopen; in a thread of its own if is_lazy.
	 * May block. A lazy one must not look at paths at the
	 * mountpoint or below it: it would wait for itself.
	 */
	int (*open)(void *arg, struct usp_file **ret_file, const char **ret_why);
	void *arg;
	bool is_lazy; /* open it when somebody looks at it first; otherwise before the mount is there */
	/*
	 * A lazy one may be closed when no program uses it and many others are open, at most 1024 or half of the
	 * descriptors, or when find tells of another file. open is then called again. If it gives another file then (device
	 * and inode), programs see it as a new one. Not for a source that is copied.
	 */
	bool can_reopen;
	/*
	 * Tell which file the name of an open source leads to now: 0, or -errno, such as -ENOENT. NULL: nothing is looked at.
	 * Without may_block it is called by threads that take requests, and gives -EAGAIN where a link is to be followed. Then,
	 * and at the end, it is called with may_block by a thread that may wait. Not for a source that is copied.
	 */
	int (*find)(void *arg, bool may_block, uint64_t *ret_device, uint64_t *ret_object);
};

/*
 * Unmount what mounts of this library have left at a path, whose processes were killed: ENOTCONN there. A server that lives is not
 * touched. How many there were, or -errno: of umount(2), -ENOTCONN for another file system, which is left as it is. Blocks shortly.
 */
USP_EXPORT int usp_mount_clear(const char *mountpoint);

/*
 * Make a mount for a directory or a regular file that exists. params may be NULL. Does not block. -EINVAL, -ENOENT ...
 * as stat(2), -EACCES if the process cannot open /dev/fuse, -ENOMEM. ret_why is as in usp_open.
 */
USP_EXPORT int usp_mount_new(const char *mountpoint, const struct usp_mount_params *params,
			     struct usp_mount **ret_mount, const char **ret_why);

/*
 * Add a source before usp_mount_start. A mount on a regular file has one. -EINVAL for a name with a slash, for "." and
 * "..", and for a second source of a regular file; -EEXIST for a name that is there; -ENOMEM.
 */
USP_EXPORT int usp_mount_add(struct usp_mount *mount, const struct usp_mount_source *source);

/*
 * Serve metrics over HTTP at "[HOST:]PORT" or "unix:PATH", from usp_mount_start to usp_mount_free: /metrics for
 * Prometheus, / for people. Behind the last usp_mount_add, once. Blocks while a name is looked up. -EINVAL for text of
 * another form, -EHOSTUNREACH for a name that does not resolve, and the errors of socket(2), bind(2) and listen(2). ret_why
 * is as in usp_open.
 */
USP_EXPORT int usp_mount_serve_metrics(struct usp_mount *mount, const char *address, const char **ret_why);

/*
 * Answer requests for metrics under this name too, as usp_relay_add_metrics_host. Behind usp_mount_serve_metrics and before
 * usp_mount_start.
 */
USP_EXPORT int usp_mount_add_metrics_host(struct usp_mount *mount, const char *name, const char **ret_why);

/*
 * Write the address of the metrics server, such as "127.0.0.1:9000" or "unix:/run/x", cut to len. Returns its length, or
 * -EINVAL if there is none.
 */
USP_EXPORT ssize_t usp_mount_metrics_address(struct usp_mount *mount, char *ret_text, size_t len);

/*
 * Open the sources that are not lazy, and mount. Programs that use the mount wait from now on, until usp_mount_run
 * answers. Blocks. 0, or -errno: of the source that usp_mount_status tells, or of the mount. fusermount3 may print a
 * sentence. *ret_why is valid as long as the mount is.
 */
USP_EXPORT int usp_mount_start(struct usp_mount *mount, const char **ret_why);

/*
 * Answer requests until it is unmounted, or usp_mount_stop. Then write to the disk what was written. Blocks. 0, or -errno:
 * requests could no longer be read, a source has a sync_error now, -ESTALE: one is_lost, or -ETIMEDOUT: sync_timeout_ns has
 * passed while one was still written to the disk (is_unsynced). What hangs is left behind: usp_mount_status counts it. No request stays without an
 * answer, but what a source that hangs holds back then gives ENOTCONN. Call it once. Never use the mount in this process.
 */
USP_EXPORT int usp_mount_run(struct usp_mount *mount);

/*
 * Unmount: take the mount out of the tree. usp_mount_run goes on until what is open is closed, and then returns. 0, or
 * -errno of umount(2). Blocks shortly. From any thread.
 */
USP_EXPORT int usp_mount_detach(struct usp_mount *mount);

/*
 * End usp_mount_run now: what is open gives ENOTCONN from then on. Called again while it waits for requests under way or for
 * disks, end that, too, as if sync_timeout_ns had passed. Async-signal-safe.
 */
USP_EXPORT void usp_mount_stop(struct usp_mount *mount);

/*
 * Unmount if it is mounted, close the sources, and free. Not while usp_mount_run runs. Blocks until opens of lazy
 * sources that are under way have ended, and what usp_mount_run has left behind. NULL is allowed.
 */
USP_EXPORT void usp_mount_free(struct usp_mount *mount);

/* A snapshot of a mount: plain values. */
struct usp_mount_status {
	size_t size; /* sizeof(struct usp_mount_status) */
	unsigned nr_sources;
	unsigned nr_failed;	 /* sources that could not be opened */
	unsigned nr_open;	 /* descriptors that programs have open */
	unsigned nr_waiting;	 /* requests that wait for a source */
	unsigned nr_opening;	 /* threads that open lazy sources */
	bool has_passthrough;	 /* the kernel can read files by itself */
	bool is_detached;	 /* usp_mount_detach was called */
	const char *failed_name; /* the source that failed last, or NULL; owned by the mount */
	unsigned nr_stuck;	 /* threads that usp_mount_run has left behind, which hang in a source */
};
USP_EXPORT void usp_mount_status(struct usp_mount *mount, struct usp_mount_status *ret_status);

/* How a source is read. */
enum usp_mount_way {
	USP_MOUNT_CLOSED,      /* it is lazy, and nobody looked at it */
	USP_MOUNT_OPENING,     /* a lazy one that somebody waits for */
	USP_MOUNT_FAILED,      /* it could not be opened */
	USP_MOUNT_CACHED,      /* by a page cache of this process */
	USP_MOUNT_COPIED,      /* from a copy in memory, or in a file without a name */
	USP_MOUNT_PASSTHROUGH, /* by the kernel itself, from its file or from a copy */
	USP_MOUNT_UNCACHED,    /* it can be written: each request reads or writes the source itself */
	USP_MOUNT_PLAIN,       /* from its file, of what the kernel has cached of it; the rest as USP_MOUNT_CACHED */
};

/* A snapshot of a source. */
struct usp_mount_source_status {
	size_t size;	  /* sizeof(struct usp_mount_source_status) */
	const char *name; /* owned by the mount */
	enum usp_mount_way way;
	int error;	   /* -errno of one that failed, or 0 */
	const char *why;   /* a sentence for it, or NULL */
	int64_t bytes;	   /* its size; -1 before it is open */
	bool is_copy;	   /* it was copied first */
	uint64_t nr_reads; /* requests to read; none with passthrough */
	uint64_t
		copied; /* bytes of the replies: each was copied by the kernel, once from a page cache of this process */
	uint64_t nr_errors; /* requests that failed */
	bool can_write;
	uint64_t nr_writes; /* requests to write; none with passthrough */
	uint64_t written;   /* bytes that the source took of them: each was copied twice */
	int sync_error;	    /* the last -errno of a write to the disk that failed late, or 0 */
	bool is_unsynced;   /* usp_mount_run waited no longer for what was written: it may not be on the disk */
	int place_error; /* what opens by name get now: -ESTALE: its name leads to another file, -ENOENT: to none; or 0 */
	bool is_lost; /* what was written is in a file to which its name does not lead any more, when last looked at */
	uint64_t
		spliced; /* bytes of copied that went from the kernel's cache of the file by splice(2), and were copied once */
};

/*
 * Tell of the source of this index, in the order in which they were added. Blocks as fstat(2) for one that can be written.
 * 0, or -EINVAL: there is none.
 */
USP_EXPORT int usp_mount_source_status(struct usp_mount *mount, unsigned index,
				       struct usp_mount_source_status *ret_status);

#ifdef __cplusplus
}
#endif
#endif
