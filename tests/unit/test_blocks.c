/* SPDX-License-Identifier: MIT */
/* test_blocks - a checksum for each block of a source: a bad block goes nowhere, and all before it are delivered. */
#include "late.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <usplice/transform.h>

#include "hash/hash.h"
#include "steps.h"

#define BLOCK ((size_t)4096)
#define LEN (10 * BLOCK + 1000) /* the last block is shorter */
#define NR_BLOCKS 11

/* --- Lists --------------------------------------------------------------------------------------------------- */

/* The list of the first len bytes of the pattern. The block with number bad has the checksum of something else. */
static void list_print(char *text, size_t block_len, size_t len, size_t bad)
{
	const struct usp_hash_ops *ops = usp_hash_named("crc32c", 6);
	unsigned char digest[USP_HASH_LEN_MAX], *bytes = malloc(block_len);
	char hex[USP_HASH_HEX_MAX];

	text += sprintf(text, "# usplice blocks crc32c %zu %zu\n", block_len, len);
	for (size_t off = 0; off < len; off += block_len) {
		size_t chunk = len - off < block_len ? len - off : block_len;
		void *hash = ops->open();

		pattern_fill(bytes, off, chunk);
		ops->update(hash, bytes, chunk - (off / block_len == bad));
		ops->finish(hash, digest);
		ops->free(hash);
		usp_hash_format(digest, ops->len, hex);
		text += sprintf(text, "%s\n", hex);
	}
	free(bytes);
}

static int list_fd = -1;
static char list_spec[64];

/* Make text the file of list_spec. */
static void list_set(const char *text)
{
	if (list_fd >= 0)
		close(list_fd);
	list_fd = memfd_create("list", MFD_CLOEXEC);
	assert_int_equal(write(list_fd, text, strlen(text)), strlen(text));
	sprintf(list_spec, "blocks:/proc/self/fd/%d", list_fd);
}

#define NONE SIZE_MAX

static void list_make(size_t block_len, size_t len, size_t bad)
{
	static char text[400000];

	list_print(text, block_len, len, bad);
	list_set(text);
}

static void list_drop(void)
{
	close(list_fd);
	list_fd = -1;
}

/* --- Stages and pumps ---------------------------------------------------------------------------------------- */

/* Put a stage over file, whose reference it takes. */
static struct usp_file *open_stage(const char *spec, struct usp_file *below)
{
	struct usp_file *stage;

	assert_int_equal(usp_transform_open(spec, below, NULL, &stage, NULL), 0);
	return stage;
}

static unsigned char pattern[LEN + BLOCK];

static struct usp_file *open_disk(size_t len);

static struct usp_file *open_memory(size_t len)
{
	struct usp_file *file;

	pattern_fill(pattern, 0, sizeof(pattern));
	if (len == 0)
		return open_disk(0); /* there is no memory without a byte */
	assert_int_equal(usp_open_memory(pattern, len, USP_READ, NULL, NULL, &file), 0);
	return file;
}

static char disk_path[] = "/tmp/usplice-blocks-XXXXXX";

static struct usp_file *open_on_disk(const char *prefix, size_t len)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	char spec[64];
	struct usp_file *file;
	int fd;

	strcpy(disk_path + strlen(disk_path) - 6, "XXXXXX");
	fd = mkstemp(disk_path);
	pattern_fill(pattern, 0, sizeof(pattern));
	assert_int_equal(write(fd, pattern, len), len);
	close(fd);
	snprintf(spec, sizeof(spec), "%s%s", prefix, disk_path);
	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	unlink(disk_path);
	return file;
}

static struct usp_file *open_disk(size_t len)
{
	return open_on_disk("", len);
}

static struct usp_file *open_cached(size_t len)
{
	return open_on_disk("cached:", len);
}

/* A pipe below, whose bufs do not begin where blocks do. */
static struct usp_file *open_pieces(size_t len)
{
	struct usp_file *end[2];

	open_pipe(end, 64, 0);
	for (size_t done = 0, chunk = 1; done < len; done += chunk) {
		chunk = len - done < 3001 ? len - done : 3001;
		inject(end[1], folio_buf(done, chunk, 0));
	}
	drop(&end[1]);
	return end[0];
}

