/* SPDX-License-Identifier: MIT */
/* word_list - words of the command line, and of a file with one word a line. */
#include "word_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int word_list_add(struct word_list *list, const char *word)
{
	char **words = realloc(list->words, (list->nr + 1) * sizeof(words[0]));
	char *own = words ? strdup(word) : NULL;

	if (words)
		list->words = words;
	if (!own)
		return ENOMEM;
	list->words[list->nr++] = own;
	return 0;
}

/* Return the word of a line, without blanks and comments. Works in place. */
static char *word_list_trim(char *line)
{
	char *end;

	line[strcspn(line, "#\n")] = '\0';
	line += strspn(line, " \t\r");
	for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]); end--)
		end[-1] = '\0';
	return line;
}

static int word_list_read_lines(struct word_list *list, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	int error = 0;

	while (error == 0 && getline(&line, &size, file) >= 0) {
		const char *word = word_list_trim(line);

		error = *word ? word_list_add(list, word) : 0;
	}
	if (error == 0 && ferror(file))
		error = errno;
	free(line);
	return error;
}

int word_list_read(struct word_list *list, const char *path)
{
	FILE *file = fopen(path, "re");
	int error = file ? word_list_read_lines(list, file) : errno;

	if (file)
		fclose(file);
	return error;
}

void word_list_fini(struct word_list *list)
{
	for (unsigned i = 0; i < list->nr; i++)
		free(list->words[i]);
	free(list->words);
	*list = (struct word_list){0};
}
