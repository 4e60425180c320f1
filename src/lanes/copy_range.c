/* SPDX-License-Identifier: MIT */
/* copy_range - file to file inside the kernel: shared extents where the file system can, else copy_file_range(2). */
#include "lanes/copy_range.h"

#include <errno.h>

#include "base/sys.h"

static const char clone_reason[] = "the file system shares the extents (reflink)";
static const char copy_reason[] =
	"copy_file_range: the kernel copies, because this file system cannot share extents here";

static int64_t range_left(const struct usp_file *in)
{
	struct stat st;

	return usp_sys_fstat(in->fd, &st) < 0 || !S_ISREG(st.st_mode) ? 0 : st.st_size - in->pos;
}

/*
 * st_size 0 may be wrong, as in /proc, and copy_file_range(2) would trust it. A shared offset is not
 * moved while extents are shared, so shared files are refused.
 */
bool usp_copy_range_is_possible(const struct usp_file *in, const struct usp_file *out)
{
	const unsigned traits = USP_FILE_SEEKABLE | USP_FILE_SPLICEABLE;
	struct stat st;

	if ((in->traits & out->traits & traits) != traits || (in->traits | out->traits) & USP_FILE_SHARED ||
	    range_left(in) <= 0)
		return false;
	return usp_sys_fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void range_account(struct usp_file *in, struct usp_file *out, enum usp_way way, size_t len, const char *reason)
{
	usp_file_account(in, USP_READ, way, len, reason);
	usp_file_account(out, USP_WRITE, way, len, reason);
}

ssize_t usp_clone_range(struct usp_file *in, struct usp_file *out, uint64_t len)
{
	int64_t left = range_left(in);
	int ret;

	if (left <= 0 || len < (uint64_t)left)
		return -EINVAL;
	ret = usp_sys_clone_range(in->fd, in->pos, out->fd, out->pos, (size_t)left);
	if (ret < 0)
		return ret;
	in->pos += left;
	out->pos += left;
	range_account(in, out, USP_BY_REFERENCE, (size_t)left, clone_reason);
	return left;
}

ssize_t usp_copy_range(struct usp_file *in, struct usp_file *out, size_t len)
{
	ssize_t ret = usp_sys_copy_file_range(in->fd, &in->pos, out->fd, &out->pos, len);

	if (ret > 0)
		range_account(in, out, USP_COPIED, (size_t)ret, copy_reason);
	return ret;
}