static struct usp_file *(*const opens[])(size_t len) = {open_memory, open_disk, open_cached, open_pieces};

/* Pump a stage, whose reference this takes, to sinks: all get len bytes, and the source ends there with error. */
static void pump_gives(struct usp_file *stage, unsigned nr_sinks, bool in_steps, size_t len, int error)
{
	struct usp_pump_error result = {.size = sizeof(result)};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct mock *sinks[3];
	struct usp_pump *pump;

	assert_int_equal(usp_pump_new(stage, NULL, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++) {
		sinks[i] = mock_open(&mock_copy_ops, USP_WRITE, 0);
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]->file), 0);
	}
	assert_int_equal(in_steps ? steps_run(pump) : usp_pump_run(pump), error);
	usp_pump_error(pump, &result);
	usp_pump_status(pump, &status);
	assert_int_equal(result.error, error);
	assert_int_equal(status.bytes, len);
	if (error) {
		assert_int_equal(result.side, USP_READ);
		assert_int_equal(result.off, len);
	}
	usp_pump_free(pump);
	drop(&stage);
	for (unsigned i = 0; i < nr_sinks; i++) {
		assert_int_equal(sinks[i]->len, len);
		assert_pattern(sinks[i]->bytes, 0, len);
		mock_close(sinks[i]);
	}
}

/* --- Verifying ----------------------------------------------------------------------------------------------- */

static void good_blocks_of_any_source_arrive(void **state)
{
	static const size_t lens[] = {0, 1, BLOCK - 1, BLOCK, BLOCK + 1, LEN};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(opens); i++) {
		for (unsigned j = 0; j < ARRAY_LEN(lens); j++) {
			list_make(BLOCK, lens[j], NONE);
			pump_gives(open_stage(list_spec, opens[i](lens[j])), 1, j % 2, lens[j], 0);
		}
	}
	list_drop();
}

static void a_bad_block_ends_the_copy_right_before_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(opens); i++) {
		for (size_t bad = 0; bad < NR_BLOCKS; bad++) {
			list_make(BLOCK, LEN, bad);
			pump_gives(open_stage(list_spec, opens[i](LEN)), 1, bad % 2, bad * BLOCK, -EBADMSG);
		}
	}
	list_drop();
}

static void no_sink_of_a_fan_out_gets_a_bad_block(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(opens); i++) {
		for (unsigned steps = 0; steps < 2; steps++) {
			list_make(BLOCK, LEN, 7);
			pump_gives(open_stage(list_spec, opens[i](LEN)), 3, steps, 7 * BLOCK, -EBADMSG);
			list_make(BLOCK, LEN, NONE);
			pump_gives(open_stage(list_spec, opens[i](LEN)), 3, steps, LEN, 0);
		}
	}
	list_drop();
}

static void a_source_of_another_length_has_no_good_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(opens); i++) {
		list_make(BLOCK, LEN, NONE);
		pump_gives(open_stage(list_spec, opens[i](LEN - 1)), 1, false, 10 * BLOCK, -EBADMSG);
		pump_gives(open_stage(list_spec, opens[i](3 * BLOCK)), 1, true, 3 * BLOCK, -EBADMSG);
		pump_gives(open_stage(list_spec, opens[i](0)), 1, false, 0, -EBADMSG);
		pump_gives(open_stage(list_spec, opens[i](LEN + 1)), 1, false, LEN, -EBADMSG);
		list_make(BLOCK, 2 * BLOCK, NONE);
		pump_gives(open_stage(list_spec, opens[i](2 * BLOCK + 1)), 1, true, 2 * BLOCK, -EBADMSG);
		list_make(BLOCK, 0, NONE);
		pump_gives(open_stage(list_spec, opens[i](1)), 1, true, 0, -EBADMSG);
	}
	list_drop();
}

