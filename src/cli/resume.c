/* SPDX-License-Identifier: MIT */
/* resume - is what a destination already has the beginning of the source? */
#include "resume.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESUME_CHUNK (256 * 1024)

/* A description of our own: readable, and without the O_DIRECT that the other one may have. */
static int resume_reopen(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* All of len bytes, fewer only at the end of the file. */
static ssize_t resume_read(int fd, unsigned char *base, size_t len, int64_t off)
{
	size_t have = 0;

	while (have < len) {
		ssize_t got = pread(fd, base + have, len - have, off + (int64_t)have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
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

static enum resume_result resume_compare_open(int source, int64_t off, int sink, int64_t len, const struct watch *watch,
					      unsigned char *buffers, int64_t *ret_at)
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

enum resume_result resume_compare(int source, int64_t off, int sink, int64_t len, const struct watch *watch,
				  int64_t *ret_at)
{
	unsigned char *buffers = malloc(2 * (size_t)RESUME_CHUNK);
	int from = resume_reopen(source), to = resume_reopen(sink);
	enum resume_result result = from < 0 ? RESUME_SOURCE_FAILED : RESUME_SINK_FAILED;

	*ret_at = from < 0 ? from : to < 0 ? to : -ENOMEM;
	if (buffers && from >= 0 && to >= 0)
		result = resume_compare_open(from, off, to, len, watch, buffers, ret_at);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	free(buffers);
	return result;
}
