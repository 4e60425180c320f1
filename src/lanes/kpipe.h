/* SPDX-License-Identifier: MIT */
/* kpipe - kernel pipes as storage for bufs, and the kernel lane. */
#ifndef USP_LANES_KPIPE_H
#define USP_LANES_KPIPE_H

#include <usplice/endpoint.h>

/* The kernel lane: both hooks call splice(2). The plan puts files on it that can be spliced. */
extern const struct usp_lane usp_kernel_lane;

/* Bytes held by one kernel pipe, which one buf owns. A second owner gets its own kernel pipe by tee(2). */
extern const struct usp_buf_ops usp_kpipe_buf_ops;

/*
 * Tell whether splice(2) refuses this sink, whatever it is given. Tries it with an empty kernel pipe,
 * so nothing moves. False also if that cannot be tried.
 */
bool usp_kpipe_is_refused(struct usp_file *sink);

#endif
