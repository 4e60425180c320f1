/* SPDX-License-Identifier: MIT */
/* regular - a file on disk, read and written at an offset. */
#include <errno.h>
#include <fcntl.h>

#include "base/atomic.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/fd.h"

/* Measured with new files on ext4: writes of 1 MiB have less than half the speed of these. */
#define REGULAR_SINK_IO_BYTES ((size_t)128 << 10)

static const struct usp_file_ops regular_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "regular",
	.read_iter = usp_fd_read_iter,
	.write_iter = usp_fd_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.sync = usp_fd_sync,
	.release = usp_fd_release,
	.probe = usp_probe_regular,
	.find_hole = usp_fd_find_hole,
	.make_hole = usp_fd_make_hole,
};

/*
 * splice(2) refuses a file that appends, and cannot handle a misaligned piece of an O_DIRECT file:
 * both stay on the user lane. A file without a position, as in tracefs and FUSE, is a stream.
 * splice(2) ends it at st_size, which may be too small, and no test can look behind that without
 * taking bytes: only read(2) gives all of them.
 */
static void regular_set_traits(struct usp_file *file, int fd_flags)
{
	bool is_append = file->mode & USP_WRITE && fd_flags & O_APPEND;
	bool is_direct = fd_flags & O_DIRECT;

	if (!is_append || file->mode & USP_READ)
		usp_fd_find_pos(file);
	if (!is_append && !is_direct && (file->traits & USP_FILE_SEEKABLE || !(file->mode & USP_READ)))
		file->traits |= USP_FILE_SPLICEABLE;
	if (file->traits & USP_FILE_SHARED)
		file->traits |= USP_FILE_LOCKED_WRITES;
	if (file->mode & USP_WRITE && !is_direct)
		file->io_bytes = REGULAR_SINK_IO_BYTES;
	atomic_store(usp_u32(&file->flags), (is_append ? USP_APPEND : 0) | (is_direct ? USP_DIRECT : 0));
}

static int regular_new(int fd, unsigned mode, unsigned traits, const char *name, struct usp_file **ret_file)
{
	int fd_flags = usp_sys_get_flags(fd), ret;
	struct usp_file *file;

	if (fd_flags < 0)
		return fd_flags;
	ret = usp_fd_file_new(&regular_ops, fd, mode, name, traits, &file);
	if (ret < 0)
		return ret;
	regular_set_traits(file, fd_flags);
	*ret_file = file;
	return 0;
}

static int regular_adopt(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
			 struct usp_file **ret_file)
{
	(void)st;
	return regular_new(fd, mode, traits, name, ret_file);
}

static int regular_check_options(const struct usp_spec *spec, const struct usp_open_params *params,
				 const char **ret_why)
{
	const char *direct = usp_spec_option(spec, "direct"), *append = usp_spec_option(spec, "append");

	if ((direct && direct[0]) || (append && append[0]))
		*ret_why = "direct and append take no value";
	else if (params->must_create && (params->no_create || !(params->mode & USP_WRITE)))
		*ret_why = "only a file that is written can be made";
	else if ((append || params->append) && !(params->mode & USP_WRITE))
		*ret_why = "append is for a file that is written";
	else
		return 0;
	return -EINVAL;
}

static bool regular_is_append(const struct usp_spec *spec, const struct usp_open_params *params)
{
	return params->append || usp_spec_option(spec, "append");
}

/*
 * Set O_DIRECT after the file is made, and remove the file if that fails: open(2) with it would make
 * the file and then fail.
 */
static int regular_make_direct(int fd, const char *path)
{
	int flags = usp_sys_get_flags(fd), ret = flags < 0 ? flags : usp_sys_set_flags(fd, flags | O_DIRECT);
	struct stat made, there;

	if (ret == 0)
		return fd;
	if (usp_sys_fstat(fd, &made) == 0 && usp_sys_lstat(path, &there) == 0 && made.st_dev == there.st_dev &&
	    made.st_ino == there.st_ino) /* not a file that has replaced it */
		usp_sys_unlink(path);
	usp_sys_close(fd);
	return ret;
}

