/* SPDX-License-Identifier: MIT */
/*
 * level - how full a buffer is, and which of its two ends may go on.
 *
 *   bytes
 *   capacity ─┬─────────── full: the source pauses until refill
 *             │  start ─── the sink begins
 *             │  low ───── the sink pauses until start
 *          0 ─┴─────────── empty
 *
 * Plain numbers: it neither waits nor locks.
 */
#ifndef USP_SPLICE_LEVEL_H
#define USP_SPLICE_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

/* Marks in percent of the capacity. */
struct usp_level_marks {
	unsigned start, low, refill;
};

struct usp_level {
	struct usp_level_marks marks;
	uint64_t capacity, start, low, refill; /* bytes */
	uint64_t bytes, most;		       /* now, and at most so far, up to the capacity */
	uint64_t nr_empty;		       /* times that it ran empty, or fell to low, before the end */
	uint64_t nr_full;		       /* times that nothing more fitted */
	bool is_giving;			       /* the sink may take what is there */
	bool is_taking;			       /* the source may give more */
	bool has_ended;			       /* nothing more comes */
};

/*
 * Begin, empty. start is above low, or 0: the sink never pauses. refill 100: the source goes on as soon as something
 * fits.
 */
void usp_level_init(struct usp_level *level, uint64_t capacity, const struct usp_level_marks *marks);

/* Note that bytes came from the source. */
void usp_level_add(struct usp_level *level, uint64_t len);

/* Note that the sink took bytes, of those that are there. */
void usp_level_remove(struct usp_level *level, uint64_t len);

/* Note that nothing more fits, whatever the capacity says: the sink may go on then. */
void usp_level_fill_up(struct usp_level *level);

/* Note that nothing more comes. */
void usp_level_end(struct usp_level *level);

/* Lower the capacity, because less fits than was said. The marks go with it. bytes may be above it until some are gone. */
void usp_level_shrink(struct usp_level *level, uint64_t capacity);

#endif
