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

/* How often something took how long. */
struct usp_times {
	const uint64_t *bounds_ns; /* nr_bounds of them, each above the one before */
	const uint64_t *counts;	   /* nr_bounds + 1: up to each bound, but above the one before; then above all */
	unsigned nr_bounds;
	uint64_t sum_ns;
};

/* Add a histogram in seconds of the latest family, whose type is "histogram". */
void usp_numbers_add_times(struct usp_numbers *numbers, const struct usp_times *times, const struct usp_label *labels,
			   unsigned nr_labels);

#endif
