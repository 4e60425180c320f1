/* SPDX-License-Identifier: MIT */
/* report - what a copy did, for people and for programs. */
#ifndef USP_CLI_REPORT_H
#define USP_CLI_REPORT_H

#include <stdio.h>

struct copy;

/*
 * Print the run in words on standard error, if there was one; with --verbose each hop and why it
 * went as it did.
 */
void report_say(const struct copy *copy);

/* Say of which files the page cache has something all the same, after a run with --drop-cache. */
void report_say_caches(const struct copy *copy);

/* Say how many datagrams of the source were lost at its socket, if any were. Others may have been lost before. */
void report_say_lost(const struct copy *copy);

/*
 * Write one JSON object on one line, described in usplice-copy(1). 0, or -1 after saying that it
 * could not be written to name.
 */
int report_write_json(const struct copy *copy, int fd, const char *name);

/* The same of what put writes, one JSON object without the end of the line. arg is for put. */
int report_write(int fd, const char *name, void (*put)(FILE *out, const void *arg), const void *arg);

/* Write the JSON object of one copy, as a part of another one. */
void report_put(FILE *out, const struct copy *copy);

#endif
