/* SPDX-License-Identifier: MIT */
/* support - what the unit tests share: pipes, mock files, mock bufs, workers, and the checks around every test. */
#ifndef USP_TESTS_SUPPORT_H
#define USP_TESTS_SUPPORT_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <usplice/endpoint.h>

#define PAGE 4096u
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* --- Around every test ---------------------------------------------------------------------------- */

/* A test that must end in time and leave no folio, no kernel pipe and no descriptor behind. */
#define CASE(f) cmocka_unit_test_setup_teardown(f, support_before, support_after)
int support_before(void **state);
int support_after(void **state);

/* The end of a process that a test has forked: _exit, but what it ran counts for `make coverage`. */
_Noreturn void end_child(int code);

/*
 * The C library frees its allocator for the child of a fork beside other threads. The allocators of AddressSanitizer and
 * ThreadSanitizer may stay locked there: a test whose threads may be in malloc(3) while it forks skips itself under them.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_FORK_BESIDE_THREADS false
#else
#define CAN_FORK_BESIDE_THREADS true
#endif

/* --- Bytes: the content of every stream in the tests is a function of the position --------------------- */

unsigned char pattern_at(uint64_t off);
void pattern_fill(void *base, uint64_t off, size_t len);
bool pattern_is(const void *base, uint64_t off, size_t len);
#define assert_pattern(base, off, len) assert_true(pattern_is(base, off, len))

/* --- Pipes that follow the kernel's rule (slots of 4096 bytes); end[0] reads, end[1] writes --------------- */

void open_pipe(struct usp_file *end[2], unsigned nr_slots, unsigned flags);
void close_pipe(struct usp_file *end[2]); /* ends that are NULL are skipped */
void drop(struct usp_file **file);	  /* put it and set it to NULL */

/* Write (read) exactly the pattern bytes [off, off + len), and fail the test if that is not what happens. */
void put_bytes(struct usp_file *end, uint64_t off, size_t len);
void take_bytes(struct usp_file *end, uint64_t off, size_t len);

/* Copies of the bufs in a pipe, from the oldest on; returns how many there are, at most nr_bufs. Nothing is consumed. */
unsigned peek_bufs(struct usp_file *read_end, struct usp_buf *ret_bufs, unsigned nr_bufs);
unsigned nr_bufs_in(struct usp_file *read_end);

/* Put a buf into a pipe the way a producer does; it must fit. */
void inject(struct usp_file *write_end, struct usp_buf buf);

/* --- Mock bufs -------------------------------------------------------------------------------------- */

/* Storage whose ops count what is asked of them. The folio comes first, so it is addressable by default. */
struct mock_store {
	struct usp_folio folio;
	unsigned char bytes[2 * PAGE]; /* the pattern, from 0 on */
	unsigned nr_born, nr_confirm, nr_release, nr_get, nr_refused, nr_steal, nr_map;
	int confirm_error;
	bool refuses_get, can_steal;
	int map_error;
};

extern const struct usp_buf_ops mock_buf_ops;	       /* counts, and is mapped */
extern const struct usp_buf_ops mock_unmapped_buf_ops; /* counts, and has to be mapped first */
extern const struct usp_buf_ops mock_minimal_buf_ops;  /* the mandatory ops only */

void mock_store_init(struct mock_store *store);

/* Every reference that was ever made must have been dropped by now, exactly once. */
void mock_store_fini(struct mock_store *store);

/* A new reference to bytes [offset, offset + len) of the store. */
struct usp_buf mock_buf(struct mock_store *store, const struct usp_buf_ops *ops, size_t offset, size_t len,
			unsigned flags);

/* A buf over a fresh folio that holds the pattern bytes [off, off + len). */
struct usp_buf folio_buf(uint64_t off, size_t len, unsigned flags);

/* --- Mock files ------------------------------------------------------------------------------------- */

#define MOCK_SCRIPT_MAX 16
#define MOCK_ALL 0x10000000	 /* this call moves all that it is asked for */
#define MOCK_TOO_MUCH 0x20000000 /* this call claims one byte more than it was asked for */

/*
 * A file whose reads give the pattern and whose writes are kept. Each call takes the next entry of the script: the most
 * that it moves, 0 for the end of input, or -errno; behind the script every call moves all.
 */
struct mock {
	struct usp_file *file;
	int64_t size;	      /* where reading ends */
	int64_t taken;	      /* of a stream: what was read so far */
	unsigned char *bytes; /* what was written, at its position */
	size_t len, room;     /* of bytes */
	ssize_t script[MOCK_SCRIPT_MAX];
	unsigned nr_script, next;
	unsigned nr_calls;		   /* of read_iter, write_iter and the splice hooks */
	unsigned nr_segs[MOCK_SCRIPT_MAX]; /* of the iter, per call */
	size_t asked[MOCK_SCRIPT_MAX];	   /* bytes, per call */
	unsigned flags;			   /* of the last call */
	unsigned nr_released;
	int release_error;
	struct usp_buf gives[MOCK_SCRIPT_MAX]; /* what mock_push_ops pushes, all at once */
	unsigned nr_gives;
	void (*on_call)(struct mock *mock); /* called first by each hook, where it is set */
	void *arg;
};

extern const struct usp_file_ops mock_copy_ops; /* read_iter and write_iter under the copying helpers */
extern const struct usp_file_ops mock_bare_ops; /* no hook at all */
extern const struct usp_file_ops mock_push_ops; /* splice_read pushes what gives says */
extern const struct usp_file_ops mock_drop_ops; /* splice_write is usp_drop_splice_write */
extern const struct usp_file_ops mock_raw_ops;	/* splice hooks that move nothing and answer by the script */

struct mock *mock_open(const struct usp_file_ops *ops, unsigned mode, unsigned traits);
void mock_script(struct mock *mock, unsigned nr_results, const ssize_t *results);
void mock_close(struct mock *mock); /* checks that the file was released, once */

#define SCRIPT(mock, ...) \
	mock_script(mock, sizeof((const ssize_t[]){__VA_ARGS__}) / sizeof(ssize_t), (const ssize_t[]){__VA_ARGS__})

/* --- Workers: one call in a thread of its own ------------------------------------------------------------ */

struct worker {
	pthread_t thread;
	ssize_t (*run)(void *arg);
	void *arg;
	ssize_t result;
	_Atomic(int) tid;
	_Atomic(bool) is_done;
};

void worker_start(struct worker *worker, ssize_t (*run)(void *arg), void *arg);
/* Will a full TCP socket have room soon, because bytes are not acknowledged yet, or the peer allowed some more? No for others. */
bool tcp_is_under_way(int fd);
unsigned tcp_nr_segments(int fd); /* of data that it has sent */

void worker_await_sleep(struct worker *worker); /* until the thread sleeps in the kernel, or is done */
ssize_t worker_join(struct worker *worker);

/* Arguments for the calls that are tried in a worker. */
struct call {
	struct usp_file *in, *out;
	void *base;
	size_t len;
	unsigned flags;
};
ssize_t call_read(void *arg);
ssize_t call_write(void *arg);
ssize_t call_splice(void *arg);
ssize_t call_tee(void *arg);

#endif
