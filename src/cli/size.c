/* SPDX-License-Identifier: MIT */
/* size - numbers of bytes as people read them. */
#include "size.h"

#include <stdio.h>

#define SIZE_NR_PREFIXES 4

const char *size_format(char text[SIZE_TEXT_MAX], double len)
{
	size_t exponent = 0;

	for (; len >= 1023.95 && exponent < SIZE_NR_PREFIXES; exponent++)
		len /= 1024;
	if (exponent == 0)
		snprintf(text, SIZE_TEXT_MAX, "%.0f B", len);
	else
		snprintf(text, SIZE_TEXT_MAX, "%.1f %ciB", len, "KMGT"[exponent - 1]);
	return text;
}
