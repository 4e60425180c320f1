/* SPDX-License-Identifier: MIT */
/* ring - what the tests in guests share: a ring of /dev/usplice with its mapping, pages that can be recognised, processes, commands. */
#ifndef USP_TESTS_KERNELS_RING_H
#define USP_TESTS_KERNELS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "usplice_ring.h"

#define PAGE 4096u

struct ring {
	int fd;
	unsigned nr_slots;
	char *memory;
};

/* All of these fail the test where a call fails. */
void ring_open(struct ring *ring, unsigned nr_slots, unsigned timeout_ms);
void ring_close(struct ring *ring);
char *ring_slot(const struct ring *ring, unsigned slot);
struct usplice_stat ring_stat(const struct ring *ring);

/* Give one order: 0 or -errno. user_data is the number of the slot plus 1000. */
int ring_order(const struct ring *ring, unsigned what, unsigned slot, unsigned offset, unsigned len);
void ring_lend(const struct ring *ring, unsigned slot); /* a whole page */

/* Wait for one piece of news. */
struct usplice_news ring_news(const struct ring *ring);
void ring_expect(const struct ring *ring, unsigned flags, unsigned slot);
bool ring_has_news(const struct ring *ring);

/* Memory that nobody may read or write. */
void *ring_nowhere(void);

/* Page number nr of a stream, and whether a page is that. */
void page_fill(void *page, uint64_t nr);
bool page_is(const void *page, uint64_t nr);

void make_pipe(int fds[2]);
void make_tcp(int fds[2]);
void make_unix(int fds[2]);
/*
 * Let the network stack free a page where it is read. By default it leaves that to the processor that made the packet, where the page
 * waits until that processor receives something: possibly for ever (net.core.skb_defer_max).
 */
void nudge_network(void);
/* Exactly len bytes. */
void splice_all(int in, int out, size_t len, unsigned flags);
void read_all(int fd, void *to, size_t len);
size_t bytes_in(int pipe);

/* Run check(arg) in another process, and wait for it: it has to return true. */
pid_t other_start(bool (*check)(void *arg), void *arg);
void other_join(pid_t pid);
bool task_sleeps(pid_t pid);

/* Run a command of the shell: its exit code, and what it prints, as a text in len bytes. */
int run(const char *command, char *ret_text, size_t len);

/* A stream of nr_pages, numbered from 0 on, that comes from fd. */
struct stream {
	int fd;
	uint64_t nr_pages;
};

/* A file of such a stream. */
void make_pages(const char *path, uint64_t nr_pages);
bool file_is_right(const char *path, uint64_t nr_pages);

/* Read a struct stream with read(2), and compare its pages. It never fails a test itself: for other_start(). */
bool stream_is_right(void *arg);

/* Send nr_pages through a ring and a pipe to out. A slot is filled again as soon as it is told to be free. */
void stream_send(int out, uint64_t nr_pages);

/* The same through fds of make(); another process reads, with is_right(struct stream *). */
void stream_over(void (*make)(int fds[2]), bool (*is_right)(void *stream), uint64_t nr_pages);

#endif
