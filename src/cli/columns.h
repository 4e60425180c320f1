/* SPDX-License-Identifier: MIT */
/* columns - how much room a text takes on a terminal. */
#ifndef USP_CLI_COLUMNS_H
#define USP_CLI_COLUMNS_H

#include <stddef.h>

/* Return the columns of a text of UTF-8 that message_put has cleaned. */
int columns_of(const char *text);

/* Return how many bytes of the text fit into so many columns; whole characters. */
size_t columns_fit(const char *text, int columns);

#endif
