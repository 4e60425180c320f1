/* SPDX-License-Identifier: MIT */
/*
 * sender - a sink that puts its bytes into frames.
 *
 *   pipe ──► look: what is there?  N bytes ──► hash them
 *                                     │
 *              "DATA N" ──► below ◄───┘ these N bytes, by the hooks of the file below
 *
 * A frame promises only bytes that are there, so a source that fails leaves no frame half sent, and the receiver can be
 * told. The side that writes is that of the file below (USP_FILE_SIDE_BELOW): the account has the bytes of the source,
 * and the kernel lane carries them where no digest needs to see them.
 */
#include <errno.h>
#include <string.h>

#include "base/compiler.h"
#include "framed/inside.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/sock.h"
#include "splice/stack.h"

#define SENDER_BUFS 64
#define SENDER_FRAME_MAX ((size_t)16 << 20)

static const char sender_failed[] = "the receiver failed";
static const char sender_early[] = "the receiver answers before it can have everything";

void framed_sender_begin(struct framed *framed)
{
	const struct framed_header header = {
		.version = FRAMED_VERSION,
		.digest = framed_digest_number(framed->digest),
		.flags = (uint16_t)framed->flags,
		.expected = framed->expected,
	};

	if (framed->stage != FRAMED_NEW)
		return;
	framed_put_header(&framed->out, &header);
	framed->stage = FRAMED_FLOWS;
}

/* --- What the receiver says -------------------------------------------------------------------------------------- */

/* Judge the answer, which has come: the last frame, behind the end mark. */
static int sender_judge(struct framed *framed)
{
	uint64_t count;

	if (framed->type == FRAMED_FAIL)
		return framed_told(framed, sender_failed);
	if (framed->type != FRAMED_DONE)
		return framed_failed(framed, -EBADMSG, "the receiver answers with a frame that does not belong here");
	if (framed->is_early)
		return framed_failed(framed, -EBADMSG, "%s", sender_early);
	if (framed->control_len != sizeof(count) + FRAMED_CRC_LEN)
		return framed_failed(framed, -EBADMSG, "a frame is damaged");
	count = framed_get_count(framed->in.base);
	framed_drop(framed);
	if (count != framed->total)
		return framed_failed(framed, -EBADMSG, "the receiver has %llu bytes, and %llu were sent",
				     (unsigned long long)count, (unsigned long long)framed->total);
	framed->stage = FRAMED_TOLD;
	return 0;
}

/* Receive the answer: 0, -EAGAIN or -errno. */
static int sender_hear(struct usp_file *file)
{
	struct framed *framed = file->priv;
	int ret = framed_next(file);

	if (ret == 0 && framed->type == FRAMED_DATA)
		return framed_failed(framed, -EBADMSG, "the receiver answers with bytes");
	if (ret == 0) {
		ret = sender_judge(framed);
		return ret == 0 && framed_gather(file, 1) == 0
			       ? framed_failed(framed, -EBADMSG, "there are bytes behind the answer of the receiver")
			       : ret;
	}
	if (ret == -ENODATA || ret == -ECONNRESET)
		return framed_failed(framed, ret == -ENODATA ? -ECONNRESET : ret,
				     "the receiver ended without an answer: whether it has all bytes is not known");
	return ret;
}

/*
 * Before the end mark is sent: what the receiver has said by now can only be that it failed. 0, or the error. Other errors
 * are found when the answer is received.
 */
static int sender_hear_early(struct usp_file *file)
{
	struct framed *framed = file->priv;

	if (framed_next(file) == 0)
		return framed->type == FRAMED_FAIL ? framed_told(framed, sender_failed)
						   : framed_failed(framed, -EBADMSG, "%s", sender_early);
	framed->is_early = framed->in.len || framed->control_len;
	return framed->error;
}

/* Writing has failed: the receiver may have said why. Returns the error. */
static int sender_broken(struct usp_file *file, int error)
{
	struct framed *framed = file->priv;

	if (error == -EAGAIN || error == -EINTR || framed->error)
		return error;
	if (framed->flags & USP_FRAMED_ANSWER && framed_next(file) == 0 && framed->type == FRAMED_FAIL)
		return framed_told(framed, sender_failed);
	framed->error = framed->error ? framed->error : error; /* an ordinary one, without a sentence */
	return framed->error;
}

/* --- Bytes ------------------------------------------------------------------------------------------------------- */

