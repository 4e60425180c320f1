/* SPDX-License-Identifier: MIT */
/*
 * receiver - a source that gives the bytes out of frames.
 *
 *   below ──► header ──► "DATA N" ──► N bytes ──► the caller's pipe, and hashed
 *                           ▲            │
 *                           └────────────┘      "END" ──► does all fit? ──► the end of input, or an error
 *
 * Lengths of the peer are never trusted with memory: bytes go on as they come. The end of input is told only behind
 * an end mark that fits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "framed/inside.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/sock.h"
#include "splice/stack.h"

static const char receiver_reason[] = "out of frames, and passed on as it is";
static const char receiver_mapped[] = "bytes held by the kernel were read into memory, to hash them";

/* --- Errors -------------------------------------------------------------------------------------------------------- */

/* The stream has ended before its end mark. */
static int receiver_cut(struct framed *framed, int error)
{
	char of[40] = "";

	if (framed->expected != FRAMED_UNKNOWN)
		snprintf(of, sizeof(of), " of %" PRIu64, framed->expected);
	return framed_failed(framed, error, "the stream was cut: %" PRIu64 "%s bytes came, and no end mark",
			     framed->total, of);
}

/* Give errors of the stream below the meaning that they have here. */
static int receiver_error(struct framed *framed, int error)
{
	if (error == -ENODATA || error == -ECONNRESET)
		return receiver_cut(framed, error);
	if (error < 0 && error != -EAGAIN && error != -EINTR && !framed->error)
		framed->error = error;
	return error;
}

/* --- Header and end -------------------------------------------------------------------------------------------------- */

/* Prepare the digest that the sender announces: 0 or -errno. */
static int receiver_take_digest(struct framed *framed, uint8_t number)
{
	const char *missing = NULL;

	if (!framed_digest_find(number, &framed->digest))
		return framed_failed(framed, -EBADMSG, "its digest is of a kind that is not known here");
	if (!framed->digest)
		return 0;
	if (framed->digest->missing)
		missing = framed->digest->missing();
	if (missing)
		return framed_failed(framed, -EOPNOTSUPP, "its digest %s %s", framed->digest->name, missing);
	framed->state = framed->digest->open();
	if (framed->state && framed->flags & USP_FRAMED_RESUME)
		framed->seen = framed->digest->open();
	return framed->state && (framed->seen || !(framed->flags & USP_FRAMED_RESUME)) ? 0 : -ENOMEM;
}

int framed_receiver_begin(struct usp_file *file)
{
	struct framed *framed = file->priv;
	struct framed_header header;
	const char *why;
	int ret;

	if (framed->error || framed->stage != FRAMED_NEW)
		return framed->error;
	ret = framed_gather(file, FRAMED_HEADER_LEN);
	if (ret == -ENODATA && framed->in.len)
		return framed_failed(
			framed, -EBADMSG,
			"what comes is not framed, or was cut in its header: the sender needs --framed, too");
	if (ret < 0)
		return receiver_error(framed, ret);
	why = framed_get_header(framed->in.base, &header);
	framed->in.len = 0;
	if (why)
		return framed_failed(framed, -EBADMSG, "%s", why);
	framed->flags = header.flags;
	framed->expected = header.expected;
	if (framed->flags & ~(USP_FRAMED_ANSWER | USP_FRAMED_RESUME))
		return framed_failed(framed, -EBADMSG, "it asks for something that is not known here");
	if (framed->flags & USP_FRAMED_RESUME && (!header.digest || !(framed->flags & USP_FRAMED_ANSWER)))
		return framed_failed(framed, -EBADMSG, "its header contradicts itself");
	if (framed->flags & USP_FRAMED_ANSWER && !(file->below->mode & USP_WRITE))
		return framed_failed(framed, -EBADMSG,
				     "the sender waits for an answer, and there is no way back to it");
	ret = receiver_take_digest(framed, header.digest);
	if (ret == 0)
		framed->stage = FRAMED_FLOWS;
	return ret;
}

