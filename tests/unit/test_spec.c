/* SPDX-License-Identifier: MIT */
/* test_spec - specs: what names which endpoint, and what is refused with which reason. */
#include "support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <usplice/spec.h>

static const struct {
	const char *text;
	const char *scheme;
	const char *address;
	const char *options; /* "name=value name" */
} good[] = {
	{"a", "file", "a", ""},
	{"/a/b.txt", "file", "/a/b.txt", ""},
	{"", "file", "", ""},
	{"a,b.txt", "file", "a,b.txt", ""},
	{"a,", "file", "a,", ""},
	{"a,direct", "file", "a", "direct"},
	{"a,direct,append", "file", "a", "direct append"},
	{"a,b,append", "file", "a,b", "append"},
	{"a,append=", "file", "a", "append="},
	{"a,director", "file", "a,director", ""},
	{"a,timeout=2", "file", "a", "timeout=2"},
	{"a\\,direct", "file", "a,direct", ""},
	{"a\\,direct,direct", "file", "a,direct", "direct"},
	{"a\\b", "file", "a\\b", ""},
	{"a\\", "file", "a\\", ""},
	{"\\,", "file", ",", ""},
	{"file:a", "file", "a", ""},
	{"file:a:b", "file", "a:b", ""},
	{"file:-", "file", "-", ""},
	{"file:a,b.txt,direct", "file", "a,b.txt", "direct"},
	{"file:///a", "file", "/a", ""},
	{"file://", "file", "", ""},
	{"./tcp:a:1", "file", "./tcp:a:1", ""},
	{"12:30", "file", "12:30", ""},
	{"a.b:c", "file", "a.b:c", ""},
	{":a", "file", ":a", ""},
	{"-a:b", "file", "-a:b", ""},
	{"--", "file", "--", ""},
	{"-", "-", "-", ""},
	{"fd:7", "fd", "7", ""},
	{"null:", "null", "", ""},
	{"null://", "null", "", ""},
	{"zero:", "zero", "", ""},
	{"mem:", "mem", "", ""},
	{"mem:text", "mem", "text", ""},
	{"mem:a\\,b", "mem", "a,b", ""},
	{"mem:,max=64M", "mem", "", "max=64M"},
	{"mem:,max=a=b", "mem", "", "max=a=b"},
	{"mem:,max", "mem", "", "max"},
	{"tcp:host:80", "tcp", "host:80", ""},
	{"tcp://[::1]:80", "tcp", "[::1]:80", ""},
	{"unix:///run/x", "unix", "/run/x", ""},
	{"unix-listen:x", "unix-listen", "x", ""},
};

static const struct {
	const char *text;
	const char *why; /* part of the reason */
} bad[] = {
	{"weird:name", "write file: in front"},
	{"weird://name", "write file: in front"},
	{"x:name", "write file: in front"},
	{"TCP:host:80", "write file: in front"},
	{"no-such-scheme:", "write file: in front"},
	{"a,direct,b", "no such option"},
	{"a,direct,", "no such option"},
	{"a,direct,=x", "no such option"},
	{"a,direct,direct", "given twice"},
	{"mem:,max=1,max=2", "given twice"},
	{"mem:a,b", "no such option"},
	{"null:,x", "no such option"},
	{"fd:1,x", "no such option"},
	{"tcp:host:80,no-such-option", "no such option"},
};

static void options_as_text(const struct usp_spec *spec, char *ret_text, size_t room)
{
	size_t len = 0;

	ret_text[0] = '\0';
	for (unsigned i = 0; i < usp_spec_nr_options(spec); i++) {
		const char *value, *name = usp_spec_option_at(spec, i, &value);

		len += (size_t)snprintf(ret_text + len, room - len, "%s%s%s%s", i ? " " : "", name, value ? "=" : "",
					value ? value : "");
	}
}

static void a_good_spec_names_type_address_and_options(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const char *why = NULL, *value;
		struct usp_spec *spec;
		char options[128];

		print_message("# %s\n", good[i].text);
		assert_int_equal(usp_spec_parse(good[i].text, &spec, &why), 0);
		assert_string_equal(usp_spec_address(spec), good[i].address);
		assert_string_equal(usp_spec_text(spec), good[i].text);
		assert_string_equal(usp_spec_scheme(spec), good[i].scheme);
		options_as_text(spec, options, sizeof(options));
		assert_string_equal(options, good[i].options);
		assert_null(usp_spec_option_at(spec, usp_spec_nr_options(spec), &value));
		usp_spec_free(spec);
	}
}

static void a_bad_spec_is_refused_with_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
		struct usp_file *file = NULL;
		const char *why = NULL;

		print_message("# %s\n", bad[i].text);
		assert_int_equal(usp_open(bad[i].text, &params, &file, &why), -EINVAL);
		assert_non_null(why);
		assert_non_null(strstr(why, bad[i].why));
		assert_null(file);
		assert_int_equal(usp_open(bad[i].text, &params, &file, NULL), -EINVAL);
	}
}

