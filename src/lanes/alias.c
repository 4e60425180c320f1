/* SPDX-License-Identifier: MIT */
/*
 * alias - change a page through a shared mapping after it was spliced, and look at what comes out:
 *
 *        window (shared mapping)
 *             │ same page?
 *   file ──splice──▶ pipe ──splice──▶ [ object under test ] ──▶ what comes out: "old" or "new"?
 *                      └─tee──▶ control
 *
 * A page of 'o' goes into the object. Then 'n' is written through the window. If 'n' comes out, a
 * reference has moved. If 'o' comes out, the page was copied. The object copied it if 'n' comes out of
 * the control, a second reference to what the object got. If the kernel copies earlier, the experiment
 * cannot decide, and the answer is: unknown.
 *
 * All files are made for the experiment. All descriptors are O_NONBLOCK, and every wait has a limit.
 */
#include "lanes/alias.h"

#include <fcntl.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"

#define ALIAS_LEN 4096 /* fits into one page of any machine */
#define ALIAS_WAIT_NS 100000000
#define SPLICE_NONBLOCK USP_SPLICE_NONBLOCK /* the kernel's value */

static void alias_close(const int *fds, unsigned nr_fds)
{
	for (unsigned i = 0; i < nr_fds; i++)
		usp_sys_close(fds[i]);
}

/* --- The page and its window ---------------------------------------------------------------------- */

struct alias_page {
	int fd;
	char *window;
};

/* Make the page in fd, an empty file, which this call takes. */
static bool alias_page_open(struct alias_page *page, int fd)
{
	char old[ALIAS_LEN];
	void *window;

	memset(old, 'o', sizeof(old));
	if (fd >= 0 && usp_sys_write(fd, old, sizeof(old)) == ALIAS_LEN &&
	    usp_sys_map_file(fd, ALIAS_LEN, &window) == 0) {
		*page = (struct alias_page){.fd = fd, .window = window};
		return true;
	}
	usp_sys_close(fd);
	return false;
}

static void alias_page_close(struct alias_page *page)
{
	usp_sys_unmap(page->window, ALIAS_LEN);
	usp_sys_close(page->fd);
}

/* Two ways to put a reference to the page into a pipe. A kernel may make a copy in one of them. */
static bool alias_splice_page(struct alias_page *page, int pipe_wr)
{
	int64_t off = 0;

	return usp_sys_splice(page->fd, &off, pipe_wr, NULL, ALIAS_LEN, SPLICE_NONBLOCK) == ALIAS_LEN;
}

static bool alias_vmsplice_page(struct alias_page *page, int pipe_wr)
{
	const struct iovec iov = {.iov_base = page->window, .iov_len = ALIAS_LEN};

	return usp_sys_vmsplice(pipe_wr, &iov, 1, SPLICE_NONBLOCK) == ALIAS_LEN;
}

bool usp_alias_await(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	return usp_sys_poll(&pollfd, 1, ALIAS_WAIT_NS) > 0;
}

/* Look at what comes out of fd after the change through the window. */
static enum usp_way alias_look(int fd)
{
	char bytes[ALIAS_LEN];
	ssize_t len = usp_alias_await(fd) ? usp_sys_read(fd, bytes, sizeof(bytes)) : 0;

	if (len <= 0 || memcmp(bytes, bytes + 1, (size_t)len - 1) != 0)
		return USP_UNKNOWN;
	return bytes[0] == 'n' ? USP_BY_REFERENCE : bytes[0] == 'o' ? USP_COPIED : USP_UNKNOWN;
}

/* The page cache as a source: splice a page into a pipe. */
enum usp_way usp_alias_page_cache(int scratch)
{
	enum usp_way way = USP_UNKNOWN;
	struct alias_page page;
	int pipe[2];

	if (!alias_page_open(&page, scratch))
		return USP_UNKNOWN;
	if (usp_sys_pipe(pipe, O_NONBLOCK) == 0) {
		if (alias_splice_page(&page, pipe[1])) {
			memset(page.window, 'n', ALIAS_LEN);
			way = alias_look(pipe[0]);
		}
		alias_close(pipe, 2);
	}
	alias_page_close(&page);
	return way;
}

/*
 * Send the page from a pipe through a pair. To probe the pair as a source, splice it into another
 * pipe. This cannot tell on which of its two sides an object copies: so the caller also probes the
 * first side alone.
 */
static enum usp_way alias_through(const int pair[2], struct alias_page *page, const int pipe[2], const int control[2],
				  const int out[2], unsigned side)
{
	int end = pair[0];

	if (usp_sys_tee(pipe[0], control[1], ALIAS_LEN, SPLICE_NONBLOCK) != ALIAS_LEN ||
	    usp_sys_splice(pipe[0], NULL, pair[1], NULL, ALIAS_LEN, SPLICE_NONBLOCK) != ALIAS_LEN)
		return USP_UNKNOWN;
	if (side == USP_READ) {
		end = out[0];
		if (!usp_alias_await(pair[0]) ||
		    usp_sys_splice(pair[0], NULL, out[1], NULL, ALIAS_LEN, SPLICE_NONBLOCK) <= 0)
			return USP_UNKNOWN;
	}
	memset(page->window, 'n', ALIAS_LEN);
	return alias_look(control[0]) == USP_BY_REFERENCE ? alias_look(end) : USP_UNKNOWN;
}

static enum usp_way alias_pair(const int pair[2], unsigned side, bool (*fill)(struct alias_page *page, int pipe_wr))
{
	int fds[] = {-1, -1, -1, -1, -1, -1};
	int *pipe = fds, *control = fds + 2, *out = fds + 4;
	enum usp_way way = USP_UNKNOWN;
	struct alias_page page;

	if (!alias_page_open(&page, usp_sys_memfd("usplice-probe")))
		return USP_UNKNOWN;
	if (usp_sys_pipe(pipe, O_NONBLOCK) == 0 && usp_sys_pipe(control, O_NONBLOCK) == 0 &&
	    usp_sys_pipe(out, O_NONBLOCK) == 0 && fill(&page, pipe[1]))
		way = alias_through(pair, &page, pipe, control, out, side);
	alias_close(fds, usp_array_len(fds));
	alias_page_close(&page);
	return way;
}

/* Make a pair, and try it with one way to fill the pipe. */
static enum usp_way alias_try(const struct usp_alias_maker *maker, unsigned side,
			      bool (*fill)(struct alias_page *page, int pipe_wr))
{
	int pair[2] = {-1, -1};
	enum usp_way way = maker->make(maker, pair) ? alias_pair(pair, side, fill) : USP_UNKNOWN;

	alias_close(pair, 2);
	return way;
}

enum usp_way usp_alias_pair(const struct usp_alias_maker *maker, unsigned side)
{
	enum usp_way way = alias_try(maker, side, alias_splice_page);

	if (way == USP_UNKNOWN)
		way = alias_try(maker, side, alias_vmsplice_page);
	if (way == USP_COPIED && side == USP_READ && usp_alias_pair(maker, USP_WRITE) != USP_BY_REFERENCE)
		way = USP_UNKNOWN; /* the copy may have been made on the way in */
	return way;
}
