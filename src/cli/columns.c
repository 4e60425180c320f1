/* SPDX-License-Identifier: MIT */
/* columns - how much room a text takes on a terminal. */
#include "columns.h"

#include <stdint.h>
#include <usplice/spec.h>

/* Characters of East Asia, and pictures, take two columns; accents that are drawn over a letter take none. */
static int columns_of_point(uint32_t point)
{
	static const struct {
		uint32_t first, last;
		int columns;
	} ranges[] = {
		{0x0000, 0x001f, 0},   {0x0300, 0x036f, 0},   {0x1100, 0x115f, 2},   {0x200b, 0x200f, 0},
		{0x2e80, 0x303e, 2},   {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
		{0xfe00, 0xfe0f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},
		{0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (point >= ranges[i].first && point <= ranges[i].last)
			return ranges[i].columns;
	}
	return 1;
}

size_t columns_fit(const char *text, int columns)
{
	const char *at = text;

	while (*at != '\0') {
		uint32_t point = 'x';
		size_t len = usp_utf8_len(at, &point);

		columns -= columns_of_point(point);
		if (columns < 0)
			break;
		at += len > 0 ? len : 1;
	}
	return (size_t)(at - text);
}

int columns_of(const char *text)
{
	int columns = 0;

	while (*text != '\0') {
		uint32_t point = 'x';
		size_t len = usp_utf8_len(text, &point);

		columns += columns_of_point(point);
		text += len > 0 ? len : 1;
	}
	return columns;
}
