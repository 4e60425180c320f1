/* SPDX-License-Identifier: MIT */
/* test_endpoints - what every endpoint must do, on every lane that it has: a table of cases for the table of endpoints. */
#include <stdio.h>

#include "cells.h"

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

static const struct test_case *case_at(unsigned nr)
{
	return nr < nr_source_cases ? &source_cases[nr] : &sink_cases[nr - nr_source_cases];
}

int main(void)
{
	const struct CMUnitTest whole[] = {
		CASE(every_endpoint_has_a_row),
		CASE(every_file_that_can_be_spliced_has_a_row_that_says_so),
	};
	const unsigned nr_cases = nr_source_cases + nr_sink_cases, max = nr_rows * nr_cases * 2;
	struct CMUnitTest *tests = calloc(max + ARRAY_LEN(whole), sizeof(*tests));
	struct cell *cells = calloc(max, sizeof(*cells));
	unsigned nr_tests = 0;
	int ret;

	if (!tests || !cells)
		return 1;
	for (unsigned i = 0; i < max; i++) {
		cells[i].row = &rows[i / 2 / nr_cases];
		cells[i].test = case_at(i / 2 % nr_cases);
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
