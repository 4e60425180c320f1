/* SPDX-License-Identifier: MIT */
/*
 * world - the objects that a script speaks of, once as descriptors of the kernel and once as files of the library, and
 * the operations on them.
 */
#ifndef USP_TESTS_WORLD_H
#define USP_TESTS_WORLD_H

#include <stdatomic.h>
#include <sys/uio.h>
#include <usplice.h>

#include "script.h"

#define WORLD_BYTES_MAX ((size_t)1 << 20) /* the most that one step reads or writes in memory */
#define WORLD_OBJECTS 128		  /* indexed by letter */

/* One end of an object: a descriptor, or a file in the world of the library. Peers are descriptors in both. */
struct handle {
	int fd; /* -1: closed, or a file without one */
	struct usp_file *file;
};

enum object_type {
	OBJECT_NONE,
	OBJECT_PIPE,
	OBJECT_FILE,
	OBJECT_PATH,
	OBJECT_FIFO,
	OBJECT_UNIX,
	OBJECT_TCP,
	OBJECT_DGRAM,
	OBJECT_SEQPACKET,
	OBJECT_UDP,
	OBJECT_LONELY, /* a TCP socket that is not connected */
	OBJECT_TTY,
	OBJECT_PEER, /* what the test holds at the other side of a socket or terminal */
};

struct object_kind {
	char letter, peer;
	enum object_type type;
	int open_flags;
	size_t len;	  /* of a file at first */
	const char *path; /* of an OBJECT_PATH */
	bool is_sealed, is_hole;
};

struct object {
	const struct object_kind *kind; /* NULL: not in this script */
	struct handle end[2];		/* a pipe's read and write end; others have the first only */
	struct handle held[2];
	int spy_fd; /* a file once more, to look at its bytes; else -1 */
	uint64_t sent,
		taken; /* bytes that a peer should see, and that were read here: what is under way can be awaited */
	bool is_blind; /* how much is in it is not compared */
};

/* What can be seen of an object from outside. Plain numbers, compared as a whole. */
struct view {
	unsigned bits[2];
	int64_t bytes, capacity, pos, len;
};

struct backend {
	const char *name;
	bool (*adopt)(struct handle *handle, int fd, int open_flags);
	void (*open_pipe)(struct handle ends[2]);
	void (*close)(struct handle *handle);
	struct handle (*hold)(const struct handle *handle);
	ssize_t (*read)(const struct handle *in, void *base, size_t len);
	ssize_t (*write)(const struct handle *out, const void *base, size_t len);
	ssize_t (*splice)(const struct handle *in, int64_t *off_in, const struct handle *out, int64_t *off_out,
			  size_t len, unsigned flags);
	ssize_t (*tee)(const struct handle *in, const struct handle *out, size_t len, unsigned flags);
	ssize_t (*vmsplice)(const struct handle *end, const struct iovec *iov, unsigned nr_segs, unsigned flags);
	ssize_t (*sendfile)(const struct handle *in, int64_t *off_in, const struct handle *out, size_t len);
	ssize_t (*set_size)(const struct handle *end, size_t len);
	ssize_t (*get_size)(const struct handle *end);
	ssize_t (*set_nonblock)(const struct handle *handle, bool is_on);
	ssize_t (*set_packet)(const struct handle *handle, bool is_on);
	int64_t (*seek)(const struct handle *handle, int64_t off, int whence);
	unsigned (*poll)(const struct handle *handle);
	int64_t (*bytes)(const struct handle *handle);
};

extern const struct backend kernel_backend, usplice_backend;

struct world {
	const struct backend *backend;
	struct object objects[WORLD_OBJECTS];
	char sleeper_from; /* what a step reads from that sleeps, or 0 */
	const _Atomic(bool) *sleeper_is_done;
};

/* Open the objects that letters names, and their peers. */
void world_open(struct world *world, const struct backend *backend, const char *letters);
void world_close(struct world *world);

/* Are the ends open that the step touches? */
bool world_can(struct world *world, const struct step *step);

/*
 * Do a step: its result; offsets in it are updated, and bytes is what it reads into or, with WORLD_BYTES_MAX bytes of
 * content, writes from. constant is memory that never changes, for vmsplice, which may refer to it for long.
 */
ssize_t world_run(struct world *world, struct step *step, unsigned char *bytes, unsigned char *constant);

/* Keep book of what a step moved, then wait until it has arrived where it goes by itself (TCP, terminals). */
void world_settle(struct world *world, const struct step *step, ssize_t moved);

/* Look at an object. What needs its lock is left out where somebody may sleep with that, as the kernel does. */
void world_look(struct world *world, char letter, bool takes_locks, struct view *ret_view);

uint64_t world_now_ns(void);

#endif
