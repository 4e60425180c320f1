/* SPDX-License-Identifier: MIT */
/* probe_page - what `usplice probe` found, as one page for a browser that needs nothing else. */
#ifndef USP_CLI_PROBE_PAGE_H
#define USP_CLI_PROBE_PAGE_H

#include <stdio.h>

/* probe_page.html as the build embeds it, with a place for the JSON. */
extern const char probe_page_html[];

/*
 * Write the page, with the JSON that write_json writes to the stream it is given, to the regular file that name means
 * (usplice-endpoints(7)), or to standard output for "-". The file takes the place of an old one only when it is whole.
 * Returns CLI_DONE, or CLI_FAILED after saying why.
 */
int probe_page_save(const char *name, void (*write_json)(FILE *out, void *arg), void *arg);

#endif
