/* SPDX-License-Identifier: MIT */
/* secret - keys and passphrases that a file holds. They never stand on the command line. */
#ifndef USP_CLI_SECRET_H
#define USP_CLI_SECRET_H

#include <stddef.h>

struct secret {
	const char *path; /* of the file, or NULL: there is none */
	char *text;	  /* on the heap, once it was read */
	size_t len;
};

/* Read the file, if there is one. An exit code; the error has been said. */
int secret_read(struct secret *secret, const char *option);

/* Wipe and free what was read. */
void secret_wipe(struct secret *secret);

#endif