/* As TCP gives them. What is left of a block when the source fails is not given. */
static void short_pieces_are_put_together(void **state)
{
	(void)state;
	for (unsigned fails = 0; fails < 2; fails++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);

		below->size = (int64_t)LEN;
		SCRIPT(below, 1, 2, 3, 4095, 1, 7, PAGE, 1, -EINTR, 5000, fails ? -EIO : 1);
		list_make(BLOCK, LEN, NONE);
		pump_gives(open_stage(list_spec, usp_file_get(below->file)), 2, false, fails ? 3 * BLOCK : LEN,
			   fails ? -EIO : 0);
		mock_close(below);
	}
	list_drop();
}

static void a_block_larger_than_the_entries_of_a_pipe_goes_in_parts(void **state)
{
	const size_t block_len = 65536;

	(void)state;
	for (size_t bad = 0; bad < 4; bad++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct usp_file *stage, *end[2];
		size_t done = 0;
		ssize_t ret;

		below->size = 200000;
		list_make(block_len, 200000, bad);
		stage = open_stage(list_spec, usp_file_get(below->file));
		open_pipe(end, 16, 0);
		while ((ret = usp_splice(stage, NULL, end[1], NULL, 50000, 0)) > 0) {
			assert_true(ret <= 50000);
			if (done < bad * block_len)
				take_bytes(end[0], done,
					   (size_t)ret < bad * block_len - done ? (size_t)ret : bad * block_len - done);
			done += (size_t)ret;
			if (done > bad * block_len) {
				assert_int_equal(usp_read(end[0], pattern, 1), -EBADMSG);
				assert_int_equal(usp_read(end[0], pattern, 1), -EBADMSG); /* and again */
				break;
			}
		}
		assert_true(done > bad * block_len);
		drop(&stage);
		close_pipe(end);
		mock_close(below);
	}
	list_drop();
}

static void reads_and_splices_of_one_stage_go_together(void **state)
{
	struct usp_file *stage, *end[2];
	unsigned char bytes[3000];
	size_t done = 0;

	(void)state;
	list_make(BLOCK, LEN, 9);
	stage = open_stage(list_spec, open_memory(LEN));
	open_pipe(end, 16, 0);
	for (unsigned turn = 0; done < 9 * BLOCK; turn++) {
		size_t len = 9 * BLOCK - done < sizeof(bytes) ? 9 * BLOCK - done : sizeof(bytes);
		ssize_t ret = turn % 2 ? usp_read(stage, bytes, len) : usp_splice(stage, NULL, end[1], NULL, len, 0);

		assert_true(ret > 0);
		if (turn % 2)
			assert_pattern(bytes, done, (size_t)ret);
		else
			take_bytes(end[0], done, (size_t)ret);
		done += (size_t)ret;
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(usp_read(stage, bytes, 1), -EBADMSG);
	drop(&stage);
	close_pipe(end);
	list_drop();
}

/* Splices and reads of any length, over pieces of any length, into pipes of any size: up to the bad block, and no further. */
static void what_comes_and_goes_in_any_pieces_is_right(void **state)
{
	static unsigned char bytes[70000];

	(void)state;
	srand(1);
	for (unsigned turn = 0; turn < 300; turn++) {
		size_t block_len = BLOCK << rand() % 5, len = (size_t)rand() % 200000, nr = len / block_len + 1,
		       done = 0;
		size_t bad = (size_t)rand() % nr, end = bad * block_len;
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct usp_file *stage, *pipe[2];
		ssize_t ret;

		below->size = (int64_t)len;
		for (unsigned i = 0; i < MOCK_SCRIPT_MAX; i++)
			below->script[below->nr_script++] = rand() % 3 ? rand() % 30000 + 1 : MOCK_ALL;
		list_make(block_len, len, bad);
		stage = open_stage(list_spec, usp_file_get(below->file));
		open_pipe(pipe, 1u << rand() % 5, 0);
		for (;;) {
			size_t want = (size_t)rand() % sizeof(bytes) + 1;
			bool is_read = rand() % 2;

			ret = is_read ? usp_read(stage, bytes, want) : usp_splice(stage, NULL, pipe[1], NULL, want, 0);
			while (!is_read && ret > 0 && usp_pipe_bytes(pipe[0])) {
				ssize_t taken = usp_read(pipe[0], bytes, sizeof(bytes));

				ret = taken < 0 ? taken : ret;
				assert_true(taken < 0 || pattern_is(bytes, done, (size_t)taken));
				done += taken > 0 ? (size_t)taken : 0;
				if (taken < 0)
					break;
			}
			if (is_read && ret > 0) {
				assert_pattern(bytes, done, (size_t)ret);
				done += (size_t)ret;
			}
			if (ret <= 0)
				break;
		}
		assert_int_equal(ret, end < len ? -EBADMSG : 0);
		assert_int_equal(done, end < len ? end : len);
		drop(&stage);
		close_pipe(pipe);
		mock_close(below);
	}
	list_drop();
}

static void bytes_below_go_by_reference(void **state)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_REQUIRE_ZERO_COPY};
	struct usp_file *stage;
	struct usp_pump *pump;

	(void)state;
	list_make(BLOCK, LEN, NONE);
	stage = open_stage(list_spec, open_memory(LEN));
	assert_int_equal(usp_pump_new(stage, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink->file), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_file_hop(stage, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], LEN);
	usp_pump_free(pump);
	drop(&stage);
	mock_close(sink);
	list_drop();
}

