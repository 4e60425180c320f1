/* SPDX-License-Identifier: MIT */
/* nearest - the name that somebody may have meant: "did you mean ...?". */
#ifndef USP_CLI_NEAREST_H
#define USP_CLI_NEAREST_H

#include <stddef.h>

/* Begin with .name NULL and the word that was written, which need not end behind len. */
struct nearest {
	const char *word;
	size_t len;
	const char *name; /* the nearest one so far; NULL if none is near enough */
	unsigned nr_edits;
};

/*
 * Look whether a name is nearer than those before. Letters that are missing, extra, other or swapped count one each. A
 * name with all the parts of the word is just near enough, whatever else it has.
 */
void nearest_try(struct nearest *nearest, const char *name);

#endif
