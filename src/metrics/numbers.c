/* SPDX-License-Identifier: MIT */
/* numbers - a table of numbers in the text exposition format of Prometheus, version 0.0.4. */
#include "metrics/numbers.h"

#include <inttypes.h>
#include <stdio.h>

#define NUMBERS_NS_PER_S UINT64_C(1000000000)
#define NUMBERS_SECONDS_MAX 32

void usp_numbers_begin(struct usp_numbers *numbers, const struct usp_family *family)
{
	numbers->family = family;
	usp_text_add(numbers->text, "# HELP %s_%s %s\n", numbers->prefix, family->name, family->help);
	usp_text_add(numbers->text, "# TYPE %s_%s %s\n", numbers->prefix, family->name, family->type);
}

/* Write the name, with what stands behind it, and its labels, of which bound is one more unless it is NULL. */
static void numbers_add_name(struct usp_numbers *numbers, const char *suffix, const struct usp_label *labels,
			     unsigned nr_labels, const char *bound)
{
	struct usp_text *text = numbers->text;

	usp_text_add(text, "%s_%s%s", numbers->prefix, numbers->family->name, suffix);
	for (unsigned i = 0; i < nr_labels; i++) {
		usp_text_add(text, "%s%s=", i ? "," : "{", labels[i].name);
		usp_text_add_quoted(text, labels[i].value);
	}
	if (bound)
		usp_text_add(text, "%sle=\"%s\"", nr_labels ? "," : "{", bound);
	usp_text_add(text, "%s ", nr_labels || bound ? "}" : "");
}

void usp_numbers_add(struct usp_numbers *numbers, uint64_t value, const struct usp_label *labels, unsigned nr_labels)
{
	numbers_add_name(numbers, "", labels, nr_labels, NULL);
	usp_text_add(numbers->text, "%" PRIu64 "\n", value);
}

/* Write seconds with a point, which the locale of the process does not change, and without zeros at their end. */
static void numbers_print_seconds(uint64_t time_ns, char ret_text[NUMBERS_SECONDS_MAX])
{
	int len = snprintf(ret_text, NUMBERS_SECONDS_MAX, "%" PRIu64 ".%09u", time_ns / NUMBERS_NS_PER_S,
			   (unsigned)(time_ns % NUMBERS_NS_PER_S));

	while (ret_text[len - 1] == '0' && ret_text[len - 2] != '.')
		ret_text[--len] = '\0';
}

void usp_numbers_add_times(struct usp_numbers *numbers, const struct usp_times *times, const struct usp_label *labels,
			   unsigned nr_labels)
{
	char seconds[NUMBERS_SECONDS_MAX];
	uint64_t sum = 0;

	for (unsigned i = 0; i <= times->nr_bounds; i++) {
		sum += times->counts[i];
		if (i < times->nr_bounds)
			numbers_print_seconds(times->bounds_ns[i], seconds);
		numbers_add_name(numbers, "_bucket", labels, nr_labels, i < times->nr_bounds ? seconds : "+Inf");
		usp_text_add(numbers->text, "%" PRIu64 "\n", sum);
	}
	numbers_print_seconds(times->sum_ns, seconds);
	numbers_add_name(numbers, "_sum", labels, nr_labels, NULL);
	usp_text_add(numbers->text, "%s\n", seconds);
	numbers_add_name(numbers, "_count", labels, nr_labels, NULL);
	usp_text_add(numbers->text, "%" PRIu64 "\n", sum);
}
