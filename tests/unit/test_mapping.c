/* SPDX-License-Identifier: MIT */
/* test_mapping - the page cache: reads, late folios, failures, changes, the budget, and many readers. */
#include "support.h"

#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <usplice/mapping.h>

#define MIB ((size_t)1 << 20)
#define NR_READERS 8

/* A source whose bytes are the pattern, from a shift on that a change of version moves. */
struct source {
	pthread_mutex_t lock;
	pthread_cond_t open;
	bool is_closed;	    /* reads wait */
	int64_t bytes;	    /* what get_state says */
	int64_t real_bytes; /* where reads end */
	uint64_t version;   /* and the shift of the pattern */
	bool is_unsettled;
	int64_t bad_from, bad_to; /* reads of these fail */
	_Atomic(uint64_t) read_bytes;
	_Atomic(unsigned) nr_reads, nr_in_read, nr_released;
};

static ssize_t source_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct source *source = arg;
	size_t done = 0;
	uint64_t shift;
	int64_t end;
	bool is_bad;

	pthread_mutex_lock(&source->lock);
	source->nr_in_read++;
	while (source->is_closed)
		pthread_cond_wait(&source->open, &source->lock);
	source->nr_in_read--;
	end = source->real_bytes;
	if (source->bad_to > off && source->bad_from < end)
		end = source->bad_from;
	is_bad = off >= source->bad_from && off < source->bad_to;
	shift = source->version;
	pthread_mutex_unlock(&source->lock);
	source->nr_reads++;
	if (is_bad)
		return -EIO;
	for (unsigned i = 0; i < nr_segs && off < end; i++) {
		size_t len = iov[i].iov_len < (size_t)(end - off) ? iov[i].iov_len : (size_t)(end - off);

		pattern_fill(iov[i].iov_base, (uint64_t)off + shift, len);
		off += (int64_t)len;
		done += len;
	}
	source->read_bytes += done;
	return (ssize_t)done;
}

static int source_get_state(void *arg, struct usp_mapping_state *ret_state)
{
	struct source *source = arg;

	pthread_mutex_lock(&source->lock);
	*ret_state = (struct usp_mapping_state){
		.bytes = source->bytes, .version = {source->version}, .is_unsettled = source->is_unsettled};
	pthread_mutex_unlock(&source->lock);
	return 0;
}

static void source_release(void *arg)
{
	struct source *source = arg;

	source->nr_released++;
}

static const struct usp_mapping_ops source_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "source",
	.read_folios = source_read_folios,
	.get_state = source_get_state,
	.release = source_release,
};

static void source_init(struct source *source, size_t len)
{
	*source = (struct source){.bytes = (int64_t)len, .real_bytes = (int64_t)len};
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->open, NULL);
}

static void source_gate(struct source *source, bool is_closed)
{
	pthread_mutex_lock(&source->lock);
	source->is_closed = is_closed;
	pthread_cond_broadcast(&source->open);
	pthread_mutex_unlock(&source->lock);
}

static void source_change(struct source *source, size_t len, uint64_t version)
{
	pthread_mutex_lock(&source->lock);
	source->bytes = source->real_bytes = (int64_t)len;
	source->version = version;
	pthread_mutex_unlock(&source->lock);
}

static struct usp_mapping *map_source(struct source *source, size_t budget, unsigned nr_threads)
{
	const struct usp_mapping_params params = {.size = sizeof(params),
						  .budget = budget,
						  .nr_threads = nr_threads,
						  .way = USP_COPIED,
						  .reason = "read in a test"};
	struct usp_mapping *mapping;

	assert_int_equal(usp_mapping_new(&source_ops, source, &params, &mapping), 0);
	return mapping;
}

static struct usp_file *open_source(struct source *source, size_t budget, unsigned nr_threads)
{
	struct usp_mapping *mapping = map_source(source, budget, nr_threads);
	struct usp_file *file;

	assert_int_equal(usp_mapping_open(mapping, "test", &file), 0);
	usp_mapping_put(mapping);
	return file;
}

static struct usp_file *open_pieces(struct source *source, size_t budget, size_t piece_bytes)
{
	const struct usp_mapping_params params = {.size = sizeof(params),
						  .budget = budget,
						  .nr_threads = 2,
						  .way = USP_COPIED,
						  .piece_bytes = piece_bytes};
	struct usp_mapping *mapping;
	struct usp_file *file;

	assert_int_equal(usp_mapping_new(&source_ops, source, &params, &mapping), 0);
	assert_int_equal(usp_mapping_open(mapping, "test", &file), 0);
	usp_mapping_put(mapping);
	return file;
}

static struct usp_mapping_usage usage_of(struct usp_file *file)
{
	struct usp_mapping_usage usage = {.size = sizeof(usage)};

	usp_mapping_usage(file->mapping, &usage);
	assert_true(usage.bytes <= usage.budget);
	return usage;
}

static void open_wide_pipe(struct usp_file *end[2], unsigned flags)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 16, .slot_bytes = MIB, .flags = flags};

	assert_int_equal(usp_pipe_open(&params, end), 0);
}

/* Move references to [off, off + len) into a pipe, and compare the bytes there. */
static void check_splice(struct usp_file *file, int64_t off, size_t len, uint64_t shift)
{
	unsigned char *bytes = malloc(len);
	struct usp_file *end[2];
	size_t done = 0;

	open_wide_pipe(end, 0);
	while (done < len) {
		ssize_t ret = usp_splice(file, &(int64_t){off + (int64_t)done}, end[1], NULL, len - done, 0);

		assert_true(ret > 0);
		for (size_t taken = 0; taken < (size_t)ret;) {
			ssize_t got = usp_read(end[0], bytes + done + taken, (size_t)ret - taken);

			assert_true(got > 0);
			taken += (size_t)got;
		}
		done += (size_t)ret;
	}
	assert_pattern(bytes, (uint64_t)off + shift, len);
	close_pipe(end);
	free(bytes);
}

