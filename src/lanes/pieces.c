/* SPDX-License-Identifier: MIT */
/*
 * pieces - a packet has its bytes in a buffer of its own (linear), or in pages (fragments). A splice refers
 * to pages, and copies out of buffers. Nobody can see this from outside but by the bill: a buffer has one of
 * a few sizes, while a piece in a page is charged by its length.
 */
#include "lanes/pieces.h"

#include <linux/sock_diag.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/alias.h"

#ifndef SO_MEMINFO /* newer than the oldest supported headers */
#define SO_MEMINFO 55
#endif

#define PIECES_TRIES 3
#define PIECES_MORE 8 /* bytes: less than the step between two sizes of buffers */

/* Return how many bytes of memory the socket holds for what it has received, or -errno. */
static int64_t pieces_charged(int fd)
{
	uint32_t meminfo[SK_MEMINFO_VARS];
	socklen_t len = sizeof(meminfo);
	int ret = usp_sys_getsockopt(fd, SOL_SOCKET, SO_MEMINFO, meminfo, &len);

	return ret < 0 ? ret : (int64_t)meminfo[SK_MEMINFO_RMEM_ALLOC];
}

static bool pieces_drain(int fd)
{
	char bytes[4096];
	ssize_t ret;

	do
		ret = usp_sys_read(fd, bytes, sizeof(bytes));
	while (ret > 0);
	return ret < 0;
}

/* Send a piece, and return what it is charged; -1 if it did not go in one piece. */
static int64_t pieces_charge(const int pair[2], size_t len)
{
	static const char bytes[USP_PIECE_MAX + PIECES_MORE];
	int64_t before = pieces_charged(pair[0]), after;

	if (before < 0 || usp_sys_write(pair[1], bytes, len) != (ssize_t)len || !usp_alias_await(pair[0]) ||
	    usp_sys_bytes_readable(pair[0]) != (int)len)
		return -1;
	after = pieces_charged(pair[0]);
	return pieces_drain(pair[0]) ? after - before : -1;
}

/*
 * A socket that is new may cut a large piece into two packets, each with its own overhead, and the next one not. So
 * a difference of another size is looked at again. No size of a buffer looks like pages by chance.
 */
int usp_piece_is_pages(const int pair[2], size_t len)
{
	int ret = -1;

	for (unsigned i = 0; i < PIECES_TRIES && ret != 1; i++) {
		int64_t less = pieces_charge(pair, len), more = less < 0 ? -1 : pieces_charge(pair, len + PIECES_MORE);

		if (more >= 0)
			ret = more - less == PIECES_MORE;
		else if (!pieces_drain(pair[0]))
			return -1;
	}
	return ret;
}

bool usp_pieces_are_pages(const int pair[2])
{
	static const size_t lens[] = {512, 4096, USP_PIECE_MAX};

	for (unsigned i = 0; i < usp_array_len(lens); i++) {
		if (usp_piece_is_pages(pair, lens[i]) != 1)
			return false;
	}
	return true;
}
