/* SPDX-License-Identifier: MIT */
/*
 * test_kernel_bugs_calls - what once went wrong in the kernel's own splice with what a call is given and what it waits
 * for: lengths, limits, faults, hooks and locks. The cases are named after the rules C1 to C19 of docs/kernel-rules.md;
 * docs/testing.md has the table of all.
 */
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ends.h"
#include "lanes/kpipe.h"
#include "support.h"

/* --- C3: lengths and pointers that nobody looked at ----------------------------------------------------------- */

static void c03_lengths_that_cannot_be_are_refused_before_memory_is_touched(void **state)
{
	void *nowhere = (void *)1;
	const struct iovec overlong[] = {{nowhere, SIZE_MAX}}, overflow[] = {{nowhere, SSIZE_MAX}, {nowhere, 1}};
	static struct iovec many[1025];
	const struct {
		const struct iovec *iov;
		unsigned nr_segs;
	} lists[] = {{overlong, 1}, {overflow, 2}, {many, ARRAY_LEN(many)}};
	struct usp_file *end[2], *file = adopt(open_memfd(100), USP_READ | USP_WRITE);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct iovec){nowhere, 1};
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
		const struct iovec *iov = lists[i].iov;
		unsigned nr_segs = lists[i].nr_segs;

		assert_int_equal(usp_vmsplice(end[1], iov, nr_segs, USP_SPLICE_NONBLOCK), -EINVAL);
		assert_int_equal(usp_vmsplice(end[1], iov, nr_segs, USP_SPLICE_NONBLOCK | USP_SPLICE_GIFT), -EINVAL);
		assert_int_equal(usp_vmsplice(end[0], iov, nr_segs, USP_SPLICE_NONBLOCK), -EINVAL);
		assert_int_equal(usp_writev(end[1], iov, nr_segs), -EINVAL);
		assert_int_equal(usp_readv(end[0], iov, nr_segs), -EINVAL);
		assert_int_equal(usp_writev(file, iov, nr_segs), -EINVAL);
		assert_int_equal(usp_readv(file, iov, nr_segs), -EINVAL);
	}
	assert_int_equal(usp_gift_new(NULL, 1, NULL, NULL, &(struct usp_gift *){NULL}), -EINVAL);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	usp_file_put(file);
}

/* --- C5, C6: files that only grow at their end, and limits ---------------------------------------------------- */

static void c05_a_file_that_appends_is_no_sink_at_any_offset(void **state)
{
	int64_t offsets[] = {0, 50, 100, -1, INT64_MAX}, off;
	int fd = open_memfd(100);
	struct usp_file *source = adopt(open_memfd(100), USP_READ);
	struct usp_file *sink = adopt(open_again(fd, O_WRONLY | O_APPEND), USP_WRITE), *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	for (unsigned i = 0; i <= ARRAY_LEN(offsets); i++) {
		int64_t *off_out = i < ARRAY_LEN(offsets) ? &off : NULL;

		off = off_out ? offsets[i] : 0;
		assert_int_equal(usp_splice(end[0], NULL, sink, off_out, 10, 0), -EINVAL);
		assert_int_equal(usp_splice_direct(source, NULL, sink, off_out, 10, 0, NULL), -EINVAL);
		assert_int_equal(off, off_out ? offsets[i] : 0);
	}
	assert_int_equal(usp_file_set_flags(sink, 0), -EINVAL); /* and there is no way around it */
	take_bytes(end[0], 0, 10);
	assert_int_equal(usp_file_seek(source, 0, SEEK_CUR), 0);
	assert_file(fd, 100);
	close_pipe(end);
	usp_file_put(source);
	usp_file_put(sink);
	close(fd);
}

static void limit_files(rlim_t len)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = len;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* 6000 of 10000 bytes fit: by whatever way they come, it is those, and the rest is an error and not the end. */
static void limit_pump(enum usp_lane_choice lane)
{
	const struct usp_pump_params params = {.size = sizeof(params), .lane = lane};
	int fd = open_memfd(0);
	struct usp_file *source = adopt(open_memfd(10000), USP_READ);
	struct usp_file *sink = adopt(open_again(fd, O_WRONLY), USP_WRITE);
	struct usp_sink_status status = {.size = sizeof(status)};
	struct usp_pump *pump;
	int ret;

	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	limit_files(6000);
	ret = usp_pump_run(pump);
	limit_files(RLIM_INFINITY);
	assert_int_equal(ret, -EFBIG);
	assert_int_equal(usp_pump_sink_status(pump, 0, &status), 0);
	assert_int_equal(status.bytes, 6000);
	assert_file(fd, 6000);
	usp_pump_free(pump);
	usp_file_put(source);
	usp_file_put(sink);
	close(fd);
}

