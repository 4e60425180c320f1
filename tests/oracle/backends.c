/* SPDX-License-Identifier: MIT */
/* backends - the operations of a script as system calls, and as calls of the library. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "world.h"

#define PAGE 4096

/* --- The kernel ---------------------------------------------------------------------------------------------------- */

static ssize_t kernel_result(ssize_t ret)
{
	return ret < 0 ? -errno : ret;
}

static bool kernel_adopt(struct handle *handle, int fd, int open_flags)
{
	(void)open_flags;
	*handle = (struct handle){.fd = fd};
	return true;
}

static void kernel_open_pipe(struct handle ends[2])
{
	int fd[2] = {-1, -1};

	if (pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0)
		return;
	for (unsigned i = 0; i < 2; i++)
		ends[i] = (struct handle){.fd = fd[i]};
}

static void kernel_close(struct handle *handle)
{
	if (handle->fd >= 0)
		close(handle->fd);
	handle->fd = -1;
}

static struct handle kernel_hold(const struct handle *handle)
{
	return (struct handle){.fd = dup(handle->fd)};
}

static ssize_t kernel_read(const struct handle *in, void *base, size_t len)
{
	return kernel_result(read(in->fd, base, len));
}

static ssize_t kernel_write(const struct handle *out, const void *base, size_t len)
{
	return kernel_result(write(out->fd, base, len));
}

static ssize_t kernel_splice(const struct handle *in, int64_t *off_in, const struct handle *out, int64_t *off_out,
			     size_t len, unsigned flags)
{
	return kernel_result(splice(in->fd, off_in, out->fd, off_out, len, flags));
}

static ssize_t kernel_tee(const struct handle *in, const struct handle *out, size_t len, unsigned flags)
{
	return kernel_result(tee(in->fd, out->fd, len, flags));
}

static ssize_t kernel_vmsplice(const struct handle *end, const struct iovec *iov, unsigned nr_segs, unsigned flags)
{
	return kernel_result(vmsplice(end->fd, iov, nr_segs, flags));
}

static ssize_t kernel_sendfile(const struct handle *in, int64_t *off_in, const struct handle *out, size_t len)
{
	return kernel_result(sendfile(out->fd, in->fd, off_in, len));
}

static ssize_t kernel_set_size(const struct handle *end, size_t len)
{
	return kernel_result(fcntl(end->fd, F_SETPIPE_SZ, len));
}

static ssize_t kernel_get_size(const struct handle *end)
{
	return kernel_result(fcntl(end->fd, F_GETPIPE_SZ));
}

static ssize_t kernel_flag(const struct handle *handle, int flag, bool is_on)
{
	int flags = fcntl(handle->fd, F_GETFL);

	return kernel_result(fcntl(handle->fd, F_SETFL, is_on ? flags | flag : flags & ~flag));
}

static ssize_t kernel_set_nonblock(const struct handle *handle, bool is_on)
{
	return kernel_flag(handle, O_NONBLOCK, is_on);
}

static ssize_t kernel_set_packet(const struct handle *handle, bool is_on)
{
	return kernel_flag(handle, O_DIRECT, is_on);
}

static int64_t kernel_seek(const struct handle *handle, int64_t off, int whence)
{
	return kernel_result(lseek(handle->fd, off, whence));
}

static unsigned kernel_poll(const struct handle *handle)
{
	struct pollfd poll_fd = {.fd = handle->fd, .events = POLLIN | POLLOUT};

	return poll(&poll_fd, 1, 0) < 0 ? ~0u : (unsigned)poll_fd.revents;
}

static int64_t kernel_bytes(const struct handle *handle)
{
	int bytes = -1;

	return ioctl(handle->fd, FIONREAD, &bytes) < 0 ? -errno : bytes;
}

const struct backend kernel_backend = {
	.name = "kernel",
	.adopt = kernel_adopt,
	.open_pipe = kernel_open_pipe,
	.close = kernel_close,
	.hold = kernel_hold,
	.read = kernel_read,
	.write = kernel_write,
	.splice = kernel_splice,
	.tee = kernel_tee,
	.vmsplice = kernel_vmsplice,
	.sendfile = kernel_sendfile,
	.set_size = kernel_set_size,
	.get_size = kernel_get_size,
	.set_nonblock = kernel_set_nonblock,
	.set_packet = kernel_set_packet,
	.seek = kernel_seek,
	.poll = kernel_poll,
	.bytes = kernel_bytes,
};

/* --- The library --------------------------------------------------------------------------------------------------- */

