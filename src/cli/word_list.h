/* SPDX-License-Identifier: MIT */
/* word_list - words of the command line, and of a file with one word a line. */
#ifndef USP_CLI_WORD_LIST_H
#define USP_CLI_WORD_LIST_H

/* A list; all zero is an empty one. It owns its words. */
struct word_list {
	char **words;
	unsigned nr;
};

/* Add a copy of a word: 0 or an errno value. */
int word_list_add(struct word_list *list, const char *word);

/*
 * Add the lines of a file, without blanks around them and comments after '#': 0 or an errno value.
 * Blocks as the file does.
 */
int word_list_read(struct word_list *list, const char *path);

void word_list_fini(struct word_list *list);

#endif