/* --- Bufs ---------------------------------------------------------------------------------------------------- */

static void a_second_owner_is_verified_too(void **state)
{
	struct usp_file *stage, *end[2], *other[2];
	unsigned char byte;

	(void)state;
	for (size_t bad = 0; bad < 2; bad++) {
		list_make(BLOCK, LEN, bad);
		stage = open_stage(list_spec, open_memory(LEN));
		open_pipe(end, 16, 0);
		open_pipe(other, 16, 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, 0), BLOCK);
		assert_int_equal(usp_tee(end[0], other[1], BLOCK, 0), BLOCK);
		drop(&stage); /* bufs outlive it */
		if (bad == 0) {
			assert_int_equal(usp_read(other[0], &byte, 1), -EBADMSG);
			assert_int_equal(usp_read(end[0], &byte, 1), -EBADMSG);
		} else {
			take_bytes(end[0], 0, BLOCK);
			take_bytes(other[0], 0, BLOCK);
		}
		close_pipe(end);
		close_pipe(other);
	}
	list_drop();
}

static void only_a_verified_block_without_other_owners_can_be_stolen(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct usp_file *stage, *end[2];
	struct usp_buf buf, copy;

	(void)state;
	below->gives[below->nr_gives++] = folio_buf(0, BLOCK, 0);
	list_make(BLOCK, BLOCK, NONE);
	stage = open_stage(list_spec, usp_file_get(below->file));
	open_pipe(end, 16, 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, 0), BLOCK);
	assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
	assert_false(usp_buf_try_steal(NULL, &buf));
	assert_int_equal(usp_buf_confirm(NULL, &buf, 0), 0);
	copy = buf;
	assert_true(usp_buf_get(NULL, &buf, &copy));
	assert_false(usp_buf_try_steal(NULL, &buf));
	usp_buf_release(NULL, &copy);
	assert_true(usp_buf_try_steal(NULL, &buf));
	drop(&stage);
	close_pipe(end);
	mock_close(below);
	list_drop();
}

static void a_block_over_memory_of_others_is_not_stolen(void **state)
{
	struct usp_file *stage, *end[2];
	struct usp_buf buf;

	(void)state;
	list_make(BLOCK, LEN, NONE);
	stage = open_stage(list_spec, open_memory(LEN));
	open_pipe(end, 16, 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, 0), BLOCK);
	assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
	assert_int_equal(usp_buf_confirm(NULL, &buf, 0), 0);
	assert_false(usp_buf_try_steal(NULL, &buf));
	drop(&stage);
	close_pipe(end);
	list_drop();
}

static ssize_t confirm_in_thread(void *arg)
{
	struct usp_buf buf = *(struct usp_buf *)arg;

	return usp_buf_confirm(NULL, &buf, 0);
}

