/* SPDX-License-Identifier: MIT */
/*
 * test_faulty_kernel - what the kernel's own calls give of a file with a wrong size: the ground on which the library stands.
 *
 * Behind the page cache st_size is the end, but read(2) asks the file system for it again, and splice(2) does not. Files that go
 * past the page cache (FOPEN_DIRECT_IO) are read to their true end by read(2) and pread(2). splice(2), sendfile(2) and
 * copy_file_range(2) use the page cache nevertheless. They end at st_size, at the first short read of the file system, and in
 * front of bytes that cannot be read, and each time they say that it was the end.
 */
#include "faulty.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define LEN 100000
#define PIECE 30000 /* of each call */
#define ROOM (2 * LEN)

enum way { READ, PREAD, SPLICE, SENDFILE, COPY_FILE_RANGE, NR_WAYS };

struct outcome {
	int64_t len; /* bytes */
	int error;   /* behind them; 0: the end */
};

/* One call: up to PIECE bytes of a file, to where the sink keeps them. */
static ssize_t call(enum way way, int in, int64_t at, int sink, const int pipe_fds[2])
{
	unsigned char piece[PIECE];
	ssize_t ret;

	switch (way) {
	case READ:
		ret = read(in, piece, PIECE);
		return ret > 0 ? write(sink, piece, (size_t)ret) : ret;
	case PREAD:
		ret = pread(in, piece, PIECE, at);
		return ret > 0 ? write(sink, piece, (size_t)ret) : ret;
	case SPLICE:
		ret = splice(in, NULL, pipe_fds[1], NULL, PIECE, 0);
		return ret > 0 ? splice(pipe_fds[0], NULL, sink, NULL, (size_t)ret, 0) : ret;
	case SENDFILE:
		return sendfile(sink, in, NULL, PIECE);
	default:
		return copy_file_range(in, NULL, sink, NULL, PIECE, 0);
	}
}

/* What arrived, read from the file that it really is in, must be the beginning of the source. */
static void assert_beginning(int fd, int64_t len)
{
	unsigned char *bytes = malloc(ROOM);

	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, ROOM, 0), len);
	assert_pattern(bytes, 0, (size_t)len);
	free(bytes);
}

/* Read a file to its end, piece by piece. copy_file_range wants a sink on the same file system. */
static struct outcome take(struct faulty *faulty, enum way way)
{
	const char *real = faulty_real(faulty, "sink"), *shown = faulty_shown(faulty, "sink");
	int sink = open(way == COPY_FILE_RANGE ? shown : real, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int in = open(faulty_shown(faulty, "a"), O_RDONLY | O_CLOEXEC), real_sink, pipe_fds[2];
	struct outcome outcome = {.len = 0};
	ssize_t ret;

	assert_true(in >= 0 && sink >= 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	while ((ret = call(way, in, outcome.len, sink, pipe_fds)) > 0 && outcome.len < ROOM)
		outcome.len += ret;
	outcome.error = ret < 0 ? errno : 0;
	close(in);
	close(sink);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	real_sink = open(faulty_real(faulty, "sink"), O_RDONLY | O_CLOEXEC);
	assert_beginning(real_sink, outcome.len);
	close(real_sink);
	return outcome;
}

/* read and pread agree, and so do the three that go through a pipe or are asked to copy. */
static void assert_gives(struct faulty *faulty, const char *faults, struct outcome reads, struct outcome splices)
{
	faulty_make(faulty, "a", LEN);
	for (enum way way = 0; way < NR_WAYS; way++) {
		const struct outcome *want = way <= PREAD ? &reads : &splices;
		struct outcome got;

		faulty_serve(faulty, faults);
		got = take(faulty, way);
		if (got.len != want->len || got.error != want->error)
			fail_msg("%s, way %d: %lld bytes, error %d", faults, way, (long long)got.len, got.error);
	}
}

#define GIVES(len) ((struct outcome){len, 0})
#define FAILS(len) ((struct outcome){len, EIO})

static void a_file_that_is_longer_than_its_size_is_cut_by_everything_but_reads(void **state)
{
	assert_gives(*state, "direct size=0", GIVES(LEN), GIVES(0));
	assert_gives(*state, "direct size=1000", GIVES(LEN), GIVES(1000));
	assert_gives(*state, "direct size=-1000", GIVES(LEN), GIVES(LEN - 1000));
	assert_gives(*state, "direct copy_range size=1000", GIVES(LEN), GIVES(1000));
}

static void a_file_that_is_shorter_than_its_size_ends_where_its_bytes_end(void **state)
{
	assert_gives(*state, "direct size=+5000", GIVES(LEN), GIVES(LEN));
	assert_gives(*state, "size=+5000", GIVES(LEN), GIVES(LEN));
}

static void a_file_that_grows_while_it_is_read_is_followed_by_reads(void **state)
{
	assert_gives(*state, "direct growing", GIVES(LEN), GIVES(4096));
	assert_gives(*state, "growing", GIVES(LEN), GIVES(4096));
}

static void a_short_read_of_the_file_system_is_the_end_for_everything_but_reads(void **state)
{
	assert_gives(*state, "direct short=1000", GIVES(LEN), GIVES(1000));
}

static void bytes_that_cannot_be_read_are_the_end_for_everything_but_reads(void **state)
{
	assert_gives(*state, "direct read=50000:EIO", FAILS(50000), GIVES(50000));
}

static void behind_the_page_cache_the_size_is_the_end_for_all(void **state)
{
	assert_gives(*state, "size=0", GIVES(0), GIVES(0));
	assert_gives(*state, "size=1000", GIVES(1000), GIVES(1000));
	assert_gives(*state, "size=-1000", GIVES(LEN - 1000), GIVES(LEN - 1000));
	assert_gives(*state, "short=1000", GIVES(1000), GIVES(1000));
}

static void behind_the_page_cache_bytes_that_cannot_be_read_are_an_error_for_all(void **state)
{
	assert_gives(*state, "read=49152:EIO", FAILS(49152), FAILS(49152));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULTY_CASE(a_file_that_is_longer_than_its_size_is_cut_by_everything_but_reads),
		FAULTY_CASE(a_file_that_is_shorter_than_its_size_ends_where_its_bytes_end),
		FAULTY_CASE(a_file_that_grows_while_it_is_read_is_followed_by_reads),
		FAULTY_CASE(a_short_read_of_the_file_system_is_the_end_for_everything_but_reads),
		FAULTY_CASE(bytes_that_cannot_be_read_are_the_end_for_everything_but_reads),
		FAULTY_CASE(behind_the_page_cache_the_size_is_the_end_for_all),
		FAULTY_CASE(behind_the_page_cache_bytes_that_cannot_be_read_are_an_error_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
