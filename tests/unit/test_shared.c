/* SPDX-License-Identifier: MIT */
/*
 * test_shared - descriptors that others share: their offset and flags are at every moment what a loop of read(2) and
 * write(2) would leave.
 *
 * The test holds a second descriptor of the same description, and looks after each call. tests/cli/copy_shared.bats does
 * the same with the command, and with processes that are killed.
 */
#include "net.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include <usplice/endpoint.h>

#define FILE_LEN 300000

/* A file whose description is shared: theirs is the other descriptor of it. */
struct shared {
	struct usp_file *file;
	int theirs;
};

static struct shared share(int fd, unsigned mode)
{
	struct shared shared;

	assert_true(fd >= 0);
	shared.theirs = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	assert_true(shared.theirs >= 0);
	assert_int_equal(usp_open_fd(fd, mode, "shared", &shared.file), 0);
	return shared;
}

/* A memfd of len bytes of the pattern, with these flags of open(2); its offset is 0. */
static struct shared share_file(size_t len, unsigned mode, int flags)
{
	static const int access_of[] = {[USP_READ] = O_RDONLY, [USP_WRITE] = O_WRONLY, [USP_READ | USP_WRITE] = O_RDWR};
	unsigned char *bytes = malloc(len + 1);
	int fd = memfd_create("shared", MFD_CLOEXEC), own;
	char path[32];

	assert_non_null(bytes);
	pattern_fill(bytes, 0, len);
	assert_int_equal(write(fd, bytes, len), len);
	free(bytes);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, access_of[mode] | O_CLOEXEC | flags);
	close(fd);
	return share(own, mode);
}

static void share_end(struct shared *shared)
{
	usp_file_put(shared->file);
	close(shared->theirs);
}

static void assert_offset(const struct shared *shared, int64_t off)
{
	assert_int_equal(lseek(shared->theirs, 0, SEEK_CUR), off);
	if (shared->file)
		assert_int_equal(usp_file_seek(shared->file, 0, SEEK_CUR), off);
}

/* From, or to, a shared file on a lane, and the bytes that the pump says it moved. */
static int pump(struct usp_file *source, struct usp_file *sink, enum usp_lane_choice lane, int64_t count)
{
	const struct usp_pump_params params = {.size = sizeof(params),
					       .flags = count < 0 ? 0 : USP_PUMP_COUNT,
					       .count = count < 0 ? 0 : count,
					       .lane = lane};
	struct usp_pump *run;
	int ret;

	assert_int_equal(usp_pump_new(source, &params, &run), 0);
	assert_int_equal(usp_pump_add_sink(run, sink), 0);
	ret = usp_pump_run(run);
	usp_pump_free(run);
	return ret;
}

static struct usp_file *open_spec(const char *spec, unsigned mode)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = mode};
	struct usp_file *file;

	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	return file;
}

/* --- Reading ------------------------------------------------------------------------------------------------ */

static void every_way_to_read_moves_the_offset_that_others_see(void **state)
{
	struct shared source = share_file(FILE_LEN, USP_READ, 0);
	struct usp_file *null = open_spec("null:", USP_WRITE), *end[2];
	unsigned char bytes[100];
	int64_t off = 50;

	(void)state;
	open_pipe(end, 16, 0);
	assert_offset(&source, 0);
	take_bytes(source.file, 0, 100);
	assert_offset(&source, 100);
	assert_int_equal(usp_splice(source.file, NULL, end[1], NULL, 200, 0), 200);
	assert_offset(&source, 300);
	take_bytes(end[0], 100, 200);
	assert_int_equal(usp_splice_direct(source.file, NULL, null, NULL, 300, 0, NULL), 300);
	assert_offset(&source, 600);
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		assert_int_equal(pump(source.file, null, lane, 1000), 0);
		assert_offset(&source, 1600 + 1000 * lane);
	}
	assert_int_equal(usp_splice(source.file, &off, end[1], NULL, 200, 0), 200);
	assert_int_equal(off, 250);
	assert_int_equal(usp_pread(source.file, bytes, sizeof(bytes), 70), sizeof(bytes));
	assert_true(pattern_is(bytes, 70, sizeof(bytes)));
	assert_int_equal(usp_pread(source.file, bytes, sizeof(bytes), -1), -EINVAL);
	assert_int_equal(usp_pread(null, bytes, sizeof(bytes), 0), -ESPIPE);
	assert_offset(&source, 3600); /* an offset that is given is nobody else's */
	take_bytes(end[0], 50, 200);
	close_pipe(end);
	usp_file_put(null);
	share_end(&source);
}