/* The stage asks the buf below before it hashes, and only then. */
static void a_block_is_verified_once_however_many_confirm_it(void **state)
{
	(void)state;
	for (size_t bad = 0; bad < 2; bad++) {
		struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
		struct usp_file *stage, *end[2];
		struct worker workers[4];
		struct mock_store store;
		struct usp_buf bufs[1];

		mock_store_init(&store);
		below->gives[below->nr_gives++] = mock_buf(&store, &mock_buf_ops, 0, BLOCK, 0);
		list_make(BLOCK, BLOCK, bad);
		stage = open_stage(list_spec, usp_file_get(below->file));
		open_pipe(end, 16, 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, 0), BLOCK);
		assert_int_equal(peek_bufs(end[0], bufs, 1), 1);
		for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
			worker_start(&workers[i], confirm_in_thread, bufs);
		for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
			assert_int_equal(worker_join(&workers[i]), bad == 0 ? -EBADMSG : 0);
		assert_int_equal(store.nr_confirm, 1);
		drop(&stage);
		close_pipe(end);
		mock_close(below);
		mock_store_fini(&store);
	}
	list_drop();
}

static void bytes_in_the_kernel_are_read_first(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *stage, *end[2];
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 16, 0);
	below->gives[below->nr_gives++] = mock_buf(&store, &mock_unmapped_buf_ops, 0, BLOCK, 0);
	list_make(BLOCK, BLOCK, NONE);
	stage = open_stage(list_spec, usp_file_get(below->file));
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, 0), BLOCK);
	assert_int_equal(store.nr_map, 1);
	usp_file_hop(stage, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], BLOCK);
	take_bytes(end[0], 0, BLOCK);
	drop(&stage);
	close_pipe(end);
	mock_close(below);
	mock_store_fini(&store);
	list_drop();
}

/* --- Bytes that come later ----------------------------------------------------------------------------------- */

static struct late *late_give(struct mock *below)
{
	struct late *late = late_new(0);

	below->gives[below->nr_gives++] = late_buf(late);
	return late;
}

static void late_blocks_are_lent_at_once_and_verified_when_they_are_there(void **state)
{
	static const int errors[][2] = {{0, 0}, {-EIO, -EIO}, {-ENODATA, -EBADMSG}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(errors); i++) {
		struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
		struct late *late = late_give(below);
		struct usp_file *stage, *end[2];
		struct usp_buf buf;
		short events;

		list_make(BLOCK, BLOCK, NONE);
		stage = open_stage(list_spec, usp_file_get(below->file));
		open_pipe(end, 16, 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, USP_SPLICE_NONBLOCK), BLOCK);
		assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
		assert_int_equal(usp_buf_confirm(NULL, &buf, USP_SPLICE_NONBLOCK), -EAGAIN);
		assert_int_equal(usp_buf_poll_fd(NULL, &buf, &events), late->event_fd);
		late->error = errors[i][0];
		late_arrive(late);
		assert_int_equal(usp_buf_confirm(NULL, &buf, USP_SPLICE_NONBLOCK), errors[i][1]);
		late_put(late);
		drop(&stage);
		close_pipe(end);
		mock_close(below);
	}
	list_drop();
}

static void sums_of_late_blocks_tell_what_to_wait_on(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct late *late = late_give(below);
	struct usp_file *stage, *end[2];
	short events;

	(void)state;
	stage = open_stage("sums:crc32c:4096", usp_file_get(below->file));
	open_pipe(end, 16, 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_file_poll_fd(stage, USP_READ, &events), late->event_fd);
	late_arrive(late);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, BLOCK, USP_SPLICE_NONBLOCK), BLOCK);
	take_bytes(end[0], 0, BLOCK);
	late_put(late);
	drop(&stage);
	close_pipe(end);
	mock_close(below);
}

/* --- Lists --------------------------------------------------------------------------------------------------- */

