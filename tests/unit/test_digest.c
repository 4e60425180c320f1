/* SPDX-License-Identifier: MIT */
/* test_digest - the stage that hashes what a source gives: the digests, what goes through, and the ends. */
#include "late.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <usplice/transform.h>

#include "hash/hash.h"
#include "steps.h"

#define LEN ((size_t)3000007) /* more than the queue of the thread and a pipe hold at once, in odd pieces */

static const unsigned thread_flags[] = {0, USP_TRANSFORM_INLINE, USP_TRANSFORM_THREAD};

/* --- Helpers ----------------------------------------------------------------------------------------------- */

static bool has(const char *algorithm)
{
	const struct usp_hash_ops *ops = usp_hash_named(algorithm, strlen(algorithm));

	return !ops->missing || !ops->missing();
}

/* The spec of all algorithms that this build has, and their number. */
static char all_spec[100];
static unsigned nr_all;

static int find_all(void **state)
{
	static const char *const names[] = {"crc32c", "sha256", "sha512", "blake2b", "xxh64", "xxh3", "xxh128"};

	(void)state;
	strcpy(all_spec, "digest:");
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (has(names[i]))
			strcat(strcat(all_spec, nr_all++ ? "," : ""), names[i]);
	}
	return 0;
}

/* Put a stage over file, whose reference it takes. */
static struct usp_file *open_stage(const char *spec, struct usp_file *below, unsigned flags)
{
	const struct usp_transform_params params = {.size = sizeof(params), .flags = flags};
	struct usp_file *stage;

	assert_int_equal(usp_transform_open(spec, below, &params, &stage, NULL), 0);
	return stage;
}

static struct usp_file *open_memory(const void *base, size_t len)
{
	struct usp_file *file;

	assert_int_equal(usp_open_memory((void *)base, len, USP_READ, NULL, NULL, &file), 0);
	return file;
}

static struct usp_pump *new_pump(struct usp_file *source, struct usp_file *const *sinks, unsigned nr_sinks)
{
	struct usp_pump *pump;

	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++)
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
	return pump;
}

/* Hash the first len bytes of the pattern in one piece. */
static void hash_pattern(const char *algorithm, size_t len, char ret_hex[USP_HASH_HEX_MAX])
{
	const struct usp_hash_ops *ops = usp_hash_named(algorithm, strlen(algorithm));
	unsigned char digest[USP_HASH_LEN_MAX], *bytes = malloc(len + 1);
	void *hash = ops->open();

	pattern_fill(bytes, 0, len);
	ops->update(hash, bytes, len);
	ops->finish(hash, digest);
	ops->free(hash);
	free(bytes);
	usp_hash_format(digest, ops->len, ret_hex);
}

/* All digests of the stage are those of the first len bytes of the pattern. */
static void assert_digests(struct usp_file *stage, size_t len, unsigned nr)
{
	struct usp_digest_result result = {.size = sizeof(result)};
	char hex[USP_HASH_HEX_MAX];

	for (unsigned i = 0; i < nr; i++) {
		assert_int_equal(usp_digest_result(stage, i, &result), 0);
		hash_pattern(result.algorithm, len, hex);
		assert_string_equal(result.hex, hex);
		assert_null(result.expected);
		assert_true(result.is_expected);
	}
	assert_int_equal(usp_digest_result(stage, nr, &result), -EINVAL);
}

/* --- Digests ------------------------------------------------------------------------------------------------ */

