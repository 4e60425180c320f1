/* SPDX-License-Identifier: MIT */
/* probe - find out whether this kernel moves references or copies, for each kind of file. */
#ifndef USP_LANES_PROBE_H
#define USP_LANES_PROBE_H

#include <usplice/endpoint.h>

struct usp_probe_result {
	enum usp_way way;
	const char *reason; /* static */
};

/*
 * Find what the kernel lane does on one hop: from file into a kernel pipe (USP_READ), or out of one
 * into file (USP_WRITE). The experiment uses other objects of the same kind, so file is not touched.
 * It runs once per process for each kind, and takes a few milliseconds at most. Safe from several
 * threads.
 */
void usp_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);

#endif
