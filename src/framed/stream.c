/* SPDX-License-Identifier: MIT */
/* stream - frames into and out of the file below. Nothing here waits, but for framed_await. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/wait.h"
#include "framed/inside.h"
#include "splice/file.h"
#include "splice/sock.h"

int framed_failed(struct framed *framed, int error, const char *format, ...)
{
	va_list args;

	if (framed->error)
		return framed->error;
	va_start(args, format);
	vsnprintf(framed->why, sizeof(framed->why), format, args);
	va_end(args);
	framed->error = error;
	return error;
}

void framed_hash(struct framed *framed, const void *bytes, size_t len)
{
	if (framed->digest)
		framed->digest->update(framed->state, bytes, len);
}

void framed_free(struct framed *framed)
{
	if (!framed)
		return;
	if (framed->state)
		framed->digest->free(framed->state);
	if (framed->seen)
		framed->digest->free(framed->seen);
	usp_free(framed);
}

void framed_lend_side(struct usp_file *file)
{
	const struct framed *framed = file->priv;
	const struct usp_file *below = file->below;

	file->traits |= USP_FILE_SIDE_BELOW;
	file->fd = below->traits & USP_FILE_SEEKABLE ? -1 : below->fd;
	if (!framed->digest && file->fd >= 0)
		file->traits |= below->traits & (USP_FILE_SPLICEABLE | USP_FILE_LOCKED_WRITES);
}

int framed_release(struct usp_file *file)
{
	int ret;

	framed_free(file->priv);
	file->priv = NULL;
	if (!(file->traits & USP_FILE_SIDE_BELOW))
		return usp_stack_release(file);
	ret = usp_file_close(file->below);
	file->traits &= ~USP_FILE_SIDE_BELOW;
	for (unsigned i = 0; i < usp_array_len(file->sides); i++)
		file->sides[i] = file->below->sides[i];
	usp_file_put(file->below);
	file->below = NULL;
	return ret;
}

int framed_flush(struct usp_file *file, unsigned flags)
{
	struct framed *framed = file->priv;
	struct framed_bytes *out = &framed->out;

	while (out->at < out->len) {
		struct iovec iov = {.iov_base = out->base + out->at, .iov_len = out->len - out->at};
		ssize_t ret = usp_file_try_write_iter(
			file->below, &(struct usp_iter){.iov = &iov, .nr_segs = 1, .count = iov.iov_len},
			&file->below->pos, flags | USP_SPLICE_NONBLOCK);

		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			return ret < 0 ? (int)ret : -EIO;
		out->at += (size_t)ret;
	}
	out->at = out->len = 0;
	return 0;
}

int framed_gather(struct usp_file *file, size_t len)
{
	struct framed *framed = file->priv;
	struct framed_bytes *in = &framed->in;

	while (in->len < len) {
		struct iovec iov = {.iov_base = in->base + in->len, .iov_len = len - in->len};
		ssize_t ret = usp_file_try_read_iter(
			file->below, &(struct usp_iter){.iov = &iov, .nr_segs = 1, .count = iov.iov_len},
			&file->below->pos, USP_SPLICE_NONBLOCK);

		if (ret == -EINTR)
			continue;
		if (ret == 0)
			ret = usp_sock_end_error(file->below);
		if (ret <= 0)
			return ret < 0 ? (int)ret : -ENODATA;
		in->len += (size_t)ret;
	}
	return 0;
}

int framed_next(struct usp_file *file)
{
	struct framed *framed = file->priv;
	uint32_t len;
	const char *why;
	int ret;

	if (!framed->control_len) {
		ret = framed_gather(file, FRAMED_FRAME_LEN);
		if (ret < 0)
			return ret;
		why = framed_get_frame(framed->in.base, &framed->type, &len);
		framed->in.len = 0;
		if (why)
			return framed_failed(framed, -EBADMSG, "%s", why);
		if (framed->type == FRAMED_DATA) {
			framed->left = len;
			return 0;
		}
		framed->control_len = len;
	}
	ret = framed_gather(file, framed->control_len);
	if (ret == 0 && !framed_is_intact(framed->in.base, framed->control_len))
		ret = framed_failed(framed, -EBADMSG, "a frame is damaged");
	return ret;
}

void framed_drop(struct framed *framed)
{
	framed->control_len = 0;
	framed->in.len = 0;
}

int framed_told(struct framed *framed, const char *prefix)
{
	char text[USP_FRAMED_WHY_MAX];
	int ret;

	framed_clean(framed->in.base, framed->control_len - FRAMED_CRC_LEN, text, sizeof(text));
	ret = framed_failed(framed, -EREMOTEIO, "%s%s%.*s", prefix, text[0] ? ": " : "", USP_FRAMED_WHY_MAX - 64, text);
	framed_drop(framed);
	return ret;
}

int framed_await(struct usp_file *file, unsigned side, uint64_t moment_ns)
{
	short events = 0;
	int fd = usp_file_poll_fd(file->below, side, &events);

	return fd < 0 ? 0 : usp_wait_until(fd, events, moment_ns);
}
