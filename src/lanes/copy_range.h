/* SPDX-License-Identifier: MIT */
/* copy_range - file to file inside the kernel: shared extents where the file system can, else copy_file_range(2). */
#ifndef USP_LANES_COPY_RANGE_H
#define USP_LANES_COPY_RANGE_H

#include <usplice/endpoint.h>

/* Tell whether both are regular files, neither is shared, and the size of in can be trusted. */
bool usp_copy_range_is_possible(const struct usp_file *in, const struct usp_file *out);

/*
 * Share the rest of in with out (FICLONERANGE), without a copy, and advance both positions: the bytes,
 * or -errno if the file system or the positions do not allow it. -EINVAL if len is less than the rest.
 * Accounts: with must_judge for what the extents show.
 */
ssize_t usp_clone_range(struct usp_file *in, struct usp_file *out, uint64_t len, bool must_judge);

/*
 * Copy up to len bytes, and advance both positions: bytes, 0 at the end, or -errno. Accounts: with must_judge
 * for what the extents show, else for unknown.
 */
ssize_t usp_copy_range(struct usp_file *in, struct usp_file *out, size_t len, bool must_judge);

#endif
