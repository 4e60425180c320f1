/* SPDX-License-Identifier: MIT */
/* ways - how bytes went, in words, for reports, drawings and answers. */
#include "ways.h"
#include "size.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *const ways_names[USP_NR_WAYS] = {
	[USP_BY_REFERENCE] = "by reference",
	[USP_COPIED] = "copied",
	[USP_UNKNOWN] = "unknown",
	[USP_REWRITTEN] = "rewritten",
};

static const char *ways_format(char text[WAYS_TEXT_MAX], const uint64_t bytes[USP_NR_WAYS])
{
	char size[SIZE_TEXT_MAX];
	size_t len = 0;
	unsigned way;

	snprintf(text, WAYS_TEXT_MAX, "nothing moved");
	for (way = 0; way < USP_NR_WAYS; way++) {
		if (bytes[way] > 0 && len < WAYS_TEXT_MAX)
			len += (size_t)snprintf(text + len, WAYS_TEXT_MAX - len, "%s%s %s", len > 0 ? ", " : "",
						size_format(size, (double)bytes[way]), ways_names[way]);
	}
	return text;
}

const char *ways_format_holes(char text[WAYS_TEXT_MAX], const uint64_t bytes[USP_NR_WAYS], uint64_t holes)
{
	char size[SIZE_TEXT_MAX];
	uint64_t moved = 0;
	size_t len = 0;
	unsigned way;

	for (way = 0; way < USP_NR_WAYS; way++)
		moved += bytes[way];
	if (moved > 0 || holes == 0)
		len = strlen(ways_format(text, bytes));
	if (holes > 0 && len < WAYS_TEXT_MAX)
		snprintf(text + len, WAYS_TEXT_MAX - len, "%s%s left as holes", len > 0 ? ", " : "",
			 size_format(size, (double)holes));
	return text;
}

void ways_json(FILE *out, const uint64_t bytes[USP_NR_WAYS])
{
	static const char *const keys[USP_NR_WAYS] = {
		[USP_BY_REFERENCE] = "by_reference",
		[USP_COPIED] = "copied",
		[USP_UNKNOWN] = "unknown",
		[USP_REWRITTEN] = "rewritten",
	};
	unsigned way;

	for (way = 0; way < USP_NR_WAYS; way++)
		fprintf(out, "%s\"%s\":%llu", way > 0 ? "," : "", keys[way], (unsigned long long)bytes[way]);
}

const char *ways_reason(const struct usp_hop *hop, char text[WAYS_REASON_MAX])
{
	bool has_bytes = false;
	size_t len = 0;
	unsigned way;

	text[0] = '\0';
	for (way = 0; way < USP_NR_WAYS; way++)
		has_bytes |= hop->bytes[way] > 0;
	for (way = 0; way < USP_NR_WAYS; way++) {
		if (!hop->reason[way] || (has_bytes && hop->bytes[way] == 0) || len >= WAYS_REASON_MAX)
			continue;
		len += (size_t)snprintf(text + len, WAYS_REASON_MAX - len, "%s%s", len > 0 ? "; " : "",
					hop->reason[way]);
	}
	return len > 0 ? text : NULL;
}
