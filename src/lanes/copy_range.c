/* SPDX-License-Identifier: MIT */
/* copy_range - file to file inside the kernel: shared extents where the file system can, else copy_file_range(2). */
#include "lanes/copy_range.h"

#include <errno.h>
#include <linux/magic.h>

#include "base/sys.h"
#include "lanes/extents.h"
#include "splice/file.h"

static const char clone_reason[] = "the file system shares the extents (reflink)";
static const char shared_reason[] = "the file system shares the extents, as FIEMAP shows";
static const char copy_reason[] = "copy_file_range: the bytes have blocks of their own, as FIEMAP shows";
static const char tmpfs_reason[] = "copy_file_range: files of a tmpfs do not share pages, so the kernel copies";
static const char unknown_reason[] = "copy_file_range: the file system does not tell whether it shares the bytes";
static const char unasked_reason[] = "copy_file_range: it was not asked whether the bytes are shared";

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
	struct stat st;

	if (!usp_file_has_pos(in) || !(out->traits & USP_FILE_SEEKABLE) ||
	    !(in->traits & out->traits & USP_FILE_SPLICEABLE) || (in->traits | out->traits) & USP_FILE_SHARED ||
	    range_left(in) <= 0)
		return false;
	return usp_sys_fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void range_account(struct usp_file *in, struct usp_file *out, enum usp_way way, int64_t len, const char *reason)
{
	if (len <= 0)
		return;
	usp_file_account(in, USP_READ, way, (size_t)len, reason);
	usp_file_account(out, USP_WRITE, way, (size_t)len, reason);
}

/* Files of two file systems share nothing, whatever the numbers of their blocks are. */
static bool range_is_one_device(const struct usp_file *in, const struct usp_file *out)
{
	struct stat of_in, of_out;

	return usp_sys_fstat(in->fd, &of_in) == 0 && usp_sys_fstat(out->fd, &of_out) == 0 &&
	       of_in.st_dev == of_out.st_dev;
}

/* Tell whether the sink already shares some of the next len bytes with the source: then a copy can look like sharing. */
static bool range_is_shared_before(const struct usp_file *in, const struct usp_file *out, size_t len)
{
	struct usp_extents extents;
	struct stat st;

	if (usp_sys_fstat(out->fd, &st) == 0 && st.st_size <= out->pos)
		return false;
	return usp_extents_compare(in->fd, in->pos, out->fd, out->pos, len, false, &extents) == 0 && extents.shared;
}

/*
 * Find out how the last len bytes went, which lie before the positions, and account for them. must_sync: write
 * them out first.
 */
static void range_judge(struct usp_file *in, struct usp_file *out, int64_t len, bool must_sync,
			const char *by_reference)
{
	struct usp_extents extents;
	int ret =
		usp_extents_compare(in->fd, in->pos - len, out->fd, out->pos - len, (uint64_t)len, must_sync, &extents);

	if (ret == 0 && !range_is_one_device(in, out)) {
		range_account(in, out, USP_COPIED, len, copy_reason);
	} else if (ret == 0) {
		range_account(in, out, USP_BY_REFERENCE, (int64_t)extents.shared, by_reference);
		range_account(in, out, USP_COPIED, (int64_t)extents.own, copy_reason);
		range_account(in, out, USP_UNKNOWN, (int64_t)extents.unknown, unknown_reason);
	} else if (by_reference == clone_reason) {
		range_account(in, out, USP_BY_REFERENCE, len, by_reference); /* FICLONERANGE does nothing else */
	} else if (usp_sys_fs_type(out->fd) == TMPFS_MAGIC) {
		range_account(in, out, USP_COPIED, len, tmpfs_reason);
	} else {
		range_account(in, out, USP_UNKNOWN, len, unknown_reason);
	}
}

ssize_t usp_clone_range(struct usp_file *in, struct usp_file *out, uint64_t len, bool must_judge)
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
	if (must_judge)
		range_judge(in, out, left, false, clone_reason);
	else
		range_account(in, out, USP_BY_REFERENCE, left, clone_reason);
	return left;
}

ssize_t usp_copy_range(struct usp_file *in, struct usp_file *out, size_t len, bool must_judge)
{
	bool must_sync = must_judge && range_is_shared_before(in, out, len);
	ssize_t ret = usp_sys_copy_file_range(in->fd, &in->pos, out->fd, &out->pos, len);

	if (ret > 0 && must_judge)
		range_judge(in, out, ret, must_sync, shared_reason);
	else
		range_account(in, out, USP_UNKNOWN, ret, unasked_reason);
	return ret;
}
