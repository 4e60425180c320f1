/* SPDX-License-Identifier: MIT */
/*
 * test_fault_splice - the calls themselves with everything failing in turn. An error is answered by calling again:
 * position, ring and count agree after it, so in the end all bytes are there, once and in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/own.h"
#include "end.h"
#include "fault.h"
#include "lanes/kpipe.h"
#include "support.h"

#define TRIES_MAX 16 /* calls in a row that move nothing: a fault that stays */
#define PIPE_SLOTS 4
#define PART_LEN 40000 /* ends within a slot */

struct job {
	enum end_kind source, sink;
	bool is_kernel; /* what has a descriptor is on the kernel lane */
	bool is_gift;
};

/* Bytes on their way from the source into the pipe (in) and out of it (out). */
struct work {
	const struct job *job;
	struct end source, sink;
	struct usp_file *pipe[2], *twin[2];
	size_t in, out;
	unsigned nr_tries;
	bool is_narrow; /* all is in the pipe before anything leaves it, a page in each of its many slots */
};

/* --- Steps ----------------------------------------------------------------------------------------------- */

/* Add what a call moved. True if it makes sense to go on. */
static bool work_count(struct work *work, size_t *total, ssize_t ret)
{
	if (ret > 0)
		*total += (size_t)ret;
	if (ret == 0)
		fault_complain("a false end after %zu bytes", *total);
	work->nr_tries = ret > 0 ? 0 : work->nr_tries + 1;
	return work->nr_tries < TRIES_MAX;
}

static bool work_open(struct work *work, bool has_pipe, bool has_twin)
{
	const struct usp_pipe_params wide = {.size = sizeof(wide), .nr_slots = PIPE_SLOTS},
				     narrow = {.size = sizeof(narrow), .nr_slots = 128, .slot_bytes = PAGE};
	const struct usp_pipe_params params = work->is_narrow ? narrow : wide;

	end_open(&work->source);
	end_open(&work->sink);
	if (work->source.error || work->sink.error)
		return false;
	if (work->job->is_kernel) {
		usp_file_side(work->source.file, USP_READ)->lane = usp_file_side(work->source.file, USP_WRITE)->lane =
			&usp_kernel_lane;
		usp_file_side(work->sink.file, USP_READ)->lane = usp_file_side(work->sink.file, USP_WRITE)->lane =
			work->sink.fd >= 0 ? &usp_kernel_lane : NULL;
	}
	if (has_pipe && usp_pipe_open(&params, work->pipe) < 0)
		return false;
	return !has_twin || usp_pipe_open(&params, work->twin) == 0;
}

static void work_close_pipes(struct work *work)
{
	for (unsigned i = 0; i < 2; i++) {
		usp_file_put(work->pipe[i]);
		usp_file_put(work->twin[i]);
	}
}

static void work_prepare(struct work *work, const struct job *job)
{
	*work = (struct work){.job = job};
	end_prepare(&work->source, job->source, USP_READ);
	end_prepare(&work->sink, job->sink, USP_WRITE);
	fault_arm();
}

/* A fault that came once and was answered by calling again has changed nothing. */
static void work_finish(struct work *work, bool was_open)
{
	struct fault_hit hit;

	end_close(&work->source);
	end_close(&work->sink);
	fault_disarm();
	hit = fault_hit();
	end_collect(&work->sink);
	end_check_rest(&work->source, work->in);
	if (work->sink.kind != END_MEMORY && work->sink.nr_arrived != work->out)
		fault_complain("%zu bytes arrived of %zu", work->sink.nr_arrived, work->out);
	fault_check(memcmp(work->sink.bytes, end_bytes, usp_min(work->out, end_len)) == 0);
	if (was_open && !(hit.has_fired && hit.plan.is_sticky))
		fault_check(work->out == end_len);
	fault_check(hit.has_fired || was_open);
	free(work->sink.bytes);
}

/* --- sendfile ---------------------------------------------------------------------------------------------- */

static void run_direct(const void *arg)
{
	struct work work;
	bool is_open;

	work_prepare(&work, arg);
	is_open = work_open(&work, false, false) && usp_file_seek(work.source.file, 0, SEEK_CUR) == 0;
	while (is_open && work.out < end_len) {
		ssize_t ret =
			usp_splice_direct(work.source.file, NULL, work.sink.file, NULL, end_len - work.out, 0, NULL);
		bool goes_on = work_count(&work, &work.out, ret);

		work.in = work.out;
		fault_check(usp_file_seek(work.source.file, 0, SEEK_CUR) == (int64_t)work.out);
		if (!goes_on)
			break;
	}
	work_finish(&work, is_open);
}

