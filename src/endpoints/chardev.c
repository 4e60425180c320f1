/* SPDX-License-Identifier: MIT */
/* chardev - a character device or terminal: copied, or dropped where the device drops everything. */
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/fd.h"

static const struct usp_file_ops chardev_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "chardev",
	.read_iter = usp_fd_read_iter,
	.write_iter = usp_fd_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.sync = usp_fd_sync,
	.release = usp_fd_release,
};

/* A descriptor that could not be made O_NONBLOCK. */
static const struct usp_file_ops chardev_polled_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "chardev",
	.read_iter = usp_fd_polled_read_iter,
	.write_iter = usp_fd_polled_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.sync = usp_fd_sync,
	.release = usp_fd_release,
};

/* /dev/null and /dev/zero: as sinks they read no byte (H16). */
static const struct usp_file_ops chardev_drop_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "chardev",
	.read_iter = usp_fd_read_iter,
	.write_iter = usp_fd_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_drop_splice_write,
	.release = usp_fd_release,
	.probe = usp_probe_drop,
};

/* The device numbers are fixed in the kernel's list of devices. */
static bool chardev_is_memory(dev_t dev)
{
	return major(dev) == 1 && (minor(dev) == 3 || minor(dev) == 5 || minor(dev) == 7); /* null, zero, full */
}

static bool chardev_drops(dev_t dev)
{
	return chardev_is_memory(dev) && minor(dev) != 7;
}

/*
 * A terminal can be opened a second time without side effects. Other devices cannot in general: a tape
 * rewinds, and /dev/ptmx makes another terminal.
 */
static bool chardev_is_terminal(dev_t dev)
{
	return major(dev) == 4 || (major(dev) == 5 && minor(dev) < 2) || (major(dev) >= 136 && major(dev) <= 143);
}

static int chardev_new(int fd, const struct stat *st, unsigned mode, const char *name, struct usp_file **ret_file)
{
	bool drops = chardev_drops(st->st_rdev);
	struct usp_file *file;
	int ret = usp_fd_file_new(drops ? &chardev_drop_ops : &chardev_ops, fd, mode, name, 0, &file);

	if (ret < 0)
		return ret;
	if (!chardev_is_memory(st->st_rdev))
		file->traits |= USP_FILE_POLLABLE;
	if (drops && mode == USP_WRITE)
		file->traits |= USP_FILE_SPLICEABLE;
	usp_fd_find_pos(file);
	*ret_file = file;
	return 0;
}

/* Make fd a description that never blocks; true if it is one. A description that others share is not changed. */
static bool chardev_unblock(int fd, const struct stat *st, unsigned traits)
{
	if (usp_sys_get_flags(fd) & O_NONBLOCK)
		return true;
	if (!(traits & USP_FILE_SHARED))
		return usp_fd_set_nonblock(fd) == 0;
	return chardev_is_terminal(st->st_rdev) && usp_fd_unshare(fd) == 0;
}

static int chardev_adopt(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
			 struct usp_file **ret_file)
{
	struct usp_file *file;
	int ret = chardev_new(fd, st, mode, name, &file);

	if (ret < 0)
		return ret;
	file->traits |= traits;
	if (file->traits & USP_FILE_POLLABLE && !chardev_unblock(fd, st, traits))
		file->ops = &chardev_polled_ops;
	*ret_file = file;
	return 0;
}

static int chardev_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			const char **ret_why)
{
	int fd = usp_sys_open(spec->address, usp_fd_access(params->mode) | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	int ret;

	if (fd < 0)
		return fd;
	ret = usp_sys_fstat(fd, &st);
	if (ret == 0 && params->append)
		ret = usp_endpoint_check_append(fd, ret_why);
	if (ret == 0)
		ret = chardev_new(fd, &st, params->mode, usp_spec_text(spec), ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	return ret;
}

const struct usp_endpoint usp_chardev_endpoint = {
	.form = "PATH",
	.summary = "a character device or a terminal",
	.modes = USP_READ | USP_WRITE,
	.open = chardev_open,
	.adopts = S_IFCHR,
	.adopt = chardev_adopt,
};
