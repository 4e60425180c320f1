/* SPDX-License-Identifier: MIT */
/*
 * kpool - kernel pipes that wait for the next buf, because making and widening one costs 8 us.
 *
 * The kernel limits the pipe pages per user: past pipe-user-pages-soft a new pipe has two pages, and
 * widening it gives EPERM. Then use the small pipe, and ask for less from then on: the size halves, and
 * doubles again after successes.
 *
 * The idle kernel pipes belong to one process. A child has the same descriptors, so its first call
 * that takes the lock closes them, if they still are the same pipes: the child may have closed them,
 * and opened other files under their numbers. Other threads of the parent may go on while it forks. So
 * an entry is written before is_here is set, and is_here is cleared before the entry is taken. An
 * entry stands in one page, because memory is copied to a child page by page.
 */
#include "lanes/kpool.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "mm/folio.h"

#define KPOOL_BYTES_WANTED ((size_t)1 << 20) /* pipe-max-size of an unprivileged user; see docs/lanes.md */
#define KPOOL_BYTES_LEAST ((size_t)64 << 10) /* widening to less is not worth the call */
#define KPOOL_IDLE_MAX 16
#define KPOOL_GROW_AFTER 64 /* successes before a larger size is tried again */

struct kpool_idle {
	_Alignas(64) struct usp_kpipe_ends ends;
	atomic_bool is_here;
};

static struct {
	struct usp_own_lock lock;
	struct kpool_idle idle[KPOOL_IDLE_MAX]; /* a stack */
	unsigned nr_idle;
	size_t bytes_wanted; /* adapts to the budget */
	unsigned nr_granted; /* since the last refusal */
	int null_fd;
	size_t nr_used;
	uint64_t nr_destroyed;
} pool;

static void ends_close(const struct usp_kpipe_ends *ends)
{
	usp_sys_close(ends->rd);
	usp_sys_close(ends->wr);
}

static void ends_close_one_inherited(const struct usp_kpipe_ends *ends, int fd)
{
	struct stat st;

	if (ends->ino && usp_sys_fstat(fd, &st) == 0 && st.st_dev == ends->dev && st.st_ino == ends->ino)
		usp_sys_close(fd);
}

void usp_kpool_close_inherited(const struct usp_kpipe_ends *ends)
{
	ends_close_one_inherited(ends, ends->rd);
	ends_close_one_inherited(ends, ends->wr);
}

/* Empty the pool for a new process. The parent's /dev/null stays open: its number may name another file by now. */
static void pool_begin(void)
{
	for (unsigned i = 0; i < KPOOL_IDLE_MAX; i++) {
		if (atomic_exchange(&pool.idle[i].is_here, false))
			usp_kpool_close_inherited(&pool.idle[i].ends);
	}
	pool.nr_idle = 0;
	pool.bytes_wanted = KPOOL_BYTES_WANTED;
	pool.nr_granted = 0;
	pool.null_fd = -1;
	pool.nr_used = 0;
	pool.nr_destroyed = 0;
}

static void pool_lock(void)
{
	if (usp_own_lock(&pool.lock))
		pool_begin();
}

static void pool_unlock(void)
{
	usp_own_unlock(&pool.lock);
}

/* Take an idle kernel pipe out of the pool. Lock held. */
static bool pool_pop(struct usp_kpipe_ends *ret_ends)
{
	if (!pool.nr_idle)
		return false;
	atomic_store(&pool.idle[--pool.nr_idle].is_here, false);
	*ret_ends = pool.idle[pool.nr_idle].ends;
	return true;
}

static void pool_push(const struct usp_kpipe_ends *ends)
{
	pool.idle[pool.nr_idle].ends = *ends;
	atomic_store(&pool.idle[pool.nr_idle++].is_here, true);
}

