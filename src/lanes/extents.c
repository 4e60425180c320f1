/* SPDX-License-Identifier: MIT */
/*
 * extents - compare what FIEMAP says of two ranges.
 *
 * A range that was copied has a block of its own, or none yet. Only a copy over blocks that were shared before
 * looks like these until it is written out.
 */
#include "lanes/extents.h"

#include <linux/fiemap.h>
#include <stddef.h>

#include "base/sys.h"

#define EXTENTS_NR 64

static uint64_t extents_less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A walk along the extents of a file, from one offset on. */
struct extents_walk {
	int fd, error;
	uint64_t off, end;
	unsigned next, nr;
	bool is_last, is_synced;
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + EXTENTS_NR * sizeof(struct fiemap_extent)];
	} at;
};

/* Ask for the extents from walk->off on. */
static void extents_fill(struct extents_walk *walk)
{
	int nr = usp_sys_extents(walk->fd, (int64_t)walk->off, walk->end - walk->off, walk->is_synced, EXTENTS_NR,
				 &walk->at.map);

	walk->error = nr < 0 ? nr : 0;
	walk->next = 0;
	walk->nr = nr < 0 ? 0 : (unsigned)nr;
	walk->is_last = walk->nr < EXTENTS_NR;
}

/* The bytes from walk->off on: those of one extent, or of a hole. */
struct extents_run {
	const struct fiemap_extent *extent; /* NULL: a hole */
	uint64_t len;
};

static struct extents_run extents_at(struct extents_walk *walk)
{
	const struct fiemap_extent *extent = walk->at.map.fm_extents;
	uint64_t left = walk->end - walk->off;

	if (walk->next == walk->nr && !walk->is_last)
		extents_fill(walk);
	while (walk->next < walk->nr && extent[walk->next].fe_logical + extent[walk->next].fe_length <= walk->off)
		walk->next++;
	if (walk->next == walk->nr)
		return (struct extents_run){.len = walk->is_last ? left : 0};
	extent += walk->next;
	if (extent->fe_logical > walk->off)
		return (struct extents_run){.len = extents_less(left, extent->fe_logical - walk->off)};
	return (struct extents_run){.extent = extent,
				    .len = extents_less(left, extent->fe_logical + extent->fe_length - walk->off)};
}

static void extents_begin(struct extents_walk *walk, int fd, int64_t off, uint64_t len, bool is_synced)
{
	walk->is_synced = is_synced;
	walk->fd = fd;
	walk->off = (uint64_t)off;
	walk->end = walk->off + len;
	extents_fill(walk);
}

enum extents_relation { EXTENTS_SHARED, EXTENTS_OWN, EXTENTS_UNKNOWN };

/* Compare the same bytes of two files. Two holes are nothing that could have been copied. */
static enum extents_relation extents_relate(const struct fiemap_extent *in, uint64_t off_in,
					    const struct fiemap_extent *out, uint64_t off_out)
{
	const unsigned nowhere = FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE;

	if (in && in->fe_flags & FIEMAP_EXTENT_UNWRITTEN)
		in = NULL; /* preallocated: nothing was written there */
	if (!in || !out)
		return in == out ? EXTENTS_SHARED : EXTENTS_OWN;
	if ((in->fe_flags | out->fe_flags) & nowhere)
		return EXTENTS_OWN;
	if ((in->fe_flags | out->fe_flags) & FIEMAP_EXTENT_UNKNOWN)
		return EXTENTS_UNKNOWN;
	if ((in->fe_flags | out->fe_flags) & FIEMAP_EXTENT_ENCODED) /* compressed: only its beginning has a place */
		return in->fe_physical == out->fe_physical ? EXTENTS_SHARED : EXTENTS_OWN;
	return in->fe_physical + (off_in - in->fe_logical) == out->fe_physical + (off_out - out->fe_logical)
		       ? EXTENTS_SHARED
		       : EXTENTS_OWN;
}

int usp_extents_compare(int in, int64_t off_in, int out, int64_t off_out, uint64_t len, bool is_synced,
			struct usp_extents *ret_extents)
{
	uint64_t sums[] = {0, 0, 0};
	struct extents_walk from, to;

	extents_begin(&from, in, off_in, len, is_synced);
	extents_begin(&to, out, off_out, len, is_synced);
	while (from.error == 0 && to.error == 0 && from.off < from.end) {
		struct extents_run of_in = extents_at(&from), of_out = extents_at(&to);
		uint64_t run = extents_less(of_in.len, of_out.len);

		sums[extents_relate(of_in.extent, from.off, of_out.extent, to.off)] += run;
		from.off += run;
		to.off += run;
	}
	if (from.error < 0 || to.error < 0)
		return from.error < 0 ? from.error : to.error;
	*ret_extents = (struct usp_extents){
		.shared = sums[EXTENTS_SHARED], .own = sums[EXTENTS_OWN], .unknown = sums[EXTENTS_UNKNOWN]};
	return 0;
}

/* Only a file that is a single small extent is stored so. */
bool usp_extents_has_inline(int fd)
{
	struct extents_walk walk;

	extents_begin(&walk, fd, 0, INT64_MAX, true);
	return walk.nr && walk.at.map.fm_extents[0].fe_flags & FIEMAP_EXTENT_DATA_INLINE;
}
