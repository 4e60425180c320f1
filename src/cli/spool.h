/* SPDX-License-Identifier: MIT */
/*
 * spool - lines that a thread of its own writes, so that nobody waits for where they go: a full disk, a terminal that
 * was stopped, a FIFO that nobody reads.
 *
 *   any thread ──item──► ring of bounded memory ──► the writer: format, write(2) ──► file, FIFO, terminal, standard stream
 *                  │ full: dropped, and counted
 *
 * Each write(2) has whole lines only, and not more of them than a FIFO takes at once. What a file did not take is kept and
 * tried again. The writer sleeps while there is nothing to do; after a write it lets a few lines come together.
 */
#ifndef USP_CLI_SPOOL_H
#define USP_CLI_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_LINE_MAX 4096 /* PIPE_BUF: what a FIFO takes at once or not at all */

struct spool;

struct spool_params {
	const char *path; /* opened to append to, and made if it is not there; or NULL */
	int fd;		  /* without a path: a descriptor that stays the caller's */
	size_t room;	  /* for items, in bytes */
	/* Make a line of an item, with its '\n': the length, at most SPOOL_LINE_MAX. In the writer's thread. */
	size_t (*format)(void *arg, const void *item, size_t len, char *ret_line);
	/* The file cannot be opened or written to (-errno), or can again (0): told once. In the writer's thread. NULL is allowed. */
	void (*changed)(void *arg, int error);
	void *arg;
};

/* -errno if the path cannot be opened, but for a FIFO that nobody reads yet. */
int spool_new(const struct spool_params *params, struct spool **ret_spool);

/* Never blocks, but for another thread that does the same; false: there is no room, and the item is dropped and counted. */
bool spool_put(struct spool *spool, const void *item, size_t len);
uint64_t spool_nr_dropped(struct spool *spool);

/* Close the file and open its path, which may mean another one now. Soon, and by the writer. */
void spool_reopen(struct spool *spool);

/* Write what is left, for two seconds at most, and end. How many lines could not be written. NULL is allowed. */
size_t spool_free(struct spool *spool);

#endif
