/* SPDX-License-Identifier: MIT */
/* test_endpoints - what every endpoint must do, on every lane that it has: a table of cases for the table of endpoints. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>

#include "lanes/kpipe.h"
#include "subject.h"

#define SOURCE_LEN 19968u /* whole sectors, for block devices, but not whole pages */
#define SMALL_LEN 3000u	  /* what fits into a terminal */
#define ALL_AT_ONCE (1u << 16)

struct test_case {
	const char *name;
	unsigned side;
	unsigned needs, excludes; /* traits of rows */
	void (*run)(void);
};

struct cell {
	const struct row *row;
	const struct test_case *test;
	bool is_kernel;
};

/* The cell that runs, its endpoint, and the pipe that the bytes go through. */
static const struct cell *cell;
static struct subject subject;
static struct usp_file *end[2];

static size_t cell_len(void)
{
	if (cell->row->traits & ROW_EMPTY)
		return 0;
	return cell->row->traits & ROW_HANGUP ? SMALL_LEN : SOURCE_LEN;
}

static void set_lane(void)
{
	if (cell->is_kernel)
		usp_file_side(subject.file, USP_READ)->lane = usp_file_side(subject.file, USP_WRITE)->lane =
			&usp_kernel_lane;
}

/* A stream may have no bytes yet, and not end. */
static void open_source(bool has_bytes, bool ends)
{
	bool is_held = cell->row->traits & ROW_STREAM && !has_bytes;

	subject_open_source(&subject, cell->row, is_held ? 0 : cell_len(), ends);
	set_lane();
}

static void open_sink(void)
{
	subject_open_sink(&subject, cell->row);
	set_lane();
}

static uint64_t hop_sum(unsigned side)
{
	struct usp_hop hop = net_hop(subject.file, side);

	return hop.bytes[USP_BY_REFERENCE] + hop.bytes[USP_COPIED] + hop.bytes[USP_UNKNOWN] + hop.bytes[USP_REWRITTEN];
}

static void check_bytes(const unsigned char *bytes, uint64_t off, size_t len)
{
	unsigned char expected[ALL_AT_ONCE];

	if (!cell->row->fill) {
		assert_pattern(bytes, off, len);
		return;
	}
	cell->row->fill(expected, off, len);
	assert_memory_equal(bytes, expected, len);
}

/* The bytes may come later than the bufs. */
static void await_late(struct usp_file *from)
{
	struct pollfd fd = {.events = POLLIN};

	fd.fd = usp_file_poll_fd(from, USP_READ, &fd.events);
	assert_true(fd.fd >= 0);
	assert_int_equal(poll(&fd, 1, 60000), 1);
}

/* Take len bytes out of a pipe: those of the source from off on. */
static void take_source(struct usp_file *from, uint64_t off, size_t len)
{
	unsigned char bytes[ALL_AT_ONCE];
	size_t done = 0;

	assert_true(len <= sizeof(bytes));
	while (done < len) {
		ssize_t ret = usp_read(from, bytes + done, len - done);

		if (ret == -EAGAIN)
			await_late(from);
		else
			assert_true(ret > 0);
		done += ret > 0 ? (size_t)ret : 0;
	}
	check_bytes(bytes, off, len);
}

/* Splice from the subject into the pipe. A thread that reads ahead is waited for. */
static ssize_t pull(size_t len)
{
	ssize_t ret;

	while ((ret = usp_splice(subject.file, NULL, end[1], NULL, len, 0)) == -EAGAIN && cell->row->traits & ROW_AHEAD)
		await_late(subject.file);
	return ret;
}

/* --- Sources ---------------------------------------------------------------------------------------------------- */