/* Find out how many bytes of the pipe are there, and hash them: their number, or -errno. The caller has the read turn. */
static ssize_t sender_look(struct framed *framed, struct usp_pipe *pipe, size_t len)
{
	struct usp_buf bufs[SENDER_BUFS];
	unsigned nr = usp_pipe_peek(pipe, bufs, SENDER_BUFS);
	size_t done = 0;
	int ret = 0;

	for (unsigned i = 0; i < nr && done < len; i++) {
		size_t whole = bufs[i].len, chunk;

		ret = usp_buf_confirm(pipe, &bufs[i], USP_SPLICE_NONBLOCK);
		if (ret == 0 && framed->digest && !usp_buf_is_mapped(&bufs[i])) {
			ret = usp_buf_map(pipe, &bufs[i]);
			if (ret == 0)
				usp_pipe_set(pipe, i, &bufs[i]);
		}
		if (ret < 0)
			break;
		chunk = usp_min(bufs[i].len, len - done);
		if (framed->digest)
			framed_hash(framed, usp_buf_bytes(&bufs[i]), chunk);
		done += chunk;
		if (bufs[i].len < whole)
			break;
	}
	return done ? (ssize_t)done : ret == -ENODATA ? 0 : ret;
}

/* Begin a frame of what is in the pipe: its bytes, 0 at the end of the pipe, or -errno. */
static ssize_t sender_promise(struct framed *framed, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	ssize_t ret = usp_pipe_take_read(pipe, flags, &len);

	if (ret <= 0)
		return ret;
	ret = sender_look(framed, pipe, usp_min(len, SENDER_FRAME_MAX));
	usp_pipe_end_read(pipe);
	if (ret <= 0)
		return ret;
	framed_put_frame(&framed->out, FRAMED_DATA, (uint32_t)ret);
	framed->left = (uint32_t)ret;
	framed->pipe = pipe;
	return ret;
}

static void sender_count(struct framed *framed, size_t len)
{
	framed->left -= (uint32_t)len;
	framed->total += len;
}

/* Tell whether bytes can be written: 0 or -errno. */
static int sender_check(struct framed *framed)
{
	if (framed->error)
		return framed->error;
	return framed->stage > FRAMED_FLOWS || framed->is_asking ? -EPIPE : 0;
}

static ssize_t sender_try_splice(struct usp_pipe *pipe, struct usp_file *out, size_t len, unsigned flags)
{
	struct framed *framed = out->priv;
	ssize_t ret = framed->left ? 0 : sender_promise(framed, pipe, len, flags);

	if (ret < 0 || !framed->left)
		return ret;
	if (framed->pipe != pipe)
		return -EBUSY; /* the frame promises bytes of another pipe */
	ret = framed_flush(out, USP_SPLICE_MORE);
	if (ret == 0)
		ret = usp_file_splice_write(pipe, out->below, &out->below->pos, usp_min(len, framed->left),
					    flags | USP_SPLICE_NONBLOCK);
	if (ret > 0)
		sender_count(framed, (size_t)ret);
	return ret < 0 ? sender_broken(out, (int)ret) : ret;
}

static ssize_t sender_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
				   unsigned flags)
{
	struct framed *framed = out->priv;
	ssize_t ret = sender_check(framed);

	(void)pos; /* a stream */
	if (ret < 0)
		return ret;
	framed_sender_begin(framed);
	do
		ret = sender_try_splice(pipe, out, len, flags);
	while (ret == -EAGAIN && framed->left && usp_pipe_len(pipe) && /* else it is the pipe that has nothing */
	       (ret = usp_file_await(out, USP_WRITE, flags)) == 0);
	return ret;
}

/*
 * The door waits. What goes into a frame is copied, so that the frame becomes as long as it says also if the caller does
 * not come again: it is taken even if below is full.
 */
static ssize_t sender_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct framed *framed = out->priv;
	size_t len = usp_min(from->count, FRAMED_WRITE_MAX);
	ssize_t ret = sender_check(framed);
	unsigned char *bytes;

	(void)pos;
	if (ret < 0 || !len)
		return ret;
	if (framed->left)
		return -EBUSY; /* the frame promises bytes of a pipe */
	framed_sender_begin(framed);
	ret = framed_flush(out, USP_SPLICE_MORE);
	if (ret < 0)
		return sender_broken(out, (int)ret);
	framed_put_frame(&framed->out, FRAMED_DATA, (uint32_t)len);
	bytes = framed->out.base + framed->out.len;
	usp_iter_copy_from(from, 0, bytes, len);
	framed->out.len += len;
	framed->total += len;
	framed_hash(framed, bytes, len);
	ret = framed_flush(out, flags & USP_SPLICE_MORE);
	return ret < 0 && ret != -EAGAIN ? sender_broken(out, (int)ret) : (ssize_t)len;
}

