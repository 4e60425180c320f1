/* SPDX-License-Identifier: MIT */
/* numbers - a table of numbers in the text exposition format of Prometheus, version 0.0.4. */
#include "metrics/numbers.h"

#include <inttypes.h>

void usp_numbers_begin(struct usp_numbers *numbers, const struct usp_family *family)
{
	numbers->family = family;
	usp_text_add(numbers->text, "# HELP %s_%s %s\n", numbers->prefix, family->name, family->help);
	usp_text_add(numbers->text, "# TYPE %s_%s %s\n", numbers->prefix, family->name, family->type);
}

void usp_numbers_add(struct usp_numbers *numbers, uint64_t value, const struct usp_label *labels, unsigned nr_labels)
{
	struct usp_text *text = numbers->text;

	usp_text_add(text, "%s_%s", numbers->prefix, numbers->family->name);
	for (unsigned i = 0; i < nr_labels; i++) {
		usp_text_add(text, "%s%s=", i ? "," : "{", labels[i].name);
		usp_text_add_quoted(text, labels[i].value);
	}
	usp_text_add(text, "%s %" PRIu64 "\n", nr_labels ? "}" : "", value);
}