static void sums_writes_the_list_that_blocks_reads(void **state)
{
	static const size_t lens[] = {0, 1, BLOCK, LEN};
	static char expected[10000], got[10000];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(opens); i++) {
		for (unsigned j = 0; j < ARRAY_LEN(lens); j++) {
			struct usp_file *stage = open_stage("sums:crc32c:4096", opens[i](lens[j]));
			int fd = memfd_create("sums", MFD_CLOEXEC);
			ssize_t len;

			assert_int_equal(usp_sums_write(stage, fd), -EAGAIN);
			pump_gives(usp_file_get(stage), 1 + i % 2, j % 2, lens[j], 0);
			assert_int_equal(usp_sums_write(stage, fd), 0);
			len = pread(fd, got, sizeof(got) - 1, 0);
			got[len] = '\0';
			list_print(expected, BLOCK, lens[j], NONE);
			assert_string_equal(got, expected);
			list_set(got);
			pump_gives(open_stage(list_spec, opens[i](lens[j])), 1, false, lens[j], 0);
			close(fd);
			drop(&stage);
		}
	}
	list_drop();
}

static void a_list_of_many_blocks_is_written_and_read(void **state)
{
	const size_t len = 20000 * BLOCK + 5;
	int fd = memfd_create("sums", MFD_CLOEXEC);
	char spec[64] = "sums:crc32c:4096";

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
		struct usp_file *stage = open_stage(spec, usp_file_get(below->file));

		below->size = (int64_t)len;
		assert_int_equal(usp_copy_files(stage, sink->file, NULL, NULL), 0);
		assert_int_equal(below->taken, len);
		assert_int_equal(usp_sums_write(stage, fd), i ? -EINVAL : 0);
		drop(&stage);
		sprintf(spec, "blocks:/proc/self/fd/%d", fd);
		mock_close(below);
		mock_close(sink);
	}
	close(fd);
}

static void a_malformed_list_is_refused_with_a_sentence(void **state)
{
	static const char *const lists[] = {
		"",
		"\n",
		"usplice blocks crc32c 4096 1\n00000000\n",
		"# usplice blocks crc32c 4096 1",
		"# usplice blocks crc32c 4096\n",
		"# usplice blocks crc32c 4096 \n",
		"# usplice blocks crc32c 4096 1 \n00000000\n",
		"# usplice blocks crc32c  4096 1\n00000000\n",
		"# usplice blocks crc32 4096 1\n00000000\n",
		"# usplice blocks crc32c 4096 -1\n00000000\n",
		"# usplice blocks crc32c 4096 01\n00000000\n",
		"# usplice blocks crc32c 4096 1k\n00000000\n",
		"# usplice blocks crc32c 4096 99999999999999999999\n00000000\n",
		"# usplice blocks crc32c 4095 1\n00000000\n",
		"# usplice blocks crc32c 2048 1\n00000000\n",
		"# usplice blocks crc32c 12288 1\n00000000\n",
		"# usplice blocks crc32c 2097152 1\n00000000\n",
		"# usplice blocks crc32c 0 1\n00000000\n",
		"# usplice blocks crc32c 4096 1\n0000000A\n",
		"# usplice blocks crc32c 4096 1\n0000000\n",
		"# usplice blocks crc32c 4096 1\n000000000\n",
		"# usplice blocks crc32c 4096 1\n0000000g\n",
		"# usplice blocks crc32c 4096 1\n00000000",
		"# usplice blocks crc32c 4096 1\n00000000\r\n",
		"# usplice blocks crc32c 4096 1\n00000000\n\n",
		"# usplice blocks crc32c 4096 1\n",
		"# usplice blocks crc32c 4096 4097\n00000000\n",
		"# usplice blocks crc32c 4096 4096\n00000000\n00000000\n",
		"# usplice blocks crc32c 4096 0\n00000000\n",
	};
	struct usp_file *below = open_memory(1), *stage;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
		const char *why = NULL;

		list_set(lists[i]);
		assert_int_equal(usp_transform_open(list_spec, below, NULL, &stage, &why), -EINVAL);
		assert_non_null(why);
	}
	drop(&below);
	list_drop();
}