/* --- splice over a pipe ------------------------------------------------------------------------------------ */

static bool splice_in(struct work *work)
{
	ssize_t ret = usp_splice(work->source.file, NULL, work->pipe[1], NULL, end_len - work->in, USP_SPLICE_MOVE);

	return work_count(work, &work->in, ret);
}

static bool splice_out(struct work *work)
{
	return work_count(work, &work->out, usp_splice(work->pipe[0], NULL, work->sink.file, NULL, end_len, 0));
}

static bool splice_step(struct work *work)
{
	return work->in == work->out || (work->is_narrow && work->in < end_len) ? splice_in(work) : splice_out(work);
}

static void splice_through(const void *arg, bool is_narrow)
{
	struct work work;
	bool is_open, goes_on;

	work_prepare(&work, arg);
	work.is_narrow = is_narrow;
	goes_on = is_open = work_open(&work, true, false);
	while (goes_on && work.out < end_len) {
		goes_on = splice_step(&work);
		fault_check(usp_pipe_bytes(work.pipe[0]) == (ssize_t)(work.in - work.out));
		if (is_narrow)
			fault_disarm(); /* what the first step has met is enough: the others are like it */
	}
	work_close_pipes(&work);
	work_finish(&work, is_open);
}

static void run_splice(const void *arg)
{
	splice_through(arg, false);
}

static void run_narrow_splice(const void *arg)
{
	splice_through(arg, true);
}

/* --- tee ----------------------------------------------------------------------------------------------------- */

/* What is in the pipe goes to the twin as well: the sink gets it from there, and the pipe is read here. */
static bool tee_step(struct work *work)
{
	size_t len = (size_t)usp_pipe_bytes(work->twin[0]);
	unsigned char *bytes;
	ssize_t ret;

	if (len == 0)
		return work_count(work, &len, usp_tee(work->pipe[0], work->twin[1], end_len, 0));
	bytes = malloc(len);
	ret = usp_read(work->pipe[0], bytes, len);
	if (ret > 0)
		fault_check(memcmp(bytes, end_bytes + work->out, (size_t)ret) == 0);
	free(bytes);
	if (ret <= 0)
		return work_count(work, &len, ret);
	for (size_t given = 0; given < (size_t)ret;) { /* exactly as much of the twin */
		if (!work_count(work, &given,
				usp_splice(work->twin[0], NULL, work->sink.file, NULL, (size_t)ret - given, 0))) {
			work->out += given;
			return false;
		}
		if (given == (size_t)ret)
			work->out += given;
	}
	return true;
}

static void run_tee(const void *arg)
{
	struct work work;
	bool is_open, goes_on;

	work_prepare(&work, arg);
	goes_on = is_open = work_open(&work, true, true);
	while (goes_on && work.out < end_len)
		goes_on = work.in == work.out ? splice_in(&work) : tee_step(&work);
	work_close_pipes(&work);
	work_finish(&work, is_open);
}

/* --- vmsplice, write and read ------------------------------------------------------------------------------- */

static bool vmsplice_in(struct work *work)
{
	size_t left = end_len - work->in;
	const struct iovec iov[] = {
		{.iov_base = end_bytes + work->in, .iov_len = left / 3},
		{.iov_base = end_bytes + work->in + left / 3, .iov_len = left - left / 3},
	};

	return work_count(
		work, &work->in,
		usp_vmsplice(work->pipe[1], iov, 2, USP_SPLICE_NONBLOCK | (work->job->is_gift ? USP_SPLICE_GIFT : 0)));
}

static bool vmsplice_out(struct work *work, unsigned char *to)
{
	const struct iovec iov = {.iov_base = to + work->out, .iov_len = end_len - work->out};

	return work_count(work, &work->out, usp_vmsplice(work->pipe[0], &iov, 1, USP_SPLICE_NONBLOCK));
}

static bool write_in(struct work *work)
{
	return work_count(work, &work->in, usp_write(work->pipe[1], end_bytes + work->in, end_len - work->in));
}

static bool read_out(struct work *work, unsigned char *to)
{
	return work_count(work, &work->out, usp_read(work->pipe[0], to + work->out, end_len - work->out));
}

/* A failed resize leaves the pipe as it was. */
static void pipe_resize(struct work *work)
{
	size_t nr_slots = PIPE_SLOTS * (1 + work->in % 2);
	ssize_t capacity = usp_pipe_capacity(work->pipe[0]), ret = usp_pipe_resize(work->pipe[0], nr_slots << 16);

	fault_check(usp_pipe_capacity(work->pipe[0]) == (ret > 0 ? ret : capacity));
}

