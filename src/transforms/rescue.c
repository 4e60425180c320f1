/* SPDX-License-Identifier: MIT */
/*
 * rescue - a stage over a file or device that cannot be read everywhere: what is bad becomes zeros, or is left out.
 *
 * After an error it reads in small steps, so that only what really cannot be read is lost. Each step is aligned, as the
 * sectors of a disk are. The first step that can be read ends that. What was bad is kept in a list.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <usplice/spec.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "splice/file.h"
#include "transforms/transforms.h"

#define RESCUE_STEP 4096
#define RESCUE_STEP_MIN 512
#define RESCUE_STEP_MAX (1 << 20)
#define RESCUE_RANGES_MAX 65536 /* those behind are counted, and not listed */
#define RESCUE_TURNS 64		/* steps that are left out in one call, which a signal cannot stop */

struct rescue_range {
	int64_t off;
	uint64_t len;
};

struct rescue {
	bool is_skip;
	bool is_careful; /* the last read failed: take small steps */
	int64_t step, end;
	int64_t skipped; /* bytes that were left out since the last seek: positions count what is given */
	uint64_t zeros;	 /* bytes that were given for what is bad */
	struct rescue_range *ranges;
	unsigned nr_ranges, nr_room;
};

static const char rescue_reason[] = "zeros for what could not be read";

/* Tell whether it is the medium that failed, and not the call. */
static bool rescue_is_bad(int error)
{
	static const int errors[] = {EIO, ENODATA, EREMOTEIO, EILSEQ, EUCLEAN, EBADMSG};

	for (unsigned i = 0; i < usp_array_len(errors); i++) {
		if (error == -errors[i])
			return true;
	}
	return false;
}

/* Note that a range is bad: 0 or -ENOMEM. */
static int rescue_note(struct rescue *rescue, int64_t off, uint64_t len)
{
	struct rescue_range *last = rescue->nr_ranges ? &rescue->ranges[rescue->nr_ranges - 1] : NULL;
	unsigned room = rescue->nr_room ? 2 * rescue->nr_room : 16;

	if (last && last->off + (int64_t)last->len == off) {
		last->len += len;
		return 0;
	}
	if (rescue->nr_ranges == RESCUE_RANGES_MAX)
		return 0;
	if (rescue->nr_ranges == rescue->nr_room) {
		last = usp_alloc_array(room, sizeof(*last));
		if (!last)
			return -ENOMEM;
		if (rescue->nr_ranges)
			memcpy(last, rescue->ranges, rescue->nr_ranges * sizeof(*last));
		usp_free(rescue->ranges);
		rescue->ranges = last;
		rescue->nr_room = room;
	}
	rescue->ranges[rescue->nr_ranges++] = (struct rescue_range){.off = off, .len = len};
	return 0;
}

/* Write zeros into the first len bytes of the segments. */
static void rescue_clear(const struct usp_iter *to, size_t len)
{
	for (unsigned i = 0; i < to->nr_segs && len; i++) {
		size_t part = usp_min(len, to->iov[i].iov_len);

		memset(to->iov[i].iov_base, 0, part);
		len -= part;
	}
}

/* Go past a step that is bad, at this place below: the bytes given, 0 if it is left out, or -errno. */
static ssize_t rescue_pass(struct rescue *rescue, const struct usp_iter *to, int64_t at, int64_t limit)
{
	int64_t len = usp_min(rescue->step - at % rescue->step, limit - at);
	int ret;

	if (!rescue->is_skip)
		len = usp_min(len, (int64_t)to->count);
	ret = rescue_note(rescue, at, (uint64_t)len);
	if (ret < 0)
		return ret;
	if (rescue->is_skip) {
		rescue->skipped += len;
		return 0;
	}
	rescue_clear(to, (size_t)len);
	rescue->zeros += (uint64_t)len;
	return len;
}

/* Read at most one step, or all that is asked for, from a place below: bytes, or -errno. */
static ssize_t rescue_try(struct usp_file *in, const struct usp_iter *to, int64_t at, unsigned flags)
{
	struct rescue *rescue = in->priv;
	struct iovec first = {.iov_base = to->iov[0].iov_base};
	ssize_t ret;

	if (!rescue->is_careful && (uint64_t)(rescue->end - at) >= to->count)
		return usp_file_try_read_iter(in->below, to, &at, flags);
	first.iov_len = usp_min(to->iov[0].iov_len, (size_t)usp_min(rescue->end - at, (int64_t)SSIZE_MAX));
	if (rescue->is_careful)
		first.iov_len = usp_min(first.iov_len, (size_t)(rescue->step - at % rescue->step));
	ret = usp_file_try_read_iter(in->below, &(struct usp_iter){.iov = &first, .nr_segs = 1, .count = first.iov_len},
				     &at, flags);
	if (ret > 0)
		rescue->is_careful = false;
	return ret;
}

