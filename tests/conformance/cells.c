/* SPDX-License-Identifier: MIT */
/* cells - one cell of the conformance table that runs: its endpoint, its pipe, and what its cases do with both. */
#include "cells.h"

#include <fcntl.h>

#include "lanes/kpipe.h"

const struct cell *cell;
struct subject subject;
struct usp_file *end[2];

size_t cell_len(void)
{
	if (cell->row->traits & ROW_EMPTY)
		return 0;
	return cell->row->traits & ROW_HANGUP ? SMALL_LEN : SOURCE_LEN;
}

static void cell_set_lane(void)
{
	if (cell->is_kernel)
		usp_file_side(subject.file, USP_READ)->lane = usp_file_side(subject.file, USP_WRITE)->lane =
			&usp_kernel_lane;
}

void cell_open_source(bool has_bytes, bool ends)
{
	bool is_held = cell->row->traits & ROW_STREAM && !has_bytes;

	subject_open_source(&subject, cell->row, is_held ? 0 : cell_len(), ends);
	cell_set_lane();
}

void cell_open_sink(void)
{
	subject_open_sink(&subject, cell->row);
	cell_set_lane();
}

uint64_t cell_hop_sum(unsigned side)
{
	struct usp_hop hop = net_hop(subject.file, side);

	return hop.bytes[USP_BY_REFERENCE] + hop.bytes[USP_COPIED] + hop.bytes[USP_UNKNOWN] + hop.bytes[USP_REWRITTEN];
}

void cell_check_bytes(const unsigned char *bytes, uint64_t off, size_t len)
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
void cell_await_late(struct usp_file *from)
{
	struct pollfd fd = {.events = POLLIN};

	fd.fd = usp_file_poll_fd(from, USP_READ, &fd.events);
	assert_true(fd.fd >= 0);
	assert_int_equal(poll(&fd, 1, 60000), 1);
}

/* Take len bytes out of a pipe: those of the source from off on. */
void cell_take_source(struct usp_file *from, uint64_t off, size_t len)
{
	unsigned char bytes[ALL_AT_ONCE];
	size_t done = 0;

	assert_true(len <= sizeof(bytes));
	while (done < len) {
		ssize_t ret = usp_read(from, bytes + done, len - done);

		if (ret == -EAGAIN)
			cell_await_late(from);
		else
			assert_true(ret > 0);
		done += ret > 0 ? (size_t)ret : 0;
	}
	cell_check_bytes(bytes, off, len);
}

ssize_t cell_pull(size_t len)
{
	ssize_t ret;

	while ((ret = usp_splice(subject.file, NULL, end[1], NULL, len, 0)) == -EAGAIN && cell->row->traits & ROW_AHEAD)
		cell_await_late(subject.file);
	return ret;
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

void cell_check_hop(unsigned side, uint64_t moved)
{
	struct usp_hop hop = net_hop(subject.file, side), other = net_hop(subject.file, side ^ (USP_READ | USP_WRITE));

	assert_int_equal(cell_hop_sum(side), moved);
	assert_true(hop.nr_calls > 0);
	assert_int_equal(other.nr_calls, 0);
	assert_string_equal(hop.lane, cell->is_kernel && kernel_has_hook() ? "kernel" : "user");
	for (unsigned way = 0; way < USP_NR_WAYS; way++)
		assert_true(hop.bytes[way] == 0 || hop.reason[way]);
}

void the_last_reference_closes_the_descriptor(void)
{
	int fd;

	if (cell->test->side == USP_READ)
		cell_open_source(false, false);
	else
		cell_open_sink();
	fd = usp_file_fd(subject.file);
	if (fd == -ENXIO)
		return;
	usp_file_put(usp_file_get(subject.file));
	assert_true(fcntl(fd, F_GETFD) >= 0);
	drop(&subject.file);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}
