/* SPDX-License-Identifier: MIT */
/* copy - one call for one source and one sink. */
#include <errno.h>
#include <usplice/spec.h>

#include "base/atomic.h"
#include "base/sys.h"
#include "splice/file.h"

/* Tell whether a copy from one to the other would read what it has written. */
static bool copy_is_same(const struct usp_file *from, const struct usp_file *to)
{
	struct stat a, b;

	return from->fd >= 0 && to->fd >= 0 && usp_sys_fstat(from->fd, &a) == 0 && usp_sys_fstat(to->fd, &b) == 0 &&
	       usp_copy_is_same(&a, &b);
}

int usp_copy_files(struct usp_file *from, struct usp_file *to, const struct usp_pump_params *params,
		   struct usp_route_total *ret_total)
{
	struct usp_pump *pump;
	int ret = usp_pump_new(from, params, &pump);

	if (ret < 0)
		return ret;
	ret = copy_is_same(from, to) ? -EINVAL : usp_pump_add_sink(pump, to);
	if (ret == 0)
		ret = usp_pump_run(pump);
	if (ret_total)
		usp_pump_total(pump, ret_total);
	usp_pump_free(pump);
	return ret;
}

/* Open a duplicate of a descriptor, which stays the caller's. */
static int copy_open_number(int number, const char *text, unsigned mode, struct usp_file **ret_file)
{
	int fd = usp_sys_dup(number), ret;

	if (fd < 0)
		return fd;
	ret = usp_open_fd(fd, mode, text, ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	return ret;
}

/* Open an end. *ret_is_named: it is no descriptor of the caller. */
static int copy_open(const char *text, const struct usp_open_params *params, struct usp_file **ret_file,
		     bool *ret_is_named)
{
	struct usp_spec *spec;
	int ret = usp_spec_parse(text, &spec, NULL), number;

	if (ret < 0)
		return ret;
	number = usp_spec_descriptor(spec, params->mode);
	*ret_is_named = number < 0;
	ret = number < 0 ? usp_spec_open(spec, params, ret_file, NULL)
			 : copy_open_number(number, text, params->mode, ret_file);
	usp_spec_free(spec);
	return ret;
}

/*
 * Cut an old file behind the new bytes, unless nothing has moved, because the run was refused. A file without
 * positions, as in tracefs, does not tell where the new bytes end.
 */
static int copy_cut(const struct usp_file *sink, int error)
{
	struct stat st;

	if ((error < 0 && sink->pos == 0) || !(sink->traits & USP_FILE_SEEKABLE) ||
	    atomic_load(usp_u32(&sink->flags)) & USP_APPEND || usp_sys_fstat(sink->fd, &st) < 0 ||
	    !S_ISREG(st.st_mode) || st.st_size <= sink->pos)
		return 0;
	return usp_sys_ftruncate(sink->fd, sink->pos);
}

/* Run, and take the sink, which was opened by its name, or is a duplicate of the caller's descriptor. */
static int copy_run(struct usp_file *source, struct usp_file *sink, bool is_named, const struct usp_pump_params *params,
		    struct usp_route_total *ret_total)
{
	int ret = usp_copy_files(source, sink, params, ret_total);
	int cut = is_named ? copy_cut(sink, ret) : 0, late = usp_file_close(sink);

	usp_file_put(sink);
	if (ret == 0)
		ret = cut < 0 ? cut : late;
	return ret;
}

int usp_copy_to(struct usp_file *from, const char *to, const struct usp_pump_params *params,
		struct usp_route_total *ret_total)
{
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE, .keep_bytes = true};
	struct usp_file *sink;
	bool is_named;
	int ret = copy_open(to, &to_write, &sink, &is_named);

	return ret < 0 ? ret : copy_run(from, sink, is_named, params, ret_total);
}

static int copy_open_source(const char *from, struct usp_file **ret_file)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	bool is_named;

	return copy_open(from, &to_read, ret_file, &is_named);
}

int usp_copy_from(const char *from, struct usp_file *to, const struct usp_pump_params *params,
		  struct usp_route_total *ret_total)
{
	struct usp_file *source;
	int ret = copy_open_source(from, &source);

	if (ret < 0)
		return ret;
	ret = usp_copy_files(source, to, params, ret_total);
	usp_file_put(source);
	return ret;
}

int usp_copy(const char *from, const char *to, const struct usp_pump_params *params, struct usp_route_total *ret_total)
{
	struct usp_file *source;
	int ret = copy_open_source(from, &source);

	if (ret < 0)
		return ret;
	ret = usp_copy_to(source, to, params, ret_total);
	usp_file_put(source);
	return ret;
}
