/* SPDX-License-Identifier: MIT */
/* evict - does the page cache keep a page because a pipe refers to it? With a control before and after. */
#include "lanes/evict.h"

#include <fcntl.h>

#include "base/compiler.h"
#include "base/sys.h"

#define EVICT_PAGE ((size_t)4096)
#define EVICT_LARGE ((size_t)2 << 20) /* a page of a large folio goes only with the whole folio */

/* Read a byte, so that its page is in the cache: true if it is. */
static bool evict_load(int fd, int64_t pos)
{
	unsigned char byte;
	const struct iovec iov = {.iov_base = &byte, .iov_len = 1};

	return usp_sys_readv(fd, &iov, 1, &pos) == 1 && usp_sys_is_cached(fd, pos) == 1;
}

/* Drop the pages around pos, and tell whether that one is still there: 1, 0, or -errno. */
static int evict_stays(int fd, int64_t pos, size_t len)
{
	int ret = usp_sys_drop_cache(fd, pos - pos % (int64_t)len, len);

	return ret < 0 ? ret : usp_sys_is_cached(fd, pos);
}

/* The control: without a reference the page goes. */
static bool evict_goes(int fd, int64_t pos, size_t len)
{
	return evict_load(fd, pos) && evict_stays(fd, pos, len) == 0;
}

static enum usp_way evict_try(int fd, int64_t pos, size_t len, const int pipe[2])
{
	int64_t at = pos;
	int stays;

	if (!evict_load(fd, pos) || usp_sys_splice(fd, &at, pipe[1], NULL, EVICT_PAGE, USP_SPLICE_NONBLOCK) <= 0)
		return USP_UNKNOWN;
	stays = evict_stays(fd, pos, len);
	return stays < 0 ? USP_UNKNOWN : stays ? USP_BY_REFERENCE : USP_COPIED;
}

enum usp_way usp_evict(int fd, int64_t pos)
{
	static const size_t lens[] = {EVICT_PAGE, EVICT_LARGE};
	int pipe[2];

	pos -= pos % (int64_t)EVICT_PAGE;
	for (unsigned i = 0; i < usp_array_len(lens); i++) {
		enum usp_way way;

		if (!evict_goes(fd, pos, lens[i]) || usp_sys_pipe(pipe, O_NONBLOCK) < 0)
			continue;
		way = evict_try(fd, pos, lens[i], pipe);
		usp_sys_close(pipe[0]);
		usp_sys_close(pipe[1]);
		return evict_goes(fd, pos, lens[i]) ? way : USP_UNKNOWN;
	}
	return USP_UNKNOWN;
}
