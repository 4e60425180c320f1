/* SPDX-License-Identifier: MIT */
/* nearest - the name that somebody may have meant: "did you mean ...?". */
#include "nearest.h"

#include <stdbool.h>
#include <string.h>

#define NEAREST_LEN_MAX 32 /* no command and no option is longer */

static unsigned nearest_min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Count the edits from one text to the other; two letters that are swapped are one edit. */
static unsigned nearest_distance(const char *from, size_t from_len, const char *to, size_t to_len)
{
	unsigned rows[3][NEAREST_LEN_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];

	for (unsigned j = 0; j <= to_len; j++)
		above[j] = j;
	for (size_t i = 1; i <= from_len; i++) {
		unsigned *free_row = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= to_len; j++) {
			row[j] = nearest_min(above[j - 1] + (from[i - 1] != to[j - 1]),
					     nearest_min(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
				row[j] = nearest_min(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = free_row;
	}
	return above[to_len];
}

static bool nearest_has_part(const char *name, const char *part, size_t len)
{
	while (strncmp(name, part, len) != 0 || (name[len] != '\0' && name[len] != '-')) {
		name = strchr(name, '-');
		if (!name)
			return false;
		name++;
	}
	return true;
}

/* Whether a name has all parts of a word, in any order: "limit-rate" has those of "rate" and of "rate-limit". */
static bool nearest_has_parts(const char *name, const char *word, size_t len)
{
	size_t part;

	for (; len > 0; word += part, len -= part) {
		part = strcspn(word, "-=");
		if (!nearest_has_part(name, word, part))
			return false;
		part += part < len;
	}
	return true;
}

void nearest_try(struct nearest *nearest, const char *name)
{
	size_t len = strlen(name);
	unsigned most = nearest->len < 4 ? 1 : (unsigned)nearest->len / 3, nr_edits;

	if (nearest->len > NEAREST_LEN_MAX || len > NEAREST_LEN_MAX)
		return;
	nr_edits = nearest_distance(nearest->word, nearest->len, name, len);
	if (nr_edits > most && nearest->len > 0 && nearest_has_parts(name, nearest->word, nearest->len))
		nr_edits = most;
	if (nr_edits > most || (nearest->name && nr_edits >= nearest->nr_edits))
		return;
	nearest->name = name;
	nearest->nr_edits = nr_edits;
}
