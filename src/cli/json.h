/* SPDX-License-Identifier: MIT */
/* json - text as a JSON string. */
#ifndef USP_CLI_JSON_H
#define USP_CLI_JSON_H

#include <stdio.h>

/*
 * Write text as a quoted JSON string, or null if text is NULL. A file name may be any bytes: what is not UTF-8 becomes
 * U+FFFD, so the output is always valid JSON.
 */
void json_put(FILE *out, const char *text);

#endif
