/* SPDX-License-Identifier: MIT */
/* null - nothing to read, and a sink that drops everything. */
#include <errno.h>

#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"

static ssize_t null_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	(void)in, (void)to, (void)pos, (void)flags;
	return 0;
}

static ssize_t null_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	(void)out, (void)pos, (void)flags;
	return (ssize_t)from->count;
}

static ssize_t null_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	(void)in, (void)pos, (void)pipe, (void)len, (void)flags;
	return 0;
}

static const struct usp_file_ops null_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "null",
	.read_iter = null_read_iter,
	.write_iter = null_write_iter,
	.splice_read = null_splice_read,
	.splice_write = usp_drop_splice_write,
	.probe = usp_probe_drop,
};

static int null_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	if (spec->address[0]) {
		*ret_why = "nothing follows null:";
		return -EINVAL;
	}
	return usp_file_new(&null_ops, params->mode, usp_spec_text(spec), NULL, ret_file);
}

const struct usp_endpoint usp_null_endpoint = {
	.scheme = "null",
	.form = "null:",
	.summary = "an empty source, and a sink that drops everything",
	.modes = USP_READ | USP_WRITE,
	.open = null_open,
};
