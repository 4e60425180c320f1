/* SPDX-License-Identifier: MIT */
/*
 * sequence - several files as one source, one behind the other, as cat(1) gives them.
 *
 *   next() ──► file ──► [fd, traits, pos] ──► the hooks of a lane, or of the file
 *
 * The sequence shows the descriptor and the position of the file whose turn it is as its own. So the
 * kernel lane, and copies from file to file, work as if that file were the source. At the end of a
 * file the doors call the hook `next`. The account of all files is that of the sequence.
 */
#include <errno.h>
#include <usplice/probe.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/sized.h"
#include "lanes/probe.h"
#include "splice/file.h"
#include "splice/hole.h"
#include "splice/pipe.h"
#include "splice/sock.h"

struct sequence {
	struct usp_sequence_params params;
	struct usp_file *now; /* whose turn it is; stays open behind the last byte of the last one */
	bool is_over;	      /* there is none behind it */
};

/* --- The file whose turn it is --------------------------------------------------------------------------- */

/* Give the file below the position and the flags that calls on the sequence have. */
static void sequence_lower(struct usp_file *file, const int64_t *pos)
{
	struct usp_file *now = ((struct sequence *)file->priv)->now;

	if (!usp_file_shares_pos(now, &now->pos))
		now->pos = *pos;
	atomic_fetch_or(usp_u32(&now->flags), atomic_load(usp_u32(&file->flags)) & USP_NONBLOCK);
}

static void sequence_raise(struct usp_file *file, int64_t *pos)
{
	struct usp_file *now = ((struct sequence *)file->priv)->now;

	*pos = now->pos;
	atomic_store(usp_u32(&file->is_drained), atomic_load(usp_u32(&now->is_drained)));
}

/* Show a file as that of the sequence, which takes its reference. */
static void sequence_show(struct usp_file *file, struct usp_file *now)
{
	struct sequence *sequence = file->priv;
	unsigned own = atomic_load(usp_u32(&file->flags)) & USP_NONBLOCK;

	usp_file_put(sequence->now);
	sequence->now = now;
	file->fd = now->fd;
	file->traits = now->traits & ~(USP_FILE_SEEKABLE | USP_FILE_OBSERVES);
	file->traits |= now->traits & USP_FILE_SEEKABLE ? USP_FILE_HAS_POS : 0;
	file->pos = now->pos;
	file->io_bytes = now->io_bytes;
	usp_hole_set_mode(file, (enum usp_sparse)file->holes.mode); /* what was known is of the file before */
	atomic_store(usp_u32(&file->flags), own | (atomic_load(usp_u32(&now->flags)) & USP_DIRECT));
	atomic_store(usp_u32(&file->is_drained), false);
}

static int sequence_ask(struct sequence *sequence, struct usp_file **ret_file)
{
	int ret = sequence->is_over ? 0 : sequence->params.next(sequence->params.arg, ret_file);

	sequence->is_over = ret == 0;
	if (ret > 0 && (!((*ret_file)->mode & USP_READ) || usp_file_pipe(*ret_file))) {
		usp_file_put(*ret_file);
		return -EINVAL;
	}
	return ret;
}

/*
 * Go on with a lane: what the plan found out holds for the first file only. A file that cannot be
 * spliced ends the lane, unless the lane is forced.
 */
static int sequence_keep_lane(struct usp_file *file)
{
	struct usp_side *side = usp_file_side(file, USP_READ);
	struct usp_probe_result found = {.size = sizeof(found), .way = USP_UNKNOWN};

	if (!side->lane)
		return 0;
	if (file->fd < 0 || !(file->traits & USP_FILE_SPLICEABLE)) {
		if (side->lane_is_forced)
			return -EOPNOTSUPP;
		side->lane = NULL;
		return 0;
	}
	if (side->lane_reason) /* the plan was allowed to probe */
		usp_probe(file, USP_READ, &found);
	side->lane_way = (uint8_t)found.way;
	side->lane_reason = found.reason;
	return 0;
}

