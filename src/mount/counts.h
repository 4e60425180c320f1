/* SPDX-License-Identifier: MIT */
/* counts - what a mount was asked, how long the answers took, and which errors they were: for its metrics. */
#ifndef USP_MOUNT_COUNTS_H
#define USP_MOUNT_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

#define MOUNT_NR_BOUNDS 14
#define MOUNT_NR_ERRORS 160 /* errno values are below it */
#define MOUNT_NR_SLOTS 1024 /* requests under way whose time is taken */

enum mount_kind {
	MOUNT_LOOKUP,
	MOUNT_GETATTR,
	MOUNT_SETATTR,
	MOUNT_OPEN,
	MOUNT_READ,
	MOUNT_WRITE,
	MOUNT_FSYNC,
	MOUNT_FLUSH,
	MOUNT_FALLOCATE,
	MOUNT_LSEEK,
	MOUNT_RELEASE,
	MOUNT_READDIR,
	MOUNT_GETXATTR,
	MOUNT_STATFS,
	MOUNT_FORGET,
	MOUNT_INTERRUPT,
	MOUNT_OTHER,
	MOUNT_NR_KINDS,
};

extern const char *const mount_kind_names[MOUNT_NR_KINDS];
extern const uint64_t mount_bounds_ns[MOUNT_NR_BOUNDS]; /* of the classes of times */

struct mount_counted {
	_Atomic(uint64_t) nr_requests[MOUNT_NR_KINDS];
	_Atomic(uint64_t) nr_timed[MOUNT_NR_KINDS][MOUNT_NR_BOUNDS + 1]; /* answers by their time; the last: longer */
	_Atomic(uint64_t) time_ns[MOUNT_NR_KINDS];			 /* their sum */
	_Atomic(uint64_t) nr_errors[MOUNT_NR_ERRORS];
};

struct mount_counts;
struct fuse_in_header;
struct fuse_out_header;

struct mount_counts *mount_counts_new(void); /* NULL without memory; free it with usp_free */
const struct mount_counted *mount_counts_of(const struct mount_counts *counts);

/* A request was taken; its answer is sent. Any thread. */
void mount_counts_begin(struct mount_counts *counts, const struct fuse_in_header *header);
void mount_counts_answer(struct mount_counts *counts, const struct fuse_out_header *header);

#endif
