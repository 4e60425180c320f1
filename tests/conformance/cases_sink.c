/* SPDX-License-Identifier: MIT */
/* cases_sink - what every endpoint must do as a sink. */
#include <sys/mman.h>

#include "cells.h"
#include "lanes/kpipe.h"

#define WRITES(in, not_in) .side = USP_WRITE, .needs = in, .excludes = (not_in) | ROW_APPENDS
#define APPENDS .side = USP_WRITE, .needs = ROW_APPENDS

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
	cell_open_sink();
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

	cell_open_sink();
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

	cell_open_sink();
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
	cell_open_sink();
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
	cell_open_sink();
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), -EAGAIN);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, USP_SPLICE_NONBLOCK), -EAGAIN);
	drop(&end[1]);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), 0);
	assert_int_equal(cell_hop_sum(USP_WRITE), 0);
}

static void a_sink_offset_is_used_and_the_position_left_alone(void)
{
	int64_t off = 100;

	cell_open_sink();
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

	cell_open_sink();
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

	cell_open_sink();
	fill(0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, &off, 10, 0), error);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), -ESPIPE);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
}

static void splice_refuses_a_sink_that_appends(void)
{
	cell_open_sink();
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), -EINVAL);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	assert_int_equal(cell_hop_sum(USP_WRITE), 0);
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

	cell_open_sink();
	assert_int_equal(usp_file_set_flags(subject.file, USP_NONBLOCK), 0);
	sent = send_until_full();
	if (!(cell->row->traits & ROW_PIPE))
		assert_int_equal(cell_hop_sum(USP_WRITE), sent);
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

	cell_open_sink();
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
		assert_int_equal(cell_hop_sum(USP_WRITE), sent);
	take_bytes(end[0], sent, given - sent);
}

static void a_sink_is_no_source(void)
{
	unsigned char byte;

	cell_open_sink();
	if (subject.file->mode & USP_READ)
		return;
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 10, 0), -EBADF);
	assert_int_equal(usp_read(subject.file, &byte, 1), -EBADF);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void the_ledger_has_every_byte_that_was_written(void)
{
	cell_open_sink();
	fill(0, 1500);
	send_all();
	fill(1500, 33);
	send_all();
	cell_check_hop(USP_WRITE, 1533);
}

static void sync_succeeds_also_where_there_is_nothing_to_do(void)
{
	cell_open_sink();
	fill(0, 100);
	send_all();
	if (cell->row->traits & ROW_STREAM)
		subject_take(&subject, 0, 100);
	assert_int_equal(usp_file_sync(subject.file), 0);
}

static void the_end_comes_behind_the_last_byte(void)
{
	cell_open_sink();
	fill(0, 100);
	send_all();
	assert_int_equal(usp_file_shutdown(subject.file), 0);
	drop(&subject.file);
	subject_take(&subject, 0, 100);
	subject_take_end(&subject);
}

const struct test_case sink_cases[] = {
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

const unsigned nr_sink_cases = ARRAY_LEN(sink_cases);