static void every_algorithm_gives_what_its_authors_say(void **state)
{
	static const struct {
		const char *algorithm, *text, *hex;
	} vectors[] = {
		{"sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"sha512", "abc",
		 "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		 "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		{"blake2b", "abc",
		 "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
		 "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"},
		{"crc32c", "", "00000000"},
		{"crc32c", "123456789", "e3069283"},
		{"xxh64", "", "ef46db3751d8e999"},
		{"xxh64", "abc", "44bc2cf5ad770999"},
		{"xxh3", "", "2d06800538d394c2"},
		{"xxh3", "abc", "78af5f94892f3950"},
		{"xxh128", "", "99aa06d3014798d86001c324468d497f"},
		{"xxh128", "abc", "06b05ab6733a618578af5f94892f3950"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(vectors); i++) {
		const char *text = vectors[i].text;
		const struct usp_transform_params params = {
			.size = sizeof(params), .flags = USP_TRANSFORM_LENGTH, .length = (int64_t)strlen(text)};
		struct usp_digest_result result = {.size = sizeof(result)};
		struct usp_file *stage;
		char spec[200], got[16];

		if (!has(vectors[i].algorithm))
			continue;
		snprintf(spec, sizeof(spec), "digest:%s:%s", vectors[i].algorithm, vectors[i].hex);
		assert_int_equal(usp_transform_open(spec, open_memory(text, strlen(text) + 1), &params, &stage, NULL),
				 0);
		while (usp_read(stage, got, sizeof(got)) > 0)
			;
		assert_int_equal(usp_digest_result(stage, 0, &result), 0);
		assert_string_equal(result.hex, vectors[i].hex);
		assert_string_equal(result.expected, vectors[i].hex);
		drop(&stage);
	}
}

static void what_comes_in_any_pieces_has_the_same_digests(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
		struct usp_file *stage = open_stage(all_spec, usp_file_get(below->file), thread_flags[i]);
		struct usp_pump *pump = new_pump(stage, &sink->file, 1);

		below->size = (int64_t)LEN;
		SCRIPT(below, 1, 2, 3, 4095, 100001, 7, PAGE, 1, 300000);
		assert_int_equal(usp_digest_result(stage, 0, &(struct usp_digest_result){.size = 8}), -EAGAIN);
		assert_int_equal(usp_pump_run(pump), 0);
		assert_int_equal(sink->len, LEN);
		assert_pattern(sink->bytes, 0, LEN);
		assert_digests(stage, LEN, nr_all);
		usp_pump_free(pump);
		drop(&stage);
		mock_close(below);
		mock_close(sink);
	}
}

static void reads_and_splices_of_one_stage_go_together(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), thread_flags[i]);
		struct usp_file *end[2];
		unsigned char *bytes = malloc(LEN);
		size_t done = 0;
		ssize_t ret;

		below->size = (int64_t)LEN;
		open_pipe(end, 16, 0);
		for (unsigned turn = 0; done < LEN; turn++) {
			if (turn % 2) {
				ret = usp_read(stage, bytes, turn * 977 % 200000 + 1);
				assert_pattern(bytes, done, (size_t)ret);
			} else {
				ret = usp_splice(stage, NULL, end[1], NULL, 60000, 0);
				assert_true(ret > 0);
				take_bytes(end[0], done, (size_t)ret);
			}
			assert_true(ret > 0);
			done += (size_t)ret;
		}
		assert_int_equal(usp_read(stage, bytes, 1), 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, 1, 0), 0);
		assert_digests(stage, LEN, 1);
		free(bytes);
		close_pipe(end);
		drop(&stage);
		mock_close(below);
	}
}

static void all_sinks_get_the_bytes_that_were_hashed_once(void **state)
{
	(void)state;
	for (unsigned turn = 0; turn < 2; turn++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0), *sinks[3];
		struct usp_file *stage = open_stage(all_spec, usp_file_get(below->file), USP_TRANSFORM_THREAD),
				*files[3];
		struct usp_pump *pump;

		below->size = (int64_t)LEN;
		for (unsigned i = 0; i < ARRAY_LEN(sinks); i++) {
			sinks[i] = mock_open(&mock_copy_ops, USP_WRITE, 0);
			files[i] = sinks[i]->file;
		}
		pump = new_pump(stage, files, ARRAY_LEN(files));
		assert_int_equal(turn ? steps_run(pump) : usp_pump_run(pump), 0);
		assert_digests(stage, LEN, nr_all);
		usp_pump_free(pump);
		drop(&stage);
		mock_close(below);
		for (unsigned i = 0; i < ARRAY_LEN(sinks); i++) {
			assert_int_equal(sinks[i]->len, LEN);
			assert_pattern(sinks[i]->bytes, 0, LEN);
			mock_close(sinks[i]);
		}
	}
}