static void all_bytes_come_and_then_the_end(void)
{
	uint64_t off = 0;
	ssize_t ret;

	open_source(true, true);
	while ((ret = pull(ALL_AT_ONCE)) > 0) {
		take_source(end[0], off, (size_t)ret);
		off += (uint64_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(off, cell_len());
	if (!(cell->row->traits & ROW_DATAGRAM)) /* there the end is a datagram, and comes once */
		assert_int_equal(pull(ALL_AT_ONCE), 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void read_gives_the_same_bytes(void)
{
	unsigned char bytes[ALL_AT_ONCE];
	size_t off = 0;
	ssize_t ret;

	open_source(true, true);
	while ((ret = usp_read(subject.file, bytes, sizeof(bytes))) > 0 ||
	       (ret == -EAGAIN && cell->row->traits & ROW_AHEAD)) {
		if (ret < 0) {
			await_late(subject.file);
			continue;
		}
		check_bytes(bytes, off, (size_t)ret);
		off += (size_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(off, cell_len());
}

static void no_more_is_taken_than_was_asked_for(void)
{
	static const size_t lens[] = {1, 3, 4095, 4096, 5000, 100};
	uint64_t off = 0;

	open_source(true, false);
	assert_int_equal(pull(0), 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens) && off + lens[i] <= cell_len(); i++) {
		ssize_t ret = pull(lens[i]);

		assert_in_range(ret, 1, lens[i]);
		assert_int_equal(usp_pipe_bytes(end[0]), ret);
		take_source(end[0], off, (size_t)ret);
		off += (uint64_t)ret;
	}
	assert_true(off > 1);
	assert_int_equal(pull(0), 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void a_source_offset_is_used_and_the_position_left_alone(void)
{
	int64_t off = 100;

	open_source(true, true);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 50, 0), 50);
	assert_int_equal(off, 150);
	take_source(end[0], 100, 50);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), 0);
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 60, 0), 60);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), 60);
	take_source(end[0], 0, 60);
	assert_int_equal(usp_file_seek(subject.file, 1000, SEEK_SET), 1000);
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 10, 0), 10);
	take_source(end[0], 1000, 10);
}

static void a_bad_source_offset_is_refused(void)
{
	int64_t off = -1;

	open_source(true, true);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 10, 0), -EINVAL);
	assert_int_equal(off, -1);
	off = INT64_MAX - 5;
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 10, 0), -EINVAL);
	assert_int_equal(off, INT64_MAX - 5);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void behind_the_end_there_is_nothing(void)
{
	int64_t off = (int64_t)cell_len() + 10;

	open_source(true, true);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 10, 0), 0);
	assert_int_equal(off, cell_len() + 10);
	off = (int64_t)cell_len() - 10;
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 100, 0), 10);
	assert_int_equal(off, cell_len());
	take_source(end[0], cell_len() - 10, 10);
}

static void a_source_without_positions_says_so(void)
{
	int error = cell->row->traits & ROW_PIPE ? -ESPIPE : -EINVAL;
	int64_t off = 0;

	open_source(false, false);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 10, 0), error);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), -ESPIPE);
}

static void eagain_means_that_nothing_was_there(void)
{
	unsigned char byte;
	ssize_t ret;

	open_source(false, false);
	assert_int_equal(usp_file_set_flags(subject.file, USP_NONBLOCK), 0);
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 100, 0), -EAGAIN);
	assert_int_equal(usp_read(subject.file, &byte, 1), -EAGAIN);
	assert_int_equal(usp_blocked_side(subject.file, end[1]), USP_READ);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(hop_sum(USP_READ), 0);
	subject_feed(&subject, 0, 100);
	while ((ret = usp_splice(subject.file, NULL, end[1], NULL, 100, 0)) == -EAGAIN)
		sched_yield(); /* a network is not instant */
	assert_int_equal(ret, 100);
	take_source(end[0], 0, 100);
}

/* The rule of the kernel: what splice's own flag means is up to the source, and a socket goes by its own flag. */
static void the_nonblock_flag_is_enough_where_the_source_is_no_socket(void)
{
	open_source(false, false);
	if (!(subject.file->traits & USP_FILE_SOCKET))
		assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 100, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(hop_sum(USP_READ), 0);
}

static void a_source_that_blocks_is_waited_for(void)
{
	struct worker worker;
	struct call call;

	open_source(false, false);
	assert_int_equal(usp_file_set_flags(end[1], 0), 0);
	call = (struct call){.in = subject.file, .out = end[1], .len = 100};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_false(worker.is_done);
	subject_feed(&subject, 0, 100);
	assert_int_equal(worker_join(&worker), 100);
	take_source(end[0], 0, 100);
}

/* Bytes that came before stay in the source until somebody has room for them. */
static void check_first_bytes(void)
{
	ssize_t ret = pull(ALL_AT_ONCE);

	assert_true(ret > 0);
	take_source(end[0], 0, (size_t)ret);
}

