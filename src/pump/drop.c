/* SPDX-License-Identifier: MIT */
/*
 * drop - keep what a run copies from filling the page cache (USP_PUMP_DROP_CACHE).
 *
 *   source   ... dropped ......... |-- window --| position
 *   sink     ... dropped | written | being written | window | position
 *
 * Pages of the source that a kernel pipe refers to cannot leave the cache. So they leave one window late, and
 * at the end once more. Pages of a sink can leave when they are on the storage: the kernel begins to write a
 * window as soon as it is full, and its end is waited for some windows later. A sink that is slower than the
 * source so holds it back, and the cache has a few windows of it at most.
 */
#include <errno.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "pump/inside.h"
#include "splice/file.h"

#define DROP_WINDOW ((int64_t)8 << 20) /* a multiple of the largest folios, which leave only as a whole */
#define DROP_WRITTEN 4		       /* windows that may be on their way to the storage */
#define DROP_PAGE 4096
#define DROP_AHEAD ((int64_t)2 << 20) /* what was read ahead of the last byte */

/* --- One file -------------------------------------------------------------------------------------------- */

/* Return what was read from a file, or written to it, since it was opened: of holes, too. */
static int64_t drop_moved(const struct usp_file *file, unsigned side)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	uint64_t sum;

	usp_file_hop(file, side, &hop);
	sum = hop.holes;
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		sum += hop.bytes[way];
	return (int64_t)sum;
}

static int64_t drop_start(const struct usp_file *file, const struct stat *st)
{
	int64_t at;

	if (atomic_load(usp_u32(&((struct usp_file *)file)->flags)) & USP_APPEND)
		return st->st_size;
	at = file->traits & USP_FILE_SHARED ? usp_sys_lseek(file->fd, 0, SEEK_CUR) : file->pos;
	return at > 0 ? at : 0;
}

