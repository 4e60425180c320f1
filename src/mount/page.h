/* SPDX-License-Identifier: MIT */
/* page - page.html as the build embeds it. */
#ifndef USP_MOUNT_PAGE_H
#define USP_MOUNT_PAGE_H

#include <stddef.h>

extern const char mount_page[];
extern const size_t mount_page_len;

/* The Content-Security-Policy of the page: only its own script and style, and requests to its own server. */
extern const char mount_page_policy[];

#endif