static void references_go_through_as_references(void **state)
{
	static unsigned char bytes[100000];
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_REQUIRE_ZERO_COPY};
	struct usp_route_total total = {.size = sizeof(total)};
	struct usp_file *stage;
	struct usp_pump *pump;

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	stage = open_stage("digest:crc32c", open_memory(bytes, sizeof(bytes)), 0);
	assert_int_equal(usp_pump_new(stage, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink->file), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_total(pump, &total);
	assert_int_equal(total.by_reference, sizeof(bytes));
	assert_digests(stage, sizeof(bytes), 1);
	usp_pump_free(pump);
	drop(&stage);
	mock_close(sink);
}

static void a_pipe_below_gives_its_bufs(void **state)
{
	struct usp_file *end[2], *out[2], *stage;
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *below;

	(void)state;
	open_pipe(end, 16, 0);
	open_pipe(out, 4, 0);
	put_bytes(end[1], 0, 40000);
	drop(&end[1]);
	below = usp_file_get(end[0]);
	stage = open_stage("digest:crc32c", end[0], 0);
	for (size_t done = 0; done < 40000;) {
		ssize_t ret = usp_splice(stage, NULL, out[1], NULL, 40000, 0);

		assert_true(ret > 0 && ret <= (ssize_t)(4 * PAGE));
		take_bytes(out[0], done, (size_t)ret);
		done += (size_t)ret;
	}
	assert_int_equal(usp_splice(stage, NULL, out[1], NULL, 1, 0), 0);
	assert_digests(stage, 40000, 1);
	usp_file_hop(below, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 40000);
	drop(&stage);
	drop(&below);
	close_pipe(out);
}

static void bytes_in_the_kernel_are_read_so_that_all_get_what_was_hashed(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct usp_file *stage, *end[2];
	struct mock_store store;
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 16, 0);
	below->gives[below->nr_gives++] = mock_buf(&store, &mock_unmapped_buf_ops, 0, PAGE, 0);
	stage = open_stage("digest:crc32c", usp_file_get(below->file), 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(store.nr_map, 1);
	usp_file_hop(stage, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], PAGE);
	take_bytes(end[0], 0, PAGE);
	drop(&stage);
	close_pipe(end);
	mock_close(below);
	mock_store_fini(&store);
}

/* --- The ends ------------------------------------------------------------------------------------------------ */

static void a_wrong_digest_is_an_error_in_place_of_the_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
		struct usp_file *stage =
			open_stage("digest:crc32c:0000000A", usp_file_get(below->file), thread_flags[i]);
		struct usp_pump *pump = new_pump(stage, &sink->file, 1);
		struct usp_pump_error error = {.size = sizeof(error)};
		struct usp_digest_result result = {.size = sizeof(result)};

		below->size = (int64_t)LEN;
		assert_int_equal(usp_pump_run(pump), -EBADMSG);
		usp_pump_error(pump, &error);
		assert_int_equal(error.error, -EBADMSG);
		assert_int_equal(error.side, USP_READ);
		assert_string_equal(error.spec, "digest:crc32c");
		assert_int_equal(error.off, LEN);
		assert_int_equal(usp_digest_result(stage, 0, &result), 0);
		assert_string_equal(result.expected, "0000000a");
		assert_false(result.is_expected);
		assert_int_equal(usp_read(stage, &(char){0}, 1), -EBADMSG); /* again */
		usp_pump_free(pump);
		drop(&stage);
		mock_close(below);
		mock_close(sink);
	}
}

static void a_peer_sees_no_end_behind_a_wrong_digest(void **state)
{
	struct usp_file *stage = open_stage("digest:crc32c:00000000", open_memory("hello", 5), 0), *sink;
	struct usp_pump *pump;
	int pair[2];
	char got[8];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(usp_open_fd(pair[0], USP_WRITE | USP_EXCLUSIVE, "peer", &sink), 0);
	pump = new_pump(stage, &sink, 1);
	assert_int_equal(usp_pump_run(pump), -EBADMSG);
	assert_int_equal(recv(pair[1], got, sizeof(got), MSG_DONTWAIT), 5);
	assert_int_equal(recv(pair[1], got, sizeof(got), MSG_DONTWAIT), -1);
	usp_pump_free(pump);
	drop(&stage);
	drop(&sink);
	close(pair[1]);
}

