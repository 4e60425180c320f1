/* SPDX-License-Identifier: MIT */
/* buffer_options - how a buffer is written: SIZE[,start=P%][,low=P%][,refill=P%][,file-size=SIZE,file=PATH]. */
#include "transforms/buffer_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <usplice/spec.h>

#include "base/compiler.h"

#define BUFFER_WORD_MAX 64
#define BUFFER_MEMORY_MIN ((int64_t)64 << 10)
#define BUFFER_FILE_MIN ((int64_t)1 << 20)
#define BUFFER_SIZE_MAX (INT64_MAX / 4) /* memory and file can be added up */

/* Parse "80%" or "80". */
static const char *buffer_parse_percent(const char *text, unsigned *ret_percent)
{
	unsigned percent = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9' && percent <= 100; at++)
		percent = percent * 10 + (unsigned)(*at - '0');
	if (at == text || percent > 100 || (*at && strcmp(at, "%") != 0))
		return "has a mark that is no percentage from 0% to 100%";
	*ret_percent = percent;
	return NULL;
}

static const char *buffer_parse_size(const char *text, int64_t least, const char *too_small, int64_t *ret_len)
{
	const char *why;

	if (!*text)
		return "has no size";
	if (usp_size_parse(text, ret_len, &why) < 0)
		return why;
	return *ret_len < least ? too_small : *ret_len > BUFFER_SIZE_MAX ? "is too large" : NULL;
}

/* Parse a word that is neither the first one nor file=. */
static const char *buffer_parse_mark(const char *word, struct usp_buffer_options *options)
{
	static const char file_size[] = "file-size=";
	struct {
		const char *name;
		unsigned *percent;
	} marks[] = {
		{"start=", &options->marks.start}, {"low=", &options->marks.low}, {"refill=", &options->marks.refill}};

	if (strncmp(word, file_size, strlen(file_size)) == 0)
		return buffer_parse_size(word + strlen(file_size), BUFFER_FILE_MIN, "has a file of less than 1M",
					 &options->file_size);
	for (unsigned i = 0; i < usp_array_len(marks); i++) {
		if (strncmp(word, marks[i].name, strlen(marks[i].name)) == 0)
			return buffer_parse_percent(word + strlen(marks[i].name), marks[i].percent);
	}
	return "has something behind the size that is none of start=P%, low=P% and refill=P%";
}

static const char *buffer_parse_words(const char *text, struct usp_buffer_options *options)
{
	static const char file[] = "file=";
	const char *why = NULL;

	for (unsigned i = 0; !why && text; i++) {
		size_t len = strcspn(text, ",");
		char word[BUFFER_WORD_MAX];

		if (i && strncmp(text, file, strlen(file)) == 0) {
			options->file = text + strlen(file); /* the last one: a path may have commas */
			break;
		}
		if (len >= sizeof(word))
			return "is too long";
		snprintf(word, sizeof(word), "%.*s", (int)len, text);
		why = i ? buffer_parse_mark(word, options)
			: buffer_parse_size(word, BUFFER_MEMORY_MIN, "is less than 64k", &options->memory);
		text = text[len] ? text + len + 1 : NULL;
	}
	return why;
}

int usp_buffer_parse(const char *text, struct usp_buffer_options *ret_options, const char **ret_why)
{
	struct usp_buffer_options options = {.marks.refill = 100};
	const char *why = buffer_parse_words(text, &options);

	if (!why && options.marks.low && options.marks.low >= options.marks.start)
		why = "has a low mark that is not below start";
	if (!why && !options.marks.refill)
		why = "has a refill mark of 0%, so the source would pause until all is gone: 1% is the least";
	if (!why && !options.file != !options.file_size)
		why = "has a file without a size, or a size without a file";
	if (!why && options.file && !*options.file)
		why = "names no file";
	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	*ret_options = options;
	return 0;
}
