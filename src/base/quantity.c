/* SPDX-License-Identifier: MIT */
/* quantity - sizes, rates and times as people write them. */
#include <errno.h>
#include <string.h>
#include <strings.h>
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

#define SIZE_DIGITS_MAX 19 /* behind the point; 10^19 fits into 64 bits */

static const char size_units[] = "has a unit that is none of k M G T (powers of 1024) and kB MB GB TB (powers of 1000)";
static const char rate_units[] =
	"has a unit that is none of k M G T (powers of 1024), kB MB GB TB and kbit Mbit Gbit Tbit (powers of 1000)";

/* What a number stands for: so many bytes, or bits. */
struct size_unit {
	int64_t factor; /* 0: there is no such unit */
	bool is_bits;
};

/* Tell whether text is the word of len letters, in any case. */
static bool size_is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

/* Find the unit of len letters: a prefix or none, and nothing, "B", "iB", "bit" or "ibit". */
static struct size_unit size_unit(const char *text, size_t len)
{
	static const char prefixes[] = "kmgt";
	const char *prefix = len && *text ? strchr(prefixes, *text | 0x20) : NULL;
	const char *rest = prefix ? text + 1 : text;
	size_t left = prefix ? len - 1 : len;
	struct size_unit unit = {.factor = 1};
	int64_t base = 1000;

	if (left && prefix && (*rest | 0x20) == 'i') {
		base = 1024;
		rest++;
		left--;
		if (!left)
			return (struct size_unit){.factor = 0};
	}
	unit.is_bits = size_is_word(rest, left, "bit");
	if (!left)
		base = 1024;
	else if (!unit.is_bits && !size_is_word(rest, left, "b"))
		return (struct size_unit){.factor = 0};
	for (; prefix && prefix >= prefixes; prefix--)
		unit.factor *= base;
	return unit;
}

/*
 * Convert len digits behind the point: *ret_part is that part of factor, and 0. -EINVAL if it is no whole number. A
 * fraction in lowest terms is whole only if factor is a multiple of its denominator.
 */
static int size_fraction(const char *digits, size_t len, int64_t factor, int64_t *ret_part)
{
	uint64_t number = 0, denominator = 1, a, b;

	while (len && digits[len - 1] == '0')
		len--;
	if (len > SIZE_DIGITS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		number = number * 10 + (uint64_t)(digits[i] - '0');
		denominator *= 10;
	}
	for (a = number, b = denominator; a;) { /* Euclid */
		uint64_t rest = b % a;

		b = a;
		a = rest;
	}
	if ((uint64_t)factor % (denominator / b))
		return -EINVAL;
	*ret_part = (int64_t)(number / b * ((uint64_t)factor / (denominator / b)));
	return 0;
}

/* Parse a size of len letters; with takes_bits also one in bits. */
static int size_parse(const char *text, size_t len, bool takes_bits, int64_t *ret_bytes, const char **ret_why)
{
	const char *at = text, *digits;
	struct size_unit unit;
	int64_t bytes, part;

	if (*text == '-')
		return quantity_fail(-EINVAL, "is negative", ret_why);
	if (!len || !quantity_is_digit(*text))
		return quantity_fail(-EINVAL, "is not a number", ret_why);
	if (quantity_take_number(&at, &bytes) < 0)
		return quantity_fail(-ERANGE, "is too large", ret_why);
	at += *at == '.';
	digits = at;
	at += at[-1] == '.' ? strspn(at, "0123456789") : 0;
	unit = size_unit(at, len - (size_t)(at - text));
	if (!unit.factor || (unit.is_bits && !takes_bits))
		return quantity_fail(-EINVAL, takes_bits ? rate_units : size_units, ret_why);
	if (size_fraction(digits, (size_t)(at - digits), unit.factor, &part) < 0)
		return quantity_fail(-EINVAL, "is no whole number of bytes", ret_why);
	if (__builtin_mul_overflow(bytes, unit.factor, &bytes) || __builtin_add_overflow(bytes, part, &bytes))
		return quantity_fail(-ERANGE, "is too large", ret_why);
	if (unit.is_bits && bytes % 8)
		return quantity_fail(-EINVAL, "is no whole number of bytes", ret_why);
	*ret_bytes = unit.is_bits ? bytes / 8 : bytes;
	return 0;
}

int usp_size_parse(const char *text, int64_t *ret_bytes, const char **ret_why)
{
	return size_parse(text, strlen(text), false, ret_bytes, ret_why);
}

int usp_rate_parse(const char *text, uint64_t *ret_rate, const char **ret_why)
{
	size_t len = strlen(text);
	int64_t rate;
	int ret;

	if (len >= 2 && strcasecmp(text + len - 2, "/s") == 0)
		len -= 2;
	ret = size_parse(text, len, true, &rate, ret_why);
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