static void a_length_ends_the_input_and_leaves_the_rest(void **state)
{
	static const struct {
		int64_t length;
		size_t digested;
	} cases[] = {{0, 0}, {1, 1}, {100000, 100000}, {200000, 200000}, {200001, 200000}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const struct usp_transform_params params = {
			.size = sizeof(params), .flags = USP_TRANSFORM_LENGTH, .length = cases[i].length};
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);
		struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
		struct usp_file *stage;
		struct usp_pump *pump;

		below->size = 200000;
		assert_int_equal(usp_transform_open("digest:crc32c", usp_file_get(below->file), &params, &stage, NULL),
				 0);
		pump = new_pump(stage, &sink->file, 1);
		assert_int_equal(usp_pump_run(pump), 0);
		assert_int_equal(sink->len, cases[i].digested);
		assert_int_equal(below->file->pos, cases[i].digested);
		assert_digests(stage, cases[i].digested, 1);
		usp_pump_free(pump);
		drop(&stage);
		mock_close(below);
		mock_close(sink);
	}
}

static void an_error_below_is_an_error_and_no_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
		struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
		struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
		struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), thread_flags[i]);
		struct usp_pump *pump = new_pump(stage, &sink->file, 1);
		struct usp_pump_error error = {.size = sizeof(error)};

		below->size = (int64_t)LEN;
		SCRIPT(below, 300000, 400000, -EIO);
		assert_int_equal(usp_pump_run(pump), -EIO);
		usp_pump_error(pump, &error);
		assert_int_equal(error.off, 700000);
		assert_int_equal(sink->len, 700000);
		assert_int_equal(usp_digest_result(stage, 0, &(struct usp_digest_result){.size = 8}), -EAGAIN);
		usp_pump_free(pump);
		drop(&stage);
		mock_close(below);
		mock_close(sink);
	}
}

/* --- Waiting ------------------------------------------------------------------------------------------------- */

/* The source's loop: it gives one late page, and then the end. */
static void bytes_that_come_later_are_hashed_when_they_are_there(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
		struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
		struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), thread_flags[i]),
				*end[2];
		struct late *late = late_new(0);
		short events;
		struct pollfd fd;

		open_pipe(end, 16, 0);
		below->gives[below->nr_gives++] = late_buf(late);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, USP_SPLICE_NONBLOCK), PAGE);
		below->nr_gives = 0;
		SCRIPT(below, 0, 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, USP_SPLICE_NONBLOCK), -EAGAIN);
		fd.fd = usp_file_poll_fd(stage, USP_READ, &events);
		fd.events = events;
		assert_true(fd.fd >= 0);
		assert_int_equal(poll(&fd, 1, 0), 0);
		late_arrive(late);
		assert_int_equal(poll(&fd, 1, -1), 1);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, USP_SPLICE_NONBLOCK), 0);
		assert_digests(stage, PAGE, 1);
		take_bytes(end[0], 0, PAGE);
		late_put(late);
		drop(&stage);
		close_pipe(end);
		mock_close(below);
	}
}

/* Take pages until the stage gives -EAGAIN: how many. The thread cannot go on, because it waits for the first page. */
static unsigned take_pages(struct mock *below, struct usp_file *stage, struct usp_file *to, unsigned most)
{
	unsigned nr = 0;

	for (;; nr++) {
		below->gives[0] = folio_buf((1 + nr) * PAGE, PAGE, 0);
		below->nr_gives = 1;
		if (nr == most || usp_splice(stage, NULL, to, NULL, PAGE, USP_SPLICE_NONBLOCK) != PAGE)
			break;
	}
	usp_buf_release(NULL, &below->gives[0]);
	below->nr_gives = 0;
	return nr;
}

