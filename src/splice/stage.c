/* SPDX-License-Identifier: MIT */
/*
 * stage - a file over a file by one function of an author, which looks at bytes or changes them.
 *
 *   below ──splice_read──► [pulled] ──► look, or change ──► the caller's pipe
 *
 * Bufs wait in a pipe of the stage until their bytes are there, and until there is room behind it. A buf is changed
 * where it lies if the stage can steal it. Parts of it that have gone on refer to other bytes of the same memory: it
 * is stolen once.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/sock.h"
#include "splice/stack.h"

#define STAGE_PULLED_SLOTS 64
#define STAGE_PULLED_SLOT_BYTES ((size_t)1 << 20)

static const char stage_looked[] = "looked at, and passed on as it is";
static const char stage_mapped[] = "bytes held by the kernel were read into memory";
static const char stage_changed[] = "changed where it lay";
static const char stage_copied[] = "others refer to the memory: changed in a copy";

struct stage {
	struct usp_stage_ops ops; /* hooks that the author's table does not have are NULL */
	void *arg;
	struct usp_pipe *pulled;
	bool is_ours; /* the first buf in pulled was stolen */
	bool has_ended;
	int error; /* that ended the stage, or 0 */
};

/* One call: where the bytes go, and how they went. */
struct stage_call {
	struct usp_file *in;
	struct usp_pipe *to;
	const struct usp_iter *iter;
	size_t done;
};

/* --- The author's function ----------------------------------------------------------------------------------- */

/* Let it have len bytes: how many it has used, or -errno if it refused the first one. */
static ssize_t stage_use(struct stage *stage, unsigned char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && stage->error == 0) {
		size_t left = len - done;
		ssize_t ret = stage->ops.change ? stage->ops.change(stage->arg, bytes + done, left)
						: stage->ops.look(stage->arg, bytes + done, left);

		if (ret > 0 && (size_t)ret <= left)
			done += (size_t)ret;
		else
			stage->error = ret < 0 && ret != -EAGAIN ? (int)ret : -EIO;
	}
	return done ? (ssize_t)done : stage->error;
}

/* The input has ended: 0 or -errno. */
static int stage_end(struct stage *stage)
{
	if (!stage->has_ended && stage->ops.end)
		stage->error = stage->ops.end(stage->arg);
	stage->has_ended = true;
	return stage->error;
}

/* --- Into a pipe --------------------------------------------------------------------------------------------- */

/* Become an owner of the first len bytes of a buf, which it may change if it changes bytes: 0 or -errno. */
static int stage_own(struct stage *stage, struct usp_buf *buf, size_t len, struct usp_buf *ret_own,
		     const char **ret_reason)
{
	bool is_change = stage->ops.change;
	int ret;

	*ret_reason = buf->flags & USP_BUF_MAPPED ? stage_mapped : is_change ? stage_changed : stage_looked;
	if (!is_change || stage->is_ours) {
		*ret_own = *buf;
		ret_own->len = len;
		return usp_buf_get(stage->pulled, buf, ret_own) ? 0 : -EFAULT;
	}
	ret = usp_buf_take(stage->pulled, buf, len, USP_SPLICE_MOVE, ret_own);
	if (ret < 0)
		return ret;
	stage->is_ours = ret_own->store == buf->store;
	if (!stage->is_ours)
		*ret_reason = stage_copied;
	return 0;
}

static void stage_account(struct usp_file *in, size_t len, const char *reason)
{
	enum usp_way way = reason == stage_looked    ? USP_BY_REFERENCE
			   : reason == stage_changed ? USP_REWRITTEN
						     : USP_COPIED;

	usp_file_account(in, USP_READ, way, len, reason);
}

/* Pass on what the author's function has used of a buf. */
static ssize_t stage_push_actor(struct usp_pipe *pulled, struct usp_buf *buf, size_t len, void *arg)
{
	struct stage_call *call = arg;
	struct stage *stage = call->in->priv;
	struct usp_buf own;
	const char *reason;
	size_t room;
	ssize_t ret;

	if (!usp_pipe_room(call->to, &room))
		return 0;
	len = usp_min(usp_min(len, room), usp_pipe_slot_bytes(call->to));
	ret = stage_own(stage, buf, len, &own, &reason);
	if (ret < 0)
		return ret;
	own.flags = buf->flags & (USP_BUF_PACKET | USP_BUF_MAPPED); /* the others are for the first owner */
	ret = stage_use(stage, usp_buf_bytes(&own), len);
	if (ret <= 0) {
		usp_buf_release(pulled, &own);
		return ret;
	}
	own.len = (size_t)ret;
	usp_pipe_push(call->to, &own, 1);
	stage_account(call->in, (size_t)ret, reason);
	stage->is_ours &= (size_t)ret < buf->len;
	return ret;
}

/* Wait for what the stage waits for, if the call does: 0 or -errno. */
static int stage_wait(struct usp_file *in, unsigned flags)
{
	return flags & USP_SPLICE_NONBLOCK ? -EAGAIN : usp_file_wait(in, USP_READ);
}

/* Show an actor what was pulled: bytes, or -errno. */
static ssize_t stage_feed(struct usp_file *in, size_t len, unsigned flags, usp_splice_actor *actor,
			  struct stage_call *call)
{
	struct stage *stage = in->priv;
	ssize_t ret;

	do
		ret = usp_splice_from_pipe(stage->pulled, len, flags | USP_SPLICE_NONBLOCK, actor, call);
	while (ret == -EAGAIN && stage_wait(in, flags) == 0);
	return ret ? ret : -EIO; /* 0: confirm found that the bytes are gone, and that is not the end */
}

