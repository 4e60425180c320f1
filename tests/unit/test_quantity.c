/* SPDX-License-Identifier: MIT */
/* test_quantity - sizes, rates and times as people write them, and what is refused with which reason. */
#include "support.h"

#include <errno.h>
#include <usplice/spec.h>

static void a_size_takes_units_of_both_kinds(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} sizes[] = {
		{"0", 0},
		{"17", 17},
		{"17B", 17},
		{"1k", 1024},
		{"1K", 1024},
		{"1KiB", 1024},
		{"2kB", 2000},
		{"2KB", 2000},
		{"3M", 3 << 20},
		{"3MiB", 3 << 20},
		{"3MB", 3000000},
		{"4G", 4L << 30},
		{"4GB", 4000000000},
		{"1T", 1L << 40},
		{"1TB", 1000000000000},
		{"17b", 17},
		{"1kb", 1000},
		{"1mb", 1000000},
		{"1mib", 1 << 20},
		{"1MIB", 1 << 20},
		{"1m", 1 << 20},
		{"1.5M", 3 << 19},
		{"1.5mb", 1500000},
		{"0.5k", 512},
		{"0.0009765625k", 1},
		{"2.0", 2},
		{"2.", 2},
		{"1.000", 1},
		{"1.50000000000000000000000000000M", 3 << 19},
		{"0.000000000001TB", 1},
		{"8388607.5T", 8388607L << 40 | 1L << 39},
		{"0009", 9},
		{"9223372036854775807", INT64_MAX},
		{"8388607T", 8388607L << 40},
	};
	int64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		print_message("# %s\n", sizes[i].text);
		assert_int_equal(usp_size_parse(sizes[i].text, &bytes, NULL), 0);
		assert_int_equal(bytes, sizes[i].bytes);
	}
}

static void what_is_no_size_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *text;
		int error;
		const char *why;
	} rows[] = {
		{"", -EINVAL, "is not a number"},
		{"k", -EINVAL, "is not a number"},
		{"+1", -EINVAL, "is not a number"},
		{" 1", -EINVAL, "is not a number"},
		{"-1", -EINVAL, "is negative"},
		{"1 ", -EINVAL, "has a unit that is none"},
		{"1 k", -EINVAL, "has a unit that is none"},
		{"1kBB", -EINVAL, "has a unit that is none"},
		{"1kiBx", -EINVAL, "has a unit that is none"},
		{"1ki", -EINVAL, "has a unit that is none"},
		{"1P", -EINVAL, "has a unit that is none"},
		{"1Mbit", -EINVAL, "has a unit that is none"},
		{"1M/s", -EINVAL, "has a unit that is none"},
		{"1.5.5M", -EINVAL, "has a unit that is none"},
		{"1,5M", -EINVAL, "has a unit that is none"},
		{".5M", -EINVAL, "is not a number"},
		{"1.5", -EINVAL, "is no whole number of bytes"},
		{"1.0001k", -EINVAL, "is no whole number of bytes"},
		{"0.0000000000001TB", -EINVAL, "is no whole number of bytes"},
		{"0.00000000000000000001T", -EINVAL, "is no whole number of bytes"},
		{"0x10", -EINVAL, "has a unit that is none"},
		{"9223372036854775808", -ERANGE, "is too large"},
		{"8388608T", -ERANGE, "is too large"},
		{"8388608.5T", -ERANGE, "is too large"},
		{"9223372036854775807.5k", -ERANGE, "is too large"},
		{"99999999999999999999", -ERANGE, "is too large"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = NULL;
		int64_t bytes = -7;

		print_message("# %s\n", rows[i].text);
		assert_int_equal(usp_size_parse(rows[i].text, &bytes, &why), rows[i].error);
		assert_non_null(strstr(why, rows[i].why));
		assert_int_equal(usp_size_parse(rows[i].text, &bytes, NULL), rows[i].error);
		assert_int_equal(bytes, -7);
	}
}

static void a_rate_is_a_size_by_the_second_and_not_zero(void **state)
{
	const char *why = NULL;
	uint64_t rate;

	(void)state;
	assert_int_equal(usp_rate_parse("2MiB/s", &rate, NULL), 0);
	assert_int_equal(rate, 2 << 20);
	assert_int_equal(usp_rate_parse("3kB", &rate, NULL), 0);
	assert_int_equal(rate, 3000);
	assert_int_equal(usp_rate_parse("2GB/s", &rate, NULL), 0);
	assert_int_equal(rate, 2000000000);
	assert_int_equal(usp_rate_parse("1.5m/S", &rate, NULL), 0);
	assert_int_equal(rate, 3 << 19);
	assert_int_equal(usp_rate_parse("3kB", &rate, NULL), 0);
	assert_int_equal(usp_rate_parse("0", &rate, &why), -EINVAL);
	assert_string_equal(why, "would never move anything");
	assert_int_equal(usp_rate_parse("/s", &rate, &why), -EINVAL);
	assert_string_equal(why, "is not a number");
	assert_int_equal(usp_rate_parse("1/s/s", &rate, &why), -EINVAL);
	assert_int_equal(usp_rate_parse("1/", &rate, &why), -EINVAL);
	assert_int_equal(rate, 3000);
}

