/* SPDX-License-Identifier: MIT */
/* buf - bufs whose bytes come later, for this floor. The others are public. */
#ifndef USP_SPLICE_BUF_H
#define USP_SPLICE_BUF_H

#include <usplice/endpoint.h>

/* Tell whether the bytes of the buf may come later: its confirm never blocks, and may say -EAGAIN. */
bool usp_buf_may_be_late(const struct usp_buf *buf);

/* Return what to wait on until the bytes of the buf are valid, and *ret_events for poll(2). -EIO if its table does not say, -EAGAIN to confirm again. */
int usp_buf_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events);

#endif
