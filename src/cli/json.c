/* SPDX-License-Identifier: MIT */
/* json - text as a JSON string. */
#include "json.h"

#include <string.h>
#include <usplice/spec.h>

/*
 * Write one character. Control characters are always escaped, even if JSON allows them: the string
 * may go to a terminal.
 */
static void json_char(FILE *out, const char *text, size_t len, uint32_t point)
{
	static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	const char *at = named;

	for (; *at != '\0'; at += 2) {
		if (at[0] == text[0]) {
			fprintf(out, "\\%c", at[1]);
			return;
		}
	}
	if (usp_utf8_is_control(point))
		fprintf(out, "\\u%04x", (unsigned)point);
	else
		fwrite(text, 1, len, out);
}

void json_put(FILE *out, const char *text)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	putc('"', out);
	while (*text != '\0') {
		uint32_t point;
		size_t len = usp_utf8_len(text, &point);

		if (len == 0)
			fputs("\\ufffd", out);
		else
			json_char(out, text, len, point);
		text += len > 0 ? len : 1;
	}
	putc('"', out);
}
