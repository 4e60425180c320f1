/* SPDX-License-Identifier: MIT */
/* level - how full a buffer is, and which of its two ends may go on. */
#include "splice/level.h"

#include "base/compiler.h"

/* Return a share of the capacity, which may be more than 2^64 / 100. */
static uint64_t level_share(uint64_t capacity, unsigned percent)
{
	return capacity / 100 * percent + capacity % 100 * percent / 100;
}

static void level_set_capacity(struct usp_level *level, uint64_t capacity)
{
	level->capacity = capacity;
	level->start = level_share(capacity, level->marks.start);
	level->low = level_share(capacity, level->marks.low);
	level->refill = level_share(capacity, level->marks.refill);
}

void usp_level_init(struct usp_level *level, uint64_t capacity, const struct usp_level_marks *marks)
{
	*level = (struct usp_level){.marks = *marks, .is_giving = !marks->start, .is_taking = true};
	level_set_capacity(level, capacity);
}

void usp_level_add(struct usp_level *level, uint64_t len)
{
	level->bytes += len;
	level->most = usp_max(level->most, usp_min(level->bytes, level->capacity));
	if (level->bytes >= level->start)
		level->is_giving = true;
}

void usp_level_remove(struct usp_level *level, uint64_t len)
{
	level->bytes -= len;
	if (len && level->bytes <= level->refill)
		level->is_taking = true;
	if (!len || level->has_ended || level->bytes > level->low)
		return;
	if (level->start)
		level->nr_empty += level->is_giving;
	else
		level->nr_empty += !level->bytes;
	level->is_giving = !level->start;
	level->is_taking = true; /* else both would wait for the other */
}

void usp_level_fill_up(struct usp_level *level)
{
	level->nr_full += level->is_taking;
	level->is_taking = false;
	level->is_giving = true;
}

void usp_level_end(struct usp_level *level)
{
	level->has_ended = true;
	level->is_giving = true;
}

void usp_level_shrink(struct usp_level *level, uint64_t capacity)
{
	level_set_capacity(level, capacity);
	level->most = usp_min(level->most, capacity);
	level->is_giving |= level->bytes >= level->start;
}
