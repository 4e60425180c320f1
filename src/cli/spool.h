/* SPDX-License-Identifier: MIT */
/*
 * spool - lines that a thread of its own writes, so that callers never wait for the file. It may be
 * on a full disk, a stopped terminal, or a FIFO without a reader.
 *
 *   any thread ──item──► ring of bounded memory ──► the writer: format, write(2) ──► file, FIFO, terminal, standard stream
 *                  │ full: dropped, and counted
 *
 * Each write(2) has whole lines only, and no more of them than a FIFO takes at once. What a file
 * did not take is kept and tried again. The writer sleeps while there is nothing to do; after a
 * write it lets a few lines come together.
 */
#ifndef USP_CLI_SPOOL_H
#define USP_CLI_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPOOL_LINE_MAX 4096 /* PIPE_BUF: a FIFO takes so much at once or not at all */

struct spool;

struct spool_params {
	const char *path; /* opened to append, and made if it does not exist; or NULL */
	int fd;		  /* without a path: a descriptor that the caller keeps */
	size_t room;	  /* for items, in bytes */
	/* Make a line of an item, with its '\n': the length, at most SPOOL_LINE_MAX. In the writer's thread. */
	size_t (*format)(void *arg, const void *item, size_t len, char *ret_line);
	/*
	 * Report that the file cannot be opened or written to (-errno), or can again (0), once for
	 * each change. In the writer's thread. NULL is allowed.
	 */
	void (*changed)(void *arg, int error);
	void *arg;
};

/* Make a spool. -errno if the path cannot be opened, except for a FIFO without a reader. */
int spool_new(const struct spool_params *params, struct spool **ret_spool);

/*
 * Put an item into the ring. Blocks only for another thread that does the same. False: there is no
 * room, and the item is dropped and counted.
 */
bool spool_put(struct spool *spool, const void *item, size_t len);
uint64_t spool_nr_dropped(struct spool *spool);

/* Close the file and open its path again, which may now name another file. The writer does it soon. */
void spool_reopen(struct spool *spool);

/*
 * Write what is left, for two seconds at most, and free the spool. Returns how many lines could not
 * be written. NULL is allowed.
 */
size_t spool_free(struct spool *spool);

#endif
