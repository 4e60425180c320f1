/* SPDX-License-Identifier: MIT */
/* buf - what only this floor asks of a buf. The doors are public. */
#ifndef USP_SPLICE_BUF_H
#define USP_SPLICE_BUF_H

#include <usplice/endpoint.h>

/* Tell whether the bytes of the buf may come later: its confirm never blocks, and may say -EAGAIN. */
bool usp_buf_may_be_late(const struct usp_buf *buf);

#endif
