/* SPDX-License-Identifier: MIT */
/* file - what the files of this floor share about files. */
#ifndef USP_SPLICE_FILE_H
#define USP_SPLICE_FILE_H

#include <usplice/endpoint.h>

/* Does a call with these flags wait for this file, or give -EAGAIN? */
bool usp_file_blocks(const struct usp_file *file, unsigned flags);

/*
 * Wait for POLLIN or POLLOUT on a file that is not a pipe: 0 or -errno (-EINTR too). A socket's own SO_RCVTIMEO or
 * SO_SNDTIMEO bounds the wait: -EAGAIN then (N3).
 */
int usp_file_wait(struct usp_file *file, short events);

/* Is pos the offset that the file shares with others? Then system calls without an offset move it, and pos only follows. */
bool usp_file_shares_pos(const struct usp_file *file, const int64_t *pos);

/* What one splice may offer a sink: one splice is one datagram, and too much is an error. */
size_t usp_file_offer(const struct usp_file *out, size_t len);

/* Take what a side has on account since the last time, leaving nothing; lane is not told. */
void usp_file_take_account(struct usp_file *file, unsigned side, struct usp_hop *ret_hop);

/*
 * The ways of delivered bytes, of which hops of the route copied so many, and cannot tell of so many. A byte counts as copied if
 * some hop may have copied it. Where hops went several ways that is the upper bound: which bytes those were is not recorded.
 */
void usp_ways_judge(uint64_t delivered, uint64_t copied, uint64_t unknown, uint64_t ret_ways[USP_NR_WAYS]);

/* The checks on a position before bytes move (S10): 0 or -EINVAL. */
int usp_file_verify_area(int64_t pos, size_t len);

#endif
