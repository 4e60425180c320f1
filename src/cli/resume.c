/* SPDX-License-Identifier: MIT */
/* resume - compare what a sink already has with the beginning of the source. */
#include "resume.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usplice/framed.h>

#define RESUME_CHUNK (256 * 1024)

/* Read len bytes, fewer only at the end of the file. */
static ssize_t resume_read(struct usp_file *file, unsigned char *base, size_t len, int64_t off)
{
	size_t have = 0;

	while (have < len) {
		ssize_t got = usp_pread(file, base + have, len - have, off + (int64_t)have);

		if (got == -EINTR)
			continue;
		if (got < 0)
			return got;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

static ssize_t resume_same(const unsigned char *a, const unsigned char *b, ssize_t len)
{
	ssize_t i = 0;

	if (memcmp(a, b, (size_t)len) == 0)
		return len;
	while (a[i] == b[i])
		i++;
	return i;
}

static enum resume_result resume_compare_into(struct usp_file *source, int64_t off, struct usp_file *sink,
					      int64_t count, const struct watch *watch, unsigned char *buffers,
					      int64_t *ret_at)
{
	int64_t at = 0;
	ssize_t has;

	while ((has = resume_read(sink, buffers, RESUME_CHUNK, at)) > 0) {
		size_t wanted = count >= 0 && count - at < has ? (size_t)(count - at) : (size_t)has;
		ssize_t gives = resume_read(source, buffers + RESUME_CHUNK, wanted, off + at), same;

		*ret_at = gives;
		if (gives < 0)
			return RESUME_SOURCE_FAILED;
		same = resume_same(buffers, buffers + RESUME_CHUNK, gives);
		at += same;
		*ret_at = at;
		if (same < has)
			return same < gives ? RESUME_DIFFERS : RESUME_LONGER;
		if (watch_signo(watch) != 0)
			return RESUME_STOPPED;
	}
	*ret_at = has < 0 ? has : at;
	return has < 0 ? RESUME_SINK_FAILED : RESUME_SAME;
}

enum resume_result resume_compare(struct usp_file *source, int64_t off, struct usp_file *sink, int64_t count,
				  const struct watch *watch, int64_t *ret_at)
{
	unsigned char *buffers = malloc(2 * (size_t)RESUME_CHUNK);
	enum resume_result result = RESUME_SINK_FAILED;

	*ret_at = -ENOMEM;
	if (buffers)
		result = resume_compare_into(source, off, sink, count, watch, buffers, ret_at);
	free(buffers);
	return result;
}

enum resume_result resume_see(struct usp_file *file, int64_t off, int64_t len, struct usp_file *framed,
			      const struct watch *watch, int64_t *ret_at)
{
	unsigned char *buffer = malloc(RESUME_CHUNK);
	int64_t at = 0;
	ssize_t has = buffer ? 1 : -ENOMEM;

	while (has > 0 && (len < 0 || at < len) && watch_signo(watch) == 0) {
		size_t wanted = len >= 0 && len - at < RESUME_CHUNK ? (size_t)(len - at) : RESUME_CHUNK;

		has = resume_read(file, buffer, wanted, off + at);
		if (has > 0) {
			at += has;
			has = usp_framed_see(framed, buffer, (size_t)has) < 0 ? -EINVAL : has;
		}
	}
	free(buffer);
	*ret_at = has < 0 ? has : at;
	return has < 0 ? RESUME_SOURCE_FAILED : watch_signo(watch) != 0 ? RESUME_STOPPED : RESUME_SAME;
}
