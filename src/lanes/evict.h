/* SPDX-License-Identifier: MIT */
/* evict - an experiment on a file itself, without writing: a page that somebody refers to stays in the page cache. */
#ifndef USP_LANES_EVICT_H
#define USP_LANES_EVICT_H

#include <usplice/endpoint.h>

/*
 * Splice the page at pos out of fd into a pipe, and ask the kernel to drop it from the page cache. It stays
 * if the pipe refers to it, and goes if it was copied. USP_UNKNOWN if it does not go even without the pipe,
 * because it is dirty or mapped, or if this process is not told. Moves no offset. Reads the page again from
 * the device, and perhaps its neighbours up to 2 MiB later.
 */
enum usp_way usp_evict(int fd, int64_t pos);

#endif