static void a_rate_may_be_in_bits(void **state)
{
	static const struct {
		const char *text;
		uint64_t rate;
	} rates[] = {
		{"8bit", 1},
		{"8kbit/s", 1000},
		{"100Mbit/s", 12500000},
		{"100MBIT", 12500000},
		{"2.5Gbit/s", 312500000},
		{"1Kibit", 128},
		{"9223372036854775800bit", 1152921504606846975},
	};
	uint64_t rate;
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		print_message("# %s\n", rates[i].text);
		assert_int_equal(usp_rate_parse(rates[i].text, &rate, NULL), 0);
		assert_int_equal(rate, rates[i].rate);
	}
	assert_int_equal(usp_rate_parse("100bit", &rate, &why), -EINVAL);
	assert_string_equal(why, "is no whole number of bytes");
	assert_int_equal(usp_rate_parse("1.5kbit", &rate, &why), -EINVAL);
	assert_string_equal(why, "is no whole number of bytes");
	assert_int_equal(usp_rate_parse("1Mbits", &rate, &why), -EINVAL);
	assert_non_null(strstr(why, "kbit"));
	assert_int_equal(usp_rate_parse("9000000Tbit", &rate, &why), 0);
	assert_int_equal(usp_rate_parse("99999999Tbit", &rate, &why), -ERANGE);
}

static void a_time_has_a_fraction_and_a_unit_or_neither(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} times[] = {
		{"0", 0},
		{"2", UINT64_C(2000000000)},
		{"2.5", UINT64_C(2500000000)},
		{"2.", UINT64_C(2000000000)},
		{"0.3", UINT64_C(300000000)},
		{"1.000000001", UINT64_C(1000000001)},
		{"1.0000000019", UINT64_C(1000000001)},
		{"500ms", UINT64_C(500000000)},
		{"1.5ms", UINT64_C(1500000)},
		{"10s", UINT64_C(10000000000)},
		{"0.5m", UINT64_C(30000000000)},
		{"5m", UINT64_C(300000000000)},
		{"1.25h", UINT64_C(4500000000000)},
		{"1000000000", UINT64_C(1000000000000000000)},
	};
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		print_message("# %s\n", times[i].text);
		assert_int_equal(usp_time_parse(times[i].text, &ns, NULL), 0);
		assert_int_equal(ns, times[i].ns);
	}
}

static void what_is_no_time_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *text;
		int error;
		const char *why;
	} rows[] = {
		{"", -EINVAL, "is no time"},
		{"soon", -EINVAL, "is no time"},
		{"-1", -EINVAL, "is no time"},
		{".5", -EINVAL, "is no time"},
		{"inf", -EINVAL, "is no time"},
		{"1d", -EINVAL, "has a unit that is none"},
		{"1 s", -EINVAL, "has a unit that is none"},
		{"1e3", -EINVAL, "has a unit that is none"},
		{"0x10", -EINVAL, "has a unit that is none"},
		{"1.2.3", -EINVAL, "has a unit that is none"},
		{"1,5", -EINVAL, "has a unit that is none"},
		{"1000000001", -ERANGE, "is too long a time"},
		{"9223372036854775807h", -ERANGE, "is too long a time"},
		{"99999999999999999999", -ERANGE, "is too long a time"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = NULL;
		uint64_t ns = 7;

		print_message("# %s\n", rows[i].text);
		assert_int_equal(usp_time_parse(rows[i].text, &ns, &why), rows[i].error);
		assert_non_null(strstr(why, rows[i].why));
		assert_int_equal(ns, 7);
	}
}

static void a_character_has_one_spelling(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		uint32_t point;
	} rows[] = {
		{"a", 1, 'a'},
		{"\x7f", 1, 0x7f},
		{"\xc3\xa4", 2, 0xe4},
		{"\xe2\x82\xac", 3, 0x20ac},
		{"\xf0\x9f\x98\x80", 4, 0x1f600},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		{"\xf4\x90\x80\x80", 0, 0}, /* beyond the last one */
		{"\xc0\xaf", 0, 0},	    /* too long for what it is */
		{"\xe0\x80\xaf", 0, 0},
		{"\xed\xa0\x80", 0, 0}, /* half of a pair */
		{"\x80", 0, 0},
		{"\xc3", 0, 0}, /* cut */
		{"\xc3z", 0, 0},
		{"\xff", 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t point = 0;

		assert_int_equal(usp_utf8_len(rows[i].text, &point), rows[i].len);
		assert_int_equal(point, rows[i].point);
	}
}

static void what_a_terminal_obeys_is_a_control(void **state)
{
	static const uint32_t controls[] = {0,	    0x1b,   0x1f,   0x7f,   0x9b,   0x9f,   0x61c,
					    0x200e, 0x200f, 0x2028, 0x2029, 0x202e, 0x2066, 0x206f};
	static const uint32_t others[] = {' ', '~', 0xa0, 0x61b, 0x200d, 0x2010, 0x2027, 0x202f, 0x2065, 0x2070};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(controls); i++)
		assert_true(usp_utf8_is_control(controls[i]));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(usp_utf8_is_control(others[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_size_takes_units_of_both_kinds),
		CASE(what_is_no_size_is_refused_with_a_reason),
		CASE(a_rate_is_a_size_by_the_second_and_not_zero),
		CASE(a_rate_may_be_in_bits),
		CASE(a_time_has_a_fraction_and_a_unit_or_neither),
		CASE(what_is_no_time_is_refused_with_a_reason),
		CASE(a_character_has_one_spelling),
		CASE(what_a_terminal_obeys_is_a_control),
	};

	return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