static void a_stage_that_hashes_too_slowly_holds_the_flow_back(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), USP_TRANSFORM_THREAD), *end[2];
	struct late *late = late_new(0);
	unsigned nr;
	ssize_t ret;

	(void)state;
	open_pipe(end, 512, 0);
	below->gives[below->nr_gives++] = late_buf(late);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, USP_SPLICE_NONBLOCK), PAGE);
	nr = take_pages(below, stage, end[1], 500);
	assert_in_range(nr, 10, 200);
	SCRIPT(below, 0, 0);
	late_arrive(late);
	while ((ret = usp_splice(stage, NULL, end[1], NULL, PAGE, USP_SPLICE_NONBLOCK)) == -EAGAIN) {
		short events;
		struct pollfd fd = {.fd = usp_file_poll_fd(stage, USP_READ, &events)};

		fd.events = events;
		assert_int_equal(poll(&fd, 1, -1), 1);
	}
	assert_int_equal(ret, 0);
	assert_digests(stage, (1 + nr) * PAGE, 1);
	take_bytes(end[0], 0, (1 + nr) * PAGE);
	late_put(late);
	drop(&stage);
	close_pipe(end);
	mock_close(below);
}

static void a_stage_that_is_closed_does_not_wait_for_bytes_that_never_come(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), USP_TRANSFORM_THREAD), *end[2];
	struct late *late = late_new(0);

	(void)state;
	open_pipe(end, 16, 0);
	below->gives[below->nr_gives++] = late_buf(late);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), PAGE);
	drop(&stage);
	close_pipe(end);
	late_put(late);
	mock_close(below);
}

static void bytes_that_are_gone_are_an_error_of_the_stage(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(thread_flags); i++) {
		struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
		struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), thread_flags[i]),
				*end[2];
		struct mock_store store;

		mock_store_init(&store);
		store.confirm_error = -ENODATA;
		open_pipe(end, 16, 0);
		below->gives[below->nr_gives++] = mock_buf(&store, &mock_buf_ops, 0, PAGE, 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), PAGE);
		below->nr_gives = 0;
		SCRIPT(below, 0, 0);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), -ENODATA);
		assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), -ENODATA);
		drop(&stage);
		close_pipe(end);
		mock_close(below);
		mock_store_fini(&store);
	}
}

static void bytes_that_cannot_be_shared_go_on_and_fail_the_next_call(void **state)
{
	struct mock *below = mock_open(&mock_push_ops, USP_READ, 0);
	struct usp_file *stage = open_stage("digest:crc32c", usp_file_get(below->file), 0), *end[2];
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	store.refuses_get = true;
	open_pipe(end, 16, 0);
	below->gives[below->nr_gives++] = mock_buf(&store, &mock_buf_ops, 0, PAGE, 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), PAGE);
	take_bytes(end[0], 0, PAGE);
	below->nr_gives = 0;
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), -EFAULT);
	drop(&stage);
	close_pipe(end);
	mock_close(below);
	mock_store_fini(&store);
}

static void a_stage_waits_for_what_the_file_below_waits_for(void **state)
{
	struct usp_file *end[2], *stage;
	short events, below_events;
	int fd;

	(void)state;
	open_pipe(end, 16, 0);
	fd = usp_file_poll_fd(end[0], USP_READ, &below_events);
	stage = open_stage("digest:crc32c", end[0], 0);
	assert_int_equal(usp_file_set_flags(stage, USP_NONBLOCK), 0);
	assert_int_equal(usp_file_set_flags(stage->below, USP_NONBLOCK), 0);
	assert_int_equal(usp_read(stage, &(char){0}, 1), -EAGAIN);
	assert_int_equal(usp_file_poll_fd(stage, USP_READ, &events), fd);
	assert_int_equal(usp_file_poll(stage), 0);
	put_bytes(end[1], 0, 1);
	assert_int_equal(usp_file_poll(stage), POLLIN);
	assert_int_equal(usp_read(stage, &(char){0}, 1), 1);
	drop(&end[1]);
	assert_int_equal(usp_read(stage, &(char){0}, 1), 0);
	assert_digests(stage, 1, 1);
	drop(&stage);
}

