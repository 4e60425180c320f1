/* SPDX-License-Identifier: MIT */
/* alias - an experiment: is what comes out of a hop the page that went in? On files made for it alone. */
#ifndef USP_LANES_ALIAS_H
#define USP_LANES_ALIAS_H

#include <usplice/endpoint.h>

/* Makes two connected descriptors of the kind to try: what goes into pair[1] comes out of pair[0], as with pipe(2). */
struct usp_alias_maker {
	bool (*make)(const struct usp_alias_maker *maker,
		     int ret_pair[2]); /* on failure too the caller closes ret_pair */
	int domain, protocol;	       /* of a socket */
	const struct usp_file *file;   /* of whose file system a scratch file is made */
};

/* The page cache as a source: splice a page of scratch, an empty file that this call takes, into a pipe. */
enum usp_way usp_alias_page_cache(int scratch);

/* One side of a pair: out of a pipe into it (USP_WRITE), or out of it into a pipe (USP_READ). */
enum usp_way usp_alias_pair(const struct usp_alias_maker *maker, unsigned side);

/* Wait for a moment until fd is readable: true. */
bool usp_alias_await(int fd);

#endif
