/* SPDX-License-Identifier: MIT */
/* test_late_stages - stages that rewrite, over bytes that come later, come short, or turn out not to come. */
#include "late.h"

#include <usplice/transform.h>

#include "age_vectors.h"

#define LEN ((size_t)300007) /* more than a chunk of age, a folio and the first pull */
#define PACKED_MAX ((size_t)1000000)

static const unsigned thread_flags[] = {0, USP_TRANSFORM_INLINE, USP_TRANSFORM_THREAD};

/* What a stage makes, and the one that undoes it. */
static const struct {
	const char *spec, *back, *secret;
} stages[] = {
	{"zstd:1", "decompress", NULL},
	{"gzip:1", "decompress", NULL},
	{"lz4:1", "decompress", NULL},
	{"xz:0", "decompress", NULL},
	{"encrypt:" AGE_RECIPIENT_1, "decrypt:identity", AGE_IDENTITY_1},
};

static unsigned char plain[LEN], packed[PACKED_MAX], got[PACKED_MAX];

static bool is_here(unsigned index)
{
	return usp_transform_check(stages[index].spec, NULL) == 0;
}

static struct usp_file *open_stage(const char *spec, const char *secret, struct usp_file *below, unsigned flags)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = flags, .secret = secret, .secret_len = secret ? strlen(secret) : 0};
	struct usp_file *stage;

	assert_int_equal(usp_transform_open(spec, usp_file_get(below), &params, &stage, NULL), 0);
	return stage;
}

/* Read to the end or to an error: 0 or -errno, and in *ret_len the length. */
static int read_all(struct usp_file *stage, size_t *ret_len)
{
	ssize_t ret = 1;

	for (*ret_len = 0; ret > 0; *ret_len += ret > 0 ? (size_t)ret : 0)
		ret = usp_read(stage, got + *ret_len, sizeof(got) - *ret_len);
	return (int)ret;
}

/* Fill plain with bytes of which a half can be compressed. */
static void make_plain(void)
{
	uint32_t random = 1;

	pattern_fill(plain, 0, LEN);
	for (size_t i = 0; i < LEN / 2; i++) {
		random = random * 1664525 + 1013904223;
		plain[i] = (unsigned char)(random >> 24);
	}
}

/* Run bytes in memory through a stage: the length of what came out, which is in got. */
static size_t run(const char *spec, const char *secret, const void *bytes, size_t len)
{
	struct usp_file *below, *stage;
	size_t got_len;

	assert_int_equal(usp_open_memory((void *)bytes, len, USP_READ, NULL, NULL, &below), 0);
	stage = open_stage(spec, secret, below, USP_TRANSFORM_INLINE);
	assert_int_equal(read_all(stage, &got_len), 0);
	drop(&stage);
	usp_file_put(below);
	return got_len;
}

static size_t pack(unsigned index)
{
	size_t len = run(stages[index].spec, NULL, plain, LEN);

	memcpy(packed, got, len);
	return len;
}

struct reading {
	struct usp_file *stage;
	size_t len;
};

static ssize_t run_reading(void *arg)
{
	struct reading *reading = arg;

	return read_all(reading->stage, &reading->len);
}

/* A reader that waits sleeps until the next page is there, however many threads there are: few calls of confirm. */
static void read_while_pages_arrive(struct late_source *source, struct usp_file *stage, size_t *ret_len)
{
	struct reading reading = {.stage = stage};
	struct worker worker;

	worker_start(&worker, run_reading, &reading);
	for (unsigned i = 0; i < source->nr; i++) {
		if (i % 16 == 0)
			worker_await_sleep(&worker);
		late_arrive(source->pages[i]);
	}
	assert_int_equal(worker_join(&worker), 0);
	for (unsigned i = 0; i < source->nr; i++)
		assert_in_range(source->pages[i]->nr_confirm, 1, 100);
	*ret_len = reading.len;
}

static void bytes_that_come_later_are_decoded(void **state)
{
	(void)state;
	make_plain();
	for (unsigned i = 0; i < ARRAY_LEN(stages) * ARRAY_LEN(thread_flags); i++) {
		unsigned nr = i / ARRAY_LEN(thread_flags);
		struct late_source source;
		struct usp_file *stage;
		size_t len;

		if (!is_here(nr))
			continue;
		late_source_open_of(&source, packed, pack(nr));
		stage = open_stage(stages[nr].back, stages[nr].secret, source.file,
				   thread_flags[i % ARRAY_LEN(thread_flags)]);
		read_while_pages_arrive(&source, stage, &len);
		assert_int_equal(len, LEN);
		assert_memory_equal(got, plain, LEN);
		drop(&stage);
		late_source_close(&source);
	}
}

static void bytes_that_come_later_are_encoded(void **state)
{
	(void)state;
	make_plain();
	for (unsigned i = 0; i < ARRAY_LEN(stages) * ARRAY_LEN(thread_flags); i++) {
		unsigned nr = i / ARRAY_LEN(thread_flags);
		struct late_source source;
		struct usp_file *stage;
		size_t len;

		if (!is_here(nr))
			continue;
		late_source_open_of(&source, plain, LEN);
		stage = open_stage(stages[nr].spec, NULL, source.file, thread_flags[i % ARRAY_LEN(thread_flags)]);
		read_while_pages_arrive(&source, stage, &len);
		memcpy(packed, got, len);
		assert_int_equal(run(stages[nr].back, stages[nr].secret, packed, len), LEN);
		assert_memory_equal(got, plain, LEN);
		drop(&stage);
		late_source_close(&source);
	}
}