static bool usplice_adopt(struct handle *handle, int fd, int open_flags)
{
	static const unsigned modes[] = {
		[O_RDONLY] = USP_READ,
		[O_WRONLY] = USP_WRITE,
		[O_RDWR] = USP_READ | USP_WRITE,
	};
	struct usp_file *file;

	if (usp_open_fd(fd, modes[open_flags & O_ACCMODE], "oracle", &file) < 0)
		return false;
	*handle = (struct handle){.fd = -1, .file = file};
	return true;
}

static void usplice_open_pipe(struct handle ends[2])
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 16, .slot_bytes = PAGE, .flags = USP_NONBLOCK};
	struct usp_file *files[2];

	if (usp_pipe_open(&params, files) < 0)
		return;
	for (unsigned i = 0; i < 2; i++)
		ends[i] = (struct handle){.fd = -1, .file = files[i]};
}

static void usplice_close(struct handle *handle)
{
	kernel_close(handle);
	usp_file_put(handle->file);
	handle->file = NULL;
}

static struct handle usplice_hold(const struct handle *handle)
{
	return handle->file ? (struct handle){.fd = -1, .file = usp_file_get(handle->file)} : kernel_hold(handle);
}

static ssize_t usplice_read(const struct handle *in, void *base, size_t len)
{
	return in->file ? usp_read(in->file, base, len) : kernel_read(in, base, len);
}

static ssize_t usplice_write(const struct handle *out, const void *base, size_t len)
{
	return out->file ? usp_write(out->file, base, len) : kernel_write(out, base, len);
}

static ssize_t usplice_splice(const struct handle *in, int64_t *off_in, const struct handle *out, int64_t *off_out,
			      size_t len, unsigned flags)
{
	return usp_splice(in->file, off_in, out->file, off_out, len, flags);
}

static ssize_t usplice_tee(const struct handle *in, const struct handle *out, size_t len, unsigned flags)
{
	return usp_tee(in->file, out->file, len, flags);
}

static ssize_t usplice_vmsplice(const struct handle *end, const struct iovec *iov, unsigned nr_segs, unsigned flags)
{
	return usp_vmsplice(end->file, iov, nr_segs, flags);
}

static ssize_t usplice_sendfile(const struct handle *in, int64_t *off_in, const struct handle *out, size_t len)
{
	return usp_splice_direct(in->file, off_in, out->file, NULL, len, 0, NULL);
}

static ssize_t usplice_set_size(const struct handle *end, size_t len)
{
	return usp_pipe_resize(end->file, len);
}

static ssize_t usplice_get_size(const struct handle *end)
{
	return usp_pipe_capacity(end->file);
}

static ssize_t usplice_flag(const struct handle *handle, unsigned flag, bool is_on)
{
	unsigned flags = usp_file_flags(handle->file);

	return usp_file_set_flags(handle->file, is_on ? flags | flag : flags & ~flag);
}

static ssize_t usplice_set_nonblock(const struct handle *handle, bool is_on)
{
	return handle->file ? usplice_flag(handle, USP_NONBLOCK, is_on) : kernel_set_nonblock(handle, is_on);
}

static ssize_t usplice_set_packet(const struct handle *handle, bool is_on)
{
	return usplice_flag(handle, USP_PACKET, is_on);
}

static int64_t usplice_seek(const struct handle *handle, int64_t off, int whence)
{
	return usp_file_seek(handle->file, off, whence);
}

static unsigned usplice_poll(const struct handle *handle)
{
	return handle->file ? usp_file_poll(handle->file) : kernel_poll(handle);
}

static int64_t usplice_bytes(const struct handle *handle)
{
	int64_t bytes;

	if (!handle->file)
		return kernel_bytes(handle);
	bytes = usp_pipe_bytes(handle->file);
	return bytes == -EBADF ? kernel_bytes(&(struct handle){.fd = usp_file_fd(handle->file)}) : bytes;
}

const struct backend usplice_backend = {
	.name = "usplice",
	.adopt = usplice_adopt,
	.open_pipe = usplice_open_pipe,
	.close = usplice_close,
	.hold = usplice_hold,
	.read = usplice_read,
	.write = usplice_write,
	.splice = usplice_splice,
	.tee = usplice_tee,
	.vmsplice = usplice_vmsplice,
	.sendfile = usplice_sendfile,
	.set_size = usplice_set_size,
	.get_size = usplice_get_size,
	.set_nonblock = usplice_set_nonblock,
	.set_packet = usplice_set_packet,
	.seek = usplice_seek,
	.poll = usplice_poll,
	.bytes = usplice_bytes,
};
