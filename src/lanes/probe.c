/* SPDX-License-Identifier: MIT */
/*
 * probe - find out by experiment whether the kernel moves references or copies:
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
 * All descriptors are O_NONBLOCK, and every wait has a limit. Of the file itself only its file system
 * is used.
 */
#include "lanes/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"

#define PROBE_LEN 4096 /* fits into one page of any machine */
#define PROBE_WAIT_NS 100000000
#define PROBE_CACHE_MAX 32
#define PROBE_PATH_MAX 4096
#define SPLICE_NONBLOCK USP_SPLICE_NONBLOCK /* the kernel's value */

static void probe_close(const int *fds, unsigned nr_fds)
{
	for (unsigned i = 0; i < nr_fds; i++)
		usp_sys_close(fds[i]);
}

/* --- The page and its window ---------------------------------------------------------------------- */

struct probe_page {
	int fd;
	char *window;
};

/* Make the page in fd, an empty file, which this call takes. */
static bool probe_page_open(struct probe_page *page, int fd)
{
	char old[PROBE_LEN];
	void *window;

	memset(old, 'o', sizeof(old));
	if (fd >= 0 && usp_sys_write(fd, old, sizeof(old)) == PROBE_LEN &&
	    usp_sys_map_file(fd, PROBE_LEN, &window) == 0) {
		*page = (struct probe_page){.fd = fd, .window = window};
		return true;
	}
	usp_sys_close(fd);
	return false;
}

static void probe_page_close(struct probe_page *page)
{
	usp_sys_unmap(page->window, PROBE_LEN);
	usp_sys_close(page->fd);
}

/* Two ways to put a reference to the page into a pipe. A kernel may make a copy in one of them. */
static bool probe_splice_page(struct probe_page *page, int pipe_wr)
{
	int64_t off = 0;

	return usp_sys_splice(page->fd, &off, pipe_wr, NULL, PROBE_LEN, SPLICE_NONBLOCK) == PROBE_LEN;
}

static bool probe_vmsplice_page(struct probe_page *page, int pipe_wr)
{
	const struct iovec iov = {.iov_base = page->window, .iov_len = PROBE_LEN};

	return usp_sys_vmsplice(pipe_wr, &iov, 1, SPLICE_NONBLOCK) == PROBE_LEN;
}

static bool probe_await(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	return usp_sys_poll(&pollfd, 1, PROBE_WAIT_NS) > 0;
}

/* Look at what comes out of fd after the change through the window. */
static enum usp_way probe_look(int fd)
{
	char bytes[PROBE_LEN];
	ssize_t len = probe_await(fd) ? usp_sys_read(fd, bytes, sizeof(bytes)) : 0;

	if (len <= 0 || memcmp(bytes, bytes + 1, (size_t)len - 1) != 0)
		return USP_UNKNOWN;
	return bytes[0] == 'n' ? USP_BY_REFERENCE : bytes[0] == 'o' ? USP_COPIED : USP_UNKNOWN;
}

/* --- Scratch objects of the kind of a file ------------------------------------------------------------ */

static int probe_tmpfile(const char *folder, long fs_type)
{
	int fd = folder ? usp_sys_open(folder, O_TMPFILE | O_RDWR, 0600) : -1;

	if (fd >= 0 && usp_sys_fs_type(fd) == fs_type)
		return fd;
	usp_sys_close(fd);
	return -1;
}

/* Make the scratch file in the folder of the file itself. */
static int probe_tmpfile_beside(const struct usp_file *file, long fs_type)
{
	char link[sizeof("/proc/self/fd/") + 3 * sizeof(int)], path[PROBE_PATH_MAX], *slash;
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->fd);
	len = usp_sys_readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return -1;
	path[len] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -1;
	slash[slash == path] = '\0';
	return probe_tmpfile(path, fs_type);
}

/* Open an empty file without a name, on a file system of the same type; -1 if there is none. */
static int probe_scratch(const struct usp_file *file)
{
	const char *const folders[] = {getenv("TMPDIR"), "/tmp", "/var/tmp"};
	long fs_type = usp_sys_fs_type(file->fd);
	int fd;

	if (fs_type == TMPFS_MAGIC)
		return usp_sys_memfd("usplice-probe");
	fd = probe_tmpfile_beside(file, fs_type);
	for (unsigned i = 0; fd < 0 && i < usp_array_len(folders); i++)
		fd = probe_tmpfile(folders[i], fs_type);
	return fd;
}

/* Pairs: what goes into [1] comes out of [0], as with pipe(2). */
static bool probe_make_file(const struct usp_file *file, int ret_pair[2])
{
	ret_pair[1] = probe_scratch(file);
	ret_pair[0] = ret_pair[1] < 0 ? -1 : usp_sys_reopen(ret_pair[1], O_RDONLY);
	return ret_pair[0] >= 0;
}

static bool probe_make_pipe(const struct usp_file *file, int ret_pair[2])
{
	(void)file;
	return usp_sys_pipe(ret_pair, O_NONBLOCK) == 0;
}

