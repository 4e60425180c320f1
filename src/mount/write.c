/* SPDX-License-Identifier: MIT */
/*
 * write - sources that are written at an offset: files, block devices, memory.
 *
 * Such a source has no page cache in this process: what one program writes the next read sees, and what others do to the
 * file, too. The kernel writes through its own cache, so that write(2) gets the error of the source.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/statvfs.h>

#include "base/atomic.h"
#include "base/memory.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "mount/inside.h"
#include "splice/filemap_source.h"

/* Tell why a file cannot be written at an offset, or NULL. */
static const char *write_objection(const struct usp_file *file)
{
	if (file->below || file->mapping)
		return "what is made of a source cannot be written, only the source itself";
	if (!(file->traits & USP_FILE_SEEKABLE) || !file->ops->write_iter || usp_file_size(file) < 0)
		return "only a file, a block device or memory can be written at an offset";
	if (file->traits & USP_FILE_SHARED)
		return "others share the offset of the descriptor, which a mount would not move";
	if (usp_file_flags(file) & USP_APPEND)
		return "it is opened to append, and cannot be written at an offset";
	if (usp_file_flags(file) & USP_DIRECT)
		return "with direct it can only be written in whole blocks";
	return file->fd >= 0 ? usp_filemap_objection(file) : NULL; /* a file of /proc has another size */
}

static void write_note(struct mount_node *node, const struct usp_file *file)
{
	struct stat st;

	node->st.st_mode |= 0200;
	if (file->fd >= 0 && usp_sys_fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode))
		node->fd = file->fd;
}

void mount_write_begin(struct mount_node *node)
{
	atomic_store(&node->was_changed, true);
	atomic_store(&node->is_dirty, true);
}

int mount_write_open(struct mount_node *node, struct usp_file *file, const char **ret_why)
{
	const char *why = write_objection(file);
	struct usp_mapping_state state;
	int ret = why ? -EOPNOTSUPP : usp_filemap_get_state(file, &state);

	if (ret < 0) {
		*ret_why = why;
		return ret;
	}
	if (!node->was_open) /* otherwise a change since then is still to be seen */
		node->seen = state;
	write_note(node, file);
	node->can_write = true;
	return 0;
}

/*
 * Take away the rights that a program gets from its file, as the kernel does before a write. It does not for a process
 * that has CAP_FSETID, although others have written.
 */
static int write_drop_privileges(const struct mount_node *node)
{
	struct stat st;
	unsigned drops = S_ISUID;
	int ret = node->fd >= 0 ? usp_sys_fstat(node->fd, &st) : -EINVAL;

	if (ret < 0)
		return node->fd >= 0 ? ret : 0;
	if (st.st_mode & S_IXGRP)
		drops |= S_ISGID;
	if (!(st.st_mode & drops))
		return 0;
	ret = usp_sys_fchmod(node->fd, st.st_mode & 07777 & ~drops);
	return node->mount->user == 0 ? ret : 0; /* for others the kernel does it */
}

/* Append to a file, also if it is longer than the kernel knows: where, in *ret_pos; -1 if that is not certain. */
static ssize_t write_append(const struct mount_node *node, const struct iovec *iov, int64_t pos, int64_t *ret_pos)
{
	ssize_t ret = usp_sys_append(node->fd, iov, 1);
	struct stat st;

	*ret_pos = -1;
	if (ret > 0 && usp_sys_fstat(node->fd, &st) == 0 && st.st_size == pos + ret)
		*ret_pos = pos;
	return ret;
}

ssize_t mount_write_bytes(struct mount_node *node, const void *bytes, size_t len, int64_t pos, bool is_append,
			  int64_t *ret_pos)
{
	const struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
	const struct usp_iter from = {.iov = &iov, .nr_segs = 1, .count = len};
	int64_t at = pos;
	ssize_t ret = write_drop_privileges(node);

	*ret_pos = pos;
	if (ret < 0)
		return ret;
	if (is_append && node->fd >= 0)
		return write_append(node, &iov, pos, ret_pos);
	ret = usp_file_write_iter(node->file, &from, &at, 0);
	if (ret > 0)
		usp_file_account(node->file, USP_WRITE, USP_COPIED, (size_t)ret, "out of a request of the kernel");
	return ret;
}

int mount_write_sync(struct mount_node *node, struct mount_open *open)
{
	struct usp_mount *mount = node->mount;
	int ret = usp_file_sync(node->file);

	pthread_mutex_lock(&mount->lock);
	if (ret < 0) {
		node->nr_sync_errors++;
		node->sync_error = ret;
	}
	if (open && open->nr_sync_errors != node->nr_sync_errors) {
		open->nr_sync_errors = node->nr_sync_errors;
		ret = node->sync_error;
	}
	pthread_mutex_unlock(&mount->lock);
	return ret;
}

int mount_write_flush(struct mount_node *node)
{
	int fd = node->fd >= 0 ? usp_sys_dup(node->fd) : -EINVAL;

	if (fd < 0)
		return node->fd >= 0 ? fd : 0;
	return usp_sys_close(fd);
}

int mount_write_truncate(struct mount_node *node, int64_t len)
{
	int ret;

	if (node->fd < 0)
		return usp_file_size(node->file) == len ? 0 : -EPERM;
	ret = write_drop_privileges(node);
	if (ret < 0)
		return ret;
	mount_write_begin(node);
	return usp_sys_ftruncate(node->fd, len);
}

int mount_write_allocate(struct mount_node *node, int mode, int64_t off, int64_t len)
{
	int ret = node->file->fd >= 0 ? write_drop_privileges(node) : -EOPNOTSUPP;

	if (ret < 0)
		return ret;
	return usp_sys_fallocate(node->file->fd, mode, off, len);
}

int mount_write_set_times(struct mount_node *node, const struct timespec times[2])
{
	return node->file->fd >= 0 ? usp_sys_set_times(node->file->fd, times) : -EPERM;
}

int mount_write_space(const struct mount_node *node, struct statvfs *ret_stat)
{
	const uint64_t available = node->file->fd >= 0 ? 0 : usp_memory_available();
	int64_t len;

	if (node->fd >= 0)
		return usp_sys_fstatvfs(node->fd, ret_stat);
	len = usp_file_size(node->file);
	if (len < 0)
		return (int)len;
	*ret_stat = (struct statvfs){.f_bsize = USP_PAGE, .f_frsize = USP_PAGE};
	ret_stat->f_bfree = ret_stat->f_bavail = (available == UINT64_MAX ? 0 : available) / USP_PAGE;
	ret_stat->f_blocks = ((uint64_t)len + USP_PAGE - 1) / USP_PAGE + ret_stat->f_bfree;
	return 0;
}

void mount_write_stat(const struct mount_node *node, struct stat *st)
{
	struct stat now;

	if (node->fd < 0 || usp_sys_fstat(node->fd, &now) < 0)
		return;
	st->st_blocks = now.st_blocks;
	st->st_blksize = now.st_blksize;
	st->st_mtim = now.st_mtim;
	st->st_atim = now.st_atim;
	st->st_ctim = now.st_ctim;
}
