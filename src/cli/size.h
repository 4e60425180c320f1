/* SPDX-License-Identifier: MIT */
/* size - numbers of bytes as people read them. */
#ifndef USP_CLI_SIZE_H
#define USP_CLI_SIZE_H

#define SIZE_TEXT_MAX 32

/* Format as "512 B", "1.5 GiB". */
const char *size_format(char text[SIZE_TEXT_MAX], double len);

#endif
