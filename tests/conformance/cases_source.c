/* SPDX-License-Identifier: MIT */
/* cases_source - what every endpoint must do as a source. */
#include <sched.h>

#include "cells.h"

#define READS(in, not_in) .side = USP_READ, .needs = in, .excludes = not_in

static void all_bytes_come_and_then_the_end(void)
{
	uint64_t off = 0;
	ssize_t ret;

	cell_open_source(true, true);
	while ((ret = cell_pull(ALL_AT_ONCE)) > 0) {
		cell_take_source(end[0], off, (size_t)ret);
		off += (uint64_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(off, cell_len());
	if (!(cell->row->traits & ROW_DATAGRAM)) /* there the end is a datagram, and comes once */
		assert_int_equal(cell_pull(ALL_AT_ONCE), 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void read_gives_the_same_bytes(void)
{
	unsigned char bytes[ALL_AT_ONCE];
	size_t off = 0;
	ssize_t ret;

	cell_open_source(true, true);
	while ((ret = usp_read(subject.file, bytes, sizeof(bytes))) > 0 ||
	       (ret == -EAGAIN && cell->row->traits & ROW_AHEAD)) {
		if (ret < 0) {
			cell_await_late(subject.file);
			continue;
		}
		cell_check_bytes(bytes, off, (size_t)ret);
		off += (size_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(off, cell_len());
}

static void no_more_is_taken_than_was_asked_for(void)
{
	static const size_t lens[] = {1, 3, 4095, 4096, 5000, 100};
	uint64_t off = 0;

	cell_open_source(true, false);
	assert_int_equal(cell_pull(0), 0);
	for (unsigned i = 0; i < ARRAY_LEN(lens) && off + lens[i] <= cell_len(); i++) {
		ssize_t ret = cell_pull(lens[i]);

		assert_in_range(ret, 1, lens[i]);
		assert_int_equal(usp_pipe_bytes(end[0]), ret);
		cell_take_source(end[0], off, (size_t)ret);
		off += (uint64_t)ret;
	}
	assert_true(off > 1);
	assert_int_equal(cell_pull(0), 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
}

static void a_source_offset_is_used_and_the_position_left_alone(void)
{
	int64_t off = 100;

	cell_open_source(true, true);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 50, 0), 50);
	assert_int_equal(off, 150);
	cell_take_source(end[0], 100, 50);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), 0);
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 60, 0), 60);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), 60);
	cell_take_source(end[0], 0, 60);
	assert_int_equal(usp_file_seek(subject.file, 1000, SEEK_SET), 1000);
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 10, 0), 10);
	cell_take_source(end[0], 1000, 10);
}

static void a_bad_source_offset_is_refused(void)
{
	int64_t off = -1;

	cell_open_source(true, true);
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

	cell_open_source(true, true);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 10, 0), 0);
	assert_int_equal(off, cell_len() + 10);
	off = (int64_t)cell_len() - 10;
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 100, 0), 10);
	assert_int_equal(off, cell_len());
	cell_take_source(end[0], cell_len() - 10, 10);
}

static void a_source_without_positions_says_so(void)
{
	int error = cell->row->traits & ROW_PIPE ? -ESPIPE : -EINVAL;
	int64_t off = 0;

	cell_open_source(false, false);
	assert_int_equal(usp_splice(subject.file, &off, end[1], NULL, 10, 0), error);
	assert_int_equal(usp_file_seek(subject.file, 0, SEEK_CUR), -ESPIPE);
}

static void eagain_means_that_nothing_was_there(void)
{
	unsigned char byte;
	ssize_t ret;

	cell_open_source(false, false);
	assert_int_equal(usp_file_set_flags(subject.file, USP_NONBLOCK), 0);
	assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 100, 0), -EAGAIN);
	assert_int_equal(usp_read(subject.file, &byte, 1), -EAGAIN);
	assert_int_equal(usp_blocked_side(subject.file, end[1]), USP_READ);
	assert_int_equal(usp_pipe_bytes(end[0]), 0);
	assert_int_equal(cell_hop_sum(USP_READ), 0);
	subject_feed(&subject, 0, 100);
	while ((ret = usp_splice(subject.file, NULL, end[1], NULL, 100, 0)) == -EAGAIN)
		sched_yield(); /* a network is not instant */
	assert_int_equal(ret, 100);
	cell_take_source(end[0], 0, 100);
}