static void what_others_read_meanwhile_is_not_read_again(void **state)
{
	struct shared source = share_file(FILE_LEN, USP_READ, 0);
	unsigned char bytes[100];
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, 0);
	for (uint64_t at = 0; at < 6000; at += 600) {
		take_bytes(source.file, at, 100);
		assert_int_equal(read(source.theirs, bytes, 100), 100);
		assert_true(pattern_is(bytes, at + 100, 100));
		assert_int_equal(usp_splice(source.file, NULL, end[1], NULL, 100, 0), 100);
		take_bytes(end[0], at + 200, 100);
		assert_int_equal(lseek(source.theirs, 100, SEEK_CUR), at + 400);
		assert_int_equal(pump(source.file, end[1], USP_LANE_AUTO, 100), 0);
		take_bytes(end[0], at + 400, 100);
		assert_int_equal(pump(source.file, end[1], USP_LANE_USER, 100), 0);
		take_bytes(end[0], at + 500, 100);
	}
	close_pipe(end);
	share_end(&source);
}

/* A sink that takes one byte less than it is given. */
static ssize_t takes_less(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	(void)out, (void)pos, (void)flags;
	return from->count > 1 ? (ssize_t)from->count - 1 : -ENOSPC;
}

static void what_a_sink_of_sendfile_does_not_take_is_read_again_by_whoever_comes_next(void **state)
{
	const struct usp_file_ops ops = {
		.size = sizeof(ops), .name = "less", .write_iter = takes_less, .splice_write = usp_iter_splice_write};
	struct shared source = share_file(FILE_LEN, USP_READ, 0);
	struct usp_file *less;

	(void)state;
	assert_int_equal(usp_file_new(&ops, USP_WRITE, "less", NULL, &less), 0);
	assert_int_equal(usp_splice_direct(source.file, NULL, less, NULL, 500, 0, NULL), 499);
	assert_offset(&source, 499);
	usp_file_put(less);
	share_end(&source);
}

/* A sink that takes so many bytes, and then fails; others may read meanwhile. */
struct limit {
	size_t left;
	int theirs; /* somebody reads 10 bytes from here when it fails first, or -1 */
};

static ssize_t takes_some(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct limit *limit = out->priv;
	size_t len = from->count < limit->left ? from->count : limit->left;
	char bytes[10];

	(void)pos, (void)flags;
	limit->left -= len;
	if (len == 0 && limit->theirs >= 0)
		assert_int_equal(read(limit->theirs, bytes, sizeof(bytes)), sizeof(bytes));
	if (len == 0)
		limit->theirs = -1;
	return len ? (ssize_t)len : -ENOSPC;
}

static struct usp_file *open_limit(struct limit *limit)
{
	static const struct usp_file_ops ops = {
		.size = sizeof(ops), .name = "limit", .write_iter = takes_some, .splice_write = usp_iter_splice_write};
	struct usp_file *file;

	assert_int_equal(usp_file_new(&ops, USP_WRITE, "limit", limit, &file), 0);
	return file;
}