static void check_pread(struct usp_file *file, int64_t off, size_t len, uint64_t shift)
{
	unsigned char *bytes = malloc(len);
	size_t done = 0;

	while (done < len) {
		ssize_t ret = usp_pread(file, bytes + done, len - done, off + (int64_t)done);

		assert_true(ret > 0);
		done += (size_t)ret;
	}
	assert_pattern(bytes, (uint64_t)off + shift, len);
	free(bytes);
}

/* --- Reading ---------------------------------------------------------------------------------------------- */

static void test_read(void **state)
{
	const size_t len = 5 * MIB + 1234;
	struct source source;
	struct usp_file *file;
	unsigned char byte;

	(void)state;
	source_init(&source, len);
	file = open_source(&source, 2 * MIB, 3);
	assert_int_equal(usp_file_size(file), len);
	check_splice(file, 0, len, 0);
	check_pread(file, 0, len, 0);
	check_splice(file, 4097, 3 * MIB, 0);
	check_pread(file, (int64_t)len - 1, 1, 0);
	assert_int_equal(usp_pread(file, &byte, 1, (int64_t)len), 0);
	assert_int_equal(usp_file_seek(file, -1, SEEK_END), len - 1);
	assert_int_equal(usp_read(file, &byte, 1), 1);
	assert_int_equal(usp_read(file, &byte, 1), 0);
	usage_of(file);
	drop(&file);
	assert_int_equal(source.nr_released, 1);
}

/* What fits is read once, whoever asks again; the ledger tells a read from a hit. */
static void test_warm(void **state)
{
	const size_t len = 3 * MIB + 5;
	struct usp_hop hop = {.size = sizeof(hop)};
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, len);
	file = open_source(&source, 16 * MIB, 2);
	check_splice(file, 0, len, 0);
	usp_file_hop(file, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], len);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 0);
	assert_string_equal(hop.reason[USP_COPIED], "read in a test");
	check_splice(file, 0, len, 0);
	check_pread(file, 0, len, 0);
	usp_file_hop(file, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], len);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], len);
	assert_int_equal(source.read_bytes, len);
	assert_int_equal(usage_of(file).nr_evicted, 0);
	drop(&file);
}

/* A random read brings little more than was asked for; reading in order brings more and more. */
static void test_readahead(void **state)
{
	struct source source;
	struct usp_file *file;
	uint64_t before;

	(void)state;
	source_init(&source, 64 * MIB);
	file = open_source(&source, 64 * MIB, 1);
	check_splice(file, 20 * (int64_t)MIB + 5000, 100, 0);
	check_splice(file, 40 * (int64_t)MIB, PAGE, 0);
	assert_int_equal(usage_of(file).nr_ahead, 0);
	assert_int_equal(source.read_bytes, 2 * PAGE);
	for (unsigned i = 1; i <= 64; i++)
		check_splice(file, 40 * (int64_t)MIB + i * PAGE, PAGE, 0);
	assert_true(usage_of(file).nr_ahead >= 4);
	assert_true(usage_of(file).nr_misses <= 4);
	check_splice(file, 0, PAGE, 0); /* elsewhere: the readahead ends */
	drop(&file);
	file = open_source(&source, 64 * MIB, 1);
	before = source.read_bytes;
	check_splice(file, 1000 * (int64_t)PAGE, PAGE, 0);
	assert_int_equal(source.read_bytes - before, PAGE);
	drop(&file);
}

/* --- Late folios ------------------------------------------------------------------------------------------ */

static void test_late(void **state)
{
	struct pollfd fd = {.events = POLLIN};
	struct source source;
	struct usp_file *file, *end[2];
	char bytes[PAGE];

	(void)state;
	source_init(&source, 8 * PAGE);
	source_gate(&source, true);
	file = open_source(&source, MIB, 1);
	open_wide_pipe(end, USP_NONBLOCK);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 8 * PAGE, 0), 8 * PAGE);
	assert_int_equal(file->pos, 8 * PAGE);
	assert_int_equal(usp_read(end[0], bytes, PAGE), -EAGAIN);
	assert_false(usp_file_poll(end[0]) & POLLIN);
	fd.fd = usp_file_poll_fd(end[0], USP_READ, &fd.events);
	assert_true(fd.fd >= 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	source_gate(&source, false);
	assert_int_equal(poll(&fd, 1, 10000), 1);
	take_bytes(end[0], 0, PAGE);
	assert_true(usp_file_poll(end[0]) & POLLIN);
	usp_file_set_flags(end[0], 0);
	take_bytes(end[0], PAGE, 7 * PAGE);
	close_pipe(end);
	drop(&file);
}

/* What stands in a pipe is still read after the file is closed, and stays. */
static void test_outlives(void **state)
{
	struct source source;
	struct usp_file *file, *end[2];

	(void)state;
	source_init(&source, 64 * PAGE);
	file = open_source(&source, MIB, 2);
	open_wide_pipe(end, USP_NONBLOCK);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 8 * PAGE, 0), 8 * PAGE);
	drop(&file);
	assert_int_equal(source.nr_released, 1);
	take_bytes(end[0], 0, 8 * PAGE);
	close_pipe(end);
}

/* --- Failures and changes ------------------------------------------------------------------------------------ */

/* From now on all of it can be read. A thread may be reading ahead. */
static void source_heal(struct source *source)
{
	pthread_mutex_lock(&source->lock);
	source->bad_to = 0;
	pthread_mutex_unlock(&source->lock);
}