static void c06_the_limit_of_a_file_stops_every_way_to_write_it(void **state)
{
	struct usp_file *sink = adopt(open_memfd(0), USP_WRITE), *end[2];
	void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
	ssize_t first, second, beyond;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10000);
	limit_files(6000);
	first = usp_splice(end[0], NULL, sink, NULL, 10000, 0);
	second = usp_splice(end[0], NULL, sink, NULL, 10000, 0);
	beyond = usp_splice(end[0], NULL, sink, &(int64_t){(int64_t)1 << 60}, 10, 0);
	limit_files(RLIM_INFINITY);
	assert_int_equal(first, 6000);
	assert_int_equal(second, -EFBIG);
	assert_int_equal(beyond, -EFBIG);
	assert_int_equal(usp_splice(end[0], NULL, sink, &(int64_t){INT64_MAX}, 10, 0), -EINVAL);
	take_bytes(end[0], 6000, 4000);
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++)
		limit_pump(lane);
	signal(SIGXFSZ, old);
	close_pipe(end);
	usp_file_put(sink);
}

/* In a process without privileges: 0 if the bytes are written. */
static int write_without_privileges(int fd, enum usp_lane_choice lane)
{
	const struct usp_pump_params params = {.size = sizeof(params), .lane = lane};
	struct usp_file *source, *sink;
	struct usp_pump *pump;

	if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
		return 1;
	if (usp_open_fd(open_memfd(100), USP_READ | USP_EXCLUSIVE, "source", &source) < 0 ||
	    usp_open_fd(fd, USP_WRITE | USP_EXCLUSIVE, "sink", &sink) < 0 || usp_pump_new(source, &params, &pump) < 0 ||
	    usp_pump_add_sink(pump, sink) < 0)
		return 1;
	return usp_pump_run(pump) != 0;
}

static void c06_a_file_that_is_written_loses_its_setuid_bit(void **state)
{
	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		int fd = open_memfd(0), status;
		struct stat st;
		pid_t pid;

		assert_int_equal(fchmod(fd, 04755), 0);
		pid = fork();
		if (pid == 0)
			end_child(write_without_privileges(fd, lane));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 100);
		assert_int_equal(st.st_mode & 07777, 0755);
		close(fd);
	}
}

/* --- C7: a copy that is repeated after a fault, with the wrong rest ------------------------------------------- */

enum faulting { FAULTING_FILE, FAULTING_FIFO, FAULTING_UNIX, NR_FAULTING };

/* A sink, and where what it was given can be read. */
static struct usp_file *faulting_open(enum faulting kind, int *ret_fd)
{
	int fd[2] = {-1, -1};

	if (kind == FAULTING_FILE) {
		fd[0] = open_memfd(0);
		fd[1] = open_again(fd[0], O_WRONLY);
	} else if (kind == FAULTING_FIFO) {
		assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	}
	*ret_fd = fd[0];
	return adopt(fd[1], USP_WRITE);
}

/* Of three pages that a sink is to have, the second one cannot be read at first. */
static void c07_a_segment_that_faults_leaves_exact_counts_and_bytes(void **state)
{
	(void)state;
	for (enum faulting kind = 0; kind < NR_FAULTING; kind++) {
		unsigned char *pages = map_pages(3), bytes[3 * PAGE];
		struct usp_file *end[2], *sink;
		ssize_t last;
		size_t sum;
		int fd;

		sink = faulting_open(kind, &fd);
		open_pipe(end, 4, USP_NONBLOCK);
		usp_gift_put(give(end[1], pages, 3 * PAGE));
		assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
		sum = splice_all(end[0], sink, &last);
		assert_int_equal(last, -EFAULT);
		assert_true(sum <= PAGE);
		assert_int_equal(usp_pipe_bytes(end[0]), 3 * PAGE - sum);
		assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_READ), 0);
		assert_int_equal(sum + splice_all(end[0], sink, &last), 3 * PAGE);
		assert_int_equal(last, -EAGAIN);
		usp_file_put(sink);
		assert_int_equal(read(fd, bytes, sizeof(bytes)), 3 * PAGE);
		assert_pattern(bytes, 0, 3 * PAGE);
		close_pipe(end);
		close(fd);
		munmap(pages, 3 * PAGE);
	}
}

