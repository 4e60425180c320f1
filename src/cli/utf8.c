/* SPDX-License-Identifier: MIT */
/* utf8 - characters of texts that come from outside. */
#include "utf8.h"

size_t utf8_len(const char *text, uint32_t *ret_point)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *byte = (const unsigned char *)text;
	uint32_t point = byte[0];
	size_t len, i;

	if (byte[0] >= 0x80 && (byte[0] < 0xc2 || byte[0] > 0xf4))
		return 0;
	len = byte[0] < 0x80 ? 1 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
	if (len > 1)
		point &= 0x7fu >> len;
	for (i = 1; i < len; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (byte[i] & 0x3f);
	}
	if (point < smallest[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret_point = point;
	return len;
}

bool utf8_is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0);
}
