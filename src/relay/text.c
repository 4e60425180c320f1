/* SPDX-License-Identifier: MIT */
/* text - a text that grows; that memory was short is remembered, and asked for once, at the end. */
#include "relay/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"

#define TEXT_FIRST_ROOM 4096

/* Make room for len more bytes and a 0. */
static bool text_reserve(struct usp_text *text, size_t len)
{
	size_t room = usp_max(text->room, TEXT_FIRST_ROOM);
	char *base;

	while (room - text->len <= len)
		room *= 2;
	if (room == text->room)
		return true;
	base = usp_alloc(room);
	if (!base) {
		text->has_failed = true;
		return false;
	}
	if (text->len)
		memcpy(base, text->base, text->len);
	usp_free(text->base);
	text->base = base;
	text->room = room;
	return true;
}

void usp_text_add(struct usp_text *text, const char *format, ...)
{
	va_list args, again;
	int len;

	if (text->has_failed)
		return;
	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(text->base ? text->base + text->len : NULL, text->room - text->len, format, args);
	if (len < 0)
		text->has_failed = true;
	else if ((size_t)len < text->room - text->len)
		text->len += (size_t)len;
	else if (text_reserve(text, (size_t)len))
		text->len += (size_t)vsnprintf(text->base + text->len, text->room - text->len, format, again);
	va_end(again);
	va_end(args);
}

/* The length of the UTF-8 sequence that begins at value, or 0 if there is no valid one. */
static size_t text_utf8_len(const unsigned char *value, uint32_t *ret_point)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = value[0] < 0x80 ? 1 : value[0] < 0xe0 ? 2 : value[0] < 0xf0 ? 3 : 4;
	uint32_t point = len == 1 ? value[0] : value[0] & (0x7fu >> len);

	if (len > 1 && (value[0] < 0xc0 || value[0] > 0xf7))
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((value[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (value[i] & 0x3f);
	}
	*ret_point = point;
	return point < smallest[len] || point > 0x10ffff || (point & 0x1ff800) == 0xd800 ? 0 : len;
}

/*
 * What a terminal would obey, or what shows a text as another one: C0, DEL and C1, separators of lines and paragraphs, and what
 * turns the order of letters. The command has the same list (cli/utf8.c).
 */
static bool text_is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e ||
	       point == 0x200f || (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x206f);
}

void usp_text_add_quoted(struct usp_text *text, const char *value)
{
	usp_text_add(text, "\"");
	while (*value != '\0') {
		uint32_t point = 0;
		size_t len = text_utf8_len((const unsigned char *)value, &point);

		if (*value == '\n')
			usp_text_add(text, "\\n");
		else if (*value == '"' || *value == '\\')
			usp_text_add(text, "\\%c", *value);
		else if (len == 0 || text_is_control(point))
			usp_text_add(text, "?");
		else
			usp_text_add(text, "%.*s", (int)len, value);
		value += usp_max(len, 1);
	}
	usp_text_add(text, "\"");
}

void usp_text_free(struct usp_text *text)
{
	usp_free(text->base);
	*text = (struct usp_text){0};
}
