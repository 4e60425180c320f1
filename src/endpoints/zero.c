/* SPDX-License-Identifier: MIT */
/* zero - zeros without end, by reference to one piece of memory, and a sink that drops everything. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"

/* Never written, so the kernel backs all of it with its own page of zeros. */
#define ZERO_LEN ((size_t)256 << 10)
static unsigned char zero_bytes[ZERO_LEN] __attribute__((aligned(4096)));

static void zero_folio_release(struct usp_folio *folio)
{
	usp_free(folio);
}

/* Advance *pos, at most to INT64_MAX; the bytes of the step. */
static size_t zero_advance(int64_t *pos, size_t len)
{
	len = usp_min(len, (size_t)(INT64_MAX - *pos));
	*pos += (int64_t)len;
	return len;
}

static ssize_t zero_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	size_t len = zero_advance(pos, to->count);

	(void)in, (void)flags;
	for (unsigned i = 0; i < to->nr_segs; i++)
		memset(to->iov[i].iov_base, 0, to->iov[i].iov_len);
	return (ssize_t)len;
}

static ssize_t zero_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	size_t len = zero_advance(pos, from->count);

	(void)out, (void)flags;
	return len || !from->count ? (ssize_t)len : -EFBIG;
}

/* Push as many references as the pipe has room for: bytes, or -errno if none went in. */
static ssize_t zero_share(struct usp_folio *folio, struct usp_pipe *pipe, size_t len)
{
	size_t done = 0, chunk = usp_min(usp_pipe_slot_bytes(pipe), ZERO_LEN);
	ssize_t ret = 0;

	while (done < len) {
		ret = usp_pipe_push_folio(pipe, folio, 0, usp_min(chunk, len - done), 0);
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	return done ? (ssize_t)done : ret;
}

static ssize_t zero_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = zero_share(in->priv, pipe, len);

	(void)flags;
	if (ret > 0) {
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, (size_t)ret,
				 "references to one piece of zeroed memory");
		*pos += ret;
	}
	return ret;
}

static int zero_release(struct usp_file *file)
{
	usp_folio_put(file->priv);
	return 0;
}

static const struct usp_file_ops zero_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "zero",
	.read_iter = zero_read_iter,
	.write_iter = zero_write_iter,
	.splice_read = zero_splice_read,
	.splice_write = usp_drop_splice_write,
	.release = zero_release,
};

static int zero_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	struct usp_folio *folio;
	int ret;

	if (spec->address[0]) {
		*ret_why = "nothing follows zero:";
		return -EINVAL;
	}
	folio = usp_alloc(sizeof(*folio));
	if (!folio)
		return -ENOMEM;
	usp_folio_init(folio, zero_bytes, ZERO_LEN, zero_folio_release);
	ret = usp_file_new(&zero_ops, params->mode, usp_spec_text(spec), folio, ret_file);
	if (ret < 0)
		usp_folio_put(folio);
	else
		(*ret_file)->traits = USP_FILE_SEEKABLE; /* as /dev/zero: every position reads the same */
	return ret;
}

const struct usp_endpoint usp_zero_endpoint = {
	.scheme = "zero",
	.form = "zero:",
	.summary = "zeros without end, and a sink that drops everything",
	.modes = USP_READ | USP_WRITE,
	.open = zero_open,
};