/* The good bytes in front of a bad piece are given, then its error; a later read tries again. */
static void test_error(void **state)
{
	struct source source;
	struct usp_file *file, *end[2];
	char bytes[8 * PAGE];

	(void)state;
	source_init(&source, 8 * PAGE);
	source.bad_from = 3 * PAGE + 100;
	source.bad_to = 4 * PAGE;
	file = open_source(&source, MIB, 1);
	open_wide_pipe(end, USP_NONBLOCK);
	usp_file_set_flags(end[0], 0);
	assert_true(usp_splice(file, NULL, end[1], NULL, 8 * PAGE, 0) >= (ssize_t)(4 * PAGE));
	take_bytes(end[0], 0, 3 * PAGE + 100);
	assert_int_equal(usp_read(end[0], bytes, PAGE), -EIO);
	assert_int_equal(usp_read(end[0], bytes, PAGE), -EIO);
	close_pipe(end);
	assert_int_equal(usp_pread(file, bytes, PAGE, 3 * PAGE), 100);
	assert_int_equal(usp_pread(file, bytes, PAGE, 3 * PAGE + 100), -EIO);
	source_heal(&source);
	check_pread(file, 0, 8 * PAGE, 0);
	drop(&file);
}

/* Pieces that are read in one call fail each for itself. */
static void test_error_between(void **state)
{
	struct usp_file *files[4], *ends[4][2];
	struct usp_mapping *mapping;
	struct source source;
	char byte;

	(void)state;
	source_init(&source, 8 * PAGE);
	source.bad_from = 5 * PAGE;
	source.bad_to = 6 * PAGE;
	source_gate(&source, true);
	mapping = map_source(&source, MIB, 1);
	for (unsigned i = 0; i < 4; i++) {
		int64_t off = i ? (3 + i) * PAGE : PAGE; /* the first one keeps the thread busy */

		assert_int_equal(usp_mapping_open(mapping, "test", &files[i]), 0);
		open_wide_pipe(ends[i], 0);
		assert_int_equal(usp_splice(files[i], &off, ends[i][1], NULL, PAGE, 0), PAGE);
		while (!source.nr_in_read)
			sched_yield();
	}
	source_gate(&source, false);
	take_bytes(ends[1][0], 4 * PAGE, PAGE);
	assert_int_equal(usp_read(ends[2][0], &byte, 1), -EIO);
	take_bytes(ends[3][0], 6 * PAGE, PAGE);
	for (unsigned i = 0; i < 4; i++) {
		close_pipe(ends[i]);
		drop(&files[i]);
	}
	usp_mapping_put(mapping);
}

/* Read a page of a source with a bad range: it is good or bad, as a whole. */
static void check_page(struct usp_file *file, const struct source *source, int64_t off)
{
	bool is_bad = off >= source->bad_from && off < source->bad_to;
	unsigned char bytes[PAGE];

	assert_int_equal(usp_pread(file, bytes, PAGE, off), is_bad ? -EIO : (ssize_t)PAGE);
	if (!is_bad)
		assert_pattern(bytes, (uint64_t)off, PAGE);
}

/* An error keeps no byte away that is good, also in large folios. A request that fails is made again page by page. */
static void test_error_alone(void **state)
{
	const int64_t len = 24 * MIB, request = 256 * 1024;
	unsigned char *bytes = malloc((size_t)request);
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, (size_t)len);
	source.bad_from = 15 * MIB + 21 * PAGE;
	source.bad_to = source.bad_from + 41 * PAGE;
	file = open_source(&source, 64 * MIB, 2);
	for (int64_t off = 0, next; off < len; off = next) {
		ssize_t ret = usp_pread(file, bytes, (size_t)request, off);

		next = ret > 0 ? off + ret : off + request - off % request;
		if (ret > 0)
			assert_pattern(bytes, (uint64_t)off, (size_t)ret);
		for (int64_t page = off; ret < 0 && page < next; page += PAGE)
			check_page(file, &source, page);
	}
	drop(&file);
	file = open_source(&source, 64 * MIB, 2);
	check_pread(file, 0, (size_t)source.bad_from, 0);
	check_page(file, &source, source.bad_from);
	check_page(file, &source, source.bad_to);
	check_pread(file, source.bad_to, (size_t)(len - source.bad_to), 0);
	drop(&file);
	free(bytes);
}

/* Requests of one reader that are served by several threads come nearly in order: they are read ahead all the same. */
static void test_nearly_in_order(void **state)
{
	const size_t piece = 64 * 1024;
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, 16 * MIB);
	file = open_source(&source, 64 * MIB, 1);
	check_pread(file, 0, piece, 0);
	check_pread(file, (int64_t)piece, piece, 0);
	for (int64_t i = 2; i < 254; i += 2) {
		check_pread(file, (i + 1) * (int64_t)piece, piece, 0);
		check_pread(file, i * (int64_t)piece, piece, 0);
	}
	assert_true(usage_of(file).nr_misses <= 8);
	assert_true(source.read_bytes <= 16 * MIB);
	drop(&file);
}

/* A file over a mapping tells of changes what the mapping knows, and not only its size. */
static void test_state(void **state)
{
	struct usp_mapping_state first = {.bytes = 0}, second = {.bytes = 0};
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, 8 * PAGE);
	file = open_source(&source, MIB, 1);
	assert_int_equal(usp_filemap_get_state(file, &first), 0);
	source_change(&source, 8 * PAGE, 7);
	assert_int_equal(usp_filemap_get_state(file, &second), 0);
	assert_int_equal(first.bytes, 8 * PAGE);
	assert_int_equal(second.bytes, 8 * PAGE);
	assert_int_equal(first.version[0], 0);
	assert_int_equal(second.version[0], 7);
	drop(&file);
}

static struct usp_pump *run_pump(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks,
				 unsigned flags, int expected)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = flags};
	struct usp_pump *pump;

	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++)
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
	assert_int_equal(usp_pump_run(pump), expected);
	return pump;
}

static struct usp_file *open_sink(void)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ | USP_WRITE};
	struct usp_file *file;

	assert_int_equal(usp_open("mem:", &params, &file, NULL), 0);
	return file;
}