/* Look what has a page cache. Which files a sequence will show is not known. */
static void drop_init(struct usp_drop *drop, const struct usp_file *file, unsigned side)
{
	struct stat st;

	drop->cached = -1;
	if (file->fd < 0 || USP_FILE_HOOK(file, next) || usp_sys_fstat(file->fd, &st) < 0 ||
	    !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return;
	drop->is_on = true;
	drop->first = drop_start(file, &st);
	drop->moved = drop_moved(file, side);
	drop->start = drop->begun = drop->dropped = drop->first - drop->first % DROP_PAGE;
}

/* Round down to windows, which begin at multiples of their length. */
static int64_t drop_round(int64_t pos, int64_t nr_windows)
{
	return pos - pos % DROP_WINDOW - nr_windows * DROP_WINDOW;
}

/* Drop from where it was dropped last up to pos. */
static void drop_up_to(struct usp_drop *drop, const struct usp_file *file, int64_t pos)
{
	if (pos <= drop->dropped)
		return;
	usp_sys_drop_cache(file->fd, drop->dropped, (size_t)(pos - drop->dropped));
	drop->dropped = pos;
}

/* Tell whether an error of sync_file_range(2) is about the bytes, and not about the call. */
static bool drop_is_loss(int error)
{
	return error == -EIO || error == -ENOSPC || error == -EDQUOT;
}

/* Return what the cache still has of [start, end): bytes, or -1 if that is not known. */
static int64_t drop_count(const struct usp_drop *drop, const struct usp_file *file, int64_t end)
{
	int64_t len = end - drop->start, cached;

	cached = len > 0 ? usp_sys_cached_bytes(file->fd, drop->start, (uint64_t)len) : 0;
	return cached < 0 ? -1 : cached;
}

/* --- While bytes move ------------------------------------------------------------------------------------ */

void usp_drop_source(struct usp_pump *pump)
{
	const struct usp_file *file = pump->sources[0];
	struct usp_drop *drop = pump->drops;

	if (drop && drop->is_on)
		drop_up_to(drop, file, drop_round(drop->first + drop_moved(file, USP_READ) - drop->moved, 1));
}

void usp_drop_sink(struct usp_sink *sink)
{
	struct usp_pump *pump = sink->pump;
	struct usp_drop *drop = pump->drops ? &pump->drops[1 + (sink - pump->sinks)] : NULL;
	int64_t full, written;
	int ret;

	if (!drop || !drop->is_on)
		return;
	full = drop_round(drop->first + (int64_t)atomic_load(&sink->bytes), 0);
	if (full <= drop->begun)
		return;
	usp_sys_sync_range(sink->file->fd, drop->begun, (uint64_t)(full - drop->begun), false);
	drop->begun = full;
	written = drop_round(full, DROP_WRITTEN);
	if (written <= drop->dropped)
		return;
	ret = usp_sys_sync_range(sink->file->fd, drop->dropped, (uint64_t)(written - drop->dropped), true);
	if (drop_is_loss(ret)) { /* no later call tells it again */
		drop->error = ret;
		usp_file_progress(sink->file, USP_WRITE, 1, ret);
	}
	drop_up_to(drop, sink->file, written);
}

/* --- Begin and end --------------------------------------------------------------------------------------- */

int usp_drop_begin(struct usp_pump *pump)
{
	if (!(pump->params.flags & USP_PUMP_DROP_CACHE))
		return 0;
	if (!pump->drops)
		pump->drops = usp_alloc_array(pump->nr_sinks + 1, sizeof(pump->drops[0]));
	if (!pump->drops)
		return -ENOMEM;
	drop_init(&pump->drops[0], pump->sources[0], USP_READ);
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		drop_init(&pump->drops[i + 1], pump->sinks[i].file, USP_WRITE);
	return 0;
}

/* Drop all from the start to end again: what was in use may be free now. */
static void drop_all(struct usp_drop *drop, const struct usp_file *file, int64_t end, int64_t ahead)
{
	int64_t size = usp_file_size(file), last = end + ahead;

	/* Behind the end of the file is a part of a page, which leaves only if no end is named. */
	usp_sys_drop_cache(file->fd, drop->start, size >= 0 && last >= size ? 0 : (size_t)(last - drop->start));
	drop->cached = drop_count(drop, file, end);
}

static void drop_end_source(struct usp_pump *pump)
{
	const struct usp_file *file = pump->sources[0];
	struct usp_drop *drop = &pump->drops[0];
	int64_t end = drop->first + drop_moved(file, USP_READ) - drop->moved;

	if (!drop->is_on)
		return;
	if (pump->nr_sources > 1 && usp_file_size(file) > end)
		end = usp_file_size(file); /* a stage may have read here and there */
	drop_all(drop, file, end, DROP_AHEAD);
	if (drop->cached <= 0 || usp_sys_sync_range(file->fd, drop->start, (uint64_t)(end - drop->start), true) < 0)
		return;
	drop_all(drop, file, end, DROP_AHEAD); /* it was written just before the copy */
}

static void drop_end_sink(struct usp_drop *drop, struct usp_sink *sink)
{
	int64_t end = drop->first + (int64_t)atomic_load(&sink->bytes);
	int ret;

	if (!drop->is_on)
		return;
	drop->cached = 0;
	if (end == drop->first)
		return;
	ret = usp_sys_sync_range(sink->file->fd, drop->dropped, (uint64_t)(end - drop->dropped), true);
	if (ret < 0 && !drop_is_loss(ret))
		ret = usp_sys_fsync(sink->file->fd); /* a file system that cannot write ranges */
	if (drop_is_loss(ret))
		drop->error = ret;
	if (drop->error && !atomic_load(&sink->error))
		atomic_store(&sink->error, drop->error);
	drop_all(drop, sink->file, end, 0);
}

void usp_drop_end(struct usp_pump *pump)
{
	if (!pump->drops)
		return;
	for (unsigned i = 0; i < pump->nr_sinks; i++)
		drop_end_sink(&pump->drops[i + 1], &pump->sinks[i]);
	drop_end_source(pump); /* behind the sinks: pages that they wrote may have been those of the source */
}