static void specs_are_refused_with_a_sentence(void **state)
{
	static const struct {
		const char *spec;
		int error;
	} specs[] = {
		{"blocks", -EINVAL},
		{"blocks:", -EINVAL},
		{"blocks:/nowhere/at/all", -ENOENT},
		{"blocks:/", -EISDIR},
		{"sums", -EINVAL},
		{"sums:", -EINVAL},
		{"sums:md5", -EINVAL},
		{"sums:crc32c:", -EINVAL},
		{"sums:crc32c:0", -EINVAL},
		{"sums:crc32c:2048", -EINVAL},
		{"sums:crc32c:64k", -EINVAL},
		{"sums:crc32c:6144", -EINVAL},
		{"sums:crc32c:2097152", -EINVAL},
	};
	const struct usp_transform_params shorter = {
		.size = sizeof(shorter), .flags = USP_TRANSFORM_LENGTH, .length = LEN - 1};
	struct usp_file *below = open_memory(1), *stage;
	const char *why;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		why = NULL;
		assert_int_equal(usp_transform_open(specs[i].spec, below, NULL, &stage, &why), specs[i].error);
		assert_non_null(why);
	}
	list_make(BLOCK, LEN, NONE);
	assert_int_equal(usp_transform_open(list_spec, below, &shorter, &stage, &why), -EINVAL);
	assert_non_null(why);
	assert_int_equal(usp_transform_check(list_spec, NULL), 0);
	assert_int_equal(usp_sums_write(below, 1), -EINVAL);
	drop(&below);
	list_drop();
}

static void a_length_ends_the_input(void **state)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = USP_TRANSFORM_LENGTH, .length = 2 * BLOCK};
	static char expected[1000], got[1000];
	static unsigned char bytes[BLOCK];
	struct usp_file *stage;
	int fd = memfd_create("sums", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(usp_transform_open("sums:crc32c:4096", open_memory(LEN), &params, &stage, NULL), 0);
	assert_int_equal(usp_read(stage, bytes, BLOCK), BLOCK);
	assert_int_equal(usp_read(stage, bytes, BLOCK - 1), BLOCK - 1);
	assert_int_equal(usp_sums_write(stage, fd), -EAGAIN);
	assert_int_equal(usp_read(stage, bytes, 1), 1);
	assert_int_equal(usp_sums_write(stage, fd), 0);
	assert_int_equal(usp_read(stage, bytes, 1), 0);
	assert_true(pread(fd, got, sizeof(got), 0) > 0);
	list_print(expected, BLOCK, 2 * BLOCK, NONE);
	assert_string_equal(got, expected);
	drop(&stage);
	close(fd);
	list_set(got);
	assert_int_equal(usp_transform_open(list_spec, open_memory(LEN), &params, &stage, NULL), 0);
	pump_gives(stage, 1, false, 2 * BLOCK, 0);
	list_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(good_blocks_of_any_source_arrive),
		CASE(a_bad_block_ends_the_copy_right_before_it),
		CASE(no_sink_of_a_fan_out_gets_a_bad_block),
		CASE(a_source_of_another_length_has_no_good_end),
		CASE(short_pieces_are_put_together),
		CASE(a_block_larger_than_the_entries_of_a_pipe_goes_in_parts),
		CASE(reads_and_splices_of_one_stage_go_together),
		CASE(what_comes_and_goes_in_any_pieces_is_right),
		CASE(bytes_below_go_by_reference),
		CASE(a_second_owner_is_verified_too),
		CASE(only_a_verified_block_without_other_owners_can_be_stolen),
		CASE(a_block_over_memory_of_others_is_not_stolen),
		CASE(a_block_is_verified_once_however_many_confirm_it),
		CASE(bytes_in_the_kernel_are_read_first),
		CASE(late_blocks_are_lent_at_once_and_verified_when_they_are_there),
		CASE(sums_of_late_blocks_tell_what_to_wait_on),
		CASE(sums_writes_the_list_that_blocks_reads),
		CASE(a_list_of_many_blocks_is_written_and_read),
		CASE(a_malformed_list_is_refused_with_a_sentence),
		CASE(specs_are_refused_with_a_sentence),
		CASE(a_length_ends_the_input),
	};

	return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
