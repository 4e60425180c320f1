/* SPDX-License-Identifier: MIT */
/* probe - does the kernel move references or copy, on this machine and between these kinds of file? */
#ifndef USP_LANES_PROBE_H
#define USP_LANES_PROBE_H

#include <usplice/endpoint.h>

struct usp_probe_result {
	enum usp_way way;
	const char *reason; /* static */
};

/*
 * What the kernel lane does on one hop of a file: from it into a kernel pipe (USP_READ), or out of one into it (USP_WRITE).
 * Found by an experiment on objects of the same kind, which takes a few milliseconds at most, once per process; the file
 * itself is not touched. Safe from several threads.
 */
void usp_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);

#endif