/* See endpoint.h. A connection that broke looks like an end, and is none. */
static int sequence_next(struct usp_file *file)
{
	struct sequence *sequence = file->priv;
	struct usp_file *next = NULL;
	int ret = usp_sock_end_error(sequence->now);

	if (ret == 0)
		ret = usp_file_next(sequence->now);
	if (ret < 0)
		return ret;
	ret = sequence_ask(sequence, &next);
	if (ret <= 0)
		return ret;
	sequence_show(file, next);
	ret = sequence_keep_lane(file);
	return ret < 0 ? ret : 1;
}

/* --- The hooks ------------------------------------------------------------------------------------------- */

static ssize_t sequence_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct sequence *sequence = in->priv;
	ssize_t ret;

	sequence_lower(in, pos);
	ret = usp_file_try_read_iter(sequence->now, to, &sequence->now->pos, flags | USP_SPLICE_NONBLOCK);
	sequence_raise(in, pos);
	return ret;
}

/* Account on the sequence for what a call moved out of the file. */
static void sequence_account(struct usp_file *in, const struct usp_hop *before)
{
	struct usp_hop after = {.size = sizeof(after)};

	usp_file_hop(((struct sequence *)in->priv)->now, USP_READ, &after);
	for (unsigned way = 0; way < USP_NR_WAYS; way++) {
		uint64_t len = after.bytes[way] - before->bytes[way];

		if (len)
			usp_file_account(in, USP_READ, (enum usp_way)way, len, after.reason[way]);
	}
}

static ssize_t sequence_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
				    unsigned flags)
{
	struct sequence *sequence = in->priv;
	struct usp_hop before = {.size = sizeof(before)};
	ssize_t ret;

	sequence_lower(in, pos);
	usp_file_hop(sequence->now, USP_READ, &before);
	ret = usp_file_splice_read(sequence->now, &sequence->now->pos, pipe, len, flags);
	sequence_account(in, &before);
	sequence_raise(in, pos);
	return ret;
}

static unsigned sequence_poll(struct usp_file *file)
{
	return usp_file_poll(((struct sequence *)file->priv)->now);
}

static int sequence_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	return usp_file_poll_fd(((struct sequence *)file->priv)->now, side, ret_events);
}

/* Nobody knows what comes behind this file. */
static int64_t sequence_size(const struct usp_file *file)
{
	(void)file;
	return -EINVAL;
}

static void sequence_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	const struct usp_file *now = ((struct sequence *)file->priv)->now;

	usp_probe(now, side, ret_result);
}

static int sequence_find_hole(struct usp_file *in, int64_t pos, struct usp_holes *ret_holes)
{
	struct usp_file *now = ((struct sequence *)in->priv)->now;
	int (*find)(struct usp_file *, int64_t, struct usp_holes *) = USP_FILE_HOOK(now, find_hole);

	return find ? find(now, pos, ret_holes) : -EOPNOTSUPP;
}

static int sequence_release(struct usp_file *file)
{
	struct sequence *sequence = file->priv;

	usp_file_put(sequence->now);
	usp_free(sequence);
	return 0;
}

static const struct usp_file_ops sequence_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "sequence",
	.read_iter = sequence_read_iter,
	.splice_read = sequence_splice_read,
	.poll = sequence_poll,
	.poll_fd = sequence_poll_fd,
	.get_size = sequence_size,
	.release = sequence_release,
	.probe = sequence_probe,
	.next = sequence_next,
	.find_hole = sequence_find_hole,
};

/* --- Opening --------------------------------------------------------------------------------------------- */

int usp_sequence_open(const struct usp_sequence_params *params, const char *spec, struct usp_file **ret_file)
{
	struct sequence *sequence = usp_alloc(sizeof(*sequence));
	struct usp_file *file = NULL, *first = NULL;
	int ret = sequence ? usp_sized_take(&sequence->params, sizeof(sequence->params), params) : -ENOMEM;

	if (ret == 0 && !sequence->params.next)
		ret = -EINVAL;
	if (ret == 0)
		ret = usp_file_new(&sequence_ops, USP_READ, spec, sequence, &file);
	if (ret < 0) {
		usp_free(sequence);
		return ret;
	}
	ret = sequence_ask(sequence, &first);
	if (ret <= 0) {
		usp_file_put(file);
		return ret < 0 ? ret : -EINVAL;
	}
	sequence_show(file, first);
	*ret_file = file;
	return 0;
}
