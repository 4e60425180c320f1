/* SPDX-License-Identifier: MIT */
/* text - a text that grows; that memory was short is remembered, and asked for once, at the end. */
#ifndef USP_RELAY_TEXT_H
#define USP_RELAY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zero is an empty one. What is added after a failure is dropped. */
struct usp_text {
	char *base;
	size_t len, room;
	bool has_failed;
};

void usp_text_add(struct usp_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Add value in double quotes, so that JSON and the labels of Prometheus both mean the same by it. Neither can hold bytes
 * that are no UTF-8, and they spell control characters differently: both become a question mark.
 */
void usp_text_add_quoted(struct usp_text *text, const char *value);

void usp_text_free(struct usp_text *text); /* and empty it */

#endif