/* Return the size to ask for in the next pipe. pool_learn gets the outcome. */
static size_t pool_bytes_wanted(void)
{
	size_t wanted;

	pool_lock();
	wanted = pool.bytes_wanted;
	pool_unlock();
	return wanted;
}

static void pool_learn(bool was_granted)
{
	pool_lock();
	if (!was_granted) {
		pool.bytes_wanted = usp_max(pool.bytes_wanted / 2, KPOOL_BYTES_LEAST);
		pool.nr_granted = 0;
	} else if (++pool.nr_granted >= KPOOL_GROW_AFTER && pool.bytes_wanted < KPOOL_BYTES_WANTED) {
		pool.bytes_wanted *= 2;
		pool.nr_granted = 0;
	}
	pool_unlock();
}

/* Widen as far as the budget allows: halve the size until it is granted, or below KPOOL_BYTES_LEAST. */
static size_t ends_widen(int fd)
{
	int size;

	for (size_t wanted = pool_bytes_wanted(); wanted >= KPOOL_BYTES_LEAST; wanted /= 2) {
		size = usp_sys_set_pipe_size(fd, wanted);
		pool_learn(size > 0);
		if (size > 0)
			return (size_t)size;
	}
	size = usp_sys_get_pipe_size(fd);
	return size > 0 ? (size_t)size : USP_PAGE; /* the least that a pipe holds, even past the budget */
}

static int ends_open(struct usp_kpipe_ends *ret_ends)
{
	struct stat st;
	int fds[2], ret = usp_sys_pipe(fds, O_NONBLOCK);

	if (ret < 0)
		return ret;
	*ret_ends = (struct usp_kpipe_ends){.rd = fds[0], .wr = fds[1], .capacity = ends_widen(fds[1])};
	if (usp_sys_fstat(fds[0], &st) == 0) {
		ret_ends->dev = st.st_dev;
		ret_ends->ino = st.st_ino;
	}
	return 0;
}

int usp_kpool_take(struct usp_kpipe_ends *ret_ends)
{
	bool is_pooled;
	int ret = 0;

	pool_lock();
	is_pooled = pool_pop(ret_ends);
	pool.nr_used++;
	pool_unlock();
	if (!is_pooled)
		ret = ends_open(ret_ends);
	if (ret < 0) {
		pool_lock();
		pool.nr_used--;
		pool_unlock();
	}
	return ret;
}

void usp_kpool_give(const struct usp_kpipe_ends *ends, bool is_drained)
{
	bool is_kept;

	pool_lock();
	pool.nr_used--;
	is_kept = is_drained && pool.nr_idle < KPOOL_IDLE_MAX;
	if (is_kept)
		pool_push(ends);
	else if (!is_drained)
		pool.nr_destroyed++;
	pool_unlock();
	if (!is_kept)
		ends_close(ends);
}

ssize_t usp_kpool_drop(const struct usp_kpipe_ends *ends, size_t len)
{
	ssize_t ret;

	pool_lock();
	if (pool.null_fd < 0)
		pool.null_fd = usp_sys_open("/dev/null", O_WRONLY, 0);
	ret = pool.null_fd < 0 ? pool.null_fd
			       : usp_sys_splice(ends->rd, NULL, pool.null_fd, NULL, len, USP_SPLICE_NONBLOCK);
	pool_unlock();
	return ret;
}

void usp_kpool_usage(size_t *ret_nr_used, size_t *ret_nr_idle, uint64_t *ret_nr_destroyed)
{
	pool_lock();
	*ret_nr_used = pool.nr_used;
	*ret_nr_idle = pool.nr_idle;
	*ret_nr_destroyed = pool.nr_destroyed;
	pool_unlock();
}

void usp_kpool_trim(void)
{
	struct usp_kpipe_ends ends;

	pool_lock();
	while (pool_pop(&ends))
		ends_close(&ends);
	if (pool.null_fd >= 0)
		usp_sys_close(pool.null_fd);
	pool.null_fd = -1;
	pool_unlock();
}
