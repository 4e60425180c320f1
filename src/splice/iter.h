/* SPDX-License-Identifier: MIT */
/* iter - copy in and out of a list of memory segments. */
#ifndef USP_SPLICE_ITER_H
#define USP_SPLICE_ITER_H

#include <usplice/endpoint.h>

/* Copy len bytes at offset off of the segments to base, or from base to there. The segments must be long enough. */
void usp_iter_copy_from(const struct usp_iter *from, size_t off, void *base, size_t len);
void usp_iter_copy_to(const struct usp_iter *to, size_t off, const void *base, size_t len);

#define USP_ITER_SEGS_MAX 1024 /* UIO_MAXIOV of the kernel */

/*
 * Check an iovec as vmsplice(2) and readv(2) do (V1), and make an iter of it. The iter has at most
 * what one call moves (N2): a longer iovec is copied to cut and shortened there. 0 or -EINVAL.
 */
int usp_iter_import(const struct iovec *iov, unsigned nr_segs, struct iovec cut[USP_ITER_SEGS_MAX],
		    struct usp_iter *ret_iter);

#endif
