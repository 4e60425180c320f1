/* SPDX-License-Identifier: MIT */
/* range - a pump whose bytes go from file to file inside the kernel, without a pipe. */
#include <errno.h>
#include <limits.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/copy_range.h"
#include "lanes/extents.h"
#include "lanes/plan.h"
#include "pump/inside.h"
#include "splice/fd.h"
#include "splice/file.h"
#include "splice/hole.h"

#define RANGE_BYTES ((size_t)16 << 20) /* see bench/README.md */

bool usp_range_is_possible(const struct usp_pump *pump)
{
	return pump->nr_sinks == 1 && pump->params.sparse != USP_SPARSE_NEVER && usp_pump_source_lane(pump) &&
	       usp_plan_sink_lane(&pump->plan, 0) && usp_copy_range_is_possible(pump->source, pump->sinks[0].file);
}

/* Count bytes that went, if they did, and by which way since before. */
static void range_count(struct usp_pump *pump, ssize_t len, const struct usp_hop *before)
{
	struct usp_hop after = {.size = sizeof(after)};

	usp_pump_count(pump, len);
	if (len <= 0)
		return;
	atomic_fetch_add(&pump->sinks[0].bytes, (uint64_t)len);
	usp_drop_sink(&pump->sinks[0]);
	usp_file_hop(pump->source, USP_READ, &after);
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		atomic_fetch_add(&pump->range[way], after.bytes[way] - before->bytes[way]);
	atomic_fetch_add(&pump->range_holes, after.holes - before->holes);
}

bool usp_range_clone(struct usp_pump *pump)
{
	bool is_counted = pump->params.flags & USP_PUMP_COUNT;
	uint64_t len = is_counted ? (uint64_t)pump->params.count - atomic_load(&pump->bytes) : UINT64_MAX;
	struct usp_hop before = {.size = sizeof(before)};
	ssize_t ret;

	if (pump->params.flags & USP_PUMP_REQUIRE_ZERO_COPY && usp_extents_has_inline(pump->source->fd))
		return false;
	usp_file_hop(pump->source, USP_READ, &before);
	ret = usp_clone_range(pump->source, pump->sinks[0].file, len, pump->plan.may_probe);
	range_count(pump, ret, &before);
	pump->has_no_clones = ret == -EOPNOTSUPP;
	return ret > 0;
}

/* Tell whether the kernel has copied or shared bytes of the range that is copied now. */
static bool range_has_copied(const struct usp_pump *pump)
{
	return atomic_load(&pump->bytes) - atomic_load(&pump->range_holes) != pump->range_begun;
}

/* Return how many bytes to ask for: a hole takes no time, however long it is. */
static size_t range_bytes(const struct usp_pump *pump)
{
	struct usp_file *source = pump->source;
	size_t len = SSIZE_MAX;

	return usp_hole_is_next(source, &source->pos, &len) ? len : RANGE_BYTES;
}

/*
 * Note the error of copy_file_range, which does not say which side failed. Try to read the source
 * there: if that fails, too, it was the source.
 */
static void range_failed(struct usp_pump *pump, int error)
{
	struct usp_file *source = pump->source;

	if (error != -ECANCELED && usp_fd_peek(source, &source->pos) < 0)
		atomic_store(&pump->source_error, error);
	else
		atomic_store(&pump->sinks[0].error, error);
}

/*
 * Tell whether the flow must take over: the kernel does not begin, the sink takes no hole, or the file
 * goes on after an st_size that is too small.
 */
static bool range_gives_up(const struct usp_pump *pump, ssize_t ret)
{
	return ret <= 0 && (!range_has_copied(pump) || ret == -EOPNOTSUPP ||
			    (ret == 0 && usp_fd_peek(pump->source, &pump->source->pos) != 0));
}

