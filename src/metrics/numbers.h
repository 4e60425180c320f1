/* SPDX-License-Identifier: MIT */
/* numbers - a table of numbers in the text exposition format of Prometheus, version 0.0.4. */
#ifndef USP_METRICS_NUMBERS_H
#define USP_METRICS_NUMBERS_H

#include <stdint.h>

#include "metrics/text.h"

/* Numbers of one meaning, which their labels tell apart. */
struct usp_family {
	const char *name, *type, *help; /* "accepted_total", "counter" or "gauge", and a sentence */
};

struct usp_label {
	const char *name, *value;
};

/* Where the table is written, and what stands before each name. */
struct usp_numbers {
	const char *prefix; /* "usplice_relay" */
	struct usp_text *text;
	const struct usp_family *family; /* the latest */
};

/* Begin a family. All its numbers follow. */
void usp_numbers_begin(struct usp_numbers *numbers, const struct usp_family *family);

/* Add a number of the latest family. labels may be NULL if there are none. */
void usp_numbers_add(struct usp_numbers *numbers, uint64_t value, const struct usp_label *labels, unsigned nr_labels);

#endif
