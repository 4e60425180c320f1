/* SPDX-License-Identifier: MIT */
/* resume - is what a destination already has the beginning of the source? */
#include "resume.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESUME_CHUNK (256 * 1024)

/* All of len bytes, fewer only at the end of the file. */
static ssize_t resume_read(struct usp_file *file, unsigned char *base, size_t len, int64_t off)
{
	int64_t at = usp_file_seek(file, off, SEEK_SET);
	size_t have = 0;

	if (at < 0)
		return at;
	while (have < len) {
		ssize_t got = usp_read(file, base + have, len - have);

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

static size_t resume_same(const unsigned char *a, const unsigned char *b, size_t len)
{
	size_t i = 0;

	if (memcmp(a, b, len) == 0)
		return len;
	while (a[i] == b[i])
		i++;
	return i;
}

static enum resume_result resume_compare_into(struct usp_file *source, int64_t off, struct usp_file *sink, int64_t len,
					      const struct watch *watch, unsigned char *buffers, int64_t *ret_at)
{
	int64_t at = 0;

	while (at < len) {
		size_t want = len - at < RESUME_CHUNK ? (size_t)(len - at) : RESUME_CHUNK, same;
		ssize_t has = resume_read(sink, buffers, want, at);
		ssize_t gives = resume_read(source, buffers + RESUME_CHUNK, want, off + at);

		*ret_at = has < 0 ? has : gives;
		if (has < 0)
			return RESUME_SINK_FAILED;
		if (gives < 0)
			return RESUME_SOURCE_FAILED;
		same = resume_same(buffers, buffers + RESUME_CHUNK, (size_t)(has < gives ? has : gives));
		at += (int64_t)same;
		*ret_at = at;
		if (same < want)
			return RESUME_DIFFERS;
		if (watch_signo(watch) != 0)
			return RESUME_STOPPED;
	}
	return RESUME_SAME;
}

enum resume_result resume_compare(struct usp_file *source, int64_t off, struct usp_file *sink, int64_t len,
				  const struct watch *watch, int64_t *ret_at)
{
	unsigned char *buffers = malloc(2 * (size_t)RESUME_CHUNK);
	enum resume_result result = RESUME_SINK_FAILED;

	*ret_at = -ENOMEM;
	if (buffers)
		result = resume_compare_into(source, off, sink, len, watch, buffers, ret_at);
	free(buffers);
	return result;
}
