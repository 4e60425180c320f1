/* SPDX-License-Identifier: MIT */
/* utf8 - characters of texts that come from outside. */
#ifndef USP_CLI_UTF8_H
#define USP_CLI_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the character that begins at text, which is not at its end; or 0 if that is no UTF-8. */
size_t utf8_len(const char *text, uint32_t *ret_point);

/*
 * Could a terminal take it for a command, or show a text as another one than it is? C0, DEL, and C1, which has the sequences of C0 in
 * one character; separators of lines and paragraphs; and what turns the order of letters, so that "gpj.exe" is read for "exe.jpg".
 */
bool utf8_is_control(uint32_t point);

#endif