/* Pump to one or three sinks a source that gives only `real` of its bytes: what arrives, counts and position agree. */
static void check_cut(unsigned nr_sinks, unsigned flags, bool is_error)
{
	const size_t len = 6 * MIB, real = 2 * MIB + 777;
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_pump_error error = {.size = sizeof(error)};
	struct usp_file *file, *sinks[3];
	struct source source;
	struct usp_pump *pump;

	source_init(&source, len);
	if (is_error) {
		source.bad_from = (int64_t)real;
		source.bad_to = (int64_t)len;
	} else {
		source.real_bytes = (int64_t)real;
	}
	file = open_source(&source, 4 * MIB, 2);
	for (unsigned i = 0; i < nr_sinks; i++)
		sinks[i] = open_sink();
	pump = run_pump(file, sinks, nr_sinks, flags, is_error ? -EIO : 0);
	usp_pump_status(pump, &status);
	usp_pump_error(pump, &error);
	assert_int_equal(status.bytes, real);
	assert_int_equal(status.stranded, 0);
	assert_int_equal(status.source_error, is_error ? -EIO : 0);
	assert_int_equal(error.error, is_error ? -EIO : 0);
	assert_int_equal(error.off, is_error ? real : 0);
	assert_int_equal(file->pos, real);
	for (unsigned i = 0; i < nr_sinks; i++) {
		assert_int_equal(usp_file_size(sinks[i]), real);
		assert_int_equal(usp_file_seek(sinks[i], 0, SEEK_SET), 0);
		check_pread(sinks[i], 0, real, 0);
		drop(&sinks[i]);
	}
	usp_pump_free(pump);
	drop(&file);
}

static void test_cut(void **state)
{
	(void)state;
	for (unsigned is_error = 0; is_error < 2; is_error++) {
		check_cut(1, 0, is_error);
		check_cut(3, 0, is_error);
		check_cut(3, USP_PUMP_TURNS, is_error);
	}
}

static void test_change(void **state)
{
	struct source source;
	struct usp_file *file, *end[2];

	(void)state;
	source_init(&source, MIB);
	file = open_source(&source, 4 * MIB, 2);
	check_splice(file, 0, MIB, 0);
	open_wide_pipe(end, USP_NONBLOCK);
	assert_int_equal(usp_splice(file, &(int64_t){0}, end[1], NULL, PAGE, 0), PAGE);
	source_change(&source, MIB + 100, 55);
	check_splice(file, 0, MIB + 100, 55);
	take_bytes(end[0], 0, PAGE); /* as they were when they were lent */
	source_change(&source, 10, 56);
	check_pread(file, 0, 10, 56);
	assert_int_equal(usp_pread(file, &(char){0}, 1, 10), 0);
	source_change(&source, MIB, 57);
	check_pread(file, 0, MIB, 57);
	usp_mapping_invalidate(file->mapping, 8 * PAGE, PAGE);
	check_pread(file, 0, MIB, 57);
	assert_true(source.read_bytes > 3 * MIB + 110);
	close_pipe(end);
	drop(&file);
}

/* A version that may cover one more change is not trusted at the next call. */
static void test_unsettled(void **state)
{
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, 4 * PAGE);
	source.is_unsettled = true;
	file = open_source(&source, MIB, 1);
	check_pread(file, 0, PAGE, 0);
	check_pread(file, 0, PAGE, 0);
	assert_int_equal(source.read_bytes, 2 * PAGE);
	source.is_unsettled = false;
	check_pread(file, 0, PAGE, 0); /* what was read before is dropped once more */
	check_pread(file, 0, PAGE, 0);
	assert_int_equal(source.read_bytes, 3 * PAGE);
	drop(&file);
}

/* --- Memory ------------------------------------------------------------------------------------------------- */

/* Pipes hold the whole budget: a reader is told to wait, until a pipe gives something back. */
static void test_budget(void **state)
{
	const size_t budget = 256u << 10;
	struct source source;
	struct usp_file *file, *end[2], *other[2];
	struct pollfd fd = {.events = POLLIN};
	size_t held = 0;
	ssize_t ret;

	(void)state;
	source_init(&source, 4 * MIB);
	file = open_source(&source, budget, 2);
	usp_file_set_flags(file, USP_NONBLOCK);
	open_wide_pipe(end, USP_NONBLOCK);
	open_pipe(other, 16, USP_NONBLOCK);
	usp_file_set_flags(end[0], 0);
	while ((ret = usp_splice(file, NULL, end[1], NULL, PAGE, 0)) > 0 && held < 16 * PAGE)
		held += (size_t)ret;
	assert_int_equal(held, 16 * PAGE);
	for (unsigned i = 0; i < 100; i++) {
		ret = usp_splice(file, &(int64_t){(int64_t)(i * 33 + 100) * PAGE % (4 << 20)}, other[1], NULL, PAGE, 0);
		usage_of(file);
		if (ret < 0)
			break;
	}
	assert_int_equal(ret, -EAGAIN);
	drop(&other[0]);
	drop(&other[1]);
	take_bytes(end[0], 0, held);
	close_pipe(end);
	fd.fd = usp_file_poll_fd(file, USP_READ, &fd.events);
	assert_true(fd.fd >= 0);
	assert_int_equal(poll(&fd, 1, 10000), 1);
	check_splice(file, 0, 4 * MIB, 0);
	drop(&file);
}

static ssize_t read_all(void *arg)
{
	check_splice(arg, 0, 4 * MIB, 0);
	return 0;
}

/* Pipes that hold all hold a blocking reader, and wake it. */
static void test_await_room(void **state)
{
	struct source source;
	struct usp_file *file, *second, *end[2];
	struct worker worker;
	size_t held = 0;
	ssize_t ret = 1;

	(void)state;
	source_init(&source, 4 * MIB);
	file = open_source(&source, 256u << 10, 2);
	assert_int_equal(usp_mapping_open(file->mapping, "second", &second), 0);
	usp_file_set_flags(file, USP_NONBLOCK);
	open_wide_pipe(end, USP_NONBLOCK);
	while (held < 256u << 10 && ret > 0) {
		ret = usp_splice(file, NULL, end[1], NULL, MIB, 0);
		held += ret > 0 ? (size_t)ret : 0;
	}
	worker_start(&worker, read_all, second);
	usleep(20000);
	usp_file_set_flags(end[0], 0);
	take_bytes(end[0], 0, held);
	assert_int_equal(worker_join(&worker), 0);
	close_pipe(end);
	drop(&second);
	drop(&file);
}

