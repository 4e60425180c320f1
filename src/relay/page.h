/* SPDX-License-Identifier: MIT */
/* page - page.html as the build embeds it. */
#ifndef USP_RELAY_PAGE_H
#define USP_RELAY_PAGE_H

#include <stddef.h>

extern const char usp_page[];
extern const size_t usp_page_len;

/* Its Content-Security-Policy: only the script and the style in it, by their digests, and requests to where it is from. */
extern const char usp_page_policy[];

#endif