/* Odd segments across odd entries, one of which fails in the middle; nothing is written between the segments. */
static void c07_a_read_that_stops_in_the_middle_goes_on_there(void **state)
{
	_Alignas(512) unsigned char bytes[4 * 100]; /* in one page, which is one entry */
	struct iovec iov[4];
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	memset(bytes, POISON, sizeof(bytes));
	for (unsigned i = 0; i < 4; i++)
		iov[i] = (struct iovec){bytes + i * 100, i * 30};
	mock_store_init(&store);
	open_pipe(end, 4, USP_NONBLOCK);
	inject(end[1], folio_buf(0, 17, 0));
	inject(end[1], folio_buf(17, 40, 0));
	inject(end[1], mock_buf(&store, &mock_buf_ops, 57, 60, 0));
	store.confirm_error = -EIO;
	assert_int_equal(usp_readv(end[0], iov, 4), 57);
	assert_pattern(bytes + 100, 0, 30);
	assert_pattern(bytes + 200, 30, 27);
	assert_int_equal(usp_readv(end[0], iov, 4), -EIO);
	assert_int_equal(usp_pipe_bytes(end[0]), 60);
	store.confirm_error = 0;
	assert_int_equal(usp_readv(end[0], iov, 4), 60);
	assert_pattern(bytes + 100, 57, 30);
	assert_pattern(bytes + 200, 87, 30);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		assert_true(i % 100 < iov[i / 100].iov_len || bytes[i] == POISON);
	close_pipe(end);
	mock_store_fini(&store);
}

/* --- C9: who locks what, in which order (two pipes: test_threads) --------------------------------------------- */

/* What the sink saw of the pipe that it was just draining. */
static struct usp_file *knot[2];
static ssize_t knot_read, knot_write, knot_bytes, knot_resize;

static void use_the_knot(struct mock *mock)
{
	(void)mock;
	knot_read = usp_read(knot[0], &(char){0}, 1);
	knot_write = usp_write(knot[1], "x", 1);
	knot_bytes = usp_pipe_bytes(knot[0]);
	knot_resize = usp_pipe_resize(knot[0], 8 * PAGE);
}

static void c09_a_sink_that_uses_the_pipe_it_drains_is_not_locked_up(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);

	(void)state;
	open_pipe(knot, 4, USP_NONBLOCK);
	put_bytes(knot[1], 0, 10);
	sink->on_call = use_the_knot;
	assert_int_equal(usp_splice(knot[0], NULL, sink->file, NULL, 10, 0), 10);
	assert_int_equal(knot_read, -EAGAIN); /* it is the sink's own turn */
	assert_int_equal(knot_write, 1);
	assert_int_equal(knot_bytes, 11);
	assert_int_equal(knot_resize, 8 * PAGE);
	assert_pattern(sink->bytes, 0, 10);
	close_pipe(knot);
	mock_close(sink);
}

/* --- C14: entries without bytes ------------------------------------------------------------------------------- */

/* A stream socket, a datagram socket, a file, and the kernel lane: what may not be given a segment without bytes. */
static struct usp_file *empties_sink(unsigned kind, int *ret_fd)
{
	int fd[2];
	struct usp_file *sink;

