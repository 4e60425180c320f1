/* SPDX-License-Identifier: MIT */
/* uring_open - a ring of io_uring that a loop can wait for. */
#ifndef USP_EVENT_URING_OPEN_H
#define USP_EVENT_URING_OPEN_H

#include <liburing.h>

/*
 * Open a ring for the calling thread alone. The caller keeps the eventfd. It becomes readable as soon
 * as there is work for the thread; it may also be readable without work. 0 or -errno: those of
 * io_uring_setup(2) and io_uring_register(2), with -ENOSYS and -EPERM where io_uring is not available.
 */
int usp_uring_open(struct io_uring *ret_ring, int event_fd);

#endif