/* Without a thread the caller is told, each time, to wait for the page that is next. */
static void a_call_that_does_not_wait_tells_what_to_wait_on(void **state)
{
	(void)state;
	make_plain();
	for (unsigned i = 0; i < ARRAY_LEN(stages); i++) {
		struct usp_file *stage, *end[2];
		struct late_source source;
		size_t done = 0;
		ssize_t ret;

		if (!is_here(i))
			continue;
		late_source_open_of(&source, packed, pack(i));
		stage = open_stage(stages[i].back, stages[i].secret, source.file, USP_TRANSFORM_INLINE);
		for (unsigned page = 0;; page++) {
			short events = 0;

			open_pipe(end, 256, 0);
			while ((ret = usp_splice(stage, NULL, end[1], NULL, LEN, USP_SPLICE_NONBLOCK)) > 0) {
				assert_int_equal(usp_read(end[0], got + done, (size_t)ret), ret);
				done += (size_t)ret;
			}
			close_pipe(end);
			if (ret == 0)
				break;
			assert_int_equal(ret, -EAGAIN);
			assert_true(page < source.nr);
			assert_int_equal(usp_file_poll_fd(stage, USP_READ, &events), source.pages[page]->event_fd);
			assert_int_equal(events, POLLIN);
			late_arrive(source.pages[page]);
		}
		assert_int_equal(done, LEN);
		assert_memory_equal(got, plain, LEN);
		drop(&stage);
		late_source_close(&source);
	}
}

/* Read what a source gives whose page of that number is cut to valid bytes, or has an error: -errno. */
static int read_with_fault(unsigned index, bool is_back, unsigned flags, size_t valid, int error)
{
	const char *spec = is_back ? stages[index].back : stages[index].spec;
	size_t len = is_back ? pack(index) : LEN, got_len;
	struct late_source source;
	struct usp_file *stage;
	struct late *fault;
	int ret;

	late_source_open_of(&source, is_back ? packed : plain, len);
	fault = source.pages[source.nr / 2];
	fault->valid = valid;
	fault->error = error;
	for (unsigned i = 0; i < source.nr; i++)
		late_arrive(source.pages[i]);
	stage = open_stage(spec, is_back ? stages[index].secret : NULL, source.file, flags);
	ret = read_all(stage, &got_len);
	if (is_back) {
		assert_true(got_len < LEN);
		assert_memory_equal(got, plain, got_len);
	}
	assert_int_equal(usp_read(stage, got, 1), ret);
	drop(&stage);
	late_source_close(&source);
	return ret;
}

/* A page that comes short, or not at all, is never the end of the input. */
static void a_source_that_turns_out_to_be_shorter_is_an_error(void **state)
{
	static const size_t valid[] = {0, 1, PAGE - 1};

	(void)state;
	make_plain();
	for (unsigned i = 0; i < ARRAY_LEN(stages) * ARRAY_LEN(thread_flags) * ARRAY_LEN(valid) * 2; i++) {
		unsigned index = i / (ARRAY_LEN(thread_flags) * ARRAY_LEN(valid) * 2);
		int ret;

		if (!is_here(index))
			continue;
		ret = read_with_fault(index, i % 2, thread_flags[i / 2 % ARRAY_LEN(thread_flags)],
				      valid[i / 2 / ARRAY_LEN(thread_flags) % ARRAY_LEN(valid)], 0);
		assert_true(ret == -EIO || ret == -ENODATA);
	}
}

static void an_error_of_late_bytes_comes_behind_what_was_before(void **state)
{
	(void)state;
	make_plain();
	for (unsigned i = 0; i < ARRAY_LEN(stages) * ARRAY_LEN(thread_flags) * 2; i++) {
		unsigned index = i / (ARRAY_LEN(thread_flags) * 2);

		if (is_here(index))
			assert_int_equal(read_with_fault(index, i % 2, thread_flags[i / 2 % ARRAY_LEN(thread_flags)],
							 PAGE, -ENXIO),
					 -ENXIO);
	}
}

/* What a thread of a stage waits for must not keep the stage from being closed. */
static void a_stage_that_is_closed_does_not_wait_for_bytes_that_never_come(void **state)
{
	(void)state;
	make_plain();
	for (unsigned i = 0; i < ARRAY_LEN(stages); i++) {
		struct late_source source;
		struct usp_file *stage;

		if (!is_here(i))
			continue;
		late_source_open(&source, 8);
		stage = open_stage(stages[i].spec, NULL, source.file, USP_TRANSFORM_THREAD);
		usp_file_set_flags(stage, USP_NONBLOCK);
		late_arrive(source.pages[0]);
		while (usp_read(stage, got, sizeof(got)) > 0)
			;
		drop(&stage);
		late_source_close(&source);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(bytes_that_come_later_are_decoded),
		CASE(bytes_that_come_later_are_encoded),
		CASE(a_call_that_does_not_wait_tells_what_to_wait_on),
		CASE(a_source_that_turns_out_to_be_shorter_is_an_error),
		CASE(an_error_of_late_bytes_comes_behind_what_was_before),
		CASE(a_stage_that_is_closed_does_not_wait_for_bytes_that_never_come),
	};

	return cmocka_run_group_tests_name("late_stages", tests, NULL, NULL);
}