static void run_memory(const void *arg, bool (*put)(struct work *), bool (*take)(struct work *, unsigned char *))
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = PIPE_SLOTS, .flags = USP_NONBLOCK};
	struct work work = {.job = arg};
	unsigned char *to = calloc(1, end_len);
	bool is_open, goes_on;

	fault_arm();
	goes_on = is_open = usp_pipe_open(&params, work.pipe) == 0;
	while (goes_on && work.out < end_len) {
		goes_on = work.in == work.out ? put(&work) : take(&work, to);
		pipe_resize(&work);
		fault_check(usp_pipe_bytes(work.pipe[0]) == (ssize_t)(work.in - work.out));
	}
	work_close_pipes(&work);
	fault_disarm();
	fault_check(memcmp(to, end_bytes, work.out) == 0);
	if (is_open && !(fault_hit().has_fired && fault_hit().plan.is_sticky))
		fault_check(work.out == end_len);
	free(to);
}

static void run_vmsplice(const void *arg)
{
	run_memory(arg, vmsplice_in, vmsplice_out);
}

static void run_write(const void *arg)
{
	run_memory(arg, write_in, read_out);
}

/* --- Gifts -------------------------------------------------------------------------------------------------- */

static void gift_done(void *arg)
{
	++*(unsigned *)arg;
}

/* done is called once, and not while somebody has a reference. */
static void run_gift(const void *arg)
{
	struct usp_gift *gift = NULL;
	unsigned nr_done = 0;
	struct work work;
	bool is_open, goes_on;

	work_prepare(&work, arg);
	is_open = work_open(&work, true, false) && usp_gift_new(end_bytes, end_len, gift_done, &nr_done, &gift) == 0;
	goes_on = is_open;
	while (goes_on && work.out < end_len) {
		if (work.in == work.out)
			goes_on = work_count(&work, &work.in,
					     usp_gift_splice(gift, work.in, end_len - work.in, work.pipe[1], 0));
		else
			goes_on = splice_out(&work);
		fault_check(nr_done == 0);
	}
	work_close_pipes(&work);
	fault_check(nr_done == 0);
	usp_gift_put(gift);
	work.in = 0; /* the source was not used */
	work_finish(&work, is_open);
	fault_check(nr_done == (gift != NULL));
}

/* --- What several refer to (C11) ------------------------------------------------------------------------------ */

/* A second owner of all that is in the pipe, which is read and gone. True if it makes sense to go on. */
static bool shared_tee(struct work *work)
{
	ssize_t ret = usp_tee(work->pipe[0], work->twin[1], end_len, 0);
	size_t len = ret > 0 ? (size_t)ret : 0, got = 0;
	unsigned char *bytes = malloc(len + 1);

	fault_check(usp_pipe_bytes(work->twin[0]) == (ssize_t)len);
	while (got < len && work_count(work, &got, usp_read(work->twin[0], bytes + got, len - got)))
		;
	fault_check(memcmp(bytes, end_bytes + work->out, got) == 0);
	free(bytes);
	return got == len;
}

/* A part of what is in the pipe goes out by way of the twin. */
static bool shared_part(struct work *work)
{
	ssize_t ret = usp_splice(work->pipe[0], NULL, work->twin[1], NULL, PART_LEN, 0);

	fault_check(usp_pipe_bytes(work->twin[0]) == (ret > 0 ? ret : 0));
	if (ret <= 0)
		return work_count(work, &work->out, ret);
	while (usp_pipe_bytes(work->twin[0]) > 0) {
		if (!work_count(work, &work->out, usp_splice(work->twin[0], NULL, work->sink.file, NULL, end_len, 0)))
			return false;
	}
	return true;
}

static bool shared_in(struct work *work, struct usp_gift *gift)
{
	if (!work->job->is_gift)
		return splice_in(work);
	return work_count(work, &work->in, usp_gift_splice(gift, work->in, end_len - work->in, work->pipe[1], 0));
}

