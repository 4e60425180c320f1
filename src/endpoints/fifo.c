/* SPDX-License-Identifier: MIT */
/* fifo - a pipe of the operating system, named or inherited. */
#include <errno.h>
#include <fcntl.h>

#include "base/sys.h"
#include "base/wait.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/fd.h"

#define FIFO_PAUSE_MIN_NS 1000000
#define FIFO_PAUSE_MAX_NS 100000000
#define FIFO_TRAITS (USP_FILE_SPLICEABLE | USP_FILE_POLLABLE | USP_FILE_SIGPIPE)

static const struct usp_file_ops fifo_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "fifo",
	.read_iter = usp_fd_read_iter,
	.write_iter = usp_fd_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.release = usp_fd_release,
	.probe = usp_probe_fifo,
};

/* A descriptor that could not be made O_NONBLOCK. */
static const struct usp_file_ops fifo_polled_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "fifo",
	.read_iter = usp_fd_polled_read_iter,
	.write_iter = usp_fd_polled_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.release = usp_fd_release,
	.probe = usp_probe_fifo,
};

/*
 * A pipe that another user made cannot be opened again. Nor can a FIFO without a reader be opened for
 * writing. Then the shared description stays as it is.
 */
static int fifo_adopt(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
		      struct usp_file **ret_file)
{
	struct usp_file *file;
	int ret = usp_fd_file_new(&fifo_ops, fd, mode, name, FIFO_TRAITS | traits, &file);

	(void)st;
	if (ret < 0)
		return ret;
	ret = traits & USP_FILE_SHARED ? usp_fd_unshare(fd) : usp_fd_set_nonblock(fd);
	if (ret < 0 && !(usp_sys_get_flags(fd) & O_NONBLOCK))
		file->ops = &fifo_polled_ops;
	*ret_file = file;
	return 0;
}

/* Open for writing as soon as there is a reader. */
static int fifo_open_writer(const char *path, uint64_t give_up)
{
	int64_t pause = FIFO_PAUSE_MIN_NS;
	int fd, ret;

	while ((fd = usp_sys_open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY, 0)) == -ENXIO) {
		if (usp_sys_now_ns() >= give_up)
			return -ETIMEDOUT;
		ret = usp_sys_poll(NULL, 0, pause);
		if (ret < 0)
			return ret;
		pause = pause * 2 < FIFO_PAUSE_MAX_NS ? pause * 2 : FIFO_PAUSE_MAX_NS;
	}
	return fd;
}

/* Open for reading, and wait for the first byte, or for the end of a writer that wrote none. */
static int fifo_open_reader(const char *path, uint64_t give_up)
{
	int fd = usp_sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	int ret = fd < 0 ? fd : usp_wait_until(fd, POLLIN, give_up);

	if (fd >= 0 && ret < 0)
		usp_sys_close(fd);
	return ret < 0 ? ret : fd;
}

static int fifo_open_until(const char *path, unsigned mode, uint64_t give_up)
{
	return mode & USP_WRITE ? fifo_open_writer(path, give_up) : fifo_open_reader(path, give_up);
}

/*
 * Open as fifo(7) says: wait for the other side, unless mode has both. The new description is not
 * shared: set O_NONBLOCK.
 */
static int fifo_open_fd(const char *path, unsigned mode, uint64_t give_up)
{
	bool is_timed = give_up != USP_NEVER && mode != (USP_READ | USP_WRITE);
	int fd = is_timed ? fifo_open_until(path, mode, give_up)
			  : usp_sys_open_waiting(path, usp_fd_access(mode) | O_NOCTTY);
	int flags;

	if (fd < 0)
		return fd;
	flags = usp_sys_get_flags(fd);
	if (flags >= 0)
		flags = usp_sys_set_flags(fd, flags | O_NONBLOCK);
	if (flags < 0) {
		usp_sys_close(fd);
		return flags;
	}
	return fd;
}

static int fifo_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	uint64_t give_up = USP_NEVER;
	struct stat st;
	int fd, ret;

	if (usp_spec_moment(spec, "timeout", &give_up) < 0) {
		*ret_why = "timeout takes a time, such as 2.5 or 500ms";
		return -EINVAL;
	}
	fd = params->no_peer ? -EINPROGRESS : fifo_open_fd(spec->address, params->mode, give_up);
	if (fd == -ETIMEDOUT)
		*ret_why = params->mode & USP_WRITE ? "nobody opened it for reading in time"
						    : "nobody wrote into it in time";
	if (fd < 0)
		return fd;
	ret = usp_sys_fstat(fd, &st);
	if (ret == 0 && !S_ISFIFO(st.st_mode)) {
		*ret_why = "something else took the place of the FIFO while it was opened";
		ret = -ESTALE;
	}
	if (ret == 0)
		ret = usp_fd_file_new(&fifo_ops, fd, params->mode, usp_spec_text(spec), FIFO_TRAITS, ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	return ret;
}

static const char *const fifo_options[] = {"timeout", NULL};

const struct usp_endpoint usp_fifo_endpoint = {
	.form = "PATH",
	.summary = "a FIFO",
	.modes = USP_READ | USP_WRITE,
	.options = fifo_options,
	.open = fifo_open,
	.adopts = S_IFIFO,
	.adopt = fifo_adopt,
};
