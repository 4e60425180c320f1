/* SPDX-License-Identifier: MIT */
/* utf8 - characters of texts that come from outside. */
#include <usplice/spec.h>

#include "base/compiler.h"

size_t usp_utf8_len(const char *text, uint32_t *ret_point)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *byte = (const unsigned char *)text;
	uint32_t point = byte[0];
	size_t len;

	if (byte[0] >= 0x80 && (byte[0] < 0xc2 || byte[0] > 0xf4))
		return 0;
	len = byte[0] < 0x80 ? 1 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
	if (len > 1)
		point &= 0x7fu >> len;
	for (size_t i = 1; i < len; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (byte[i] & 0x3f);
	}
	if (point < smallest[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret_point = point;
	return len;
}

bool usp_utf8_is_control(uint32_t point)
{
	static const struct {
		uint32_t first, last;
	} controls[] = {
		{0x00, 0x1f},	  /* C0 */
		{0x7f, 0x9f},	  /* DEL and C1 */
		{0x61c, 0x61c},	  /* direction of text: mark, */
		{0x200e, 0x200f}, /* marks, */
		{0x2028, 0x2029}, /* (separators of lines and paragraphs) */
		{0x202a, 0x202e}, /* embeddings and overrides, */
		{0x2066, 0x206f}, /* isolates, and deprecated ones */
	};

	for (unsigned i = 0; i < usp_array_len(controls); i++) {
		if (point >= controls[i].first && point <= controls[i].last)
			return true;
	}
	return false;
}