static bool probe_make_unix(const struct usp_file *file, int ret_pair[2])
{
	(void)file;
	return usp_sys_socketpair(AF_UNIX, SOCK_STREAM, ret_pair) == 0;
}

static bool probe_make_tcp(const struct usp_file *file, int ret_pair[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *sockaddr = (struct sockaddr *)&address;
	int listener = usp_sys_socket(AF_INET, SOCK_STREAM, 0), ret;
	socklen_t len = sizeof(address);

	(void)file;
	ret = listener;
	if (ret >= 0)
		ret = usp_sys_bind(listener, sockaddr, len);
	if (ret >= 0)
		ret = usp_sys_listen(listener, 1);
	if (ret >= 0)
		ret = usp_sys_getsockname(listener, sockaddr, &len);
	if (ret >= 0)
		ret = ret_pair[1] = usp_sys_socket(AF_INET, SOCK_STREAM, 0);
	if (ret >= 0)
		ret = usp_sys_connect(ret_pair[1], sockaddr, len);
	if ((ret >= 0 || ret == -EINPROGRESS) && probe_await(listener))
		ret_pair[0] = usp_sys_accept(listener, NULL);
	usp_sys_close(listener);
	return ret_pair[0] >= 0;
}

/* --- The experiments -------------------------------------------------------------------------------- */

struct probe_kind {
	const char *type; /* name of the endpoint type */
	bool (*make_pair)(const struct usp_file *file, int ret_pair[2]);
	const char *reason[2][2]; /* of reading and writing, by reference and copied */
};

/* The page cache as a source: splice a page into a pipe. */
static enum usp_way probe_page_cache(const struct usp_file *file)
{
	enum usp_way way = USP_UNKNOWN;
	struct probe_page page;
	int pipe[2];

	if (!probe_page_open(&page, probe_scratch(file)))
		return USP_UNKNOWN;
	if (usp_sys_pipe(pipe, O_NONBLOCK) == 0) {
		if (probe_splice_page(&page, pipe[1])) {
			memset(page.window, 'n', PROBE_LEN);
			way = probe_look(pipe[0]);
		}
		probe_close(pipe, 2);
	}
	probe_page_close(&page);
	return way;
}

/*
 * Send the page from a pipe through a pair. To probe the pair as a source, splice it into another
 * pipe. This cannot tell on which of its two sides an object copies: so the caller also probes the
 * first side alone.
 */
static enum usp_way probe_through(const int pair[2], struct probe_page *page, const int pipe[2], const int control[2],
				  const int out[2], unsigned side)
{
	int end = pair[0];

	if (usp_sys_tee(pipe[0], control[1], PROBE_LEN, SPLICE_NONBLOCK) != PROBE_LEN ||
	    usp_sys_splice(pipe[0], NULL, pair[1], NULL, PROBE_LEN, SPLICE_NONBLOCK) != PROBE_LEN)
		return USP_UNKNOWN;
	if (side == USP_READ) {
		end = out[0];
		if (!probe_await(pair[0]) ||
		    usp_sys_splice(pair[0], NULL, out[1], NULL, PROBE_LEN, SPLICE_NONBLOCK) <= 0)
			return USP_UNKNOWN;
	}
	memset(page->window, 'n', PROBE_LEN);
	return probe_look(control[0]) == USP_BY_REFERENCE ? probe_look(end) : USP_UNKNOWN;
}

static enum usp_way probe_pair(const struct probe_kind *kind, const struct usp_file *file, unsigned side,
			       bool (*fill)(struct probe_page *page, int pipe_wr))
{
	int fds[] = {-1, -1, -1, -1, -1, -1, -1, -1};
	int *pair = fds, *pipe = fds + 2, *control = fds + 4, *out = fds + 6;
	enum usp_way way = USP_UNKNOWN;
	struct probe_page page;

	if (!probe_page_open(&page, usp_sys_memfd("usplice-probe")))
		return USP_UNKNOWN;
	if (kind->make_pair(file, pair) && usp_sys_pipe(pipe, O_NONBLOCK) == 0 &&
	    usp_sys_pipe(control, O_NONBLOCK) == 0 && usp_sys_pipe(out, O_NONBLOCK) == 0 && fill(&page, pipe[1]))
		way = probe_through(pair, &page, pipe, control, out, side);
	probe_close(fds, usp_array_len(fds));
	probe_page_close(&page);
	return way;
}

static enum usp_way probe_experiment(const struct probe_kind *kind, const struct usp_file *file, unsigned side)
{
	enum usp_way way;

	if (kind->make_pair == probe_make_file && side == USP_READ)
		return probe_page_cache(file);
	way = probe_pair(kind, file, side, probe_splice_page);
	if (way == USP_UNKNOWN)
		way = probe_pair(kind, file, side, probe_vmsplice_page);
	if (way == USP_COPIED && side == USP_READ && probe_experiment(kind, file, USP_WRITE) != USP_BY_REFERENCE)
		way = USP_UNKNOWN; /* the copy may have been made on the way in */
	return way;
}

/* --- The list, and the findings ----------------------------------------------------------------------- */

static const struct probe_kind probe_kinds[] = {
	{
		.type = "regular",
		.make_pair = probe_make_file,
		.reason = {{"the page cache's own pages, as probed on this kernel",
			    "the kernel copies out of the page cache, as probed on this kernel"},
			   {"the page cache takes the pages themselves, as probed on this kernel",
			    "the kernel copies into the page cache, as probed on this kernel"}},
	},
	{
		.type = "fifo",
		.make_pair = probe_make_pipe,
		.reason = {{"pipes hand their pages on, as probed on this kernel",
			    "the kernel copies between pipes, as probed on this kernel"},
			   {"pipes hand their pages on, as probed on this kernel",
			    "the kernel copies between pipes, as probed on this kernel"}},
	},
	{
		.type = "tcp",
		.make_pair = probe_make_tcp,
		.reason = {{"the pages that were received, as probed over loopback on this kernel",
			    "the kernel copies out of the socket, as probed over loopback on this kernel"},
			   {"the socket sends the pages themselves, as probed over loopback on this kernel",
			    "the kernel copies into the socket, as probed over loopback on this kernel"}},
	},
	{
		.type = "unix",
		.make_pair = probe_make_unix,
		.reason = {{"the pages that were received, as probed on this kernel",
			    "the kernel copies out of the socket, as probed on this kernel"},
			   {"the socket passes the pages themselves, as probed on this kernel",
			    "the kernel copies into the socket, as probed on this kernel"}},
	},
};

struct probe_finding {
	const struct probe_kind *kind;
	long fs_type; /* of a regular file, else 0 */
	unsigned side;
	enum usp_way way;
};

static struct {
	struct usp_own_lock lock;
	struct probe_finding findings[PROBE_CACHE_MAX];
	unsigned nr_findings;
} probe_cache;

static enum usp_way probe_find(const struct probe_kind *kind, const struct usp_file *file, unsigned side)
{
	long fs_type = kind->make_pair == probe_make_file ? usp_sys_fs_type(file->fd) : 0;
	enum usp_way way;
	unsigned i;

	if (usp_own_lock(&probe_cache.lock))
		probe_cache.nr_findings = 0; /* in a child: a thread of the parent may have been writing these */
	for (i = 0; i < probe_cache.nr_findings; i++) {
		const struct probe_finding *finding = &probe_cache.findings[i];

		if (finding->kind == kind && finding->fs_type == fs_type && finding->side == side)
			break;
	}
	if (i < probe_cache.nr_findings) {
		way = probe_cache.findings[i].way;
	} else {
		struct usp_sigpipe_guard guard;

		usp_sigpipe_begin(&guard); /* the experiments write files, which may exceed RLIMIT_FSIZE */
		way = probe_experiment(kind, file, side);
		usp_sigpipe_end(&guard);
		if (i < PROBE_CACHE_MAX)
			probe_cache.findings[probe_cache.nr_findings++] =
				(struct probe_finding){.kind = kind, .fs_type = fs_type, .side = side, .way = way};
	}
	usp_own_unlock(&probe_cache.lock);
	return way;
}

static const struct probe_kind *probe_find_kind(const char *type)
{
	for (unsigned i = 0; i < usp_array_len(probe_kinds); i++) {
		if (strcmp(probe_kinds[i].type, type) == 0)
			return &probe_kinds[i];
	}
	return NULL;
}

static bool probe_is_null_device(const struct usp_file *file)
{
	struct stat st;

	return usp_sys_fstat(file->fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* Explain why there is no experiment for a file. */
static const char *probe_why_none(const struct usp_file *file)
{
	if (file->fd < 0)
		return "there is no descriptor that the kernel could splice";
	if (atomic_load(usp_u32(&file->flags)) & USP_DIRECT)
		return "O_DIRECT goes around the page cache, where the probe cannot look";
	if (strcmp(usp_file_type(file), "block") == 0)
		return "a device cannot be probed without writing to it";
	return "there is no experiment for this kind of file";
}

void usp_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	const struct probe_kind *kind = probe_find_kind(usp_file_type(file));
	enum usp_way way;

	if (file->fd >= 0 && side == USP_WRITE && probe_is_null_device(file)) {
		*ret_result = (struct usp_probe_result){.way = USP_BY_REFERENCE, .reason = "dropped, not read"};
		return;
	}
	if (!kind || file->fd < 0 || atomic_load(usp_u32(&file->flags)) & USP_DIRECT) {
		*ret_result = (struct usp_probe_result){.way = USP_UNKNOWN, .reason = probe_why_none(file)};
		return;
	}
	way = probe_find(kind, file, side);
	*ret_result = (struct usp_probe_result){
		.way = way,
		.reason = way == USP_UNKNOWN ? "the probe could not tell on this kernel"
					     : kind->reason[side == USP_WRITE][way == USP_COPIED],
	};
}