/* --- The end ------------------------------------------------------------------------------------------------------- */

/* Queue the end mark. A frame that was promised and not filled is no end. */
static int sender_shutdown(struct usp_file *file)
{
	struct framed *framed = file->priv;
	unsigned char digest[USP_HASH_LEN_MAX];
	size_t len = framed->digest ? framed->digest->len : 0;
	int ret = framed->error;

	if (ret == 0 && (framed->left || framed->is_asking || framed->has_failed))
		ret = framed_failed(framed, -ENODATA, "the source became shorter while it was sent");
	if (ret == 0 && framed->stage < FRAMED_ENDED && framed->flags & USP_FRAMED_ANSWER)
		ret = sender_hear_early(file);
	if (ret < 0 || framed->stage >= FRAMED_ENDED)
		return ret;
	framed_sender_begin(framed);
	if (len)
		framed->digest->finish(framed->state, digest);
	framed_put_count(&framed->out, FRAMED_END, framed->total, digest, len);
	framed->stage = FRAMED_ENDED;
	ret = framed_flush(file, 0);
	return ret == -EAGAIN ? 0 : ret < 0 ? sender_broken(file, ret) : 0;
}

/* Go on with the end as far as that is possible without waiting: 0, -EAGAIN or -errno. */
static int sender_end(struct usp_file *file)
{
	struct framed *framed = file->priv;
	bool is_ours = !(file->below->traits & USP_FILE_SHARED);
	int ret = framed_flush(file, 0);

	if (ret < 0)
		return sender_broken(file, ret);
	if (framed->stage < FRAMED_ENDED)
		return 0;
	if (!framed->is_shut && is_ours)
		ret = usp_file_shutdown(file->below);
	if (ret < 0)
		return sender_broken(file, ret);
	framed->is_shut = true;
	if (framed->stage == FRAMED_ENDED && framed->flags & USP_FRAMED_ANSWER)
		ret = sender_hear(file);
	if (ret == 0 && file->below->traits & USP_FILE_SOCKET)
		ret = usp_file_sync(file->below);
	return ret;
}

/* A call that may wait does so for the answer, and else until all is written. */
static int sender_sync(struct usp_file *file)
{
	struct framed *framed = file->priv;
	int ret = framed->error;

	if (ret < 0)
		return ret;
	do
		ret = sender_end(file);
	while (ret == -EAGAIN &&
	       (ret = usp_file_await(file, framed->out.len || !framed->is_shut ? USP_WRITE : USP_READ, 0)) == 0);
	return ret;
}

void framed_sender_give_up(struct usp_file *file, const char *why)
{
	struct framed *framed = file->priv;

	if (framed->has_failed || framed->error || framed->left || framed->stage >= FRAMED_ENDED)
		return;
	framed->has_failed = true;
	framed_sender_begin(framed);
	framed_put_text(&framed->out, FRAMED_FAIL, why);
	if (framed_flush(file, 0) < 0)
		usp_file_abort(file->below); /* nobody takes it */
	else if (!(file->below->traits & USP_FILE_SHARED))
		usp_file_shutdown(file->below);
}

/*
 * A stream without an end mark is refused, however it ends. So where a reason can follow it is not reset: that and the
 * bytes that are on their way still arrive. Else there is nothing to wait for: a frame is half sent, the receiver has
 * ended, or it does not take the end mark.
 */
static int sender_abort(struct usp_file *file)
{
	const struct framed *framed = file->priv;
	bool is_half = framed->left || framed->error;

	if (framed->has_failed || (!is_half && framed->stage < FRAMED_ENDED))
		return 0;
	return is_half || usp_sock_unsent(file) != 0 ? usp_file_abort(file->below) : 0;
}

static int sender_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	return usp_file_poll_fd(file->below, side, ret_events);
}

static int sender_release(struct usp_file *file)
{
	framed_sender_give_up(file, "");
	return framed_release(file);
}

const struct usp_file_ops usp_framed_sender_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "framed",
	.write_iter = sender_write_iter,
	.splice_write = sender_splice_write,
	.poll = usp_stack_poll,
	.sync = sender_sync,
	.shutdown = sender_shutdown,
	.release = sender_release,
	.abort = sender_abort,
	.poll_fd = sender_poll_fd,
};
