/* SPDX-License-Identifier: MIT */
/* page - page.html as the build embeds it. */
#ifndef USP_RELAY_PAGE_H
#define USP_RELAY_PAGE_H

#include <stddef.h>

extern const char usp_page[];
extern const size_t usp_page_len;

/*
 * The Content-Security-Policy of the page: only its own script and style, by their digests, and
 * requests to its own server.
 */
extern const char usp_page_policy[];

#endif