static void a_full_pipe_takes_nothing_from_the_source(void)
{
	struct usp_file *full[2];

	open_source(true, false);
	open_pipe(full, 1, USP_NONBLOCK);
	put_bytes(full[1], 0, 1);
	assert_int_equal(usp_splice(subject.file, NULL, full[1], NULL, 100, 0), -EAGAIN);
	assert_int_equal(usp_splice(subject.file, NULL, full[1], NULL, 100, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_pipe_bytes(full[0]), 1);
	assert_int_equal(hop_sum(USP_READ), 0);
	close_pipe(full);
	check_first_bytes();
}

static void a_broken_pipe_takes_nothing_from_the_source(void)
{
	struct usp_file *broken[2];

	open_source(true, false);
	open_pipe(broken, 1, 0);
	drop(&broken[0]);
	assert_int_equal(usp_splice(subject.file, NULL, broken[1], NULL, 100, 0), -EPIPE);
	assert_int_equal(hop_sum(USP_READ), 0);
	close_pipe(broken);
	check_first_bytes();
}

static void a_source_is_no_sink(void)
{
	open_source(false, false);
	if (subject.file->mode & USP_WRITE) /* opened for both, as a store in memory is */
		return;
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), -EBADF);
	assert_int_equal(usp_write(subject.file, "x", 1), -EBADF);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
}

/* Some kernels cannot splice into every device that drops; the file then falls back to its own hooks. */
static bool kernel_has_hook(void)
{
	int fds[2];
	ssize_t ret;

	if (!(cell->row->traits & ROW_DROPS) || usp_file_fd(subject.file) < 0)
		return true;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	ret = splice(fds[0], NULL, usp_file_fd(subject.file), NULL, 1, SPLICE_F_NONBLOCK);
	close(fds[0]);
	close(fds[1]);
	return ret == 1;
}

static void check_hop(unsigned side, uint64_t moved)
{
	struct usp_hop hop = net_hop(subject.file, side), other = net_hop(subject.file, side ^ (USP_READ | USP_WRITE));

	assert_int_equal(hop_sum(side), moved);
	assert_true(hop.nr_calls > 0);
	assert_int_equal(other.nr_calls, 0);
	assert_string_equal(hop.lane, cell->is_kernel && kernel_has_hook() ? "kernel" : "user");
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		assert_true(hop.bytes[way] == 0 || hop.reason[way]);
}

static void the_ledger_has_every_byte_that_was_read(void)
{
	uint64_t moved = 0;

	open_source(true, false);
	for (unsigned i = 0; i < 3 && moved < cell_len(); i++) {
		ssize_t ret = pull(1000 + i);

		assert_true(ret > 0);
		moved += (uint64_t)ret;
	}
	check_hop(USP_READ, moved);
}