static void a_child_leaves_the_thread_of_its_parent_alone(void **state)
{
	struct mock *below;
	struct usp_file *stage, *end[2];
	int status;
	pid_t child;

	(void)state;
	if (!CAN_FORK_BESIDE_THREADS)
		skip();
	below = mock_open(&mock_copy_ops, USP_READ, 0);
	stage = open_stage("digest:crc32c", usp_file_get(below->file), USP_TRANSFORM_THREAD);
	below->size = 2 * PAGE;
	open_pipe(end, 16, 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), PAGE);
	child = fork();
	if (child == 0) {
		bool is_stale = usp_splice(stage, NULL, end[1], NULL, PAGE, 0) == -ESTALE &&
				usp_read(stage, &(char){0}, 1) == -ESTALE;

		usp_file_put(stage);
		end_child(is_stale ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(usp_splice(stage, NULL, end[1], NULL, PAGE, 0), 0);
	assert_digests(stage, 2 * PAGE, 1);
	close_pipe(end);
	drop(&stage);
	mock_close(below);
}

/* --- Arguments ------------------------------------------------------------------------------------------------ */

static void a_spec_is_refused_with_a_reason(void **state)
{
	static const char *const refused[] = {
		"",
		"none",
		"digest",
		"digest:",
		"digest:md5",
		"digest:crc32c,",
		"digest:crc32c,crc32c",
		"digest:crc32c:",
		"digest:crc32c:0000000",
		"digest:crc32c:000000000",
		"digest:crc32c:0000000g",
		"digest:crc32c:00000000,crc32c:00000000",
	};
	struct usp_file *below = open_memory("hello", 5), *stage = NULL;
	const char *why;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(refused); i++) {
		why = NULL;
		assert_int_equal(usp_transform_check(refused[i], &why), -EINVAL);
		assert_non_null(why);
		assert_int_equal(usp_transform_open(refused[i], below, NULL, &stage, NULL), -EINVAL);
		assert_null(stage);
	}
	assert_int_equal(usp_transform_check("digest:crc32c", &why), 0);
	assert_null(why);
	drop(&below);
}

static void parameters_that_make_no_sense_are_refused(void **state)
{
	static const struct usp_transform_params refused[] = {
		{.size = 0},
		{.size = sizeof(refused[0]), .flags = 0x80},
		{.size = sizeof(refused[0]), .flags = USP_TRANSFORM_INLINE | USP_TRANSFORM_THREAD},
		{.size = sizeof(refused[0]), .flags = USP_TRANSFORM_LENGTH, .length = -1},
		{.size = sizeof(refused[0]), .length = 1},
	};
	struct usp_file *below = open_memory("hello", 5), *end[2], *stage;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(refused); i++)
		assert_int_equal(usp_transform_open("digest:crc32c", below, &refused[i], &stage, NULL), -EINVAL);
	open_pipe(end, 16, 0);
	assert_int_equal(usp_transform_open("digest:crc32c", end[1], NULL, &stage, NULL), -EINVAL);
	assert_int_equal(usp_digest_result(below, 0, &(struct usp_digest_result){.size = 8}), -EINVAL);
	close_pipe(end);
	drop(&below);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_algorithm_gives_what_its_authors_say),
		CASE(what_comes_in_any_pieces_has_the_same_digests),
		CASE(reads_and_splices_of_one_stage_go_together),
		CASE(all_sinks_get_the_bytes_that_were_hashed_once),
		CASE(references_go_through_as_references),
		CASE(a_pipe_below_gives_its_bufs),
		CASE(bytes_in_the_kernel_are_read_so_that_all_get_what_was_hashed),
		CASE(a_wrong_digest_is_an_error_in_place_of_the_end),
		CASE(a_peer_sees_no_end_behind_a_wrong_digest),
		CASE(a_length_ends_the_input_and_leaves_the_rest),
		CASE(an_error_below_is_an_error_and_no_end),
		CASE(bytes_that_come_later_are_hashed_when_they_are_there),
		CASE(a_stage_that_hashes_too_slowly_holds_the_flow_back),
		CASE(a_stage_that_is_closed_does_not_wait_for_bytes_that_never_come),
		CASE(bytes_that_are_gone_are_an_error_of_the_stage),
		CASE(bytes_that_cannot_be_shared_go_on_and_fail_the_next_call),
		CASE(a_stage_waits_for_what_the_file_below_waits_for),
		CASE(a_child_leaves_the_thread_of_its_parent_alone),
		CASE(a_spec_is_refused_with_a_reason),
		CASE(parameters_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests_name("digest", tests, find_all, NULL);
}