/* Tell whether the file that the source shows now is a regular one without a byte. */
static bool range_is_empty(const struct usp_pump *pump)
{
	const struct usp_file *source = pump->source;
	struct stat st;

	return source->fd >= 0 && !(source->traits & USP_FILE_SHARED) && usp_sys_fstat(source->fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && usp_fd_peek(source, &source->pos) == 0;
}

/*
 * Show the next file of a sequence that is not empty: 1, 0 at the end, or -errno. *ret_is_range tells whether the kernel
 * can copy it from file to file.
 */
static int range_next(struct usp_pump *pump, bool *ret_is_range)
{
	int ret;

	*ret_is_range = false;
	do {
		ret = usp_file_next(pump->source);
		*ret_is_range = ret > 0 && usp_range_is_possible(pump);
	} while (ret > 0 && !*ret_is_range && range_is_empty(pump));
	return ret;
}

int usp_range_skip_empty(struct usp_pump *pump)
{
	bool is_range;
	int ret = USP_FILE_HOOK(pump->source, next) && range_is_empty(pump) ? range_next(pump, &is_range) : 0;

	return ret < 0 ? ret : 0;
}

/*
 * Go on behind the end of a file: with the next one of a sequence, as the kernel can carry it, or to the
 * end of the run. What follows a range that was cloned is found by the copy, which sees its end.
 */
static void range_go_on(struct usp_pump *pump)
{
	bool is_range;
	int ret = range_next(pump, &is_range);

	if (ret < 0)
		atomic_store(&pump->source_error, ret);
	pump->range_begun = atomic_load(&pump->bytes) - atomic_load(&pump->range_holes);
	pump->stage = ret <= 0 ? USP_PUMP_DONE : is_range ? USP_PUMP_RANGE : USP_PUMP_FLOW;
	if (pump->stage == USP_PUMP_RANGE && !pump->has_no_clones)
		usp_range_clone(pump);
}

/*
 * Copy up to len bytes, or make a hole where the source has one: bytes, 0 at the end, or -errno. -EOPNOTSUPP: the sink
 * takes no hole.
 */
static ssize_t range_copy(struct usp_pump *pump, size_t len)
{
	struct usp_file *source = pump->source, *sink = pump->sinks[0].file;
	ssize_t ret;

	if (!usp_hole_is_next(source, &source->pos, &len))
		return usp_copy_range(source, sink, usp_min(len, RANGE_BYTES), pump->plan.may_probe);
	ret = usp_hole_make(sink, &sink->pos, len);
	if (ret > 0) {
		source->pos += ret;
		usp_hole_account(source, USP_READ, (size_t)ret);
	}
	return ret;
}

/* Look at the time of the whole run. Whoever is to blame for it, it is told as an error of the source. */
static int range_check_time(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	int ret = usp_pump_check_time(pump, NULL, wait);

	if (ret != -ETIMEDOUT)
		return ret;
	atomic_store(&pump->source_error, ret);
	pump->stage = USP_PUMP_DONE;
	return 0;
}

/* Copy one piece: 0 when the range has ended, or -EAGAIN with *wait. */
static int range_step(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_hop before = {.size = sizeof(before)};
	ssize_t ret = atomic_load(&pump->is_stopped) ? -ECANCELED : usp_pump_allowance(pump, range_bytes(pump), wait);

	if (ret == -EAGAIN)
		return -EAGAIN;
	if (ret == 0) /* that is all that was asked for */
		pump->stage = USP_PUMP_DONE;
	if (ret > 0) {
		usp_file_hop(pump->source, USP_READ, &before);
		ret = range_copy(pump, (size_t)ret);
		if (range_gives_up(pump, ret)) {
			pump->stage = USP_PUMP_FLOW;
			return usp_pump_pause(wait, 0);
		}
		range_count(pump, ret, &before);
	}
	if (ret > 0 || ret == -EINTR)
		return usp_pump_pause(wait, 0);
	if (ret < 0)
		range_failed(pump, (int)ret);
	if (ret == 0 && pump->stage == USP_PUMP_RANGE)
		range_go_on(pump);
	else
		pump->stage = USP_PUMP_DONE;
	return pump->stage == USP_PUMP_DONE ? 0 : usp_pump_pause(wait, 0);
}

int usp_range_advance(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	int ret = range_step(pump, wait);

	return ret == -EAGAIN && pump->params.total_ns ? range_check_time(pump, wait) : ret;
}