/* Run into sinks that take less than there is; what the pump has taken. */
static uint64_t pump_into_limits(struct usp_file *source, const struct usp_pump_params *params, struct limit *limits,
				 unsigned nr_limits)
{
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_pump *run;

	assert_int_equal(usp_pump_new(source, params, &run), 0);
	for (unsigned i = 0; i < nr_limits; i++) {
		struct usp_file *sink = open_limit(&limits[i]);

		assert_int_equal(usp_pump_add_sink(run, sink), 0);
		usp_file_put(sink);
	}
	assert_int_equal(usp_pump_run(run), -ENOSPC);
	usp_pump_status(run, &status);
	usp_pump_free(run);
	return status.bytes;
}

static void what_no_sink_of_a_pump_took_is_read_by_whoever_comes_next(void **state)
{
	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		for (unsigned nr = 1; nr <= 3; nr++) {
			struct usp_pump_params params = {.size = sizeof(params),
							 .lane = lane == USP_LANE_KERNEL ? 0 : lane};
			struct shared source = share_file(FILE_LEN, USP_READ, 0);
			struct limit limits[] = {{1000, -1}, {123456, -1}, {FILE_LEN, -1}};

			params.flags = nr > 1 ? USP_PUMP_CONTINUE_ON_ERROR : 0;
			assert_int_equal(lseek(source.theirs, 7, SEEK_CUR), 7);
			pump_into_limits(source.file, &params, limits, nr);
			assert_offset(&source, nr == 1 ? 1007 : nr == 2 ? 123463 : FILE_LEN);
			share_end(&source);
		}
	}
}

static void what_is_kept_in_a_pump_has_been_read(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_KEEP_STRANDED};
	struct shared source = share_file(FILE_LEN, USP_READ, 0);
	struct limit limit = {1000, -1};

	(void)state;
	assert_offset(&source, (int64_t)pump_into_limits(source.file, &params, &limit, 1));
	share_end(&source);
}

static void an_offset_that_somebody_else_has_moved_is_not_moved_back(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_COUNT, .count = 5000};
	struct shared source = share_file(FILE_LEN, USP_READ, 0);
	struct limit limit = {1000, source.theirs};

	(void)state;
	assert_int_equal(pump_into_limits(source.file, &params, &limit, 1), 5000);
	assert_offset(&source, 5010);
	share_end(&source);
}

/* --- Writing ------------------------------------------------------------------------------------------------ */

static void every_way_to_write_moves_the_offset_that_others_see(void **state)
{
	struct shared sink = share_file(0, USP_WRITE, 0);
	struct usp_file *zero = open_spec("zero:", USP_READ), *end[2];
	int64_t off = 10000;

	(void)state;
	open_pipe(end, 16, 0);
	put_bytes(sink.file, 0, 100);
	assert_offset(&sink, 100);
	put_bytes(end[1], 100, 200);
	assert_int_equal(usp_splice(end[0], NULL, sink.file, NULL, 200, 0), 200);
	assert_offset(&sink, 300);
	assert_int_equal(pump(zero, sink.file, USP_LANE_AUTO, 1000), 0);
	assert_offset(&sink, 1300);
	put_bytes(end[1], 0, 50);
	assert_int_equal(usp_splice(end[0], NULL, sink.file, &off, 50, 0), 50);
	assert_int_equal(off, 10050);
	assert_offset(&sink, 1300);
	assert_int_equal(write(sink.theirs, "MARK", 4), 4);
	put_bytes(sink.file, 0, 100);
	assert_offset(&sink, 1404);
	close_pipe(end);
	usp_file_put(zero);
	share_end(&sink);
}

/* splice(2) and copy_file_range(2) would move data and offset without the lock that write(2) takes. */
static void a_regular_sink_that_others_share_is_written_and_never_spliced_to(void **state)
{
	struct shared sink = share_file(0, USP_WRITE, 0), source = share_file(FILE_LEN, USP_READ, 0);
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	assert_int_equal(pump(source.file, sink.file, USP_LANE_KERNEL, -1), -EOPNOTSUPP);
	assert_int_equal(pump(source.file, sink.file, USP_LANE_AUTO, -1), 0);
	assert_offset(&sink, FILE_LEN);
	assert_offset(&source, FILE_LEN);
	usp_file_hop(sink.file, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], FILE_LEN);
	share_end(&sink);
	share_end(&source);
}

