/* SPDX-License-Identifier: MIT */
/*
 * counts - what a mount was asked, how long the answers took, and which errors they were: for its metrics.
 *
 * The kernel numbers its requests. A request is noted in the slot of its number when it is taken, and found there when its
 * answer passes. A slot that is in use belongs to a request that waits for long: then the new one is counted, but its
 * time is not.
 */
#include <errno.h>
#include <linux/fuse.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "mount/counts.h"
#include "mount/inside.h"

#define COUNTS_BEING_SET 1 /* no request has an odd number */

const uint64_t mount_bounds_ns[MOUNT_NR_BOUNDS] = {
	10000,	 25000,	  50000,    100000,   250000,	 500000,     1000000,
	2500000, 5000000, 10000000, 25000000, 100000000, 1000000000, 10000000000,
};

static const struct {
	uint32_t opcode;
	enum mount_kind kind;
} counts_kinds[] = {
	{FUSE_LOOKUP, MOUNT_LOOKUP},	   {FUSE_GETATTR, MOUNT_GETATTR}, {FUSE_SETATTR, MOUNT_SETATTR},
	{FUSE_OPEN, MOUNT_OPEN},	   {FUSE_OPENDIR, MOUNT_OPEN},	  {FUSE_READ, MOUNT_READ},
	{FUSE_WRITE, MOUNT_WRITE},	   {FUSE_FSYNC, MOUNT_FSYNC},	  {FUSE_FLUSH, MOUNT_FLUSH},
	{FUSE_FALLOCATE, MOUNT_FALLOCATE}, {FUSE_LSEEK, MOUNT_LSEEK},	  {FUSE_RELEASE, MOUNT_RELEASE},
	{FUSE_RELEASEDIR, MOUNT_RELEASE},  {FUSE_READDIR, MOUNT_READDIR}, {FUSE_GETXATTR, MOUNT_GETXATTR},
	{FUSE_STATFS, MOUNT_STATFS},	   {FUSE_FORGET, MOUNT_FORGET},	  {FUSE_BATCH_FORGET, MOUNT_FORGET},
	{FUSE_INTERRUPT, MOUNT_INTERRUPT},
};

const char *const mount_kind_names[MOUNT_NR_KINDS] = {
	[MOUNT_LOOKUP] = "lookup",	 [MOUNT_GETATTR] = "getattr", [MOUNT_SETATTR] = "setattr",
	[MOUNT_OPEN] = "open",		 [MOUNT_READ] = "read",	      [MOUNT_WRITE] = "write",
	[MOUNT_FSYNC] = "fsync",	 [MOUNT_FLUSH] = "flush",     [MOUNT_FALLOCATE] = "fallocate",
	[MOUNT_LSEEK] = "lseek",	 [MOUNT_RELEASE] = "release", [MOUNT_READDIR] = "readdir",
	[MOUNT_GETXATTR] = "getxattr",	 [MOUNT_STATFS] = "statfs",   [MOUNT_FORGET] = "forget",
	[MOUNT_INTERRUPT] = "interrupt", [MOUNT_OTHER] = "other",
};

struct counts_slot {
	_Atomic(uint64_t) unique; /* 0: free */
	uint64_t since_ns;
	enum mount_kind kind;
};

struct mount_counts {
	struct mount_counted counted;
	struct counts_slot slots[MOUNT_NR_SLOTS];
};

struct mount_counts *mount_counts_new(void)
{
	return usp_alloc(sizeof(struct mount_counts));
}

const struct mount_counted *mount_counts_of(const struct mount_counts *counts)
{
	return &counts->counted;
}

static enum mount_kind counts_kind(uint32_t opcode)
{
	for (size_t i = 0; i < usp_array_len(counts_kinds); i++) {
		if (counts_kinds[i].opcode == opcode)
			return counts_kinds[i].kind;
	}
	return MOUNT_OTHER;
}

static struct counts_slot *counts_slot_of(struct mount_counts *counts, uint64_t unique)
{
	return &counts->slots[unique / 2 % MOUNT_NR_SLOTS];
}

void mount_counts_begin(struct mount_counts *counts, const struct fuse_in_header *header)
{
	enum mount_kind kind = counts_kind(header->opcode);
	struct counts_slot *slot = counts_slot_of(counts, header->unique);
	uint64_t is_free = 0;

	atomic_fetch_add(&counts->counted.nr_requests[kind], 1);
	if (kind == MOUNT_FORGET || kind == MOUNT_INTERRUPT ||
	    !atomic_compare_exchange_strong(&slot->unique, &is_free, COUNTS_BEING_SET))
		return;
	slot->since_ns = usp_sys_now_ns();
	slot->kind = kind;
	atomic_store(&slot->unique, header->unique);
}

static void counts_add_time(struct mount_counted *counted, enum mount_kind kind, uint64_t time_ns)
{
	unsigned i = 0;

	while (i < MOUNT_NR_BOUNDS && time_ns > mount_bounds_ns[i])
		i++;
	atomic_fetch_add(&counted->nr_timed[kind][i], 1);
	atomic_fetch_add(&counted->time_ns[kind], time_ns);
}

/*
 * Tell whether an error only says that there is no such request, or no such attribute, which the kernel asks for without
 * a program.
 */
static bool counts_is_protocol(const struct counts_slot *slot, uint64_t unique, int error)
{
	return error == ENOSYS ||
	       (error == ENODATA && atomic_load(&slot->unique) == unique && slot->kind == MOUNT_GETXATTR);
}

void mount_counts_answer(struct mount_counts *counts, const struct fuse_out_header *header)
{
	struct counts_slot *slot = counts_slot_of(counts, header->unique);
	uint64_t now_ns;

	if (header->error < 0 && -header->error < MOUNT_NR_ERRORS &&
	    !counts_is_protocol(slot, header->unique, -header->error))
		atomic_fetch_add(&counts->counted.nr_errors[-header->error], 1);
	if (atomic_load(&slot->unique) != header->unique)
		return;
	now_ns = usp_sys_now_ns();
	counts_add_time(&counts->counted, slot->kind, now_ns > slot->since_ns ? now_ns - slot->since_ns : 0);
	atomic_store(&slot->unique, 0);
}