static ssize_t rescue_read(struct usp_file *in, const struct usp_iter *to, int64_t pos, unsigned flags)
{
	struct rescue *rescue = in->priv;

	for (unsigned i = 0; i < RESCUE_TURNS; i++) {
		int64_t at = pos + rescue->skipped, limit;
		ssize_t ret;

		if (!to->count || at >= rescue->end)
			return 0;
		ret = rescue_try(in, to, at, flags);
		if (ret >= 0 || !rescue_is_bad((int)ret))
			return ret;
		if (!rescue->is_careful) {
			rescue->is_careful = true;
			continue;
		}
		limit = usp_min(usp_file_size(in->below), rescue->end);
		if (limit < 0)
			return ret; /* where it ends is not known */
		if (limit <= at)
			return 0;
		ret = rescue_pass(rescue, to, at, limit);
		if (ret)
			return ret;
	}
	return -EINTR; /* look whether to stop */
}

static ssize_t rescue_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	ssize_t ret = rescue_read(in, to, *pos, flags);

	if (ret > 0)
		*pos += ret;
	return ret;
}

static int64_t rescue_seek(struct usp_file *file, int64_t off, int whence)
{
	struct rescue *rescue = file->priv;

	rescue->skipped = 0;
	return usp_stack_seek(file, off, whence);
}

static ssize_t rescue_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct rescue *rescue = in->priv;
	uint64_t zeros = rescue->zeros;
	ssize_t ret = usp_copy_splice_read(in, pos, pipe, len, flags);

	zeros = rescue->zeros - zeros;
	if (ret > 0 && zeros)
		usp_file_reaccount(in, USP_READ, (size_t)zeros, rescue_reason);
	return ret;
}

static int rescue_release(struct usp_file *file)
{
	struct rescue *rescue = file->priv;

	usp_free(rescue->ranges);
	usp_free(rescue);
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops rescue_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "rescue",
	.read_iter = rescue_read_iter,
	.splice_read = rescue_splice_read,
	.release = rescue_release,
	.poll_fd = usp_stack_poll_fd,
	.seek = rescue_seek,
	.get_size = usp_stack_size,
};

int usp_rescue_range(const struct usp_file *stage, unsigned index, int64_t *ret_off, uint64_t *ret_len)
{
	const struct rescue *rescue = stage->ops == &rescue_ops ? stage->priv : NULL;

	if (!rescue || index >= rescue->nr_ranges)
		return -EINVAL;
	*ret_off = rescue->ranges[index].off;
	*ret_len = rescue->ranges[index].len;
	return 0;
}

/* --- The transform ------------------------------------------------------------------------------------------ */

/* Parse zero[:SIZE] or skip[:SIZE]: NULL or a sentence. */
static const char *rescue_parse(const char *options, bool *ret_is_skip, int64_t *ret_step)
{
	size_t len = strcspn(options, ":");

	*ret_is_skip = len == strlen("skip") && strncmp(options, "skip", len) == 0;
	if (!*ret_is_skip && (len != strlen("zero") || strncmp(options, "zero", len) != 0))
		return "it is neither zero nor skip";
	*ret_step = RESCUE_STEP;
	if (!options[len])
		return NULL;
	if (usp_size_parse(options + len + 1, ret_step, NULL) < 0 || *ret_step < RESCUE_STEP_MIN ||
	    *ret_step > RESCUE_STEP_MAX || *ret_step & (*ret_step - 1))
		return "the step is no power of two from 512 to 1M";
	return NULL;
}

static int rescue_check(const char *options, const char **ret_why)
{
	int64_t step;
	bool is_skip;

	*ret_why = rescue_parse(options, &is_skip, &step);
	return *ret_why ? -EINVAL : 0;
}

static int rescue_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	struct rescue *rescue = usp_alloc(sizeof(*rescue));
	int ret = rescue ? 0 : -ENOMEM;

	if (ret == 0 && (!(below->traits & USP_FILE_SEEKABLE) || below->traits & USP_FILE_SHARED)) {
		*ret_why = "what cannot be read can only be left out of a file or device that the command opens itself";
		ret = -EINVAL;
	}
	if (ret == 0) {
		rescue_parse(options, &rescue->is_skip, &rescue->step);
		rescue->end = params->flags & USP_TRANSFORM_LENGTH && params->length < INT64_MAX - below->pos
				      ? below->pos + params->length
				      : INT64_MAX;
		ret = usp_stack_new(&rescue_ops, below, USP_READ, "rescue", rescue, ret_file);
	}
	if (ret < 0)
		usp_free(rescue);
	else
		(*ret_file)->fd = below->fd; /* lent: it shows what is read, and whose attributes there are */
	return ret;
}

const struct usp_transform usp_rescue_transform = {.name = "rescue", .check = rescue_check, .open = rescue_open};