/* Compare the end mark with what came: 0 or -EBADMSG. */
static int receiver_compare(struct framed *framed)
{
	unsigned char digest[USP_HASH_LEN_MAX];
	char ours[USP_HASH_HEX_MAX], theirs[USP_HASH_HEX_MAX];
	size_t len = framed->digest ? framed->digest->len : 0;
	uint64_t count = framed_get_count(framed->in.base);

	if (framed->control_len != sizeof(count) + len + FRAMED_CRC_LEN)
		return framed_failed(framed, -EBADMSG, "a frame is damaged");
	if (count != framed->total)
		return framed_failed(framed, -EBADMSG, "%" PRIu64 " bytes came, and the sender has sent %" PRIu64,
				     framed->total, count);
	if (!len)
		return 0;
	framed->digest->finish(framed->state, digest);
	if (memcmp(digest, framed->in.base + sizeof(count), len) == 0)
		return 0;
	usp_hash_format(digest, len, ours);
	usp_hash_format(framed->in.base + sizeof(count), len, theirs);
	return framed_failed(framed, -EBADMSG, "the %s of what came is %s, and that of the sender is %s",
			     framed->digest->name, ours, theirs);
}

/*
 * Behind the end mark nothing may come. A sender that waits for the answer may leave the connection open until it has
 * it; then only what has come is looked at.
 */
static int receiver_finish(struct usp_file *file)
{
	struct framed *framed = file->priv;
	int ret = framed_gather(file, 1);

	if (ret == 0)
		return framed_failed(framed, -EBADMSG, "there are bytes behind the end mark");
	if (ret == -ENODATA || (ret == -EAGAIN && framed->flags & USP_FRAMED_ANSWER)) {
		framed->stage = FRAMED_TOLD;
		return 0;
	}
	return receiver_error(framed, ret);
}

/* Take a frame in: 1 if it has bytes, 0 at the end of the input, -EAGAIN or -errno. */
static int receiver_take_frame(struct usp_file *file)
{
	struct framed *framed = file->priv;
	int ret = framed_next(file);

	if (ret < 0)
		return receiver_error(framed, ret);
	switch (framed->type) {
	case FRAMED_DATA:
		if (framed->left > UINT64_MAX - 1 - framed->total)
			return framed_failed(framed, -EBADMSG, "a frame is damaged");
		return 1;
	case FRAMED_FAIL:
		return framed_told(framed, "the sender gave up");
	case FRAMED_END:
		ret = receiver_compare(framed);
		framed_drop(framed);
		framed->stage = ret == 0 ? FRAMED_ENDED : framed->stage;
		return ret;
	default:
		return framed_failed(framed, -EBADMSG, "a frame comes that a sender does not send");
	}
}

/* Come to the next bytes: 1 if there are some, 0 at the end of the input, -EAGAIN or -errno. */
static int receiver_advance(struct usp_file *file)
{
	struct framed *framed = file->priv;
	int ret = framed->error;

	if (ret == 0 && framed->stage == FRAMED_NEW)
		ret = framed_receiver_begin(file);
	if (ret == 0 && framed->stage == FRAMED_FLOWS && framed->flags & USP_FRAMED_RESUME && framed->seen)
		ret = framed_failed(framed, -EBADMSG, "the sender resumes: the receiver needs --resume, too");
	if (ret == 0 && framed->stage == FRAMED_FLOWS && framed->left)
		return 1;
	if (ret == 0 && framed->stage == FRAMED_FLOWS)
		ret = receiver_take_frame(file);
	if (ret == 0 && framed->stage == FRAMED_ENDED)
		ret = receiver_finish(file);
	return ret;
}

/* --- Bytes ----------------------------------------------------------------------------------------------------------- */

static void receiver_count(struct framed *framed, size_t len)
{
	framed->left -= (uint32_t)len;
	framed->total += len;
}