	if (kind >= 2) {
		*ret_fd = open_memfd(0);
		sink = adopt(open_again(*ret_fd, O_WRONLY), USP_WRITE);
		usp_file_side(sink, USP_WRITE)->lane = kind == 3 ? &usp_kernel_lane : NULL;
		return sink;
	}
	assert_int_equal(socketpair(AF_UNIX, (kind ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0, fd), 0);
	*ret_fd = fd[1];
	return adopt(fd[0], USP_WRITE);
}

/* Three times ten bytes, in kernel pipes if the sink takes these, and an empty entry before the one at position. */
static void empties_fill(struct usp_file *end, struct mock_store *store, unsigned position, bool is_kernel)
{
	struct usp_file *source = adopt(open_memfd(30), USP_READ);

	usp_file_side(source, USP_READ)->lane = is_kernel ? &usp_kernel_lane : NULL;
	for (unsigned i = 0; i <= 3; i++) {
		if (i == position)
			inject(end, mock_buf(store, &mock_buf_ops, 0, 0, 0));
		if (i < 3)
			assert_int_equal(usp_splice(source, NULL, end, NULL, 10, 0), 10);
	}
	usp_file_put(source);
}

static void c14_sinks_of_the_kernel_never_see_an_entry_without_bytes(void **state)
{
	(void)state;
	for (unsigned run = 0; run < 4 * 4; run++) {
		unsigned kind = run / 4, position = run % 4;
		_Alignas(512) unsigned char bytes[100]; /* in one page, which is one entry */
		struct mock_store store;
		struct usp_file *end[2], *sink;
		ssize_t last;
		int fd;

		mock_store_init(&store);
		open_pipe(end, 8, USP_NONBLOCK);
		empties_fill(end[1], &store, position, kind == 3);
		sink = empties_sink(kind, &fd);
		assert_int_equal(splice_all(end[0], sink, &last), 30);
		assert_int_equal(last, -EAGAIN);
		assert_int_equal(store.nr_release, 1);
		assert_int_equal(read(fd, bytes, sizeof(bytes)), 30);
		assert_pattern(bytes, 0, 30);
		usp_file_put(sink);
		close_pipe(end);
		close(fd);
		mock_store_fini(&store);
	}
}

/* --- C17: hooks that are believed ----------------------------------------------------------------------------- */

static void c17_a_hook_that_claims_too_much_moves_nothing(void **state)
{
	static const struct usp_file_ops *const kinds[] = {&mock_copy_ops, &mock_raw_ops};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		struct mock *mock = mock_open(kinds[i], USP_READ | USP_WRITE, USP_FILE_SEEKABLE);
		struct usp_file *end[2];

		open_pipe(end, 4, USP_NONBLOCK);
		put_bytes(end[1], 0, 10);
		SCRIPT(mock, MOCK_TOO_MUCH, MOCK_TOO_MUCH);
		assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 10, 0), -EIO);
		assert_int_equal(usp_pipe_bytes(end[0]), 10);
		assert_int_equal(usp_splice(mock->file, NULL, end[1], NULL, 10, 0), -EIO);
		assert_int_equal(usp_pipe_bytes(end[0]), 10);
		assert_int_equal(usp_file_seek(mock->file, 0, SEEK_CUR), 0);
		take_bytes(end[0], 0, 10);
		close_pipe(end);
		mock_close(mock);
	}
}

/* --- C18: a source that blocks, and holds its pipe ------------------------------------------------------------ */

static void c18_what_is_in_a_pipe_can_be_had_while_a_socket_keeps_its_producer_waiting(void **state)
{
	struct usp_file *end[2], *other[2], *source;
	struct worker worker;
	struct call call;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	source = adopt(fd[0], USP_READ);
	open_pipe(end, 4, USP_NONBLOCK);
	open_pipe(other, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 30);
	call = (struct call){.in = source, .out = end[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_int_equal(usp_pipe_bytes(end[0]), 30);
	assert_int_equal(usp_file_poll(end[0]), POLLIN);
	take_bytes(end[0], 0, 10);
	assert_int_equal(usp_tee(end[0], other[1], 10, 0), 10);
	assert_int_equal(usp_splice(end[0], NULL, other[1], NULL, 20, 0), 20);
	assert_int_equal(usp_read(end[0], &(char){0}, 1), -EAGAIN);
	assert_int_equal(usp_pipe_resize(end[0], 8 * PAGE), 8 * PAGE);
	assert_false(worker.is_done);
	assert_int_equal(write(fd[1], "0123456789", 10), 10);
	assert_int_equal(worker_join(&worker), 10);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	close_pipe(end);
	close_pipe(other);
	usp_file_put(source);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(c03_lengths_that_cannot_be_are_refused_before_memory_is_touched),
		CASE(c05_a_file_that_appends_is_no_sink_at_any_offset),
		CASE(c06_the_limit_of_a_file_stops_every_way_to_write_it),
		CASE(c06_a_file_that_is_written_loses_its_setuid_bit),
		CASE(c07_a_segment_that_faults_leaves_exact_counts_and_bytes),
		CASE(c07_a_read_that_stops_in_the_middle_goes_on_there),
		CASE(c09_a_sink_that_uses_the_pipe_it_drains_is_not_locked_up),
		CASE(c14_sinks_of_the_kernel_never_see_an_entry_without_bytes),
		CASE(c17_a_hook_that_claims_too_much_moves_nothing),
		CASE(c18_what_is_in_a_pipe_can_be_had_while_a_socket_keeps_its_producer_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
