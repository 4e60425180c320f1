/* SPDX-License-Identifier: MIT */
/* test_trace - counts of system calls: what is counted, and when. */
#include "support.h"

#include <usplice/trace.h>

#define NR_CALLS 64

/* Copy a text into memory of the library, and out of it to /dev/null: calls that are known. */
static void work(void)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *source, *sink;

	assert_int_equal(usp_open("/dev/zero", &to_read, &source, NULL), 0);
	assert_int_equal(usp_open("/dev/null", &to_write, &sink, NULL), 0);
	assert_int_equal(usp_write(sink, "text", 4), 4);
	drop(&source);
	drop(&sink);
}

static const struct usp_trace_call *find(const struct usp_trace_call *calls, unsigned nr, const char *name)
{
	for (unsigned i = 0; i < nr; i++) {
		if (strcmp(calls[i].name, name) == 0)
			return &calls[i];
	}
	return NULL;
}

static void calls_are_counted_between_start_and_stop(void **state)
{
	struct usp_trace_call calls[NR_CALLS] = {{.size = sizeof(calls[0])}};
	unsigned nr;

	(void)state;
	work();
	usp_trace_start();
	assert_int_equal(usp_trace_calls(NULL, 0), 0);
	work();
	usp_trace_stop();
	nr = usp_trace_calls(calls, NR_CALLS);
	assert_in_range(nr, 3, NR_CALLS);
	assert_int_equal(find(calls, nr, "writev")->nr_calls, 1);
	assert_int_equal(find(calls, nr, "writev")->nr_errors, 0);
	assert_true(find(calls, nr, "open")->nr_calls >= 2);
	assert_int_equal(find(calls, nr, "close")->nr_calls, find(calls, nr, "open")->nr_calls);
	work();
	assert_int_equal(usp_trace_calls(calls, NR_CALLS), nr);
	assert_int_equal(find(calls, nr, "writev")->nr_calls, 1);
}

static void errors_are_counted_too(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_trace_call calls[NR_CALLS] = {{.size = sizeof(calls[0])}};
	struct usp_file *file;
	unsigned nr;

	(void)state;
	usp_trace_start();
	assert_int_equal(usp_open("/nowhere/at/all", &params, &file, NULL), -ENOENT);
	usp_trace_stop();
	nr = usp_trace_calls(calls, NR_CALLS);
	assert_true(find(calls, nr, "open")->nr_errors >= 1);
	assert_int_equal(find(calls, nr, "open")->nr_calls, find(calls, nr, "open")->nr_errors);
}

static void no_more_entries_are_written_than_asked_for(void **state)
{
	struct usp_trace_call calls[2] = {{.size = sizeof(calls[0])}, {.size = 12345}};
	size_t old_size = offsetof(struct usp_trace_call, ns);

	(void)state;
	usp_trace_start();
	work();
	usp_trace_stop();
	assert_true(usp_trace_calls(calls, 1) > 1);
	assert_int_equal(calls[1].size, 12345);
	calls[0] = (struct usp_trace_call){.size = old_size, .ns = 77};
	usp_trace_calls(calls, 1);
	assert_int_equal(calls[0].ns, 77); /* an older program has no such member */
	assert_non_null(calls[0].name);
}

static ssize_t work_often(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 200; i++)
		work();
	return 0;
}

static void threads_are_counted_together(void **state)
{
	struct usp_trace_call calls[NR_CALLS] = {{.size = sizeof(calls[0])}};
	struct worker workers[4];
	unsigned nr;

	(void)state;
	usp_trace_start();
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		worker_start(&workers[i], work_often, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(workers); i++)
		worker_join(&workers[i]);
	usp_trace_stop();
	nr = usp_trace_calls(calls, NR_CALLS);
	assert_int_equal(find(calls, nr, "writev")->nr_calls, 800);
	for (unsigned i = 0; i < nr; i++) {
		for (unsigned j = i + 1; j < nr; j++)
			assert_string_not_equal(calls[i].name, calls[j].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(calls_are_counted_between_start_and_stop),
		CASE(errors_are_counted_too),
		CASE(no_more_entries_are_written_than_asked_for),
		CASE(threads_are_counted_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
