/* SPDX-License-Identifier: MIT */
/*
 * probe.h - find out how the kernel carries bytes: by reference, or as a copy. The account of a pump rests on
 * this. See usp_probe(3).
 */
#ifndef USPLICE_PROBE_H
#define USPLICE_PROBE_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_probe_result {
	size_t size;	    /* sizeof(struct usp_probe_result) */
	enum usp_way way;   /* USP_UNKNOWN where no experiment decides */
	const char *reason; /* one sentence, static: what was found, or why it cannot be known */
};

/*
 * Find out how splice(2) carries the bytes of one hop: out of a file into a kernel pipe (USP_READ), or out
 * of a kernel pipe into the file (USP_WRITE). The answer is about this file: its mount, its protocol, the
 * device that it sends through. The experiments use objects of their own, of the same kind. A page of a file
 * that is read is also dropped from the page cache, and read again; no byte and no offset changes.
 *
 * Takes some milliseconds the first time, and remembers what holds for a whole mount or protocol. Safe from
 * several threads. -EINVAL for a side that is none. *ret_result has its size set.
 */
USP_EXPORT int usp_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);

#ifdef __cplusplus
}
#endif
#endif
