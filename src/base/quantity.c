/* SPDX-License-Identifier: MIT */
/* quantity - sizes, rates and times as people write them. */
#include <errno.h>
#include <string.h>
#include <usplice/spec.h>

#include "base/compiler.h"

#define QUANTITY_NS_MAX UINT64_C(1000000000000000000)

static int quantity_fail(int error, const char *why, const char **ret_why)
{
	if (ret_why)
		*ret_why = why;
	return error;
}

static bool quantity_is_digit(char letter)
{
	return letter >= '0' && letter <= '9';
}

/* Take the digits that *text begins with: 0, or -ERANGE. */
static int quantity_take_number(const char **text, int64_t *ret_number)
{
	int64_t number = 0;

	for (; quantity_is_digit(**text); (*text)++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, **text - '0', &number))
			return -ERANGE;
	}
	*ret_number = number;
	return 0;
}

/* --- Sizes ------------------------------------------------------------------------------------------- */

/* The bytes that the unit of len letters stands for; 0: there is no such unit. */
static int64_t size_unit(const char *unit, size_t len)
{
	static const char prefixes[] = "kMGT";
	const char *prefix = len ? strchr(prefixes, *unit == 'K' ? 'k' : *unit) : NULL;
	int64_t base = 1024, bytes = 1;

	if (!len || (len == 1 && *unit == 'B'))
		return 1;
	if (!prefix)
		return 0;
	if (len == 2 && unit[1] == 'B')
		base = 1000;
	else if (len != 1 && !(len == 3 && memcmp(unit + 1, "iB", 2) == 0))
		return 0;
	for (; prefix >= prefixes; prefix--)
		bytes *= base;
	return bytes;
}

/* Parse a size of len letters. */
static int size_parse(const char *text, size_t len, int64_t *ret_bytes, const char **ret_why)
{
	const char *unit = text;
	int64_t bytes, factor;

	if (*text == '-')
		return quantity_fail(-EINVAL, "is negative", ret_why);
	if (!len || !quantity_is_digit(*text))
		return quantity_fail(-EINVAL, "is not a number", ret_why);
	if (quantity_take_number(&unit, &bytes) < 0)
		return quantity_fail(-ERANGE, "is too large", ret_why);
	factor = size_unit(unit, len - (size_t)(unit - text));
	if (!factor)
		return quantity_fail(
			-EINVAL, "has a unit that is none of k M G T (powers of 1024) and kB MB GB TB (powers of 1000)",
			ret_why);
	if (__builtin_mul_overflow(bytes, factor, &bytes))
		return quantity_fail(-ERANGE, "is too large", ret_why);
	*ret_bytes = bytes;
	return 0;
}

int usp_size_parse(const char *text, int64_t *ret_bytes, const char **ret_why)
{
	return size_parse(text, strlen(text), ret_bytes, ret_why);
}

int usp_rate_parse(const char *text, uint64_t *ret_rate, const char **ret_why)
{
	size_t len = strlen(text);
	int64_t rate;
	int ret;

	if (len >= 2 && strcmp(text + len - 2, "/s") == 0)
		len -= 2;
	ret = size_parse(text, len, &rate, ret_why);
	if (ret < 0)
		return ret;
	if (rate == 0)
		return quantity_fail(-EINVAL, "would never move anything", ret_why);
	*ret_rate = (uint64_t)rate;
	return 0;
}

/* --- Times ------------------------------------------------------------------------------------------- */

/* The nanoseconds of a unit; 0: there is no such unit. */
static uint64_t time_unit(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{"", UINT64_C(1000000000)},   {"ms", UINT64_C(1000000)},      {"s", UINT64_C(1000000000)},
		{"m", UINT64_C(60000000000)}, {"h", UINT64_C(3600000000000)},
	};

	for (unsigned i = 0; i < usp_array_len(units); i++) {
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ns;
	}
	return 0;
}

/* Convert digits behind the point to nanoseconds. Digits below a nanosecond are dropped. */
static uint64_t time_fraction(const char *digits, uint64_t unit_ns)
{
	uint64_t ns = 0, part_ns = unit_ns;

	for (; quantity_is_digit(*digits) && part_ns; digits++) {
		part_ns /= 10;
		ns += (uint64_t)(*digits - '0') * part_ns;
	}
	return ns;
}

int usp_time_parse(const char *text, uint64_t *ret_ns, const char **ret_why)
{
	const char *fraction, *unit = text;
	int64_t number;
	uint64_t unit_ns, ns;

	if (!quantity_is_digit(*text))
		return quantity_fail(-EINVAL, "is no time, such as 2.5 or 500ms", ret_why);
	if (quantity_take_number(&unit, &number) < 0)
		return quantity_fail(-ERANGE, "is too long a time", ret_why);
	fraction = unit;
	if (*unit == '.') {
		fraction++;
		unit += 1 + strspn(unit + 1, "0123456789");
	}
	unit_ns = time_unit(unit);
	if (!unit_ns)
		return quantity_fail(-EINVAL, "has a unit that is none of ms, s, m and h", ret_why);
	if (__builtin_mul_overflow((uint64_t)number, unit_ns, &ns) || ns > QUANTITY_NS_MAX)
		return quantity_fail(-ERANGE, "is too long a time", ret_why);
	*ret_ns = ns + time_fraction(fraction, unit_ns);
	return 0;
}
