/* SPDX-License-Identifier: MIT */
/* end - the two ends of a scenario: a descriptor for the library, and its other side, which never meets a fault. */
#ifndef USP_TESTS_END_H
#define USP_TESTS_END_H

#include <pthread.h>
#include <stdint.h>
#include <usplice.h>

enum end_kind {
	END_FILE,
	END_FIFO,
	END_TCP,
	END_UNIX,
	END_MEMORY,
	END_ZERO,   /* source only */
	END_NULL,   /* sink only */
	END_CACHED, /* source only: a file through a page cache */
};

/* What every source of this program gives, and the zeros of END_ZERO. Made by end_init, before the first run. */
extern unsigned char *end_bytes, *end_zeros;
extern size_t end_len;
void end_init(size_t len);

struct end {
	enum end_kind kind;
	unsigned mode;
	struct usp_file *file; /* NULL until opened */
	int error;	       /* of opening it */
	int fd;		       /* for the library, -1 without one; a failed open leaves it with us */
	int far_fd;	       /* what the thread writes or reads, or the file itself */
	int spare_fd;	       /* of a stream source: to see what is left in it */
	pthread_t thread;
	bool has_thread;
	unsigned char *bytes; /* a sink: what arrived */
	size_t nr_arrived;
	bool was_open;
	int close_result;
	unsigned nr_done; /* calls of the done of END_MEMORY */
};

/* Everything but the library's part. The bytes of a source start to flow. */
void end_prepare(struct end *end, enum end_kind kind, unsigned mode);

/* The library's part: end->file, or end->error; then end->close_result, which must be what became of the calls of close(2). */
void end_open(struct end *end);
void end_close(struct end *end);

/* The same for an end below a stage, which is closed and closes it; stage may be NULL. */
void end_close_below(struct end *end, struct usp_file *stage);

/*
 * After end_close. Source: what the library did not take, which must be the bytes from taken on; END_UNKNOWN where a stage
 * reads ahead. Sink: what arrived.
 */
#define END_UNKNOWN SIZE_MAX
void end_check_rest(struct end *end, size_t taken);
void end_collect(struct end *end);

/* The first len bytes of a source of this kind. */
const unsigned char *end_expected(enum end_kind kind);

/* A connection over the loopback. */
void end_tcp_pair(int ret_fds[2]);

#endif