/*
 * Make the file. O_EXCL does not follow a dangling symbolic link, which would choose the place of the
 * new file. On -EEXIST there is such a link, or a file that was made just now: open that without
 * O_CREAT.
 */
static int regular_create(const char *path, int flags, const struct usp_open_params *params)
{
	int mode = params->creat_mode ? params->creat_mode : 0666;
	int fd = usp_sys_open(path, (flags & ~O_DIRECT) | O_CREAT | O_EXCL, (unsigned)mode);

	if (fd >= 0 && flags & O_DIRECT)
		return regular_make_direct(fd, path);
	return fd == -EEXIST && !params->must_create ? usp_sys_open(path, flags, 0) : fd;
}

static bool regular_is_link(const char *path)
{
	int fd = usp_sys_open(path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;
	bool is_link = fd >= 0 && usp_sys_fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);

	usp_sys_close(fd);
	return is_link;
}

/*
 * Open, and tell in *ret_is_new whether the file was made: a size of 0 does not prove that there is
 * nothing to truncate.
 */
static int regular_open_fd(const struct usp_spec *spec, const struct usp_open_params *params, bool *ret_is_new,
			   const char **ret_why)
{
	int flags = usp_fd_access(params->mode) | O_NOCTTY, fd;

	if (usp_spec_option(spec, "direct"))
		flags |= O_DIRECT;
	if (regular_is_append(spec, params))
		flags |= O_APPEND;
	fd = params->must_create ? -ENOENT : usp_sys_open(spec->address, flags, 0);
	*ret_is_new = fd == -ENOENT && params->mode & USP_WRITE && !params->no_create;
	if (*ret_is_new)
		fd = regular_create(spec->address, flags, params);
	if (fd == -EINVAL && flags & O_DIRECT)
		*ret_why = "this file system has no direct I/O";
	else if (fd == -ENOENT && regular_is_link(spec->address))
		*ret_why = "it is a symbolic link that leads nowhere";
	return fd;
}

/* Return the length of the file, or -errno. */
static int64_t regular_len(int fd, const char **ret_why)
{
	struct stat st;
	int ret = usp_sys_fstat(fd, &st);

	if (ret < 0)
		return ret;
	if (!S_ISREG(st.st_mode)) {
		*ret_why = "something else took the place of the file while it was opened";
		return -ESTALE;
	}
	return st.st_size;
}

static int regular_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			const char **ret_why)
{
	bool truncates = params->mode & USP_WRITE && !params->keep_bytes && !regular_is_append(spec, params);
	int ret = regular_check_options(spec, params, ret_why), fd;
	struct usp_file *file = NULL;
	bool is_new;
	int64_t len;

	if (ret < 0)
		return ret;
	fd = regular_open_fd(spec, params, &is_new, ret_why);
	if (fd < 0)
		return fd;
	len = regular_len(fd, ret_why);
	ret = len < 0 ? (int)len : regular_new(fd, params->mode, 0, usp_spec_text(spec), &file);
	if (ret < 0) {
		usp_sys_close(fd);
		return ret;
	}
	/* Truncate last: only a regular file is ever cut, and an open that fails loses no bytes. */
	ret = truncates && (!is_new || len > 0) ? usp_sys_ftruncate(fd, 0) : 0;
	if (ret < 0)
		usp_file_put(file);
	else
		*ret_file = file;
	return ret;
}

static const char *const regular_options[] = {"direct", "append", NULL};

const struct usp_endpoint usp_regular_endpoint = {
	.scheme = "file",
	.form = "[file:]PATH",
	.summary = "a file on disk",
	.modes = USP_READ | USP_WRITE,
	.options = regular_options,
	.open = regular_open,
	.adopts = S_IFREG,
	.adopt = regular_adopt,
};