static void the_last_reference_closes_the_descriptor(void)
{
	int fd;

	if (cell->test->side == USP_READ)
		open_source(false, false);
	else
		open_sink();
	fd = usp_file_fd(subject.file);
	if (fd == -ENXIO)
		return;
	usp_file_put(usp_file_get(subject.file));
	assert_true(fcntl(fd, F_GETFD) >= 0);
	drop(&subject.file);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

static void what_was_read_can_be_shared(void)
{
	struct usp_file *twin[2];
	ssize_t ret;

	open_source(true, false);
	open_pipe(twin, 16, USP_NONBLOCK);
	ret = pull(2000);
	assert_true(ret > 0);
	assert_int_equal(usp_tee(end[0], twin[1], (size_t)ret, 0), ret);
	take_source(end[0], 0, (size_t)ret);
	take_source(twin[0], 0, (size_t)ret);
	close_pipe(twin);
}

/* --- Sinks ------------------------------------------------------------------------------------------------------------ */

/* Pattern bytes that the kernel holds. */
static void fill_from_kernel(uint64_t off, size_t len)
{
	int fd = memfd_create("pattern", MFD_CLOEXEC);
	unsigned char *bytes = malloc(len);
	struct usp_file *file;

	assert_non_null(bytes);
	pattern_fill(bytes, off, len);
	assert_int_equal(write(fd, bytes, len), len);
	free(bytes);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	file = net_file(fd, USP_READ);
	usp_file_side(file, USP_READ)->lane = usp_file_side(file, USP_WRITE)->lane = &usp_kernel_lane;
	while (len) {
		ssize_t ret = usp_splice(file, NULL, end[1], NULL, len, 0);

		assert_true(ret > 0);
		len -= (size_t)ret;
	}
	usp_file_put(file);
}

/* Put the pattern bytes [off, off + len) into the pipe, of the kind that the lane is about. */
static void fill(uint64_t off, size_t len)
{
	if (cell->is_kernel)
		fill_from_kernel(off, len);
	else
		put_bytes(end[1], off, len);
}

/* Empty the pipe into the sink; how many calls that took. */
static unsigned send_all(void)
{
	unsigned nr_calls = 0;
	ssize_t left;

	while ((left = usp_pipe_bytes(end[0])) > 0) {
		ssize_t ret = usp_splice(end[0], NULL, subject.file, NULL, (size_t)left, 0);

		assert_in_range(ret, 1, left);
		assert_int_equal(usp_pipe_bytes(end[0]), left - ret);
		nr_calls++;
	}
	return nr_calls;
}

static void all_bytes_arrive_in_order(void)
{
	open_sink();
	for (uint64_t off = 0; off < cell_len(); off += SMALL_LEN / 2) {
		size_t left = cell_len() - off;

		fill(off, left < SMALL_LEN / 2 ? left : SMALL_LEN / 2);
		send_all();
	}
	subject_take(&subject, 0, cell_len());
}

static void write_delivers_the_same_bytes(void)
{
	unsigned char bytes[SMALL_LEN];

	open_sink();
	pattern_fill(bytes, 0, sizeof(bytes));
	for (size_t done = 0; done < sizeof(bytes);) {
		ssize_t ret = usp_write(subject.file, bytes + done, sizeof(bytes) - done);

		assert_in_range(ret, 1, sizeof(bytes) - done);
		done += (size_t)ret;
	}
	subject_take(&subject, 0, sizeof(bytes));
}

static void no_more_is_delivered_than_was_asked_for(void)
{
	static const size_t lens[] = {1, 77, 900};
	size_t sent = 0;

	open_sink();
	fill(0, SMALL_LEN);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 0, 0), 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, lens[i], 0), lens[i]);
		sent += lens[i];
		assert_int_equal(usp_pipe_bytes(end[0]), SMALL_LEN - sent);
	}
	subject_take(&subject, 0, sent);
	send_all();
	subject_take(&subject, sent, SMALL_LEN - sent);
}

static void bytes_of_memory_and_of_the_kernel_stay_in_order(void)
{
	open_sink();
	put_bytes(end[1], 0, 100);
	fill_from_kernel(100, 1000);
	put_bytes(end[1], 1100, 1);
	fill_from_kernel(1101, 1);
	fill_from_kernel(1102, 500);
	put_bytes(end[1], 1602, 398);
	send_all();
	subject_take(&subject, 0, 2000);
}

static void an_empty_pipe_gives_nothing_to_the_sink(void)
{
	open_sink();
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), -EAGAIN);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, USP_SPLICE_NONBLOCK), -EAGAIN);
	drop(&end[1]);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), 0);
	assert_int_equal(hop_sum(USP_WRITE), 0);
}

static void a_sink_offset_is_used_and_the_position_left_alone(void)
{
	int64_t off = 100;

	open_sink();
	fill(100, 50);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, &off, 50, 0), 50);
	assert_int_equal(off, 150);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), 0);
	fill(0, 100);
	send_all();
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), 100);
	subject_take(&subject, 0, 150);
}

static void a_bad_sink_offset_is_refused(void)
{
	int64_t off = -1;

	open_sink();
	fill(0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, &off, 10, 0), -EINVAL);
	off = INT64_MAX - 5;
	assert_int_equal(usp_splice(end[0], NULL, subject.file, &off, 10, 0), -EINVAL);
	assert_int_equal(off, INT64_MAX - 5);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
}

static void a_sink_without_positions_says_so(void)
{
	int error = cell->row->traits & ROW_PIPE ? -ESPIPE : -EINVAL;
	int64_t off = 0;

	open_sink();
	fill(0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, &off, 10, 0), error);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), -ESPIPE);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
}

static void splice_refuses_a_sink_that_appends(void)
{
	open_sink();
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), -EINVAL);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	assert_int_equal(hop_sum(USP_WRITE), 0);
}