static void a_file_that_nobody_else_has_keeps_a_position_of_its_own(void **state)
{
	struct shared source = share_file(FILE_LEN, USP_READ, 0);
	struct usp_file *file;
	int fd = dup(source.theirs);

	(void)state;
	assert_int_equal(usp_open_fd(fd, USP_READ | USP_EXCLUSIVE, "exclusive", &file), 0);
	take_bytes(file, 0, 100);
	assert_int_equal(usp_file_seek(file, 0, SEEK_CUR), 100);
	assert_offset(&source, 0);
	usp_file_put(file);
	share_end(&source);
}

static void a_seek_moves_the_shared_offset_and_asking_for_the_size_does_not(void **state)
{
	struct shared file = share_file(FILE_LEN, USP_READ | USP_WRITE, 0);

	(void)state;
	assert_int_equal(usp_file_seek(file.file, 70, SEEK_SET), 70);
	assert_offset(&file, 70);
	assert_int_equal(lseek(file.theirs, 30, SEEK_CUR), 100);
	assert_int_equal(usp_file_seek(file.file, 11, SEEK_CUR), 111);
	assert_offset(&file, 111);
	assert_int_equal(usp_file_size(file.file), FILE_LEN);
	assert_offset(&file, 111);
	assert_int_equal(usp_file_seek(file.file, -1, SEEK_END), FILE_LEN - 1);
	assert_offset(&file, FILE_LEN - 1);
	assert_int_equal(usp_file_seek(file.file, -1, SEEK_SET), -EINVAL);
	assert_int_equal(usp_file_seek(file.file, -FILE_LEN, SEEK_CUR), -EINVAL);
	assert_int_equal(usp_file_seek(file.file, 0, 17), -EINVAL);
	assert_offset(&file, FILE_LEN - 1);
	share_end(&file);
}

/* --- Flags of open, two opens in a row --------------------------------------------------------------------- */

/* What a loop of read(2) and write(2) does to a twin is what must be seen here. */
static void act_as_a_loop_would(struct shared *shared, int twin, unsigned mode)
{
	struct usp_file *null = open_spec("null:", USP_WRITE), *zero = open_spec("zero:", USP_READ);
	unsigned char bytes[PAGE] __attribute__((aligned(PAGE))) = {0};

	if (mode & USP_READ) {
		assert_int_equal(pump(shared->file, null, USP_LANE_AUTO, PAGE), 0);
		assert_true(read(twin, bytes, PAGE) >= 0); /* 0: a write that appended left the offset at the end */
		assert_offset(shared, lseek(twin, 0, SEEK_CUR));
	}
	if (mode & USP_WRITE) {
		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(pump(zero, shared->file, USP_LANE_AUTO, PAGE), 0);
		assert_int_equal(write(twin, bytes, PAGE), PAGE);
		assert_int_equal(lseek(shared->theirs, 0, SEEK_CUR), lseek(twin, 0, SEEK_CUR));
	}
	usp_file_put(null);
	usp_file_put(zero);
}

static void every_combination_of_open_flags_leaves_what_a_loop_would_leave(void **state)
{
	static const int flags[] = {O_APPEND, O_NONBLOCK, O_SYNC, O_DSYNC, O_NOATIME};

	(void)state;
	for (unsigned mode = USP_READ; mode <= (USP_READ | USP_WRITE); mode++) {
		for (unsigned set = 0; set < 1u << ARRAY_LEN(flags); set++) {
			struct shared shared, twin;
			int open_flags = 0, before;

			for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
				open_flags |= set & 1u << i ? flags[i] : 0;
			shared = share_file(FILE_LEN, mode, open_flags);
			twin = share_file(FILE_LEN, mode, open_flags);
			before = fcntl(shared.theirs, F_GETFL);
			for (unsigned nth_open = 0; nth_open < 2; nth_open++) {
				int again = fcntl(shared.theirs, F_DUPFD_CLOEXEC, 3);

				act_as_a_loop_would(&shared, twin.theirs, mode);
				assert_int_equal(fcntl(shared.theirs, F_GETFL), before);
				usp_file_put(shared.file);
				assert_int_equal(lseek(shared.theirs, 0, SEEK_CUR), lseek(twin.theirs, 0, SEEK_CUR));
				assert_int_equal(usp_open_fd(again, mode, "again", &shared.file), 0);
			}
			share_end(&shared);
			share_end(&twin);
		}
	}
}