/* Hash what was pushed in this turn, from an index on. What the kernel holds is mapped: 0 or -errno. */
static int receiver_hash(struct framed *framed, struct usp_pipe *pipe, unsigned from, size_t *mapped)
{
	unsigned nr = usp_pipe_nr_pushed(pipe);

	for (unsigned i = from; i < nr && framed->digest; i++) {
		struct usp_buf buf = usp_pipe_peek_pushed(pipe, i);
		int ret = usp_buf_is_mapped(&buf) ? 0 : usp_buf_map(pipe, &buf);

		if (ret == 0)
			ret = usp_buf_confirm(pipe, &buf, 0);
		if (ret < 0)
			return ret;
		usp_pipe_set_pushed(pipe, i, &buf);
		*mapped += buf.flags & USP_BUF_MAPPED ? buf.len : 0;
		framed_hash(framed, usp_buf_bytes(&buf), buf.len);
	}
	return 0;
}

static void receiver_account(struct usp_file *in, size_t len, size_t mapped)
{
	if (in->traits & USP_FILE_SIDE_BELOW)
		return; /* the file below did it */
	if (mapped)
		usp_file_account(in, USP_READ, USP_COPIED, mapped, receiver_mapped);
	if (len > mapped)
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, len - mapped, receiver_reason);
}

static ssize_t receiver_try_splice(struct usp_file *in, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct framed *framed = in->priv;
	unsigned before = usp_pipe_nr_pushed(pipe);
	ssize_t ret = receiver_advance(in);
	size_t mapped = 0;
	int error;

	if (ret <= 0)
		return ret;
	ret = usp_stack_splice_read(in, &in->pos, pipe, usp_min(len, framed->left), flags | USP_SPLICE_NONBLOCK);
	if (ret == 0)
		ret = usp_sock_end_error(in->below);
	if (ret <= 0)
		return receiver_error(framed, ret == 0 ? -ENODATA : (int)ret);
	receiver_count(framed, (size_t)ret);
	error = receiver_hash(framed, pipe, before, &mapped);
	if (error < 0)
		framed->error = error; /* the next call tells: these bytes are on their way */
	receiver_account(in, (size_t)ret, mapped);
	return ret;
}

static ssize_t receiver_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len,
				    unsigned flags)
{
	ssize_t ret;

	(void)pos; /* a stream */
	do
		ret = receiver_try_splice(in, pipe, len, flags);
	while (ret == -EAGAIN && (ret = usp_file_await(in, USP_READ, flags)) == 0);
	return ret;
}

/* The door waits. */
static ssize_t receiver_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct framed *framed = in->priv;
	struct iovec iov;
	ssize_t ret = to->count ? receiver_advance(in) : 0;

	(void)pos;
	if (ret <= 0)
		return ret;
	iov = to->iov[0];
	for (unsigned i = 1; !iov.iov_len; i++)
		iov = to->iov[i];
	iov.iov_len = usp_min(iov.iov_len, framed->left);
	ret = usp_file_try_read_iter(in->below, &(struct usp_iter){.iov = &iov, .nr_segs = 1, .count = iov.iov_len},
				     &in->below->pos, flags | USP_SPLICE_NONBLOCK);
	if (ret == 0)
		ret = usp_sock_end_error(in->below);
	if (ret <= 0)
		return receiver_error(framed, ret == 0 ? -ENODATA : (int)ret);
	framed_hash(framed, iov.iov_base, (size_t)ret);
	receiver_count(framed, (size_t)ret);
	return ret;
}

static int receiver_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	const struct framed *framed = file->priv;

	return framed->error || framed->stage == FRAMED_TOLD ? -EPERM : usp_file_poll_fd(file->below, side, ret_events);
}

static int64_t receiver_size(const struct usp_file *file)
{
	(void)file;
	return -EINVAL;
}

const struct usp_file_ops usp_framed_receiver_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "framed",
	.read_iter = receiver_read_iter,
	.splice_read = receiver_splice_read,
	.release = framed_release,
	.poll_fd = receiver_poll_fd,
	.get_size = receiver_size,
};
