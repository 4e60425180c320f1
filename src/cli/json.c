/* SPDX-License-Identifier: MIT */
/* json - text as a JSON string. */
#include "json.h"

#include <stdint.h>
#include <string.h>

/* The length of the UTF-8 sequence that begins at text, or 0 if there is no valid one. */
static size_t json_utf8_len(const unsigned char *text)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t point;
	size_t len, i;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	len = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	point = text[0] & (0x7fu >> len);
	for (i = 1; i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (text[i] & 0x3f);
	}
	if (point < smallest[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return len;
}

static void json_char(FILE *out, unsigned char c)
{
	static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	const char *at = named;

	for (; *at != '\0'; at += 2) {
		if (at[0] == (char)c) {
			fprintf(out, "\\%c", at[1]);
			return;
		}
	}
	if (c < 0x20 || c == 0x7f)
		fprintf(out, "\\u%04x", c);
	else
		putc(c, out);
}

void json_string(FILE *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	if (!text) {
		fputs("null", out);
		return;
	}
	putc('"', out);
	while (*at != '\0') {
		size_t len = json_utf8_len(at);

		if (len == 0)
			fputs("\\ufffd", out);
		else if (len == 1)
			json_char(out, *at);
		else
			fwrite(at, 1, len, out);
		at += len > 0 ? len : 1;
	}
	putc('"', out);
}
