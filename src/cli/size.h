/* SPDX-License-Identifier: MIT */
/* size - numbers of bytes as people write and read them. */
#ifndef USP_CLI_SIZE_H
#define USP_CLI_SIZE_H

#include <stdint.h>

#define SIZE_TEXT_MAX 32

/*
 * "64", "64k", "64KiB" and "64kB": k M G T are powers of 1024, kB MB GB TB powers of 1000. NULL, or a sentence
 * that says what is wrong with text; *ret_len is then untouched.
 */
const char *size_parse(const char *text, int64_t *ret_len);

/* Bytes per second: a size, with or without "/s" behind it, and not 0. */
const char *size_parse_rate(const char *text, uint64_t *ret_rate);

/* "512 B", "1.5 GiB". */
const char *size_format(char text[SIZE_TEXT_MAX], double len);

#endif
