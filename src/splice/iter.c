/* SPDX-License-Identifier: MIT */
/* iter - copying in and out of a list of memory segments. */
#include "splice/iter.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/compiler.h"

#define ITER_SEGS_MAX 1024 /* UIO_MAXIOV of the kernel */

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

int usp_iter_import(const struct iovec *iov, unsigned nr_segs, struct usp_iter *ret_iter)
{
	size_t count = 0;

	if (nr_segs > ITER_SEGS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < nr_segs; i++) {
		if (iov[i].iov_len > SSIZE_MAX || count > SSIZE_MAX - iov[i].iov_len)
			return -EINVAL;
		count += iov[i].iov_len;
	}
	*ret_iter = (struct usp_iter){.iov = iov, .nr_segs = nr_segs, .count = count};
	return 0;
}
