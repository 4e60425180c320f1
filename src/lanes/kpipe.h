/* SPDX-License-Identifier: MIT */
/* kpipe - kernel pipes as storage for bufs, and the lane that is made of them. */
#ifndef USP_LANES_KPIPE_H
#define USP_LANES_KPIPE_H

#include <usplice/endpoint.h>

/* Both hooks by splice(2). The plan puts files that may be spliced on it. */
extern const struct usp_lane usp_kernel_lane;

/* Bytes held by one kernel pipe. Owned by one buf only: a second owner gets a kernel pipe of its own by tee(2). */
extern const struct usp_buf_ops usp_kpipe_buf_ops;

/*
 * Does splice(2) refuse this sink, whatever it is given? An experiment with an empty kernel pipe: nothing can move. False also
 * where that cannot be tried.
 */
bool usp_kpipe_is_refused(struct usp_file *sink);

/* Kernel pipes in use now, and those destroyed because they still held data. */
void usp_kpipe_usage(size_t *ret_nr_used, size_t *ret_nr_idle, uint64_t *ret_nr_destroyed);

/* Close the kernel pipes that wait for reuse. */
void usp_kpipe_trim(void);

#endif
