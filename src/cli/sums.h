/* SPDX-License-Identifier: MIT */
/* sums - files of digests, as sha256sum(1) and its like write and check them. */
#ifndef USP_CLI_SUMS_H
#define USP_CLI_SUMS_H

#include "digest_list.h"

/*
 * Find in the file of digests those of a source, whose name is as the user gave it, and add them to the
 * list. An entry of that name counts, else one of its last component. An exit code; the error has been
 * said.
 */
/*
 * Return the name that a file of digests has for a source: its path without options, also that of what a cache is
 * over; else the spec itself. The caller frees it. NULL without memory.
 */
char *sums_name(const char *spec);

int sums_find(const char *path, const char *name, struct digest_list *list);

/*
 * Write a name as a line of digests has it. True if characters are escaped: the line then begins with a
 * backslash. The caller frees the result, which is NULL without memory.
 */
bool sums_escape(const char *name, char **ret_name);

#endif
