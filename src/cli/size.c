/* SPDX-License-Identifier: MIT */
/* size - numbers of bytes as people write and read them. */
#include "size.h"

#include <stdio.h>
#include <string.h>

#define SIZE_NR_PREFIXES 4
static const char size_prefixes[] = "kMGT";

static int64_t size_power(int64_t base, size_t exponent)
{
	int64_t power = 1;

	while (exponent-- > 0)
		power *= base;
	return power;
}

/* What a unit stands for, or 0 if there is no such unit. */
static int64_t size_unit(const char *unit)
{
	const char *prefix;
	size_t exponent;

	if (*unit == '\0' || strcmp(unit, "B") == 0)
		return 1;
	prefix = strchr(size_prefixes, *unit == 'K' ? 'k' : *unit);
	if (!prefix)
		return 0;
	exponent = (size_t)(prefix - size_prefixes) + 1;
	if (unit[1] == '\0' || strcmp(unit + 1, "iB") == 0)
		return size_power(1024, exponent);
	if (strcmp(unit + 1, "B") == 0)
		return size_power(1000, exponent);
	return 0;
}

const char *size_parse(const char *text, int64_t *ret_len)
{
	const char *at = text;
	int64_t len = 0, unit;

	if (*at == '-')
		return "is negative";
	if (*at < '0' || *at > '9')
		return "is not a number";
	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(len, 10, &len) || __builtin_add_overflow(len, *at - '0', &len))
			return "is too large";
	}
	unit = size_unit(at);
	if (unit == 0)
		return "has a unit that is none of k M G T (powers of 1024) and kB MB GB TB (powers of 1000)";
	if (__builtin_mul_overflow(len, unit, &len))
		return "is too large";
	*ret_len = len;
	return NULL;
}

const char *size_parse_rate(const char *text, uint64_t *ret_rate)
{
	char size[SIZE_TEXT_MAX];
	size_t len = strlen(text);
	const char *why;
	int64_t rate;

	if (len >= 2 && strcmp(text + len - 2, "/s") == 0)
		len -= 2;
	if (len >= sizeof(size))
		return "is too long";
	memcpy(size, text, len);
	size[len] = '\0';
	why = size_parse(size, &rate);
	if (why)
		return why;
	if (rate == 0)
		return "would never move anything";
	*ret_rate = (uint64_t)rate;
	return NULL;
}

const char *size_format(char text[SIZE_TEXT_MAX], double len)
{
	size_t exponent = 0;

	for (; len >= 1023.95 && exponent < SIZE_NR_PREFIXES; exponent++)
		len /= 1024;
	if (exponent == 0)
		snprintf(text, SIZE_TEXT_MAX, "%.0f B", len);
	else
		snprintf(text, SIZE_TEXT_MAX, "%.1f %ciB", len, "KMGT"[exponent - 1]);
	return text;
}
