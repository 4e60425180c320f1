/* SPDX-License-Identifier: MIT */
/*
 * chardev - a character device or terminal.
 *
 * Whether a device can be spliced, only its driver knows, and to ask is to read from it or to write to it. So the first splice
 * of a run is the question: a device that refuses it has lost no byte, and is read and written from then on (kpipe.c). Left out are
 * terminals, the devices of memory, and descriptors that may block: a splice would wait where a read asks poll(2) first.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/fd.h"

static void chardev_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	(void)file, (void)side;
	ret_result->way = USP_UNKNOWN;
	ret_result->reason = "only the driver of this device knows, and the probe does not read from a device";
}

/* The master of a terminal that nobody has open any more gives EIO. That is the end. */
static ssize_t chardev_judge(const struct usp_file *in, ssize_t ret)
{
	struct pollfd fd = {.fd = in->fd};

	return ret == -EIO && usp_sys_poll(&fd, 1, 0) > 0 && fd.revents & POLLHUP ? 0 : ret;
}

static ssize_t chardev_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	return chardev_judge(in, usp_fd_read_iter(in, to, pos, flags));
}

static ssize_t chardev_polled_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	return chardev_judge(in, usp_fd_polled_read_iter(in, to, pos, flags));
}

static const struct usp_file_ops chardev_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "chardev",
	.probe = chardev_probe,
	.read_iter = chardev_read_iter,
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
	.read_iter = chardev_polled_read_iter,
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

static void chardev_probe_ring(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	(void)file;
	ret_result->way = side == USP_READ ? USP_BY_REFERENCE : USP_UNKNOWN;
	ret_result->reason = side == USP_READ ? "the driver lends the pages of the ring"
					      : "the driver takes whole pages that have no other owner";
}

/* A ring that another program made and fills: read(2) would take its news, and write(2) give it orders. */
static const struct usp_file_ops chardev_ring_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "ring",
	.splice_read = usp_kernel_splice_read,
	.splice_write = usp_kernel_splice_write,
	.release = usp_fd_release,
	.probe = chardev_probe_ring,
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

/* Tell whether a device is that of rings, by the name that its driver gave it: its number differs from boot to boot. */
static bool chardev_is_ring(dev_t dev)
{
	static const char name[] = "/misc/usplice";
	char link[sizeof("/sys/dev/char/:") + 2 * 3 * sizeof(dev)], target[128];
	ssize_t len;

	if (major(dev) != 10) /* misc devices */
		return false;
	snprintf(link, sizeof(link), "/sys/dev/char/%u:%u", major(dev), minor(dev));
	len = usp_sys_readlink(link, target, sizeof(target));
	return len >= (ssize_t)strlen(name) && memcmp(target + len - strlen(name), name, strlen(name)) == 0;
}

/* Let the kernel lane try a descriptor that never blocks. */
static void chardev_try_splice(struct usp_file *file, const struct stat *st)
{
	if (!chardev_is_memory(st->st_rdev) && !chardev_is_terminal(st->st_rdev))
		file->traits |= USP_FILE_SPLICEABLE;
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
	if (chardev_is_ring(st->st_rdev)) { /* its splice waits for no one with SPLICE_F_NONBLOCK */
		file->ops = &chardev_ring_ops;
		file->traits |= USP_FILE_SPLICEABLE;
	} else if (file->traits & USP_FILE_POLLABLE) {
		if (chardev_unblock(fd, st, traits))
			chardev_try_splice(file, st);
		else
			file->ops = &chardev_polled_ops;
	}
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
	if (ret == 0 && chardev_is_ring(st.st_rdev)) {
		*ret_why = "each open makes a new ring there; write ring: and its path";
		ret = -EINVAL;
	}
	if (ret == 0 && params->append)
		ret = usp_endpoint_check_append(fd, ret_why);
	if (ret == 0)
		ret = chardev_new(fd, &st, params->mode, usp_spec_text(spec), ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	else
		chardev_try_splice(*ret_file, &st);
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