/* Send until the sink says -EAGAIN; how much it took. What it did not take is in the pipe. */
static size_t send_until_full(void)
{
	size_t given = 0;
	bool is_full;
	ssize_t ret;

	do {
		if (usp_pipe_bytes(end[0]) == 0) {
			fill(given, PAGE);
			given += PAGE;
		}
		is_full = !tcp_is_under_way(
			usp_file_fd(subject.file)); /* before the call: what arrives behind it makes room */
		ret = usp_splice(end[0], NULL, subject.file, NULL, PAGE, 0);
	} while (ret > 0 || (ret == -EAGAIN && !is_full));
	assert_int_equal(ret, -EAGAIN);
	return given - (size_t)usp_pipe_bytes(end[0]);
}

static void a_full_sink_says_eagain_and_then_is_waited_for(void)
{
	struct worker worker;
	struct call call;
	size_t sent;
	ssize_t ret;

	open_sink();
	assert_int_equal(usp_file_set_flags(subject.file, USP_NONBLOCK), 0);
	sent = send_until_full();
	if (!(cell->row->traits & ROW_PIPE))
		assert_int_equal(hop_sum(USP_WRITE), sent);
	assert_int_equal(usp_blocked_side(end[0], subject.file), USP_WRITE);
	assert_int_equal(usp_file_set_flags(subject.file, 0), 0);
	assert_int_equal(usp_file_set_flags(end[0], 0), 0);
	call = (struct call){.in = end[0], .out = subject.file, .len = PAGE};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_false(worker.is_done);
	subject_take(&subject, 0, sent);
	ret = worker_join(&worker);
	assert_true(ret > 0);
	subject_take(&subject, sent, (size_t)ret);
}

static void a_dead_peer_is_an_error_and_costs_no_byte(void)
{
	size_t given = 0, sent = 0;
	ssize_t ret;

	open_sink();
	subject_end(&subject);
	do {
		if (usp_pipe_bytes(end[0]) == 0) {
			fill(given, 1000);
			given += 1000;
		}
		ret = usp_splice(end[0], NULL, subject.file, NULL, 1000, 0);
		sent += ret > 0 ? (size_t)ret : 0;
	} while (ret > 0);
	assert_true(ret == -EPIPE || ret == -ECONNRESET || (cell->row->traits & ROW_HANGUP && ret == -EIO));
	assert_int_equal(sent + (size_t)usp_pipe_bytes(end[0]), given);
	if (!(cell->row->traits & ROW_PIPE))
		assert_int_equal(hop_sum(USP_WRITE), sent);
	take_bytes(end[0], sent, given - sent);
}

static void a_sink_is_no_source(void)
{
	unsigned char byte;

	open_sink();
	if (subject.file->mode & USP_READ)
		return;
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 10, 0), -EBADF);
	assert_int_equal(usp_read(subject.file, &byte, 1), -EBADF);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void the_ledger_has_every_byte_that_was_written(void)
{
	open_sink();
	fill(0, 1500);
	send_all();
	fill(1500, 33);
	send_all();
	check_hop(USP_WRITE, 1533);
}

static void sync_succeeds_also_where_there_is_nothing_to_do(void)
{
	open_sink();
	fill(0, 100);
	send_all();
	if (cell->row->traits & ROW_STREAM)
		subject_take(&subject, 0, 100);
	assert_int_equal(usp_file_sync(subject.file), 0);
}

static void the_end_comes_behind_the_last_byte(void)
{
	open_sink();
	fill(0, 100);
	send_all();
	assert_int_equal(usp_file_shutdown(subject.file), 0);
	drop(&subject.file);
	subject_take(&subject, 0, 100);
	subject_take_end(&subject);
}

/* --- The tables -------------------------------------------------------------------------------------------------------- */

#define RUNS(f) .name = #f, .run = f
#define READS(in, not_in) .side = USP_READ, .needs = in, .excludes = not_in
#define WRITES(in, not_in) .side = USP_WRITE, .needs = in, .excludes = (not_in) | ROW_APPENDS
#define APPENDS .side = USP_WRITE, .needs = ROW_APPENDS