static ssize_t stage_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct stage_call call = {.in = in, .to = pipe};
	struct stage *stage = in->priv;
	ssize_t ret = 1;
	size_t room;

	(void)pos; /* a stream */
	if (stage->error || stage->has_ended)
		return stage->error;
	flags = usp_file_blocks(in, flags) ? flags & ~USP_SPLICE_NONBLOCK : flags | USP_SPLICE_NONBLOCK;
	usp_pipe_room(pipe, &room);
	len = usp_min(len, room);
	if (!usp_pipe_len(stage->pulled))
		ret = usp_stack_pull(in, stage->pulled, len, flags);
	if (ret > 0)
		return stage_feed(in, len, flags, stage_push_actor, &call);
	return ret ? ret : stage_end(stage);
}

/* --- Into memory --------------------------------------------------------------------------------------------- */

/* Let the author's function have the first len bytes of the caller's memory, from done on: bytes, or -errno. */
static ssize_t stage_use_iter(struct stage *stage, const struct usp_iter *to, size_t from, size_t len)
{
	size_t done = 0, at = 0;
	ssize_t ret = 0;

	for (unsigned i = 0; i < to->nr_segs && done < len; at += to->iov[i++].iov_len) {
		size_t skip = usp_min(from + done - at, to->iov[i].iov_len);
		size_t part = usp_min(to->iov[i].iov_len - skip, len - done);

		ret = part ? stage_use(stage, (unsigned char *)to->iov[i].iov_base + skip, part) : 0;
		done += ret > 0 ? (size_t)ret : 0;
		if (ret < (ssize_t)part)
			break;
	}
	return done ? (ssize_t)done : ret;
}

static ssize_t stage_copy_actor(struct usp_pipe *pulled, struct usp_buf *buf, size_t len, void *arg)
{
	struct stage_call *call = arg;
	struct stage *stage = call->in->priv;
	ssize_t ret;

	(void)pulled;
	usp_iter_copy_to(call->iter, call->done, usp_buf_bytes(buf), len);
	ret = stage_use_iter(stage, call->iter, call->done, len);
	if (ret > 0) {
		call->done += (size_t)ret;
		stage->is_ours &= (size_t)ret < buf->len;
	}
	return ret;
}

/* The door waits, by poll_fd, as it does for every file. */
static ssize_t stage_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct stage_call call = {.in = in, .iter = to};
	struct stage *stage = in->priv;
	ssize_t ret;

	(void)pos;
	if (!to->count || stage->error || stage->has_ended)
		return to->count ? stage->error : 0;
	flags |= USP_SPLICE_NONBLOCK;
	if (usp_pipe_len(stage->pulled))
		return stage_feed(in, to->count, flags, stage_copy_actor, &call);
	ret = usp_file_try_read_iter(in->below, to, &in->below->pos, flags);
	if (ret > 0)
		return stage_use_iter(stage, to, 0, (size_t)ret);
	if (ret == 0)
		ret = usp_sock_end_error(in->below);
	return ret ? ret : stage_end(stage);
}

/* --- Life ---------------------------------------------------------------------------------------------------- */

/* Wait for bytes that were pulled and come late, or for the file below. */
static int stage_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct stage *stage = file->priv;
	int fd;

	if (stage->error || stage->has_ended)
		return -EPERM;
	if (usp_pipe_is_late(stage->pulled, &fd, ret_events))
		return fd;
	return usp_pipe_len(stage->pulled) ? -EPERM : usp_stack_poll_fd(file, side, ret_events);
}

static void stage_free(struct stage *stage)
{
	if (!stage)
		return;
	usp_pipe_free(stage->pulled);
	usp_free(stage);
}

static int stage_release(struct usp_file *file)
{
	struct stage *stage = file->priv;

	if (stage->ops.release)
		stage->ops.release(stage->arg);
	usp_file_unread(file->below, usp_pipe_len(stage->pulled));
	stage_free(stage);
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops stage_file_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "stage",
	.read_iter = stage_read_iter,
	.splice_read = stage_splice_read,
	.release = stage_release,
	.poll_fd = stage_poll_fd,
	.get_size = usp_stack_size,
};

static int stage_new(const struct usp_stage_ops *ops, void *arg, struct stage **ret_stage)
{
	const struct usp_pipe_params pulled = {
		.size = sizeof(pulled), .nr_slots = STAGE_PULLED_SLOTS, .slot_bytes = STAGE_PULLED_SLOT_BYTES};
	struct stage *stage = usp_alloc(sizeof(*stage));
	int ret = stage ? usp_sized_take(&stage->ops, sizeof(stage->ops), ops) : -ENOMEM;

	*ret_stage = stage;
	if (ret == 0 && (!stage->ops.name || !stage->ops.look == !stage->ops.change))
		ret = -EINVAL;
	if (ret < 0)
		return ret;
	stage->arg = arg;
	return usp_pipe_new(&pulled, &stage->pulled);
}

int usp_stage_open(const struct usp_stage_ops *ops, void *arg, struct usp_file *below, struct usp_file **ret_file)
{
	struct stage *stage;
	int ret = stage_new(ops, arg, &stage);

	if (ret == 0)
		ret = usp_stack_new(&stage_file_ops, below, USP_READ, stage->ops.name, stage, ret_file);
	if (ret < 0) {
		stage_free(stage);
		return ret;
	}
	(*ret_file)->traits &= ~(USP_FILE_SEEKABLE | USP_FILE_SHARED);
	if (stage->ops.look)
		(*ret_file)->traits |= USP_FILE_OBSERVES;
	return 0;
}