/* Whatever fails, all references are gone in the end, and those to a gift not before their time. */
static void run_shared(const void *arg)
{
	struct usp_gift *gift = NULL;
	unsigned nr_done = 0;
	struct work work;
	bool is_open, goes_on;

	work_prepare(&work, arg);
	is_open = work_open(&work, true, true) && usp_gift_new(end_bytes, end_len, gift_done, &nr_done, &gift) == 0;
	goes_on = is_open;
	while (goes_on && work.out < end_len) {
		if (work.in == work.out) {
			goes_on = shared_in(&work, gift);
		} else {
			goes_on = shared_tee(&work);
			pipe_resize(&work);
			goes_on = goes_on && shared_part(&work);
		}
	}
	usp_gift_put(gift);
	fault_check(!work.job->is_gift || work.in == work.out || nr_done == 0);
	work_close_pipes(&work);
	fault_check(nr_done == (gift != NULL));
	if (work.job->is_gift)
		work.in = 0; /* the source was not used */
	work_finish(&work, is_open);
}

/* --- Memory that grows ------------------------------------------------------------------------------------------- */

#define GAP_LEN 100000 /* in front of what is written, so that zeros have to be made */

/* Write all of it at a position, calling again where memory was short. True if it is there in the end. */
static bool memory_write_all(struct usp_file *memory, int64_t pos, const unsigned char *bytes, size_t len)
{
	struct work work = {.nr_tries = 0};

	while (work.out < len) {
		fault_check(usp_file_seek(memory, pos + (int64_t)work.out, SEEK_SET) >= 0);
		if (!work_count(&work, &work.out, usp_write(memory, bytes + work.out, len - work.out)))
			return false;
	}
	return true;
}

/* How many bytes from pos on are what they should be: zeros in the gap, then the stream. */
static bool memory_is_good(struct usp_file *memory, size_t len)
{
	unsigned char *bytes = malloc(GAP_LEN + len);
	bool is_good;

	usp_file_seek(memory, 0, SEEK_SET);
	is_good = usp_read(memory, bytes, GAP_LEN + len) == (ssize_t)(GAP_LEN + len) &&
		  memcmp(bytes, end_zeros, GAP_LEN) == 0 && memcmp(bytes + GAP_LEN, end_bytes, len) == 0;
	free(bytes);
	return is_good;
}

/* What a pipe refers to is not written to: the chunk is copied first, for which memory may be short as well. */
static void memory_change(struct usp_file *memory, struct usp_file *pipe[2])
{
	unsigned char byte = 0xff;
	ssize_t len = usp_splice(memory, &(int64_t){0}, pipe[1], NULL, 1, USP_SPLICE_NONBLOCK);

	if (!memory_write_all(memory, 0, &byte, 1))
		return;
	if (len == 1)
		fault_check(usp_read(pipe[0], &byte, 1) == 1 && byte == 0);
	memory_write_all(memory, 0, end_zeros, 1);
}

static void run_growing_memory(const void *arg)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = PIPE_SLOTS};
	struct usp_file *memory = NULL, *pipe[2] = {NULL, NULL};
	bool is_written = false;

	(void)arg;
	fault_arm();
	if (usp_open("mem:",
		     &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ | USP_WRITE},
		     &memory, NULL) == 0 &&
	    usp_pipe_open(&params, pipe) == 0) {
		is_written = memory_write_all(memory, GAP_LEN, end_bytes, end_len);
		if (is_written)
			memory_change(memory, pipe);
	}
	fault_disarm();
	fault_check(is_written || fault_hit().has_fired);
	if (is_written && !(fault_hit().has_fired && fault_hit().plan.is_sticky))
		fault_check(memory_is_good(memory, end_len));
	usp_file_put(memory);
	usp_file_put(pipe[0]);
	usp_file_put(pipe[1]);
}

/* --- Memory that takes pages over -------------------------------------------------------------------------------- */

/* Each page that goes in is taken over, or copied where memory for the list of pages is short. Nothing is lost. */
static void run_taking_memory(const void *arg)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = PIPE_SLOTS, .slot_bytes = PAGE, .flags = USP_NONBLOCK};
	const struct usp_open_params both = {.size = sizeof(both), .mode = USP_READ | USP_WRITE};
	struct work work = {.job = arg};
	struct usp_hop hop = {.size = sizeof(hop)};
	bool is_open, goes_on;

	fault_arm();
	goes_on = is_open =
		usp_open("mem:", &both, &work.sink.file, NULL) == 0 && usp_pipe_open(&params, work.pipe) == 0;
	while (goes_on && work.out < end_len)
		goes_on = work.in == work.out ? write_in(&work)
					      : work_count(&work, &work.out,
							   usp_splice(work.pipe[0], NULL, work.sink.file, NULL, end_len,
								      USP_SPLICE_MOVE));
	fault_disarm();
	fault_check(is_open || fault_hit().has_fired);
	if (is_open && !(fault_hit().has_fired && fault_hit().plan.is_sticky))
		fault_check(work.out == end_len);
	if (is_open) {
		unsigned char *bytes = calloc(1, end_len);

		fault_check(usp_pread(work.sink.file, bytes, end_len, 0) == (ssize_t)work.out);
		fault_check(memcmp(bytes, end_bytes, work.out) == 0);
		usp_file_hop(work.sink.file, USP_WRITE, &hop);
		fault_check(hop.bytes[USP_COPIED] + hop.bytes[USP_BY_REFERENCE] == work.out);
		fault_check(hop.bytes[USP_BY_REFERENCE] > 0 || fault_hit().has_fired);
		free(bytes);
	}
	usp_file_put(work.sink.file);
	work_close_pipes(&work);
}

