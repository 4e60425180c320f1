/* SPDX-License-Identifier: MIT */
/* direct - from file to file without a pipe: do both have the same blocks afterwards? */
#include <errno.h>

#include "base/sys.h"
#include "lanes/extents.h"
#include "matrix/inside.h"

static const char shared_reason[] = "both files have the same blocks, as FIEMAP shows";
static const char own_reason[] = "the bytes have blocks of their own, as FIEMAP shows";
static const char part_reason[] = "a part of the blocks is shared, and a part was copied";
static const char untold_reason[] = "the file system does not tell where its blocks are";
static const char memory_reason[] = "the pages are the only storage, and a later change of the source does not show";

static struct matrix_verdict direct_say(enum usp_probe_answer answer, const char *reason)
{
	return (struct matrix_verdict){.answer = answer, .reason = reason};
}

/* Files of tmpfs have no blocks: a shared page would show the change. */
static struct matrix_verdict direct_look(const struct matrix_bytes *from, int to)
{
	char seen = 0;
	const struct iovec iov = {.iov_base = &seen, .iov_len = 1};

	if (!usp_matrix_is_memory(to) || usp_matrix_bytes_change(from, MATRIX_NEW) < 0 ||
	    usp_sys_readv(to, &iov, 1, &(int64_t){0}) != 1)
		return direct_say(USP_PROBE_UNDECIDABLE, untold_reason);
	if (seen == MATRIX_NEW)
		return direct_say(USP_PROBE_BY_REFERENCE, "a change of the source showed in the other file");
	return direct_say(seen == MATRIX_OLD ? USP_PROBE_COPIED : USP_PROBE_UNDECIDABLE, memory_reason);
}

static struct matrix_verdict direct_judge(const struct matrix_bytes *from, int to)
{
	struct usp_extents extents;

	if (usp_extents_compare(from->fd, 0, to, 0, from->len, true, &extents) < 0)
		return direct_look(from, to);
	if (extents.shared == from->len)
		return direct_say(USP_PROBE_BY_REFERENCE, shared_reason);
	if (extents.own == from->len)
		return direct_say(USP_PROBE_COPIED, own_reason);
	return direct_say(USP_PROBE_UNDECIDABLE, extents.unknown ? untold_reason : part_reason);
}

static struct matrix_verdict direct_copy(const struct matrix_bytes *from, int to, bool is_clone)
{
	int64_t off_in = 0, off_out = 0;
	ssize_t ret = is_clone ? usp_sys_clone_range(from->fd, 0, to, 0, from->len)
			       : usp_sys_copy_file_range(from->fd, &off_in, to, &off_out, from->len);

	if (ret < 0)
		return usp_matrix_failed((int)-ret, true);
	if (!is_clone && (size_t)ret != from->len)
		return direct_say(USP_PROBE_UNDECIDABLE, "the call moved fewer bytes than it was asked for");
	return direct_judge(from, to);
}

struct matrix_verdict usp_matrix_direct(const struct matrix_object *object, size_t len, bool is_clone)
{
	struct matrix_verdict verdict;
	struct matrix_bytes from;
	int to = usp_matrix_object_file(object);
	int ret = usp_matrix_bytes_file(usp_matrix_object_file(object), len, MATRIX_OLD, object->base_state, &from);

	if (ret == 0 && to < 0)
		ret = to;
	verdict = ret < 0 ? usp_matrix_failed(-ret, false) : direct_copy(&from, to, is_clone);
	usp_sys_close(to);
	usp_matrix_bytes_close(&from);
	return verdict;
}