/* --- A second writer ---------------------------------------------------------------------------------------- */

#define WRITER_RECORDS 600
#define WRITER_RECORD 1000 /* each record is one write: the letter of its writer, and its number */

struct writer {
	pthread_t thread;
	char letter;
	struct usp_file *file; /* written by pumps; NULL: fd is written by write(2) */
	int fd;
};

static void record_fill(char record[WRITER_RECORD], char letter, unsigned nr)
{
	memset(record, letter, WRITER_RECORD);
	snprintf(record, WRITER_RECORD, "%c%08u", letter, nr);
}

static void *writer_run(void *arg)
{
	struct writer *writer = arg;
	char record[WRITER_RECORD];

	for (unsigned nr = 0; nr < WRITER_RECORDS; nr++) {
		struct usp_file *memory;

		record_fill(record, writer->letter, nr);
		if (!writer->file) {
			if (write(writer->fd, record, sizeof(record)) != sizeof(record))
				return writer;
			continue;
		}
		if (usp_open_memory(record, sizeof(record), USP_READ, NULL, NULL, &memory) < 0)
			return writer;
		if (pump(memory, writer->file, USP_LANE_AUTO, -1) < 0)
			return writer;
		usp_file_put(memory);
	}
	return NULL;
}

/* Every writer's records are there, in its order, and nothing else: a model of what several loops of write(2) leave. */
static void assert_all_records(int fd, unsigned nr_writers)
{
	unsigned next[4] = {0};
	char record[WRITER_RECORD], expected[WRITER_RECORD];

	for (unsigned i = 0; i < nr_writers * WRITER_RECORDS; i++) {
		unsigned writer;

		assert_int_equal(pread(fd, record, WRITER_RECORD, (off_t)i * WRITER_RECORD), WRITER_RECORD);
		writer = (unsigned)(record[0] - 'a');
		assert_true(writer < nr_writers);
		record_fill(expected, record[0], next[writer]++);
		assert_memory_equal(record, expected, WRITER_RECORD);
	}
	assert_int_equal(pread(fd, record, 1, (off_t)nr_writers * WRITER_RECORDS * WRITER_RECORD), 0);
}

static void several_writers_of_one_description_lose_no_byte(void **state)
{
	struct shared sink = share_file(0, USP_READ | USP_WRITE, 0);
	struct writer writers[4];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(writers); i++) {
		writers[i] = (struct writer){.letter = (char)('a' + i), .fd = sink.theirs};
		if (i != 1)
			assert_int_equal(usp_open_fd(dup(sink.theirs), USP_WRITE, "writer", &writers[i].file), 0);
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(writers); i++) {
		void *failed;

		pthread_join(writers[i].thread, &failed);
		assert_null(failed);
		usp_file_put(writers[i].file);
	}
	assert_all_records(sink.theirs, ARRAY_LEN(writers));
	share_end(&sink);
}

/* --- Sockets ------------------------------------------------------------------------------------------------ */

