/* SPDX-License-Identifier: MIT */
/*
 * rw - requests about sources that can be written.
 *
 * All of them may wait for a disk, and go through mount_work_do. A write that succeeds in part gives its count, and the
 * next one the error. Only what the kernel writes of its own, for memory that is mapped, has no caller that would ask for
 * the rest: there a part is an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "mount/inside.h"

static struct mount_open *rw_open_of(const struct fuse_file_info *info)
{
	return (struct mount_open *)(uintptr_t)info->fh;
}

/* Make what a request about an open source is to do. */
static struct mount_work rw_work(fuse_req_t req, struct mount_open *open, void (*run)(struct mount_work *work))
{
	return (struct mount_work){.wait.req = req, .run = run, .node = open->node, .open = open};
}

/* Do it if the program may write; else answer with an error, or 0. */
static void rw_do_if_writable(struct mount_work *work, int otherwise)
{
	if (work->open->can_write)
		mount_work_do(work->node->mount, work);
	else
		fuse_reply_err(work->wait.req, otherwise);
}

/* Without sources that are written the kernel need not ask: it does no more after ENOSYS. */
static int rw_nothing_to_do(const struct mount_open *open)
{
	return open->node->mount->params.flags & USP_MOUNT_WRITE ? 0 : ENOSYS;
}

/* Answer with an error, or that it is done. */
static void rw_reply(const struct mount_work *work, int ret)
{
	if (ret < 0)
		atomic_fetch_add(&work->node->nr_errors, 1);
	fuse_reply_err(work->wait.req, -ret);
}

static bool rw_is_transient(ssize_t ret)
{
	return ret == -EINTR || ret == -EAGAIN;
}

/* --- Reading ---------------------------------------------------------------------------------------------- */

/* Read all that is there: bytes, and in *ret_error what is wrong with the next one. */
static size_t rw_read_all(struct mount_work *work, unsigned char *base, int *ret_error)
{
	size_t done = 0;
	ssize_t ret;

	do {
		ret = usp_pread(work->node->file, base + done, work->len - done, work->pos + (int64_t)done);
		done += ret > 0 ? (size_t)ret : 0;
	} while (done < work->len && (ret > 0 || rw_is_transient(ret)));
	*ret_error = ret < 0 ? (int)ret : 0;
	return done;
}

/*
 * The kernel takes a short reply for the end of the file: with an error behind the first bytes all fail, and it asks again
 * page by page. Without its cache the good bytes go first.
 */
static void rw_read_run(struct mount_work *work)
{
	struct mount_node *node = work->node;
	struct usp_folio *folio;
	size_t room = USP_PAGE, done;
	int error;

	while (room < work->len)
		room *= 2;
	folio = usp_folio_new(room);
	if (!folio) {
		rw_reply(work, -ENOMEM);
		return;
	}
	done = rw_read_all(work, folio->base, &error);
	atomic_fetch_add(&node->nr_reads, 1);
	if (error && !(done > 0 && node->mount->params.flags & USP_MOUNT_DIRECT)) {
		rw_reply(work, error);
	} else {
		usp_file_account(node->file, USP_READ, USP_COPIED, done, "read for a reply to the kernel");
		atomic_fetch_add(&node->copied, done);
		fuse_reply_buf(work->wait.req, (const char *)folio->base, done);
	}
	usp_folio_put(folio);
}

void mount_rw_read(fuse_req_t req, struct mount_open *open, int64_t pos, size_t len)
{
	struct mount_work work = rw_work(req, open, rw_read_run);

	work.pos = pos;
	work.len = usp_min(len, MOUNT_READ_BYTES);
	mount_work_do(open->node->mount, &work);
}

/* --- Writing ---------------------------------------------------------------------------------------------- */

/* Write all that the source takes: bytes, and the error of the next one. */
static size_t rw_write_all(struct mount_work *work, bool is_append, int64_t *ret_pos, int *ret_error)
{
	size_t done = 0;
	int64_t at;
	ssize_t ret;

	*ret_pos = work->pos;
	do {
		ret = mount_write_bytes(work->node, (const char *)work->bytes + done, work->len - done,
					work->pos + (int64_t)done, is_append, &at);
		done += ret > 0 ? (size_t)ret : 0;
		if (at < 0)
			*ret_pos = -1;
	} while (done < work->len && (ret > 0 || rw_is_transient(ret)));
	*ret_error = ret < 0 ? (int)ret : ret == 0 && done < work->len ? -EIO : 0;
	return done;
}

static void rw_write_run(struct mount_work *work)
{
	struct mount_node *node = work->node;
	bool is_append = work->flags & O_APPEND && !work->is_page;
	int error = 0;
	int64_t pos;
	size_t done = rw_write_all(work, is_append, &pos, &error);

	atomic_fetch_add(&node->nr_writes, 1);
	atomic_fetch_add(&node->written, done);
	if (done > 0 && !work->is_page)
		error = 0; /* the next write meets it again */
	if (!error && work->flags & O_DSYNC)
		error = mount_write_sync(node, work->open);
	if (error)
		rw_reply(work, error);
	else
		fuse_reply_write(work->wait.req, done);
	if (pos < 0) /* the kernel has it in its cache where the end was for all that it knew */
		mount_forget(node, work->pos);
}

void mount_rw_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t len, off_t pos,
		    struct fuse_file_info *info)
{
	struct mount_work work = rw_work(req, rw_open_of(info), rw_write_run);

	(void)ino;
	work.pos = pos;
	work.len = len;
	work.flags = info->flags;
	work.is_page = info->writepage;
	work.bytes = bytes;
	rw_do_if_writable(&work, EBADF);
}

