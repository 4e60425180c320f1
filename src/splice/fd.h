/* SPDX-License-Identifier: MIT */
/* fd - how endpoints make a file of a descriptor. */
#ifndef USP_SPLICE_FD_H
#define USP_SPLICE_FD_H

#include <usplice/endpoint.h>

/* USP_READ | USP_WRITE as O_RDONLY, O_WRONLY or O_RDWR. */
int usp_fd_access(unsigned mode);

/* A file over fd with these traits. On failure fd stays with the caller. */
int usp_fd_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, const char *name, unsigned traits,
		    struct usp_file **ret_file);

/* Let the file start at the descriptor's own offset, and be SEEKABLE, if the descriptor has an offset. */
void usp_fd_find_pos(struct usp_file *file);

/* Set O_NONBLOCK on a description that is ours alone. 0 or -errno. */
int usp_fd_set_nonblock(int fd);

/*
 * Give fd, in place, a description of its own that is O_NONBLOCK: the flag must not be seen by the other processes that
 * share the old one. 0, or -errno and nothing has changed. Only for objects that can be opened twice.
 */
int usp_fd_unshare(int fd);

/* Is there a byte at *pos of a SEEKABLE file, whatever its st_size says? 1, 0 if that is the end, or -errno. Takes nothing. */
int usp_fd_peek(const struct usp_file *file, const int64_t *pos);

/*
 * For a descriptor that had to stay blocking: -EAGAIN unless poll(2) says that it is ready, and writes of at most
 * PIPE_BUF bytes, which a pipe with a free slot takes without a wait.
 */
ssize_t usp_fd_polled_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
ssize_t usp_fd_polled_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);

#endif
