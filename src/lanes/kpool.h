/* SPDX-License-Identifier: MIT */
/* kpool - kernel pipes that wait for the next buf. */
#ifndef USP_LANES_KPOOL_H
#define USP_LANES_KPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Both ends of a kernel pipe, O_NONBLOCK. */
struct usp_kpipe_ends {
	int rd, wr;
	size_t capacity; /* bytes */
	dev_t dev;	 /* with ino, by which a child recognises the pipe; 0: unknown */
	ino_t ino;
};

/* Take an idle kernel pipe, or make one: 0 or -errno. It is empty. */
int usp_kpool_take(struct usp_kpipe_ends *ret_ends);

/*
 * Give one back that this process took. Kept if it is drained; one with bytes is closed, because they
 * must not mix with those of another file.
 */
void usp_kpool_give(const struct usp_kpipe_ends *ends, bool is_drained);

/* Close in a child what the parent took. The parent keeps the kernel pipe and its bytes. */
void usp_kpool_close_inherited(const struct usp_kpipe_ends *ends);

/* Drop up to len bytes from the front of a kernel pipe. Returns how many, or -errno. */
ssize_t usp_kpool_drop(const struct usp_kpipe_ends *ends, size_t len);

/* Count the kernel pipes in use, those idle in the pool, and those destroyed because they still held data. */
void usp_kpool_usage(size_t *ret_nr_used, size_t *ret_nr_idle, uint64_t *ret_nr_destroyed);

/* Close the idle kernel pipes of the pool. */
void usp_kpool_trim(void);

#endif
