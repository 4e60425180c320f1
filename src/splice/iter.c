/* SPDX-License-Identifier: MIT */
/* iter - copy in and out of a list of memory segments. */
#include "splice/iter.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/compiler.h"
#include "splice/pipe.h"

/* Copy between base and the bytes [off, off + len) of the segments. */
static void iter_walk(const struct usp_iter *iter, size_t off, unsigned char *base, size_t len, bool is_write)
{
	for (unsigned i = 0; i < iter->nr_segs && len; i++) {
		const struct iovec *seg = &iter->iov[i];
		size_t chunk;

		if (off >= seg->iov_len) {
			off -= seg->iov_len;
			continue;
		}
		chunk = usp_min(len, seg->iov_len - off);
		if (is_write)
			memcpy((unsigned char *)seg->iov_base + off, base, chunk);
		else
			memcpy(base, (const unsigned char *)seg->iov_base + off, chunk);
		off = 0;
		base += chunk;
		len -= chunk;
	}
}

void usp_iter_copy_from(const struct usp_iter *from, size_t off, void *base, size_t len)
{
	iter_walk(from, off, base, len, false);
}

void usp_iter_copy_to(const struct usp_iter *to, size_t off, const void *base, size_t len)
{
	iter_walk(to, off, (unsigned char *)base, len, true);
}

/* Copy the segments of the first USP_MAX_RW_COUNT bytes to cut; their number. */
static unsigned iter_cut(const struct iovec *iov, struct iovec cut[USP_ITER_SEGS_MAX])
{
	size_t left = USP_MAX_RW_COUNT;
	unsigned nr_segs = 0;

	for (; left; nr_segs++) {
		cut[nr_segs] = iov[nr_segs];
		cut[nr_segs].iov_len = usp_min(iov[nr_segs].iov_len, left);
		left -= cut[nr_segs].iov_len;
	}
	return nr_segs;
}

int usp_iter_import(const struct iovec *iov, unsigned nr_segs, struct iovec cut[USP_ITER_SEGS_MAX],
		    struct usp_iter *ret_iter)
{
	size_t count = 0;

	if (nr_segs > USP_ITER_SEGS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < nr_segs; i++) {
		if (iov[i].iov_len > SSIZE_MAX || count > SSIZE_MAX - iov[i].iov_len)
			return -EINVAL;
		count += iov[i].iov_len;
	}
	if (count > USP_MAX_RW_COUNT) {
		nr_segs = iter_cut(iov, cut);
		iov = cut;
		count = USP_MAX_RW_COUNT;
	}
	*ret_iter = (struct usp_iter){.iov = iov, .nr_segs = nr_segs, .count = count};
	return 0;
}