static void unix_pair(int fds[2], int rcvbuf)
{
	(void)rcvbuf;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* One step of a pump on a socket that blocks, with nothing to read or no room: it must come back, and the flag must stay. */
static void a_socket_that_blocks_is_never_made_nonblocking_and_never_waited_in(void **state)
{
	static void (*const make[])(int fds[2], int rcvbuf) = {net_tcp_pair, unix_pair};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(make); i++) {
		struct usp_file *null = open_spec("null:", USP_WRITE), *zero = open_spec("zero:", USP_READ);
		const struct usp_pump_params params = {.size = sizeof(params)};
		struct usp_pump_wait wait = {.size = sizeof(wait)};
		struct shared socket;
		struct usp_pump *run;
		int fds[2], ret;

		make[i](fds, 0);
		assert_int_equal(fcntl(fds[0], F_SETFL, 0), 0);
		socket = share(fds[0], USP_READ | USP_WRITE);
		assert_int_equal(fcntl(socket.theirs, F_GETFL) & O_NONBLOCK, 0);
		assert_int_equal(usp_file_flags(socket.file), 0);
		assert_int_equal(usp_pump_new(socket.file, &params, &run), 0);
		assert_int_equal(usp_pump_add_sink(run, null), 0);
		assert_int_equal(usp_pump_step(run, &wait), -EAGAIN);
		assert_int_equal(fcntl(socket.theirs, F_GETFL) & O_NONBLOCK, 0);
		usp_pump_free(run);
		assert_int_equal(usp_pump_new(zero, &params, &run), 0);
		assert_int_equal(usp_pump_add_sink(run, socket.file), 0);
		do
			ret = usp_pump_step(run, &wait);
		while (ret == -EAGAIN && wait.timeout_ns == 0);
		assert_int_equal(ret, -EAGAIN); /* full */
		assert_ptr_equal(wait.file, socket.file);
		assert_int_equal(fcntl(socket.theirs, F_GETFL) & O_NONBLOCK, 0);
		usp_pump_free(run);
		share_end(&socket);
		close(fds[1]);
		usp_file_put(null);
		usp_file_put(zero);
	}
}

/* Refuse the byte at *arg. */
static ssize_t look_until(void *arg, const unsigned char *bytes, size_t len)
{
	size_t *left = arg, use = *left < len ? *left : len;

	(void)bytes;
	*left -= use;
	return use ? (ssize_t)use : -EBADMSG;
}

static void a_stage_gives_back_what_it_has_not_passed_on(void **state)
{
	const struct usp_stage_ops ops = {.size = sizeof(ops), .name = "until", .look = look_until};
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	const size_t ends[] = {0, 1, 4096, 100000, 131072, FILE_LEN - 1};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct shared shared = share_file(FILE_LEN, USP_READ, 0);
		struct usp_file *sink;
		size_t left = ends[i];

		assert_int_equal(usp_open("mem:", &params, &sink, NULL), 0);
		assert_int_equal(usp_stage_open(&ops, &left, shared.file, &shared.file), 0);
		assert_int_equal(usp_copy_files(shared.file, sink, NULL, NULL), -EBADMSG);
		usp_file_put(shared.file);
		assert_int_equal(lseek(shared.theirs, 0, SEEK_CUR), ends[i]);
		close(shared.theirs);
		usp_file_put(sink);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_way_to_read_moves_the_offset_that_others_see),
		CASE(what_others_read_meanwhile_is_not_read_again),
		CASE(what_a_sink_of_sendfile_does_not_take_is_read_again_by_whoever_comes_next),
		CASE(what_no_sink_of_a_pump_took_is_read_by_whoever_comes_next),
		CASE(what_is_kept_in_a_pump_has_been_read),
		CASE(an_offset_that_somebody_else_has_moved_is_not_moved_back),
		CASE(every_way_to_write_moves_the_offset_that_others_see),
		CASE(a_regular_sink_that_others_share_is_written_and_never_spliced_to),
		CASE(a_file_that_nobody_else_has_keeps_a_position_of_its_own),
		CASE(a_seek_moves_the_shared_offset_and_asking_for_the_size_does_not),
		CASE(every_combination_of_open_flags_leaves_what_a_loop_would_leave),
		CASE(several_writers_of_one_description_lose_no_byte),
		CASE(a_socket_that_blocks_is_never_made_nonblocking_and_never_waited_in),
		CASE(a_stage_gives_back_what_it_has_not_passed_on),
	};

	return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