static void a_file_whose_name_looks_like_a_scheme_is_found_if_it_exists(void **state)
{
	char dir[] = "/tmp/usplice-test-XXXXXX", here[4096];
	const char *why = NULL;
	struct usp_spec *spec;

	(void)state;
	assert_non_null(getcwd(here, sizeof(here)));
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(usp_spec_parse("weird:name", &spec, &why), -EINVAL);
	assert_int_equal(mknod("weird:name", S_IFREG | 0600, 0), 0);
	assert_int_equal(usp_spec_parse("weird:name", &spec, &why), 0);
	assert_string_equal(usp_spec_path(spec), "weird:name");
	assert_string_equal(usp_spec_scheme(spec), "file");
	usp_spec_free(spec);
	unlink("weird:name");
	assert_int_equal(chdir(here), 0);
	rmdir(dir);
}

static void an_option_without_a_value_is_there_and_empty(void **state)
{
	struct usp_spec *spec;

	(void)state;
	assert_int_equal(usp_spec_parse("a,direct", &spec, NULL), 0);
	assert_string_equal(usp_spec_option(spec, "direct"), "");
	assert_null(usp_spec_option(spec, "append"));
	usp_spec_free(spec);
}

static void any_bytes_are_either_a_spec_or_refused(void **state)
{
	static const char alphabet[] = "ab:,\\=/-0.mem:max,direct";
	uint32_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 100000; round++) {
		const char *why = NULL;
		struct usp_spec *spec;
		char text[24];
		unsigned len;

		seed = seed * 1664525 + 1013904223;
		len = (seed >> 16) % (sizeof(text) - 1);
		for (unsigned i = 0; i < len; i++) {
			seed = seed * 1664525 + 1013904223;
			text[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		text[len] = '\0';
		if (usp_spec_parse(text, &spec, &why) < 0) {
			assert_non_null(why);
			continue;
		}
		assert_true(strlen(usp_spec_address(spec)) <= len);
		usp_spec_free(spec);
	}
}

static void the_parser_works_without_a_place_for_the_reason(void **state)
{
	struct usp_spec *spec = NULL;

	(void)state;
	assert_int_equal(usp_spec_parse("weird:name", &spec, NULL), -EINVAL);
	assert_int_equal(usp_spec_parse(NULL, &spec, NULL), -EINVAL);
	assert_null(spec);
	usp_spec_free(NULL);
}

static void opening_needs_a_name_and_a_direction(void **state)
{
	struct usp_file *file = NULL;

	(void)state;
	assert_int_equal(usp_open(NULL,
				  &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
				  &file, NULL),
			 -EINVAL);
	assert_int_equal(usp_open("null:", NULL, &file, NULL), -EINVAL);
	assert_int_equal(usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = 0},
				  &file, NULL),
			 -EINVAL);
	assert_int_equal(usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = 4},
				  &file, NULL),
			 -EINVAL);
	assert_int_equal(usp_open_fd(0, 0, "fd", &file), -EINVAL);
	assert_int_equal(usp_open_fd(0, USP_READ, NULL, &file), -EINVAL);
	assert_int_equal(usp_open_fd(-1, USP_READ, "fd", &file), -EBADF);
	assert_null(file);
}

static void a_descriptor_is_named_by_its_number(void **state)
{
	static const char *const bad_numbers[] = {
		"fd:", "fd:x", "fd:-1", "fd:1x", "fd: 1", "fd:4294967296", "fd:99999999999999999999"};
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *file;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_numbers); i++) {
		assert_int_equal(usp_open(bad_numbers[i], &params, &file, &why), -EINVAL);
		assert_non_null(strstr(why, "number"));
	}
	assert_int_equal(usp_open("fd:999999", &params, &file, &why), -EBADF);
	assert_non_null(strstr(why, "not open"));
}

static void a_reason_is_cleared_when_opening_succeeds(void **state)
{
	const char *why = "old";
	struct usp_file *file;

	(void)state;
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
			 &file, &why),
		0);
	assert_null(why);
	assert_string_equal(usp_file_spec(file), "null:");
	assert_string_equal(usp_file_type(file), "null");
	usp_file_put(file);
}

static void a_path_is_told_without_options_and_backslashes(void **state)
{
	static const struct {
		const char *text, *path;
	} paths[] = {
		{"a/b", "a/b"},		  {"file:tcp:x", "tcp:x"},    {"file:///tmp/a", "/tmp/a"},
		{"a,direct,append", "a"}, {"a\\,direct", "a,direct"}, {"a,b", "a,b"},
	};
	static const char *const others[] = {"-", "fd:3", "null:", "tcp:host:1", "unix:here", "mem:x", "", "file:"};
	struct usp_spec *spec;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		assert_int_equal(usp_spec_parse(paths[i].text, &spec, NULL), 0);
		assert_string_equal(usp_spec_path(spec), paths[i].path);
		usp_spec_free(spec);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_int_equal(usp_spec_parse(others[i], &spec, NULL), 0);
		assert_null(usp_spec_path(spec));
		usp_spec_free(spec);
	}
}