static bool steal_first(struct usp_file *end)
{
	struct usp_buf buf;
	bool was_stolen;

	assert_int_equal(peek_bufs(end, &buf, 1), 1);
	was_stolen = usp_buf_try_steal(NULL, &buf);
	return was_stolen;
}

/* A folio is only given away if nobody else has it; then the cache reads it again. */
static void test_steal(void **state)
{
	struct source source;
	struct usp_file *file, *end[2], *second[2];

	(void)state;
	source_init(&source, PAGE);
	file = open_source(&source, MIB, 1);
	open_pipe(end, 16, 0);
	open_pipe(second, 16, 0);
	check_pread(file, 0, PAGE, 0);
	assert_int_equal(usp_splice(file, &(int64_t){0}, end[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(usp_tee(end[0], second[1], PAGE, 0), PAGE);
	assert_false(steal_first(end[0]));
	take_bytes(second[0], 0, PAGE);
	assert_int_equal(usp_splice(file, &(int64_t){0}, second[1], NULL, PAGE, 0), PAGE);
	assert_false(steal_first(end[0]));
	take_bytes(second[0], 0, PAGE);
	assert_true(steal_first(end[0]));
	assert_int_equal(source.read_bytes, PAGE);
	check_pread(file, 0, PAGE, 0);
	assert_int_equal(source.read_bytes, 2 * PAGE);
	assert_true(steal_first(end[0])); /* it is still the only one */
	take_bytes(end[0], 0, PAGE);
	close_pipe(end);
	close_pipe(second);
	drop(&file);
}

/* A part of a folio is not given away: the rest would have to be read again. What is stolen counts no more. */
static void test_steal_part(void **state)
{
	struct source source;
	struct usp_file *file, *end[2];

	(void)state;
	source_init(&source, 16 * PAGE);
	file = open_source(&source, MIB, 1);
	open_wide_pipe(end, 0);
	check_pread(file, 0, 16 * PAGE, 0);
	assert_int_equal(usp_splice(file, &(int64_t){0}, end[1], NULL, PAGE, 0), PAGE);
	assert_false(steal_first(end[0]));
	take_bytes(end[0], 0, PAGE);
	for (unsigned i = 0; i < 100; i++) { /* more than the budget, all held by their new owner */
		struct usp_buf buf;

		check_pread(file, 0, 16 * PAGE, 0);
		while (nr_bufs_in(end[0]) == 0 || usp_pipe_len(end[0]->priv) < 16 * PAGE)
			assert_true(usp_splice(file, &(int64_t){(int64_t)usp_pipe_len(end[0]->priv)}, end[1], NULL,
					       16 * PAGE, 0) > 0);
		for (unsigned nr = nr_bufs_in(end[0]); nr; nr--) {
			assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
			if (i < 10 && usp_buf_try_steal(NULL, &buf))
				assert_true(usage_of(file).bytes < 16 * PAGE);
			take_bytes(end[0], 16 * PAGE - usp_pipe_len(end[0]->priv), buf.len);
		}
	}
	close_pipe(end);
	drop(&file);
}

/* A source that claims more than it was asked for is not believed. */
static ssize_t boast_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	(void)arg, (void)iov, (void)nr_segs, (void)off;
	return 1 << 30;
}

static void test_boast(void **state)
{
	struct usp_mapping_ops ops = source_ops;
	const struct usp_mapping_params params = {.size = sizeof(params)};
	struct usp_mapping *mapping;
	struct usp_file *file;
	struct source source;
	char byte;

	(void)state;
	source_init(&source, PAGE);
	ops.read_folios = boast_read_folios;
	assert_int_equal(usp_mapping_new(&ops, &source, &params, &mapping), 0);
	assert_int_equal(usp_mapping_open(mapping, NULL, &file), -EINVAL);
	assert_int_equal(usp_mapping_open(mapping, "boast", &file), 0);
	assert_int_equal(usp_pread(file, &byte, 1, 0), -EIO);
	drop(&file);
	usp_mapping_put(mapping);
}

/* A scan of ten times the budget does not drive out what is used again and again. */
static void test_scan(void **state)
{
	const size_t budget = 2 * MIB, hot = 64 * PAGE;
	struct source source;
	struct usp_file *file, *scan;
	uint64_t before;

	(void)state;
	source_init(&source, 10 * budget);
	file = open_source(&source, budget, 1);
	assert_int_equal(usp_mapping_open(file->mapping, "scan", &scan), 0);
	for (unsigned round = 0; round < 4; round++) {
		for (size_t off = 0; off < hot; off += PAGE)
			check_pread(file, (int64_t)((off * 13) % hot), PAGE, 0);
	}
	check_splice(scan, (int64_t)hot, 10 * budget - hot, 0);
	before = usage_of(file).nr_misses;
	for (size_t off = 0; off < hot; off += PAGE)
		check_pread(file, (int64_t)((off * 13) % hot), PAGE, 0);
	assert_int_equal(usage_of(file).nr_misses, before);
	drop(&scan);
	drop(&file);
}

/* --- A sink that takes pages --------------------------------------------------------------------------------- */

/* A mapping whose source cannot be read, and files to write and read it. */
static struct usp_mapping *open_store(struct source *source, size_t len, struct usp_file **ret_store,
				      struct usp_file **ret_file)
{
	struct usp_mapping *mapping;

	source_init(source, len);
	source->bad_to = (int64_t)len;
	mapping = map_source(source, 4 * MIB, 1);
	assert_int_equal(usp_mapping_open_store(mapping, "store", ret_store), 0);
	assert_int_equal(usp_mapping_open(mapping, "reader", ret_file), 0);
	return mapping;
}

static void check_ways(struct usp_file *file, size_t moved, size_t copied)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(file, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], moved);
	assert_int_equal(hop.bytes[USP_COPIED], copied);
}