/* The rule of the kernel: what splice's own flag means is up to the source, and a socket goes by its own flag. */
static void the_nonblock_flag_is_enough_where_the_source_is_no_socket(void)
{
	cell_open_source(false, false);
	if (!(subject.file->traits & USP_FILE_SOCKET))
		assert_int_equal(usp_splice(subject.file, NULL, end[1], NULL, 100, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(cell_hop_sum(USP_READ), 0);
}

static void a_source_that_blocks_is_waited_for(void)
{
	struct worker worker;
	struct call call;

	cell_open_source(false, false);
	assert_int_equal(usp_file_set_flags(end[1], 0), 0);
	call = (struct call){.in = subject.file, .out = end[1], .len = 100};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_false(worker.is_done);
	subject_feed(&subject, 0, 100);
	assert_int_equal(worker_join(&worker), 100);
	cell_take_source(end[0], 0, 100);
}

/* Bytes that came before stay in the source until somebody has room for them. */
static void check_first_bytes(void)
{
	ssize_t ret = cell_pull(ALL_AT_ONCE);

	assert_true(ret > 0);
	cell_take_source(end[0], 0, (size_t)ret);
}

static void a_full_pipe_takes_nothing_from_the_source(void)
{
	struct usp_file *full[2];

	cell_open_source(true, false);
	open_pipe(full, 1, USP_NONBLOCK);
	put_bytes(full[1], 0, 1);
	assert_int_equal(usp_splice(subject.file, NULL, full[1], NULL, 100, 0), -EAGAIN);
	assert_int_equal(usp_splice(subject.file, NULL, full[1], NULL, 100, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_pipe_bytes(full[0]), 1);
	assert_int_equal(cell_hop_sum(USP_READ), 0);
	close_pipe(full);
	check_first_bytes();
}

static void a_broken_pipe_takes_nothing_from_the_source(void)
{
	struct usp_file *broken[2];

	cell_open_source(true, false);
	open_pipe(broken, 1, 0);
	drop(&broken[0]);
	assert_int_equal(usp_splice(subject.file, NULL, broken[1], NULL, 100, 0), -EPIPE);
	assert_int_equal(cell_hop_sum(USP_READ), 0);
	close_pipe(broken);
	check_first_bytes();
}

static void a_source_is_no_sink(void)
{
	cell_open_source(false, false);
	if (subject.file->mode & USP_WRITE) /* opened for both, as a store in memory is */
		return;
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, subject.file, NULL, 10, 0), -EBADF);
	assert_int_equal(usp_write(subject.file, "x", 1), -EBADF);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
}

static void the_ledger_has_every_byte_that_was_read(void)
{
	uint64_t moved = 0;

	cell_open_source(true, false);
	for (unsigned i = 0; i < 3 && moved < cell_len(); i++) {
		ssize_t ret = cell_pull(1000 + i);

		assert_true(ret > 0);
		moved += (uint64_t)ret;
	}
	cell_check_hop(USP_READ, moved);
}

static void what_was_read_can_be_shared(void)
{
	struct usp_file *twin[2];
	ssize_t ret;

	cell_open_source(true, false);
	open_pipe(twin, 16, USP_NONBLOCK);
	ret = cell_pull(2000);
	assert_true(ret > 0);
	assert_int_equal(usp_tee(end[0], twin[1], (size_t)ret, 0), ret);
	cell_take_source(end[0], 0, (size_t)ret);
	cell_take_source(twin[0], 0, (size_t)ret);
	close_pipe(twin);
}

const struct test_case source_cases[] = {
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
};

const unsigned nr_source_cases = ARRAY_LEN(source_cases);