/* --- To the disk ------------------------------------------------------------------------------------------- */

static void rw_sync_run(struct mount_work *work)
{
	rw_reply(work, mount_write_sync(work->node, work->open));
}

/* A program that may not write can sync what others have written. */
void mount_rw_sync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *info)
{
	struct mount_open *open = rw_open_of(info);
	struct mount_work work = rw_work(req, open, rw_sync_run);

	(void)ino;
	(void)data_only;
	if (open->node->can_write)
		mount_work_do(open->node->mount, &work);
	else
		fuse_reply_err(req, rw_nothing_to_do(open));
}

static void rw_flush_run(struct mount_work *work)
{
	rw_reply(work, mount_write_flush(work->node));
}

void mount_rw_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct mount_work work = rw_work(req, rw_open_of(info), rw_flush_run);

	(void)ino;
	rw_do_if_writable(&work, rw_nothing_to_do(work.open));
}

/* --- Room -------------------------------------------------------------------------------------------------- */

/* Tell the room of a source that is open, and can be written: false without it. */
static bool rw_space_of(struct mount_node *node, struct statvfs *ret_stat)
{
	bool is_open, is_told;

	pthread_mutex_lock(&node->mount->lock);
	is_open = node->way > USP_MOUNT_FAILED && node->can_write;
	if (is_open)
		mount_idle_hold(node);
	pthread_mutex_unlock(&node->mount->lock);
	if (!is_open)
		return false;
	is_told = mount_write_space(node, ret_stat) == 0;
	mount_idle_release(node);
	return is_told;
}

/* Find the file system with the least room among those of the sources that are open: false without one. */
static bool rw_least_space(struct usp_mount *mount, struct statvfs *ret_stat)
{
	bool has_one = false;

	for (unsigned i = 0; i < mount->nr_nodes; i++) {
		struct mount_node *node = mount->nodes[i];
		struct statvfs st;

		if (!rw_space_of(node, &st))
			continue;
		if (!has_one || (uint64_t)st.f_bavail * st.f_frsize < (uint64_t)ret_stat->f_bavail * ret_stat->f_frsize)
			*ret_stat = st;
		has_one = true;
	}
	return has_one;
}

static void rw_space_run(struct mount_work *work)
{
	struct usp_mount *mount = fuse_req_userdata(work->wait.req);
	struct statvfs st = {.f_bsize = USP_PAGE, .f_frsize = USP_PAGE};

	if (!work->node || !rw_space_of(work->node, &st))
		rw_least_space(mount, &st);
	st.f_files = mount->nr_nodes; /* and nobody can make one */
	st.f_ffree = st.f_favail = 0;
	st.f_namemax = NAME_MAX;
	fuse_reply_statfs(work->wait.req, &st);
}

void mount_rw_space(fuse_req_t req, struct usp_mount *mount, struct mount_node *node)
{
	struct mount_work work = {.wait.req = req, .run = rw_space_run, .node = node};

	mount_work_do(mount, &work);
}

/* --- Sizes and times --------------------------------------------------------------------------------------- */

static void rw_allocate_run(struct mount_work *work)
{
	rw_reply(work, mount_write_allocate(work->node, work->flags, work->pos, work->st.st_size));
}

void mount_rw_allocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *info)
{
	struct mount_work work = rw_work(req, rw_open_of(info), rw_allocate_run);

	(void)ino;
	work.pos = off;
	work.flags = mode;
	work.st.st_size = len;
	rw_do_if_writable(&work, EBADF);
}

/* Refuse what a source cannot do: another owner, another mode. What it is already is allowed. */
static int rw_check_owner(const struct stat *is, const struct stat *st, int what)
{
	if ((what & FUSE_SET_ATTR_UID && st->st_uid != is->st_uid) ||
	    (what & FUSE_SET_ATTR_GID && st->st_gid != is->st_gid) ||
	    (what & FUSE_SET_ATTR_MODE && (st->st_mode & 07777) != (is->st_mode & 07777)))
		return -EPERM;
	return 0;
}

static struct timespec rw_time(const struct timespec *time, int what, int sets, int sets_now)
{
	if (what & sets_now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return what & sets ? *time : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int rw_set_times(struct mount_node *node, const struct stat *st, int what)
{
	const struct timespec times[2] = {
		rw_time(&st->st_atim, what, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW),
		rw_time(&st->st_mtim, what, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW),
	};

	if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
		return 0;
	return mount_write_set_times(node, times);
}

static void rw_set_run(struct mount_work *work)
{
	struct mount_node *node = work->node;
	struct stat st;
	int ret = mount_node_stat(node, &st);

	if (ret == 0)
		ret = rw_check_owner(&st, &work->st, work->flags);
	if (ret == 0 && work->flags & FUSE_SET_ATTR_SIZE)
		ret = mount_write_truncate(node, work->st.st_size);
	if (ret == 0)
		ret = rw_set_times(node, &work->st, work->flags);
	if (ret == 0)
		ret = mount_node_stat(node, &st);
	if (ret < 0)
		rw_reply(work, ret);
	else
		fuse_reply_attr(work->wait.req, &st, MOUNT_SHORTLY_S);
}

void mount_rw_set(const struct mount_ask *ask)
{
	struct mount_work work = {.wait.req = ask->req,
				  .run = rw_set_run,
				  .node = ask->node,
				  .holds_node = true,
				  .st = ask->st,
				  .flags = ask->what};

	pthread_mutex_lock(&ask->node->mount->lock);
	mount_idle_hold(ask->node);
	pthread_mutex_unlock(&ask->node->mount->lock);
	mount_work_do(ask->node->mount, &work);
}