/* Whole pages of nobody else go into the cache as they are, with MOVE. Everything else is copied. */
static void test_store(void **state)
{
	const size_t len = 10 * 65536 + 50000;
	struct usp_file *store, *file, *end[2], *second[2];
	struct usp_mapping *mapping;
	struct source source;
	struct usp_buf buf;

	(void)state;
	mapping = open_store(&source, len, &store, &file);
	open_wide_pipe(end, 0);
	open_wide_pipe(second, 0);
	for (size_t off = 0; off < len; off += 65536)
		inject(end[1], folio_buf(off, len - off < 65536 ? len - off : 65536, 0));
	peek_bufs(end[0], &buf, 1);
	assert_int_equal(usp_splice(end[0], NULL, store, NULL, 65536, USP_SPLICE_MOVE), 65536);
	check_ways(store, 65536, 0);
	assert_int_equal(usp_splice(end[0], NULL, store, NULL, 65536, 0), 65536); /* without MOVE */
	check_ways(store, 65536, 65536);
	assert_int_equal(usp_tee(end[0], second[1], 65536, 0), 65536);
	assert_int_equal(usp_splice(end[0], NULL, store, NULL, 65536, USP_SPLICE_MOVE), 65536); /* shared */
	check_ways(store, 65536, 2 * 65536);
	assert_int_equal(usp_splice(end[0], NULL, store, NULL, len, USP_SPLICE_MOVE), len - 3 * 65536);
	check_ways(store, len - 2 * 65536, 2 * 65536);
	assert_int_equal(store->pos, len);
	take_bytes(second[0], 2 * 65536, 65536);
	check_pread(file, 0, len, 0);
	check_splice(file, 0, len, 0);
	assert_int_equal(source.read_bytes, 0);
	assert_int_equal(usp_splice(file, &(int64_t){0}, end[1], NULL, 65536, 0), 65536);
	assert_int_equal(usp_write(store, "x", 1), -ENOSPC);
	close_pipe(end);
	close_pipe(second);
	drop(&store);
	drop(&file);
	usp_mapping_put(mapping);
}

/* Writes of any length are gathered into folios; what comes after a seek begins anew. */
static void test_store_pieces(void **state)
{
	const size_t len = 300000;
	unsigned char *bytes = malloc(len);
	struct usp_file *store, *file;
	struct usp_mapping *mapping;
	struct source source;

	(void)state;
	pattern_fill(bytes, 0, len);
	mapping = open_store(&source, len, &store, &file);
	for (size_t off = 0, step = 1; off < len; step = step * 7 % 9973) {
		ssize_t ret = usp_write(store, bytes + off, len - off < step ? len - off : step);

		assert_true(ret > 0);
		off += (size_t)ret;
	}
	check_pread(file, 0, len, 0);
	usp_mapping_invalidate(mapping, 0, 0);
	assert_int_equal(usp_file_seek(store, 1, SEEK_SET), 1);
	assert_int_equal(usp_write(store, bytes, 100), -EINVAL);
	assert_int_equal(usp_file_seek(store, 8 * PAGE, SEEK_SET), 8 * PAGE);
	assert_int_equal(usp_write(store, bytes + 8 * PAGE, 100), 100); /* never whole: dropped */
	assert_int_equal(usp_file_seek(store, PAGE, SEEK_SET), PAGE);
	assert_int_equal(usp_write(store, bytes + PAGE, PAGE), PAGE);
	check_pread(file, PAGE, PAGE, 0);
	assert_int_equal(usp_pread(file, bytes, 1, 8 * PAGE), -EIO);
	assert_int_equal(source.read_bytes, 0);
	drop(&store);
	drop(&file);
	usp_mapping_put(mapping);
	free(bytes);
}

/* A pump asks for the pages. What has no room is dropped, and the budget holds. */
static void test_store_pump(void **state)
{
	const size_t len = 8 * MIB;
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_file *store, *file, *from;
	struct usp_mapping *mapping;
	struct source source, first;
	struct usp_pump *pump;
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	mapping = open_store(&source, len, &store, &file);
	source_init(&first, len);
	from = open_source(&first, 4 * MIB, 2);
	pump = run_pump(from, &store, 1, 0, 0);
	usp_pump_status(pump, &status);
	assert_int_equal(status.bytes, len);
	usp_file_hop(store, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE] + hop.bytes[USP_COPIED], len);
	usage_of(file);
	assert_true(usage_of(file).bytes > MIB);
	usp_pump_free(pump);
	drop(&from);
	drop(&store);
	drop(&file);
	usp_mapping_put(mapping);
}

/* --- Many at once -------------------------------------------------------------------------------------------- */

static ssize_t read_it(void *arg)
{
	check_splice(arg, 0, 12 * MIB + 99, 0);
	return 0;
}

/* Eight readers of one cold source cost one read of each folio. */
static void test_readers(void **state)
{
	struct worker workers[NR_READERS];
	struct usp_file *files[NR_READERS];
	struct usp_mapping *mapping;
	struct source source;

	(void)state;
	source_init(&source, 12 * MIB + 99);
	mapping = map_source(&source, 32 * MIB, 4);
	for (unsigned i = 0; i < NR_READERS; i++) {
		assert_int_equal(usp_mapping_open(mapping, "reader", &files[i]), 0);
		worker_start(&workers[i], read_it, files[i]);
	}
	for (unsigned i = 0; i < NR_READERS; i++) {
		assert_int_equal(worker_join(&workers[i]), 0);
		drop(&files[i]);
	}
	assert_int_equal(source.read_bytes, 12 * MIB + 99);
	usp_mapping_put(mapping);
	assert_int_equal(source.nr_released, 1);
}

