/* SPDX-License-Identifier: MIT */
/*
 * spill - a ring of bytes in a file without a name.
 *
 *   0 ──── head ═══════ tail ──── end ──── limit        or, when it has gone around:  0 ═══ tail ─── head ═══ end
 *
 * A file system that is full, or a quota, ends the growth of the file: the blocks that it has by then go on to be used.
 * After any other failure nothing more is written, and what was written is still read.
 */
#include "splice/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define SPILL_MODE 0600
#define SPILL_TRIES 8
#define SPILL_PATH_MAX 4096

static ssize_t spill_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct usp_spill *spill = out->priv;
	ssize_t ret = usp_fd_write_iter(out, from, pos, flags);

	if (ret < 0 && ret != -EINTR)
		spill->failed = (int)ret;
	return ret;
}

static const struct usp_file_ops spill_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "spill",
	.read_iter = usp_fd_read_iter,
	.write_iter = spill_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.release = usp_fd_release,
};

/* --- Opening ------------------------------------------------------------------------------------------------ */

/* Make a file of this name, and take the name away: a descriptor or -errno. */
static int spill_open_named(const char *path)
{
	int fd = usp_sys_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, SPILL_MODE), ret;

	if (fd < 0)
		return fd;
	ret = usp_sys_unlink(path);
	if (ret < 0)
		usp_sys_close(fd);
	return ret < 0 ? ret : fd;
}

/* For file systems without O_TMPFILE. */
static int spill_open_random(const char *folder)
{
	char path[SPILL_PATH_MAX];
	int ret = -EEXIST;

	for (unsigned i = 0; i < SPILL_TRIES && ret == -EEXIST; i++) {
		uint64_t number;

		usp_sys_random(&number, sizeof(number));
		if (snprintf(path, sizeof(path), "%s/.usplice-%016llx", folder, (unsigned long long)number) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		ret = spill_open_named(path);
	}
	return ret;
}

static int spill_open_fd(const char *path)
{
	struct stat st;
	int fd;

	if (usp_sys_stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return spill_open_named(path);
	fd = usp_sys_open(path, O_RDWR | O_TMPFILE, SPILL_MODE);
	return fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT || fd == -EINVAL ? spill_open_random(path) : fd;
}

int usp_spill_open(struct usp_spill *spill, const char *path, uint64_t limit)
{
	int fd = spill_open_fd(path), ret;

	if (fd < 0)
		return fd;
	*spill = (struct usp_spill){.limit = limit};
	ret = usp_file_new(&spill_ops, USP_READ | USP_WRITE, path, spill, &spill->file);
	if (ret < 0) {
		usp_sys_close(fd);
		return ret;
	}
	spill->file->fd = fd;
	spill->file->traits = USP_FILE_SEEKABLE;
	return 0;
}

void usp_spill_close(struct usp_spill *spill)
{
	usp_file_put(spill->file);
	spill->file = NULL;
}

/* --- The ring ----------------------------------------------------------------------------------------------- */

/* Return where a place at the end of the ring really is. */
static int64_t spill_wrap(const struct usp_spill *spill, int64_t at)
{
	return at == (int64_t)spill->limit ? 0 : at;
}

/*
 * Use the blocks that the file has, if it did not get another one at its end; else use it no more. Bytes that were
 * refused stay in the pipe.
 */
static void spill_fail(struct usp_spill *spill, int error)
{
	bool may_stay = (error == -ENOSPC || error == -EDQUOT || error == -EFBIG) && spill->tail == spill->end &&
			spill->end > 0;

	spill->error = error;
	if (may_stay)
		spill->limit = (uint64_t)spill->end;
	else
		spill->is_closed = true;
	spill->tail = spill_wrap(spill, spill->tail);
}

ssize_t usp_spill_write(struct usp_spill *spill, struct usp_pipe *from)
{
	uint64_t room = spill->limit - spill->len;
	ssize_t ret;

	if (spill->is_closed || !room)
		return 0;
	if (!spill->len)
		spill->head = spill->tail = 0; /* use the blocks that it has */
	spill->failed = 0;
	room = usp_min(room, spill->limit - (uint64_t)spill->tail);
	ret = usp_file_splice_write(from, spill->file, &spill->tail, usp_min(room, USP_MAX_RW_COUNT),
				    USP_SPLICE_NONBLOCK);
	if (ret > 0) {
		spill->len += (uint64_t)ret;
		spill->end = spill->tail > spill->end ? spill->tail : spill->end;
		spill->tail = spill_wrap(spill, spill->tail);
	}
	if (spill->failed)
		spill_fail(spill, spill->failed);
	return ret < 0 && spill->failed ? 0 : ret;
}

ssize_t usp_spill_read(struct usp_spill *spill, struct usp_pipe *pipe, size_t len)
{
	uint64_t there = usp_min(spill->len, spill->limit - (uint64_t)spill->head);
	ssize_t ret;

	if (!there)
		return 0;
	ret = usp_file_splice_read(spill->file, &spill->head, pipe, usp_min(len, there), USP_SPLICE_NONBLOCK);
	if (ret <= 0)
		return ret ? ret : -EIO; /* the file was cut */
	spill->len -= (uint64_t)ret;
	spill->head = spill_wrap(spill, spill->head);
	return ret;
}
