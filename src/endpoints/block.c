/* SPDX-License-Identifier: MIT */
/* block - a block device, read and written at an offset. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "base/atomic.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/fd.h"

#define BLOCK_ALIGN 4096 /* no device has larger sectors */

/* Ask the device to forget the blocks, so that they read as zeros, else to write the zeros itself. */
static ssize_t block_make_hole(struct usp_file *out, int64_t pos, size_t len)
{
	int64_t whole = (int64_t)(len - len % BLOCK_ALIGN), room = usp_sys_block_size(out->fd) - pos;
	int ret;

	if (room < whole) /* the kernel does not complain of what lies behind the end */
		whole = room - room % BLOCK_ALIGN;
	if (out->traits & USP_FILE_SHARED || pos % BLOCK_ALIGN || whole <= 0)
		return -EOPNOTSUPP;
	ret = usp_sys_fallocate(out->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, whole);
	if (ret < 0)
		ret = usp_sys_fallocate(out->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, pos, whole);
	return ret < 0 ? -EOPNOTSUPP : (ssize_t)whole;
}

static const struct usp_file_ops block_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "block",
	.read_iter = usp_fd_read_iter,
	.write_iter = usp_fd_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.sync = usp_fd_sync,
	.release = usp_fd_release,
	.probe = usp_probe_block,
	.make_hole = block_make_hole,
};

/* A drive without a medium can be opened with O_NONBLOCK, and has no bytes. */
static int block_new(int fd, unsigned mode, unsigned traits, const char *name, struct usp_file **ret_file)
{
	int fd_flags = usp_sys_get_flags(fd), ret;
	int64_t len = usp_sys_block_size(fd);
	struct usp_file *file;

	if (fd_flags < 0 || len <= 0)
		return fd_flags < 0 ? fd_flags : len < 0 ? (int)len : -ENOMEDIUM;
	ret = usp_fd_file_new(&block_ops, fd, mode, name, traits | (fd_flags & O_DIRECT ? 0 : USP_FILE_SPLICEABLE),
			      &file);
	if (ret < 0)
		return ret;
	usp_fd_find_pos(file);
	atomic_store(usp_u32(&file->flags), fd_flags & O_DIRECT ? USP_DIRECT : 0);
	*ret_file = file;
	return 0;
}

static int block_adopt(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
		       struct usp_file **ret_file)
{
	(void)st;
	return block_new(fd, mode, traits, name, ret_file);
}

static int block_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		      const char **ret_why)
{
	const char *direct = usp_spec_option(spec, "direct");
	int fd, ret;

	if (direct && direct[0]) {
		*ret_why = "direct takes no value";
		return -EINVAL;
	}
	fd = usp_sys_open(spec->address, usp_fd_access(params->mode) | O_NONBLOCK | (direct ? O_DIRECT : 0), 0);
	if (fd < 0)
		return fd;
	ret = params->append ? usp_endpoint_check_append(fd, ret_why) : 0;
	if (ret == 0)
		ret = block_new(fd, params->mode, 0, usp_spec_text(spec), ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	return ret;
}

static const char *const block_options[] = {"direct", NULL};

const struct usp_endpoint usp_block_endpoint = {
	.form = "PATH",
	.summary = "a block device",
	.modes = USP_READ | USP_WRITE,
	.options = block_options,
	.open = block_open,
	.adopts = S_IFBLK,
	.adopt = block_adopt,
};
