/* SPDX-License-Identifier: MIT */
/*
 * text - a text that grows. It remembers if memory was short, so that the caller checks once, at
 * the end.
 */
#include "metrics/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <usplice/spec.h>

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

void usp_text_add_quoted(struct usp_text *text, const char *value)
{
	usp_text_add(text, "\"");
	while (*value != '\0') {
		uint32_t point = 0;
		size_t len = usp_utf8_len(value, &point);

		if (*value == '\n')
			usp_text_add(text, "\\n");
		else if (*value == '"' || *value == '\\')
			usp_text_add(text, "\\%c", *value);
		else if (len == 0 || usp_utf8_is_control(point))
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
