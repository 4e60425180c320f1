/* SPDX-License-Identifier: MIT */
/* fd - what endpoints need to make a file of a descriptor. */
#ifndef USP_SPLICE_FD_H
#define USP_SPLICE_FD_H

#include <usplice/endpoint.h>

/* Convert USP_READ and USP_WRITE to O_RDONLY, O_WRONLY or O_RDWR. */
int usp_fd_access(unsigned mode);

/* Make a file over fd with these traits. The file owns fd; on failure the caller keeps it. */
int usp_fd_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, const char *name, unsigned traits,
		    struct usp_file **ret_file);

/* If the descriptor has an offset, start the file there and make it USP_FILE_SEEKABLE. */
void usp_fd_find_pos(struct usp_file *file);

/* Set O_NONBLOCK on a description that no other file or process shares. 0 or -errno. */
int usp_fd_set_nonblock(int fd);

/*
 * Replace the description under fd by a new one that is O_NONBLOCK: the processes that share the old
 * one must not see the flag. 0, or -errno with nothing changed. Only for objects that can be opened
 * twice.
 */
int usp_fd_unshare(int fd);

/* find_hole by SEEK_DATA and SEEK_HOLE. make_hole of a regular file: leave it out, or FALLOC_FL_PUNCH_HOLE. */
int usp_fd_find_hole(struct usp_file *in, int64_t pos, struct usp_holes *ret_holes);
ssize_t usp_fd_make_hole(struct usp_file *out, int64_t pos, size_t len);

/* Test for a byte at *pos of a seekable file, even behind st_size: 1, 0 at the end, or -errno. Moves no offset. */
int usp_fd_peek(const struct usp_file *file, const int64_t *pos);

/*
 * The hooks of a descriptor that had to stay blocking: -EAGAIN unless poll(2) says that it is ready. A
 * write takes at most PIPE_BUF bytes: a pipe with a free slot accepts them without a wait.
 */
ssize_t usp_fd_polled_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
ssize_t usp_fd_polled_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);

#endif
