/* SPDX-License-Identifier: MIT */
/* sums - files of digests, as sha256sum(1) and its like write and check them. */
#ifndef USP_CLI_SUMS_H
#define USP_CLI_SUMS_H

#include "digest_list.h"

/* A source whose digests are looked for, by its name as the user gave it. They are added to the list. */
struct sums_want {
	char *name;
	struct digest_list list;
	unsigned nr_entries; /* that the file has for it */
};

/*
 * Return the name that a file of digests has for a source: its path without options, also that of what a cache is
 * over; else the spec itself. The caller frees it. NULL without memory.
 */
char *sums_name(const char *spec);

/*
 * Find in the file of digests those of sources, and add them to their lists. An entry of that name counts, else one of
 * its last component. Reads the file once. An exit code; the error has been said. That there is none is no error.
 */
int sums_find_each(const char *path, struct sums_want *wants, unsigned nr_wants);

/* The same for one source, which must have a digest. */
int sums_find(const char *path, const char *name, struct digest_list *list);

/*
 * Write a name as a line of digests has it. True if characters are escaped: the line then begins with a
 * backslash. The caller frees the result, which is NULL without memory.
 */
bool sums_escape(const char *name, char **ret_name);

#endif