static void a_descriptor_is_told_for_each_direction(void **state)
{
	static const struct {
		const char *text;
		unsigned mode;
		int number;
	} rows[] = {
		{"fd:7", USP_READ, 7},
		{"fd://7", USP_WRITE, 7},
		{"fd:007", USP_READ | USP_WRITE, 7},
		{"fd:2147483647", USP_READ, 2147483647},
		{"fd:2147483648", USP_READ, -EINVAL},
		{"fd:", USP_READ, -EINVAL},
		{"fd:-1", USP_READ, -EINVAL},
		{"fd:1x", USP_READ, -EINVAL},
		{"-", USP_READ, 0},
		{"-", USP_WRITE, 1},
		{"-", USP_READ | USP_WRITE, -EINVAL},
		{"7", USP_READ, -ENXIO},
		{"file:fd:7", USP_READ, -ENXIO},
		{"null:", USP_WRITE, -ENXIO},
	};
	struct usp_spec *spec;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(usp_spec_parse(rows[i].text, &spec, NULL), 0);
		assert_int_equal(usp_spec_descriptor(spec, rows[i].mode), rows[i].number);
		usp_spec_free(spec);
	}
}

/* Nobody listens at any of them: an attempt would fail, or wait. */
static void without_peers_a_spec_is_checked_and_nothing_is_asked(void **state)
{
	static const char *const specs[] = {"tcp:127.0.0.1:1",	      "tcp:nohost.invalid:1,retry=100",
					    "tcp-listen:0",	      "unix:/nowhere/x",
					    "unix-listen:/nowhere/x", "vsock:2:1",
					    "vsock-listen:0",	      "udp:127.0.0.1:1"};
	static const char *const refused[] = {
		"tcp:nowhere",	"tcp:h:70000", "tcp:h:1,timeout=x", "tcp-listen:h:", "unix:",
		"unix-listen:", "udp:h",       "udp:h:1,datagram=0"};
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE, .no_peer = true};
	struct usp_file *file;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		assert_int_equal(usp_open(specs[i], &params, &file, &why), -EINPROGRESS);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		assert_int_equal(usp_open(refused[i], &params, &file, &why), -EINVAL);
		assert_non_null(why);
	}
}

static void a_spec_that_was_parsed_is_opened_like_its_text(void **state)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ},
				     none = {.size = sizeof(none)};
	struct usp_file *file = NULL;
	struct usp_spec *spec;
	const char *why = "";

	(void)state;
	assert_int_equal(usp_spec_parse("mem:hello", &spec, NULL), 0);
	for (unsigned i = 0; i < 2; i++) { /* it is still there */
		char bytes[6] = "";

		assert_int_equal(usp_spec_open(spec, &to_read, &file, &why), 0);
		assert_null(why);
		assert_int_equal(usp_read(file, bytes, sizeof(bytes)), 5);
		assert_string_equal(bytes, "hello");
		drop(&file);
	}
	assert_int_equal(usp_spec_open(spec, &none, &file, NULL), -EINVAL);
	assert_int_equal(usp_spec_open(spec, NULL, &file, NULL), -EINVAL);
	usp_spec_free(spec);
	assert_int_equal(usp_spec_open(NULL, &to_read, &file, NULL), -EINVAL);
	assert_int_equal(usp_spec_parse("/nowhere/at/all", &spec, NULL), 0);
	assert_int_equal(usp_spec_open(spec, &to_read, &file, NULL), -ENOENT);
	usp_spec_free(spec);
	assert_null(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_good_spec_names_type_address_and_options),
		CASE(a_bad_spec_is_refused_with_a_reason),
		CASE(a_file_whose_name_looks_like_a_scheme_is_found_if_it_exists),
		CASE(an_option_without_a_value_is_there_and_empty),
		CASE(any_bytes_are_either_a_spec_or_refused),
		CASE(the_parser_works_without_a_place_for_the_reason),
		CASE(opening_needs_a_name_and_a_direction),
		CASE(a_descriptor_is_named_by_its_number),
		CASE(a_reason_is_cleared_when_opening_succeeds),
		CASE(a_path_is_told_without_options_and_backslashes),
		CASE(a_descriptor_is_told_for_each_direction),
		CASE(without_peers_a_spec_is_checked_and_nothing_is_asked),
		CASE(a_spec_that_was_parsed_is_opened_like_its_text),
	};

	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
