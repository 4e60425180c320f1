/* SPDX-License-Identifier: MIT */
/* hole - holes of a file on their way through a pipe, as references to zeros that a sink may leave out. */
#ifndef USP_SPLICE_HOLE_H
#define USP_SPLICE_HOLE_H

#include <usplice/endpoint.h>

/* Begin to give and to make holes, or end it. Forgets what is known of the file. */
void usp_hole_set_mode(struct usp_file *file, enum usp_sparse mode);

/* Tell whether zeros that come are to be found, which needs the bytes in memory of this process. */
bool usp_hole_seeks_zeros(const struct usp_file *out);

/*
 * Look what is at *pos of a file that is read: true if it is a hole. *len is cut to what is the same. False
 * where holes are not asked for, or are not known.
 */
bool usp_hole_is_next(struct usp_file *in, const int64_t *pos, size_t *len);

/* Push what is at a hole, as much as fits: bytes, or -errno. Accounts. The caller holds the write turn. */
ssize_t usp_hole_push(struct usp_file *in, struct usp_pipe *pipe, size_t len);

/*
 * Make a hole of what the pipe begins with, if that is zeros to leave out: bytes. 0 if the first *len
 * bytes, which may be cut, have to be written. -errno as of a write. Accounts.
 */
ssize_t usp_hole_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t *len, unsigned flags);

/* Make a hole at *pos of a sink, and advance *pos: bytes, -EOPNOTSUPP if zeros have to be written, or -errno. Accounts. */
ssize_t usp_hole_make(struct usp_file *out, int64_t *pos, size_t len);

/* Move the end of a sink behind a hole that was the last to come, and end its mode: 0 or -errno. */
int usp_hole_finish(struct usp_file *out);

/* Count bytes of a hole on a side. */
void usp_hole_account(struct usp_file *file, unsigned side, size_t len);

#endif