static const struct test_case cases[] = {
	{READS(0, ROW_ENDLESS | ROW_HANGUP), RUNS(all_bytes_come_and_then_the_end)},
	{READS(0, ROW_ENDLESS | ROW_HANGUP | ROW_SPLICED), RUNS(read_gives_the_same_bytes)},
	{READS(0, ROW_EMPTY | ROW_DATAGRAM | ROW_WHOLE), RUNS(no_more_is_taken_than_was_asked_for)},
	{READS(ROW_SEEKABLE, ROW_EMPTY), RUNS(a_source_offset_is_used_and_the_position_left_alone)},
	{READS(ROW_SEEKABLE, 0), RUNS(a_bad_source_offset_is_refused)},
	{READS(ROW_SEEKABLE, ROW_EMPTY | ROW_ENDLESS), RUNS(behind_the_end_there_is_nothing)},
	{READS(0, ROW_SEEKABLE), RUNS(a_source_without_positions_says_so)},
	{READS(ROW_STREAM, 0), RUNS(eagain_means_that_nothing_was_there)},
	{READS(ROW_STREAM, 0), RUNS(the_nonblock_flag_is_enough_where_the_source_is_no_socket)},
	{READS(ROW_STREAM, 0), RUNS(a_source_that_blocks_is_waited_for)},
	{READS(0, ROW_EMPTY), RUNS(a_full_pipe_takes_nothing_from_the_source)},
	{READS(0, ROW_EMPTY), RUNS(a_broken_pipe_takes_nothing_from_the_source)},
	{READS(0, 0), RUNS(a_source_is_no_sink)},
	{READS(0, ROW_EMPTY | ROW_PIPE), RUNS(the_ledger_has_every_byte_that_was_read)},
	{READS(0, ROW_EMPTY), RUNS(what_was_read_can_be_shared)},
	{READS(0, 0), RUNS(the_last_reference_closes_the_descriptor)},
	{WRITES(0, 0), RUNS(all_bytes_arrive_in_order)},
	{WRITES(0, ROW_SPLICED), RUNS(write_delivers_the_same_bytes)},
	{WRITES(0, 0), RUNS(no_more_is_delivered_than_was_asked_for)},
	{WRITES(0, 0), RUNS(bytes_of_memory_and_of_the_kernel_stay_in_order)},
	{WRITES(0, 0), RUNS(an_empty_pipe_gives_nothing_to_the_sink)},
	{WRITES(ROW_SEEKABLE, 0), RUNS(a_sink_offset_is_used_and_the_position_left_alone)},
	{WRITES(ROW_SEEKABLE, 0), RUNS(a_bad_sink_offset_is_refused)},
	{WRITES(0, ROW_SEEKABLE), RUNS(a_sink_without_positions_says_so)},
	{WRITES(ROW_STREAM, ROW_DATAGRAM | ROW_HANGUP), RUNS(a_full_sink_says_eagain_and_then_is_waited_for)},
	{WRITES(ROW_STREAM, ROW_DATAGRAM), RUNS(a_dead_peer_is_an_error_and_costs_no_byte)},
	{WRITES(0, 0), RUNS(a_sink_is_no_source)},
	{WRITES(0, ROW_PIPE), RUNS(the_ledger_has_every_byte_that_was_written)},
	{WRITES(0, 0), RUNS(sync_succeeds_also_where_there_is_nothing_to_do)},
	{WRITES(ROW_STREAM, ROW_HANGUP), RUNS(the_end_comes_behind_the_last_byte)},
	{WRITES(0, 0), RUNS(the_last_reference_closes_the_descriptor)},
	{APPENDS, RUNS(splice_refuses_a_sink_that_appends)},
	{APPENDS, RUNS(write_delivers_the_same_bytes)},
};

static bool cell_exists(const struct cell *candidate)
{
	const struct row *row = candidate->row;
	const struct test_case *test = candidate->test;

	if (!(test->side == USP_READ ? row->open_source != NULL : row->open_sink != NULL))
		return false;
	if ((row->traits & test->needs) != test->needs || row->traits & test->excludes)
		return false;
	return !candidate->is_kernel || row->traits & ROW_KERNEL;
}

static void run_cell(void **state)
{
	cell = *state;
	open_pipe(end, 16, USP_NONBLOCK);
	cell->test->run();
	close_pipe(end); /* first: memory is done only when no reference is left */
	subject_close(&subject);
}