struct race {
	struct source source;
	struct usp_mapping *mapping;
	_Atomic(bool) is_over;
};

/* Every byte is that of one of the versions, of the size of that time or a smaller one. */
static ssize_t race_read(void *arg)
{
	struct race *race = arg;
	struct usp_file *file, *end[2];
	unsigned char *bytes = malloc(MIB);
	unsigned random = (unsigned)(uintptr_t)&file;

	assert_int_equal(usp_mapping_open(race->mapping, "race", &file), 0);
	open_wide_pipe(end, 0);
	while (!race->is_over) {
		int64_t off = (int64_t)((random = random * 1103515245u + 12345u) >> 10) % (int64_t)(3 * MIB);
		ssize_t ret = usp_splice(file, &off, end[1], NULL, random % MIB + 1, 0), left = ret;

		assert_true(ret >= 0);
		while (left > 0) {
			ssize_t got = usp_read(end[0], bytes, (size_t)left);

			if (got < 0) { /* the source has become shorter */
				assert_int_equal(got, -ENODATA);
				close_pipe(end);
				open_wide_pipe(end, 0);
				break;
			}
			left -= got;
		}
		usp_pread(file, bytes, random % 10000, (int64_t)(random % (3 * MIB)));
	}
	close_pipe(end);
	drop(&file);
	free(bytes);
	return 0;
}

static ssize_t race_change(void *arg)
{
	struct race *race = arg;
	struct usp_mapping_usage usage = {.size = sizeof(usage)};

	for (unsigned i = 0; i < 300; i++) {
		source_change(&race->source, (i * 7919u % 3000 + 1) * 1024, i);
		usp_mapping_invalidate(race->mapping, (int64_t)(i % 8) * (int64_t)(256u << 10), 256u << 10);
		usp_mapping_usage(race->mapping, &usage);
		assert_true(usage.bytes <= usage.budget);
		usleep(500);
	}
	race->is_over = true;
	return 0;
}

static void test_races(void **state)
{
	struct worker workers[5];
	struct race race = {.is_over = false};

	(void)state;
	source_init(&race.source, MIB);
	race.mapping = map_source(&race.source, MIB, 3);
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		worker_start(&workers[i], i ? race_read : race_change, &race);
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		assert_int_equal(worker_join(&workers[i]), 0);
	usp_mapping_put(race.mapping);
}

/* What another cache keeps is given up behind a reader in order, and read once all the same, also by requests out of order. */
static void test_kept_above(void **state)
{
	const int64_t piece = 128 * 1024, len = 40 * MIB;
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, (size_t)len);
	file = open_pieces(&source, 64 * MIB, MIB);
	file->ra.is_kept_above = true;
	check_pread(file, 0, (size_t)piece, 0);
	check_pread(file, piece, (size_t)piece, 0);
	for (int64_t off = 2 * piece; off < len; off += 2 * piece) {
		check_pread(file, off + piece, (size_t)piece, 0);
		check_pread(file, off, (size_t)piece, 0);
		assert_true(usage_of(file).bytes <= 12 * MIB);
	}
	assert_int_equal(source.read_bytes, len);
	assert_true(usage_of(file).nr_evicted > 0);
	check_pread(file, 0, (size_t)len, 0);
	drop(&file);
}

static ssize_t give_up_all(void *arg)
{
	struct race *race = arg;
	struct usp_file *file;

	assert_int_equal(usp_mapping_open(race->mapping, "all", &file), 0);
	file->ra.is_kept_above = true;
	for (int64_t off = 0; off < race->source.bytes; off += MIB / 8)
		check_splice(file, off, MIB / 8, 0);
	drop(&file);
	return 0;
}

/* Readers that give up what they have passed leave no other one without memory. */
static void test_kept_above_by_many(void **state)
{
	struct worker workers[6];
	struct race race = {.is_over = false};

	(void)state;
	source_init(&race.source, 16 * MIB);
	race.mapping = map_source(&race.source, MIB / 2, 2);
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		worker_start(&workers[i], give_up_all, &race);
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		assert_int_equal(worker_join(&workers[i]), 0);
	usp_mapping_put(race.mapping);
}

/* --- Parameters and processes ---------------------------------------------------------------------------------- */

static void test_params(void **state)
{
	struct usp_mapping_params params = {.size = sizeof(params)};
	struct usp_mapping_ops ops = source_ops;
	struct usp_mapping *mapping = NULL;
	struct source source;

	(void)state;
	source_init(&source, PAGE);
	params.budget = PAGE;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.budget = 0;
	params.folio_bytes = 5000;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.folio_bytes = 4 * MIB;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.folio_bytes = 0;
	params.nr_threads = 17;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.nr_threads = 0;
	params.piece_bytes = 3 * MIB;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.piece_bytes = 64 * MIB;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.piece_bytes = 0;
	params.way = USP_NR_WAYS;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.way = USP_COPIED;
	params.size = 0;
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), -EINVAL);
	params.size = sizeof(params);
	ops.size = 8;
	assert_int_equal(usp_mapping_new(&ops, &source, &params, &mapping), -EINVAL);
	ops.size = sizeof(ops);
	ops.get_state = NULL;
	assert_int_equal(usp_mapping_new(&ops, &source, &params, &mapping), -EINVAL);
	assert_null(mapping);
	assert_int_equal(source.nr_released, 0);
	usp_mapping_put(NULL);
}

/* A large smallest folio: the source is asked in its pieces only. */
static void test_folio_bytes(void **state)
{
	const struct usp_mapping_params params = {
		.size = sizeof(params), .budget = MIB, .folio_bytes = 64u << 10, .way = USP_COPIED};
	struct usp_mapping *mapping;
	struct usp_file *file;
	struct source source;

	(void)state;
	source_init(&source, MIB);
	assert_int_equal(usp_mapping_new(&source_ops, &source, &params, &mapping), 0);
	assert_int_equal(usp_mapping_open(mapping, "test", &file), 0);
	check_pread(file, 200000, 10, 0);
	assert_int_equal(source.read_bytes, 64u << 10);
	drop(&file);
	usp_mapping_put(mapping);
}

