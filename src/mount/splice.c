/* SPDX-License-Identifier: MIT */
/*
 * splice - replies with the pages of a plain file: splice(2) brings references to them to the kernel, which copies each
 * once. A read(2) and a writev(2) copy twice.
 *
 *   file ──splice──► [data]
 *                       └──splice──► [header | data] ──splice──► /dev/fuse
 *
 * splice(2) waits for a page that is not there yet, and no flag prevents it. So only what the page cache has is spliced,
 * by files on disks of this machine: another thread may have to wait for a dead server, this one must not.
 */
#include <errno.h>
#include <linux/magic.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/kpool.h"
#include "mm/folio.h"
#include "mount/inside.h"

#define SPLICE_LEAST ((size_t)64 << 10)	    /* less is copied for less than these calls cost */
#define SPLICE_SPARE (3 * (size_t)USP_PAGE) /* of a pipe: for the header, and parts of pages at both ends */

static _Thread_local const struct mount_splice *pending; /* the reply that libfuse is sending */
static _Thread_local bool was_sent;

bool mount_splice_may(long type)
{
	static const long types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
				     TMPFS_MAGIC};

	for (size_t i = 0; i < usp_array_len(types); i++) {
		if (type == types[i])
			return true;
	}
	return false;
}

/* Tell whether these bytes are in the page cache. The kernel counts pages that it still reads: of these the last is the last. */
static bool splice_is_cached(const struct mount_node *node, int64_t pos, size_t len)
{
	char last;

	if (node->is_in_memory)
		return true;
	return usp_sys_cached_bytes(node->fd, pos, len) >= (int64_t)len &&
	       usp_sys_read_cached(node->fd, &last, 1, pos + (int64_t)len - 1) == 1;
}

/* Take references to the pages: as many bytes as there are of len. */
static size_t splice_take(const struct mount_node *node, int64_t pos, size_t len, const struct usp_kpipe_ends *data)
{
	size_t done = 0;
	ssize_t ret = 1;

	while (done < len && ret > 0) {
		ret = usp_sys_splice(node->fd, &pos, data->wr, NULL, len - done, USP_SPLICE_NONBLOCK);
		done += ret > 0 ? (size_t)ret : 0;
	}
	return done;
}

bool mount_splice_begin(const struct mount_node *node, int64_t pos, size_t len, struct mount_splice *splice)
{
	struct stat st;

	if (len < SPLICE_LEAST || usp_sys_fstat(node->fd, &st) < 0 || pos >= st.st_size)
		return false;
	splice->len = usp_min(len, (size_t)(st.st_size - pos));
	if (splice->len < SPLICE_LEAST || !splice_is_cached(node, pos, splice->len) ||
	    usp_kpool_take(&splice->data) < 0)
		return false;
	if (usp_kpool_take(&splice->reply) < 0) {
		usp_kpool_give(&splice->data, true);
		return false;
	}
	if (splice->len + SPLICE_SPARE <= usp_min(splice->data.capacity, splice->reply.capacity) &&
	    splice_take(node, pos, splice->len, &splice->data) == splice->len)
		return true;
	usp_kpool_give(&splice->reply, true);
	usp_kpool_give(&splice->data, false);
	return false;
}

void mount_splice_reply(fuse_req_t req, const struct mount_splice *splice)
{
	const struct iovec iov = {.iov_len = splice->len}; /* libfuse only counts it */

	was_sent = false;
	pending = splice;
	fuse_reply_iov(req, &iov, 1);
	pending = NULL;
	usp_kpool_give(&splice->data, was_sent);
	usp_kpool_give(&splice->reply, was_sent);
}

bool mount_splice_is_pending(void)
{
	return pending;
}

ssize_t mount_splice_send(int fd, const void *header, size_t len)
{
	const struct iovec iov = {.iov_base = (void *)header, .iov_len = len};
	const struct mount_splice *splice = pending;
	ssize_t ret = usp_sys_writev(splice->reply.wr, &iov, 1, NULL); /* what fails here is told by write(2) */

	if (ret >= 0)
		ret = usp_sys_splice(splice->data.rd, NULL, splice->reply.wr, NULL, splice->len, USP_SPLICE_NONBLOCK);
	if (ret >= 0 && (size_t)ret < splice->len)
		ret = -EIO;
	if (ret >= 0)
		ret = usp_sys_splice(splice->reply.rd, NULL, fd, NULL, len + splice->len, 0);
	was_sent = ret >= 0;
	return ret;
}