/* The table knows which rows have a kernel lane; the planner asks the files themselves. */
static void every_file_that_can_be_spliced_has_a_row_that_says_so(void **state)
{
	(void)state;
	for (unsigned i = 0; i < nr_rows; i++) {
		const struct row *row = &rows[i];

		if (!row->open_sink || row->traits & ROW_DROPS || !strcmp(row->name, "a block device"))
			continue;
		subject_open_sink(&subject, row);
		assert_int_equal(!!(subject.file->traits & USP_FILE_SPLICEABLE), !!(row->traits & ROW_KERNEL));
		subject_close(&subject);
	}
}

/*
 * "fd:" and "-" have none of their own: what they name is a file of another endpoint. "ring:" needs its driver, which only
 * guests load (tests/kernels/test_ring_endpoint.c), and "vsock:" a module that few kernels have (tests/cli/copy_vsock.bats).
 */
static bool is_another(const char *endpoint, size_t len)
{
	static const char *const others[] = {"descriptor", "ring", "standard", "vsock", "vsock_listen"};

	for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
		if (strlen(others[i]) == len && strncmp(endpoint, others[i], len) == 0)
			return true;
	}
	return false;
}

static bool has_row(const char *endpoint, size_t len)
{
	for (unsigned i = 0; i < nr_rows; i++) {
		const char *name = rows[i].endpoint;

		if (name && strlen(name) == len && strncmp(name, endpoint, len) == 0)
			return true;
	}
	print_error("no row for usp_%.*s_endpoint\n", (int)len, endpoint);
	return false;
}

/* Every usp_<name>_endpoint that the list of endpoints declares. */
static void every_endpoint_has_a_row(void **state)
{
	const char *folder = getenv("USPLICE_SOURCE_DIR");
	char path[4096], text[16384];
	unsigned nr_found = 0;
	size_t len;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/src/endpoints/endpoints.h", folder ? folder : ".");
	file = fopen(path, "re");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	for (char *at = text; (at = strstr(at, "usp_")); at += 4) {
		char *name = at + 4, *name_end = name + strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

		if (name_end - name <= 9 || strncmp(name_end - 9, "_endpoint", 9) != 0)
			continue;
		if (is_another(name, (size_t)(name_end - 9 - name)))
			continue;
		assert_true(has_row(name, (size_t)(name_end - 9 - name)));
		nr_found++;
	}
	assert_true(nr_found > 10);
}

static struct CMUnitTest cell_test(const struct cell *from)
{
	struct CMUnitTest test = {
		.test_func = run_cell,
		.setup_func = support_before,
		.teardown_func = support_after,
		.initial_state = (void *)from,
	};
	char *name;

	if (asprintf(&name, "%s as a %s, lane %s: %s", from->row->name,
		     from->test->side == USP_READ ? "source" : "sink", from->is_kernel ? "kernel" : "user",
		     from->test->name) < 0)
		abort();
	test.name = name;
	return test;
}

int main(void)
{
	const struct CMUnitTest whole[] = {
		CASE(every_endpoint_has_a_row),
		CASE(every_file_that_can_be_spliced_has_a_row_that_says_so),
	};
	const unsigned max = nr_rows * ARRAY_LEN(cases) * 2;
	struct CMUnitTest *tests = calloc(max + ARRAY_LEN(whole), sizeof(*tests));
	struct cell *cells = calloc(max, sizeof(*cells));
	unsigned nr_tests = 0;
	int ret;

	if (!tests || !cells)
		return 1;
	for (unsigned i = 0; i < max; i++) {
		cells[i].row = &rows[i / 2 / ARRAY_LEN(cases)];
		cells[i].test = &cases[i / 2 % ARRAY_LEN(cases)];
		cells[i].is_kernel = i % 2;
		if (cell_exists(&cells[i]))
			tests[nr_tests++] = cell_test(&cells[i]);
	}
	memcpy(tests + nr_tests, whole, sizeof(whole));
	if (getenv("USP_TEST_FILTER"))
		cmocka_set_test_filter(getenv("USP_TEST_FILTER"));
	ret = _cmocka_run_group_tests("endpoints", tests, nr_tests + ARRAY_LEN(whole), subject_open_folder,
				      subject_close_folder);
	for (unsigned i = 0; i < nr_tests; i++)
		free((char *)tests[i].name);
	free(tests);
	free(cells);
	return ret;
}