/* --- The scenarios ------------------------------------------------------------------------------------------ */

#define JOB(function, ...)                          \
	.run = function, .arg = &(const struct job) \
	{                                           \
		__VA_ARGS__                         \
	}

/* Where the kernel has no memory for it, the lock is looked after by the number of the process. */
static void run_own_lock(const void *arg)
{
	static struct usp_own_lock lock;

	(void)arg;
	fault_arm();
	fault_check(usp_own_lock(&lock));
	usp_own_unlock(&lock);
	fault_check(!usp_own_lock(&lock));
	usp_own_unlock(&lock);
	fault_disarm();
	fault_check(fault_hit().has_fired == (atomic_load(&lock.state) == &lock.spare) || fault_hit().plan.forks);
}

static const struct fault_scenario scenarios[] = {
	{.name = "sendfile_from_file_to_file_in_memory", JOB(run_direct, END_FILE, END_FILE, false, false)},
	{.name = "sendfile_from_file_to_file_inside_the_kernel", JOB(run_direct, END_FILE, END_FILE, true, false)},
	{.name = "sendfile_from_memory_to_tcp", JOB(run_direct, END_MEMORY, END_TCP, false, false)},
	{.name = "sendfile_from_file_to_fifo_inside_the_kernel", JOB(run_direct, END_FILE, END_FIFO, true, false)},
	{.name = "splice_from_fifo_to_file_in_memory", JOB(run_splice, END_FIFO, END_FILE, false, false)},
	{.name = "splice_from_fifo_to_unix_inside_the_kernel", JOB(run_splice, END_FIFO, END_UNIX, true, false)},
	{.name = "splice_from_file_to_memory_out_of_kernel_pipes", JOB(run_splice, END_FILE, END_MEMORY, true, false)},
	{.name = "splice_by_many_kernel_pipes_of_which_the_first_was_refused",
	 JOB(run_narrow_splice, END_FILE, END_FILE, true, false)},
	{.name = "splice_from_tcp_to_fifo_in_memory", JOB(run_splice, END_TCP, END_FIFO, false, false)},
	{.name = "tee_of_folios", JOB(run_tee, END_FIFO, END_FILE, false, false)},
	{.name = "tee_of_kernel_pipes", JOB(run_tee, END_FILE, END_TCP, true, false)},
	{.name = "vmsplice_copies_in_and_out", JOB(run_vmsplice, END_NULL, END_NULL, false, false)},
	{.name = "vmsplice_gifts_in_and_copies_out", JOB(run_vmsplice, END_NULL, END_NULL, false, true)},
	{.name = "write_and_read_a_pipe", JOB(run_write, END_NULL, END_NULL, false, false)},
	{.name = "a_gift_goes_out_through_tcp", JOB(run_gift, END_ZERO, END_TCP, false, true)},
	{.name = "c11_what_failed_steps_shared_is_given_back", JOB(run_shared, END_ZERO, END_FILE, false, true)},
	{.name = "c11_what_failed_steps_shared_of_kernel_pipes_is_given_back",
	 JOB(run_shared, END_FILE, END_FILE, true, false)},
	{.name = "memory_that_grows_with_a_gap_and_is_changed_under_a_pipe", .run = run_growing_memory},
	{.name = "memory_that_takes_pages_over", .run = run_taking_memory},
	{.name = "a_lock_of_the_process_needs_no_memory_of_its_own", .run = run_own_lock},
	{.name = "a_gift_goes_to_a_file", JOB(run_gift, END_ZERO, END_FILE, false, true)},
};

int main(void)
{
	const char *len = getenv("USP_FAULT_BYTES");

	end_init(len ? strtoul(len, NULL, 0) : 300007);
	return fault_main(scenarios, ARRAY_LEN(scenarios));
}