/* A source that makes pieces: a reader in order has whole ones read ahead, a random one no more than it asks for. */
static void test_pieces(void **state)
{
	const size_t len = 42 * MIB + 5 * PAGE + 7, request = 128 * 1024;
	struct usp_mapping_usage usage;
	struct source source;
	struct usp_file *file;

	(void)state;
	source_init(&source, len);
	file = open_pieces(&source, 64 * MIB, 4 * MIB);
	check_pread(file, 21 * (int64_t)MIB + 5, 100, 0);
	check_pread(file, 40 * (int64_t)MIB, PAGE, 0);
	assert_int_equal(source.read_bytes, 2 * PAGE);
	for (size_t off = 0; off < len; off += request)
		check_pread(file, (int64_t)off, len - off < request ? len - off : request, 0);
	usage = usage_of(file);
	assert_true(usage.nr_ahead + usage.nr_misses <= 80);
	assert_true(source.read_bytes == len); /* the two pages are in their places */
	drop(&file);
	for (size_t budget = 256 * 1024; budget <= 32 * MIB; budget *= 2) { /* most are too small for a piece */
		file = open_pieces(&source, budget, 4 * MIB);
		for (size_t off = 0; off < len; off += request / 2)
			check_pread(file, (int64_t)off, len - off < request / 2 ? len - off : request / 2, 0);
		usage_of(file);
		drop(&file);
	}
}

static void test_fork(void **state)
{
	struct source source;
	struct usp_file *file, *end[2];
	int status;
	pid_t pid;

	(void)state;
	if (!CAN_FORK_BESIDE_THREADS)
		skip();
	source_init(&source, 64 * PAGE);
	file = open_source(&source, MIB, 1);
	open_pipe(end, 16, 0);
	check_pread(file, 0, PAGE, 0);
	assert_int_equal(usp_splice(file, &(int64_t){0}, end[1], NULL, PAGE, 0), PAGE);
	pid = fork();
	if (pid == 0) {
		char bytes[PAGE];
		bool is_good = usp_pread(file, bytes, 1, 0) == -ESTALE && usp_read(end[0], bytes, PAGE) == PAGE &&
			       pattern_is(bytes, 0, PAGE);

		usp_file_put(file);
		end_child(is_good ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	take_bytes(end[0], 0, PAGE);
	close_pipe(end);
	drop(&file);
}

/* --- cached:SPEC ------------------------------------------------------------------------------------------------ */

static int open_cached(const char *spec, struct usp_file **ret_file)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};

	return usp_open(spec, &params, ret_file, NULL);
}

/* Two opens of one file share its cache; one of another budget does not. */
static void test_cached(void **state)
{
	char path[] = "/tmp/usplice-cached-XXXXXX", spec[64], budget[80];
	struct usp_file *files[3];
	char bytes[PAGE];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	pattern_fill(bytes, 0, PAGE);
	assert_int_equal(write(fd, bytes, PAGE), PAGE);
	usleep(50000); /* so that the time of the change is a while ago */
	snprintf(spec, sizeof(spec), "cached:%s", path);
	snprintf(budget, sizeof(budget), "cached:%s,budget=1M", path);
	assert_int_equal(open_cached(spec, &files[0]), 0);
	assert_int_equal(open_cached(spec, &files[1]), 0);
	assert_int_equal(open_cached(budget, &files[2]), 0);
	for (unsigned i = 0; i < 3; i++)
		check_pread(files[i], 0, PAGE, 0);
	assert_ptr_equal(files[0]->mapping, files[1]->mapping);
	assert_ptr_not_equal(files[0]->mapping, files[2]->mapping);
	assert_int_equal(usage_of(files[0]).read_bytes, PAGE);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(usp_pread(files[1], bytes, 1, 0), 1);
	assert_int_equal(bytes[0], 'x');
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(usp_pread(files[0], bytes, 1, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		drop(&files[i]);
	close(fd);
	unlink(path);
}

static void test_cached_refuses(void **state)
{
	static const char *const specs[] = {
		"cached:",	    "cached:null:",	    "cached:/tmp,budget=1k", "cached:zero:",
		"cached:/dev/null", "cached:/proc/version", "cached:/dev/null,x=1"};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *file;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++)
		assert_int_equal(open_cached(specs[i], &file), -EINVAL);
	assert_int_equal(open_cached("cached:/nowhere/at/all", &file), -ENOENT);
	assert_int_equal(open_cached("cached:/", &file), -EISDIR);
	assert_int_equal(usp_open("cached:mem:abc", &to_write, &file, NULL), -EINVAL);
	assert_int_equal(open_cached("cached:mem:abc", &file), 0);
	assert_int_equal(usp_file_size(file), 3);
	drop(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_read),
		CASE(test_warm),
		CASE(test_readahead),
		CASE(test_late),
		CASE(test_outlives),
		CASE(test_error),
		CASE(test_cut),
		CASE(test_change),
		CASE(test_unsettled),
		CASE(test_budget),
		CASE(test_await_room),
		CASE(test_steal),
		CASE(test_scan),
		CASE(test_readers),
		CASE(test_races),
		CASE(test_params),
		CASE(test_folio_bytes),
		CASE(test_fork),
		CASE(test_cached),
		CASE(test_cached_refuses),
		CASE(test_steal_part),
		CASE(test_boast),
		CASE(test_store),
		CASE(test_store_pieces),
		CASE(test_store_pump),
		CASE(test_error_between),
		CASE(test_state),
		CASE(test_error_alone),
		CASE(test_nearly_in_order),
		CASE(test_pieces),
		CASE(test_kept_above),
		CASE(test_kept_above_by_many),
	};

	return cmocka_run_group_tests_name("mapping", tests, NULL, NULL);
}
