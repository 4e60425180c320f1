/* SPDX-License-Identifier: MIT */
/* descriptor - files of descriptors that are open already: those of a caller, "fd:N" and "-". */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <usplice/endpoint.h>

#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"

/* --- By number --------------------------------------------------------------------------------------- */

/* What fd is open for, or -errno. An O_PATH descriptor is open for nothing. */
static int descriptor_mode(int fd)
{
	int flags = usp_sys_get_flags(fd);

	if (flags < 0 || flags & O_PATH)
		return flags < 0 ? flags : -EBADF;
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return USP_READ;
	case O_WRONLY:
		return USP_WRITE;
	default:
		return USP_READ | USP_WRITE;
	}
}

int usp_open_fd(int fd, unsigned mode, const char *name, struct usp_file **ret_file)
{
	unsigned traits = mode & USP_EXCLUSIVE ? 0 : USP_FILE_SHARED;
	const struct usp_endpoint *endpoint;
	struct stat st;
	int ret;

	mode &= ~USP_EXCLUSIVE;
	if (!name || !usp_endpoint_can_mode(mode))
		return -EINVAL;
	ret = usp_sys_fstat(fd, &st);
	if (ret < 0)
		return ret;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	ret = descriptor_mode(fd);
	if (ret < 0)
		return ret;
	if (mode & ~(unsigned)ret)
		return -EBADF;
	endpoint = usp_endpoint_of(st.st_mode & S_IFMT);
	if (!endpoint)
		return -EINVAL; /* an eventfd and the like: no byte stream */
	return endpoint->adopt(fd, &st, mode, traits, name, ret_file);
}

/* --- By spec ----------------------------------------------------------------------------------------- */

#define DEVICE_MEMORY_MAJOR 1 /* mem, kmem and port have positions; null, zero, full and random only claim so */

static bool device_has_positions(int fd, const struct stat *st)
{
	unsigned nr = minor(st->st_rdev);

	if (!S_ISCHR(st->st_mode))
		return S_ISBLK(st->st_mode);
	return usp_sys_lseek(fd, 0, SEEK_CUR) >= 0 &&
	       (major(st->st_rdev) != DEVICE_MEMORY_MAJOR || nr == 1 || nr == 2 || nr == 4);
}

int usp_endpoint_check_append(int fd, const char **ret_why)
{
	struct stat st;
	int ret = usp_sys_fstat(fd, &st);

	if (ret < 0 || !device_has_positions(fd, &st))
		return ret;
	*ret_why = "it has positions and no end of its own, so nothing can be appended";
	return -EINVAL;
}

/* Open an inherited descriptor. It appends if its description has O_APPEND. */
static int descriptor_adopt(int fd, const struct usp_spec *spec, const struct usp_open_params *params,
			    struct usp_file **ret_file, const char **ret_why)
{
	int ret = params->append ? usp_endpoint_check_append(fd, ret_why) : 0;

	if (ret < 0)
		return ret;
	ret = usp_open_fd(fd, params->mode, usp_spec_text(spec), ret_file);
	if (ret == -EBADF)
		*ret_why = usp_sys_get_flags(fd) < 0 ? "this descriptor is not open"
						     : "this descriptor is not open for that direction";
	else if (ret == -EINVAL)
		*ret_why = "no bytes flow through it, as through a socket that listens";
	return ret;
}

static int descriptor_open(const struct usp_spec *spec, const struct usp_open_params *params,
			   struct usp_file **ret_file, const char **ret_why)
{
	int fd = usp_spec_descriptor(spec, params->mode);

	if (fd < 0) {
		*ret_why = "fd: is followed by the number of a descriptor";
		return -EINVAL;
	}
	return descriptor_adopt(fd, spec, params, ret_file, ret_why);
}

static int standard_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
			 const char **ret_why)
{
	int fd = usp_spec_descriptor(spec, params->mode);

	if (fd < 0) {
		*ret_why = "standard input and output each have one direction; use fd:N for both";
		return -EINVAL;
	}
	return descriptor_adopt(fd, spec, params, ret_file, ret_why);
}

const struct usp_endpoint usp_descriptor_endpoint = {
	.scheme = "fd",
	.form = "fd:N",
	.summary = "a descriptor that this process was started with",
	.modes = USP_READ | USP_WRITE,
	.open = descriptor_open,
};

const struct usp_endpoint usp_standard_endpoint = {
	.form = "-",
	.summary = "standard input or standard output",
	.modes = USP_READ | USP_WRITE,
	.open = standard_open,
};
