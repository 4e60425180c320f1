/* SPDX-License-Identifier: MIT */
/*
 * text - a text that grows. It remembers if memory was short, so that the caller checks once, at
 * the end.
 */
#ifndef USP_METRICS_TEXT_H
#define USP_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A text; all zero is an empty one. What is added after a failure is dropped. */
struct usp_text {
	char *base;
	size_t len, room;
	bool has_failed;
};

void usp_text_add(struct usp_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Add value in double quotes, in a form that is the same in JSON and in the labels of Prometheus.
 * Neither can hold bytes that are not UTF-8, and they spell control characters differently: both
 * become a question mark.
 */
void usp_text_add_quoted(struct usp_text *text, const char *value);

void usp_text_free(struct usp_text *text); /* and empty it */

#endif
