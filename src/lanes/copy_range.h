/* SPDX-License-Identifier: MIT */
/* copy_range - file to file inside the kernel: shared extents where the file system can, else copy_file_range(2). */
#ifndef USP_LANES_COPY_RANGE_H
#define USP_LANES_COPY_RANGE_H

#include <usplice/endpoint.h>

/* Both are files on disk with positions and a size that can be believed. */
bool usp_copy_range_is_possible(const struct usp_file *in, const struct usp_file *out);

/*
 * Share what is left of in with out (FICLONERANGE), if len covers it: the bytes, or -errno if this file system or these
 * positions cannot. Advances both positions. No copy.
 */
ssize_t usp_clone_range(struct usp_file *in, struct usp_file *out, uint64_t len);

/* Copy up to len bytes, advancing both positions: bytes, 0 at the end, or -errno. */
ssize_t usp_copy_range(struct usp_file *in, struct usp_file *out, size_t len);

#endif
